-- HEALPix, nested scheme (Gorski et al. 2005, ApJ 622, 759), any order to 29, in the arithmetic of the HEALPix C++
-- library, operation by operation, so that results agree with healpy to the last bit of their arguments.

CREATE OR REPLACE FUNCTION api.healpix_nest(face bigint, ix bigint, iy bigint, healpix_order integer)
RETURNS bigint
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
AS $function$
DECLARE
    x bigint := ix;
    y bigint := iy;
BEGIN
    x := (x | (x << 16)) & 281470681808895;      -- 0x0000FFFF0000FFFF
    y := (y | (y << 16)) & 281470681808895;
    x := (x | (x << 8)) & 71777214294589695;     -- 0x00FF00FF00FF00FF
    y := (y | (y << 8)) & 71777214294589695;
    x := (x | (x << 4)) & 1085102592571150095;   -- 0x0F0F0F0F0F0F0F0F
    y := (y | (y << 4)) & 1085102592571150095;
    x := (x | (x << 2)) & 3689348814741910323;   -- 0x3333333333333333
    y := (y | (y << 2)) & 3689348814741910323;
    x := (x | (x << 1)) & 6148914691236517205;   -- 0x5555555555555555
    y := (y | (y << 1)) & 6148914691236517205;
    RETURN (face << (2 * healpix_order)) | x | (y << 1);
END
$function$;
COMMENT ON FUNCTION api.healpix_nest(bigint, bigint, bigint, integer) IS
    'Nested HEALPix index of column ix and row iy of a base pixel (face, 0 to 11).';

CREATE OR REPLACE FUNCTION api.healpix_face(pixel bigint, healpix_order integer, OUT face bigint, OUT ix bigint, OUT iy bigint)
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
AS $function$
BEGIN
    face := pixel >> (2 * healpix_order);
    ix := pixel & ((1::bigint << (2 * healpix_order)) - 1);
    iy := (ix >> 1) & 6148914691236517205;
    ix := ix & 6148914691236517205;
    ix := (ix | (ix >> 1)) & 3689348814741910323;
    iy := (iy | (iy >> 1)) & 3689348814741910323;
    ix := (ix | (ix >> 2)) & 1085102592571150095;
    iy := (iy | (iy >> 2)) & 1085102592571150095;
    ix := (ix | (ix >> 4)) & 71777214294589695;
    iy := (iy | (iy >> 4)) & 71777214294589695;
    ix := (ix | (ix >> 8)) & 281470681808895;
    iy := (iy | (iy >> 8)) & 281470681808895;
    ix := (ix | (ix >> 16)) & 4294967295;
    iy := (iy | (iy >> 16)) & 4294967295;
END
$function$;
COMMENT ON FUNCTION api.healpix_face(bigint, integer) IS
    'Base pixel (face, 0 to 11), column and row of a nested HEALPix index.';

CREATE OR REPLACE FUNCTION api.healpix(ra_deg double precision, dec_deg double precision, healpix_order integer)
RETURNS bigint
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
AS $function$
DECLARE
    nside double precision;
    edge bigint;
    theta double precision;
    z double precision;
    za double precision;
    tt double precision;
    across double precision;
    slope double precision;
    ntt bigint;
    jp bigint;
    jm bigint;
    fp bigint;
    fm bigint;
BEGIN
    IF healpix_order < 0 OR healpix_order > 29 THEN
        RAISE EXCEPTION 'HEALPix order % is outside [0, 29]', healpix_order
            USING ERRCODE = 'invalid_parameter_value', HINT = 'The order is the third argument.';
    END IF;
    IF NOT (dec_deg >= -90 AND dec_deg <= 90 AND ra_deg > '-Infinity' AND ra_deg < 'Infinity') THEN
        PERFORM api.check_position(ra_deg, dec_deg);
    END IF;
    edge := 1::bigint << healpix_order;
    nside := edge;
    theta := 1.5707963267948966::float8 - radians(dec_deg);
    z := cos(theta);
    za := abs(z);
    tt := radians(CASE WHEN ra_deg >= 0 AND ra_deg < 360 THEN ra_deg
                       ELSE ra_deg - 360 * floor(ra_deg / 360) END) * 0.6366197723675814::float8;
    IF tt >= 4 THEN
        tt := 0;
    END IF;
    IF za <= 0.6666666666666666::float8 THEN
        across := nside * (0.5 + tt);
        slope := nside * (z * 0.75);
        jp := trunc(across - slope);
        jm := trunc(across + slope);
        fp := jp >> healpix_order;
        fm := jm >> healpix_order;
        RETURN api.healpix_nest(
            CASE WHEN fp = fm THEN fp | 4 WHEN fp < fm THEN fp ELSE fm + 8 END,
            jm & (edge - 1), edge - (jp & (edge - 1)) - 1, healpix_order);
    END IF;
    ntt := least(3, trunc(tt));
    tt := tt - ntt;
    -- Near a pole 1 - |z| loses digits: the sine carries them.
    slope := CASE WHEN za >= 0.99 AND (theta < 0.01 OR theta > 3.14159 - 0.01)
                  THEN nside * sin(theta) / sqrt((1 + za) / 3)
                  ELSE nside * sqrt(3 * (1 - za)) END;
    jp := least(trunc(tt * slope)::bigint, edge - 1);
    jm := least(trunc((1 - tt) * slope)::bigint, edge - 1);
    IF z >= 0 THEN
        RETURN api.healpix_nest(ntt, edge - jm - 1, edge - jp - 1, healpix_order);
    END IF;
    RETURN api.healpix_nest(ntt + 8, jp, jm, healpix_order);
END
$function$;
COMMENT ON FUNCTION api.healpix(double precision, double precision, integer) IS
    'Nested HEALPix index of a position [deg, ICRS] at an order from 0 to 29; right ascension is taken modulo 360.';

CREATE OR REPLACE FUNCTION api.healpix_center(
    pixel bigint, healpix_order integer, OUT ra_deg double precision, OUT dec_deg double precision)
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
AS $function$
DECLARE
    nside double precision;
    place record;
    ring double precision;
    cap double precision;
    z double precision;
    width double precision;
    step double precision;
BEGIN
    IF healpix_order < 0 OR healpix_order > 29 OR pixel < 0 OR pixel >= 12 * (1::bigint << (2 * healpix_order)) THEN
        RAISE EXCEPTION 'there is no HEALPix pixel % of order %', pixel, healpix_order
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'Orders are 0 to 29 and indices 0 to 12 * 4^order - 1.';
    END IF;
    nside := 1::bigint << healpix_order;
    place := api.healpix_face(pixel, healpix_order);
    ring := (2 + place.face / 4) * nside - place.ix - place.iy - 1;
    width := nside;
    IF ring < nside THEN
        width := ring;
        cap := ring * ring / (3 * nside * nside);
        z := 1 - cap;
    ELSIF ring > 3 * nside THEN
        width := 4 * nside - ring;
        cap := width * width / (3 * nside * nside);
        z := cap - 1;
    ELSE
        z := (2 * nside - ring) * 2 / (3 * nside);
    END IF;
    -- Faces 0 to 3 and 8 to 11 are centred on odd eighths of a turn, faces 4 to 7 on even ones.
    step := (CASE WHEN place.face / 4 = 1 THEN 2 * (place.face - 4) ELSE 2 * (place.face % 4) + 1 END) * width
            + place.ix - place.iy;
    IF step < 0 THEN
        step := step + 8 * nside;
    END IF;
    ra_deg := 45 * step / width;
    dec_deg := CASE WHEN abs(z) > 0.99 THEN sign(z) * degrees(atan2(abs(z), sqrt(cap * (2 - cap))))
                    ELSE degrees(asin(z)) END;
END
$function$;
COMMENT ON FUNCTION api.healpix_center(bigint, integer) IS
    'Centre [deg, ICRS] of a nested HEALPix pixel of an order from 0 to 29.';
