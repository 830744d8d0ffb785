"""Many single-Sersic stamps at once, each convolved with its own PSF image, drawn in Fourier space.

A stamp is the inverse transform of the profile's analytic transform times the discrete transform of the PSF image.
The PSF image holds the pixel's response, as images of stars do, so the product is the light that falls on each
pixel. Profiles end at 8 r_e; the box is as large as keeps a galaxy's next copy off the stamp.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft2, rfft2
from scipy.special import gammaincinv, gammaln, roots_legendre

from galbase.ml.simulate.sersic import N_MAX, N_MIN, TAPER_END, sersic_table, surface_brightness
from galbase.ml.stamps.parameters import PSF_PX, RE_PX_MAX, STAMP_PX
from galbase.schema.errors import GalbaseError

FloatArray = NDArray[np.float64]
Float32Array = NDArray[np.float32]

_BOXES = (128, 256)


@dataclass(frozen=True, eq=False)
class Profiles:
    """Single-Sersic galaxies; every array is (m,) float64.

    Attributes
    ----------
    n, re_px, q, pa_rad : float64
        Sersic index, scale radius along the major axis [px], axis ratio, position angle [rad] from +y towards -x
        (east of north where north is up and east is left).
    dx, dy : float64
        Offset from the middle of the stamp's central pixel [px], along x and along y.
    """

    n: FloatArray
    re_px: FloatArray
    q: FloatArray
    pa_rad: FloatArray
    dx: FloatArray
    dy: FloatArray

    def __len__(self) -> int:
        return len(self.n)

    def take(self, rows: NDArray[np.int64]) -> Profiles:
        """The galaxies of some rows."""
        return Profiles(*(column[rows] for column in (self.n, self.re_px, self.q, self.pa_rad, self.dx, self.dy)))


@lru_cache(maxsize=1)
def _kept_table() -> tuple[FloatArray, FloatArray]:
    index = np.linspace(N_MIN, N_MAX, 113)
    node, weight = roots_legendre(2000)
    s, ds = 0.5 * (node + 1), 0.5 * weight
    radius = TAPER_END * s**3
    measure = 2 * np.pi * radius * TAPER_END * 3 * s**2 * ds
    inside = np.array([float((surface_brightness(n, radius) * measure).sum()) for n in index])
    b = gammaincinv(2 * index, 0.5)
    total = 2 * np.pi * index * np.exp(b - 2 * index * np.log(b) + gammaln(2 * index))
    return index, inside / total


def kept_light(n: FloatArray) -> FloatArray:
    """Share of a Sersic profile's light inside the taper at 7 to 8 r_e.

    The total is Graham & Driver 2005 (PASA 22, 118), eq. 4, what fitting programs report as the magnitude.

    Parameters
    ----------
    n : (m,) float64
        Sersic index.
    """
    index, kept = _kept_table()
    share: FloatArray = np.interp(n, index, kept)
    return share


@dataclass(frozen=True, eq=False)
class _Box:
    size: int
    kx: Float32Array
    ky: Float32Array
    kxx: Float32Array
    kxy: Float32Array
    kyy: Float32Array


@lru_cache(maxsize=len(_BOXES))
def _box(size: int) -> _Box:
    kx = (2 * np.pi * np.fft.rfftfreq(size)).astype(np.float32)
    ky = (2 * np.pi * np.fft.fftfreq(size)).astype(np.float32)
    x, y = kx[None, :], ky[:, None]
    return _Box(size, kx, ky, (x**2 + 0 * y), x * y, (y**2 + 0 * x))


def _transforms(profiles: Profiles, box: _Box) -> Float32Array:
    """(m, box, box // 2 + 1) transforms of the unit-flux profiles at the origin."""
    table = sersic_table()
    sine, cosine = np.sin(profiles.pa_rad), np.cos(profiles.pa_rad)
    q2, r2 = profiles.q**2, profiles.re_px**2
    xx = (r2 * (sine**2 + q2 * cosine**2)).astype(np.float32)[:, None, None]
    yy = (r2 * (cosine**2 + q2 * sine**2)).astype(np.float32)[:, None, None]
    xy = (2 * r2 * sine * cosine * (q2 - 1)).astype(np.float32)[:, None, None]
    place = xx * box.kxx
    place += xy * box.kxy
    place += yy * box.kyy
    np.maximum(place, np.float32(1e-12), out=place)
    np.log(place, out=place)
    place *= np.float32(0.5 / table.ln_k_step)
    place -= np.float32(table.ln_k_min / table.ln_k_step)
    radial = np.stack([table.radial_transform(float(n)) for n in profiles.n])
    length = radial.shape[1]
    np.clip(place, np.float32(0), np.float32(length - 1.001), out=place)
    index = place.astype(np.int32)
    place -= index
    index += (np.arange(len(profiles), dtype=np.int32) * length)[:, None, None]
    step = np.diff(radial, axis=1, append=radial[:, -1:]).ravel()
    value: Float32Array = step.take(index)
    value *= place
    value += radial.ravel().take(index)
    return value


def _phases(k: Float32Array, offset: FloatArray) -> NDArray[np.complex64]:
    phase: NDArray[np.complex64] = np.exp(-1j * np.outer(offset, k)).astype(np.complex64)
    return phase


def draw_profiles(profiles: Profiles, psf: Float32Array) -> Float32Array:
    """Draw noise-free stamps of unit flux inside the taper.

    Parameters
    ----------
    profiles : Profiles
        m galaxies.
    psf : (m, 25, 25) float32
        PSF images of unit sum at the stamps' pixel scale, pixel response included, centred on the middle pixel.

    Returns
    -------
    (m, 61, 61) float32
        Light on each pixel; times the flux and `kept_light` it is a galaxy of that total flux.

    Raises
    ------
    GalbaseError
        If a radius is larger than a stamp can hold, or the PSFs have another shape.
    """
    if psf.shape != (len(profiles), PSF_PX, PSF_PX):
        raise GalbaseError(f"PSFs of shape {psf.shape}; {(len(profiles), PSF_PX, PSF_PX)} are needed.")
    if len(profiles) and float(profiles.re_px.max()) > RE_PX_MAX:
        raise GalbaseError(f"a radius of {profiles.re_px.max():.1f} px does not fit; at most {RE_PX_MAX:g} px do.")
    image = np.empty((len(profiles), STAMP_PX, STAMP_PX), np.float32)
    least = 0.0
    for size in _BOXES:
        # copies stand one box apart, reach 8 r_e, and must not reach over the stamp's far edge
        most = (size - STAMP_PX / 2) / TAPER_END
        rows = np.flatnonzero((profiles.re_px > least) & (profiles.re_px <= most))
        least = most
        if len(rows):
            image[rows] = _draw_in_box(profiles.take(rows), psf[rows], _box(size))
    return image


def _draw_in_box(profiles: Profiles, psf: Float32Array, box: _Box) -> Float32Array:
    # the PSF's middle stands at pixel 12 of its image, the galaxy's at pixel 30 of the stamp
    shift = STAMP_PX // 2 - PSF_PX // 2
    spectrum = rfft2(psf, s=(box.size, box.size), axes=(1, 2))
    spectrum *= _transforms(profiles, box)
    spectrum *= _phases(box.ky, profiles.dy + shift)[:, :, None]
    spectrum *= _phases(box.kx, profiles.dx + shift)[:, None, :]
    drawn = irfft2(spectrum, s=(box.size, box.size), axes=(1, 2))
    stamp: Float32Array = drawn[:, :STAMP_PX, :STAMP_PX].astype(np.float32, copy=False)
    return stamp
