"""Losses of a training in the database, epoch by epoch."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import psycopg

from galbase.ml.checkpoint import TrainingEndedError
from galbase.schema.database import connect_url
from galbase.schema.errors import GalbaseError

_log = logging.getLogger(__name__)


def record_epochs(
    connection: psycopg.Connection[Any], run_id: int, rows: Iterable[tuple[str, int, Mapping[str, float]]]
) -> None:
    """Write losses of a run, of what is not written yet; the caller commits.

    Parameters
    ----------
    connection : psycopg.Connection
    run_id : int
    rows : iterable of (part, epoch, losses)
        Name of what was fitted, its epoch from 0, and ``loss`` and ``val_loss``; one that is not finite is NULL.
    """
    for part, epoch, losses in rows:
        found = (losses.get(name) for name in ("loss", "val_loss"))
        finite = [value if value is not None and math.isfinite(value) else None for value in found]
        connection.execute(
            "INSERT INTO archive.training_epoch (run_id, part, epoch, loss, val_loss) VALUES (%s, %s, %s, %s, %s) "
            "ON CONFLICT (run_id, part, epoch) DO NOTHING",
            (run_id, part, epoch, *finite),
        )


def check_running(connection: psycopg.Connection[Any], run_id: int) -> None:
    """Refuse to go on for a run that has ended: its command was interrupted, or given again.

    Raises
    ------
    TrainingEndedError
    """
    row = connection.execute("SELECT state, message FROM archive.run WHERE run_id = %s", (run_id,)).fetchone()
    if row is None or row[0] != "running":
        raise TrainingEndedError(f"run {run_id} was ended ({row[1] if row else 'removed'}); give the command again.")


def curve_rows(
    history: Mapping[str, Mapping[str, list[float]]],
) -> list[tuple[str, int, dict[str, float]]]:
    """Rows of `record_epochs` of whole curves, by part."""
    return [
        (part, epoch, {name: values[epoch] for name, values in curves.items()})
        for part, curves in history.items()
        for epoch in range(len(curves["loss"]))
    ]


def recorder(url: str, run_id: int) -> Callable[[str, int, dict[str, float]], None]:
    """What writes an epoch's losses as it ends, and ends a training whose run was ended.

    While the database is away the training goes on; at its end all losses are written that are not there.

    Parameters
    ----------
    url : str
        Database URL of the archive's owner.
    run_id : int
    """

    def record(part: str, epoch: int, losses: dict[str, float]) -> None:
        try:
            with connect_url(url) as connection:
                record_epochs(connection, run_id, [(part, epoch, losses)])
                check_running(connection, run_id)
        except TrainingEndedError:
            raise
        except (GalbaseError, psycopg.Error) as error:
            _log.warning("losses of %s, epoch %d, are written when the training ends: %s", part, epoch, error)

    return record
