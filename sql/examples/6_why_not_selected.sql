-- Why is my galaxy not in the training set? Those that miss GalEffNet's selection by a single criterion. For one galaxy
-- write WHERE galaxy_id = ..., or its position: WHERE api.in_cone(hpx29, ra, "dec", 150.1, 2.2, 5). Other selections:
-- api.training_set_gpm_resnet, api.training_set_mmlforgalam, api.exp_catalogue; api.selection_tally counts.
SELECT galaxy_id, round(ra::numeric, 5) AS ra, round("dec"::numeric, 5) AS dec, reason_out[1] AS reason,
       round(sn_median::numeric, 1) AS sn_median, round(z::numeric, 4) AS z,
       round(log_mstar_fib::numeric, 2) AS log_mstar_fib, round(separation_arcsec::numeric, 2) AS separation_arcsec
FROM api.training_set_galeffnet
WHERE cardinality(reason_out) = 1
ORDER BY galaxy_id
LIMIT 10;
