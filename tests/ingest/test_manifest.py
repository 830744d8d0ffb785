"""Manifests."""

from pathlib import Path

import pytest

from galbase.ingest.manifest import read_manifest
from galbase.schema.errors import GalbaseError, UsageError


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_rows_are_found_beside_the_manifest_and_below_the_folder(tmp_path: Path) -> None:
    lines = "File, RA ,Dec,pixel_scale_arcsec,id\nsub/a.jpg,10.5,-3,0.4,A\nb.jpg,,,,\nc.jpg,361,5,,\n"
    manifest = read_manifest(write(tmp_path / "m.csv", lines))
    a = manifest.find(tmp_path / "sub" / "a.jpg", tmp_path)
    assert a is not None
    assert (a.position(), a.pixel_scale(), a.native_id) == ((10.5, -3.0), 0.4, "A")
    elsewhere = tmp_path / "elsewhere"
    b = manifest.find(elsewhere / "b.jpg", elsewhere)
    assert b is not None
    assert (b.position(), b.pixel_scale(), b.native_id) == (None, None, None)
    assert manifest.unused() == ["c.jpg"]
    c = manifest.find(tmp_path / "c.jpg", tmp_path)
    assert c is not None
    assert c.position() == (1.0, 5.0)
    assert manifest.find(tmp_path / "d.jpg", tmp_path) is None


def test_byte_order_mark_and_missing_words(tmp_path: Path) -> None:
    manifest = read_manifest(write(tmp_path / "m.csv", "\ufefffile,ra,dec\na.jpg,nan,NULL\n"))
    row = manifest.find(tmp_path / "a.jpg", tmp_path)
    assert row is not None
    assert row.position() is None


@pytest.mark.parametrize(
    ("cells", "reason"),
    [("10,95", "dec=95 is not on the sky"), ("10,", "dec='' is no number"), ("ten,5", "ra='ten'"), ("inf,5", "ra=inf")],
)
def test_bad_positions_name_line_and_value(tmp_path: Path, cells: str, reason: str) -> None:
    row = read_manifest(write(tmp_path / "m.csv", f"file,ra,dec\na.jpg,{cells}\n")).find(tmp_path / "a.jpg", tmp_path)
    assert row is not None
    with pytest.raises(GalbaseError, match=f"line 2.*{reason}"):
        row.position()


@pytest.mark.parametrize("scale", ["0", "-1", "nine"])
def test_bad_pixel_scales_are_named(tmp_path: Path, scale: str) -> None:
    text = f"file,ra,dec,pixel_scale_arcsec\na.jpg,1,1,{scale}\n"
    row = read_manifest(write(tmp_path / "m.csv", text)).find(tmp_path / "a.jpg", tmp_path)
    assert row is not None
    with pytest.raises(GalbaseError, match=f"pixel_scale_arcsec='?{scale}"):
        row.pixel_scale()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("name,ra,dec\na.jpg,1,2\n", "needs the columns file, ra and dec; it has name, ra, dec"),
        ("file,ra\na.jpg,1\n", "needs the columns"),
        ("", "it has none"),
        ("file,ra,dec\na.jpg,1,2\na.jpg,1,2\n", "lines 2 and 3 name the same file 'a.jpg'"),
        ("file,ra,dec,id\na.jpg,1,2,x\nb.jpg,1,2,x\n", "the same id 'x'"),
        ("file,ra,dec\n,1,2\n", "line 2 names no file"),
    ],
)
def test_unusable_manifests(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        read_manifest(write(tmp_path / "m.csv", text))


def test_missing_manifest(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"m\.csv cannot be read"):
        read_manifest(tmp_path / "m.csv")
