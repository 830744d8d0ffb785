-- What lies within 5 arcmin of the galaxy with the most detections? The nearest first.
SELECT c.source_id, c.release, c.native_id, round(c.ra::numeric, 6) AS ra, round(c."dec"::numeric, 6) AS dec,
       round(c.separation_arcsec::numeric, 2) AS separation_arcsec
FROM (SELECT ra, "dec" FROM api.galaxy_property ORDER BY n_member DESC, galaxy_id LIMIT 1) g,
     api.cone_search(g.ra, g."dec", 300) c
ORDER BY c.separation_arcsec, c.source_id
LIMIT 10;
