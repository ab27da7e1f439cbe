"""The script back: made from the difference of the schemas, and tried before it is offered."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import psycopg

from seatrial.database import catalog
from seatrial.database.catalog import Change, Schema
from seatrial.database.effect.back import NoWayBackError, steps
from seatrial.database.effect.report import StatementEffect, Undo

_MOST_TOLD = 5


def script(
    connection: psycopg.Connection[Any],
    before: Schema,
    after: Schema,
    effects: Sequence[StatementEffect],
    known: Collection[str],
    roles: Mapping[str, str] | None,
) -> Undo:
    """Return the script from `after` back to `before`; `known` are the names of what was there before.

    It is run on the copy, whose schema is then compared with the first one, and rolled back.  What it cannot bring
    back, rows above all, is among the reasons.
    """
    reasons = list(_lost(effects, known))
    # A view that has fewer columns than now cannot be replaced; it is made anew only if that is why it fails.
    for rebuild in (False, True):
        statements, unknown = _statements(before, after, rebuild)
        if not statements or unknown:
            return Undo("", before.fingerprint == after.fingerprint, (*reasons, *unknown))
        problem, differences = _tried(connection, before, statements, roles)
        if not problem:
            reasons += _left(differences)
            return Undo(";\n".join(statements) + ";", not differences, tuple(reasons))
    reasons.append(f"The script back was tried and fails: {problem}.")
    return Undo("", False, tuple(reasons))


def _statements(before: Schema, after: Schema, rebuild: bool) -> tuple[list[str], list[str]]:
    """Return the statements back, and sentences about what none is known for."""
    unknown: list[str] = []
    wanted: list[tuple[int, int, str]] = []
    for number, change in enumerate(catalog.diff(before, after, catalog.renames(before, after))):
        try:
            wanted += [(rank, -number, text) for rank, text in steps(change, before, rebuild)]
        except NoWayBackError:
            unknown.append(f"No statement undoes this: {change.sentence}")
    return [text for _, _, text in sorted(wanted)], unknown


def _tried(
    connection: psycopg.Connection[Any], before: Schema, statements: Sequence[str], roles: Mapping[str, str] | None
) -> tuple[str, Sequence[Change]]:
    connection.execute("BEGIN")
    try:
        for text in statements:
            connection.execute(text.encode())
        return "", catalog.diff(before, catalog.read(connection, roles=roles))
    except psycopg.Error as problem:
        if connection.broken:
            raise
        return (problem.diag.message_primary or str(problem)).rstrip("."), ()
    finally:
        if not connection.broken:
            connection.execute("ROLLBACK")


def _lost(effects: Sequence[StatementEffect], known: Collection[str]) -> Iterator[str]:
    for effect in effects:
        gone = [loss.object for loss in effect.losses if loss.count != 0 and loss.object in known]
        here = [rows for rows in effect.rows if rows.table in known]
        changed = [rows.table for rows in here if rows.updated or rows.deleted]
        added = [rows.table for rows in here if rows.inserted and rows.table not in changed]
        if gone:
            yield f"Statement {effect.number} destroys data of {', '.join(gone)}; no script brings them back."
        if changed:
            yield f"Statement {effect.number} changes rows of {', '.join(changed)}; no script knows what they were."
        if added:
            yield f"Statement {effect.number} adds rows to {', '.join(added)}; undoing the schema leaves them."


def _left(differences: Sequence[Change]) -> Iterator[str]:
    moved = sorted({change.parent for change in differences if set(change.facets) == {"position"}})
    if moved:
        yield f"The script back was tried and leaves columns in another order: {', '.join(moved)}."
    others = [change for change in differences if set(change.facets) != {"position"}]
    for change in others[:_MOST_TOLD]:
        yield f"The script back was tried and leaves: {change.sentence}"
