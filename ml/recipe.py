"""What a network is shown of an image, a spectrum, or both: the recipe from pixels and target to its inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from galbase.ingest.preprocess.config import PreprocessConfig
from galbase.ingest.preprocess.ellipse import Ellipse
from galbase.ingest.preprocess.spectrum import SpectrumForm, spectrum_form
from galbase.ingest.preprocess.stamp import FramedTarget, frame_target, masked_stamp
from galbase.ingest.preprocess.stretch import BAND_SCALE, OFFSET, SOFTENING, WAVELENGTH_ORDER
from galbase.ml import image_scalars
from galbase.ml.image_ablation import area_resampled, bilinear_resampled, with_bands
from galbase.ml.image_scalars import flux_scalars
from galbase.schema.errors import UsageError

NONE = "none"
KINDS = ("display", "flux", NONE)
FLUX_SOFTENING = 0.01  # nanomaggies a pixel, near the pixel noise of the Legacy Survey's g and r
# What is farther from the mean of the training split is as far as this.
_FARTHEST = 6.0
Stamp = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Recipe:
    """Inputs of a network.

    Parameters
    ----------
    kind : str
        ``display``: the masked stamp of display colours, 0-255, as published. ``flux``: asinh of the masked fluxes
        (Lupton, Gunn & Szalay 1999, AJ 118, 1406), which neither saturate nor mix the bands, and scalars.
        ``none``: no image.
    scalar_mean, scalar_std : tuple of float
        What the scalars are centred and divided by, fitted on the training split; empty where there are none.
    spectrum : str
        A key of `ingest.preprocess.spectrum.FORMS`, or ``none``. Its scalars follow the image's.
    bin_px : int
        Side in pixels of the squares that fluxes are added up in before the stretch; 1 for none.
    crop_px : int
        Side in pixels of the central part that the network sees; 0 for all. Scalars are those of the whole.
    scalars : str
        Which scalars go with fluxes: ``total`` or ``growth``, of `image_scalars`.
    bands : tuple of str
        Bands of the image that are shown, as of `image_ablation`; empty for all.
    resolution_px : int
        Side in pixels that the image is resampled to, as of `image_ablation`; 0 for none.
    """

    kind: str
    scalar_mean: tuple[float, ...] = ()
    scalar_std: tuple[float, ...] = ()
    spectrum: str = NONE
    bin_px: int = 1
    crop_px: int = 0
    scalars: str = image_scalars.TOTAL
    bands: tuple[str, ...] = ()
    resolution_px: int = 0

    @property
    def form(self) -> SpectrumForm | None:
        """Grid and planes of its spectrum; None without one."""
        return None if self.spectrum == NONE else spectrum_form(self.spectrum)

    @property
    def n_image_scalar(self) -> int:
        """Number of scalars of the image."""
        return image_scalars.n_scalar(self.scalars) if self.kind == "flux" else 0

    @property
    def n_scalar(self) -> int:
        """Number of scalar inputs."""
        return self.n_image_scalar + (0 if self.form is None else self.form.n_scalar)

    @property
    def reads_psf(self) -> bool:
        """Whether the widths of the PSF are among its scalars."""
        return self.kind == "flux" and self.scalars == image_scalars.GROWTH

    def psf(self, scalar: npt.NDArray[np.float32]) -> npt.NDArray[np.float32] | None:
        """Widths of the PSF ``(n, 3)`` [arcsec] among raw scalars ``(n, n_scalar)``; None if it reads none."""
        if not self.reads_psf:
            return None
        return scalar[:, self.n_image_scalar - image_scalars.N_PSF : self.n_image_scalar]

    def side_px(self, stamp_px: int) -> int:
        """Side of the network's image, of stamps of `stamp_px` pixels."""
        return self.resolution_px or min(self.crop_px or stamp_px, stamp_px) // self.bin_px

    @property
    def input_kind(self) -> str:
        """``image``, ``spectrum`` or ``image+spectrum``: whose values a model with this recipe predicts."""
        return "+".join(name for name, each in (("image", self.kind), ("spectrum", self.spectrum)) if each != NONE)

    @property
    def n_turn(self) -> int:
        """Symmetries of the square that predictions are averaged over; 1 for none, as published."""
        return 8 if self.kind == "flux" else 1

    def reduced(self, bands: tuple[str, ...], resolution_px: int) -> Recipe:
        """The recipe with less of the image, see `image_ablation`; a resolution takes the place of `bin_px`."""
        return replace(self, bands=bands, resolution_px=resolution_px, bin_px=1 if resolution_px else self.bin_px)

    def fitted(self, scalar: npt.NDArray[np.float32]) -> Recipe:
        """The recipe with its scaling fitted on the raw scalars ``(n, n_scalar)`` of the training split.

        NaN is not known; where nothing is, mean 0 and deviation 1.
        """
        if not self.n_scalar:
            return self
        known = np.ma.masked_invalid(scalar.astype(np.float64))
        mean = known.mean(axis=0).filled(0.0)
        deviation = np.maximum(known.std(axis=0).filled(1.0), 1e-6)
        return replace(self, scalar_mean=tuple(mean.tolist()), scalar_std=tuple(deviation.tolist()))

    def inputs(
        self,
        image: Stamp | None,
        scalar: npt.NDArray[np.float32],
        spectrum: npt.NDArray[np.float32] | None = None,
    ) -> dict[str, npt.NDArray[np.float32]]:
        """Network inputs of n rows.

        Parameters
        ----------
        image : (n, side, side, 3) float32 or None
            Of `prepare`; None if the recipe has no image.
        scalar : (n, n_scalar) float32
            Raw, the image's before the spectrum's.
        spectrum : (n, n_wave, n_channel) float32 or None
            Of `ingest.preprocess.spectrum.prepare_spectrum`.
        """
        found: dict[str, npt.NDArray[np.float32]] = {}
        for name, kind, values in (("image", self.kind, image), ("spectrum", self.spectrum, spectrum)):
            if kind != NONE:
                if values is None:
                    raise UsageError(f"this model reads {self.input_kind}, and no {name} is given.")
                found[name] = values
        if self.n_scalar:
            scaled = (scalar - np.asarray(self.scalar_mean)) / np.asarray(self.scalar_std)
            if self.reads_psf:
                # Not known is taken for the mean, and predictions are flagged.
                scaled = np.clip(np.nan_to_num(scaled, nan=0.0), -_FARTHEST, _FARTHEST)
            found["scalar"] = scaled.astype(np.float32)
        return found

    def to_mapping(self) -> dict[str, Any]:
        """Plain values for a JSON column; what images alone do not need is left out where it is not used."""
        further: dict[str, Any] = {"spectrum": self.spectrum} if self.spectrum != NONE else {}
        defaults = {"bin_px": 1, "crop_px": 0, "scalars": image_scalars.TOTAL, "resolution_px": 0}
        further |= {name: getattr(self, name) for name, default in defaults.items() if getattr(self, name) != default}
        if self.bands:
            further["bands"] = list(self.bands)
        return {
            "kind": self.kind,
            "scalar_mean": list(self.scalar_mean),
            "scalar_std": list(self.scalar_std),
            **further,
        }

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Recipe:
        """From what `to_mapping` gave.

        Raises
        ------
        UsageError
            If the kind of the image or of its scalars is unknown.
        """
        if values["kind"] not in KINDS:
            raise UsageError(f"no input recipe {values['kind']!r}; use one of {', '.join(KINDS)}.")
        scalars = str(values.get("scalars", image_scalars.TOTAL))
        if scalars not in image_scalars.KINDS:
            raise UsageError(f"no scalars {scalars!r}; use one of {', '.join(image_scalars.KINDS)}.")
        spectrum = str(values.get("spectrum", NONE))
        if spectrum != NONE:
            spectrum_form(spectrum)
        return cls(
            values["kind"], tuple(values["scalar_mean"]), tuple(values["scalar_std"]), spectrum,
            int(values.get("bin_px", 1)), int(values.get("crop_px", 0)), scalars, tuple(values.get("bands", ())),
            int(values.get("resolution_px", 0)),
        )  # fmt: skip


def recipe_of_mode(
    mode: str, reads: frozenset[str] = frozenset({"image"}), bin_px: int = 1, crop_px: int = 0
) -> Recipe:
    """The recipe before fitting: ``display`` and ``minmax`` as published, ``flux`` and ``rest`` improved.

    Parameters
    ----------
    mode : str
        ``as-published`` or ``improved``.
    reads : frozenset of str
        ``image``, ``spectrum`` or both.
    bin_px, crop_px : int
        As of `Recipe`, for fluxes; display colours are shown as they are.
    """
    published = mode == "as-published"
    if published or "image" not in reads:
        bin_px, crop_px = 1, 0
    return Recipe(
        ("display" if published else "flux") if "image" in reads else NONE,
        spectrum=("minmax" if published else "rest") if "spectrum" in reads else NONE,
        bin_px=bin_px,
        crop_px=crop_px,
        scalars=image_scalars.TOTAL if published or "image" not in reads else image_scalars.GROWTH,
    )


def prepare(
    cutout: npt.NDArray[np.float32],
    bands: Sequence[str],
    pixel_scale_arcsec: float | None,
    is_display: bool,
    ellipse: Ellipse,
    config: PreprocessConfig,
    recipe: Recipe,
) -> tuple[Stamp, npt.NDArray[np.float32]]:
    """Image ``(side, side, 3)`` and raw scalars of one cutout whose target is known, those of the PSF not among them.

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
        stamp = masked_stamp(with_bands(target, recipe.bands) if recipe.bands else target, config)
        if recipe.resolution_px:
            stamp = bilinear_resampled(stamp, recipe.resolution_px)
        return stamp.astype(np.float32), np.empty(0, np.float32)
    if recipe.bands:
        target = with_bands(_as_fluxes(target), recipe.bands)
    flux = np.where(target.mask[..., None], _fluxes(target), np.float32(0))
    scalar = flux_scalars(flux, recipe.scalars)
    side = min(recipe.crop_px or flux.shape[0], flux.shape[0])
    start = (flux.shape[0] - side) // 2
    inner = flux[start : start + side, start : start + side]
    shown = area_resampled(inner, recipe.resolution_px) if recipe.resolution_px else binned(inner, recipe.bin_px)
    return np.asarray(np.arcsinh(shown / np.float32(FLUX_SOFTENING)) / np.float32(4), np.float32), scalar


def binned(flux: Stamp, side: int) -> Stamp:
    """Fluxes ``(ny, nx, n_band)`` added up in squares of `side` pixels; what is left over at the far edges is cut off.

    Raises
    ------
    UsageError
        If a square is larger than the image.
    """
    if side == 1:
        return flux
    ny, nx = flux.shape[0] // side, flux.shape[1] // side
    if side < 1 or not ny or not nx:
        raise UsageError(f"pixels cannot be added up in squares of {side} on an image of {flux.shape[:2]}.")
    squares = flux[: ny * side, : nx * side].reshape(ny, side, nx, side, -1)
    return np.asarray(squares.sum(axis=(1, 3)), np.float32)


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


def _as_fluxes(target: FramedTarget) -> FramedTarget:
    """The target with the stretch of a display image undone, whose channels are red before blue."""
    if not target.is_display:
        return target
    return replace(target, pixels=display_to_flux(target.pixels), bands=target.bands[::-1], is_display=False)


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
