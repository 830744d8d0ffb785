-- Which galaxies look most like the most massive one, among those with a spectroscopic redshift?
SELECT n.rank, n.galaxy_id, round(n.distance::numeric, 4) AS distance, round(g.mag_r::numeric, 2) AS mag_r,
       round((g.mag_g_dered - g.mag_r_dered)::numeric, 2) AS g_minus_r, round(g.z::numeric, 4) AS z,
       round(g.log_mstar_fib::numeric, 2) AS log_mstar_fib
FROM (SELECT galaxy_id FROM api.galaxy_property WHERE log_mstar_fib IS NOT NULL
      ORDER BY log_mstar_fib DESC, galaxy_id LIMIT 1) q,
     api.nearest_galaxies(q.galaxy_id, 5, filter => 'z > 0') n
JOIN api.galaxy_property g ON g.galaxy_id = n.galaxy_id
ORDER BY n.rank;
