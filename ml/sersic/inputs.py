"""What GaLNet is shown of a stamp and its PSF."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from galbase.schema.errors import UsageError

Float32 = npt.NDArray[np.float32]
Inputs = dict[str, Float32]

APERTURE_PX = (2.5, 5.0, 10.0, 20.0)
N_SCALAR = len(APERTURE_PX) + 1
_ASINH_SCALE = np.float32(0.4)
# brightest pixel of a PSF of 5 px FWHM
_PSF_PEAK = np.float32(0.03)
_SCALAR_MEAN, _SCALAR_SCALE = 5.0, 0.5


def network_inputs(mode: str, image: Float32, psf: Float32, sky_sigma: npt.ArrayLike) -> Inputs:
    """Inputs of GaLNet.

    ``as-published``: the stamp in its own units and the PSF of unit sum, as they are. ``improved``: the stamp in
    units of its noise under asinh (linear in the noise, logarithmic above it: Lupton, Gunn & Szalay 1999, AJ 118,
    1406), the PSF likewise, and the asinh of the S/N within four apertures and of the brightest pixel.

    Parameters
    ----------
    mode : str
        ``as-published`` or ``improved``.
    image : (m, 61, 61) float32
    psf : (m, 25, 25) float32
        Unit sum.
    sky_sigma : (m,) array_like
        Noise a pixel [image unit].

    Returns
    -------
    dict
        ``image`` (m, 61, 61, 1), ``psf`` (m, 25, 25, 1), and in mode improved ``scalar`` (m, 5).

    Raises
    ------
    UsageError
        If the mode does not exist.
    """
    if mode == "as-published":
        return {"image": image[..., None], "psf": psf[..., None]}
    if mode != "improved":
        raise UsageError(f"mode {mode!r} is neither 'as-published' nor 'improved'.")
    scaled = image / np.asarray(sky_sigma, np.float32)[:, None, None]
    seen, pixels = _apertures(image.shape[-1])
    inside = scaled.reshape(len(image), -1) @ seen / np.sqrt(pixels)
    scalar = np.column_stack([inside, scaled.max(axis=(1, 2))])
    return {
        "image": (_ASINH_SCALE * np.arcsinh(scaled))[..., None],
        "psf": np.arcsinh(psf / (_PSF_PEAK / 3))[..., None],
        "scalar": (_SCALAR_SCALE * (np.arcsinh(scalar) - _SCALAR_MEAN)).astype(np.float32),
    }


@lru_cache(maxsize=2)
def _apertures(size: int) -> tuple[Float32, Float32]:
    """Masks ``(size^2, n_aperture)`` of discs about the middle and their numbers of pixels."""
    at = np.arange(size) - size // 2
    radius = np.hypot(at[None, :], at[:, None]).ravel()
    inside = (radius[:, None] <= np.asarray(APERTURE_PX)).astype(np.float32)
    return inside, inside.sum(axis=0)
