"""Simulated stamps with what lies on them known to the pixel: for benchmarks of preprocessing."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from galbase.ml.simulate.block import Block, Plan, draw_block
from galbase.ml.simulate.images import CAMERAS
from galbase.ml.simulate.noise import sky_noise
from galbase.ml.simulate.parameters import SurveyParameters
from galbase.ml.simulate.render import render_stamp
from galbase.ml.simulate.scene import build_scene

R_BAND = 1  # of g, r, z


@dataclass(frozen=True)
class TruthStamps:
    """Legacy Survey stamps of a simulated survey, with their truth.

    Parameters
    ----------
    pixels : (n, 152, 152, 3) float32
        g, r, z with noise, nanomaggies a pixel.
    target, others : (n, 152, 152) float32
        Noise-free r flux of the target, and of all else.
    blended : (n,) bool
    separation_fwhm, flux_ratio : (n,) float64
        Of the true blend, the separation in FWHMs of the r PSF; NaN without one.
    touched : (n,) bool
        A field source lies where the target's noise-free r surface brightness exceeds one sigma of the sky.
    """

    pixels: npt.NDArray[np.float32]
    target: npt.NDArray[np.float32]
    others: npt.NDArray[np.float32]
    blended: npt.NDArray[np.bool_]
    separation_fwhm: npt.NDArray[np.float64]
    flux_ratio: npt.NDArray[np.float64]
    touched: npt.NDArray[np.bool_]

    @property
    def positive(self) -> npt.NDArray[np.bool_]:
        """True blends farther apart than the PSF's FWHM, the neighbour above a tenth of the target."""
        return self.blended & (self.separation_fwhm > 1) & (self.flux_ratio > 0.1)

    @property
    def negative(self) -> npt.NDArray[np.bool_]:
        """Stamps whose other sources all lie outside the target."""
        return ~self.blended & ~self.touched


def make_truth_stamps(n: int, seed: int, blend_fraction: float = 0.5) -> TruthStamps:
    """Stamps of the first `n` galaxies of a survey.

    Separations and flux ratios are the survey's own grid; only the share of blends is raised from its 0.12, since
    neither recall nor false-alarm rate depends on it and both are then known better.
    """
    plan = Plan(n, seed, parameters=replace(SurveyParameters(), blend_fraction=blend_fraction))
    parts = [_stamps(plan, draw_block(plan, number)) for number in range(plan.n_block)]
    return TruthStamps(*(np.concatenate([getattr(p, f) for p in parts]) for f in TruthStamps.__dataclass_fields__))


def _stamps(plan: Plan, block: Block) -> TruthStamps:
    parameters, camera, seen = plan.parameters, CAMERAS["legacy"], block.sky.legacy
    scale, side, n = parameters.pixel_scale_arcsec, camera.canvas.size, len(block)
    half = 0.5 * side * scale
    pixels = np.empty((n, side, side, 3), np.float32)
    target, others = np.empty((n, side, side), np.float32), np.empty((n, side, side), np.float32)
    touched = np.zeros(n, np.bool_)
    for index in range(n):
        rng = np.random.default_rng([plan.seed, 6, block.first + index])
        scene = build_scene(index, rng, block.population, block.structure, block.sky, block.blend, parameters)
        fwhm = seen.psf_fwhm_arcsec[index] / scale
        whole, alone = (
            render_stamp(*s.on(scale, camera.filters, half), fwhm, canvas=camera.canvas, beta=parameters.psf_beta)
            for s in (scene, scene.target())
        )
        noise = np.random.default_rng([plan.seed, 17, 0, block.first + index])
        noisy = whole + sky_noise(noise, seen.pixel_sigma[index], side, camera.side_tap)
        pixels[index] = noisy.transpose(1, 2, 0)
        target[index], others[index] = alone[R_BAND], whole[R_BAND] - alone[R_BAND]
        n_field = len(scene.blobs.sigma_px) - scene.n_target_blob
        x = np.rint(scene.blobs.dx[:n_field] / scale + 0.5 * (side - 1)).astype(int)
        y = np.rint(scene.blobs.dy[:n_field] / scale + 0.5 * (side - 1)).astype(int)
        on = (x >= 0) & (x < side) & (y >= 0) & (y < side)
        touched[index] = bool((target[index][y[on], x[on]] > seen.pixel_sigma[index, R_BAND]).any())
    blend = block.blend
    return TruthStamps(
        pixels, target, others, blend.blended,
        blend.separation_arcsec / seen.psf_fwhm_arcsec[:, R_BAND], blend.flux_ratio, touched,
    )  # fmt: skip
