"""Fits and the database: which spectra lack a current one, and one unit of work read, fitted and written."""

from __future__ import annotations

from collections import Counter
from dataclasses import astuple, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from galbase.ingest.preprocess.spectrum import read_spectrum_rows
from galbase.ml.labels.fit import SpectrumFit, fit_spectrum
from galbase.ml.labels.log_spectrum import FitError
from galbase.ml.labels.options import FitOptions
from galbase.ml.labels.templates import TemplateSet
from galbase.schema.bulk import upsert
from galbase.schema.errors import GalbaseError
from galbase.schema.files import file_facts
from galbase.schema.ledger import StaleUnit, WorkUnit, complete

STEP = "label_fit"
# A spectrum with 100 realisations takes some 10 seconds.
UNIT_ROWS = 4
COLUMNS = (
    "observation_id", "origin", "log_age", "mh", "log_age_err", "mh_err", "chi2", "a_v", "velocity_km_s",
    "dispersion_km_s", "n_pixel", "n_realisation", "reason", "run_id", "input_hash",
)  # fmt: skip

_SPECTRA = sql.SQL(
    "archive.observation o JOIN archive.spectrum s USING (observation_id) "
    "JOIN archive.data_file f USING (data_file_id) "
    "LEFT JOIN archive.label_fit l ON l.observation_id = o.observation_id AND l.origin = %(origin)s"
)
# What a fit depends on besides its method. PostgreSQL writes this text both to find stale rows and for those written.
_WANTED = sql.SQL(
    "left(encode(sha256(convert_to(concat_ws('|', coalesce(f.sha256, f.chunk_sha256), o.row_index, "
    "coalesce(s.z::text, 'none'), coalesce(s.z_warning::text, 'none'), coalesce(s.spectral_class, 'none'), "
    "%(method)s::text), 'UTF8')), 'hex'), 32)"
)
_IS_STALE = sql.SQL(
    "o.kind = 'spectrum' AND o.source_id IS NOT NULL AND f.state = 'loaded' AND l.input_hash IS DISTINCT FROM {}"
).format(_WANTED)
_OF_RELEASE = sql.SQL(
    "(%(release)s::text IS NULL OR o.release_id = "
    "(SELECT release_id FROM archive.data_release WHERE release = %(release)s))"
)
# Of a source's spectra that with the highest S/N gives its labels.
_BEST = sql.SQL(
    "SELECT DISTINCT ON (o.source_id) o.source_id, l.log_age, l.log_age_err, l.mh, l.mh_err "
    "FROM archive.label_fit l JOIN archive.observation o USING (observation_id) "
    "JOIN archive.spectrum s USING (observation_id) WHERE l.origin = %(origin)s AND l.reason IS NULL "
    "AND (%(sources)s::bigint[] IS NULL OR o.source_id = ANY(%(sources)s)) "
    "ORDER BY o.source_id, s.sn_median DESC NULLS LAST, o.observation_id"
)


@dataclass(frozen=True)
class Method:
    """Templates and options, under the origin of their labels, and the hash of both."""

    origin: str
    hash: str
    templates: TemplateSet
    options: FitOptions


@dataclass(frozen=True)
class UnitReport:
    """What a unit did: spectra looked at, fitted, and those that gave no label by reason."""

    n_row: int = 0
    n_fitted: int = 0
    reasons: Counter[str] = field(default_factory=Counter)

    def __add__(self, other: UnitReport) -> UnitReport:
        """Both together."""
        return UnitReport(self.n_row + other.n_row, self.n_fitted + other.n_fitted, self.reasons + other.reasons)


@dataclass(frozen=True)
class _Row:
    observation_id: int
    source_id: int
    row_index: int
    wave_min_angstrom: float
    z: float | None
    z_warning: int | None
    spectral_class: str | None
    wanted: str


@dataclass(frozen=True)
class _File:
    path: Path
    format: str
    size_bytes: int
    mtime: datetime
    content: str


def stale_units(
    connection: psycopg.Connection[Any], origin: str, method: str, release: str | None, limit: int | None = None
) -> list[StaleUnit]:
    """Units with spectra that lack a current fit, in order of file and row.

    A fit is current if it was made of this file's content, redshift and class by this method. Spectra without a source
    have nothing to label and are not looked at.

    Parameters
    ----------
    connection : psycopg.Connection
    origin, method : str
        Origin of the labels, and `options.method_hash`.
    release : str or None
        Only spectra of this release; of all when None.
    limit : int, optional
        At most so many spectra.
    """
    query = sql.SQL(
        "SELECT data_file_id, min(row_index), max(row_index) + 1, count(*) FROM (SELECT o.data_file_id, o.row_index "
        "FROM {} WHERE {} AND {} ORDER BY 1, 2 LIMIT %(limit)s) AS stale "
        "GROUP BY data_file_id, row_index / %(unit_rows)s ORDER BY 1, 2"
    ).format(_SPECTRA, _IS_STALE, _OF_RELEASE)
    parameters = {"origin": origin, "method": method, "release": release, "limit": limit, "unit_rows": UNIT_ROWS}
    return [StaleUnit(*map(int, row)) for row in connection.execute(query, parameters).fetchall()]


def fit_unit(connection: psycopg.Connection[Any], unit: WorkUnit, method: Method) -> UnitReport:
    """Fit a unit's stale spectra, and write fits and labels in one transaction.

    A spectrum that gives no label is written too, with the reason, and is not tried again before something changes.

    Parameters
    ----------
    connection : psycopg.Connection
        Outside a transaction.
    unit : WorkUnit
        Claimed by this worker.
    method : Method

    Raises
    ------
    GalbaseError
        If the file cannot be read, or is not the one that was ingested.
    ClaimLostError
        If the unit's claim was lost; nothing was written then.
    """
    file, rows = _load(connection, unit, method)
    report = UnitReport()
    written: list[tuple[Any, ...]] = []
    if rows:
        _check_unchanged(file)
    for row in rows:
        found = _fit(file, row, method)
        failed = isinstance(found, str)
        values = (None,) * 10 if isinstance(found, str) else astuple(found)
        written.append((row.observation_id, method.origin, *values, found if failed else None, unit.run_id, row.wanted))
        report += UnitReport(1, 0 if failed else 1, Counter([_kind(found)] if isinstance(found, str) else []))
    with connection.transaction():
        if written:
            key = ("observation_id", "origin")
            upsert(
                connection, "archive", "label_fit", COLUMNS, written,
                key=key, compare=("input_hash",), touch="modified_at",
            )  # fmt: skip
            align_labels(connection, method.origin, sorted({row.source_id for row in rows}))
        complete(connection, unit, len(written))
    return report


def _kind(reason: str) -> str:
    """A reason up to its colon, to be counted."""
    return reason.partition(":")[0]


def _load(connection: psycopg.Connection[Any], unit: WorkUnit, method: Method) -> tuple[_File, list[_Row]]:
    with connection.transaction():
        found = connection.execute(
            "SELECT d.path, f.path, f.format, f.size_bytes, f.mtime, coalesce(f.sha256, f.chunk_sha256) "
            "FROM archive.data_file f JOIN archive.data_root d USING (data_root_id) WHERE f.data_file_id = %s",
            (unit.data_file_id,),
        ).fetchone()
        if found is None:
            raise GalbaseError(f"file {unit.data_file_id} is no longer registered; run the command again.")
        query = sql.SQL(
            "SELECT o.observation_id, o.source_id, o.row_index, s.wave_min_angstrom, s.z, s.z_warning, "
            "s.spectral_class, {} FROM {} WHERE o.data_file_id = %(file)s AND o.row_index >= %(start)s "
            "AND o.row_index < %(stop)s AND {} ORDER BY o.row_index"
        ).format(_WANTED, _SPECTRA, _IS_STALE)
        rows = connection.execute(
            query,
            {
                "origin": method.origin, "method": method.hash, "file": unit.data_file_id, "start": unit.row_start,
                "stop": unit.row_stop,
            },
        ).fetchall()  # fmt: skip
    return _File(Path(found[0]) / found[1], *found[2:]), [_Row(*row) for row in rows]


def _check_unchanged(file: _File) -> None:
    """Refuse a file that is not what was ingested; its content is hashed only if its time stamp differs."""
    try:
        now = file.path.stat()
    except OSError as error:
        raise GalbaseError(f"{file.path} is not there: {error.strerror}. Put it back or ingest it anew.") from error
    same = now.st_size == file.size_bytes
    if same and abs(now.st_mtime - file.mtime.timestamp()) >= 1e-3:
        facts = file_facts(file.path)
        same = (facts.sha256 or facts.chunk_sha256) == file.content
    if not same:
        raise GalbaseError(f"{file.path} has changed since it was ingested; run `galbase ingest spectra` on it again.")


def _fit(file: _File, row: _Row, method: Method) -> SpectrumFit | str:
    """A fit, or why there is none."""
    if row.spectral_class not in (None, "GALAXY"):
        return f"no galaxy: its spectrum is of class {row.spectral_class}"
    if row.z is None:
        return "no redshift: its file tells none"
    if row.z_warning:
        # MMLforGalAM, section 2.1.1, takes none with a warning.
        return f"no sure redshift: z_warning is {row.z_warning}"
    pixels = read_spectrum_rows(file.path, file.format, [row.row_index], row.wave_min_angstrom)[0]
    seed = (int(file.content[:16], 16), row.row_index)
    try:
        return fit_spectrum(pixels, row.z, method.templates, method.options, seed)
    except FitError as error:
        return f"no fit: {error}"


def align_labels(connection: psycopg.Connection[Any], origin: str, sources: list[int] | None = None) -> int:
    """Bring labels of an origin in line with the best fits of their sources; return the number removed.

    Spectra that left the archive or moved to another source take their labels with them. The caller commits.

    Parameters
    ----------
    connection : psycopg.Connection
    origin : str
    sources : list of int, optional
        Only these sources, which nobody else aligns meanwhile; all when None.
    """
    parameters = {"origin": origin, "sources": sources}
    if sources is not None:
        # Of two units with spectra of one source the second waits here, and then sees what the first wrote.
        connection.execute(
            "SELECT FROM archive.source WHERE source_id = ANY(%(sources)s) ORDER BY source_id FOR NO KEY UPDATE",
            parameters,
        )
    connection.execute(
        sql.SQL(
            "WITH best AS ({}) INSERT INTO archive.reference_value AS t (source_id, property_id, origin, value, err) "
            "SELECT b.source_id, p.property_id, %(origin)s, v.value, v.err FROM best b CROSS JOIN LATERAL (VALUES "
            "('log_age', b.log_age, b.log_age_err), ('mh', b.mh, b.mh_err)) AS v (name, value, err) "
            "JOIN archive.property p ON p.name = v.name ORDER BY 1, 2 "
            "ON CONFLICT (source_id, property_id, origin) DO UPDATE SET value = excluded.value, err = excluded.err "
            "WHERE (t.value, t.err) IS DISTINCT FROM (excluded.value, excluded.err)"
        ).format(_BEST),
        parameters,
    )
    return connection.execute(
        sql.SQL(
            "WITH best AS ({}) DELETE FROM archive.reference_value t WHERE t.origin = %(origin)s "
            "AND (%(sources)s::bigint[] IS NULL OR t.source_id = ANY(%(sources)s)) "
            "AND NOT EXISTS (SELECT FROM best b WHERE b.source_id = t.source_id)"
        ).format(_BEST),
        parameters,
    ).rowcount
