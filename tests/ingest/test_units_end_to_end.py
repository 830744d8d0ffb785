"""A Gaia-like catalogue in every format: units, UCDs and 64-bit ids from the file to SQL, compared with astropy's."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pyarrow as pa
import pytest
from astropy import units
from astropy.io import fits, votable
from astropy.io.votable.tree import VOTableFile
from astropy.table import Column, MaskedColumn, Table
from pyarrow import parquet

from galbase.ingest.catalogue_job import run_catalogues
from galbase.ingest.catalogue_options import CatalogueOptions
from galbase.ingest.readers.generic import ids_of
from galbase.ingest.readers.table import read_table
from galbase.ingest.releases import add_release
from galbase.schema.errors import GalbaseError

SIGNED = np.array([2**63 - 1, 6917528997577384320, 1, 4295806720], np.int64)
UNSIGNED = np.array([2**64 - 1, 2**63, 2**63 + 1, 5], np.uint64)
# name: unit, UCD, description, values
COLUMNS: dict[str, tuple[str | None, str, str, Any]] = {
    "ra": ("deg", "pos.eq.ra;meta.main", "Right ascension", np.array([10.5, 0.1, 359.999, 120.0])),
    "dec": ("deg", "pos.eq.dec;meta.main", "Declination", np.array([-5.0, 89.0, -89.5, 1 / 3])),
    "parallax": ("mas", "pos.parallax.trig", "Parallax", np.array([1.5, -0.25, 3.0, 0.0])),
    "pmra": ("mas / yr", "pos.pm;pos.eq.ra", "Proper motion, times cos dec", np.array([10.0, -3.5, 0.0, 2.0])),
    "phot_g_mean_mag": ("mag", "phot.mag;em.opt", "Mean G magnitude", np.array([15.5, 16.25, 12.0, 20.5], np.float32)),
    "flux": ("photon / s", "phot.flux;em.opt", "Mean flux", np.array([100.0, 50.0, 1e5, 2.0])),
}


def gaia(unsigned: bool) -> Table:
    made = Table()
    ids = UNSIGNED if unsigned else SIGNED
    made["source_id"] = Column(ids, description="Identifier", meta={"ucd": "meta.id;meta.main"})
    for name, (unit, ucd, text, values) in COLUMNS.items():
        masked = MaskedColumn(values, mask=[False, name == "parallax", False, False])
        made[name] = masked if name == "parallax" else Column(values)
        made[name].unit, made[name].description = unit, text
        made[name].meta["ucd"] = ucd
    return made


def write_fits(table: Table, path: Path) -> None:
    table.write(path, format="fits")
    with fits.open(path, mode="update") as hdus:
        for number, name in enumerate(table.colnames, 1):
            hdus[1].header[f"TUCD{number}"] = table[name].meta["ucd"]
            hdus[1].header[f"TCOMM{number}"] = table[name].description


def write_votable(table: Table, path: Path, tabledata: str = "tabledata") -> None:
    document = VOTableFile.from_table(table)
    for field in document.get_first_table().fields:
        field.ucd = table[field.name].meta["ucd"]
    votable.writeto(document, str(path), tabledata_format=tabledata)


def write_fields(table: Table, path: Path) -> None:
    """Parquet with unit, UCD and description at each field."""
    fields, arrays = [], []
    for name in table.colnames:
        column = table[name]
        notes = {"ucd": column.meta["ucd"], "description": column.description}
        if column.unit is not None:
            notes["unit"] = str(column.unit)
        mask = column.mask if hasattr(column, "mask") else None
        arrays.append(pa.array(np.ma.getdata(np.ma.asarray(column)), mask=mask))
        fields.append(pa.field(name, arrays[-1].type, metadata=notes))
    parquet.write_table(pa.Table.from_arrays(arrays, schema=pa.schema(fields)), path)


WRITERS: dict[str, Any] = {
    "fits": write_fits,
    "vot": write_votable,
    "binary.vot": lambda table, path: write_votable(table, path, "binary"),
    "binary2.vot": lambda table, path: write_votable(table, path, "binary2"),
    "ecsv": lambda table, path: table.write(path, format="ascii.ecsv"),
    "astropy.parquet": lambda table, path: table.write(path, format="parquet"),
    "fields.parquet": write_fields,
}


def described(connection: psycopg.Connection[Any], table: str) -> dict[str, tuple[Any, ...]]:
    rows = connection.execute(
        "SELECT column_name, unit, ucd, description FROM api.column_description WHERE table_name = %s", (table,)
    ).fetchall()
    return {row[0]: tuple(row[1:]) for row in rows}


@pytest.mark.parametrize("kind", WRITERS)
def test_units_and_ucds_reach_sql(archive: Any, tmp_path: Path, kind: str) -> None:
    release = f"gaia_{kind.replace('.', '_')}"
    path = tmp_path / f"gaia.{kind}"
    table = gaia(unsigned=False)
    WRITERS[kind](table, path)
    with archive.connect(autocommit=True) as connection:
        add_release(connection, release, survey="Gaia")
        report = run_catalogues(archive.config, release, [path], CatalogueOptions())
        assert (report.total("loaded"), report.total("rejected")) == (4, 0), report.files
        found = described(connection, release)
        for name, (unit, ucd, text, _) in COLUMNS.items():
            if name in ("ra", "dec"):
                continue
            assert units.Unit(found[name][0], format="vounit") == units.Unit(unit), (name, found[name])
            assert found[name][1:] == (ucd, text)
        assert found["source_id_file"][1:] == ("meta.id;meta.main", "Identifier")
        rows = connection.execute(
            f"SELECT s.native_id, c.source_id_file, s.ra, c.parallax, c.phot_g_mean_mag FROM catalogue.{release} c "  # noqa: S608
            "JOIN archive.source s USING (source_id)"
        ).fetchall()
    by_id = {int(row[0]): row for row in rows}
    assert sorted(by_id) == sorted(SIGNED.tolist())
    for i, native in enumerate(SIGNED.tolist()):
        _, stored, ra, parallax, mag = by_id[native]
        assert stored == native
        assert ra == COLUMNS["ra"][3][i]
        assert parallax == (None if i == 1 else COLUMNS["parallax"][3][i])
        assert np.float32(mag) == COLUMNS["phot_g_mean_mag"][3][i]


@pytest.mark.parametrize("kind", ["fits", "ecsv", "astropy.parquet", "fields.parquet", "csv"])
def test_unsigned_ids_reach_sql_exactly(archive: Any, tmp_path: Path, kind: str) -> None:
    release = f"unsigned_{kind.replace('.', '_')}"
    path = tmp_path / f"u.{kind}"
    table = gaia(unsigned=True)
    if kind == "csv":
        table.write(path, format="ascii.csv")
    else:
        WRITERS[kind](table, path)
    with archive.connect(autocommit=True) as connection:
        add_release(connection, release, survey="SDSS")
        report = run_catalogues(archive.config, release, [path], CatalogueOptions())
        assert report.total("loaded") == 4, report.files
        rows = connection.execute(
            f"SELECT s.native_id, c.source_id_file FROM catalogue.{release} c JOIN archive.source s USING (source_id)"  # noqa: S608
        ).fetchall()
    assert {row[0] for row in rows} == {str(value) for value in UNSIGNED.tolist()}
    assert all(Decimal(native) == stored for native, stored in rows)


def test_a_votable_cannot_hold_unsigned_ids_unless_as_text(tmp_path: Path) -> None:
    text = """<?xml version="1.0"?><VOTABLE version="1.4" xmlns="http://www.ivoa.net/xml/VOTable/v1.3"><RESOURCE><TABLE>
<FIELD name="source_id" datatype="{}"/><FIELD name="ra" datatype="double"/><FIELD name="dec" datatype="double"/>
<DATA><TABLEDATA>{}</TABLEDATA></DATA></TABLE></RESOURCE></VOTABLE>"""
    rows = "".join(f"<TR><TD>{value}</TD><TD>1</TD><TD>2</TD></TR>" for value in UNSIGNED.tolist())
    (tmp_path / "long.vot").write_text(text.format("long", rows))
    with pytest.raises(GalbaseError, match="out of range for a 64-bit integer field.*Declare the column as text"):
        read_table(tmp_path / "long.vot")
    (tmp_path / "char.vot").write_text(text.format('char" arraysize="*', rows))
    read = read_table(tmp_path / "char.vot").columns["source_id"]
    assert [native.decode() for native in ids_of(read).tolist()] == [str(value) for value in UNSIGNED.tolist()]
    rows = "".join(f"<TR><TD>{value}</TD><TD>N/A</TD><TD>2</TD></TR>" for value in SIGNED.tolist())
    (tmp_path / "null.vot").write_text(text.format("long", rows))
    columns = read_table(tmp_path / "null.vot").columns
    assert columns["source_id"].values.tolist() == SIGNED.tolist()
    assert columns["ra"].mask is None or bool(columns["ra"].mask.all())


def test_votable_described_parquet(tmp_path: Path) -> None:
    table = gaia(unsigned=False)
    write_votable(table, tmp_path / "t.vot")
    content = (tmp_path / "t.vot").read_bytes()
    arrow = pa.table({name: np.ma.getdata(np.ma.asarray(table[name])) for name in table.colnames})
    parquet.write_table(
        arrow.replace_schema_metadata({"IVOA.VOTable-Parquet.content": content}), tmp_path / "t.parquet"
    )
    columns = read_table(tmp_path / "t.parquet").columns
    assert (columns["parallax"].unit, columns["parallax"].ucd) == ("mas", "pos.parallax.trig")
    assert columns["source_id"].values.tolist() == SIGNED.tolist()
    parquet.write_table(arrow.replace_schema_metadata({"table_meta_yaml": "- ["}), tmp_path / "bad.parquet")
    with pytest.raises(GalbaseError, match="bad.parquet: its description of the columns is damaged"):
        read_table(tmp_path / "bad.parquet")
