"""What is where: sources, galaxies, crossmatches, catalogues that users loaded."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from galbase.schema.column import column
from galbase.schema.healpix import CELL_ORDERS
from galbase.schema.properties import PROPERTIES
from galbase.schema.tables.base import identity, metadata, now_column, one_of, reference


def position_columns(what: str) -> list[sa.Column[object]]:
    """Columns ra, dec, hpx29 of `what`."""
    return [
        column(
            "ra",
            sa.Double,
            doc=f"Right ascension of {what}, ICRS",
            unit="deg",
            ucd="pos.eq.ra;meta.main",
            nullable=False,
        ),
        column(
            "dec",
            sa.Double,
            doc=f"Declination of {what}, ICRS",
            unit="deg",
            ucd="pos.eq.dec;meta.main",
            nullable=False,
        ),
        column("hpx29", sa.BigInteger, doc="HEALPix index, nested, order 29", ucd="pos.healpix", nullable=False),
    ]


def position_checks() -> list[sa.CheckConstraint]:
    """CHECKs that refuse NaN, infinite and impossible positions (NaN sorts above every number)."""
    return [
        sa.CheckConstraint("ra >= 0 AND ra < 360", name="ra"),
        sa.CheckConstraint("dec >= -90 AND dec <= 90", name="dec"),
        sa.CheckConstraint("hpx29 >= 0", name="hpx29"),
    ]


def cell_indexes(table: str) -> list[sa.Index]:
    """Indexes on the HEALPix cells of a table with hpx29 that api.in_cone and its like search by."""
    return [
        sa.Index(f"ix_{table}_hpx29_order{order}", sa.text(f"(hpx29 >> {2 * (29 - order)})")) for order in CELL_ORDERS
    ]


source = sa.Table(
    "source",
    metadata,
    column(
        "source_id",
        sa.BigInteger,
        doc="(HEALPix order-12 nested pixel << 35) | hash of release and native id",
        ucd="meta.id;meta.main",
        primary_key=True,
        autoincrement=False,
    ),
    reference("release_id", "data_release.release_id", "Release of the detection", nullable=False),
    column("native_id", sa.Text, doc="The survey's own id", ucd="meta.id", nullable=False),
    *position_columns("the detection"),
    column(
        "flag",
        sa.BigInteger,
        doc="Bits of registry 'source' in flag_definition",
        ucd="meta.code",
        nullable=False,
        server_default="0",
    ),
    reference("data_file_id", "data_file.data_file_id", "File the row came from"),
    *position_checks(),
    sa.UniqueConstraint("release_id", "native_id"),
    sa.Index("ix_source_hpx29", "hpx29"),
    *cell_indexes("source"),
    sa.Index("ix_source_data_file_id", "data_file_id"),
    sa.Index("ix_source_release_hpx29", "release_id", "hpx29"),
    comment="One row a detection in a release",
)

source_alias = sa.Table(
    "source_alias",
    metadata,
    column(
        "old_source_id",
        sa.BigInteger,
        doc="Id the detection had before its position was corrected",
        ucd="meta.id",
        primary_key=True,
        autoincrement=False,
    ),
    reference("source_id", "source.source_id", "Its id now", nullable=False, ondelete="CASCADE"),
    comment="Former ids of sources",
)

galaxy = sa.Table(
    "galaxy",
    metadata,
    column(
        "galaxy_id",
        sa.BigInteger,
        doc="source_id of the member in the release that comes first",
        ucd="meta.id;meta.main",
        primary_key=True,
        autoincrement=False,
    ),
    *position_columns("the galaxy"),
    column("n_member", sa.Integer, doc="Number of detections", ucd="meta.number", nullable=False),
    *(
        column(
            each.name,
            sa.REAL,
            doc=f"Served prediction: {each.description}; kept by triggers",
            unit=each.unit,
            ucd=each.ucd,
        )
        for each in PROPERTIES
    ),
    *position_checks(),
    sa.Index("ix_galaxy_hpx29", "hpx29"),
    *cell_indexes("galaxy"),
    *(
        sa.Index(f"ix_galaxy_{each.name}", each.name, postgresql_where=sa.text(f"{each.name} IS NOT NULL"))
        for each in PROPERTIES
    ),
    comment="One row a galaxy, built from the crossmatch",
)

galaxy_member = sa.Table(
    "galaxy_member",
    metadata,
    column(
        "source_id",
        sa.BigInteger,
        sa.ForeignKey("archive.source.source_id", ondelete="CASCADE"),
        doc="Detection",
        ucd="meta.id",
        primary_key=True,
        autoincrement=False,
    ),
    reference("galaxy_id", "galaxy.galaxy_id", "Galaxy it belongs to", nullable=False, ondelete="CASCADE"),
    column(
        "separation_arcsec",
        sa.Double,
        doc="Distance of the detection from the galaxy's position",
        unit="arcsec",
        ucd="pos.angDistance",
        nullable=False,
    ),
    sa.Index("ix_galaxy_member_galaxy_id", "galaxy_id"),
    comment="Detections of each galaxy",
)

galaxy_update = sa.Table(
    "galaxy_update",
    metadata,
    identity("galaxy_update_id", "Number of the load"),
    column("kind", sa.Text, doc="new or changed: which detections there are", nullable=False),
    one_of("kind", ("new", "changed")),
    comment="Loads and crossmatches that galaxies do not follow yet; the next ingest brings them up to date",
)

crossmatch_run = sa.Table(
    "crossmatch_run",
    metadata,
    identity("crossmatch_run_id", "Number of the crossmatch"),
    reference("left_release_id", "data_release.release_id", "Release whose sources are matched", nullable=False),
    reference("right_release_id", "data_release.release_id", "Release they are matched to", nullable=False),
    column(
        "radius_arcsec",
        sa.Double,
        doc="Largest separation",
        unit="arcsec",
        ucd="pos.angDistance",
        nullable=False,
    ),
    column("n_pair", sa.BigInteger, doc="Number of pairs", ucd="meta.number", nullable=False),
    reference("run_id", "run.run_id", "Run that made it"),
    now_column("created_at", "When it was made"),
    column(
        "min_radius_arcsec",
        sa.Double,
        doc="Smallest separation",
        unit="arcsec",
        ucd="pos.angDistance",
        nullable=False,
        server_default="0",
    ),
    column("nearest", sa.Integer, doc="Partners kept of a left source; NULL for all", ucd="meta.number"),
    column(
        "mutual_best",
        sa.Boolean,
        doc="Whether only pairs that are each other's nearest are kept",
        ucd="meta.code",
        nullable=False,
        server_default=sa.false(),
    ),
    column("epoch", sa.Double, doc="Epoch that positions were brought to", unit="yr", ucd="time.epoch"),
    column("positions_hash", sa.Text, doc="Hash of all positions that it was made from"),
    column("state", sa.Text, doc="running or done", nullable=False, server_default="done"),
    one_of("state", ("running", "done")),
    sa.CheckConstraint("radius_arcsec >= 0 AND radius_arcsec < 648001", name="radius"),
    sa.UniqueConstraint("left_release_id", "right_release_id", "state"),
    comment="Crossmatches of two releases; a new one of the same pair replaces the old when it is done",
)

crossmatch = sa.Table(
    "crossmatch",
    metadata,
    reference(
        "crossmatch_run_id",
        "crossmatch_run.crossmatch_run_id",
        "Crossmatch the pair belongs to",
        ondelete="CASCADE",
        primary_key=True,
    ),
    reference(
        "left_source_id",
        "source.source_id",
        "Source of the left release",
        ondelete="CASCADE",
        primary_key=True,
    ),
    reference(
        "right_source_id",
        "source.source_id",
        "Source of the right release",
        ondelete="CASCADE",
        primary_key=True,
    ),
    column(
        "separation_arcsec",
        sa.Double,
        doc="Great-circle separation",
        unit="arcsec",
        ucd="pos.angDistance",
        nullable=False,
    ),
    column("rank", sa.Integer, doc="1 is the nearest to the left source", ucd="meta.number", nullable=False),
    column("n_within", sa.Integer, doc="Right sources within the radius", ucd="meta.number", nullable=False),
    sa.Index("ix_crossmatch_right", "right_source_id"),
    comment="Pairs within the radius",
)

catalogue_table = sa.Table(
    "catalogue_table",
    metadata,
    reference("release_id", "data_release.release_id", "Release of the catalogue", primary_key=True),
    column("table_name", sa.Text, doc="Table in schema catalogue", nullable=False, unique=True),
    column("columns", JSONB, doc="Columns as in the file: name, type, unit, UCD, description", nullable=False),
    comment="Catalogues that users loaded, each a table in schema catalogue keyed by source_id",
)

extra_column = sa.Table(
    "extra_column",
    metadata,
    identity("extra_column_id", "Number of the column"),
    reference("release_id", "data_release.release_id", "Release of the file", nullable=False),
    column("name", sa.Text, doc="Name of the column in the file, lower case", nullable=False),
    column("type", sa.Text, doc="Which value column holds it: float, integer, text or array", nullable=False),
    column("unit", sa.Text, doc="Unit written in the file", ucd="meta.unit"),
    column("description", sa.Text, doc="Description written in the file"),
    sa.UniqueConstraint("release_id", "name"),
    comment="Columns of survey files that the survey's data model does not name",
)

extra_value = sa.Table(
    "extra_value",
    metadata,
    reference("source_id", "source.source_id", "Source of the value", ondelete="CASCADE", primary_key=True),
    reference("extra_column_id", "extra_column.extra_column_id", "Column of the value", primary_key=True),
    column("value_float", sa.Double, doc="Value of a real column"),
    column("value_integer", sa.BigInteger, doc="Value of an integer or boolean column"),
    column("value_text", sa.Text, doc="Value of a text column"),
    column("value_array", sa.ARRAY(sa.Double), doc="Value of an array column"),
    comment="Values of extra columns, so that no column of a file is dropped",
)
