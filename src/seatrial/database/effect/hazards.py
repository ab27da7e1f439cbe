"""The named hazards of a measured change: a closed set, each from what was seen and not from what was written.

Whether a hazard is there never depends on how long something took on the copy, so measuring again gives the same
names; only the sentences hold times.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from seatrial.database.effect.observe import LARGE_OBJECTS, MODES, TABLES, Snapshot, quoted
from seatrial.database.effect.report import Hazard, Lock, ObjectChange, Place, PlanChange, StatementEffect, Undo
from seatrial.database.statements import suspicious

SEVERITIES: Mapping[str, str] = {
    "BLOCKS_READS": "high",
    "BLOCKS_WRITES": "high",
    "BREAKS_QUERY": "high",
    "BUILDS_INDEX": "low",
    "CANNOT_ROLL_BACK": "medium",
    "CHANGES_PLAN": "medium",
    "CHANGES_ROWS": "medium",
    "DROPS_DATA": "high",
    "DROPS_OBJECT": "medium",
    "GRANTS_RIGHTS": "high",
    "LEAVES_INVALID_INDEX": "high",
    "NOT_TRANSACTIONAL": "low",
    "REWRITES_TABLE": "high",
    "RUNS_HIDDEN_CODE": "medium",
    "SCANS_TABLE_UNDER_LOCK": "medium",
    "SUSPICIOUS_TEXT": "high",
    "TOUCHES_SEATRIAL": "high",
}
"""Every hazard there is, and how severe it is."""
_MANY_ROWS = 1_000
_BLOCKS_WRITES = ("ShareLock", "ShareRowExclusiveLock", "ExclusiveLock")
_OUR_SCHEMA = "seatrial."
_RIGHTS = ("grant", "membership", "default privileges", "policy", "role")
_RIGHTS_OF_OTHERS = {"owner", "row_security", "row_security_forced", "owner_privileges"}


@dataclass
class Seen:
    """What the hazards are read off."""

    effects: Sequence[StatementEffect]
    base: Snapshot
    end: Snapshot
    changes: Sequence[ObjectChange]
    plans: Sequence[PlanChange]
    undo: Undo
    invalid_indexes: Sequence[str]
    tables: set[str] = field(init=False)
    """Names of the tables that were there before."""
    indexed: dict[str, str] = field(init=False)
    """From an index to its table."""
    known: set[str] = field(init=False)
    """Names of everything that was there before."""

    def __post_init__(self) -> None:
        self.tables = {relation.name for relation in self.base.relations.values() if relation.kind in TABLES}
        self.known = known_names(self.base)
        every = self.base.relations | self.end.relations
        self.indexed = {r.name: every[r.table].name for r in every.values() if r.table is not None and r.table in every}


def find(seen: Seen) -> tuple[Hazard, ...]:
    """Return the hazards, one per name, in alphabetical order, each with every place it was found at."""
    places: dict[str, list[Place]] = defaultdict(list)
    for effect in seen.effects:
        for name, place in (*_of_statement(effect, seen), *_of_locks(effect, seen)):
            places[name].append(place)
    for name, place in _of_the_whole(seen):
        places[name].append(place)
    return tuple(Hazard(name, SEVERITIES[name], tuple(places[name])) for name in sorted(places))


def _of_statement(effect: StatementEffect, seen: Seen) -> Iterator[tuple[str, Place]]:
    number = effect.number
    rewritten = tuple(name for name in effect.rewritten if name in seen.tables)
    if rewritten:
        why = (
            f"{_and(rewritten)} is written anew, row by row: {_ms(effect)} and {effect.wal_bytes:,} bytes of log here."
        )
        yield "REWRITES_TABLE", Place(number, rewritten, why)
    made = {(entry.kind, entry.name) for entry in effect.created}
    dropped = tuple(
        f"{e.kind} {e.name}" for e in effect.dropped if (e.kind, e.name) not in made and _was_there(e.name, seen)
    )
    if dropped:
        yield "DROPS_OBJECT", Place(number, dropped, f"It drops {_and(dropped)}.")
    losses = [loss for loss in effect.losses if _was_there(loss.object, seen) and (loss.count or not loss.is_exact)]
    deleted = [rows for rows in effect.rows if rows.deleted and _was_there(rows.table, seen)]
    if losses or deleted:
        told = [f"{_count(loss.count, loss.is_exact)} {loss.what} of {loss.object}" for loss in losses]
        told += [f"{rows.deleted:,} deleted rows of {rows.table}" for rows in deleted]
        objects = tuple(dict.fromkeys([*(loss.object for loss in losses), *(rows.table for rows in deleted)]))
        yield "DROPS_DATA", Place(number, objects, f"Lost: {_and(told)}.")
    changed = [rows for rows in effect.rows if _was_there(rows.table, seen)]
    if changed:
        told = [f"{r.table} {r.inserted:,} added, {r.updated:,} changed, {r.deleted:,} deleted" for r in changed]
        yield "CHANGES_ROWS", Place(number, tuple(rows.table for rows in changed), f"Rows: {'; '.join(told)}.")
    if effect.indexes_built:
        how = "without blocking writes" if not effect.transactional else "while writes wait"
        why = f"It builds {_and(effect.indexes_built)} {how}; {_ms(effect)} here."
        yield "BUILDS_INDEX", Place(number, effect.indexes_built, why)
    if not effect.transactional:
        why = "It cannot be part of a transaction: what comes before it stays when it fails."
        yield "NOT_TRANSACTIONAL", Place(number, (), why)
    if effect.hidden_code:
        yield (
            "RUNS_HIDDEN_CODE",
            Place(number, (), f"Code that is not in the text runs: {'; '.join(effect.hidden_code)}."),
        )
    strange = suspicious(effect.text)
    if strange:
        yield "SUSPICIOUS_TEXT", Place(number, (), " ".join(strange))
    ours = _touches_ours(effect)
    if ours:
        why = f"It touches {_and(ours)}, where Seatrial keeps what was applied."
        yield "TOUCHES_SEATRIAL", Place(number, ours, why)


def _of_locks(effect: StatementEffect, seen: Seen) -> Iterator[tuple[str, Place]]:
    later = [e for e in seen.effects if e.group == effect.group and e.number >= effect.number]
    busy = next((other for other in later if works(other, seen)), None)
    if busy:
        for name, modes, whom in (
            ("BLOCKS_READS", ("AccessExclusiveLock",), "Reads and writes"),
            ("BLOCKS_WRITES", _BLOCKS_WRITES, "Writes"),
        ):
            locks = [lock for lock in effect.locks if lock.mode in modes and _matters(lock, seen)]
            if locks:
                tables = tuple(lock.relation for lock in locks)
                held = max(lock.held_ms for lock in locks)
                cause = "its" if busy is effect else f"statement {busy.number}'s"
                why = (
                    f"{whom} of {_and(tables)} wait for {cause} work on the rows: {held:,.0f} ms until the commit here."
                )
                yield name, Place(effect.number, tables, why)
    earlier = [e for e in seen.effects if e.group == effect.group and e.number <= effect.number]
    held_modes: dict[str, str] = {}
    for other in earlier:
        held_modes.update({lock.relation: lock.mode for lock in other.locks})
    indexed = {seen.indexed.get(name) for name in effect.indexes_built}
    scanned = [
        scan
        for scan in effect.scans
        if scan.table in seen.tables
        and not scan.is_new
        and scan.table not in effect.rewritten
        and scan.table not in indexed
        and MODES.index(held_modes.get(scan.table, MODES[0])) >= MODES.index("ShareLock")
    ]
    if scanned:
        told = [f"{scan.table} ({scan.rows:,} rows)" for scan in scanned]
        why = f"It reads {_and(told)} from beginning to end under a lock: {_ms(effect)} here."
        yield "SCANS_TABLE_UNDER_LOCK", Place(effect.number, tuple(scan.table for scan in scanned), why)


def _of_the_whole(seen: Seen) -> Iterator[tuple[str, Place]]:
    if seen.invalid_indexes:
        why = f"{_and(seen.invalid_indexes)} is invalid: writes keep it up to date, no query uses it."
        yield "LEAVES_INVALID_INDEX", Place(0, tuple(seen.invalid_indexes), why)
    rights = [change for change in seen.changes if _changes_rights(change)]
    if rights:
        why = " ".join(change.sentence for change in rights)
        yield "GRANTS_RIGHTS", Place(0, tuple(change.identity for change in rights), why)
    if seen.undo.reasons:
        yield "CANNOT_ROLL_BACK", Place(0, (), " ".join(seen.undo.reasons))
    for plan in seen.plans:
        if plan.breaks:
            yield "BREAKS_QUERY", Place(0, (plan.name,), f"{plan.name}: {' '.join(plan.findings)}")
        elif plan.findings:
            yield "CHANGES_PLAN", Place(0, (plan.name,), f"{plan.name}: {' '.join(plan.findings)}")


def works(effect: StatementEffect, seen: Seen) -> bool:
    """Whether a statement does something that takes longer the more rows there are."""
    return bool(
        any(name in seen.tables for name in effect.rewritten)
        or any(scan.rows and scan.table in seen.tables and not scan.is_new for scan in effect.scans)
        or effect.indexes_built
        or sum(rows.inserted + rows.updated + rows.deleted for rows in effect.rows) >= _MANY_ROWS
    )


def _matters(lock: Lock, seen: Seen) -> bool:
    return not lock.is_new and lock.relation in seen.tables


def known_names(base: Snapshot) -> set[str]:
    """Return the names of everything in the snapshot, columns included."""
    names = {relation.name for relation in base.relations.values()} | {entry.name for entry in base.others.values()}
    names |= {f"{base.relations[oid].name}.{quoted(column.name)}" for (oid, _), column in base.columns.items()}
    return names | {LARGE_OBJECTS}


def _was_there(name: str, seen: Seen) -> bool:
    return name in seen.known


def _changes_rights(change: ObjectChange) -> bool:
    """Whether someone may do more afterwards; that everyone may call a new function is the server's default."""
    if change.kind in _RIGHTS:
        return change.action != "removed" or change.kind == "policy"
    names = {facet.name for facet in change.facets}
    if change.action == "added":
        is_routine = change.kind in ("function", "procedure", "aggregate", "type")
        granted = [name for name in names if name.startswith("grant ")]
        return any(not (is_routine and name.endswith(" to PUBLIC")) for name in granted) or _is_definer(change)
    if change.action == "removed":
        return False
    return bool(names & _RIGHTS_OF_OTHERS) or _is_definer(change)


def _is_definer(change: ObjectChange) -> bool:
    return any(facet.name == "definition" and "SECURITY DEFINER" in facet.after for facet in change.facets)


def _touches_ours(effect: StatementEffect) -> tuple[str, ...]:
    names = [lock.relation for lock in effect.locks if lock.mode not in MODES[:2]]
    names += [entry.name.rpartition(" on ")[2] for entry in (*effect.created, *effect.dropped)]
    return tuple(sorted({name for name in names if name.startswith(_OUR_SCHEMA) or name == _OUR_SCHEMA[:-1]}))


def _and(names: Iterable[str]) -> str:
    return ", ".join(names)


def _ms(effect: StatementEffect) -> str:
    return f"{effect.duration_ms:,.0f} ms"


def _count(count: int | None, is_exact: bool) -> str:
    return "an unknown number of" if count is None else f"{'' if is_exact else 'about '}{count:,}"
