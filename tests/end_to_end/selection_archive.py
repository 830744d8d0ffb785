"""Galaxies that fail the papers' criteria in many ways, loaded by the real ingests from files of the surveys' layouts.

Galaxy k has its own place, 2 degrees from the next; what is true of it is kept in plain Python.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS

from galbase.ingest.catalogue_job import run_catalogues
from galbase.ingest.catalogue_options import CatalogueOptions
from galbase.ingest.crossmatch import CrossmatchOptions
from galbase.ingest.crossmatch_job import run_crossmatch
from galbase.ingest.duplicates import flag_duplicates
from galbase.ingest.galaxies import rebuild_galaxies
from galbase.ingest.image import ImageOptions, ingest_images
from galbase.ingest.jobs import run_preprocess
from galbase.ingest.label_file import LabelOptions, ingest_labels
from galbase.ingest.preprocess.config import preset
from galbase.ingest.releases import add_release
from galbase.ingest.spectrum import ingest_spectra
from tests.ingest.conftest import galspec, tractor

N = 120
ARCSEC = 1 / 3600
SIDE, GRI_SIDE = 152, 128


@dataclass
class Truth:
    """What is true of one galaxy; None where it has no such thing.

    Images are ``round`` (kept), ``flat`` (not kept), or came ``later`` than the preprocessing.
    """

    ra: float
    dec: float
    kind: str
    sdss: dict[str, Any] | None
    image: str | None
    gri: str | None
    spectrum: dict[str, Any] | None
    label: dict[str, float] = field(default_factory=dict)
    separation_arcsec: float = 0.3
    gri_separation_arcsec: float = 0.0
    flag: set[str] = field(default_factory=set)

    @property
    def specobjid(self) -> int:
        """Above 2^63, as real ones are."""
        return 2**63 + (round(self.ra * 1e4) << 20) + round(self.dec * 1e4)


def draw(seed: int = 5) -> list[Truth]:
    """N galaxies of which each criterion fails for some, borderline values included."""
    rng = np.random.default_rng(seed)

    def pick(good: list[Any], bad: list[Any], share: float = 0.07) -> Any:
        values = bad if rng.random() < share else good
        return values[rng.integers(len(values))]

    made = []
    for k in range(N):
        sdss = None
        if rng.random() > 0.08:
            sdss = {
                "SPECTROTYPE": pick(["GALAXY"], ["QSO", "STAR"]),
                "RELIABLE": pick([1], [0]),
                "Z": pick([0.1, 0.002, 0.3, 0.05], [0.0, -0.001, 0.0019]),
                "Z_WARNING": pick([0], [4, 16]),
                "SN_MEDIAN": pick([12.0, 5.0], [4.99]),
                "BPTCLASS": pick([1], [-1, 2, 5], 0.2),
                "LGM_FIB_P50": pick([9.5, 10.5], [-9999.0]),
                "SPECSFR_FIB_P50": pick([-10.5, -9.0], [-9999.0]),
                "OH_P50": pick([8.5, 9.0], [-9999.0], 0.15),
            }
        spectrum = None
        if sdss is not None and rng.random() > 0.1:
            spectrum = {
                "Z": pick([0.1, 0.002, 0.3], [0.0019, 0.301, -0.0001], 0.12),
                "ZWARNING": pick([0], [4]),
                "SN_MEDIAN_ALL": pick([9.0, 5.0], [4.5]),
                "low": pick([3800.0], [3850.0]),
                "high": pick([9200.0], [7900.0]),
            }
        label = {}
        if sdss is not None:
            label = {name: pick([9.5], [float("nan")]) for name in ("LOG_AGE", "MH")}
        made.append(
            Truth(
                ra=150 + (k % 12) * 1.9, dec=2 + (k // 12) * 1.9,
                kind=pick(["EXP"], ["REX", "DEV", "SER"], 0.4),
                sdss=sdss,
                image=pick(["round"], ["flat", "later", None], 0.2),
                gri=None if sdss is None else pick(["round"], ["flat", "later", None], 0.2),
                spectrum=spectrum, label=label,
                separation_arcsec=pick([0.3, 1.0, 2.9], [3.1, 4.0], 0.08),
                gri_separation_arcsec=pick([0.0, 1.0, 2.9], [3.1, 4.0], 0.08),
            )
        )  # fmt: skip
    return made


def special() -> list[Truth]:
    """A pair that met through a third detection, and an image beside a brighter repetition of itself."""
    good = {
        "SPECTROTYPE": "GALAXY", "RELIABLE": 1, "Z": 0.1, "Z_WARNING": 0, "SN_MEDIAN": 12.0, "BPTCLASS": 1,
        "LGM_FIB_P50": 10.0, "SPECSFR_FIB_P50": -10.0, "OH_P50": 8.7,
    }  # fmt: skip
    spectrum = {"Z": 0.1, "ZWARNING": 0, "SN_MEDIAN_ALL": 9.0, "low": 3800.0, "high": 9200.0}
    label = {"LOG_AGE": 9.5, "MH": 0.0}
    return [
        Truth(100.0, 2.0, "EXP", good, "round", None, spectrum, label, 1.1, flag={"not the best match"}),
        Truth(100.1, 2.0, "EXP", good, "round", None, spectrum, label, 0.2, flag={"duplicate"}),
    ]


def galaxy_image(kind: str, side: int, n_band: int) -> np.ndarray:
    """A round galaxy, or nothing at all."""
    if kind == "flat":
        return np.zeros((n_band, side, side), np.float32)
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    colours = np.array([0.5, 1.0, 1.5])[:n_band, None, None]
    return (0.05 * colours * np.exp(-(x**2 + y**2) / 60)).astype(np.float32)


def fill(archive: Any, folder: Path) -> list[Truth]:
    """Write the files, load them, match and preprocess; returns what is true of each galaxy."""
    galaxies = draw()
    extra = special()
    with archive.connect(autocommit=True) as connection:
        releases = {
            name: add_release(connection, name, survey="trial", priority=k, simulated=name == "gri")[0]
            for k, name in enumerate(("ls", "gri", "sdss", "third"))
        }
        _sdss(archive, folder, connection, releases["sdss"], galaxies, extra)
        _images(archive, folder, connection, releases, galaxies, extra, "first")
        third = Table({"id": [1], "ra": [extra[0].ra], "dec": [extra[0].dec]})
        third.write(folder / "third.csv", format="ascii.csv")
        run_catalogues(archive.config, "third", [folder / "third.csv"], CatalogueOptions())
    for release, config in (("ls", "galeffnet"), ("ls", "gpm_resnet"), ("gri", "mmlforgalam")):
        run_preprocess(archive.config, release=release, preprocess=preset(config), name=config, workers=1)
    with archive.connect(autocommit=True) as connection:
        _images(archive, folder, connection, releases, galaxies, [], "later")
    for left, right in (("ls", "sdss"), ("gri", "sdss"), ("ls", "third"), ("third", "sdss")):
        run_crossmatch(archive.config, left, right, CrossmatchOptions(5.0), workers=1)
    with archive.connect(autocommit=True) as connection:
        rebuild_galaxies(connection)
        flag_duplicates(connection, "ls", 0.5, keep="flux_r")
        connection.execute("ANALYZE")
    return galaxies + extra


def _sdss(archive: Any, folder: Path, connection: Any, release: Any, galaxies: list[Truth], extra: list[Truth]) -> None:
    with_sdss = [galaxy for galaxy in (*galaxies, *extra) if galaxy.sdss is not None]
    n = len(with_sdss)
    table = galspec(n + 1)
    table["SPECOBJID"] = np.array([galaxy.specobjid for galaxy in with_sdss] + [7], np.uint64)
    table["Z_WARNING"], table["SN_MEDIAN"] = np.zeros(n + 1, np.int32), np.full(n + 1, 12.0, np.float32)
    table["SPECTROTYPE"] = np.array(["GALAXY"] * (n + 1), "U6")
    for row, galaxy in enumerate(with_sdss):
        # The crowded galaxy's spectrum lies to the south of the third catalogue's detection, its image to the north.
        south = 0.5 if "not the best match" in galaxy.flag else 0.0
        table["RA"][row], table["DEC"][row] = galaxy.ra, galaxy.dec - south * ARCSEC
        for name, value in (galaxy.sdss or {}).items():
            table[name][row] = value
    # The nearest spectrum to the crowded image, itself nearest to another image.
    table["RA"][n], table["DEC"][n] = extra[0].ra, extra[0].dec + 1.5 * ARCSEC
    table.write(folder / "galSpec.fits")
    run_catalogues(archive.config, "sdss", [folder / "galSpec.fits"], CatalogueOptions())
    labels = Table({"SPECOBJID": np.array([galaxy.specobjid for galaxy in with_sdss], np.uint64)})
    for name in ("LOG_AGE", "MH"):
        labels[name] = np.array([galaxy.label[name] for galaxy in with_sdss], "f4")
    labels.write(folder / "labels.fits")
    ingest_labels(connection, release, [folder / "labels.fits"], LabelOptions(origin="ppxf"))
    for galaxy in with_sdss:
        if galaxy.spectrum is not None:
            _spectrum(folder / "spectra" / f"spec-{galaxy.specobjid}.fits", galaxy)
    ingest_spectra(connection, release, [folder / "spectra"])


def _spectrum(path: Path, galaxy: Truth) -> None:
    path.parent.mkdir(exist_ok=True)
    values = dict(galaxy.spectrum or {})
    low, high = values.pop("low"), values.pop("high")
    loglam = np.linspace(np.log10(low), np.log10(high), 60)
    ones = np.ones(60)
    coadd = fits.BinTableHDU.from_columns(
        [fits.Column("flux", "E", array=ones), fits.Column("loglam", "D", array=loglam),
         fits.Column("ivar", "E", array=ones)], name="COADD",
    )  # fmt: skip
    south = 0.5 if "not the best match" in galaxy.flag else 0.0
    columns = [
        fits.Column("SPECOBJID", "22A", array=[str(galaxy.specobjid)]),
        fits.Column("PLUG_RA", "D", array=[galaxy.ra]),
        fits.Column("PLUG_DEC", "D", array=[galaxy.dec - south * ARCSEC]),
        fits.Column("CLASS", "6A", array=["GALAXY"]), fits.Column("SUBCLASS", "6A", array=[""]),
        fits.Column("Z_ERR", "E", array=[1e-4]),
        *(fits.Column(name, "K" if name == "ZWARNING" else "E", array=[value]) for name, value in values.items()),
    ]  # fmt: skip
    fits.HDUList([fits.PrimaryHDU(), coadd, fits.BinTableHDU.from_columns(columns, name="SPECOBJ")]).writeto(path)


def _images(
    archive: Any,
    folder: Path,
    connection: Any,
    releases: dict[str, Any],
    galaxies: list[Truth],
    extra: list[Truth],
    when: str,
) -> None:
    """Legacy Survey shards and catalogue, and gri cutouts; `later` are those that came after the preprocessing."""
    later = when == "later"
    rows = [
        (k, galaxy.ra, galaxy.dec + galaxy.separation_arcsec * ARCSEC, galaxy.kind, galaxy.image, 10.0)
        for k, galaxy in enumerate(galaxies)
        if galaxy.image is not None and (galaxy.image == "later") == later
    ]
    if not later:
        rows += [
            # Nearer to the second spectrum, whose own nearest image is the next one.
            (900, extra[0].ra, extra[0].dec + 0.6 * ARCSEC, "EXP", "round", 10.0),
            (901, extra[0].ra, extra[0].dec + 1.6 * ARCSEC, "EXP", "round", 10.0),
            (902, extra[1].ra, extra[1].dec + 0.2 * ARCSEC, "EXP", "round", 10.0),
            # Brighter, and so the one that is kept of the two.
            (903, extra[1].ra, extra[1].dec + 0.5 * ARCSEC, "EXP", "round", 20.0),
        ]
        bare = [(k, galaxy) for k, galaxy in enumerate(galaxies) if galaxy.image is None]
        table = tractor(len(bare), dr9=True)
        table["RELEASE"], table["OBJID"] = np.int16(9010), np.array([k for k, _ in bare], np.int32)
        table["BRICKID"] = np.int32(1)
        table["TYPE"] = np.array([galaxy.kind for _, galaxy in bare], "U4")
        table["RA"] = [galaxy.ra for _, galaxy in bare]
        table["DEC"] = [galaxy.dec + galaxy.separation_arcsec * ARCSEC for _, galaxy in bare]
        table.write(folder / "tractor.fits")
        run_catalogues(archive.config, "ls", [folder / "tractor.fits"], CatalogueOptions())
    _shard(folder / f"images_npix152_{when}.h5", rows)
    ingest_images(connection, releases["ls"], [folder / f"images_npix152_{when}.h5"], ImageOptions())
    cutouts = folder / f"gri-{when}"
    cutouts.mkdir()
    for k, galaxy in enumerate(galaxies):
        if galaxy.gri is not None and (galaxy.gri == "later") == later:
            made = WCS(naxis=2)
            made.wcs.ctype = ["RA---TAN", "DEC--TAN"]
            place = [galaxy.ra, galaxy.dec - galaxy.gri_separation_arcsec * ARCSEC]
            made.wcs.crval, made.wcs.crpix = place, [(GRI_SIDE + 1) / 2, (GRI_SIDE + 1) / 2]
            made.wcs.cd = 0.396 * ARCSEC * np.array([[-1, 0], [0, 1]])
            header = made.to_header()
            header["BANDS"] = "gri"
            fits.PrimaryHDU(galaxy_image(galaxy.gri, GRI_SIDE, 3), header).writeto(cutouts / f"gri-{k}.fits")
    ingest_images(connection, releases["gri"], [cutouts], ImageOptions())


def _shard(path: Path, rows: list[tuple[Any, ...]]) -> None:
    n = len(rows)
    with h5py.File(path, "w") as file:
        file["ra"], file["dec"] = [row[1] for row in rows], [row[2] for row in rows]
        file["release"], file["brickid"] = np.full(n, 9010, np.int16), np.ones(n, np.int32)
        file["objid"] = np.array([row[0] for row in rows], np.int32)
        file["source_type"] = np.array([row[3].encode() for row in rows])
        flux = np.array([row[5] for row in rows], np.float32)
        file["flux"] = np.stack([flux, flux, flux], axis=1)
        file["z_phot_median"] = np.full(n, 0.2, np.float32)
        images = file.create_dataset("images", (n, 3, SIDE, SIDE), np.float32, chunks=(1, 3, SIDE, SIDE))
        for at, row in enumerate(rows):
            images[at] = galaxy_image(row[4], SIDE, 3)
