"""The page that describes a value-added catalogue: columns, models, data, and what to cite."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from galbase.schema import __version__
from galbase.sql.html_page import html_page
from galbase.sql.query import ReleaseCredit
from galbase.sql.result_column import ResultColumn

if TYPE_CHECKING:
    import psycopg

# Papers of the methods, by the first word of a family.
METHODS = {
    "galeffnet": "GalEffNet: Zhong et al. 2024, MNRAS 531, 2011, doi:10.1093/mnras/stae1271",
    "gpm": "GPM-ResNet: 2025, A&A 694, A271",
    "mmlforgalam": "MMLforGalAM: 2025, A&A 698, A222, doi:10.1051/0004-6361/202553751",
    "galnet": "GaLNet: Li et al. 2022, ApJ 929, 152",
}
_STYLE = """
th, td { padding: 0.2rem 0.7rem; text-align: left; border-bottom: 1px solid #ddd; vertical-align: top; }
td.unit, td.ucd { font-family: ui-monospace, monospace; font-size: 0.9em; }
"""


@dataclass(frozen=True)
class ModelCard:
    """What a catalogue says of a model."""

    name: str
    family: str
    mode: str
    preset: str
    training_set: str | None
    label_origin: str
    trained_on: str
    properties: tuple[str, ...]
    weights_sha256: str
    test: dict[str, dict[str, dict[str, float]]]


def serving_models(connection: psycopg.Connection, names: Sequence[str]) -> list[ModelCard]:
    """Cards of the models that serve properties."""
    rows = connection.execute(
        "SELECT model, family, mode, preset, training_set, label_origin, trained_on, serves, weights_sha256, "
        "coalesce(metrics -> 'test', '{}') FROM api.model_card WHERE serves && %s::text[] ORDER BY model",
        (list(names),),
    ).fetchall()
    return [
        ModelCard(
            row[0], row[1], row[2], row[3], row[4], row[5], row[6],
            tuple(name for name in row[7] if name in names), row[8], row[9],
        )
        for row in rows
    ]  # fmt: skip


def data_model_page(
    title: str,
    where: str | None,
    n_row: int,
    columns: Iterable[ResultColumn],
    models: Sequence[ModelCard],
    credits: Iterable[ReleaseCredit],
) -> str:
    """The page in HTML.

    Parameters
    ----------
    title : str
        Name of the catalogue's file.
    where : str or None
        Condition that chose the galaxies.
    n_row : int
    columns : iterable of ResultColumn
    models : sequence of ModelCard
    credits : iterable of ReleaseCredit
        Releases whose data are in the catalogue.
    """
    chosen = "all galaxies" if where is None else f"galaxies with <code>{html.escape(where)}</code>"
    lines = [
        f"<h1>{html.escape(title)}</h1>",
        f"<p>{n_row} rows, one a galaxy: {chosen} that have a prediction. Written by galbase "
        f"{html.escape(__version__)} on {datetime.now(UTC):%Y-%m-%d}.</p>", "<h2>Columns</h2>",
    ]  # fmt: skip
    lines += _table(
        ("name", "type", "unit", "UCD", "description"),
        ((each.name, each.kind, each.unit, each.ucd, each.description) for each in columns),
    )
    lines.append(
        "<p>An error is half of the calibrated 68 % interval; _q025 to _q975 are calibrated quantiles. Bits of the "
        "flags are named in the archive's table flag_definition.</p>"
    )
    lines.append("<h2>Models</h2>")
    lines += _table(
        ("model", "method", "properties", "training set", "labels", "trained on", "weights (SHA-256)"),
        (
            (
                card.name, f"{card.family}, {card.mode}, {card.preset}", ", ".join(card.properties),
                card.training_set or "simulated stamps",
                card.label_origin, card.trained_on, card.weights_sha256,
            )
            for card in models
        ),
    )  # fmt: skip
    lines.append("<h2>Scores on held-out sky [dex]</h2>")
    shown = ("n", "sigma", "mae", "nmad", "bias_mean", "f_out", "coverage_68", "coverage_90", "coverage_95")
    lines += _table(
        ("model", "property", *shown),
        (
            (card.name, name, *(_number(card.test[name]["network"].get(key)) for key in shown))
            for card in models
            for name in card.properties
            if "network" in card.test.get(name, {})
        ),
    )
    lines.append("<h2>Licence and citation</h2>")
    sources = ((each.release, each.licence, each.citation, each.url) for each in credits)
    lines += _table(("release", "licence", "cite", "from"), sources)
    papers = sorted({METHODS[key] for card in models if (key := card.family.split("_")[0]) in METHODS})
    lines += ["<ul>", *(f"<li>{html.escape(paper)}</li>" for paper in papers), "</ul>"]
    return html_page(title, lines, width_rem=65, style=_STYLE)


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    lines = ["<table>", "<tr>" + "".join(f"<th>{html.escape(name)}</th>" for name in head) + "</tr>"]
    for row in rows:
        cells = (
            f'<td class="{name.lower()}">' + html.escape("" if cell is None else str(cell)) + "</td>"
            for name, cell in zip(head, row, strict=True)
        )
        lines.append("<tr>" + "".join(cells) + "</tr>")
    return [*lines, "</table>"]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
