"""Every real file in the test data: read by the reader that claims it, or listed here with the reason why none does.

What is read is compared with astropy, pyarrow, Pillow and the csv module, which open the files independently.
"""

import csv
import fnmatch
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from PIL import Image
from pyarrow import parquet

from galbase.ingest.catalogue_options import CatalogueOptions, read_detections
from galbase.ingest.image import image_format, read_image_file
from galbase.ingest.preprocess.pixels import read_cutouts
from galbase.ingest.readers.spectra import read_pixels, read_spectra, spectrum_format
from galbase.ingest.readers.table import read_table
from galbase.schema.errors import GalbaseError

# Which reader claims a file, first match first.
CLAIMED = (
    ("spectra/sdss/*.fits", "spectrum"),
    ("spectra/desi/coadd-*.fits", "spectrum"),
    ("sdss-pairs/spectra/*.fits", "spectrum"),
    ("catalogues/*.fits", "table"),
    ("catalogues/*.parquet", "table"),
    ("legacysurvey-tractor-sweep/t/*.fits", "table"),
    ("legacysurvey-tractor-sweep/dr6/coadd/*.fits.fz", "image"),
    ("cosmos-hst/real_galaxy_catalog_*.fits", "table"),
    ("cosmos-hst/*.fits", "image"),
    ("cosmos-hst/*.fits.bz2", "image"),
    ("sdss-frame/*.fits.bz2", "image"),
    ("sdss-frame/*.parquet", "table"),
    ("*.csv", "table"),
    ("*.jpg", "image"),
    ("*.png", "image"),
)
UNCLAIMED = {
    "README.md": "text for people",
    "*/README.md": "text for people",
    "ssp-templates/*.npz": "template spectra for simulations, neither observed nor anywhere on the sky",
    "spectra/desi/redrock-*.fits": "redshifts only: read with the coadd file beside it, refused by itself",
    "cosmos-hst/galsim/*.asc": "columns aligned by blanks under a comment, without names that a reader could go by",
}


def claim(name: str) -> str | None:
    return next((reader for pattern, reader in CLAIMED if fnmatch.fnmatch(name, pattern)), None)


def test_every_file_is_claimed_or_listed(test_data: Path) -> None:
    names = [path.relative_to(test_data).as_posix() for path in sorted(test_data.rglob("*")) if path.is_file()]
    assert len(names) > 300
    for name in names:
        listed = any(fnmatch.fnmatch(name, pattern) for pattern in UNCLAIMED)
        assert (claim(name) is None) == listed, name
        if name.endswith((".npz", ".md", ".asc")):
            assert image_format(test_data / name) is None
    unused = [pattern for pattern in UNCLAIMED if not fnmatch.filter(names, pattern)]
    assert unused == []


def of_reader(test_data: Path, reader: str) -> list[Path]:
    return [
        path
        for path in sorted(test_data.rglob("*"))
        if path.is_file() and claim(path.relative_to(test_data).as_posix()) == reader
    ]


def test_tables(test_data: Path) -> None:
    paths = of_reader(test_data, "table")
    assert {path.suffix for path in paths} == {".fits", ".parquet", ".csv"}
    for path in paths:
        read = read_table(path)
        columns, units = truth_of_table(path)
        assert list(read.columns) == list(columns), path.name
        for name, wanted in columns.items():
            column = read.columns[name]
            assert len(column.values) == len(wanted) == read.n_row, (path.name, name)
            assert (column.unit or "") == units.get(name, ""), (path.name, name)
            if path.suffix == ".csv":
                compare_text(column, wanted, path.name)
            else:
                compare(column, wanted, f"{path.name} {name}")


# Tables that are no catalogue by themselves: the options that make them one, or why they cannot be.
NEED_OPTIONS: dict[str, tuple[dict[str, str], int]] = {
    "sdss-frame/stripe82_gz2_labels.parquet": ({"id_column": "ID"}, 5197),
    "spectra/index.csv": ({"ra": "plug_ra", "dec": "plug_dec", "id_column": "file"}, 3),
    "gz-coords-sample/manifest.csv": ({"id_column": "file"}, 27),
}
WITHOUT_POSITIONS = (
    "catalogues/sdss_mgs_photoz.parquet",
    "cosmos-hst/real_galaxy_catalog_23.5_example_fits.fits",
    "cosmos-hst/real_galaxy_catalog_26_extension_example_fits.fits",
    "gz-coords-sample/tables/gz2_filename_mapping.csv",
    "gz-coords-sample/tables/training_solutions_rev1.csv",
    "gz-example-images/manifest.csv",
)


def test_which_tables_are_catalogues(test_data: Path) -> None:
    for path in of_reader(test_data, "table"):
        name = path.relative_to(test_data).as_posix()
        if name in WITHOUT_POSITIONS:
            with pytest.raises(GalbaseError, match="no columns for the position; name them with --ra and --dec"):
                read_detections(path, CatalogueOptions())
            continue
        if name in NEED_OPTIONS:
            with pytest.raises(GalbaseError, match="--id|--ra"):
                read_detections(path, CatalogueOptions())
        options, n_row = NEED_OPTIONS.get(name, ({}, None))
        read = read_detections(path, CatalogueOptions(**options))
        columns, _ = truth_of_table(path)
        assert read.n_row == len(next(iter(columns.values())))
        assert n_row in (None, read.n_row)
        assert (read.table is not None) == ("tractor-sweep" in name)


def truth_of_table(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    if path.suffix == ".fits":
        with fits.open(path) as hdus:
            data = hdus[1].data
            return {c.name: np.array(data[c.name]) for c in data.columns}, {c.name: c.unit or "" for c in data.columns}
    if path.suffix == ".parquet":
        table = parquet.read_table(path)
        return {name: table[name].to_pylist() for name in table.column_names}, {}
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    return {name: [row[name] for row in rows] for name in rows[0]}, {}


def compare(column: Any, wanted: Any, where: str) -> None:
    if isinstance(wanted, list):
        mask = np.zeros(len(wanted), bool) if column.mask is None else column.mask
        for got, is_missing, value in zip(column.values.tolist(), mask, wanted, strict=True):
            if value is None:
                assert is_missing or got is None, where
            else:
                assert got == value or (got != got and value != value), where
    elif wanted.dtype.kind in "SU":
        assert column.values.tolist() == np.char.rstrip(wanted.astype(str), " ").tolist(), where
    else:
        np.testing.assert_array_equal(column.values, wanted, err_msg=where)


def compare_text(column: Any, wanted: list[str], where: str) -> None:
    """A CSV column: integers digit by digit, real numbers as Python reads them, text as it is."""
    mask = np.zeros(len(wanted), bool) if column.mask is None else column.mask
    for got, is_missing, text in zip(column.values.tolist(), mask, wanted, strict=True):
        if is_missing or got is None:
            assert text.strip().lower() in ("", "nan", "null"), (where, column.name, text)
        elif isinstance(got, bool):
            assert str(got).lower() == text.lower(), (where, column.name)
        elif isinstance(got, int):
            assert str(got) == text.strip(), (where, column.name)
        elif isinstance(got, float):
            assert got == float(text) or got != got, (where, column.name)
        else:
            assert got.strip() == text.strip(), (where, column.name)


def test_images(test_data: Path) -> None:
    paths = of_reader(test_data, "image")
    assert len(paths) > 280
    n_image = 0
    for path in paths:
        read = read_image_file(path)
        n_image += read.n_row
        if path.suffix in (".jpg", ".png"):
            with Image.open(path) as picture:
                assert (read.width, read.height) == picture.size, path.name
                assert len(read.bands) == (3 if picture.mode.startswith("RGB") else 1), path.name
            assert (read.n_row, read.is_display, read.pixel_scale_arcsec) == (1, True, None)
            continue
        with warnings.catch_warnings(), fits.open(path) as hdus:
            warnings.simplefilter("ignore")
            images = [hdu for hdu in hdus if hdu.is_image and hdu.data is not None and hdu.data.ndim == 2]
            assert read.n_row == len(images), path.name
            for row in {0, len(images) // 2, len(images) - 1}:
                width, height = (read.width, read.height) if read.sizes is None else read.sizes[row]
                assert (height, width) == images[row].data.shape, path.name
                cut = read_cutouts(path, "fits-image", row, row + 1)
                np.testing.assert_array_equal(cut.pixels[0, :, :, 0], images[row].data.astype(np.float32))
            header = images[0].header
            assert read.bands == ((str(header["FILTER"]).split()[0],) if "FILTER" in header else ("band0",)), path.name
            if "CD1_2" in header and str(header["CTYPE1"]).startswith("RA"):
                cd = np.array([[header["CD1_1"], header["CD1_2"]], [header["CD2_1"], header["CD2_2"]]])
                scale = np.sqrt(abs(np.linalg.det(cd))) * 3600
                assert read.pixel_scale_arcsec == pytest.approx(scale, rel=1e-6), path.name
            else:
                assert read.pixel_scale_arcsec is None, path.name
                assert np.isnan(read.ra).all()
    # 271 JPEG, 18 PNG, 6 planes of a brick, one frame; 3 files of 100 stamps or PSFs, and 5 of one image.
    assert n_image == 271 + 18 + 6 + 1 + 300 + 5


def test_spectra(test_data: Path) -> None:
    paths = of_reader(test_data, "spectrum")
    assert len(paths) == 8
    for path in paths:
        read = read_spectra(path)
        assert (read.n_row, len(read.rows), read.rejected) == (1, 1, []) or read.rejected == ()
        pixels = read_pixels(path, read.format, 0, read.details["wave_min_angstrom"][0])
        with fits.open(path) as hdus:
            if read.format == "sdss-spec":
                table = hdus["COADD"].data
                np.testing.assert_allclose(np.log10(pixels.wave_angstrom), table["loglam"], atol=1e-7)
                np.testing.assert_array_equal(pixels.ivar, table["ivar"])
                assert read.native_ids == [str(hdus["SPECOBJ"].data["SPECOBJID"][0]).strip()]
            else:
                assert read.native_ids == [str(hdus["FIBERMAP"].data["TARGETID"][0])]
                assert read.details["n_pixel"][0] == len(
                    {round(w, 2) for arm in "BRZ" for w in hdus[f"{arm}_WAVELENGTH"].data.tolist()}
                )
        assert pixels.is_vacuum
        assert pixels.flux_unit == "1e-17 erg / (Angstrom s cm2)"


def test_redshifts_alone_are_not_claimed(test_data: Path) -> None:
    for path in test_data.glob("spectra/desi/redrock-*.fits"):
        assert spectrum_format(path) is None


def test_the_kinds_of_claims_are_exclusive() -> None:
    assert claim("cosmos-hst/real_galaxy_catalog_23.5_example.fits") == "table"
    assert claim("cosmos-hst/real_galaxy_images_extension.fits") == "image"
    assert claim("new/unknown.dat") is None
