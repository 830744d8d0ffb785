-- How many sources of each pair of releases match within 1 arcsec, and how far are the best matches apart?
SELECT l.release AS left_release, r.release AS right_release, count(*) AS n_best_match,
       round(avg(x.separation_arcsec)::numeric, 3) AS mean_separation_arcsec,
       count(*) FILTER (WHERE x.n_within > 1) AS n_ambiguous
FROM archive.data_release l
JOIN archive.data_release r ON r.release_id > l.release_id
CROSS JOIN LATERAL api.crossmatch(l.release, r.release, 1) x
WHERE x.rank = 1
GROUP BY l.release, r.release
ORDER BY l.release, r.release;
