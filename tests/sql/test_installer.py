"""The installer of schema api: what it makes, what it spares, where it stops."""

from __future__ import annotations

import re
from typing import Any

import psycopg
import pytest
from psycopg import sql

from galbase.schema.errors import GalbaseError
from galbase.sql.installer import install, sql_files

GOLDEN = {
    "function": {
        "ab_magnitude(double precision)",
        "ab_magnitude_err(double precision,double precision)",
        "at_epoch(" + ",".join(6 * ["double precision"]) + ")",
        "box_cells(double precision,double precision,double precision,double precision,integer)",
        "box_order(double precision,double precision,double precision,double precision)",
        "box_search(double precision,double precision,double precision,double precision,text)",
        "box_width(double precision,double precision)",
        "check_crossings(double precision[])",
        "check_ellipse(double precision,double precision,double precision)",
        "check_crossmatch(double precision,double precision,integer,text)",
        "check_order(integer)",
        "check_pairs(double precision[],double precision[])",
        "check_position(double precision,double precision)",
        "check_radius(double precision)",
        "clear_of_sides(bigint,integer,integer)",
        "cone_search(double precision,double precision,double precision,text)",
        "cone_search_many(double precision[],double precision[],double precision,text)",
        "coverage(text,integer)",
        "crossmatch(text,text,double precision,double precision,integer,boolean,text)",
        "crossmatch_order(double precision)",
        "crossmatch_queries(text,text,double precision,double precision,integer,boolean,text)",
        "crossmatch_side_order(double precision)",
        "ellipse_cells(double precision,double precision,double precision,double precision,double precision,integer)",
        "ellipse_offsets(double precision,double precision,double precision,double precision,double precision)",
        "ellipse_search(double precision,double precision,double precision,double precision,double precision,text)",
        "first_turn(double precision)",
        "flag_names(text,bigint)",
        "gnomonic(double precision,double precision,point)",
        "healpix(double precision,double precision,integer)",
        "healpix_box_cells(bigint,bigint,bigint,bigint,bigint,integer)",
        "healpix_center(bigint,integer)",
        "healpix_cone(double precision,double precision,double precision)",
        "healpix_cone_order(double precision)",
        "healpix_disc_cells(double precision,double precision,double precision,integer)",
        "healpix_face(bigint,integer)",
        "healpix_face_table()",
        "healpix_map(text,integer)",
        "healpix_neighbours(bigint,integer)",
        "healpix_nest(bigint,bigint,bigint,integer)",
        "healpix_spread(bigint)",
        "healpix_spread_table()",
        "healpix_square_cells(double precision,double precision,double precision,integer)",
        "healpix_wide_disc_cells(double precision,double precision,double precision,integer)",
        "image_input(jsonb,text[],real[],double precision,boolean,integer)",
        "in_box(bigint" + 6 * ",double precision" + ")",
        "in_cone(bigint,double precision,double precision,double precision,double precision,double precision)",
        "in_ellipse(bigint" + 7 * ",double precision" + ")",
        "in_polygon(bigint,double precision,double precision,double precision[])",
        "model_input(bigint)",
        "nearer_partner(bigint,bigint,bigint,bigint,double precision)",
        "nearest_galaxies(bigint,integer,text,text)",
        "polygon_cells(double precision[],integer)",
        "polygon_centre(double precision[])",
        "polygon_order(double precision[])",
        "polygon_outline(double precision[])",
        "polygon_radius(double precision[])",
        "polygon_search(double precision[],text)",
        "polygon_vectors(double precision[])",
        "preprocess_flag_map(text,text,integer)",
        "reference_label(text)",
        "region_order(double precision,double precision)",
        "release_id(text)",
        "release_positions(text)",
        "selection_exp(bigint)",
        "selection_galeffnet(bigint,text)",
        "selection_gpm_resnet(bigint,text)",
        "selection_mmlforgalam(bigint,text)",
        "separation_arcsec(double precision,double precision,double precision,double precision)",
        "served_prediction(text)",
        "served_preprocess_config_id()",
        "smallest_cap(double precision[])",
        "source_label(bigint,text)",
        "within_arcsec(double precision,double precision,double precision,double precision,double precision)",
        "within_ellipse(double precision" + 6 * ",double precision" + ")",
    },
    "view": {
        "column_description",
        "exp_catalogue",
        "galaxy_image",
        "galaxy_photometry",
        "data_file",
        "galaxy_property",
        "galaxy_redshift",
        "imaged_member",
        "legacysurvey_member",
        "legacysurvey_object",
        "model_card",
        "prediction_all",
        "preprocess_reason",
        "preprocess_tally",
        "preprocess_verdict",
        "rejected_row",
        "stale_prediction",
        "selection_tally",
        "spectroscopic_member",
        "spectrum_input",
        "spectrum_member",
        "training_curve",
        "training_set_drift",
        "training_set_galeffnet",
        "training_set_gpm_resnet",
        "training_set_mmlforgalam",
    },
}


def changed(old: str, new: str) -> list[tuple[str, str]]:
    """The SQL files with a text replaced, which must occur."""
    texts = [(name, text.replace(old, new)) for name, text in sql_files()]
    assert texts != sql_files()
    return texts


def without(start: str) -> list[tuple[str, str]]:
    """The SQL files without those whose name starts with a text."""
    texts = [(name, text) for name, text in sql_files() if not name.startswith(start)]
    assert len(texts) < len(sql_files())
    return texts


def test_objects_are_those_of_the_golden_list(archive: Any) -> None:
    with archive.connect() as connection:
        rows = connection.execute("SELECT kind, substr(signature, 5) FROM archive.installed_object").fetchall()
        standing = connection.execute(
            "SELECT (SELECT count(*) FROM pg_proc WHERE pronamespace = 'api'::regnamespace), "
            "(SELECT count(*) FROM pg_class WHERE relnamespace = 'api'::regnamespace)"
        ).fetchone()
    for kind, names in GOLDEN.items():
        assert {name for found, name in rows if found == kind} == names
    assert standing == (len(GOLDEN["function"]), len(GOLDEN["view"]))


def test_reader_may_use_all_and_write_nothing(archive: Any) -> None:
    reader = archive.config.reader_role
    with archive.connect() as connection:
        for privilege, wanted in (("SELECT", True), ("INSERT", False), ("UPDATE", False), ("DELETE", False)):
            rows = connection.execute(
                "SELECT c.oid::regclass::text FROM pg_class c WHERE c.relnamespace IN ('api'::regnamespace, "
                "'archive'::regnamespace) AND c.relkind IN ('r', 'v', 'p') "
                "AND has_table_privilege(%s, c.oid, %s) <> %s",
                (reader, privilege, wanted),
            ).fetchall()
            assert rows == []
        rows = connection.execute(
            "SELECT p.proname FROM pg_proc p WHERE p.pronamespace = 'api'::regnamespace "
            "AND NOT has_function_privilege(%s, p.oid, 'EXECUTE')",
            (reader,),
        ).fetchall()
        assert rows == []


# As in the house test of units: what every spectrum is written in.
@pytest.mark.filterwarnings("ignore:.*Angstrom.*deprecated:astropy.units.UnitsWarning")
def test_everything_is_described_in_valid_units_and_ucds(archive: Any) -> None:
    from astropy.io.votable.ucd import check_ucd
    from astropy.units import Unit, UnrecognizedUnit

    with archive.connect() as connection:
        rows = connection.execute(
            "SELECT p.oid::regprocedure::text FROM pg_proc p WHERE p.pronamespace = 'api'::regnamespace "
            "AND coalesce(obj_description(p.oid, 'pg_proc'), '') = '' "
            "UNION ALL SELECT c.oid::regclass::text FROM pg_class c WHERE c.relnamespace = 'api'::regnamespace "
            "AND coalesce(obj_description(c.oid, 'pg_class'), '') = ''"
        ).fetchall()
        assert rows == []
        missing = connection.execute(
            "SELECT c.relname, a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 "
            "WHERE c.relnamespace = 'api'::regnamespace AND NOT EXISTS (SELECT FROM api.column_description d "
            "WHERE d.table_schema = 'api' AND d.table_name = c.relname AND d.column_name = a.attname "
            "AND d.description <> '')"
        ).fetchall()
        assert missing == []
        described = connection.execute(
            "SELECT table_name, column_name, unit, ucd, description FROM api.column_description "
            "WHERE table_schema = 'api'"
        ).fetchall()
    assert len(described) > 300
    for table, column, unit, ucd, text in described:
        where = f"{table}.{column}"
        assert "[unit" not in text, where
        assert "[ucd" not in text, where
        if unit is not None:
            # Quoted units are VOUnit's way to name what the standard does not; the rest of the expression must hold.
            plain = re.sub(r"'\w+'", "mag", unit)
            assert not isinstance(Unit(plain, format="vounit"), UnrecognizedUnit), where
        if ucd is not None:
            assert check_ucd(ucd, check_controlled_vocabulary=True), f"{where}: {ucd}"
    by_name = {(row[0], row[1]): row[2:4] for row in described}
    assert by_name["galaxy_property", "mag_g"] == ("mag", "phot.mag;em.opt.B")
    assert by_name["legacysurvey_object", "flux_g"][0] == "'nmgy'"
    assert by_name["cone_search", "ra"] == ("deg", "pos.eq.ra;meta.main")


def test_a_column_without_description_is_refused(fresh_archive: Any) -> None:
    texts = [*sql_files(), ("900_bare.sql", "CREATE VIEW api.bare AS SELECT 1 AS number, 2 AS second;")]
    with fresh_archive.connect() as connection, pytest.raises(ValueError, match=r"api\.bare\.number"):
        install(connection, sources=texts)


def test_a_second_installation_changes_nothing(fresh_archive: Any) -> None:
    with fresh_archive.connect() as connection:
        before = connection.execute("SELECT oid, proname FROM pg_proc ORDER BY oid").fetchall()
        report = install(connection)
        assert (report.dropped, report.made_again, report.lost) == ((), (), ())
        assert connection.execute("SELECT oid, proname FROM pg_proc ORDER BY oid").fetchall() == before


def test_users_view_survives_columns_at_the_end(fresh_archive: Any) -> None:
    with fresh_archive.connect() as connection:
        connection.execute("CREATE SCHEMA mine")
        connection.execute("CREATE VIEW mine.bright AS SELECT galaxy_id, mag_r FROM api.galaxy_property")
        oid = connection.execute("SELECT 'mine.bright'::regclass::oid").fetchone()
        texts = changed("AS q_sersic_ref_origin\n", "AS q_sersic_ref_origin, g.n_member AS n_again\n")
        texts.append(("900.sql", "COMMENT ON COLUMN api.galaxy_property.n_again IS 'Number of detections';"))
        report = install(connection, sources=texts)
        assert report.dropped == ()
        assert connection.execute("SELECT 'mine.bright'::regclass::oid").fetchone() == oid
        assert connection.execute("SELECT count(n_again) FROM api.galaxy_property").fetchone() == (0,)


def test_users_view_stops_the_upgrade_and_is_named(fresh_archive: Any) -> None:
    with fresh_archive.connect(autocommit=True) as connection:
        connection.execute("CREATE SCHEMA mine")
        connection.execute('CREATE VIEW mine."Bright one" AS SELECT galaxy_id, mag_r FROM api.galaxy_property')
        connection.execute('CREATE VIEW mine.second AS SELECT * FROM mine."Bright one"')
        connection.execute(
            "CREATE FUNCTION mine.count() RETURNS bigint LANGUAGE sql "
            "BEGIN ATOMIC SELECT count(*) FROM mine.second; END"
        )
    texts = changed("g.n_member,", "g.n_member::bigint AS n_member,")
    with fresh_archive.connect() as connection:
        with pytest.raises(GalbaseError) as caught:
            install(connection, sources=texts)
        connection.rollback()
        for name in ('mine."Bright one"', "mine.second", "mine.count()", "api.galaxy_property", "--drop-dependents"):
            assert name in str(caught.value)
        assert connection.execute("SELECT mine.count()").fetchone() == (0,)


def test_dropped_dependents_are_saved_and_made_again(fresh_archive: Any) -> None:
    reader = fresh_archive.config.reader_role
    with fresh_archive.connect() as connection:
        connection.execute("CREATE SCHEMA mine")
        connection.execute('CREATE VIEW mine."Bright one" AS SELECT galaxy_id, mag_r FROM api.galaxy_property')
        connection.execute("COMMENT ON COLUMN mine.\"Bright one\".mag_r IS 'it''s bright'")
        connection.execute(
            sql.SQL('GRANT SELECT ON mine."Bright one", api.galaxy_property TO {}').format(sql.Identifier(reader))
        )
        connection.execute('CREATE MATERIALIZED VIEW mine.kept AS SELECT galaxy_id FROM mine."Bright one"')
        connection.execute("CREATE UNIQUE INDEX kept_key ON mine.kept (galaxy_id)")
        connection.execute("CREATE VIEW mine.broken AS SELECT bptclass FROM api.galaxy_property")
        texts = changed("z.bptclass,", "z.bptclass AS bpt_class,")
        texts = [(name, text.replace("galaxy_property.bptclass", "galaxy_property.bpt_class")) for name, text in texts]
        report = install(connection, drop_dependents=True, sources=texts)
        assert report.dropped == ("api.galaxy_property",)
        assert report.made_again == ('mine."Bright one"', "mine.kept")
        assert [label for label, _ in report.lost] == ["mine.broken"]
        assert "bptclass" in report.lost[0][1]
        connection.commit()
        rows = connection.execute(
            "SELECT object_name, reason IS NULL, statements[1] FROM archive.saved_definition ORDER BY 1"
        ).fetchall()
        assert [row[:2] for row in rows] == [('mine."Bright one"', True), ("mine.broken", False), ("mine.kept", True)]
        assert "bptclass" in rows[1][2]
        row = connection.execute(
            "SELECT col_description('mine.\"Bright one\"'::regclass, 2), to_regclass('mine.kept_key') IS NOT NULL, "
            "has_table_privilege(%(r)s, 'mine.\"Bright one\"', 'SELECT'), "
            "has_table_privilege(%(r)s, 'api.galaxy_property', 'SELECT')",
            {"r": reader},
        ).fetchone()
        assert row == ("it's bright", True, True, True)


def test_what_cannot_be_saved_stops_even_then(fresh_archive: Any) -> None:
    with fresh_archive.connect() as connection:
        connection.execute("CREATE SCHEMA mine")
        connection.execute(
            "CREATE TABLE mine.note (ra float8, dec float8, pixel bigint GENERATED ALWAYS AS "
            "(api.healpix(ra, dec, 12)) STORED)"
        )
        texts = changed("dec_deg double precision, healpix_order integer)", "dec_deg double precision, k integer)")
        texts = [(name, text.replace("healpix_order", "k") if name.startswith("010") else text) for name, text in texts]
        with pytest.raises(GalbaseError, match=r"column pixel of table mine\.note"):
            install(connection, drop_dependents=True, sources=texts)


def test_vanished_objects_go_and_foreign_ones_stay(fresh_archive: Any) -> None:
    with fresh_archive.connect() as connection:
        connection.execute("CREATE VIEW api.my_own AS SELECT 1 AS a")
        report = install(connection, sources=without("200_"))
        assert report.dropped == ("api.nearest_galaxies(bigint, integer, text, text)",)
        row = connection.execute("SELECT to_regclass('api.my_own') IS NOT NULL, count(*) FROM pg_proc "
                                 "WHERE proname = 'nearest_galaxies'").fetchone()  # fmt: skip
        assert row == (True, 0)


def test_changed_signature_of_a_function_that_views_use(fresh_archive: Any) -> None:
    """Our own views hang on it; they are dropped with it and made again by the files."""
    with fresh_archive.connect() as connection:
        texts = changed("registry_name text, flag bigint", "registry text, flag bigint")
        texts = [(name, text.replace("flag_names.registry_name", "flag_names.registry")) for name, text in texts]
        report = install(connection, sources=texts)
        assert "api.flag_names(text, bigint)" in report.dropped
        assert "api.galaxy_property" in report.dropped
        assert connection.execute("SELECT api.flag_names(registry => 'preprocess', flag => 8)").fetchone() == (
            ["NO_CONTOUR"],
        )
        assert connection.execute("SELECT count(*) FROM api.galaxy_property").fetchone() == (0,)


def test_a_view_in_the_way_is_named(fresh_archive: Any) -> None:
    with fresh_archive.connect() as connection:
        install(connection, sources=without("160_"))
        connection.execute("CREATE VIEW api.model_card AS SELECT 1 AS a")
        with pytest.raises(GalbaseError, match=r"160_model_card\.sql.*not made by galbase"):
            install(connection)


def test_an_upgraded_archive_equals_a_fresh_one(fresh_archive: Any, archive: Any) -> None:
    catalogue = (
        "SELECT p.oid::regprocedure::text, pg_get_functiondef(p.oid) FROM pg_proc p "
        "WHERE p.pronamespace = 'api'::regnamespace AND p.prokind = 'f' UNION ALL "
        "SELECT c.oid::regclass::text, pg_get_viewdef(c.oid) FROM pg_class c "
        "WHERE c.relnamespace = 'api'::regnamespace ORDER BY 1"
    )
    with fresh_archive.connect() as connection:
        install(connection, sources=without("1"))
        install(connection, sources=changed("g.n_member,", "g.n_member::bigint AS n_member,"))
        install(connection)
        upgraded = connection.execute(catalogue).fetchall()
    with archive.connect() as connection:
        assert connection.execute(catalogue).fetchall() == upgraded


def test_sql_errors_are_not_swallowed(fresh_archive: Any) -> None:
    with fresh_archive.connect() as connection, pytest.raises(psycopg.errors.SyntaxError):
        install(connection, sources=[("000_wrong.sql", "CREATE VIEWS")])
