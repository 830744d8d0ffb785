"""Survey frames and bricks: calibrated images of one band with a celestial WCS, and those of several bands together."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from galbase.ingest.readers.fits_image import COMPRESSIONS, SUFFIXES
from galbase.ingest.readers.whole_fits import open_whole
from galbase.schema.errors import GalbaseError

Floats = npt.NDArray[np.float64]
# Planes that lie beside images of flux in survey archives.
_OTHER_PLANES = frozenset({
    "invvar", "ivar", "nexp", "depth", "galdepth", "psfdepth", "psfsize", "psf", "mask", "maskbits", "weight", "wht",
    "wt", "model", "blobmodel", "resid", "chi2", "rms", "sky", "bkg", "background", "flag", "flags",
})  # fmt: skip
BAND_ORDER = ("u", "g", "r", "i", "z", "y", "Y", "J", "H", "K", "Ks", "W1", "W2", "W3", "W4")
_ZERO_POINTS = ("MAGZERO", "MAGZP", "ZEROPT", "PHOTZP", "ZP")


@dataclass(frozen=True)
class Frame:
    """One image of flux of one band.

    Parameters
    ----------
    path : Path
    hdu : int
        Number of its HDU.
    band : str or None
    header : astropy.io.fits.Header
    unit : str or None
        Of a pixel, as written in BUNIT.
    zero_point : float or None
        AB magnitude of one unit.
    """

    path: Path
    hdu: int
    band: str | None
    header: Any
    unit: str | None
    zero_point: float | None

    @property
    def shape(self) -> tuple[int, int]:
        """(ny, nx)."""
        return int(self.header["NAXIS2"]), int(self.header["NAXIS1"])

    def wcs(self) -> Any:
        """Its celestial WCS with distortions."""
        return celestial_wcs(self.header)

    @property
    def weight(self) -> Path | None:
        """The plane of inverse variances beside it, in the names of the Legacy Surveys; None without one."""
        beside = self.path.with_name(re.sub(r"(?<=-)image(?=-)", "invvar", self.path.name))
        return beside if beside != self.path and beside.is_file() else None

    def read(self) -> npt.NDArray[np.float32]:
        """Pixels (ny, nx), NaN where there are no data: where the weight beside it is 0.

        Raises
        ------
        GalbaseError
            If the file is damaged, or the weight of another shape.
        """
        with open_whole(self.path) as hdus:
            pixels = np.array(hdus[self.hdu].data, np.float32)
        if self.weight is not None:
            with open_whole(self.weight) as hdus:
                weight = next(hdu.data for hdu in hdus if hdu.is_image and len(hdu.shape) == 2)
                if weight.shape != pixels.shape:
                    raise GalbaseError(f"{self.weight.name} has shape {weight.shape}, its image {pixels.shape}.")
                pixels[~(weight > 0)] = np.nan
        return pixels


@dataclass(frozen=True)
class FrameGroup:
    """Frames of one piece of sky, one a band, in order of wavelength; stamps are on the grid of the first."""

    name: str
    frames: tuple[Frame, ...]


def celestial_wcs(header: Any) -> Any:
    """Celestial WCS of a header, with SIP and TPV distortions."""
    from astropy.wcs import WCS, FITSFixedWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FITSFixedWarning)
        return WCS(header)


def read_frame(path: Path) -> Frame | None:
    """Header of a frame; None if the file holds no image of flux with a celestial WCS.

    Raises
    ------
    GalbaseError
        If the file is damaged.
    """
    if _tokens(path) & _OTHER_PLANES:
        return None
    with open_whole(path) as hdus:
        for number, hdu in enumerate(hdus):
            if hdu.is_image and len(hdu.shape) == 2 and 0 not in hdu.shape:
                header = hdu.header.copy()
                if str(header.get("IMTYPE", "image")).strip().lower() != "image":
                    return None
                if not celestial_wcs(header).has_celestial:
                    return None
                return Frame(path, number, _band(header, path), header, _unit(header), _zero_point(header))
    return None


def group_frames(frames: Sequence[Frame]) -> list[FrameGroup]:
    """Frames whose names, in one folder, differ only in the band make a group.

    Raises
    ------
    GalbaseError
        If two frames of a group have the same band.
    """
    groups: dict[tuple[Path, str], list[Frame]] = {}
    for frame in sorted(frames, key=lambda frame: frame.path):
        groups.setdefault((frame.path.parent, _group_name(frame)), []).append(frame)
    made = []
    names = [name for _, name in groups]
    for (folder, name), members in sorted(groups.items()):
        bands = [member.band for member in members]
        repeated = next((band for band in bands if bands.count(band) > 1), None)
        if repeated is not None:
            twice = [member.path.name for member in members if member.band == repeated]
            raise GalbaseError(f"{folder}: {' and '.join(twice)} are both of band {repeated}; leave one out.")
        ordered = tuple(sorted(members, key=lambda member: _order(member.band)))
        # Frames of one name in several folders must not share an output.
        made.append(FrameGroup(name if names.count(name) == 1 else f"{folder.name}-{name}", ordered))
    return made


def world_to_pixel(wcs: Any, ra: Floats, dec: Floats) -> tuple[Floats, Floats]:
    """Pixels, counted from 0, of ICRS positions [deg]; NaN where the projection or its distortion has no inverse."""
    from astropy.coordinates import SkyCoord
    from astropy.wcs import NoConvergence

    sky = SkyCoord(ra, dec, unit="deg", frame="icrs")
    try:
        x, y = wcs.celestial.world_to_pixel(sky)
    except NoConvergence as failed:
        x, y = np.array(failed.best_solution, np.float64).T
        for bad in (failed.divergent, failed.slow_conv):
            if bad is not None:
                x[bad] = y[bad] = np.nan
    return np.asarray(x, np.float64), np.asarray(y, np.float64)


def footprint(frame: Frame) -> tuple[float, float, float]:
    """Centre, ICRS degrees, and radius, arcsec, of a circle round a frame's pixels."""
    wcs, (ny, nx) = frame.wcs().celestial, frame.shape
    centre = wcs.pixel_to_world((nx - 1) / 2, (ny - 1) / 2).icrs
    along = np.linspace(-0.5, 1, 9)
    x = np.concatenate([along * nx, along * nx, np.full(9, -0.5), np.full(9, nx - 0.5)])
    y = np.concatenate([np.full(9, -0.5), np.full(9, ny - 0.5), along * ny, along * ny])
    edge = wcs.pixel_to_world(x, y).icrs
    # The edge is sampled, not followed.
    return float(centre.ra.deg), float(centre.dec.deg), float(1.02 * edge.separation(centre).arcsec.max() + 1)


def pixel_scale_arcsec(frame: Frame) -> float:
    """Square root of a pixel's area, arcsec."""
    from astropy.wcs.utils import proj_plane_pixel_area

    return float(np.sqrt(proj_plane_pixel_area(frame.wcs().celestial)) * 3600)


def _stem(path: Path) -> str:
    name = path.name
    for suffix in (*COMPRESSIONS, *SUFFIXES):
        if name.lower().endswith(suffix):
            name = name[: -len(suffix)]
    return name


def _tokens(path: Path) -> set[str]:
    return set(re.split(r"[-_.]", _stem(path).lower()))


def _band(header: Any, path: Path) -> str | None:
    """The band that the name tells, if the header's filter agrees (FILTER of the MzLS bricks of band z is zd)."""
    filters = [words[0] for key in ("BAND", "FILTER") if (words := str(header.get(key, "")).split())]
    found = [token for token in re.split(r"[-_.]", _stem(path)) if token in BAND_ORDER]
    if len(found) == 1 and (not filters or filters[0].lower().startswith(found[0].lower())):
        return found[0]
    return filters[0] if filters else None


def _group_name(frame: Frame) -> str:
    parts = re.split(r"([-_.])", _stem(frame.path))
    kept = [part for part in parts if part != frame.band] if frame.band is not None else parts
    return re.sub(r"([-_.])[-_.]+", r"\1", "".join(kept)).strip("-_.") or "frame"


def _order(band: str | None) -> tuple[int, str]:
    return (BAND_ORDER.index(band), band) if band in BAND_ORDER else (len(BAND_ORDER), band or "")


def _unit(header: Any) -> str | None:
    return str(header.get("BUNIT", "")).strip() or None


def _zero_point(header: Any) -> float | None:
    for key in _ZERO_POINTS:
        try:
            return float(header[key])
        except (KeyError, TypeError, ValueError):
            continue
    unit = (_unit(header) or "").lower()
    # A nanomaggy is the flux of magnitude 22.5 (SDSS DR12 photometry documentation).
    return 22.5 if unit.startswith(("nanomagg", "nmgy")) else None
