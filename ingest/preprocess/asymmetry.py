"""Evidence of a second source: light that a target does not show on its other side.

A galaxy's own light is about the same on both sides of its centre, so its image minus itself turned by 180 degrees
(Conselice 2003, ApJS 147, 1) leaves little, however steep the profile; another source stays, also where its peak is
lost in the target's slope. What remains of the target itself grows with its light, so the residual is divided by the
root of the peak: then one limit serves bright and faint targets.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from galbase.ingest.preprocess.config import ImprovedConfig
from galbase.ingest.preprocess.detection import Plane, Region

# Half a side of the window in which the centroid of the peak is taken.
_CENTROID_PX = 2
# Light that both sides show, in rms of the unsmoothed image: within it lies the target.
_SHARED_SIGMA = 1.5


@dataclass(frozen=True)
class Asymmetry:
    """The image minus itself turned about the target's peak, over the root of the peak.

    Parameters
    ----------
    residual : (ny, nx) float32
        Root of S/N.
    shared : (ny, nx) bool
        Where both sides shine: the target without what is on one side alone.
    x, y : float
        Centre of the turn, pixels.
    """

    residual: Plane
    shared: Region
    x: float
    y: float

    def score(self, region: Region, core_px: float) -> float:
        """The largest residual in a region, outside the core and where the target shines.

        Parameters
        ----------
        region : (ny, nx) bool
        core_px : float
            Radius about the centre that is left out.

        Returns
        -------
        float
            0 where there is no positive residual.
        """
        rows, columns = np.nonzero(region & self.shared)
        values: npt.NDArray[np.float32] = self.residual[rows, columns]
        far = (columns - self.x) ** 2 + (rows - self.y) ** 2 > core_px**2
        return max(0.0, float(values.max(where=far, initial=0.0)))


def turn_and_subtract(image: Plane, x: int, y: int, config: ImprovedConfig) -> Asymmetry:
    """Compare the two sides of a target.

    Parameters
    ----------
    image : (ny, nx) float32
        In units of the noise of a pixel.
    x, y : int
        The target's peak.
    config : ImprovedConfig
    """
    smoothed = cv2.GaussianBlur(image, (0, 0), config.symmetry_kernel_px, borderType=cv2.BORDER_REFLECT)
    centre_x, centre_y = _centroid(cv2.GaussianBlur(image, (5, 5), 0), x, y)
    turn = np.array([[-1, 0, 2 * centre_x], [0, -1, 2 * centre_y]], np.float64)
    turned = cv2.warpAffine(smoothed, turn, image.shape[::-1], flags=cv2.INTER_LINEAR)
    peak = max(1.0, float(smoothed[y, x]))
    residual = np.asarray((smoothed - turned) * np.float32(peak**-0.5), np.float32)
    return Asymmetry(residual, np.asarray(np.minimum(smoothed, turned) > _SHARED_SIGMA), centre_x, centre_y)


def _centroid(image: Plane, x: int, y: int) -> tuple[float, float]:
    x0, y0 = max(0, x - _CENTROID_PX), max(0, y - _CENTROID_PX)
    window = image[y0 : y + _CENTROID_PX + 1, x0 : x + _CENTROID_PX + 1].astype(np.float64)
    window = window - window.min()
    total = window.sum()
    if total <= 0:
        return float(x), float(y)
    columns, rows = np.arange(window.shape[1]), np.arange(window.shape[0])
    return float(x0 + (window.sum(axis=0) @ columns) / total), float(y0 + (window.sum(axis=1) @ rows) / total)
