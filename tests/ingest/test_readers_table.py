"""Tables of every format: what astropy and pyarrow wrote is what is read, and what is broken is refused."""

import bz2
import gzip
import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from astropy.io import fits
from astropy.table import MaskedColumn, Table
from pyarrow import parquet

from galbase.ingest.readers.column import FileColumn
from galbase.ingest.readers.sentinels import clean
from galbase.ingest.readers.table import read_table
from galbase.schema.errors import GalbaseError

BIG = [2**63 - 1, 1, 2**62 + 1]


@pytest.fixture
def table() -> Table:
    made = Table()
    made["objid"] = np.array(BIG)
    made["ra"] = np.array([0.1, 359.99999999999994, 1 / 3])
    made["ra"].unit = "deg"
    made["dec"] = [-90.0, 0.0, 89.5]
    made["mag"] = MaskedColumn(np.array([15.5, 16.25, 17], np.float32), mask=[False, True, False])
    made["name"] = ["NGC 1", "M 31", "x"]
    made["flag"] = [True, False, True]
    made["count"] = MaskedColumn(np.array([1, 2, 3], np.int32), mask=[False, False, True])
    return made


def values(column: FileColumn) -> list[object]:
    """Values with None where they are missing."""
    cleaned = clean(column, ()).values
    return np.ma.asarray(cleaned).tolist() if cleaned.dtype != object else cleaned.tolist()


EXPECTED = {
    "objid": BIG,
    "ra": [0.1, 359.99999999999994, 1 / 3],
    "dec": [-90.0, 0.0, 89.5],
    "mag": [15.5, None, 17.0],
    "name": ["NGC 1", "M 31", "x"],
    "flag": [True, False, True],
    "count": [1, 2, None],
}


@pytest.mark.parametrize("suffix", ["fits", "fits.gz", "fits.bz2", "vot", "vot.gz", "parquet", "csv", "csv.gz", "ecsv"])
def test_round_trip(tmp_path: Path, table: Table, suffix: str) -> None:
    plain = tmp_path / f"t.{suffix.split('.')[0]}"
    if plain.suffix == ".parquet":
        arrow = pa.table({name: pa.array(column) for name, column in EXPECTED.items()})
        parquet.write_table(arrow.set_column(3, "mag", arrow["mag"].cast(pa.float32())), plain)
    else:
        formats = {".fits": "fits", ".vot": "votable", ".csv": "ascii.csv", ".ecsv": "ascii.ecsv"}
        table.write(plain, format=formats[plain.suffix])
    path = tmp_path / f"packed.{suffix}"
    pack = {"gz": gzip.compress, "bz2": bz2.compress}.get(suffix.split(".")[-1], lambda data: data)
    path.write_bytes(pack(plain.read_bytes()))
    read = read_table(path)
    assert read.n_row == 3
    assert {name: values(column) for name, column in read.columns.items()} == EXPECTED
    assert read.columns["objid"].values.dtype == np.int64
    if plain.suffix in (".fits", ".vot", ".ecsv"):
        assert read.columns["ra"].unit == "deg"
    if plain.suffix not in (".csv",):
        assert read.columns["mag"].values.dtype == np.float32


def test_unsigned_64_bit_ids_are_exact(tmp_path: Path) -> None:
    ids = np.array([2**64 - 1, 2**63, 299489676975171584], np.uint64)
    Table({"id": ids}).write(tmp_path / "a.fits")
    parquet.write_table(pa.table({"id": ids}), tmp_path / "b.parquet")
    (tmp_path / "c.csv").write_text("id,x\n" + "".join(f"{value},1\n" for value in ids))
    for name in ("a.fits", "b.parquet", "c.csv"):
        column = read_table(tmp_path / name).columns["id"]
        assert column.values.dtype == np.uint64
        assert column.values.tolist() == ids.tolist()


def test_fits_nulls_units_arrays_and_scaled_columns(tmp_path: Path) -> None:
    ragged = np.empty(2, object)
    ragged[:] = [np.array([1, 2, 3], np.int32), np.array([], np.int32)]
    columns = [
        fits.Column("n", "J", null=-99, array=np.array([5, -99])),
        fits.Column("m", "5E", unit="mag", array=np.arange(10, dtype=np.float32).reshape(2, 5)),
        fits.Column("s", "I", array=np.array([2, 3], np.int16)),
        fits.Column("t", "6A", array=np.array(["a b", " c"])),
        fits.Column("v", "PJ()", array=ragged),
    ]
    hdu = fits.BinTableHDU.from_columns(columns)
    hdu.header["TUCD2"] = "phot.mag"
    hdu.header["TCOMM2"] = "five magnitudes"
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(tmp_path / "t.fits")
    for key, value in (("TSCAL3", 0.5), ("TZERO3", 3.0)):
        fits.setval(tmp_path / "t.fits", key, value=value, ext=1)
    read = read_table(tmp_path / "t.fits").columns
    assert values(read["n"]) == [5, None]
    assert (read["m"].unit, read["m"].ucd, read["m"].description) == ("mag", "phot.mag", "five magnitudes")
    assert values(read["m"]) == np.arange(10).reshape(2, 5).tolist()
    assert values(read["s"]) == [4.0, 4.5]
    assert values(read["t"]) == ["a b", " c"]
    assert [item.tolist() for item in read["v"].values] == [[1, 2, 3], []]


def test_csv_keeps_ids_with_leading_zeros_and_comments(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("# from a server\nid;ra;dec;ok\n0001;1.5;-2;true\n0002;NULL;-3;false\n")
    read = read_table(tmp_path / "t.csv").columns
    assert {name: values(column) for name, column in read.items()} == {
        "id": ["0001", "0002"],
        "ra": [1.5, None],
        "dec": [-2, -3],
        "ok": [True, False],
    }


def test_votable_has_ucds_and_refuses_a_service_error(tmp_path: Path) -> None:
    text = """<?xml version="1.0"?><VOTABLE version="1.4" xmlns="http://www.ivoa.net/xml/VOTable/v1.3">
<RESOURCE type="results"><INFO name="QUERY_STATUS" value="{}">too slow</INFO><TABLE>
<FIELD name="alpha" datatype="double" ucd="pos.eq.ra;meta.main" unit="deg"><DESCRIPTION>Right
  ascension</DESCRIPTION></FIELD><FIELD name="n" datatype="char" arraysize="*"/>
<DATA><TABLEDATA><TR><TD>12.5</TD><TD>é</TD></TR></TABLEDATA></DATA></TABLE></RESOURCE></VOTABLE>"""
    (tmp_path / "t.xml").write_text(text.format("OK"))
    column = read_table(tmp_path / "t.xml").columns["alpha"]
    assert (column.ucd, column.unit, column.description) == ("pos.eq.ra;meta.main", "deg", "Right ascension")
    (tmp_path / "e.xml").write_text(text.format("ERROR"))
    with pytest.raises(GalbaseError, match="says ERROR: too slow"):
        read_table(tmp_path / "e.xml")


def test_parquet_types_and_field_metadata(tmp_path: Path) -> None:
    schema = pa.schema(
        [
            pa.field("u", pa.int16(), metadata={"unit": "mag", "ucd": "phot.mag", "description": "u"}),
            pa.field("d", pa.dictionary(pa.int8(), pa.string())),
            pa.field("l", pa.list_(pa.float32())),
            pa.field("f", pa.list_(pa.int64(), 2)),
            pa.field("t", pa.date32()),
        ]
    )
    rows = {"u": [1, None], "d": ["a", "b"], "l": [[1.0], [2.0, 3.0]], "f": [[1, 2], [3, 4]], "t": [0, 1]}
    parquet.write_table(pa.table(rows, schema=schema), tmp_path / "t.parquet")
    read = read_table(tmp_path / "t.parquet").columns
    assert (read["u"].unit, read["u"].ucd, values(read["u"])) == ("mag", "phot.mag", [1, None])
    assert values(read["d"]) == ["a", "b"]
    assert [item.tolist() for item in read["l"].values] == [[1.0], [2.0, 3.0]]
    assert read["f"].values.tolist() == [[1, 2], [3, 4]]
    assert values(read["t"]) == ["1970-01-01", "1970-01-02"]


@pytest.fixture
def sound(tmp_path: Path) -> bytes:
    path = tmp_path / "sound.fits"
    rng = np.random.default_rng(1)
    Table({"id": np.arange(1000), "ra": rng.random(1000), "dec": rng.random(1000)}).write(path)
    return path.read_bytes()


def patched(data: bytes, key: str, value: int) -> bytes:
    """The file with a keyword of the table's header changed."""
    old = next(
        card for i in range(0, len(data), 80) if (card := data[i : i + 80]).startswith(key.encode()) and i > 2880
    )
    return data.replace(old, f"{key:<8}= {value:>20}".encode().ljust(80), 1)


MALFORMED = {
    "cut short": (lambda data: data[: len(data) // 2], "cut short|truncated|sound FITS"),
    "cut in the header": (lambda data: data[:4000], "sound FITS|no FITS table"),
    "NAXIS2 too large": (lambda data: patched(data, "NAXIS2", 10**7), "cut short|truncated"),
    "NAXIS2 too small": (lambda data: patched(data, "NAXIS2", 990), "data follow the last of NAXIS2=990"),
    "NAXIS2 much too small": (lambda data: patched(data, "NAXIS2", 100), "data follow|validating header"),
    "NAXIS1 too small": (lambda data: patched(data, "NAXIS1", 23), "data follow where HDU 1 ends"),
    "NAXIS1 too large": (lambda data: patched(data, "NAXIS1", 25), "NAXIS1=25, but the columns"),
    "TFIELDS too large": (lambda data: patched(data, "TFIELDS", 7), "sound FITS|TFORM"),
    "gzip cut short": (lambda data: gzip.compress(data)[:-500], "damaged compressed file"),
    "gzip with a wrong sum": (lambda data: gzip.compress(data)[:-8] + b"12345678", "damaged compressed file"),
    "not FITS at all": (lambda _: b"<html>404 not found</html>", "is not the FITS file that its name says"),
    "empty": (lambda _: b"", "is empty"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_fits_is_refused_with_the_fault_named(tmp_path: Path, sound: bytes, case: str) -> None:
    damage, message = MALFORMED[case]
    path = tmp_path / "bad.fits"
    path.write_bytes(damage(sound))
    with pytest.raises(GalbaseError, match=message):
        read_table(path)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.parquet", b"PAR1" + b"\0" * 100, "not a sound Parquet file"),
        ("a.parquet", b"id,ra\n1,2\n", "is not the PARQUET file that its name says"),
        ("a.csv", b"id,ra,dec\n1,2,3\n4,5\n", "not a sound CSV table"),
        ("a.csv", b"id,ra,ra\n1,2,3\n", "'ra' twice"),
        ("a.csv", b"\xff\xfe\x00a", "is not the CSV file"),
        ("a.vot", b"<?xml version='1.0'?><VOTABLE><RESOURCE><TABLE>", "not a sound VOTable"),
        ("a.dat", b"\x00\x01\x02", "is not FITS, VOTable, Parquet or CSV"),
    ],
)
def test_malformed_others_are_refused(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(GalbaseError, match=message):
        read_table(tmp_path / name)


def test_image_is_no_table(tmp_path: Path) -> None:
    fits.PrimaryHDU(np.zeros((4, 4))).writeto(tmp_path / "i.fits")
    with pytest.raises(GalbaseError, match="holds no FITS table, only images"):
        read_table(tmp_path / "i.fits")


def test_gzip_bomb_is_refused_in_little_memory(tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.fits.gz"
    header = fits.PrimaryHDU().header.tostring().encode()
    with gzip.open(bomb, "wb", compresslevel=9) as stream:
        stream.write(header)
        for _ in range(300):
            stream.write(bytes(2**20))
    tracemalloc.start()
    with pytest.raises(GalbaseError, match="expands to more than 100 times its .* bytes.*GALBASE_MAX_EXPANSION"):
        read_table(bomb)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200 * 2**20


def test_sentinels_in_the_columns_own_type() -> None:
    single = FileColumn("x", np.array([1e20, -9999, np.nan, np.inf, 2], np.float32))
    cleaned = clean(single, ("1e20", "-9999", "none"))
    assert np.ma.asarray(cleaned.values).tolist() == [None, None, None, None, 2.0]
    assert cleaned.nulls == {"1e20": 1, "-9999": 1, "nan": 1, "infinite": 1}
    assert cleaned.infinite_rows is not None
    assert cleaned.infinite_rows.tolist() == [False, False, False, True, False]
    whole = clean(FileColumn("n", np.array([-9999, 7], np.int16)), ("-9999.0", "100000"))
    assert np.ma.asarray(whole.values).tolist() == [None, 7]
    text = clean(FileColumn("t", np.array(["none", "x", "-9999"])), ("none", "-9999"))
    assert np.ma.asarray(text.values).tolist() == [None, "x", None]
