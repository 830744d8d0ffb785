"""Runs a statement that reads, and hands its result on in batches."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from galbase.schema.errors import GalbaseError
from galbase.sql.result_column import ResultColumn, column_catalogue, result_columns

if TYPE_CHECKING:
    import psycopg
    from psycopg.pq.abc import PGresult

BATCH_ROWS = 10_000
Row = tuple[Any, ...]
_NO_RESULT = "the statement has no result; `galbase query` is for statements that do, like SELECT."


@dataclass(frozen=True)
class ReleaseCredit:
    """What an output must say of a data release."""

    release: str
    licence: str | None
    citation: str | None
    url: str | None


@dataclass(frozen=True)
class Result:
    """A statement's result, still to be read.

    Parameters
    ----------
    statement : str
    columns : tuple of ResultColumn
    batches : generator of list of tuple
        Rows in the order of the columns; reads from the server as it goes, and cancels the statement when closed.
    credits : tuple of ReleaseCredit
        Releases whose data the result may hold.
    """

    statement: str
    columns: tuple[ResultColumn, ...]
    batches: Generator[list[Row]]
    credits: tuple[ReleaseCredit, ...]


def release_credits(connection: psycopg.Connection, release: str | None = None) -> tuple[ReleaseCredit, ...]:
    """Licence and citation of one release, or of all.

    Raises
    ------
    GalbaseError
        If there is no release of this name.
    """
    rows = connection.execute(
        "SELECT release, licence, citation, url FROM archive.data_release ORDER BY priority, release"
    ).fetchall()
    credits = tuple(ReleaseCredit(*row) for row in rows)
    if release is None:
        return credits
    chosen = tuple(credit for credit in credits if credit.release == release)
    if not chosen:
        known = ", ".join(credit.release for credit in credits) or "none"
        raise GalbaseError(f"there is no release {release!r}; known are: {known}.")
    return chosen


def run_query(
    connection: psycopg.Connection,
    statement: str,
    parameters: Mapping[str, Any] | None = None,
    *,
    limit: int | None = None,
    release: str | None = None,
) -> Result:
    """Run one statement in a read-only transaction and return its result, to be read once.

    Parameters
    ----------
    connection : psycopg.Connection
        The reader's, not in a transaction.
    statement : str
        One SQL statement; with `parameters` its placeholders are ``%(name)s`` and a literal percent sign is ``%%``.
    parameters : mapping, optional
    limit : int, optional
        Read no more rows than this.
    release : str, optional
        The one release that the rows come from; all are credited without.

    Raises
    ------
    GalbaseError
        With PostgreSQL's message if the statement is wrong, writes, or returns no rows; also while batches are read.
    """
    import psycopg

    connection.read_only = True
    credits = release_credits(connection, release)
    catalogue = column_catalogue(connection)
    cursor = connection.cursor()
    size = BATCH_ROWS if psycopg.capabilities.has_stream_chunked() else 1
    rows = _guarded(cursor.stream(statement.encode(), parameters or None, size=size), connection)
    first = next(rows, None)
    described = cursor.pgresult if first is not None else _describe(connection, statement, parameters)
    if described is None or described.nfields == 0:
        raise GalbaseError(_NO_RESULT)
    columns = result_columns(described, statement, catalogue)
    return Result(statement, tuple(columns), _batches(first, rows, limit), credits)


def _describe(connection: psycopg.Connection, statement: str, parameters: Mapping[str, Any] | None) -> PGresult:
    """Columns of a statement that gave no row, without running it again."""
    import psycopg

    text = psycopg.ClientCursor(connection).mogrify(statement.encode(), parameters) if parameters else statement
    connection.pgconn.prepare(b"", text.encode())
    return connection.pgconn.describe_prepared(b"")


def _guarded(rows: Iterator[Row], connection: psycopg.Connection) -> Generator[Row]:
    """The rows, with PostgreSQL's complaints as errors of the user's."""
    import psycopg

    try:
        yield from rows
    except (psycopg.errors.ReadOnlySqlTransaction, psycopg.errors.InsufficientPrivilege) as error:
        raise GalbaseError(
            f"{error.diag.message_primary}: `galbase query` only reads. Use `galbase db psql` to write."
        ) from error
    except psycopg.errors.QueryCanceled as error:
        raise GalbaseError(
            f"{error.diag.message_primary}. Ask for less, or set another statement_timeout on the reader's role."
        ) from error
    except psycopg.ProgrammingError as error:
        # psycopg's own complaint about a command without a result has no SQLSTATE.
        raise GalbaseError(_NO_RESULT if error.sqlstate is None else str(error).strip()) from error
    except psycopg.OperationalError as error:
        if connection.broken:
            raise GalbaseError(f"the server went away: {str(error).strip()}. Run the command again.") from error
        raise GalbaseError(str(error).strip()) from error
    except psycopg.Error as error:
        raise GalbaseError(str(error).strip()) from error


def _batches(first: Row | None, rows: Generator[Row], limit: int | None) -> Generator[list[Row]]:
    if first is None or limit == 0:
        rows.close()
        return
    batch = [first]
    n_read = 1
    with closing(rows):
        if limit != 1:
            for row in rows:
                batch.append(row)
                n_read += 1
                if n_read == limit:
                    break
                if len(batch) == BATCH_ROWS:
                    yield batch
                    batch = []
        if batch:
            yield batch
