"""Malformed catalogues: FITS tables, VOTable, Parquet, CSV and ECSV."""

from __future__ import annotations

import io
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
from astropy.io import fits
from astropy.table import Table
from pyarrow import parquet

from tests.ingest.malformed_case import GIB, MIB, Case, bzip2_zeros, cuts, gzip_zeros, of_bytes, patched

CASES: list[Case] = []


@lru_cache
def sound(suffix: str = "fits") -> bytes:
    """A sound catalogue of 1,000 rows."""
    rng = np.random.default_rng(1)
    made = Table({"id": np.arange(1000), "ra": rng.random(1000), "dec": rng.random(1000), "mag": rng.random(1000)})
    made["ra"].unit = made["dec"].unit = "deg"
    stream = io.BytesIO()
    if suffix == "parquet":
        parquet.write_table(pa.table({name: made[name].data for name in made.colnames}), stream)
        return stream.getvalue()
    if suffix in ("csv", "ecsv"):
        text = io.StringIO()
        made.write(text, format=f"ascii.{suffix}")
        return text.getvalue().encode()
    made.write(stream, format={"vot": "votable", "fits": "fits"}[suffix])
    return stream.getvalue()


def add(name: str, file: str, message: str, data: bytes) -> None:
    CASES.append(Case(name, file, "table", message, of_bytes(lambda: data)))


def columns(path: Path, **columns: fits.Column) -> None:
    made = [fits.Column(name, form, array=array) for name, (form, array) in columns.items()]  # type: ignore[misc]
    fits.BinTableHDU.from_columns(made).writeto(path)


NUMBERS = np.arange(3)
TEXT = np.array(["a", "b", "c"])

for where, data in cuts(sound(), 2880):
    add(f"FITS table cut {where}", "a.fits", "sound FITS|cut short|truncated|no FITS table|not the FITS", data)
add("FITS table, NAXIS2 too large", "a.fits", "cut short|truncated", patched(sound(), "NAXIS2", 10**7, after=2880))
add("FITS table, NAXIS2 beyond 64 bits", "a.fits", "FITS|cut short", patched(sound(), "NAXIS2", 10**19, after=2880))
add("FITS table, NAXIS2 negative", "a.fits", "FITS|cut short|NAXIS2", patched(sound(), "NAXIS2", -5, after=2880))
add("FITS table, NAXIS2 too small", "a.fits", "data follow", patched(sound(), "NAXIS2", 900, after=2880))
add("FITS table, NAXIS1 of 10 GB", "a.fits", "cut short|truncated|FITS", patched(sound(), "NAXIS1", 10**10, after=2880))
add("FITS table, TFORM of 8 GB a row", "a.fits", "TFORM|FITS", patched(sound(), "TFORM2", "999999999D", after=2880))
add(
    "FITS table, TFORM of another size",
    "a.fits",
    "NAXIS1=32, but the columns' TFORM",
    patched(sound(), "TFORM2", "9D", after=2880),
)
add("FITS table, TFORM unknown", "a.fits", "FITS|TFORM", patched(sound(), "TFORM2", "?", after=2880))
add("FITS table, PCOUNT of 1 TB", "a.fits", "cut short|FITS", patched(sound(), "PCOUNT", 10**12, after=2880))
add("FITS table, TFIELDS of a million", "a.fits", "FITS|TFORM|TFIELDS", patched(sound(), "TFIELDS", 10**6, after=2880))
add("FITS table, empty file", "a.fits", "is empty|not the FITS file", b"")
add("FITS table, a web page", "a.fits", "not the FITS file", b"<html>404 not found</html>")
add("FITS table, Parquet inside", "a.fits", "not the FITS file", sound("parquet"))
for suffix, bomb in (("gz", gzip_zeros), ("bz2", bzip2_zeros)):
    head = patched(sound()[:8640], "NAXIS2", GIB // 16, after=2880)
    add(f"FITS table, {suffix} bomb", f"a.fits.{suffix}", "expands to more than 100 times", bomb(head, 2 * GIB))
    add(f"CSV, {suffix} bomb", f"a.csv.{suffix}", "expands to more than 100 times", bomb(b"id,ra,dec\n", 2 * GIB))
    packed = bomb(sound(), 64 * MIB)
    add(f"FITS table, {suffix} cut short", f"a.fits.{suffix}", "damaged compressed file", packed[: len(packed) // 2])
CASES += [
    Case("FITS table, text for a position", "a.fits", "table", "column 'ra' is text", lambda path: columns(
        path, id=("K", NUMBERS), ra=("4A", TEXT), dec=("D", NUMBERS))),
    Case("FITS table, arrays for a position", "a.fits", "table", "column 'ra' is float .*values a row", lambda path:
         columns(path, id=("K", NUMBERS), ra=("2D", np.zeros((3, 2))), dec=("D", NUMBERS))),
    Case("FITS table, no declination", "a.fits", "table", "no columns for the position; name them with --ra",
         lambda path: columns(path, id=("K", NUMBERS), ra=("D", NUMBERS))),
    Case("FITS table, no id", "a.fits", "table", "no column whose values can be the ids; name one with --id",
         lambda path: columns(path, mag=("D", NUMBERS), ra=("D", NUMBERS), dec=("D", NUMBERS))),
    Case("FITS table, complex numbers", "a.fits", "table", "column vis holds complex numbers", lambda path:
         columns(path, id=("K", NUMBERS), ra=("D", NUMBERS), dec=("D", NUMBERS), vis=("M", NUMBERS + 1j))),
]  # fmt: skip


def heap(path: Path) -> None:
    """A variable-length array whose descriptor points far beyond the heap."""
    ragged = np.empty(2, object)
    ragged[:] = [np.arange(3, dtype=np.float64), np.arange(2, dtype=np.float64)]
    columns(path, id=("K", NUMBERS[:2]), ra=("D", NUMBERS[:2]), dec=("D", NUMBERS[:2]), v=("QD()", ragged))
    data = path.read_bytes()
    start = data.index(b"END" + b" " * 77, 2880)
    start += 80 + -(start + 80) % 2880
    broken = bytearray(data)
    broken[start + 24 : start + 40] = np.array([10**9, 2**40], ">i8").tobytes()
    path.write_bytes(bytes(broken))


CASES.append(Case("FITS table, an array beyond the heap", "a.fits", "table", "FITS|heap", heap))

# --- Parquet ---
PARQUET = sound("parquet")
for part in (0.1, 0.5, 0.99):
    add(f"Parquet cut at {part}", "a.parquet", "not a sound Parquet file", PARQUET[: int(part * len(PARQUET))])
add("Parquet, empty file", "a.parquet", "is empty|not the PARQUET file", b"")
add("Parquet, text inside", "a.parquet", "not the PARQUET file", sound("csv"))
add("Parquet, footer of 2 GB", "a.parquet", "not a sound Parquet", PARQUET[:-8] + b"\xff\xff\xff\x7fPAR1")
add("Parquet, a page overwritten", "a.parquet", "not a sound Parquet", PARQUET[:30] + b"\xff" * 3000 + PARQUET[3030:])


def parquet_bomb(path: Path, codec: str) -> None:
    zeros = pa.array(np.zeros(8 * MIB))
    with parquet.ParquetWriter(path, pa.schema([("id", pa.int64()), ("ra", pa.float64())]), compression=codec,
                               use_dictionary=codec == "NONE") as writer:  # fmt: skip
        for _ in range(16):
            writer.write_table(pa.table({"id": zeros.cast(pa.int64()), "ra": zeros}))


def parquet_text(path: Path) -> None:
    parquet.write_table(pa.table({"id": NUMBERS, "ra": TEXT, "dec": NUMBERS}), path)


CASES += [
    Case(
        f"Parquet, {codec} bomb", "a.parquet", "table", "would take .* MiB", lambda path, c=codec: parquet_bomb(path, c)
    )
    for codec in ("ZSTD", "GZIP", "NONE")
]
CASES.append(Case("Parquet, text for a position", "a.parquet", "table", "column 'ra' is text", parquet_text))


def parquet_nested(path: Path) -> None:
    parquet.write_table(pa.table({"id": NUMBERS, "ra": NUMBERS, "dec": NUMBERS, "m": [{"a": 1}] * 3}), path)


CASES.append(Case("Parquet, nested columns", "a.parquet", "table", "column 'm' is of type", parquet_nested))

# --- CSV and ECSV ---
add("CSV, empty file", "a.csv", "is empty", b"")
add("CSV, a row too short", "a.csv", "row #4|line 4|Expected 3 columns", b"id,ra,dec\n1,2,3\n2,3,4\n4,5\n")
add(
    "CSV, cut within a row",
    "a.csv",
    "not a sound CSV table",
    sound("csv")[: sound("csv").rindex(b",")].rsplit(b",", 1)[0],
)
add("CSV, not UTF-8", "a.csv", "UTF-?8|utf8", b"id,ra,dec,name\n" + b"1,2,3,abc\n" * 1000 + b"9,2,3,\xff\xfe\n")
add("CSV, zero bytes", "a.csv", "not the CSV file", b"id,ra,dec\n1,2,3\n\0\0\0\0")
add("CSV, text for a position", "a.csv", "column 'ra' .*row 1 holds 'north'", b"id,ra,dec\n1,2,3\n2,north,4\n")
add("CSV, a quote never closed", "a.csv", "not a sound CSV table", b'id,ra,dec,t\n1,2,3,"x\n' + b"2,3,4,y\n" * 10000)
add("CSV, one line of 60 MB", "a.csv", "not a sound CSV|no header line|header line", b"id,ra,dec" + b",x" * (30 * MIB))
add("ECSV, header cut", "a.ecsv", "not a sound ECSV table", sound("ecsv")[:60])
add("ECSV, text for a number", "a.ecsv", "not a sound ECSV table", sound("ecsv") + b"x y z w\n")
LAUGHS = "# %ECSV 1.0\n# ---\n# a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n" + "".join(
    f"# a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 30)
)
add(
    "ECSV, billion laughs",
    "a.ecsv",
    "not a sound ECSV table",
    (LAUGHS + "# datatype: *a29\nid ra dec\n1 2 3\n").encode(),
)
add("ECSV, nested a million deep", "a.ecsv", "not a sound ECSV", b"# %ECSV 1.0\n# ---\n# a: " + b"[" * 10**6 + b"\n")

# --- VOTable ---
VOT = sound("vot")
HEAD = b"""<?xml version="1.0"?>%s<VOTABLE version="1.4" xmlns="http://www.ivoa.net/xml/VOTable/v1.3"><RESOURCE>"""
FIELDS = (
    b"""<FIELD name="id" datatype="long"/><FIELD name="ra" datatype="double"/><FIELD name="dec" datatype="double"/>"""
)
ROWS = b"<DATA><TABLEDATA><TR><TD>1</TD><TD>2</TD><TD>3</TD></TR></TABLEDATA></DATA></TABLE></RESOURCE></VOTABLE>"
ENTITIES = b"<!DOCTYPE lolz [<!ENTITY a0 'lol'>" + b"".join(
    b"<!ENTITY a%d '%s'>" % (i, b"&a%d;" % (i - 1) * 10) for i in range(1, 12)
) + b"]>"  # fmt: skip
for part in (0.02, 0.5, 0.999):
    add(f"VOTable cut at {part}", "a.vot", "not a sound VOTable|not the VOTABLE", VOT[: int(part * len(VOT))])
add("VOTable, empty file", "a.vot", "is empty|not the VOTABLE", b"")
add(
    "VOTable, billion laughs",
    "a.vot",
    "entities",
    HEAD % ENTITIES + b"<TABLE><DESCRIPTION>&a11;</DESCRIPTION>" + FIELDS + ROWS,
)
add("VOTable, an external entity", "a.vot", "entities", HEAD % b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/hosts">]>'
    + b"<TABLE><DESCRIPTION>&e;</DESCRIPTION>" + FIELDS + ROWS)  # fmt: skip
add("VOTable, nested a million deep", "a.vot", "nested|not a sound VOTable", HEAD % b"" + b"<RESOURCE>" * 10**6)
add("VOTable, nrows of 10^10", "a.vot", "nrows", HEAD % b"" + b'<TABLE nrows="10000000000">' + FIELDS + ROWS)
add("VOTable, arraysize of 10^10", "a.vot", "arraysize", HEAD % b"" + b'<TABLE>'
    + FIELDS.replace(b'name="dec"', b'arraysize="10000000000" name="dec"') + ROWS)  # fmt: skip
add("VOTable, text for a number", "a.vot", "not a sound VOTable", HEAD % b"" + b"<TABLE>" + FIELDS
    + ROWS.replace(b"<TD>2</TD>", b"<TD>north</TD>"))  # fmt: skip
add("VOTable, an integer of 65 bits", "a.vot", "not a sound VOTable", HEAD % b"" + b"<TABLE>" + FIELDS
    + ROWS.replace(b"<TD>1</TD>", b"<TD>18446744073709551616</TD>"))  # fmt: skip
add("VOTable, data elsewhere", "a.vot", "other files|href", HEAD % b"" + b"<TABLE>" + FIELDS
    + b'<DATA><BINARY><STREAM href="file:///etc/hosts"/></BINARY></DATA></TABLE></RESOURCE></VOTABLE>')  # fmt: skip
add("VOTable, no table", "a.vot", "not a sound VOTable|no table", HEAD % b"" + b"</RESOURCE></VOTABLE>")
