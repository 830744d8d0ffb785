"""Stamps of a block's galaxies as the Legacy Surveys and SDSS see them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from galbase.ml.simulate.block import SURVEYS, Block
from galbase.ml.simulate.filters import LEGACY, LEGACY_BANDS, SDSS, SDSS_BANDS
from galbase.ml.simulate.noise import SIDE_TAP, sky_noise
from galbase.ml.simulate.parameters import SurveyParameters
from galbase.ml.simulate.render import LEGACY_CANVAS, SDSS_CANVAS, Canvas, render_stamp
from galbase.ml.simulate.scene import Scene, build_scene
from galbase.ml.simulate.sky import Conditions

Float32Array = NDArray[np.float32]


@dataclass(frozen=True)
class Camera:
    """How a survey takes stamps.

    Attributes
    ----------
    bands : tuple of str
        Bands in the order of the planes.
    filters : slice
        The same in `filters.FILTERS`.
    canvas : Canvas
        Size [px].
    side_tap : float
        Correlation of neighbouring pixels' noise by resampling (see `noise`); 0 where pixels are as read out.
    """

    bands: tuple[str, ...]
    filters: slice
    canvas: Canvas
    side_tap: float


CAMERAS = {
    "legacy": Camera(LEGACY_BANDS, LEGACY, LEGACY_CANVAS, SIDE_TAP),
    "sdss": Camera(SDSS_BANDS, SDSS, SDSS_CANVAS, 0.0),
}


def pixel_scale(survey: str, parameters: SurveyParameters) -> float:
    """Pixel scale of a survey [arcsec]."""
    return parameters.pixel_scale_arcsec if survey == "legacy" else parameters.sdss_pixel_scale_arcsec


def conditions(survey: str, block: Block) -> Conditions:
    """PSF and depth of a survey for the galaxies of a block."""
    return block.sky.legacy if survey == "legacy" else block.sky.sdss


def render_rows(
    block: Block, start: int, stop: int, surveys: tuple[str, ...], seed: int, parameters: SurveyParameters
) -> tuple[dict[str, Float32Array], NDArray[np.int32]]:
    """Stamps of a range of a block's rows; each galaxy has its own generators, so ranges do not matter.

    Parameters
    ----------
    block : Block
        Galaxies.
    start, stop : int
        Rows within the block.
    surveys : tuple of str
        Whose images.
    seed : int
        Seed of the survey.
    parameters : SurveyParameters
        Pixel scales, PSF shape, field density.

    Returns
    -------
    images : dict of str to (stop - start, 3, size, size) float32
        Flux with sky noise [nanomaggy/pixel] by survey.
    n_neighbour : (stop - start,) int32
        Field sources with r < 22 between 4 and 10 arcsec.
    """
    images = {
        survey: np.empty((stop - start, 3, CAMERAS[survey].canvas.size, CAMERAS[survey].canvas.size), np.float32)
        for survey in surveys
    }
    near = np.empty(stop - start, np.int32)
    for row, index in enumerate(range(start, stop)):
        rng = np.random.default_rng([seed, 6, block.first + index])
        scene = build_scene(index, rng, block.population, block.structure, block.sky, block.blend, parameters)
        near[row] = scene.n_neighbour
        for survey in surveys:
            noise = np.random.default_rng([seed, 17, SURVEYS.index(survey), block.first + index])
            _take(survey, scene, index, block, noise, parameters, images[survey][row])
    return images, near


def _take(
    survey: str,
    scene: Scene,
    index: int,
    block: Block,
    rng: np.random.Generator,
    parameters: SurveyParameters,
    out: Float32Array,
) -> None:
    """One stamp with its noise; the noise does not depend on which other surveys are taken."""
    camera, seen, scale = CAMERAS[survey], conditions(survey, block), pixel_scale(survey, parameters)
    sersic, blobs = scene.on(scale, camera.filters, 0.5 * camera.canvas.size * scale)
    fwhm = seen.psf_fwhm_arcsec[index] / scale
    render_stamp(sersic, blobs, fwhm, out, canvas=camera.canvas, beta=parameters.psf_beta)
    out += sky_noise(rng, seen.pixel_sigma[index], camera.canvas.size, camera.side_tap)
