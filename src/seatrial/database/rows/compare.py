"""The difference of rows between a branch and the golden copy that it was made from, by primary key.

Both sides give a checksum for each of some thousand buckets of keys; only rows of buckets that differ are fetched.
Values are compared and kept as the server's own text, which is exact in both directions.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import sql

from seatrial.database import branches
from seatrial.database.postgres import connect
from seatrial.database.postgres.connection import explained
from seatrial.database.project import Project
from seatrial.errors import BranchError

_BUCKETS = 4096
Row = dict[str, str | None]


@dataclass(frozen=True)
class Table:
    """A table as the comparison sees it: columns with their types, and those of the primary key."""

    name: str
    columns: dict[str, str]
    key: tuple[str, ...]

    @property
    def identifier(self) -> sql.Composable:
        """The quoted name; `name` is quoted by the server already."""
        return sql.SQL(self.name)


@dataclass(frozen=True)
class RowChange:
    """One row: `before` on the golden copy and `after` on the branch, each by column, None where it is not."""

    table: str
    action: str
    key: tuple[str | None, ...]
    before: Row | None
    after: Row | None

    @property
    def changed(self) -> list[str]:
        """The columns whose values differ, of a row that is on both sides."""
        if self.before is None or self.after is None:
            return []
        return [name for name, value in self.after.items() if self.before.get(name) != value]


@dataclass(frozen=True)
class RowDiff:
    """All differences, tables by name; `not_compared` says which tables could not be, and why."""

    changes: tuple[RowChange, ...]
    tables: dict[str, Table] = field(default_factory=dict)
    not_compared: dict[str, str] = field(default_factory=dict)

    def counts(self) -> dict[str, dict[str, int]]:
        """Return how many rows were added, changed and deleted, by table."""
        found: dict[str, dict[str, int]] = {}
        for change in self.changes:
            of_table = found.setdefault(change.table, {"added": 0, "changed": 0, "deleted": 0})
            of_table[change.action] += 1
        return found


def diff(project: Project, name: str, *, tables: Sequence[str] = ()) -> RowDiff:
    """Compare a branch with its golden copy; `tables` limits it, each as `schema.table` or `table`.

    Raises BranchError when a table is not there, or the branch was never made.
    """
    branch = branches.find(project, name)
    if not branch.snapshot:
        raise BranchError(f"The branch {name} was not made yet; there is nothing to compare.")
    base = branches.create(
        project,
        branches.Wish(f"base-{secrets.token_hex(4)}", at=branch.snapshot, ttl="1h", owner="comparing rows"),
    )
    try:
        branches.start(project, branch)
        with (
            explained("The rows cannot be compared"),
            connect(branches.dsn(project, base)) as before,
            connect(branches.dsn(project, branch)) as after,
        ):
            return _diff(before, after, tables)
    finally:
        branches.delete(project, base.name)


def _diff(before: psycopg.Connection[Any], after: psycopg.Connection[Any], wanted: Sequence[str]) -> RowDiff:
    old, new = _tables(before), _tables(after)
    for name in wanted:
        if not any(_is(name, known) for known in new):
            raise BranchError(f"There is no table {name} on the branch.", hint=f"Known: {', '.join(new)}.")
    changes: list[RowChange] = []
    skipped: dict[str, str] = {}
    compared: dict[str, Table] = {}
    for name, table in new.items():
        if wanted and not any(_is(entry, name) for entry in wanted):
            continue
        if name not in old:
            skipped[name] = "it is new on the branch: propose its schema first"
            continue
        reason = _reason(old[name], table)
        if reason:
            skipped[name] = reason
            continue
        compared[name] = table
        changes += _of_table(before, after, table)
    return RowDiff(tuple(changes), compared, skipped)


def _reason(old: Table, new: Table) -> str:
    if not new.key:
        return "it has no primary key, so rows cannot be told apart"
    if old.columns != new.columns or old.key != new.key:
        return "its columns differ between branch and golden copy: propose the schema first"
    return ""


def _of_table(before: psycopg.Connection[Any], after: psycopg.Connection[Any], table: Table) -> Iterator[RowChange]:
    sums = [_checksums(connection, table) for connection in (before, after)]
    buckets = [bucket for bucket in sums[0].keys() | sums[1].keys() if sums[0].get(bucket) != sums[1].get(bucket)]
    if not buckets:
        return
    old, new = (_rows(connection, table, buckets) for connection in (before, after))
    for key in sorted(old.keys() | new.keys(), key=lambda key: [part or "" for part in key]):
        one, other = old.get(key), new.get(key)
        if one != other:
            action = "added" if one is None else "deleted" if other is None else "changed"
            yield RowChange(table.name, action, key, one, other)


def _bucket(table: Table) -> sql.Composed:
    key = sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(name)) for name in table.key)
    return sql.SQL("pg_catalog.hashtextextended(ROW({})::text, 0) & {}").format(key, sql.Literal(_BUCKETS - 1))


def _checksums(connection: psycopg.Connection[Any], table: Table) -> dict[int, tuple[Any, ...]]:
    columns = sql.SQL(", ").join(map(sql.Identifier, table.columns))
    rows = connection.execute(
        sql.SQL(
            "SELECT {bucket}, count(*), sum(pg_catalog.hashtextextended(ROW({columns})::text, 1)),"
            " sum(pg_catalog.hashtextextended(ROW({columns})::text, 2)) FROM ONLY {table} GROUP BY 1"
        ).format(bucket=_bucket(table), columns=columns, table=table.identifier)
    )
    return {row[0]: row[1:] for row in rows}


def _rows(connection: psycopg.Connection[Any], table: Table, buckets: list[int]) -> dict[tuple[str | None, ...], Row]:
    texts = sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(name)) for name in table.columns)
    query = sql.SQL("SELECT {} FROM ONLY {} WHERE {} = ANY(%s)").format(texts, table.identifier, _bucket(table))
    found = {}
    for values in connection.execute(query, [buckets]):
        row = dict(zip(table.columns, values, strict=True))
        found[tuple(row[name] for name in table.key)] = row
    return found


_TABLES = """
SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname),
       ARRAY(SELECT a.attname FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0
             AND NOT a.attisdropped AND a.attgenerated = '' ORDER BY a.attnum)::text[],
       ARRAY(SELECT pg_catalog.format_type(a.atttypid, a.atttypmod) FROM pg_catalog.pg_attribute a
             WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
             ORDER BY a.attnum),
       ARRAY(SELECT a.attname FROM pg_catalog.pg_index i, unnest(i.indkey) WITH ORDINALITY AS k (number, place),
             pg_catalog.pg_attribute a WHERE i.indrelid = c.oid AND i.indisprimary AND a.attrelid = c.oid
             AND a.attnum = k.number ORDER BY k.place)::text[]
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence = 'p' AND n.nspname !~ '^pg_'
  AND n.nspname NOT IN ('information_schema', 'seatrial')
ORDER BY 1
"""


def _tables(connection: psycopg.Connection[Any]) -> dict[str, Table]:
    found = connection.execute(_TABLES).fetchall()
    return {
        name: Table(name, dict(zip(columns, kinds, strict=True)), tuple(key)) for name, columns, kinds, key in found
    }


def _is(wanted: str, known: str) -> bool:
    return wanted in (known, known.removeprefix("public."))
