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

from galbase.ingest.preprocess.coadd import Plane
from galbase.ingest.preprocess.config import ImprovedConfig
from galbase.ingest.preprocess.detection import Region

# Half a side of the window in which the centroid of the peak is taken.
_CENTROID_PX = 2
# Light that both sides show, in rms of the unsmoothed image: within it lies the target.
_SHARED_SIGMA = 1.5
# A lone source reaches out to this share of the excess that its peak needs.
_LONE_EDGE = 0.2


@dataclass(frozen=True)
class Asymmetry:
    """The image minus itself turned about the target's peak, over the root of the peak.

    Parameters
    ----------
    residual : (ny, nx) float32
        Root of S/N.
    shared : (ny, nx) bool
        Where both sides shine: the target without what is on one side alone.
    fine : (ny, nx) float32
        The image hardly smoothed, in units of the noise of a pixel.
    x, y : float
        Centre of the turn, pixels.
    """

    residual: Plane
    shared: Region
    fine: Plane
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

    def lone_sources(self, region: Region, config: ImprovedConfig) -> Region:
        """Pixels of compact sources within the target that deblending left to it: little stars on its outskirts.

        Such a source is a local peak whose place on the target's other side lacks at least `lone_share` of its light,
        and `lone_sigma` in noise of a pixel. Its pixels are those around it that lack as large a share; farther
        out more goes of the target than of the star. One of more than `lone_max_px` pixels is no point but an arm, a
        tail, or a neighbour that deblending must part.

        Parameters
        ----------
        region : (ny, nx) bool
            The target.
        config : ImprovedConfig

        Returns
        -------
        (ny, nx) bool
        """
        turned = _turned(self.fine, self.x, self.y)
        lacking = self.fine - turned
        alone = region & (lacking > config.lone_share * self.fine) & (lacking > _LONE_EDGE * config.lone_sigma)
        lone = np.zeros_like(region)
        peaks = alone & (lacking > config.lone_sigma)
        if not peaks.any():
            return lone
        peaks &= self.fine >= cv2.dilate(self.fine, np.ones((5, 5), np.uint8))
        rows, columns = np.nonzero(peaks)
        far = (columns - self.x) ** 2 + (rows - self.y) ** 2 > config.core_px**2
        _, labels, stats, _ = cv2.connectedComponentsWithStats(alone.astype(np.uint8), connectivity=8)
        for label in np.unique(labels[rows[far], columns[far]]):
            if stats[label, cv2.CC_STAT_AREA] <= config.lone_max_px:
                lone |= labels == label
        # What outshines all the rest is the target itself, whose peak then lies beside the centre of the turn.
        if self.fine[lone].sum() > self.fine[region & ~lone].sum():
            return np.zeros_like(region)
        return lone


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
    fine = cv2.GaussianBlur(image, (5, 5), 0)
    centre_x, centre_y = _centroid(fine, x, y)
    turned = _turned(smoothed, centre_x, centre_y)
    peak = max(1.0, float(smoothed[y, x]))
    residual = np.asarray((smoothed - turned) * np.float32(peak**-0.5), np.float32)
    return Asymmetry(residual, np.asarray(np.minimum(smoothed, turned) > _SHARED_SIGMA), fine, centre_x, centre_y)


def _turned(image: Plane, x: float, y: float) -> Plane:
    """The image turned by 180 degrees about a point; 0 beyond its edge."""
    turn = np.array([[-1, 0, 2 * x], [0, -1, 2 * y]], np.float64)
    return np.asarray(cv2.warpAffine(image, turn, image.shape[::-1], flags=cv2.INTER_LINEAR), np.float32)


def _centroid(image: Plane, x: int, y: int) -> tuple[float, float]:
    x0, y0 = max(0, x - _CENTROID_PX), max(0, y - _CENTROID_PX)
    window = image[y0 : y + _CENTROID_PX + 1, x0 : x + _CENTROID_PX + 1].astype(np.float64)
    window = window - window.min()
    total = window.sum()
    if total <= 0:
        return float(x), float(y)
    columns, rows = np.arange(window.shape[1]), np.arange(window.shape[0])
    return float(x0 + (window.sum(axis=0) @ columns) / total), float(y0 + (window.sum(axis=1) @ rows) / total)
