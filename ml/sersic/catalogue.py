"""A value-added catalogue of Sersic parameters by GaLNet: one row an image, with units, UCDs and intervals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator
from typing import Any

import numpy as np

from galbase.ml.sersic.images import ZERO_POINT, ImageOfBand, StampsOfImages, stamps_of_images
from galbase.ml.sersic.measure import GalnetCalibration, Measured, measure
from galbase.ml.sersic.training import TrainedGalnet
from galbase.ml.sersic.vector import E1, E2, LOG_N, LOG_RE, MAG, Instrument, natural, noise_magnitude
from galbase.sql.result_column import ResultColumn

COLUMNS = (
    ResultColumn("observation_id", "int64", None, "meta.id", "Image in the archive"),
    ResultColumn("source_id", "int64", None, "meta.id", "Detection; empty where the image has no position"),
    ResultColumn("ra", "float64", "deg", "pos.eq.ra", "Right ascension, ICRS"),
    ResultColumn("dec", "float64", "deg", "pos.eq.dec", "Declination, ICRS"),
    ResultColumn("mag", "float64", "mag", "phot.mag", "Total AB magnitude of the Sersic profile, not dereddened"),
    ResultColumn("mag_q16", "float64", "mag", "stat.value;phot.mag", "16 % quantile of mag"),
    ResultColumn("mag_q84", "float64", "mag", "stat.value;phot.mag", "84 % quantile of mag"),
    ResultColumn("re_arcsec", "float64", "arcsec", "phys.angSize", "Effective radius along the major axis"),
    ResultColumn("re_arcsec_q16", "float64", "arcsec", "stat.value;phys.angSize", "16 % quantile of re_arcsec"),
    ResultColumn("re_arcsec_q84", "float64", "arcsec", "stat.value;phys.angSize", "84 % quantile of re_arcsec"),
    ResultColumn("sersic_n", "float64", None, "stat.fit.param", "Sersic index"),
    ResultColumn("sersic_n_q16", "float64", None, "stat.value;stat.fit.param", "16 % quantile of sersic_n"),
    ResultColumn("sersic_n_q84", "float64", None, "stat.value;stat.fit.param", "84 % quantile of sersic_n"),
    ResultColumn("q", "float64", None, "src.morph.param", "Axis ratio b/a"),
    ResultColumn("q_err", "float64", None, "stat.error;src.morph.param", "Error of q"),
    ResultColumn("pa_deg", "float64", "deg", "pos.posAng", "Position angle from +y towards -x of the image's pixels"),
    ResultColumn("pa_deg_err", "float64", "deg", "stat.error;pos.posAng", "Error of pa_deg"),
    ResultColumn("dx_px", "float64", "pixel", "pos.cartesian.x;arith.diff", "Centre minus the stamp's middle, along x"),
    ResultColumn("dy_px", "float64", "pixel", "pos.cartesian.y;arith.diff", "Centre minus the stamp's middle, along y"),
    ResultColumn(
        "chi2_reduced", "float64", None, "stat.fit.chi2", "Chi squared of the model against the stamp, a pixel"
    ),
    ResultColumn("sky_sigma", "float64", "'nmgy'", "stat.stdev;instr.skyLevel", "Noise a pixel"),
    ResultColumn(
        "psf_fwhm_arcsec", "float64", "arcsec", "instr.det.psf", "FWHM of the round Moffat PSF of exponent 3.5"
    ),
)


def catalogue_rows(
    trained: TrainedGalnet, calibration: GalnetCalibration, images: list[ImageOfBand], gain: float, *,
    refinement: bool, left_out: Counter[str], advance: Callable[[int], None],
) -> Generator[list[tuple[Any, ...]]]:  # fmt: skip
    """Rows in the order of `COLUMNS`, in blocks.

    Parameters
    ----------
    trained : TrainedGalnet
    calibration : GalnetCalibration
    images : list of ImageOfBand
    gain : float
        Electrons in one nanomaggy.
    refinement : bool
    left_out : Counter
        Counts, by reason, the images that give no row.
    advance : callable
        Called with the number of images done.
    """
    for stamps in stamps_of_images(images, left_out):
        found = _measure(trained, calibration, stamps, gain, refinement)
        yield list(_rows(stamps, found))
        advance(len(stamps.images))


def _measure(
    trained: TrainedGalnet, calibration: GalnetCalibration, stamps: StampsOfImages, gain: float, refinement: bool
) -> Measured:
    instrument = Instrument(ZERO_POINT, stamps.images[0].pixel_scale_arcsec, gain)
    return measure(trained, calibration, stamps.image, stamps.psf, stamps.sky_sigma, instrument, refinement=refinement)


def _rows(stamps: StampsOfImages, found: Measured) -> Generator[tuple[Any, ...]]:
    value = natural(found.vector, stamps.sky_sigma, Instrument(ZERO_POINT, 1.0, 1.0))
    offset = noise_magnitude(stamps.sky_sigma, ZERO_POINT)
    low, high = found.quantiles["q16"], found.quantiles["q84"]
    half = (high - low) / 2
    e1, e2 = found.vector[:, E1], found.vector[:, E2]
    e = np.maximum(np.hypot(e1, e2), 1e-3)
    along = np.hypot(e1 * half[:, E1], e2 * half[:, E2]) / e
    across = np.hypot(e2 * half[:, E1], e1 * half[:, E2]) / e
    q_err = 2 * along / (1 + e) ** 2
    pa_err = np.minimum(np.degrees(0.5 * np.arctan2(across, e)), 90.0)
    for k, image in enumerate(stamps.images):
        scale = image.pixel_scale_arcsec
        yield (
            image.observation_id, image.source_id, image.ra, image.dec,
            float(value["mag"][k]), float(low[k, MAG] + offset[k]), float(high[k, MAG] + offset[k]),
            *(float(10 ** each[k, LOG_RE] * scale) for each in (found.vector, low, high)),
            *(float(10 ** each[k, LOG_N]) for each in (found.vector, low, high)),
            float(value["q"][k]), float(q_err[k]), float(value["pa_deg"][k]), float(pa_err[k]),
            float(value["dx_px"][k]), float(value["dy_px"][k]), float(found.chi2_reduced[k]),
            float(stamps.sky_sigma[k]), image.psf_fwhm_arcsec,
        )  # fmt: skip
