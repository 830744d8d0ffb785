"""Where rows come from: releases, files, runs, the ledger of work, rejected rows."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from galbase.schema.column import column
from galbase.schema.tables.base import identity, metadata, now_column, one_of, reference

data_release = sa.Table(
    "data_release",
    metadata,
    identity("release_id", "Number of the data release"),
    column(
        "release",
        sa.Text,
        doc="Name of the data release, as used in commands",
        ucd="meta.id",
        nullable=False,
        unique=True,
    ),
    column("survey", sa.Text, doc="Survey that published it", ucd="meta.id", nullable=False),
    column("url", sa.Text, doc="Where it was published", ucd="meta.ref.url"),
    column("licence", sa.Text, doc="Licence of the data", ucd="meta.note"),
    column("citation", sa.Text, doc="What to cite when using the data", ucd="meta.bib"),
    column(
        "priority",
        sa.Integer,
        doc="Lower comes first when a galaxy takes its id and position from a member",
        nullable=False,
        server_default="100",
    ),
    column(
        "simulated",
        sa.Boolean,
        doc="Whether the release is a simulation with known truth",
        nullable=False,
        server_default=sa.false(),
    ),
    now_column("created_at", "When the release was registered"),
    comment="Data releases: every source, image and spectrum belongs to one",
)

data_root = sa.Table(
    "data_root",
    metadata,
    identity("data_root_id", "Number of the root directory"),
    column(
        "path",
        sa.Text,
        doc="Absolute path of a directory that holds survey files",
        nullable=False,
        unique=True,
    ),
    comment="Directories under which files were registered",
)

run = sa.Table(
    "run",
    metadata,
    identity("run_id", "Number of the run"),
    column("kind", sa.Text, doc="What ran: ingest, crossmatch, preprocess, train, predict", nullable=False),
    column("config", JSONB, doc="Parameters of the run", nullable=False, server_default="{}"),
    column("git_commit", sa.Text, doc="Commit of the code, where it ran from a checkout"),
    column("versions", JSONB, doc="Versions of Python, packages and device", nullable=False, server_default="{}"),
    now_column("started_at", "When the run began"),
    column("finished_at", sa.DateTime(timezone=True), doc="When the run ended", ucd="time.end"),
    column("state", sa.Text, doc="running, done or failed", nullable=False, server_default="running"),
    column("message", sa.Text, doc="Why the run failed, or its summary"),
    one_of("state", ("running", "done", "failed")),
    comment="Runs of batch steps, with configuration and versions",
)

data_file = sa.Table(
    "data_file",
    metadata,
    identity("data_file_id", "Number of the file"),
    reference("release_id", "data_release.release_id", "Release the file belongs to", nullable=False),
    reference("data_root_id", "data_root.data_root_id", "Root directory of the path", nullable=False),
    column("path", sa.Text, doc="Path relative to its root", nullable=False),
    column(
        "format",
        sa.Text,
        doc="Format that read it: fits, votable, parquet, csv, tractor, galspec, hdf5, jpeg, png, "
        "fits-image, sdss-spec",
        nullable=False,
    ),
    column("size_bytes", sa.BigInteger, doc="Size of the file", unit="byte", nullable=False),
    column("mtime", sa.DateTime(timezone=True), doc="Modification time of the file", ucd="time", nullable=False),
    column(
        "sha256",
        sa.Text,
        doc="SHA-256 of the file's bytes, hexadecimal; NULL while it cannot be read, and above 1 GiB",
    ),
    column(
        "chunk_sha256",
        sa.Text,
        doc="Above 1 GiB: SHA-256 of the size and of 65 pieces of 1 MiB from beginning to end, hexadecimal",
    ),
    column(
        "options_hash",
        sa.Text,
        doc="Hash of the reader's options, so that other options re-read the file",
        nullable=False,
        server_default="",
    ),
    column("state", sa.Text, doc="loaded or rejected", nullable=False),
    column("reason", sa.Text, doc="Why the file was rejected"),
    column("n_row", sa.BigInteger, doc="Rows in the file"),
    column("n_loaded", sa.BigInteger, doc="Rows loaded"),
    column("n_rejected", sa.BigInteger, doc="Rows rejected, see rejected_row"),
    reference("run_id", "run.run_id", "Run that loaded or rejected it"),
    now_column("modified_at", "When this row was last written"),
    sa.UniqueConstraint("data_root_id", "path", "release_id"),
    one_of("state", ("loaded", "rejected")),
    comment="Files read, with hashes and verdicts",
)

rejected_row = sa.Table(
    "rejected_row",
    metadata,
    reference("data_file_id", "data_file.data_file_id", "File of the row", ondelete="CASCADE", primary_key=True),
    column("row_index", sa.BigInteger, doc="Row in the file, counted from 0", primary_key=True),
    column("native_id", sa.Text, doc="The survey's own id of the row, where it has one", ucd="meta.id"),
    column("reason", sa.Text, doc="Why the row was not loaded", nullable=False),
    comment="Rows of loaded files that were not loaded, with the reason",
)

work_unit = sa.Table(
    "work_unit",
    metadata,
    identity("work_unit_id", "Number of the unit"),
    reference("run_id", "run.run_id", "Run the unit belongs to", nullable=False),
    column("step", sa.Text, doc="Step of the pipeline", nullable=False),
    reference(
        "data_file_id",
        "data_file.data_file_id",
        "File of the rows, for steps that read pixels",
        ondelete="CASCADE",
    ),
    column(
        "row_start",
        sa.BigInteger,
        doc="First row of the file, or first source_id, of the unit",
        nullable=False,
    ),
    column("row_stop", sa.BigInteger, doc="Row or source_id after the last", nullable=False),
    column("state", sa.Text, doc="waiting, claimed, done or failed", nullable=False, server_default="waiting"),
    column("owner", sa.Text, doc="Worker that holds the claim"),
    column("attempt", sa.Integer, doc="Number of claims so far", nullable=False, server_default="0"),
    column(
        "lease_until",
        sa.DateTime(timezone=True),
        doc="When an unfinished claim may be taken over",
        ucd="time.end",
    ),
    column("n_row", sa.BigInteger, doc="Rows written"),
    column("message", sa.Text, doc="Why the unit failed"),
    now_column("modified_at", "When this row was last written"),
    sa.UniqueConstraint("run_id", "step", "data_file_id", "row_start"),
    sa.Index(
        "ix_work_unit_open",
        "run_id",
        "step",
        "work_unit_id",
        postgresql_where=sa.text("state IN ('waiting', 'claimed')"),
    ),
    one_of("state", ("waiting", "claimed", "done", "failed")),
    comment="The ledger: what is claimed and committed as one",
)

run_file = sa.Table(
    "run_file",
    metadata,
    reference("run_id", "run.run_id", "Run that looks at the file", ondelete="CASCADE", primary_key=True),
    column("ordinal", sa.BigInteger, doc="Place of the file in the run; a unit is a range of these", primary_key=True),
    reference("data_root_id", "data_root.data_root_id", "Root directory of the path", nullable=False),
    column("path", sa.Text, doc="Path relative to its root", nullable=False),
    comment="Files that a run of an ingest was given, in order of their paths",
)

file_overlap = sa.Table(
    "file_overlap",
    metadata,
    reference("data_file_id", "data_file.data_file_id", "A file", ondelete="CASCADE", primary_key=True),
    reference(
        "other_file_id",
        "data_file.data_file_id",
        "File of a higher number that has some of the same detections",
        ondelete="CASCADE",
        primary_key=True,
    ),
    comment="Catalogue files that share detections: the values of the file that comes last by path are kept",
)

deferred_object = sa.Table(
    "deferred_object",
    metadata,
    identity("deferred_object_id", "Number of the index or constraint"),
    column("table_schema", sa.Text, doc="Schema of its table", nullable=False),
    column("table_name", sa.Text, doc="Its table", nullable=False),
    column("kind", sa.Text, doc="unique, index or foreign key", nullable=False),
    column("name", sa.Text, doc="Its name", nullable=False),
    column("definition", sa.Text, doc="SQL that makes it", nullable=False),
    one_of("kind", ("unique", "index", "foreign key")),
    sa.UniqueConstraint("table_schema", "table_name", "name"),
    comment="Indexes and constraints that a bulk load makes at its end",
)

flag_definition = sa.Table(
    "flag_definition",
    metadata,
    column("registry", sa.Text, doc="Kind of row that carries the flag", primary_key=True),
    column("value", sa.BigInteger, doc="Value of the bit", primary_key=True),
    column("name", sa.Text, doc="Name of the flag", nullable=False),
    column("meaning", sa.Text, doc="What it says", ucd="meta.note", nullable=False),
    column(
        "criterion",
        sa.Text,
        doc="Whose criterion it is, with the section of the paper or the option that holds its limit; of registry "
        "'preprocess' only",
        ucd="meta.note",
    ),
    column(
        "keeps_out",
        sa.Boolean,
        doc="Whether an image with this flag is not kept; of registry 'preprocess' only",
        ucd="meta.code",
    ),
    comment="Every flag bit and its meaning",
)

column_metadata = sa.Table(
    "column_metadata",
    metadata,
    column("table_schema", sa.Text, doc="Schema of the table", primary_key=True),
    column("table_name", sa.Text, doc="Table or view", primary_key=True),
    column("column_name", sa.Text, doc="Column", primary_key=True),
    column("unit", sa.Text, doc="Unit, VOUnit syntax", ucd="meta.unit"),
    column("ucd", sa.Text, doc="UCD1+ of the column", ucd="meta.ucd"),
    column("description", sa.Text, doc="What the column holds", nullable=False),
    comment="Unit, UCD and description of every column, of catalogues that users loaded as well",
)

installed_version = sa.Table(
    "installed_version",
    metadata,
    column("component", sa.Text, doc="Part of the database", primary_key=True),
    column("version", sa.Text, doc="Its version", nullable=False),
    comment="Versions of what `galbase db upgrade` installed",
)

installed_object = sa.Table(
    "installed_object",
    metadata,
    column("signature", sa.Text, doc="Name of the view, or function with its argument types", primary_key=True),
    column("kind", sa.Text, doc="function or view", nullable=False),
    one_of("kind", ("function", "view")),
    comment="Functions and views of schema api that `galbase db upgrade` made, so that it never drops another's",
)

saved_definition = sa.Table(
    "saved_definition",
    metadata,
    identity("saved_definition_id", "Number of the definition"),
    column("object_name", sa.Text, doc="Name with its schema", nullable=False),
    column("kind", sa.Text, doc="What it was: view, materialized, function", nullable=False),
    column("statements", sa.ARRAY(sa.Text), doc="SQL that makes it again, in order", nullable=False),
    column("reason", sa.Text, doc="Why it could not be made again; NULL if it was"),
    now_column("saved_at", "When an upgrade dropped it"),
    comment="Users' views and functions that `galbase db upgrade --drop-dependents` dropped",
)
