"""Images of galaxies, drawn in Fourier space.

A stamp is the inverse transform of the sum of its parts' analytic transforms times the PSF's and the pixel's:
there is no oversampling and no pixel-centre error, sub-pixel positions are exact, and one FFT a band is the only
transform computed. Flux outside the FFT box would fold back; the box of a Legacy stamp reaches 164 px (43 arcsec)
from the target, that of an SDSS stamp 116 px (46 arcsec), while Sersic profiles end at 8 r_e, so only galaxies with
r_e above 5 arcsec fold, and then their faintest outskirts alone.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft2

from galbase.ml.simulate.psf import BETA, fwhm_per_scale, moffat_transform
from galbase.ml.simulate.sersic import sersic_table

STAMP_SIZE = 152
_LN_MIN = float(np.log(1e-3))
_LN_STEP = 0.02
_N_OTF = 560

FloatArray = NDArray[np.float64]
Float32Array = NDArray[np.float32]


@dataclass(frozen=True)
class Canvas:
    """Side of a stamp and of the box in which its transform is taken [px]."""

    size: int
    box: int


LEGACY_CANVAS = Canvas(STAMP_SIZE, 240)
SDSS_CANVAS = Canvas(128, 180)


@dataclass(frozen=True, eq=False)
class SersicSet:
    """Sersic components of one stamp.

    Attributes
    ----------
    n, radius_px, q, pa_rad : (n_component,) float64
        Sersic index, scale radius along the major axis [px], axis ratio, position angle [rad, east of north].
    dx, dy : (n_component,) float64
        Offset from the stamp's centre [px]; x grows to the west, y to the north.
    flux : (n_component, n_band) float64
        Total flux [nanomaggy].
    """

    n: FloatArray
    radius_px: FloatArray
    q: FloatArray
    pa_rad: FloatArray
    dx: FloatArray
    dy: FloatArray
    flux: FloatArray


@dataclass(frozen=True, eq=False)
class BlobSet:
    """Circular Gaussian blobs of one stamp (clumps, faint neighbours, stars with sigma 0).

    Attributes
    ----------
    sigma_px, dx, dy : (n_blob,) float64
        Width and offset from the stamp's centre [px].
    flux : (n_blob, n_band) float64
        Total flux [nanomaggy].
    """

    sigma_px: FloatArray
    dx: FloatArray
    dy: FloatArray
    flux: FloatArray


@dataclass(frozen=True, eq=False)
class _Grid:
    kx: Float32Array
    ky: Float32Array
    kxx: Float32Array
    kxy: Float32Array
    kyy: Float32Array
    ln_k: Float32Array
    pixel: Float32Array


@lru_cache(maxsize=4)
def _grid(box: int) -> _Grid:
    kx = (2 * np.pi * np.fft.rfftfreq(box)).astype(np.float32)
    ky = (2 * np.pi * np.fft.fftfreq(box)).astype(np.float32)
    x, y = kx[None, :], ky[:, None]
    square = np.maximum(x**2 + y**2, np.float32(1e-12))
    pixel = np.sinc(x / (2 * np.pi)) * np.sinc(y / (2 * np.pi))
    return _Grid(kx, ky, x**2 + 0 * y, x * y, y**2 + 0 * x, 0.5 * np.log(square), pixel.astype(np.float32))


@lru_cache(maxsize=4)
def _otf_table(beta: float) -> Float32Array:
    return moffat_transform(np.exp(_LN_MIN + _LN_STEP * np.arange(_N_OTF)), beta).astype(np.float32)


def _lookup(table: Float32Array, place: Float32Array) -> Float32Array:
    """Linear interpolation in a table at fractional places; places outside take the end values."""
    place = np.clip(place, np.float32(0), np.float32(len(table) - 1.001))
    index = place.astype(np.int32)
    place -= index
    step = np.diff(table, append=table[-1:])
    value: Float32Array = table.take(index) + step.take(index) * place
    return value


def _otf(grid: _Grid, fwhm_px: float, beta: float) -> Float32Array:
    shift = (np.log(fwhm_px / fwhm_per_scale(beta)) - _LN_MIN) / _LN_STEP
    place = grid.ln_k * np.float32(1 / _LN_STEP) + np.float32(shift)
    return _lookup(_otf_table(beta), place) * grid.pixel


def _sersic_transform(grid: _Grid, n: float, radius: float, q: float, pa: float) -> Float32Array:
    table = sersic_table()
    sine, cosine = np.sin(pa), np.cos(pa)
    # the major axis points to (-sin pa, cos pa): x grows to the west
    a = radius**2 * (sine**2 + q**2 * cosine**2)
    c = radius**2 * (cosine**2 + q**2 * sine**2)
    b = 2 * radius**2 * sine * cosine * (q**2 - 1)
    square = np.float32(a) * grid.kxx
    square += np.float32(b) * grid.kxy
    square += np.float32(c) * grid.kyy
    np.maximum(square, np.float32(1e-12), out=square)
    place = np.log(square, out=square)
    place *= np.float32(0.5 / table.ln_k_step)
    place -= np.float32(table.ln_k_min / table.ln_k_step)
    return _lookup(table.radial_transform(n), place)


def _phase(k: Float32Array, offset: FloatArray, size: int) -> NDArray[np.complex64]:
    centre = 0.5 * (size - 1)
    phase: NDArray[np.complex64] = np.exp(-1j * np.outer(offset + centre, k)).astype(np.complex64)
    return phase


def render_stamp(
    sersic: SersicSet,
    blobs: BlobSet,
    fwhm_px: FloatArray,
    out: Float32Array | None = None,
    *,
    canvas: Canvas = LEGACY_CANVAS,
    beta: float = BETA,
) -> Float32Array:
    """Draw one noise-free stamp.

    Parameters
    ----------
    sersic : SersicSet
        Components; consecutive components at the same offset share one phase factor.
    blobs : BlobSet
        Circular Gaussians.
    fwhm_px : (n_band,) float64
        FWHM of the Moffat PSF a band [px].
    out : (n_band, size, size) float32, optional
        Where to write.
    canvas : Canvas
        Size of the stamp; 152 px by default.
    beta : float
        Exponent of the Moffat PSF.

    Returns
    -------
    (n_band, size, size) float32
        Flux [nanomaggy/pixel], integrated over each pixel.
    """
    box, size = canvas.box, canvas.size
    grid = _grid(box)
    n_band = len(fwhm_px)
    spectrum = np.zeros((n_band, box, box // 2 + 1), np.complex64)
    first = 0
    while first < len(sersic.n):
        last = first + 1
        same = (sersic.dx == sersic.dx[first]) & (sersic.dy == sersic.dy[first])
        while last < len(sersic.n) and same[last]:
            last += 1
        parts = np.stack(
            [
                _sersic_transform(grid, sersic.n[i], sersic.radius_px[i], sersic.q[i], sersic.pa_rad[i]).ravel()
                for i in range(first, last)
            ]
        )
        mixed = (sersic.flux[first:last].T.astype(np.float32) @ parts).reshape(n_band, box, -1)
        north, east = sersic.dy[first : first + 1], sersic.dx[first : first + 1]
        shift = _phase(grid.ky, north, size)[0][:, None] * _phase(grid.kx, east, size)
        spectrum += mixed * shift
        first = last
    if len(blobs.sigma_px):
        variance = -0.5 * blobs.sigma_px[:, None].astype(np.float32) ** 2
        column = _phase(grid.ky, blobs.dy, size) * np.exp(variance * grid.ky**2)
        row = _phase(grid.kx, blobs.dx, size) * np.exp(variance * grid.kx**2)
        for band in range(n_band):
            spectrum[band] += (column * blobs.flux[:, band, None].astype(np.float32)).T @ row
    for band in range(n_band):
        spectrum[band] *= _otf(grid, float(fwhm_px[band]), beta)
    image = irfft2(spectrum, s=(box, box), axes=(1, 2))[:, :size, :size]
    if out is None:
        return np.ascontiguousarray(image, dtype=np.float32)
    out[...] = image
    return out
