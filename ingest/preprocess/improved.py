"""Method improved: what the published pipelines mean to do, in flux space.

The sky is measured before anything is masked; bands are added by inverse variance; sep detects and deblends; deblended
sources that the target's other side shows too are its own; the others are masked. The mask is the target's segment with
its outskirts within the enlarged ellipse. A blend is told by what the two sides of the target do not share, as a score.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from galbase.ingest.preprocess.coadd import Coadd
from galbase.ingest.preprocess.config import ImprovedConfig
from galbase.ingest.preprocess.frame import Frame
from galbase.ingest.preprocess.size import size_flag, stamp_flag
from galbase.ingest.preprocess.stamp import FramedTarget, masked_stamp
from galbase.ingest.preprocess.target import enclosing_circle, find_in_coadd
from galbase.ingest.preprocess.verdict import INFORMATIVE, Verdict
from galbase.schema.flags import PreprocessFlag

# Noise never makes this many pixels of a core exactly equal; a detector's full well and overflowing counts do.
_SATURATED_PIXELS = 5


def judge_improved(
    frame: Frame,
    image: Coadd,
    bands: tuple[str, ...],
    is_display: bool,
    flag: PreprocessFlag,
    scale: float | None,
    config: ImprovedConfig,
) -> Verdict:
    """The verdict on an image that `preprocess_cutout` has checked.

    Parameters
    ----------
    frame : Frame
        Finite pixels; at least one band is not constant.
    image : Coadd
        Its bands added.
    bands : tuple of str
    is_display : bool
    flag : PreprocessFlag
        What is known already.
    scale : float or None
        Pixel scale, arcsec.
    config : ImprovedConfig
    """
    target = find_in_coadd(image, is_display, config)
    flag |= target.flag
    verdict = Verdict(
        flag,
        threshold=config.detect_sigma * target.rms,
        n_contour=target.n_region,
        n_source=target.n_source,
        background_rms=target.rms,
        blend_score=target.blend_score,
    )
    if target.region is None or target.mask is None or target.ellipse is None:
        return verdict
    radius = enclosing_circle(target.region) * frame.factor
    flag |= size_flag(radius, scale, config)
    flag |= stamp_flag(target.ellipse.enlarged(config.enlargement), target.region.shape, config)
    if not is_display and _is_saturated(frame.pixels, target.region):
        flag |= PreprocessFlag.SATURATED
    framed = FramedTarget.cut(frame.pixels, target.mask, bands, is_display, config)
    return replace(
        verdict,
        flag=flag,
        kept=not flag & ~INFORMATIVE,
        ellipse=frame.to_image(target.ellipse),
        radius_px=radius,
        radius_arcsec=None if scale is None else radius * scale,
        stamp=masked_stamp(framed, config),
        framed=framed,
    )


def _is_saturated(pixels: npt.NDArray[np.float32], region: npt.NDArray[np.bool_]) -> bool:
    light = np.ascontiguousarray(pixels[region].T)
    # A band without data is flat at 0.
    peaks = [(band, band.max()) for band in light]
    return any(peak > 0 and np.count_nonzero(band == peak) >= _SATURATED_PIXELS for band, peak in peaks)
