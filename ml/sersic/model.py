"""One Sersic stamp and its derivatives, drawn in Fourier space.

The same drawing as `galbase.ml.stamps.render` makes of many stamps, for one galaxy in double precision, with the
derivative to each of its seven numbers from the same transform: fits need both at each step.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.fft import ifft, irfft, rfft2

from galbase.ml.sersic.vector import DX, DY, E1, E2, LOG_N, LOG_RE, MAG, N_PARAMETER
from galbase.ml.simulate.sersic import N_MAX, N_MIN, N_STEP, TAPER_END, sersic_table
from galbase.ml.stamps.parameters import PSF_PX, RE_PX_MAX, STAMP_PX
from galbase.ml.stamps.render import kept_light

Array = npt.NDArray[np.float64]

_BOXES = (128, 256)
_LN10 = float(np.log(10))
_PER_MAG = -0.4 * _LN10
# what a stamp can hold; e to an axis ratio of 0.03; the smallest radius is far below any PSF's
E_MAX = 0.95
LOWER = np.array([-40.0, np.log10(0.2), np.log10(N_MIN), -E_MAX, -E_MAX, -10.0, -10.0])
UPPER = np.array([20.0, np.log10(RE_PX_MAX), np.log10(N_MAX), E_MAX, E_MAX, 10.0, 10.0])


@dataclass(frozen=True, eq=False)
class _Grid:
    kx: Array
    ky: Array
    kxx: Array
    kxy: Array
    kyy: Array


@lru_cache(maxsize=len(_BOXES))
def _grid(size: int) -> _Grid:
    kx: Array = np.asarray(2 * np.pi * np.fft.rfftfreq(size), np.float64)
    ky: Array = np.asarray(2 * np.pi * np.fft.fftfreq(size), np.float64)
    x, y = kx[None, :], ky[:, None]
    return _Grid(kx, ky, x**2 + 0 * y, x * y, y**2 + 0 * x)


@lru_cache(maxsize=1)
def _slopes() -> tuple[Array, Array]:
    """The table's steps along ln k, and along n."""
    transform = sersic_table().transform
    return np.diff(transform, axis=1, append=transform[:, -1:]), np.diff(transform, axis=0)


class StampModel:
    """Model of one stamp, given its PSF.

    Parameters
    ----------
    psf : (25, 25) float array
        PSF image of unit sum at the stamp's pixel scale, pixel response included.
    """

    def __init__(self, psf: npt.NDArray[np.floating]) -> None:
        self._psf = np.asarray(psf, np.float64)
        self._spectra: dict[int, npt.NDArray[np.complex128]] = {}

    def _spectrum(self, size: int) -> npt.NDArray[np.complex128]:
        if size not in self._spectra:
            self._spectra[size] = rfft2(self._psf, s=(size, size))
        return self._spectra[size]

    def draw(self, vector: npt.ArrayLike) -> Array:
        """The noise-free stamp ``(61, 61)`` in units of the noise of a pixel."""
        return np.asarray(self._draw(np.asarray(vector, np.float64), with_slopes=False)[0])

    def draw_with_slopes(self, vector: npt.ArrayLike) -> tuple[Array, Array]:
        """The stamp ``(61, 61)`` and its derivative to each number of the vector, ``(7, 61, 61)``."""
        drawn = self._draw(np.asarray(vector, np.float64), with_slopes=True)
        image = drawn[0]
        slopes = np.empty((N_PARAMETER, STAMP_PX, STAMP_PX))
        slopes[MAG] = _PER_MAG * image
        slopes[[LOG_RE, LOG_N, E1, E2, DX, DY]] = drawn[1:]
        return image, slopes

    def _draw(self, vector: Array, *, with_slopes: bool) -> Array:
        radius, n = 10 ** vector[LOG_RE], float(10 ** vector[LOG_N])
        size = _BOXES[0] if radius <= (_BOXES[0] - STAMP_PX / 2) / TAPER_END else _BOXES[1]
        grid, table = _grid(size), sersic_table()
        # ellipse of q = (1 - e) / (1 + e) in terms of e cos 2 PA and e sin 2 PA: with m = r^2 / (1 + e)^2 the square of
        # k r_e is m ((1 + e^2) k^2 - 2 e1 (kxx - kyy) - 4 e2 kxy)
        e1, e2 = vector[E1], vector[E2]
        square, e = e1 * e1 + e2 * e2, float(np.hypot(e1, e2))
        scale = (radius / (1 + e)) ** 2
        round_part, difference = grid.kxx + grid.kyy, grid.kxx - grid.kyy
        reduced = (1 + square) * round_part - 2 * e1 * difference - 4 * e2 * grid.kxy
        ln_k = 0.5 * np.log(np.maximum(scale * reduced, 1e-12))
        place = np.clip((ln_k - table.ln_k_min) / table.ln_k_step, 0, table.transform.shape[1] - 1.001)
        index = place.astype(np.intp)
        part = place - index
        at_n = np.clip((n - N_MIN) / N_STEP, 0, len(table.index) - 1)
        row = min(int(at_n), len(table.index) - 2)
        along_k, along_n = _slopes()
        share = at_n - row
        radial = table.transform[row] + share * along_n[row]
        radial_step = along_k[row] + share * (along_k[row + 1] - along_k[row])
        step = radial_step[index]
        kept, kept_slope = _kept(n)
        flux = 10 ** (-0.4 * vector[MAG])
        shift = STAMP_PX // 2 - PSF_PX // 2
        phase = (
            np.exp(-1j * grid.ky * (vector[DY] + shift))[:, None]
            * np.exp(-1j * grid.kx * (vector[DX] + shift))[None, :]
        )  # fmt: skip
        carrier = self._spectrum(size) * phase * flux
        profile = radial[index] + step * part
        spectra = np.empty((N_PARAMETER if with_slopes else 1, size, len(grid.kx)), np.complex128)
        np.multiply(carrier, profile * kept, out=spectra[0])
        if with_slopes:
            # the transform at the smallest k is constant
            bent = np.where(place > 0, step * (kept / table.ln_k_step), 0.0)
            by_n = along_n[row][index] + (along_n[row][np.minimum(index + 1, len(radial) - 1)]
                                          - along_n[row][index]) * part  # fmt: skip
            inverse = 1 / np.maximum(reduced, 1e-12)
            pull = -1 / (e * (1 + e)) if e > 1e-9 else 0.0
            np.multiply(carrier, bent * _LN10, out=spectra[1])
            np.multiply(carrier, (by_n * (kept / N_STEP) + profile * kept_slope) * (n * _LN10), out=spectra[2])
            np.multiply(carrier, bent * ((e1 * round_part - difference) * inverse + e1 * pull), out=spectra[3])
            np.multiply(carrier, bent * ((e2 * round_part - 2 * grid.kxy) * inverse + e2 * pull), out=spectra[4])
            np.multiply(spectra[0], -1j * grid.kx[None, :], out=spectra[5])
            np.multiply(spectra[0], -1j * grid.ky[:, None], out=spectra[6])
        # only the stamp's rows are carried through the second transform
        rows = ifft(spectra, axis=1, overwrite_x=True)[:, :STAMP_PX]
        drawn: Array = irfft(rows, n=size, axis=2, overwrite_x=True)[:, :, :STAMP_PX]
        return drawn


def _kept(n: float) -> tuple[float, float]:
    """Light inside the taper, and its derivative to n."""
    step = 0.02
    low, middle, high = kept_light(np.array([max(n - step, N_MIN), n, min(n + step, N_MAX)]))
    return float(middle), float(high - low) / (min(n + step, N_MAX) - max(n - step, N_MIN))
