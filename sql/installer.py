"""Installs the functions and views of schema `api`; `galbase db upgrade` calls it in its transaction."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

from galbase.schema.console import note
from galbase.schema.errors import GalbaseError
from galbase.sql.api_objects import ApiObject, api_objects
from galbase.sql.column_comments import describe_columns
from galbase.sql.dependents import Dependent, definition, hanging_on, make_again, save
from galbase.sql.property_comments import property_comments

if TYPE_CHECKING:
    import psycopg

CATALOGUE = {"function": "pg_proc", "view": "pg_class"}


@dataclass(frozen=True)
class InstallReport:
    """What an installation did besides CREATE OR REPLACE.

    Parameters
    ----------
    dropped : tuple of str
        Objects of schema api that were dropped because they vanished or changed their signature or columns.
    made_again : tuple of str
        Users' objects that were dropped, and made again from their definitions.
    lost : tuple of (str, str)
        Users' objects that were dropped and do not work any longer, with the reason; their definitions are in
        `archive.saved_definition`.
    """

    dropped: tuple[str, ...]
    made_again: tuple[str, ...]
    lost: tuple[tuple[str, str], ...]


def sql_files() -> list[tuple[str, str]]:
    """Names and texts of ``api/*.sql`` and of the properties' comments, in the order in which they are run."""
    folder = files("galbase.sql") / "api"
    found = [(item.name, item.read_text(encoding="utf-8")) for item in folder.iterdir() if item.name.endswith(".sql")]
    return sorted([*found, ("151_property_comments", property_comments())])


def install(
    connection: psycopg.Connection,
    *,
    drop_dependents: bool = False,
    sources: Sequence[tuple[str, str]] | None = None,
) -> InstallReport:
    """Bring schema `api` to this program's functions and views, in the caller's transaction.

    What stands already is replaced in place, so that users' views on it stay. What vanished, or changed in a way that
    CREATE OR REPLACE refuses, is dropped first, if nothing of the users' depends on it.

    Parameters
    ----------
    connection : psycopg.Connection
        The owner's, in a transaction. The migrations have run.
    drop_dependents : bool
        Whether to save users' dependent views and functions, drop them, and make again those that still work.
    sources : sequence of (str, str), optional
        Names and texts of SQL files instead of ``api/*.sql``.

    Returns
    -------
    InstallReport

    Raises
    ------
    GalbaseError
        If users' objects depend on what must be dropped; the message lists them. The caller rolls back.
    """
    texts = sql_files() if sources is None else list(sources)
    wanted = {item.key: item for item in _wanted(connection, texts)}
    ours = {(catalogue, oid) for catalogue, oid in _installed(connection)}
    standing = [item for item in api_objects(connection) if (CATALOGUE[item.kind], item.oid) in ours]
    outdated = [item for item in standing if item.key not in wanted or not item.replaceable_by(wanted[item.key])]
    hung = hanging_on(connection, [(CATALOGUE[item.kind], item.oid) for item in outdated])
    fallen = {(item.catalogue, item.oid) for item in hung} & ours
    theirs = [item for item in hung if (item.catalogue, item.oid) not in ours]
    if theirs and not drop_dependents:
        raise GalbaseError(_refusal(outdated, theirs))
    saved = save(connection, theirs)
    grants = [
        statement
        for item in hung
        if (item.catalogue, item.oid) in fallen
        for statement in definition(connection, item)
        if statement.startswith("GRANT ")
    ]
    dropped = [item for item in standing if (CATALOGUE[item.kind], item.oid) in fallen]
    _drop(connection, dropped, with_dependents=bool(theirs))
    _run(connection, texts)
    _record(connection, wanted)
    describe_columns(connection)
    reasons = make_again(connection, saved)
    _grant_again(connection, grants)
    report = InstallReport(
        tuple(item.label for item in dropped),
        tuple(item.label for number, item in saved.items() if number not in reasons),
        tuple((saved[number].label, reason) for number, reason in reasons.items()),
    )
    _tell(report)
    return report


def _wanted(connection: psycopg.Connection, texts: Sequence[tuple[str, str]]) -> list[ApiObject]:
    """What the files make, tried in an empty schema `api` and taken back."""
    import psycopg

    found: list[ApiObject] = []
    with connection.transaction():
        connection.execute("ALTER SCHEMA api RENAME TO api_standing")
        connection.execute("CREATE SCHEMA api")
        _run(connection, texts)
        found = api_objects(connection)
        raise psycopg.Rollback
    return found


def _run(connection: psycopg.Connection, texts: Sequence[tuple[str, str]]) -> None:
    import psycopg

    for name, text in texts:
        try:
            # The files are ours; they hold no parameters.
            connection.execute(text.encode())
        except (psycopg.errors.InvalidTableDefinition, psycopg.errors.InvalidFunctionDefinition) as error:
            raise GalbaseError(
                f"{name}: {error.diag.message_primary}. An object of that name in schema api was not made by "
                "galbase; move it to another schema and run `galbase db upgrade` again."
            ) from error
        except psycopg.Error as error:
            error.add_note(f"in {name}")
            raise


def _installed(connection: psycopg.Connection) -> list[tuple[str, int]]:
    """Objects that an earlier installation made and that still stand, as system table and oid."""
    rows = connection.execute(
        "SELECT CASE kind WHEN 'view' THEN 'pg_class' ELSE 'pg_proc' END, "
        "CASE kind WHEN 'view' THEN to_regclass(signature)::oid::bigint "
        "ELSE to_regprocedure(signature)::oid::bigint END FROM archive.installed_object"
    )
    return [(catalogue, oid) for catalogue, oid in rows if oid is not None]


def _record(connection: psycopg.Connection, wanted: Collection[tuple[str, str, str]]) -> None:
    standing = [item for item in api_objects(connection) if item.key in wanted]
    connection.execute("DELETE FROM archive.installed_object")
    connection.execute(
        "INSERT INTO archive.installed_object (kind, signature) "
        "SELECT k, CASE k WHEN 'view' THEN o::oid::regclass::text ELSE o::oid::regprocedure::text END "
        "FROM unnest(%s::text[], %s::bigint[]) u (k, o)",
        ([item.kind for item in standing], [item.oid for item in standing]),
    )


def _drop(connection: psycopg.Connection, dropped: Sequence[ApiObject], *, with_dependents: bool) -> None:
    """Drop our own objects; users' saved ones go with them, as CASCADE asks no rights on what hangs on ours."""
    import psycopg

    waiting = list(dropped)
    while waiting:
        before = len(waiting)
        for item in list(waiting):
            try:
                with connection.transaction():
                    connection.execute(item.drop(cascade=with_dependents))
            except psycopg.errors.DependentObjectsStillExist:
                continue
            waiting.remove(item)
        if len(waiting) == before:
            raise RuntimeError(f"cannot be dropped: {', '.join(item.label for item in waiting)}")


def _grant_again(connection: psycopg.Connection, grants: Sequence[str]) -> None:
    """Give an object that was dropped and made again its former grants; one whose object is gone is left out."""
    import psycopg

    for statement in grants:
        try:
            with connection.transaction():
                connection.execute(statement.encode())
        except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedFunction):
            continue


def _refusal(outdated: Sequence[ApiObject], theirs: Sequence[Dependent]) -> str:
    return (
        f"this upgrade changes {', '.join(item.label for item in outdated)}, and these objects depend on it:\n"
        + "\n".join(f"  {item.description}" for item in theirs)
        + "\nNothing was changed. Drop them yourself, or run `galbase db upgrade --drop-dependents`, which saves their "
        "definitions in archive.saved_definition, drops them, and makes those again that still work."
    )


def _tell(report: InstallReport) -> None:
    for label in report.made_again:
        note(f"{label} was dropped and made again from its definition.")
    for label, reason in report.lost:
        note(f"{label} was dropped and no longer works ({reason}); its definition is in archive.saved_definition.")
