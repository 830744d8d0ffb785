"""Numbers that an image gives beside its pixels: fluxes within circles, their colours, and the widths of its PSF.

Pooling after convolutions keeps shapes and loses sums; and how blurred a galaxy is seen, no masked image tells.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from galbase.ingest.preprocess.stretch import WAVELENGTH_ORDER

TOTAL, GROWTH = "total", "growth"
KINDS = (TOTAL, GROWTH)
SOFTENING = 1.0  # nanomaggies: magnitude 22.5
APERTURE_RADIUS_PX = 1.5 / 0.262  # the 3 arcsec fibre on Legacy Survey pixels
# From the core of the PSF to beyond the published limit of 23 px, each about 1.4 times the one before.
GROWTH_RADII_PX = (2.0, 3.5, APERTURE_RADIUS_PX, 8.0, 11.0, 15.0, 20.0, 27.0, 36.0)
N_PSF = 3
Float32 = npt.NDArray[np.float32]


def n_scalar(kind: str) -> int:
    """Number of scalars of a kind, PSF included."""
    return 6 if kind == TOTAL else 6 + 2 + len(GROWTH_RADII_PX) * 6 + N_PSF


def flux_scalars(flux: Float32, kind: str) -> Float32:
    """Scalars of the masked fluxes of an image, without those of its PSF.

    Parameters
    ----------
    flux : (side, side, 3) float32
        Nanomaggies a pixel from blue to red, 0 outside the mask.
    kind : str
        ``total``: asinh magnitudes without their sign and zero point (Lupton, Gunn & Szalay 1999, AJ 118, 1406) of each
        band within the mask and within 3 arcsec. ``growth``: these, the two colours of the total, and the same within
        each of `GROWTH_RADII_PX` with the share of the middle band's light.
    """
    total = flux.sum(axis=(0, 1), dtype=np.float64)
    within = np.stack([
        np.bincount(_ring(flux.shape[0]), flux[..., band].ravel(), len(GROWTH_RADII_PX) + 1) for band in range(3)
    ], axis=1).cumsum(axis=0)[:-1]  # fmt: skip
    whole, parts = _asinh(total), _asinh(within)
    scalars = [whole, parts[GROWTH_RADII_PX.index(APERTURE_RADIUS_PX)]]
    if kind == GROWTH:
        scalars += [whole[:2] - whole[1:], parts, parts[:, :2] - parts[:, 1:], parts[:, 1] - whole[1]]
    return np.concatenate([np.ravel(each) for each in scalars]).astype(np.float32)


def psf_scalars(bands: Sequence[str], fwhm_arcsec: Sequence[float | None] | None, shown: Sequence[str] = ()) -> Float32:
    """Widths of the PSF [arcsec] for the three planes of an image, from blue to red; NaN where not known.

    Planes are made of bands as of `recipe.prepare_target`: one band is copied, of two the middle is the mean.

    Parameters
    ----------
    bands : sequence of str
    fwhm_arcsec : sequence of float, or None
        In the order of `bands`.
    shown : sequence of str
        Bands of the recipe; empty for all.
    """
    if fwhm_arcsec is None:
        return np.full(N_PSF, np.nan, np.float32)
    of_band = {band: np.nan if width is None else width for band, width in zip(bands, fwhm_arcsec, strict=True)}
    widths = [of_band[band] for band in WAVELENGTH_ORDER if band in of_band and band in (shown or bands)]
    if len(widths) == 1:
        widths = widths * N_PSF
    elif len(widths) == 2:
        widths = [widths[0], (widths[0] + widths[1]) / 2, widths[1]]
    elif len(widths) != N_PSF:
        widths = [np.nan] * N_PSF
    return np.array(widths, np.float32)


def _asinh(flux: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.arcsinh(flux / (2 * SOFTENING))


@lru_cache(maxsize=8)
def _ring(side: int) -> npt.NDArray[np.intp]:
    """For each pixel of a square the first of `GROWTH_RADII_PX` that holds it, or their number."""
    offset = np.arange(side) - (side - 1) / 2
    distance = np.hypot(offset[:, None], offset[None, :]).ravel()
    return np.asarray(np.searchsorted(GROWTH_RADII_PX, distance, side="left"), np.intp)
