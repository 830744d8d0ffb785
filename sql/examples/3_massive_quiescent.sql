-- Massive quiescent galaxies with their 68 % intervals: above 10^10.5 solar masses in the fibre, forming less than
-- 10^-11 of their mass a year, and neither blended nor outside the training set's domain.
SELECT galaxy_id, round(ra::numeric, 5) AS ra, round("dec"::numeric, 5) AS dec,
       round(mag_r_dered::numeric, 2) AS mag_r_dered, round(z::numeric, 4) AS z,
       round(log_mstar_fib::numeric, 2) AS log_mstar_fib, round(log_mstar_fib_q16::numeric, 2) AS log_mstar_fib_q16,
       round(log_mstar_fib_q84::numeric, 2) AS log_mstar_fib_q84, round(log_ssfr_fib::numeric, 2) AS log_ssfr_fib,
       round(log_ssfr_fib_err::numeric, 2) AS log_ssfr_fib_err
FROM api.galaxy_property
WHERE log_mstar_fib > 10.5 AND log_ssfr_fib < -11
  AND NOT api.flag_names('prediction', log_mstar_fib_flag) && '{OUT_OF_DOMAIN,BLENDED}'
ORDER BY log_mstar_fib DESC, galaxy_id
LIMIT 10;
