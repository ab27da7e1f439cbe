"""Chosen rows of a branch as a change of production, which goes through the same gate as any other.

Every statement carries what it was decided on: a row that production has changed since, or does not have any more, ends
the whole change with a sentence.  Rows are put in the order that foreign keys ask for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg
from psycopg import sql

from seatrial.database import branches
from seatrial.database.gate import target
from seatrial.database.gate.proposal import Proposal
from seatrial.database.gate.propose import Change, propose
from seatrial.database.project import Project
from seatrial.database.rows.compare import Row, RowChange, RowDiff, Table, diff
from seatrial.errors import ProposalError

ACTIONS = ("added", "changed", "deleted")


def promote(
    project: Project,
    name: str,
    *,
    tables: Sequence[str] = (),
    actions: Sequence[str] = ACTIONS,
    keys: Sequence[str] = (),
    author: str = "",
    title: str = "",
) -> Proposal:
    """Propose that production gets the rows of a branch that are chosen; `keys` as `table:key`.

    Raises ProposalError when nothing is chosen, production has changed one of the rows, or the branch is masked and
    rows that were there before are among them.
    """
    found = diff(project, name, tables=tables)
    chosen = [change for change in found.changes if change.action in actions and _is_named(change, keys)]
    if not chosen:
        raise ProposalError(f"No row of branch {name} is chosen.", hint=f"seatrial db rows diff {name}")
    branch = branches.find(project, name)
    if branch.masked and any(change.action != "added" for change in chosen):
        raise ProposalError(
            "Rows of a masked branch that were there before do not have production's values.",
            hint="Choose only what was added: --only added",
        )
    with target.look(project) as connection:
        text = "\n".join(statements(connection, found, chosen))
    change = Change(
        text, title or f"{len(chosen)} rows of branch {name}", f"rows of branch {name}", needs_fresh_rows=True
    )
    return propose(project, change, author=author, branch=branch.id)


def statements(connection: psycopg.Connection[Any], found: RowDiff, chosen: Sequence[RowChange]) -> list[str]:
    """Return the statements for `chosen`, in order; ProposalError names a table that production does not have."""
    rank = _ranks(connection, list(found.tables))
    order = {"deleted": 0, "changed": 1, "added": 2}
    ranked = sorted(
        chosen,
        key=lambda c: (order[c.action], -rank.get(c.table, 0) if c.action == "deleted" else rank.get(c.table, 0)),
    )
    written = [_statement(connection, found.tables[change.table], change) for change in ranked]
    for name in sorted({change.table for change in chosen if change.action == "added"}):
        written += _sequences(connection, found.tables[name])
    return written


def _statement(connection: psycopg.Connection[Any], table: Table, change: RowChange) -> str:
    if change.before is None:
        assert change.after is not None
        action = sql.SQL("INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE VALUES ({})").format(
            table.identifier,
            sql.SQL(", ").join(map(sql.Identifier, table.columns)),
            sql.SQL(", ").join(_literal(table, change.after, column) for column in table.columns),
        )
        return action.as_string(connection) + ";"
    if change.after is None:
        action = sql.SQL("DELETE FROM {} WHERE {}").format(
            table.identifier, _same(table, change.before, list(table.columns))
        )
    else:
        values = sql.SQL(", ").join(
            sql.SQL("{} = {}").format(sql.Identifier(column), _literal(table, change.after, column))
            for column in change.changed
        )
        action = sql.SQL("UPDATE {} SET {} WHERE {}").format(
            table.identifier, values, _same(table, change.before, [*table.key, *change.changed])
        )
    return _guarded(action.as_string(connection), table, change)


def _guarded(action: str, table: Table, change: RowChange) -> str:
    key = ", ".join(f"{name} = {value}" for name, value in zip(table.key, change.key, strict=True))
    said = f"Production has another row of {table.name} where {key}".replace("'", "''").replace("%", "%%")
    tag = "$seatrial$"
    while tag in action or tag in said:
        tag = f"{tag[:-1]}_$"
    return f"DO {tag} BEGIN {action}; IF NOT FOUND THEN RAISE EXCEPTION '{said}'; END IF; END {tag};"


def _same(table: Table, row: Row, columns: Sequence[str]) -> sql.Composed:
    return sql.SQL(" AND ").join(
        sql.SQL("{}::text IS NOT DISTINCT FROM {}").format(sql.Identifier(column), sql.Literal(row[column]))
        if column not in table.key
        else sql.SQL("{} = {}").format(sql.Identifier(column), _literal(table, row, column))
        for column in dict.fromkeys(columns)
    )


def _literal(table: Table, row: Row, column: str) -> sql.Composable:
    value = row[column]
    if value is None:
        return sql.SQL("NULL")
    return sql.SQL("{}::{}").format(sql.Literal(value), sql.SQL(table.columns[column]))


def _ranks(connection: psycopg.Connection[Any], tables: Sequence[str]) -> dict[str, int]:
    """Return how deep each table is below those that it refers to; tables in a circle share what they reach."""
    found = connection.execute(
        "SELECT conrelid::regclass::text, confrelid::regclass::text FROM pg_catalog.pg_constraint"
        " WHERE contype = 'f' AND conrelid <> confrelid"
    ).fetchall()
    qualified = [(_qualified(one), _qualified(other)) for one, other in found]
    rank = dict.fromkeys(tables, 0)
    for _ in tables:
        for child, parent in qualified:
            if child in rank and parent in rank:
                rank[child] = max(rank[child], min(rank[parent] + 1, len(tables)))
    return rank


def _qualified(name: str) -> str:
    return name if "." in name else f"public.{name}"


def _sequences(connection: psycopg.Connection[Any], table: Table) -> list[str]:
    """Return statements that put the sequences of added rows behind the greatest value."""
    written = []
    for column in table.columns:
        row = connection.execute("SELECT pg_catalog.pg_get_serial_sequence(%s, %s)", [table.name, column]).fetchone()
        if row and row[0]:
            query = sql.SQL(
                "SELECT pg_catalog.setval({sequence}, greatest((SELECT max({column}) FROM {table}),"
                " (SELECT last_value FROM {name})));"
            ).format(
                sequence=sql.Literal(row[0]),
                column=sql.Identifier(column),
                table=table.identifier,
                name=sql.SQL(row[0]),
            )
            written.append(query.as_string(connection))
    return written


def _is_named(change: RowChange, keys: Sequence[str]) -> bool:
    if not keys:
        return True
    shown = ",".join(part or "" for part in change.key)
    return any(
        wanted in (f"{change.table}:{shown}", f"{change.table.removeprefix('public.')}:{shown}") for wanted in keys
    )
