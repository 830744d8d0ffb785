"""Commands that load the real samples of a directory: which folder is what, and how each is read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

Words = tuple[object, ...]

# folder -> (release, survey, licence, citation)
RELEASES = {
    "sdss-pairs": ("sdss-pairs", "SDSS", "SDSS data policy", "SDSS; Wang et al. 2025, A&A 698, A222"),
    "gz-coords-sample": (
        "gz-coords-sample", "DESI Legacy Survey, SDSS", "MIT",
        "Walmsley et al. 2022; Willett et al. 2013; Dey et al. 2019",
    ),
    "gz-example-images": (
        "gz-example-images", "DESI Legacy Survey, SDSS", "Apache-2.0",
        "Lintott et al. 2008; Willett et al. 2013; Dey et al. 2019",
    ),
    "spectra": ("sdss-spectra", "SDSS", "SDSS data policy", "Abazajian et al. 2009"),
    "legacysurvey-tractor-sweep": ("legacysurvey-dr8", "DESI Legacy Survey", "BSD-3-Clause", "Dey et al. 2019"),
}  # fmt: skip
CATALOGUES = {
    "openngc.parquet": ("openngc", "OpenNGC", "CC-BY-SA-4.0", "Verga, OpenNGC", ("--angle-unit", "rad")),
    "sga2020_ngc.parquet": ("sga2020", "Siena Galaxy Atlas 2020", "Apache-2.0", "Moustakas et al. 2023", ()),
}


def real_commands(directory: Path) -> Iterator[Words]:
    """The galbase commands that load what `directory` holds; folders that are not there are left out."""
    for folder, (release, survey, licence, citation) in RELEASES.items():
        if (directory / folder).is_dir():
            yield from _add(release, survey, licence, citation)
            yield from _ingest(directory / folder, folder, release)
    loaded = []
    for name, (release, survey, licence, citation, options) in CATALOGUES.items():
        path = directory / "catalogues" / name
        if path.is_file():
            yield from _add(release, survey, licence, citation)
            yield ("ingest", "catalogue", path, "--release", release, *options)
            loaded.append(release)
    if len(loaded) == len(CATALOGUES):
        yield ("crossmatch", "sga2020", "openngc", "--radius-arcsec", 5)


def _add(release: str, survey: str, licence: str, citation: str) -> Iterator[Words]:
    yield (
        "release", "add", release, "--survey", survey, "--licence", licence, "--citation", citation,
    )  # fmt: skip


def _ingest(folder: Path, kind: str, release: str) -> Iterator[Words]:
    if kind == "sdss-pairs":
        yield ("ingest", "images", folder / "images", "--release", release, "--position-from-name")
        yield from _add(f"{release}-spectra", "SDSS", "SDSS data policy", "SDSS")
        yield ("ingest", "spectra", folder / "spectra", "--release", f"{release}-spectra")
        yield ("crossmatch", release, f"{release}-spectra", "--radius-arcsec", 1)
    elif kind == "gz-coords-sample":
        yield ("ingest", "images", folder / "images", "--release", release, "--manifest", folder / "manifest.csv")
    elif kind == "gz-example-images":
        yield ("ingest", "images", folder / "images", "--release", release)
    elif kind == "spectra":
        yield ("ingest", "spectra", *sorted((folder / "sdss").glob("spec-*.fits")), "--release", release)
    else:
        yield ("ingest", "catalogue", *sorted((folder / "t").glob("*.fits")), "--release", release)
