"""Objects that depend on others: found, saved as SQL, dropped and made again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from galbase.schema.errors import GalbaseError

if TYPE_CHECKING:
    import psycopg

# From an object to what hangs on it: a rule means its view, a column default its table. Dependencies of type 'i' lead
# to the row type of a view and the rule that makes it.
_CLOSURE = """
WITH RECURSIVE hung (classid, objid) AS (
    SELECT u.classid::regclass::oid, u.objid::oid FROM unnest(%s::text[], %s::bigint[]) u (classid, objid)
    UNION
    SELECT CASE WHEN w.oid IS NULL THEN d.classid ELSE 'pg_class'::regclass END, coalesce(w.ev_class, d.objid)
    FROM hung h
    JOIN pg_depend d ON d.refclassid = h.classid AND d.refobjid = h.objid AND d.deptype IN ('n', 'a', 'i')
    LEFT JOIN pg_rewrite w ON d.classid = 'pg_rewrite'::regclass AND w.oid = d.objid
)
SELECT h.classid::regclass::text, h.objid::bigint, pg_describe_object(h.classid, h.objid, 0),
       coalesce(c.relkind::text, p.prokind::text, ''),
       coalesce(cn_name.text, pn_name.text, pg_describe_object(h.classid, h.objid, 0)),
       coalesce(cn.nspname, pn.nspname, '')
FROM hung h
LEFT JOIN pg_class c ON h.classid = 'pg_class'::regclass AND c.oid = h.objid
LEFT JOIN pg_namespace cn ON cn.oid = c.relnamespace
LEFT JOIN pg_proc p ON h.classid = 'pg_proc'::regclass AND p.oid = h.objid
LEFT JOIN pg_namespace pn ON pn.oid = p.pronamespace
LEFT JOIN LATERAL (SELECT quote_ident(cn.nspname) || '.' || quote_ident(c.relname)) cn_name (text) ON true
LEFT JOIN LATERAL (SELECT quote_ident(pn.nspname) || '.' || quote_ident(p.proname)) pn_name (text) ON true
WHERE h.classid <> 'pg_type'::regclass
  AND NOT (h.classid = 'pg_class'::regclass AND c.relkind IN ('i', 'I', 't')
           AND EXISTS (SELECT FROM pg_index x JOIN hung t ON t.objid = x.indrelid WHERE x.indexrelid = c.oid))
"""
_RELATION = """
SELECT format('CREATE %%s %%s%%s AS %%s', CASE c.relkind WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE 'VIEW' END,
              c.oid::regclass, coalesce(' WITH (' || array_to_string(c.reloptions, ', ') || ')', ''),
              pg_get_viewdef(c.oid))
FROM pg_class c WHERE c.oid = %(oid)s
UNION ALL
SELECT pg_get_indexdef(x.indexrelid) FROM pg_index x WHERE x.indrelid = %(oid)s
UNION ALL
SELECT CASE WHEN d.objsubid = 0
            THEN format('COMMENT ON %%s %%s IS %%L', CASE c.relkind WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE 'VIEW' END,
                        c.oid::regclass, d.description)
            ELSE format('COMMENT ON COLUMN %%s.%%I IS %%L', c.oid::regclass, a.attname, d.description) END
FROM pg_description d
JOIN pg_class c ON c.oid = d.objoid
LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = d.objsubid
WHERE d.classoid = 'pg_class'::regclass AND d.objoid = %(oid)s
UNION ALL
SELECT format('GRANT %%s ON %%s TO %%s%%s', g.privilege_type, c.oid::regclass,
              CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(g.grantee)) END,
              CASE WHEN g.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) g
WHERE c.oid = %(oid)s AND g.grantee <> c.relowner
UNION ALL
SELECT format('ALTER %%s %%s OWNER TO %%I', CASE c.relkind WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE 'VIEW' END,
              c.oid::regclass, pg_get_userbyid(c.relowner))
FROM pg_class c WHERE c.oid = %(oid)s AND pg_get_userbyid(c.relowner) <> current_user
"""
_FUNCTION = """
SELECT pg_get_functiondef(p.oid) FROM pg_proc p WHERE p.oid = %(oid)s
UNION ALL
SELECT format('COMMENT ON ROUTINE %%s IS %%L', p.oid::regprocedure, d.description)
FROM pg_description d JOIN pg_proc p ON p.oid = d.objoid
WHERE d.classoid = 'pg_proc'::regclass AND d.objoid = %(oid)s
UNION ALL
SELECT format('GRANT EXECUTE ON ROUTINE %%s TO %%s%%s', p.oid::regprocedure,
              CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(g.grantee)) END,
              CASE WHEN g.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
FROM pg_proc p CROSS JOIN LATERAL aclexplode(p.proacl) g
WHERE p.oid = %(oid)s AND g.grantee <> p.proowner
UNION ALL
SELECT format('ALTER ROUTINE %%s OWNER TO %%I', p.oid::regprocedure, pg_get_userbyid(p.proowner))
FROM pg_proc p WHERE p.oid = %(oid)s AND pg_get_userbyid(p.proowner) <> current_user
"""


@dataclass(frozen=True)
class Dependent:
    """An object that hangs on another.

    Parameters
    ----------
    catalogue : str
        System table that lists it, such as pg_class.
    oid : int
    description : str
        PostgreSQL's description, such as "view myproject.bright".
    kind : str
        relkind or prokind; empty for what is neither relation nor routine.
    label : str
        schema.name, quoted where need be.
    schema : str
    """

    catalogue: str
    oid: int
    description: str
    kind: str
    label: str
    schema: str

    @property
    def is_saveable(self) -> bool:
        """Whether it can be made again from its definition: a view, materialised view, function or procedure."""
        return (self.catalogue, self.kind) in {
            ("pg_class", "v"),
            ("pg_class", "m"),
            ("pg_proc", "f"),
            ("pg_proc", "p"),
            ("pg_proc", "w"),
        }


def hanging_on(connection: psycopg.Connection, objects: Iterable[tuple[str, int]]) -> list[Dependent]:
    """The objects given and all that depends on them, directly or not.

    Parameters
    ----------
    connection : psycopg.Connection
    objects : iterable of (str, int)
        System table (pg_class, pg_proc) and oid.
    """
    given = list(objects)
    if not given:
        return []
    rows = connection.execute(_CLOSURE, ([c for c, _ in given], [o for _, o in given]))
    return sorted((Dependent(*row) for row in rows), key=lambda item: item.label)


def definition(connection: psycopg.Connection, item: Dependent) -> list[str]:
    """Statements that make a saved object again: itself, its indexes, comments, grants and owner."""
    query = _FUNCTION if item.catalogue == "pg_proc" else _RELATION
    return [str(row[0]) for row in connection.execute(query, {"oid": item.oid})]


def save(connection: psycopg.Connection, items: Sequence[Dependent]) -> dict[int, Dependent]:
    """Write definitions to `archive.saved_definition`; returns the dependents by saved_definition_id.

    Raises
    ------
    GalbaseError
        If one of them is neither view nor function, and so cannot be made again from a definition.
    """
    stuck = [item.description for item in items if not item.is_saveable]
    if stuck:
        raise GalbaseError(
            "these objects depend on functions or views of schema api that this upgrade changes, and cannot be saved "
            f"and made again: {'; '.join(stuck)}. Nothing was changed. Drop them or rewrite them without the api "
            "objects, and run `galbase db upgrade` again."
        )
    saved: dict[int, Dependent] = {}
    for item in items:
        row = connection.execute(
            "INSERT INTO archive.saved_definition (object_name, kind, statements) VALUES (%s, %s, %s) "
            "RETURNING saved_definition_id",
            (item.label, item.description.partition(" ")[0], definition(connection, item)),
        ).fetchone()
        if row is None:
            raise RuntimeError("no saved_definition_id was returned")
        saved[int(row[0])] = item
    return saved


def make_again(connection: psycopg.Connection, saved: dict[int, Dependent]) -> dict[int, str]:
    """Run saved definitions; returns the reason of each that no longer works.

    Objects may need each other, so those that fail are tried again as long as another one succeeds.
    """
    import psycopg

    waiting = dict(saved)
    reasons: dict[int, str] = {}
    while waiting:
        reasons.clear()
        for number in list(waiting):
            row = connection.execute(
                "SELECT statements FROM archive.saved_definition WHERE saved_definition_id = %s", (number,)
            ).fetchone()
            try:
                with connection.transaction():
                    for statement in row[0] if row else ():
                        connection.execute(statement)
            except psycopg.Error as error:
                reasons[number] = (error.diag.message_primary or str(error)).strip()
            else:
                del waiting[number]
        if len(reasons) == 0 or len(waiting) == len(saved):
            break
        saved = dict(waiting)
    connection.cursor().executemany(
        "UPDATE archive.saved_definition SET reason = %s WHERE saved_definition_id = %s",
        [(reason, number) for number, reason in reasons.items()],
    )
    return reasons
