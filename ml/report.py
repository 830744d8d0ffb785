"""One static HTML page of models: scores beside the baselines, coverage, pictures."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from galbase.ml.evaluation import Evaluation
from galbase.ml.model_store import ModelRecord
from galbase.ml.side_by_side import METRICS, ComparedModel, of_one_set, side_by_side
from galbase.schema import __version__
from galbase.sql.html_page import html_page

SHOWN = ("sigma", "mae", "nmad", "bias_mean", "bias_median", "f_out", "r2", "coverage_68", "coverage_90", "coverage_95")
_STYLE = """
table { font-variant-numeric: tabular-nums; }
th, td { padding: 0.15rem 0.7rem; text-align: right; border-bottom: 1px solid #ddd; }
th:first-child, td:first-child { text-align: left; }
tr.network td { font-weight: 600; } td.fails { color: #b00; font-weight: 600; }
img { max-width: 100%; height: auto; margin: 0.3rem 0.6rem 0.3rem 0; }
figure { display: inline-block; margin: 0; vertical-align: top; }
h2 { border-top: 2px solid #222; padding-top: 0.8rem; }
"""


def write_report(path: Path, models: Sequence[tuple[ModelRecord, Evaluation, Sequence[Path]]]) -> None:
    """Write the page; its pictures are in it, so that it can be sent as one file.

    Parameters
    ----------
    path : Path
        HTML file to write.
    models : sequence of (ModelRecord, Evaluation, sequence of Path)
        Models, their scores, and the PNG files of `model_plots.write_plots`. Those of one training set are put side
        by side too.
    """
    parts = [
        "<h1>Models on held-out sky</h1>",
        "<p>Scores are unclipped, in dex, of objects on sky that the model was neither fitted, stopped nor calibrated "
        f"on. Written by galbase {html.escape(__version__)}.</p>",
    ]  # fmt: skip
    for group in of_one_set([(model, found) for model, found, _ in models]):
        parts += _compared(side_by_side(group))
    for model, found, pictures in models:
        parts += _model(model, found, pictures)
    page = html_page("galbase: models", parts, width_rem=75, style=_STYLE)
    path.write_text(page, encoding="utf-8")


def _compared(tables: Mapping[str, Sequence[ComparedModel]]) -> list[str]:
    """Models of one training set, on the same objects."""
    first = next(iter(tables.values()))[0].model
    lines = [
        "<h2>Side by side</h2>",
        "<p>Models of one training set, scored on the same held-out objects. Change of sigma: less that of "
        f"{html.escape(first)}, with one standard error of the same objects resampled.</p>",
    ]
    columns = ("model", "mode", "backbone", "bands", "side [px]", "n", *METRICS, "change of sigma")
    for name, models in tables.items():
        lines.append(f"<h3>{html.escape(name)}</h3>")
        rows = (
            (
                each.model,
                [
                    *(html.escape(text) for text in (each.mode, each.backbone, each.bands, each.resolution)),
                    f"{each.metrics['n']:.0f}", *(_number(each.metrics[key]) for key in METRICS),
                    "" if each.sigma_change is None
                    else f"{each.sigma_change:+.3f} ± {_number(each.sigma_change_err)}",
                ],
            )
            for each in models
        )  # fmt: skip
        lines += _table(columns, rows)
    return lines


def _model(model: ModelRecord, found: Evaluation, pictures: Sequence[Path]) -> list[str]:
    facts = {
        "family": model.family, "mode": model.mode, "preset": model.preset, "state": model.state,
        "trained on": model.trained_on, "preprocessing": model.preprocess_name, "weights": model.weights_sha256[:16],
    }  # fmt: skip
    lines = [
        f"<h2>{html.escape(model.name)}</h2>",
        "<p>" + ", ".join(f"{key} {html.escape(str(value))}" for key, value in facts.items()) + "</p>",
    ]
    for name, predictors in found.scores.items():
        lines.append(f"<h3>{html.escape(name)}</h3>")
        rows = (
            (predictor, [f"{scores['n']:.0f}", *(_number(scores.get(key)) for key in SHOWN)])
            for predictor, scores in predictors.items()
        )
        lines += _table(("predictor", "n", *SHOWN), rows)
        lines.append("<p>In parts of the test set (red: coverage surely more than 5 points from nominal)</p>")
        lines += _parts(found.strata[name])
    for picture in pictures:
        data = base64.b64encode(picture.read_bytes()).decode("ascii")
        lines.append(f'<figure><img alt="{html.escape(picture.stem)}" src="data:image/png;base64,{data}"/></figure>')
    return lines


def _parts(parts: Iterable[dict[str, Any]]) -> list[str]:
    columns = ("n", "sigma", "nmad", "bias_mean", "f_out", "coverage_68", "coverage_90", "coverage_95")
    lines = ["<table>", "<tr>" + "".join(f"<th>{key}</th>" for key in ("part", *columns)) + "</tr>"]
    for part in parts:
        cells = [f"<td>{html.escape(part['of'])} {html.escape(part['name'])}</td>"]
        failed = {f"coverage_{level}" for level in part["coverage_fails"]}
        for key in columns:
            marked = ' class="fails"' if key in failed else ""
            cells.append(
                f"<td{marked}>{part[key]:.0f}</td>" if key == "n" else f"<td{marked}>{_number(part[key])}</td>"
            )
        lines.append("<tr>" + "".join(cells) + "</tr>")
    return [*lines, "</table>"]


def _table(columns: Sequence[str], rows: Iterable[tuple[str, Sequence[str]]]) -> list[str]:
    lines = ["<table>", "<tr>" + "".join(f"<th>{html.escape(column)}</th>" for column in columns) + "</tr>"]
    for name, cells in rows:
        marked = ' class="network"' if name == "network" else ""
        lines.append(f"<tr{marked}><td>{html.escape(name)}</td>" + "".join(f"<td>{c}</td>" for c in cells) + "</tr>")
    return [*lines, "</table>"]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
