"""What commands write: tables, JSON, notes and progress."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol


class Progress(Protocol):
    """Tells how far a long step is."""

    def advance(self, n: int = 1) -> None:
        """Count `n` more items as done."""

    def total(self, n: int) -> None:
        """Set the number of items."""


def out(text: str = "") -> None:
    """Write a line to standard output."""
    sys.stdout.write(text + "\n")


def note(text: str) -> None:
    """Write a line to standard error, so that standard output stays a result."""
    sys.stderr.write(text + "\n")


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], title: str | None = None) -> None:
    """Write a table to standard output; plain columns when it is not a terminal."""
    from rich.console import Console
    from rich.table import Table

    made = Table(title=title, title_justify="left", header_style="bold")
    for name in columns:
        made.add_column(name, overflow="fold")
    for row in rows:
        made.add_row(*["" if value is None else _text(value) for value in row])
    # Without markup: a cell or a unit in brackets is text, not a style.
    console = Console(file=sys.stdout, soft_wrap=not sys.stdout.isatty(), markup=False)
    if not sys.stdout.isatty():
        console = Console(file=sys.stdout, width=200, markup=False)
    console.print(made)


def _text(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def report(payload: Mapping[str, Any], as_json: bool) -> None:
    """Write a command's result: one JSON object, or a line a key."""
    if as_json:
        out(json.dumps(payload, default=str))
        return
    width = max((len(key) for key in payload), default=0)
    for key, value in payload.items():
        out(f"{key.replace('_', ' '):<{width}}  {_text(value) if value is not None else '-'}")


class _Lines:
    """Plain progress lines at most every five seconds, for logs and pipes."""

    def __init__(self, label: str, total: int | None, unit: str) -> None:
        self._label, self._total, self._unit = label, total, unit
        self._done, self._start, self._last = 0, time.monotonic(), time.monotonic()

    def total(self, n: int) -> None:
        self._total = n

    def advance(self, n: int = 1) -> None:
        self._done += n
        now = time.monotonic()
        if now - self._last >= 5:
            self._last = now
            rate = self._done / (now - self._start)
            left = f", {(self._total - self._done) / rate:.0f} s left" if self._total and rate else ""
            of = f"/{self._total}" if self._total else ""
            note(f"{self._label}: {self._done}{of} {self._unit}, {rate:.1f}/s{left}")


class _Bar:
    """A rich progress bar with rate and time left."""

    def __init__(self, label: str, total: int | None, unit: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(unit),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._start, self._done = time.monotonic(), 0
        self._bar.start()
        self._task = self._bar.add_task(label, total=total, rate="")

    def total(self, n: int) -> None:
        self._bar.update(self._task, total=n)

    def advance(self, n: int = 1) -> None:
        self._done += n
        elapsed = time.monotonic() - self._start
        self._bar.update(self._task, advance=n, rate=f"{self._done / elapsed:.1f}/s" if elapsed > 0 else "")

    def stop(self) -> None:
        self._bar.stop()


@contextmanager
def progress(label: str, total: int | None = None, unit: str = "") -> Iterator[Progress]:
    """A progress bar on a terminal, plain lines elsewhere; both on standard error."""
    if sys.stderr.isatty():
        bar = _Bar(label, total, unit)
        try:
            yield bar
        finally:
            bar.stop()
    else:
        yield _Lines(label, total, unit)


def scores_table(scores: Mapping[str, Mapping[str, Mapping[str, float]]], title: str) -> None:
    """Scores by property and predictor as a table."""
    shown = ("sigma", "mae", "nmad", "bias_mean", "f_out", "r2", "coverage_68", "coverage_90", "coverage_95")
    rows = [
        (name, predictor, int(values["n"]), *(round(values[key], 3) if key in values else None for key in shown))
        for name, predictors in scores.items()
        for predictor, values in predictors.items()
    ]
    table(("property", "predictor", "n", *shown), rows, title)
