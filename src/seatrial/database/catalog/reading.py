"""Reads a schema from the catalog tables: no role beyond an ordinary one is needed, and nobody's code is run.

Only catalog tables and the server's own functions that print definitions are used, with a search path on which nothing
of the database's own can hide them.  The queries are in the folder `sql`; each gives objects, one per row.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from importlib import resources
from typing import Any, LiteralString

import psycopg
from psycopg.rows import tuple_row

from seatrial.database.catalog.definitions import outer_names_removed
from seatrial.database.catalog.rights import Roles, default_privileges, grants, memberships, role_objects, settings
from seatrial.database.catalog.schema import Schema, SchemaObject
from seatrial.database.postgres.connection import explain
from seatrial.errors import PostgresError

OLDEST = 15
"""The oldest major version whose catalog can be read."""
_PLAIN = (
    "schemas relations sequences indexes constraints functions aggregates triggers event_triggers types policies rules "
    "statistics extensions publications publication_members subscriptions foreign collations named database"
).split()
_SESSION = {
    # Without pg_temp at the end, a temporary table would hide the catalog's table of the same name.
    "search_path": "pg_catalog, pg_temp",
    "quote_all_identifiers": "off",
    "TimeZone": "UTC",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "xmlbinary": "base64",
    "jit": "off",
}


def read(
    connection: psycopg.Connection[Any],
    *,
    roles: Mapping[str, str] | None = None,
    ignore_schemas: Sequence[str] = ("seatrial",),
) -> Schema:
    """Return the schema of the database that `connection` is connected to, without the schemas that are ignored.

    `roles` gives the names to show for roles, as owners, grantees and in policies; a role that is named "" is left out
    of grants, memberships and default privileges.  Inside a transaction its state is read; the settings of the session
    are afterwards what they were.  Raises PostgresError when the server is too old or answers with an error.
    """
    if connection.info.server_version // 10000 < OLDEST:
        raise PostgresError(
            f"The server is Postgres {connection.info.server_version // 10000}; its schema cannot be read.",
            hint=f"Postgres {OLDEST} or newer is needed.",
        )
    names = Roles(roles or {}, maintain=connection.info.server_version >= 170000)
    try:
        with (
            connection.transaction(),
            connection.cursor(row_factory=tuple_row) as cursor,
            _pinned(cursor),
            _no_collection(),
        ):
            return _read(cursor, names, list(ignore_schemas))
    except psycopg.Error as problem:
        raise explain(problem, "The schema cannot be read") from problem


@contextmanager
def _no_collection() -> Iterator[None]:
    """Keep Python from looking for garbage among hundreds of thousands of new objects, where there is none."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@contextmanager
def _pinned(cursor: psycopg.Cursor[tuple[Any, ...]]) -> Iterator[None]:
    """Set what the printed definitions depend on; an outer transaction gets its own settings back."""
    wanted = dict(_SESSION)
    if cursor.connection.info.server_version >= 170000:
        wanted["restrict_nonsystem_relation_kind"] = "view, foreign-table"
    names = list(wanted)
    before = cursor.execute(
        "SELECT pg_catalog.current_setting(n) FROM pg_catalog.unnest(%s::text[]) n", [names]
    ).fetchall()
    change = (
        "SELECT pg_catalog.set_config(n, v, true)"
        " FROM ROWS FROM (pg_catalog.unnest(%s::text[]), pg_catalog.unnest(%s::text[])) AS s (n, v)"
    )
    cursor.execute(change, [names, list(wanted.values())])
    yield
    cursor.execute(change, [names, [value for (value,) in before]])


def _read(cursor: psycopg.Cursor[tuple[Any, ...]], names: Roles, ignored: list[str]) -> Schema:
    schemas = [oid for (oid,) in cursor.execute(_sql("visible_schemas"), {"ignored": ignored}).fetchall()]

    def rows(name: str) -> Iterator[dict[str, Any]]:
        cursor.execute(_sql(name), {"schemas": schemas})
        titles = [column.name for column in cursor.description or ()]
        return ({t: v for t, v in zip(titles, row, strict=True) if v is not None} for row in cursor)

    objects = {}
    for name in _PLAIN:
        for row in rows(name):
            _normalise(row, names, cursor.connection.info.server_version)
            entry = _object(row)
            objects[entry.kind, entry.identity] = entry
    for entry in _columns(rows("columns")):
        objects[entry.kind, entry.identity] = entry
    for entry in _rights(rows, names, objects):
        objects[entry.kind, entry.identity] = entry
    (origin,) = cursor.execute(_sql("origin")).fetchone() or ("",)
    return Schema(objects, origin)


def _normalise(row: dict[str, Any], names: Roles, version: int) -> None:
    """Replace roles by the names to show, and what older servers print differently by what newer ones do."""
    if "owner" in row:
        row["owner"] = names.show(row["owner"])
    if "roles" in row:
        row["roles"] = sorted({shown for role in row["roles"] if (shown := names.show(role))})
    if version < 160000 and row.get("view_definition"):
        row["view_definition"] = outer_names_removed(row["view_definition"])


def _object(row: dict[str, Any]) -> SchemaObject:
    """Return the object of a row; what is left in the row, which has no NULLs, are the facets."""
    return SchemaObject(row.pop("kind"), row.pop("identity"), row.pop("parent"), row, row.pop("key"))


def _columns(rows: Iterable[dict[str, Any]]) -> Iterator[SchemaObject]:
    """Give the columns, without those that are in every respect as the column they are inherited from."""
    all_columns: dict[str, tuple[str | None, SchemaObject]] = {}
    for row in rows:
        origin = row.pop("inherited_from", None)
        entry = _object(row)
        all_columns[entry.identity] = origin, entry
    for origin, entry in all_columns.values():
        if origin is not None and origin in all_columns:
            inherited = {k: v for k, v in all_columns[origin][1].facets.items() if k != "position"}
            if inherited == entry.facets:
                continue
        yield entry


def _rights(
    rows: Callable[[str], Iterable[dict[str, Any]]], names: Roles, objects: dict[tuple[str, str], SchemaObject]
) -> Iterator[SchemaObject]:
    yield from grants(rows("grants"), names, objects)
    yield from default_privileges(rows("default_privileges"), names)
    links = list(rows("memberships"))
    names.spread(links)
    yield from memberships(links, names)
    yield from role_objects(map(_object, rows("roles")), names)
    yield from settings(rows("settings"), names)


@cache
def _sql(name: str) -> LiteralString:
    return resources.files(__package__).joinpath("sql", f"{name}.sql").read_text("utf-8")
