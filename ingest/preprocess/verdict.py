"""What preprocessing says of one image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from galbase.ingest.preprocess.ellipse import Ellipse
from galbase.ingest.preprocess.stamp import FramedTarget
from galbase.schema.flags import INFORMATIVE, PreprocessFlag

__all__ = ["INFORMATIVE", "Verdict"]


@dataclass(frozen=True)
class Verdict:
    """What preprocessing says of one image; a measure is None where the image did not get that far.

    Parameters
    ----------
    flag : PreprocessFlag
        Why the image is out, and what limits the verdict.
    kept : bool
        Whether the method keeps the image.
    ellipse : Ellipse or None
        The target before enlargement, in pixels of the image as given.
    radius_px, radius_arcsec : float or None
        Radius of the minimum enclosing circle in pixels of the image as given, and in arcsec where the
        pixel scale is known.
    threshold, background_rms : float or None
        Grey levels, 0 to 255; of method improved on fluxes, nanomaggies a pixel.
    n_contour, n_source, n_region : int or None
        Contours, or of method improved the connected regions detected; sources after deblending; regions at the second
        threshold, which method improved has not.
    blend_score : float or None
        Evidence of another source within the target, see `asymmetry`; method improved only.
    stamp : (stamp_px, stamp_px, 3) uint8 or None
        R, G, B of the target, black outside the mask; None if there is no target.
    framed : FramedTarget or None
        Of method improved: what `frame_target` would find again, in 5 ms.
    """

    flag: PreprocessFlag
    kept: bool = False
    ellipse: Ellipse | None = None
    radius_px: float | None = None
    radius_arcsec: float | None = None
    threshold: float | None = None
    n_contour: int | None = None
    n_source: int | None = None
    n_region: int | None = None
    background_rms: float | None = None
    blend_score: float | None = None
    stamp: npt.NDArray[np.uint8] | None = None
    framed: FramedTarget | None = None
