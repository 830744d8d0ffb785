"""What stands in schema `api`: functions and views with what CREATE OR REPLACE cannot change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import psycopg
    from psycopg import sql

Kind = Literal["function", "view"]

_FUNCTIONS = """
SELECT p.proname,
       (SELECT coalesce(string_agg(format_type(t, NULL), ', ' ORDER BY o), '')
        FROM unnest(p.proargtypes::oid[]) WITH ORDINALITY u (t, o)),
       p.oid::bigint,
       ARRAY[p.prokind::text, p.proretset::text, format_type(p.prorettype, NULL), p.pronargdefaults::text,
             p.proargnames::text, p.proargmodes::text,
             (SELECT array_agg(format_type(t, NULL) ORDER BY o)::text
              FROM unnest(coalesce(p.proallargtypes, p.proargtypes::oid[])) WITH ORDINALITY u (t, o))]
FROM pg_proc p WHERE p.pronamespace = 'api'::regnamespace
"""
_VIEWS = """
SELECT c.relname, c.oid::bigint,
       ARRAY(SELECT quote_ident(a.attname) || ' ' || format_type(a.atttypid, a.atttypmod)
             FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 ORDER BY a.attnum)
FROM pg_class c WHERE c.relnamespace = 'api'::regnamespace AND c.relkind = 'v'
"""
_N_DEFAULTS = 3


@dataclass(frozen=True)
class ApiObject:
    """A function or view of schema `api`.

    Parameters
    ----------
    kind : {'function', 'view'}
    name : str
        Without the schema.
    arguments : str
        Types of a function's arguments, as PostgreSQL writes them; empty for a view.
    oid : int
    shape : tuple of str
        Columns of a view with their types; argument names, modes and types and the result of a function.
    """

    kind: Kind
    name: str
    arguments: str
    oid: int
    shape: tuple[str, ...]

    @property
    def key(self) -> tuple[str, str, str]:
        """What makes two objects the same to CREATE OR REPLACE."""
        return self.kind, self.name, self.arguments

    @property
    def label(self) -> str:
        """Name for messages."""
        return f"api.{self.name}({self.arguments})" if self.kind == "function" else f"api.{self.name}"

    def drop(self, *, cascade: bool) -> sql.Composed:
        """Statement that drops it if it exists, alone or with all that depends on it."""
        from psycopg import sql

        # The types come from PostgreSQL, quoted where need be.
        arguments = f"({self.arguments})" if self.kind == "function" else ""
        return sql.SQL("DROP {} IF EXISTS api.{}{} {}").format(
            sql.SQL("FUNCTION" if self.kind == "function" else "VIEW"),
            sql.Identifier(self.name),
            sql.SQL(arguments),
            sql.SQL("CASCADE" if cascade else "RESTRICT"),
        )

    def replaceable_by(self, wanted: ApiObject) -> bool:
        """Whether CREATE OR REPLACE turns this object into `wanted`."""
        if self.kind == "view":
            return wanted.shape[: len(self.shape)] == self.shape
        fixed = range(len(self.shape))
        same = all(self.shape[i] == wanted.shape[i] for i in fixed if i != _N_DEFAULTS)
        return same and int(self.shape[_N_DEFAULTS]) <= int(wanted.shape[_N_DEFAULTS])


def api_objects(connection: psycopg.Connection) -> list[ApiObject]:
    """Functions and views that stand in schema `api` now, sorted by kind and name."""
    found = [
        ApiObject("function", name, arguments, oid, tuple(map(str, shape)))
        for name, arguments, oid, shape in connection.execute(_FUNCTIONS)
    ]
    found += [ApiObject("view", name, "", oid, tuple(shape)) for name, oid, shape in connection.execute(_VIEWS)]
    return sorted(found, key=lambda item: item.key)
