"""Counting what a statement destroyed.

Nothing shows afterwards how many rows a TRUNCATE or a dropped table had.  So a statement after which something is gone
is rolled back to its savepoint, what it destroyed is counted, and it is run again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from seatrial.database.effect.observe import Column, Counts, Relation, Snapshot, quoted
from seatrial.database.effect.report import Loss

LARGEST_COUNTED = 256 * 2**20
"""Bytes up to which a table is counted; above it the planner's estimate stands in, with a note."""
_FIRST_USER_OID = 16384


@dataclass(frozen=True)
class Suspect:
    """Something that may be lost: a table's rows, those that a truncation took, a column's values, changed values."""

    what: str
    relation: Relation
    column: str = ""
    now: tuple[int, int] = (0, 0)
    """For changed values: count and checksum of the column afterwards."""
    new_type: str = ""


def suspects(connection: psycopg.Connection[Any], before: Snapshot, after: Snapshot) -> list[Suspect]:
    """Return what may be gone in `after`, the state of the open transaction."""
    found = []
    for oid, relation in before.relations.items():
        if relation.kind != "r":
            continue
        then = after.relations.get(oid)
        if then is None:
            found.append(Suspect("rows", relation))
        elif then.filenode != relation.filenode:
            found += _emptied(connection, relation, before.counts.get(oid), after.counts.get(oid))
    for (oid, number), column in before.columns.items():
        now = after.relations.get(oid)
        if now is None or now.kind != "r":
            continue
        then_column = after.columns.get((oid, number))
        if then_column is None:
            found.append(Suspect("values", before.relations[oid], column.name))
        elif now.filenode != before.relations[oid].filenode and (then_column.type, then_column.modifier) != (
            column.type,
            column.modifier,
        ):
            found.append(_retyped(connection, before.relations[oid], now, column.name, then_column))
    return found


def count(connection: psycopg.Connection[Any], found: Iterable[Suspect], text: str) -> list[Loss]:
    """Return the losses among the suspects; `connection` has been rolled back to before statement `text`."""
    losses = []
    for suspect in found:
        loss = _counted(connection, suspect, text)
        if loss is not None:
            losses.append(loss)
    return losses


def rows_of(connection: psycopg.Connection[Any], relation: Relation) -> tuple[int | None, bool]:
    """Return a table's rows and whether they were counted; (None, False) when nobody knows."""
    size, estimate = _size(connection, relation.oid)
    if size <= LARGEST_COUNTED:
        counted = _ask(connection, "SELECT pg_catalog.count(*) FROM ONLY {}", relation)
        if counted is not None:
            return int(counted[0]), True
    return (int(estimate), False) if estimate >= 0 else (None, False)


def _emptied(
    connection: psycopg.Connection[Any], relation: Relation, before: Counts | None, after: Counts | None
) -> list[Suspect]:
    moved = (after or Counts()).since(before or Counts())
    size, _ = _size(connection, relation.oid)
    # A rewrite reads the old rows; a truncation does not, and may have been followed by new rows.
    if size and moved.read and not moved.inserted:
        return []
    kept = (0, 0)
    if size:
        left = _ask(connection, "SELECT pg_catalog.count(*) FROM ONLY {}", relation)
        kept = (int(left[0]) - moved.inserted if left else 0, 0)
    return [Suspect("truncated rows", relation, now=kept)]


def _retyped(
    connection: psycopg.Connection[Any], then: Relation, now: Relation, column: str, retyped: Column
) -> Suspect:
    row = connection.execute(
        "SELECT pg_catalog.format_type(%s::pg_catalog.oid, %s::pg_catalog.int4)", (retyped.type, retyped.modifier)
    ).fetchone()
    new_type = str(row[0]) if row and retyped.type < _FIRST_USER_OID else ""
    sum_now = (-1, 0)
    if _size(connection, now.oid)[0] <= LARGEST_COUNTED:
        sum_now = _checksum(connection, now, retyped.name) or (-1, 0)
    return Suspect("changed values", then, column, sum_now, new_type)


def _counted(connection: psycopg.Connection[Any], suspect: Suspect, text: str) -> Loss | None:
    relation = suspect.relation
    if suspect.what == "rows":
        return Loss("rows", relation.name, *rows_of(connection, relation))
    if suspect.what == "truncated rows":
        rows, exact = rows_of(connection, relation)
        gone = None if rows is None else max(0, rows - suspect.now[0])
        is_truncated = gone or gone is None or text.lstrip().upper().startswith("TRUNCATE")
        return Loss("truncated rows", relation.name, gone, exact) if is_truncated else None
    name = f"{relation.name}.{quoted(suspect.column)}"
    if _size(connection, relation.oid)[0] > LARGEST_COUNTED:
        return Loss(suspect.what, name, None, False)
    if suspect.what == "values":
        there = _ask(connection, "SELECT pg_catalog.count({column}) FROM ONLY {}", relation, suspect.column)
        return Loss("values", name, int(there[0]) if there else None, there is not None)
    then = _checksum(connection, relation, suspect.column)
    if then == suspect.now:
        return None
    changed = None
    if suspect.new_type:
        # The type's name comes from the server's own list of types, quoted by it.
        row = _ask(
            connection,
            "SELECT pg_catalog.count(*) FROM ONLY {} WHERE {column}::pg_catalog.text IS DISTINCT FROM "
            f"({{column}}::{suspect.new_type})::pg_catalog.text",
            relation,
            suspect.column,
        )
        changed = int(row[0]) if row and row[0] else None
    return Loss("changed values", name, changed, changed is not None and " USING " not in f" {text.upper()} ")


def _checksum(connection: psycopg.Connection[Any], relation: Relation, column: str) -> tuple[int, int] | None:
    row = _ask(
        connection,
        "SELECT pg_catalog.count({column}), coalesce(pg_catalog.sum(pg_catalog.hashtextextended("
        "{column}::pg_catalog.text, 0::pg_catalog.int8)::pg_catalog.numeric), 0::pg_catalog.numeric) FROM ONLY {}",
        relation,
        column,
    )
    return (int(row[0]), int(row[1])) if row else None


def _size(connection: psycopg.Connection[Any], oid: int) -> tuple[int, float]:
    row = connection.execute(
        "SELECT coalesce(pg_catalog.pg_relation_size(c.oid), 0::pg_catalog.int8), c.reltuples"
        " FROM pg_catalog.pg_class c WHERE c.oid = %s::pg_catalog.oid",
        (oid,),
    ).fetchone()
    return (int(row[0]), float(row[1])) if row else (0, -1.0)


def _ask(connection: psycopg.Connection[Any], query: str, relation: Relation, column: str = "") -> Any:
    # A table that this role may not read, a policy that hides rows from it, or a cast that fails leaves the question
    # open and the transaction usable.
    connection.execute("SAVEPOINT seatrial_ask")
    try:
        connection.execute("SET LOCAL row_security = off")
        answer = connection.execute(
            sql.SQL(query).format(sql.Identifier(relation.schema, relation.bare), column=sql.Identifier(column or "_"))
        ).fetchone()
    except psycopg.Error:
        answer = None
    connection.execute("ROLLBACK TO SAVEPOINT seatrial_ask")
    connection.execute("RELEASE SAVEPOINT seatrial_ask")
    return answer
