"""What the ingests of images and spectra report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import psycopg

from galbase.ingest.file_verdict import IngestReport
from galbase.schema import console
from galbase.schema.flags import ObservationFlag


def observation_totals(connection: psycopg.Connection[Any], release_id: int, kind: str) -> dict[str, int]:
    """Observations of a release: all, with and without a position, and with positions that differ."""
    row = connection.execute(
        "SELECT count(*), count(source_id), count(*) FILTER (WHERE flag & %(differs)s <> 0) "
        "FROM archive.observation WHERE release_id = %(release)s AND kind = %(kind)s",
        {"differs": int(ObservationFlag.POSITION_DIFFERS), "release": release_id, "kind": kind},
    ).fetchone()
    total, placed, differs = (0, 0, 0) if row is None else row
    return {
        "in_release": total,
        "with_position": placed,
        "without_position": total - placed,
        "position_differs": differs,
    }


def write_report(
    report: IngestReport, totals: Mapping[str, int], as_json: bool, further: Mapping[str, Any] | None = None
) -> None:
    """Write an ingest's result; reasons of rejected files go to standard error unless as JSON."""
    payload: dict[str, Any] = {
        "files_loaded": report.loaded,
        "files_unchanged": report.unchanged,
        "files_rejected": len(report.rejected),
        "files_ignored": report.ignored,
        "rows_rejected": report.rows_rejected,
        "inserted": report.inserted,
        "changed": report.changed,
        "deleted": report.deleted,
        **totals,
        **(further or {}),
    }
    if as_json:
        payload["rejected"] = [{"file": file, "reason": reason} for file, reason in report.rejected]
    console.report(payload, as_json)
    if not as_json:
        for file, reason in report.rejected:
            console.note(f"rejected {file}: {reason}")
