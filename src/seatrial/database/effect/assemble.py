"""From what was seen to the report."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import psycopg

from seatrial.database import catalog
from seatrial.database.effect import hazards, lint, losses, safer, undo
from seatrial.database.effect.observe import MODES, TABLES, Snapshot, quoted
from seatrial.database.effect.phrases import COPY_NOTE
from seatrial.database.effect.report import (
    EffectReport,
    Facet,
    Failure,
    ObjectChange,
    Offer,
    PlanChange,
    Size,
    StatementEffect,
    Timeouts,
)
from seatrial.database.statements import Statement

_UNINDEXED = """
SELECT c.conname, c.conrelid, ARRAY(
         SELECT a.attname FROM pg_catalog.unnest(c.conkey) WITH ORDINALITY k(number, position)
           JOIN pg_catalog.pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.number ORDER BY k.position)
  FROM pg_catalog.pg_constraint c
 WHERE c.contype = 'f'::pg_catalog."char" AND NOT EXISTS (
       SELECT 1 FROM pg_catalog.pg_index i WHERE i.indrelid = c.conrelid AND i.indisvalid
          AND i.indpred IS NULL
          AND (i.indkey::pg_catalog.int2[])[0:pg_catalog.cardinality(c.conkey) - 1]
              OPERATOR(pg_catalog.@>) c.conkey)
"""
_UNCHECKED = """
SELECT c.conname, c.conrelid FROM pg_catalog.pg_constraint c
 WHERE NOT c.convalidated AND c.contype IN ('f'::pg_catalog."char", 'c'::pg_catalog."char", 'n'::pg_catalog."char")
"""


@dataclass(frozen=True)
class Measured:
    """All that a run gives: what was asked, what each statement did, and the copy before and after."""

    statements: tuple[Statement, ...]
    timeouts: Timeouts
    effects: tuple[StatementEffect, ...]
    failure: Failure | None
    base: Snapshot
    end: Snapshot
    sizes: Mapping[int, tuple[int, float]]
    """Bytes with indexes, and the planner's rows (-1: never counted), of every table before."""
    schema: catalog.Schema
    result: catalog.Schema
    plans: tuple[PlanChange, ...]
    roles: Mapping[str, str] | None


def assemble(connection: psycopg.Connection[Any], run: Measured) -> EffectReport:
    """Return the report; `connection` still sees the copy after the change."""
    changes = changes_between(run.schema, run.result)
    invalid = _invalid(run.end) - (_invalid(run.base) - _named(run))
    back = undo.script(connection, run.schema, run.result, run.effects, hazards.known_names(run.base), run.roles)
    seen = hazards.Seen(run.effects, run.base, run.end, changes, run.plans, back, sorted(invalid))
    found = hazards.find(seen)
    around = lint.Around(_unindexed(connection, run.end), frozenset(_invalid(run.end)))
    return EffectReport(
        outcome="failed" if run.failure else "ok",
        server=_version(connection),
        timeouts=run.timeouts,
        statements=run.effects,
        hazards=found,
        findings=lint.check(run.effects, around),
        offers=tuple(_offers(run.effects, seen)),
        changes=changes,
        base_fingerprint=run.schema.fingerprint,
        result_fingerprint=run.result.fingerprint,
        sizes=tuple(_sizes(connection, run, seen)),
        plans=run.plans,
        undo=back,
        invalid_indexes=tuple(sorted(invalid)),
        unchecked_constraints=tuple(_unchecked(connection, run.end)),
        notes=tuple(_notes(run)),
        failure=run.failure,
    )


def changes_between(before: catalog.Schema, after: catalog.Schema) -> tuple[ObjectChange, ...]:
    """Return the schema diff in the report's own words; what came or went with an object is a facet of it."""
    return tuple(
        ObjectChange(change.action, change.kind, change.identity, change.sentence, tuple(_facets(change)))
        for change in catalog.diff(before, after, catalog.renames(before, after))
    )


def _facets(change: catalog.Change) -> Iterator[Facet]:
    for name, (old, new) in change.facets.items():
        yield Facet(name, _shown(old), _shown(new))
    for child in change.children:
        name = f"{child.kind} {child.identity.removeprefix(change.identity + '.')}"
        yield Facet(name, *(_properties(child, side) for side in (0, 1)))


def _properties(change: catalog.Change, side: int) -> str:
    own = {name: pair[side] for name, pair in change.facets.items() if name != "position"}
    told = [
        _shown(value) if name in ("type", "definition") else f"{name}: {_shown(value)}"
        for name, value in own.items()
        if value not in (None, False)
    ]
    below = [(child.kind, _properties(child, side)) for child in change.children]
    told += [f"{kind}: {properties}" for kind, properties in below if properties]
    return "; ".join(told)


def _shown(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _offers(effects: Iterable[StatementEffect], seen: hazards.Seen) -> Iterator[Offer]:
    for effect in effects:
        for rewriting in safer.rewritings(effect, is_busy=hazards.works(effect, seen)):
            yield Offer(effect.number, rewriting)


def _sizes(connection: psycopg.Connection[Any], run: Measured, seen: hazards.Seen) -> Iterator[Size]:
    touched = set()
    for effect in run.effects:
        touched |= {lock.relation for lock in effect.locks if MODES.index(lock.mode) > 1}
        touched |= {rows.table for rows in effect.rows} | set(effect.rewritten) | set(effect.truncated)
    for oid, relation in run.base.relations.items():
        if relation.kind in TABLES and relation.name in touched:
            size, rows = run.sizes.get(oid, (0, -1.0))
            counted = int(rows) if rows >= 0 else _rows_before(connection, run, oid)
            yield Size(relation.name, size, counted)


def _rows_before(connection: psycopg.Connection[Any], run: Measured, oid: int) -> int | None:
    """Rows of a table that nobody ever counted: those that are there now or were lost, less those that were added."""
    name = run.base.relations[oid].name
    rows: int | None = 0
    relation = run.end.relations.get(oid)
    if relation is not None:
        connection.execute("BEGIN")
        rows, _ = losses.rows_of(connection, relation)
        connection.execute("ROLLBACK")
    lost = [x.count for e in run.effects for x in e.losses if x.object == name and x.what.endswith("rows")]
    if rows is None or None in lost:
        return None
    removed = sum(r.deleted - r.inserted for e in run.effects for r in e.rows if r.table == name)
    return max(0, rows + removed + sum(count or 0 for count in lost))


def _notes(run: Measured) -> Iterator[str]:
    yield COPY_NOTE
    if any(not loss.is_exact for effect in run.effects for loss in effect.losses):
        yield f"Tables above {losses.LARGEST_COUNTED // 2**20} MiB are not counted: “about” is the planner's estimate."
    if any(not lock.is_measured for effect in run.effects for lock in effect.locks):
        yield "Locks outside of a transaction are the documented ones: they are given up before one can look."
    if any(plan.findings for plan in run.plans):
        yield "Plans depend on statistics, which a server gathers anew some time after a change."
    if run.failure:
        yield f"The change stops at statement {run.failure.statement}; what comes after it was not measured."


def _unindexed(connection: psycopg.Connection[Any], end: Snapshot) -> dict[str, str]:
    return {
        f"{quoted(name)} on {end.relations[table].name}": ", ".join(columns)
        for name, table, columns in connection.execute(_UNINDEXED)
        if table in end.relations
    }


def _unchecked(connection: psycopg.Connection[Any], end: Snapshot) -> list[str]:
    rows = connection.execute(_UNCHECKED).fetchall()
    return sorted(f"{quoted(name)} on {end.relations[table].name}" for name, table in rows if table in end.relations)


def _version(connection: psycopg.Connection[Any]) -> str:
    return f"PostgreSQL {connection.info.server_version // 10_000}.{connection.info.server_version % 10_000}"


def _named(run: Measured) -> set[str]:
    """Return invalid indexes that a statement names: IF NOT EXISTS is satisfied by one that is of no use."""
    texts = [effect.text.lower() for effect in run.effects]
    invalid = [relation for relation in run.base.relations.values() if not relation.is_valid]
    return {relation.name for relation in invalid if any(relation.bare.lower() in text for text in texts)}


def _invalid(snapshot: Snapshot) -> set[str]:
    return {relation.name for relation in snapshot.relations.values() if not relation.is_valid}
