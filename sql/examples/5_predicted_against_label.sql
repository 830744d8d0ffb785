-- How well do predictions agree with labels on galaxies that the model never learned from, and do 68 % of the labels
-- lie within the 68 % intervals?
SELECT p.property, count(*) AS n_galaxy, round(stddev(p.value - p.label)::numeric, 3) AS scatter,
       round(avg(p.value - p.label)::numeric, 3) AS bias, round(stddev(p.label)::numeric, 3) AS scatter_of_mean_predictor,
       round(avg((p.label BETWEEN p.q16 AND p.q84)::integer)::numeric, 3) AS coverage_68,
       round(avg((p.label BETWEEN p.q025 AND p.q975)::integer)::numeric, 3) AS coverage_95
FROM (
    SELECT 'log_mstar_fib' AS property, log_mstar_fib AS value, log_mstar_fib_ref AS label, log_mstar_fib_q16 AS q16,
           log_mstar_fib_q84 AS q84, log_mstar_fib_q025 AS q025, log_mstar_fib_q975 AS q975, log_mstar_fib_flag AS flag
    FROM api.galaxy_property
    UNION ALL
    SELECT 'log_ssfr_fib', log_ssfr_fib, log_ssfr_fib_ref, log_ssfr_fib_q16, log_ssfr_fib_q84, log_ssfr_fib_q025,
           log_ssfr_fib_q975, log_ssfr_fib_flag
    FROM api.galaxy_property
) p
WHERE p.value IS NOT NULL AND p.label IS NOT NULL AND NOT 'IN_TRAINING_SET' = ANY(api.flag_names('prediction', p.flag))
GROUP BY p.property
ORDER BY p.property;
