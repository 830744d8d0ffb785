"""Pictures of HEALPix maps: the whole sky in Mollweide's projection."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from galbase.schema.errors import UsageError
from galbase.schema.healpix import ORDER, hpx29
from galbase.sql.mollweide import HALF_HEIGHT, HALF_WIDTH, project, unproject
from galbase.sql.sky_map import SkyMap

# A cell of order 8 has two pixels of the picture.
FINEST_ORDER = 8
HEIGHT = 1000
EMPTY = "0.85"
# Letters that fill the width of the note below the picture, and lines that leave the map its place.
NOTE_WIDTH = 210
NOTE_LINES = 8
# Above this ratio of the brightest to the faintest, densities get a logarithmic scale.
_LOG_FROM = 30
_N_CLIPPED = 100


def raster(sky_map: SkyMap, height: int = HEIGHT) -> npt.NDArray[np.float64]:
    """Values of a map on a grid of pixels in Mollweide's projection.

    Parameters
    ----------
    sky_map : SkyMap
    height : int
        Pixels from pole to pole; the width is twice that.

    Returns
    -------
    ndarray of float64, shape (height, 2 * height)
        First row in the south; columns from right ascension 180 down to 0 in the middle, and from 360 down to 180;
        NaN outside the sky and in cells without a value. A cell that no pixel's middle lies in takes the pixel of its
        own middle, so that a cell by itself is always seen.
    """
    step = 2 * HALF_HEIGHT / height
    x = (np.arange(2 * height) + 0.5) * step - HALF_WIDTH
    y = (np.arange(height) + 0.5) * step - HALF_HEIGHT
    ra, dec = unproject(x[None, :], y[:, None])
    inside = np.isfinite(ra)
    cell = hpx29(ra[inside], dec[inside]) >> 2 * (ORDER - sky_map.order)
    index = np.minimum(np.searchsorted(sky_map.cells, cell), len(sky_map.cells) - 1)
    hit = sky_map.cells[index] == cell
    made = np.full(ra.shape, np.nan)
    made[inside] = np.where(hit, sky_map.values[index], np.nan)
    unseen = np.ones(len(sky_map.cells), dtype=bool)
    unseen[index[hit]] = False
    if unseen.any():
        column, row = _pixel_of_centres(sky_map.cells[unseen], sky_map.order, step, made.shape)
        made[row, column] = sky_map.values[unseen]
    return made


def _pixel_of_centres(
    cells: npt.NDArray[np.int64], order: int, step: float, shape: tuple[int, ...]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    import healpy

    x, y = project(*healpy.pix2ang(1 << order, cells, nest=True, lonlat=True))
    column = np.clip(((x + HALF_WIDTH) / step).astype(np.int64), 0, shape[1] - 1)
    row = np.clip(((y + HALF_HEIGHT) / step).astype(np.int64), 0, shape[0] - 1)
    return column, row


def check_order(order: int) -> None:
    """Refuse an order whose cells are finer than the picture.

    Raises
    ------
    UsageError
        If they are.
    """
    if order > FINEST_ORDER:
        raise UsageError(
            f"--order {order}: cells finer than those of order {FINEST_ORDER} are smaller than the pixels of a PNG of "
            "the sky; lower the order, or write a .fits map."
        )


def draw_map(sky_map: SkyMap, path: Path) -> None:
    """Draw a map as PNG: east to the left, a graticule, a colour bar with name and unit, cells without a value grey.

    Parameters
    ----------
    sky_map : SkyMap
        Of order `FINEST_ORDER` at most, with at least one cell.
    path : Path
        File to write; one that exists is replaced. Licence and citation are written below the map and in its metadata.

    Raises
    ------
    UsageError
        If the map is finer than the picture.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Ellipse

    check_order(sky_map.order)
    figure = Figure(figsize=(11, 6.6), layout="constrained")
    axes = figure.add_subplot(aspect="equal")
    axes.set_axis_off()
    axes.set_xlim(-HALF_WIDTH * 1.06, HALF_WIDTH * 1.06)
    axes.set_ylim(-HALF_HEIGHT * 1.04, HALF_HEIGHT * 1.04)
    size = (2 * HALF_WIDTH, 2 * HALF_HEIGHT)
    axes.add_patch(Ellipse((0, 0), *size, facecolor=EMPTY, edgecolor="none", zorder=0))
    norm, extend = _scale(sky_map)
    image = axes.imshow(
        np.ma.masked_invalid(raster(sky_map)),
        extent=(-HALF_WIDTH, HALF_WIDTH, -HALF_HEIGHT, HALF_HEIGHT),
        origin="lower",
        interpolation="nearest",
        cmap="viridis",
        norm=norm,
        zorder=1,
    )
    edge = axes.add_patch(Ellipse((0, 0), *size, facecolor="none", edgecolor="black", linewidth=0.8, zorder=2))
    image.set_clip_path(edge)
    _graticule(axes)
    bar = figure.colorbar(image, ax=axes, orientation="horizontal", shrink=0.6, aspect=40, pad=0.02, extend=extend)
    bar.set_label(sky_map.label, parse_math=False)
    axes.set_title(f"{sky_map.release}, HEALPix order {sky_map.order}", parse_math=False)
    credits = [
        f"{credit.release}: licence {credit.licence or 'not stated'}; cite {credit.citation or 'not stated'}"
        for credit in sky_map.credits
    ]
    lines = [line for credit in credits for line in textwrap.wrap(credit, NOTE_WIDTH)]
    if len(lines) > NOTE_LINES:
        lines[NOTE_LINES - 1 :] = ["and more, which stands whole in the metadata of this file"]
    figure.supxlabel("\n".join(lines), fontsize=6, color="0.3", parse_math=False)
    metadata = {"Title": f"{sky_map.release}: {sky_map.label}", "Software": "galbase", "Copyright": "\n".join(credits)}
    figure.savefig(path, format="png", dpi=200, metadata=metadata)


def _scale(sky_map: SkyMap) -> tuple[Any, str]:
    """Colours from the 1st to the 99th percentile of many values, or from the least to the greatest of few."""
    from matplotlib.colors import LogNorm, Normalize

    values = sky_map.values[np.isfinite(sky_map.values)]
    least, greatest = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
    low, high = least, greatest
    if len(values) >= _N_CLIPPED:
        low, high = (float(value) for value in np.percentile(values, (1, 99)))
    if low == high:
        low, high = low - 0.5, high + 0.5
    extend = {(True, True): "both", (True, False): "min", (False, True): "max"}.get((least < low, greatest > high))
    if sky_map.unit == "deg**-2" and low > 0 and high > _LOG_FROM * low:
        return LogNorm(low, high), extend or "neither"
    return Normalize(low, high), extend or "neither"


def _graticule(axes: Any) -> None:
    """Meridians and parallels every 30 degrees, right ascensions along the equator, declinations on the left."""
    from matplotlib.patheffects import withStroke

    style = {"color": "black", "linewidth": 0.4, "alpha": 0.5}
    dec = np.linspace(-90, 90, 181)
    for ra in range(0, 360, 30):
        if ra != 180:
            axes.plot(*project(ra, dec), **style)
    # Half a thousandth of a degree off the seam, so that a parallel does not jump across the map.
    ra_line = np.linspace(-179.9995, 179.9995, 361)
    for parallel in range(-60, 90, 30):
        axes.plot(*project(ra_line, parallel), **style)
    halo = [withStroke(linewidth=1.5, foreground="white")]
    for ra in (120, 60, 0, 300, 240):
        x, y = project(ra, 0)
        axes.annotate(f"{ra}°", (float(x), float(y)), (0, 3), textcoords="offset points", fontsize=7, ha="center",
                      path_effects=halo)  # fmt: skip
    for parallel in (-60, -30, 0, 30, 60):
        x, y = project(180, parallel)
        axes.annotate(f"{parallel:+d}°".replace("-", "−") if parallel else "0°", (float(x), float(y)), (-4, 0),
                      textcoords="offset points", fontsize=7, ha="right", va="center")  # fmt: skip
