"""What a network is shown of an image: the recipe from pixels and target to its inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from galbase.ingest.preprocess.config import PreprocessConfig
from galbase.ingest.preprocess.ellipse import Ellipse
from galbase.ingest.preprocess.stamp import FramedTarget, frame_target, masked_stamp
from galbase.ingest.preprocess.stretch import BAND_SCALE, OFFSET, SOFTENING, WAVELENGTH_ORDER
from galbase.schema.errors import UsageError

KINDS = ("display", "flux")
FLUX_SOFTENING = 0.01  # nanomaggies a pixel, near the pixel noise of the Legacy Survey's g and r
TOTAL_SOFTENING = 1.0  # nanomaggies: magnitude 22.5
APERTURE_RADIUS_PX = 1.5 / 0.262  # the 3 arcsec fibre on Legacy Survey pixels
Stamp = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Recipe:
    """Inputs of a network.

    Parameters
    ----------
    kind : str
        ``display``: the masked stamp of display colours, 0-255, as published. ``flux``: asinh of the masked fluxes
        (Lupton, Gunn & Szalay 1999, AJ 118, 1406), which neither saturate nor mix the bands, and as scalars the
        asinh of the flux of each band within the mask and within 3 arcsec.
    scalar_mean, scalar_std : tuple of float
        What the scalars are centred and divided by, fitted on the training split; empty where there are none.
    """

    kind: str
    scalar_mean: tuple[float, ...] = ()
    scalar_std: tuple[float, ...] = ()

    @property
    def n_scalar(self) -> int:
        """Number of scalar inputs."""
        return 0 if self.kind == "display" else 2 * 3

    @property
    def n_turn(self) -> int:
        """Symmetries of the square that predictions are averaged over; 1 for none, as published."""
        return 1 if self.kind == "display" else 8

    def fitted(self, scalar: npt.NDArray[np.float32]) -> Recipe:
        """The recipe with its scaling fitted on the raw scalars ``(n, n_scalar)`` of the training split."""
        if not self.n_scalar:
            return self
        deviation = np.maximum(scalar.std(axis=0, dtype=np.float64), 1e-6)
        return Recipe(self.kind, tuple(scalar.mean(axis=0, dtype=np.float64).tolist()), tuple(deviation.tolist()))

    def inputs(self, image: Stamp, scalar: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[np.float32]]:
        """Network inputs from images ``(n, side, side, 3)`` and raw scalars ``(n, n_scalar)`` of `prepare`."""
        if not self.n_scalar:
            return {"image": image}
        scaled = (scalar - np.asarray(self.scalar_mean)) / np.asarray(self.scalar_std)
        return {"image": image, "scalar": scaled.astype(np.float32)}

    def to_mapping(self) -> dict[str, Any]:
        """Plain values for a JSON column."""
        return {"kind": self.kind, "scalar_mean": list(self.scalar_mean), "scalar_std": list(self.scalar_std)}

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Recipe:
        """From what `to_mapping` gave.

        Raises
        ------
        UsageError
            If the kind is unknown.
        """
        if values["kind"] not in KINDS:
            raise UsageError(f"no input recipe {values['kind']!r}; use one of {', '.join(KINDS)}.")
        return cls(values["kind"], tuple(values["scalar_mean"]), tuple(values["scalar_std"]))


def recipe_of_mode(mode: str) -> Recipe:
    """The recipe before fitting: ``display`` as published, ``flux`` improved."""
    return Recipe("display" if mode == "as-published" else "flux")


def prepare(
    cutout: npt.NDArray[np.float32],
    bands: Sequence[str],
    pixel_scale_arcsec: float | None,
    is_display: bool,
    ellipse: Ellipse,
    config: PreprocessConfig,
    recipe: Recipe,
) -> tuple[Stamp, npt.NDArray[np.float32]]:
    """Image ``(side, side, 3)`` and raw scalars ``(n_scalar,)`` of one cutout whose target is known.

    A display image shown to a `flux` recipe has its stretch undone (`display_to_flux`); such a prediction is only as
    good as the stretch, which the file does not tell, and the saturated core is lost.
    """
    target = frame_target(cutout, bands, pixel_scale_arcsec, is_display, ellipse, config)
    return prepare_target(target.masked(), config, recipe)


def prepare_target(
    target: FramedTarget, config: PreprocessConfig, recipe: Recipe
) -> tuple[Stamp, npt.NDArray[np.float32]]:
    """Image and raw scalars, as of `prepare`, of a target whose pixels outside the mask are 0."""
    if recipe.kind == "display":
        return masked_stamp(target, config).astype(np.float32), np.empty(0, np.float32)
    flux = np.where(target.mask[..., None], _fluxes(target), np.float32(0))
    side = flux.shape[0]
    offset = np.arange(side) - (side - 1) / 2
    aperture = np.hypot(offset[:, None], offset[None, :]) <= APERTURE_RADIUS_PX
    totals = [flux.sum(axis=(0, 1), dtype=np.float64), flux[aperture].sum(axis=0, dtype=np.float64)]
    scalar = np.arcsinh(np.concatenate(totals) / (2 * TOTAL_SOFTENING))
    image = np.asarray(np.arcsinh(flux / np.float32(FLUX_SOFTENING)) / np.float32(4), np.float32)
    return image, scalar.astype(np.float32)


def _fluxes(target: FramedTarget) -> Stamp:
    """Three planes from blue to red, nanomaggies a pixel; one band is copied, of two the middle is the mean."""
    if target.is_display:
        return display_to_flux(target.pixels)
    order = [target.bands.index(band) for band in WAVELENGTH_ORDER if band in target.bands]
    planes = [target.pixels[..., index] for index in order]
    if len(planes) == 1:
        planes = planes * 3
    elif len(planes) == 2:
        planes = [planes[0], np.asarray((planes[0] + planes[1]) / 2, np.float32), planes[1]]
    return np.stack(planes, axis=-1)


def display_to_flux(display: Stamp) -> Stamp:
    """Fluxes whose `dr2_rgb` would be these display values.

    The mean colour is ``arcsinh(Q I) / sqrt(Q)``, which gives the intensity I and so each band. Exact where no
    channel was clipped and the values were not quantised.

    Parameters
    ----------
    display : (..., 3) float32
        R, G, B in [0, 255]; one channel counts as all three.

    Returns
    -------
    (..., 3) float32
        Bands g, r, z, nanomaggies a pixel.
    """
    colour = np.asarray(display, np.float64) / 255
    if colour.shape[-1] == 1:
        colour = np.repeat(colour, 3, axis=-1)
    stretched = SOFTENING**0.5 * colour.mean(axis=-1, keepdims=True)
    intensity = np.sinh(stretched) / SOFTENING
    ratio = np.divide(intensity * SOFTENING**0.5, stretched, out=np.zeros_like(stretched), where=stretched > 0)
    scale = np.array([BAND_SCALE[band] for band in ("g", "r", "z")])
    return np.asarray((colour[..., ::-1] * ratio - OFFSET) / scale, np.float32)
