"""The seven numbers a Sersic stamp is described by, in the form networks and fits use.

Order: magnitude relative to the noise, log10 Re [px], log10 n, e cos 2 PA, e sin 2 PA, dx [px], dy [px], with
e = (1 - q) / (1 + q). There is no jump where the angle begins anew, errors of all sizes count alike, and a galaxy
that is brighter and noisier by the same factor is the same vector.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from galbase.ml.networks.galnet import IMPROVED, PUBLISHED
from galbase.ml.stamps.render import Profiles

Array = npt.NDArray[np.float64]

N_PARAMETER = len(IMPROVED)
MAG, LOG_RE, LOG_N, E1, E2, DX, DY = range(N_PARAMETER)


@dataclass(frozen=True, eq=False)
class Instrument:
    """What turns a stamp's numbers into magnitudes, arcseconds and photons.

    Attributes
    ----------
    zero_point : float
        AB magnitude of one image unit.
    pixel_scale_arcsec : float
    gain : float
        Electrons in one image unit.
    """

    zero_point: float
    pixel_scale_arcsec: float
    gain: float


def noise_magnitude(sky_sigma: npt.ArrayLike, zero_point: float) -> Array:
    """Magnitude of a flux as large as the noise of one pixel [image unit]."""
    return np.asarray(zero_point - 2.5 * np.log10(np.asarray(sky_sigma, np.float64)))


def vectors_of_truth(column: Mapping[str, npt.ArrayLike], instrument: Instrument) -> Array:
    """Vectors ``(m, 7)`` of stamps' truth, columns as in `galbase.ml.stamps.shard.COLUMNS`."""
    c = {name: np.asarray(value, np.float64) for name, value in column.items()}
    e, angle = (1 - c["q"]) / (1 + c["q"]), 2 * np.radians(c["pa_deg"])
    return np.column_stack(
        [
            c["mag"] - noise_magnitude(c["sky_sigma"], instrument.zero_point),
            np.log10(c["re_arcsec"] / instrument.pixel_scale_arcsec),
            np.log10(c["n"]),
            e * np.cos(angle),
            e * np.sin(angle),
            c["dx_px"],
            c["dy_px"],
        ]
    )


def published_of_truth(column: Mapping[str, npt.ArrayLike], instrument: Instrument) -> Array:
    """What the published network predicts, ``(m, 7)`` in the order of `PUBLISHED`."""
    c = {name: np.asarray(value, np.float64) for name, value in column.items()}
    parts = {**c, "re_px": c["re_arcsec"] / instrument.pixel_scale_arcsec, "sersic_n": c["n"]}
    return np.column_stack([parts[name] for name in PUBLISHED])


def vectors_of_published(value: Array, sky_sigma: npt.ArrayLike, zero_point: float) -> Array:
    """Vectors ``(m, 7)`` of predictions in the order of `PUBLISHED`; sizes and axis ratios are kept positive.

    A network with free outputs may say a negative radius; it counts as a very small one.
    """
    mag, re_px, n, q, pa, dx, dy = np.asarray(value, np.float64).T
    q = np.clip(q, 0.02, 1.0)
    e, angle = (1 - q) / (1 + q), 2 * np.radians(pa)
    return np.column_stack(
        [
            mag - noise_magnitude(sky_sigma, zero_point),
            np.log10(np.maximum(re_px, 0.05)),
            np.log10(np.maximum(n, 0.1)),
            e * np.cos(angle),
            e * np.sin(angle),
            dx,
            dy,
        ]
    )


def natural(vector: Array, sky_sigma: npt.ArrayLike, instrument: Instrument) -> dict[str, Array]:
    """Parameters that astronomers use, each ``(m,)``: mag, re_arcsec, n, q, pa_deg (0 to 180), dx_px, dy_px."""
    v = np.asarray(vector, np.float64)
    e = np.minimum(np.hypot(v[:, E1], v[:, E2]), 0.98)
    return {
        "mag": v[:, MAG] + noise_magnitude(sky_sigma, instrument.zero_point),
        "re_arcsec": 10 ** v[:, LOG_RE] * instrument.pixel_scale_arcsec,
        "n": 10 ** v[:, LOG_N],
        "q": (1 - e) / (1 + e),
        "pa_deg": np.mod(np.degrees(0.5 * np.arctan2(v[:, E2], v[:, E1])), 180.0),
        "dx_px": v[:, DX],
        "dy_px": v[:, DY],
    }


def profiles(vector: Array) -> Profiles:
    """The same galaxies as the renderer of stamps takes them."""
    v = np.asarray(vector, np.float64)
    e = np.hypot(v[:, E1], v[:, E2])
    angle = 0.5 * np.arctan2(v[:, E2], v[:, E1])
    return Profiles(10 ** v[:, LOG_N], 10 ** v[:, LOG_RE], (1 - e) / (1 + e), angle, v[:, DX], v[:, DY])


def turned_vectors(vector: npt.NDArray[np.floating], element: int) -> npt.NDArray[np.floating]:
    """Vectors of stamps under element 0 to 7 of the square's group, as `batches.turned` turns the images.

    A quarter turn of an array takes (x, y) to (y, -x) and the position angle back by 90 degrees; the mirror image
    changes the signs of x and of the angle.
    """
    v = vector.copy()
    for _ in range(element % 4):
        v[:, DX], v[:, DY] = v[:, DY].copy(), -v[:, DX]
        v[:, E1], v[:, E2] = -v[:, E1], -v[:, E2]
    if element >= 4:
        v[:, DX], v[:, E2] = -v[:, DX], -v[:, E2]
    return v
