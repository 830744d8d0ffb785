"""The migrated database equals the models, and carries the registries."""

from dataclasses import astuple
from typing import Any

import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from galbase.schema import flags
from galbase.schema.column import described_columns
from galbase.schema.healpix import CELL_ORDERS
from galbase.schema.properties import PROPERTIES
from galbase.schema.tables import metadata
from galbase.schema.upgrade import upgrade
from tests.schema.earlier_archive import without_served_values


def test_models_equal_the_migrated_database(archive: Any) -> None:
    engine = sa.create_engine(archive.url.replace("postgresql://", "postgresql+psycopg://", 1))
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "compare_type": True,
                "include_schemas": True,
                "version_table_schema": "archive",
                "include_name": lambda name, kind, _: kind != "schema" or name == "archive",
            },
        )
        differences = compare_metadata(context, metadata)
    engine.dispose()
    assert differences == []


def test_every_column_carries_its_comment(archive: Any) -> None:
    with archive.connect() as connection:
        stored = {
            tuple(row[:3]): row[3]
            for row in connection.execute(
                "SELECT table_schema, table_name, column_name, col_description(format('%I.%I', table_schema, "
                "table_name)::regclass, ordinal_position) FROM information_schema.columns "
                "WHERE table_schema = 'archive' AND table_name <> 'alembic_version'"
            )
        }
    expected = {(c[0], c[1], c[2]): c[5] for c in described_columns(metadata)}
    assert stored == expected


def test_flags_and_properties_are_in_the_database(archive: Any) -> None:
    with archive.connect() as connection:
        stored = connection.execute(
            "SELECT registry, value, name, meaning, criterion, keeps_out FROM archive.flag_definition"
        ).fetchall()
        names = {row[0] for row in connection.execute("SELECT name FROM archive.property")}
    assert sorted(stored) == sorted(astuple(item) for item in flags.definitions())
    assert names >= {prop.name for prop in PROPERTIES}


def test_catalogues_loaded_before_get_the_cell_indexes(fresh_archive: Any) -> None:
    """An archive of revision a0002 with a catalogue that a user loaded; its upgrade ends as a fresh archive does."""
    shifts = {f"hpx29 >> {2 * (29 - order)}" for order in CELL_ORDERS}
    with fresh_archive.connect() as connection:
        without_served_values(connection)
        for table in ("source", "galaxy"):
            for order in CELL_ORDERS:
                connection.execute(f"DROP INDEX archive.ix_{table}_hpx29_order{order}".encode())
        connection.execute('CREATE TABLE catalogue."Mine 1" (source_id bigint, hpx29 bigint)')
        connection.execute("CREATE TABLE catalogue.without_positions (source_id bigint)")
        added = ("min_radius_arcsec", "nearest", "mutual_best", "epoch", "positions_hash", "state")
        connection.execute(
            f"ALTER TABLE archive.crossmatch_run {', '.join(f'DROP COLUMN {name} CASCADE' for name in added)}, "
            "ADD CONSTRAINT uq_crossmatch_run_left_release_id_right_release_id "
            "UNIQUE (left_release_id, right_release_id)".encode()
        )
        connection.execute(
            "DROP TABLE archive.run_file, archive.file_overlap, archive.deferred_object, archive.galaxy_update"
        )
        connection.execute("ALTER TABLE archive.data_file DROP COLUMN chunk_sha256 CASCADE")
        connection.execute("ALTER TABLE archive.preprocess DROP COLUMN blend_score CASCADE")
        connection.execute("ALTER TABLE archive.stamp_file DROP COLUMN n_stamp")
        connection.execute(
            "ALTER TABLE archive.flag_definition DROP COLUMN criterion CASCADE, DROP COLUMN keeps_out CASCADE"
        )
        connection.execute("ALTER TABLE archive.reference_value DROP COLUMN data_file_id")
        connection.execute("DROP TABLE archive.label_origin CASCADE")
        connection.execute("ALTER TABLE archive.training_set DROP COLUMN properties CASCADE, DROP COLUMN options")
        kept = ("label_source_id", "label", "input_hash", "spectrum_observation_id", "spectrum_hash")
        connection.execute(
            f"ALTER TABLE archive.training_member {', '.join(f'DROP COLUMN {name} CASCADE' for name in kept)}, "
            "ADD CONSTRAINT fk_training_member_observation_id FOREIGN KEY (observation_id) "
            "REFERENCES archive.observation (observation_id) ON DELETE CASCADE".encode()
        )
        connection.execute("UPDATE archive.alembic_version SET version_num = 'a0002'")
    upgrade(fresh_archive.config)
    with fresh_archive.connect() as connection:
        rows = connection.execute(
            "SELECT tablename, indexdef FROM pg_indexes WHERE schemaname IN ('archive', 'catalogue')"
        ).fetchall()
    for table in ("source", "galaxy", "Mine 1"):
        found = [definition for name, definition in rows if name == table]
        assert {shift for shift in shifts if any(shift in definition for definition in found)} == shifts, table
    assert not [name for name, _ in rows if name == "without_positions"]
