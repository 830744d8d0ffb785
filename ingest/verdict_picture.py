"""Pictures of verdicts: what a configuration saw in an image and why it is kept or out, one by one and in montages."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from galbase.ingest.preprocess.config import ImprovedConfig
from galbase.ingest.preprocess.ellipse import Ellipse
from galbase.ingest.preprocess.frame import Rgb
from galbase.ingest.preprocess.overlay import Line, Overlay
from galbase.schema.flags import preprocess_reasons
from galbase.sql.query import ReleaseCredit

# Colours that differ for all kinds of colour vision and from galaxies (Okabe & Ito 2008).
OWN, OTHER, ELLIPSE, EDGE = "#56b4e9", "#e69f00", "#f0e442", "#ffffff"
_KEPT, _OUT = "#006b4e", "#a63a00"
_DPI = 110
_PANELS_A_ROW = 6
# What lines mean; the last two are not drawn in montages.
_LEGEND = (
    ("target: its contour or segment", OWN, "-"),
    ("other contours or segments", OTHER, "-"),
    ("ellipse", ELLIPSE, "-"),
    ("edge of the mask", EDGE, "-"),
    ("enlarged ellipse", ELLIPSE, "--"),
    ("where a target's centre may lie", EDGE, ":"),
)


@dataclass(frozen=True)
class Case:
    """One image as one or several configurations see it.

    Parameters
    ----------
    name : str
        What it is called above its picture.
    is_display : bool
        Arrays of fluxes count rows from the south, display images from the top.
    seen : sequence of (str, Overlay)
        Name of each configuration, and what it sees.
    """

    name: str
    is_display: bool
    seen: Sequence[tuple[str, Overlay]]

    @property
    def origin(self) -> str:
        """Where the first row is drawn."""
        return "upper" if self.is_display else "lower"


def verdict_words(name: str, overlay: Overlay) -> tuple[str, list[str], list[str]]:
    """A verdict in words: headline, reasons against the image and remarks, measures."""
    verdict, config = overlay.verdict, overlay.config
    said = preprocess_reasons(verdict.flag)
    reasons = [f"out: {item.meaning}" if item.keeps_out else f"note: {item.meaning}" for item in said]
    grey = "" if isinstance(config, ImprovedConfig) and verdict.threshold is not None else " grey levels"
    measures = []
    if verdict.threshold is not None:
        measures.append(f"threshold {verdict.threshold:.3g}{grey}")
    if verdict.background_rms is not None:
        measures.append(f"background rms {verdict.background_rms:.2g}{grey}")
    if verdict.radius_px is not None:
        arcsec = "" if verdict.radius_arcsec is None else f" = {verdict.radius_arcsec:.1f} arcsec"
        measures.append(f"radius {verdict.radius_px:.1f} px{arcsec}")
    what = "regions detected" if isinstance(config, ImprovedConfig) else "contours"
    counts = ((what, verdict.n_contour), ("sources", verdict.n_source), ("regions, second check", verdict.n_region))
    measures += [f"{kind}: {count}" for kind, count in counts if count is not None]
    if verdict.blend_score is not None and isinstance(config, ImprovedConfig):
        measures.append(f"blend score {verdict.blend_score:.2f}, limit {config.max_blend_score:g}")
    return f"{name}: {'kept' if verdict.kept else 'out'}", reasons, measures


def draw_side_by_side(case: Case, path: Path, credits: Iterable[ReleaseCredit] = ()) -> None:
    """Draw one image as PNG, a row a configuration: the image, what was found, ellipses, what the mask leaves, words.

    Parameters
    ----------
    case : Case
    path : Path
        File to write; one that exists is replaced.
    credits : iterable of ReleaseCredit
        Licence and citation, written below and in the file's metadata.
    """
    from matplotlib.figure import Figure

    n_row = len(case.seen)
    figure = Figure(figsize=(14, 2.85 * n_row + 0.9), layout="constrained")
    grid = figure.subplots(n_row, 5, squeeze=False, width_ratios=(1, 1, 1, 1, 1.45))
    for row, (name, overlay) in zip(grid, case.seen, strict=True):
        for axes, title in zip(row, ("image", "found", "ellipses", "masked"), strict=False):
            _show(axes, overlay.colours, case.origin)
            axes.set_title(title, fontsize=9)
        _draw_found(row[1], overlay)
        _draw_centre(row[1], overlay)
        _draw_ellipses(row[2], overlay)
        _draw_masked(row[3], overlay, case.origin)
        _write_words(row[4], name, overlay)
    figure.suptitle(case.name, fontsize=11, parse_math=False)
    _finish(figure, path, case.name, list(credits), _LEGEND)


def draw_montage(cases: Sequence[Case], title: str, path: Path, credits: Iterable[ReleaseCredit] = ()) -> None:
    """Draw many images as one PNG: each plain, and beside it what each configuration saw, with its flags.

    Parameters
    ----------
    cases : sequence of Case
        At least one; all with equally many configurations.
    title : str
    path : Path
        File to write; one that exists is replaced.
    credits : iterable of ReleaseCredit
    """
    from matplotlib.figure import Figure

    n_panel = 1 + len(cases[0].seen)
    n_group = min(len(cases), max(1, _PANELS_A_ROW // n_panel))
    n_row = -(-len(cases) // n_group)
    figure = Figure(figsize=(2.35 * n_group * n_panel, 2.75 * n_row + 0.9), layout="constrained")
    grid = figure.subplots(n_row, n_group * n_panel, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for index, case in enumerate(cases):
        row, group = divmod(index, n_group)
        panels = grid[row, group * n_panel : (group + 1) * n_panel]
        _show(panels[0], case.seen[0][1].colours, case.origin)
        panels[0].set_title("\n".join(_wrap(case.name, 30, 3)), fontsize=7, parse_math=False)
        for axes, (name, overlay) in zip(panels[1:], case.seen, strict=True):
            _show(axes, overlay.colours, case.origin)
            _draw_found(axes, overlay)
            # The enlarged ellipse would hide the edge of the mask, which tells of neighbours as well.
            _draw_ellipses(axes, replace(overlay, enlarged=None), width=0.8)
            head, _, _ = verdict_words(name, overlay)
            flags = ", ".join(item.name.lower().replace("_", " ") for item in preprocess_reasons(overlay.verdict.flag))
            lines = [head, *_wrap(flags, 38, 3)]
            axes.set_title("\n".join(lines), fontsize=6.5, color=_colour(overlay))
    figure.suptitle(title, fontsize=11, parse_math=False)
    _finish(figure, path, title, list(credits), _LEGEND[:-2])


def _show(axes: Any, colours: Rgb, origin: str) -> None:
    axes.imshow(colours, origin=origin, interpolation="nearest")
    axes.set_axis_on()
    axes.set_xticks([])
    axes.set_yticks([])
    # Contours reach beyond the edge; the picture does not grow with them.
    axes.set_autoscale_on(False)


def _draw_found(axes: Any, overlay: Overlay) -> None:
    for lines, colour in ((overlay.others, OTHER), (overlay.own, OWN)):
        for line in lines:
            _draw_line(axes, line, colour)


def _draw_line(axes: Any, line: Line, colour: str) -> None:
    axes.plot(line[:, 0], line[:, 1], color=colour, linewidth=0.9, marker="." if len(line) <= 2 else None, markersize=2)


def _draw_centre(axes: Any, overlay: Overlay) -> None:
    from matplotlib.patches import Circle

    ny, nx = overlay.colours.shape[:2]
    centre = ((nx - 1) / 2, (ny - 1) / 2)
    radius = overlay.config.max_centre_distance_px
    for colour, style in (("black", "-"), (EDGE, ":")):
        axes.add_patch(Circle(centre, radius, fill=False, edgecolor=colour, linestyle=style, linewidth=0.9))


def _draw_ellipses(axes: Any, overlay: Overlay, width: float = 1.0) -> None:
    if overlay.mask is not None and overlay.mask.any() and not overlay.mask.all():
        axes.contour(overlay.mask.astype(float), [0.5], colors=EDGE, linewidths=width)
    for ellipse, style in ((overlay.ellipse, "-"), (overlay.enlarged, "--")):
        if ellipse is not None:
            axes.add_patch(_patch(ellipse, style, width))


def _patch(ellipse: Ellipse, style: str, width: float) -> Any:
    from matplotlib.patches import Ellipse as Patch

    # The y axis of the picture may point down; matplotlib turns angles with it.
    return Patch(
        (ellipse.x, ellipse.y), 2 * ellipse.a, 2 * ellipse.b, angle=ellipse.theta, fill=False, edgecolor=ELLIPSE,
        linestyle=style, linewidth=width, zorder=4,
    )  # fmt: skip


def _draw_masked(axes: Any, overlay: Overlay, origin: str) -> None:
    axes.clear()
    if overlay.mask is None:
        axes.set_axis_off()
        axes.text(0.5, 0.5, "no target, no mask", fontsize=9, ha="center", color="0.4", transform=axes.transAxes)
        return
    _show(axes, np.where(overlay.mask[..., None], overlay.colours, np.float32(0)), origin)
    side = overlay.config.stamp_px
    ny, nx = overlay.colours.shape[:2]
    axes.set_title(f"masked; stamp of {side} px", fontsize=9)
    if side < max(ny, nx):
        from matplotlib.patches import Rectangle

        corner = ((nx - side) // 2 - 0.5, (ny - side) // 2 - 0.5)
        axes.add_patch(Rectangle(corner, side, side, fill=False, edgecolor=EDGE, linewidth=0.8, linestyle=":"))


def _write_words(axes: Any, name: str, overlay: Overlay) -> None:
    axes.set_axis_off()
    head, reasons, measures = verdict_words(name, overlay)
    axes.text(0, 1, head, fontsize=11, weight="bold", va="top", color=_colour(overlay), transform=axes.transAxes)
    lines = [line for reason in reasons for line in _wrap(reason, 52, 3)]
    lines += [""] if reasons else []
    lines += [line for measure in measures for line in _wrap(measure, 52, 2)]
    axes.text(0, 0.88, "\n".join(lines), fontsize=7.5, va="top", transform=axes.transAxes, linespacing=1.3)


def _wrap(text: str, width: int, n_line: int) -> list[str]:
    return textwrap.wrap(text, width, max_lines=n_line, placeholder=" ...", subsequent_indent="  ")


def _colour(overlay: Overlay) -> str:
    return _KEPT if overlay.verdict.kept else _OUT


def _finish(
    figure: Any,
    path: Path,
    title: str,
    credits: Sequence[ReleaseCredit],
    legend: Sequence[tuple[str, str, str]],
) -> None:
    """The legend, the credits, and the file."""
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=colour, linestyle=style, label=label) for label, colour, style in legend]
    figure.legend(
        handles=handles, loc="outside lower center", ncols=-(-len(legend) // 2), fontsize=7.5, facecolor="0.25",
        labelcolor="white", framealpha=1,
    )  # fmt: skip
    texts = [
        f"{credit.release}: licence {credit.licence or 'not stated'}; cite {credit.citation or 'not stated'}"
        for credit in credits
    ]
    if texts:
        figure.supxlabel("\n".join(texts), fontsize=6, color="0.3", parse_math=False)
    metadata = {"Title": title, "Software": "galbase"}
    if texts:
        metadata["Copyright"] = "\n".join(texts)
    figure.savefig(path, format="png", dpi=_DPI, metadata=metadata)
