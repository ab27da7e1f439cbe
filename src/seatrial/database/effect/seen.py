"""What one statement did, read off the snapshots before and after it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from seatrial.database.effect import observe
from seatrial.database.effect.observe import KINDS, TABLES, Counts, Snapshot
from seatrial.database.effect.report import Lock, Loss, Named, Rows, Scan, StatementEffect

_EXCLUSIVE_ALONE = ("VACUUM", "CLUSTER", "REINDEX")


def effect_of(
    bare: StatementEffect, before: Snapshot, after: Snapshot, lost: Sequence[Loss], new: Collection[int]
) -> StatementEffect:
    """Return `bare` with everything that differs between the snapshots; `new`: relations the change made earlier."""
    truncated = {loss.object for loss in lost if loss.what == "truncated rows"}
    moved = [
        relation
        for oid, relation in before.relations.items()
        if oid in after.relations
        and after.relations[oid].filenode != relation.filenode
        and relation.kind in "rim"
        and relation.filenode
    ]
    emptied = {relation.oid for relation in moved if relation.name in truncated}
    remade = _remade(before, after)
    anew = [r for r in moved if r.oid not in emptied and r.table not in emptied]
    anew += [r for r in after.relations.values() if ("index", r.name) in remade]
    # An index alone is built again, with its table it is rewritten.
    files = {relation.oid for relation in moved}
    rebuilt = {r.name for r in anew if r.table is not None and r.table not in files and r.table not in new}
    rewritten = {r.name for r in anew} - rebuilt
    changed = {oid: counts.since(before.counts.get(oid, Counts())) for oid, counts in after.counts.items()}
    names = {oid: relation.name for oid, relation in (before.relations | after.relations).items()}
    return replace(
        bare,
        locks=tuple(_locks(bare, before, after, names, new)),
        rewritten=tuple(sorted(rewritten)),
        truncated=tuple(sorted(truncated)),
        created=tuple(entry for entry in _created(before, after) if (entry.kind, entry.name) not in remade),
        dropped=tuple(entry for entry in _dropped(before, after) if (entry.kind, entry.name) not in remade),
        rows=tuple(_rows(changed, names)),
        losses=tuple(lost),
        scans=tuple(
            Scan(names[oid], counts.read, oid in new or oid not in before.relations)
            for oid, counts in sorted(changed.items())
            if counts.scans and oid in names and names[oid] not in truncated and names[oid] not in rewritten
        ),
        indexes_built=tuple(sorted({*_indexes_built(before, after, new), *rebuilt} - rewritten)),
    )


def with_locks_held(effects: Iterable[StatementEffect], commit_ms: float) -> list[StatementEffect]:
    """Return the statements of one transaction with the time from their locks being taken to the end of the commit.

    Only the statements count: what measuring does between them is no part of applying.
    """
    remaining = commit_ms
    finished = []
    for effect in reversed(list(effects)):
        remaining += effect.duration_ms
        finished.append(replace(effect, locks=tuple(replace(x, held_ms=round(remaining, 3)) for x in effect.locks)))
    return finished[::-1]


def _remade(before: Snapshot, after: Snapshot) -> set[tuple[str, str]]:
    """Return indexes and constraints that were replaced by others of the same name, as ALTER COLUMN TYPE does."""
    made, gone = _created(before, after), _dropped(before, after)
    both = {(entry.kind, entry.name) for entry in made} & {(entry.kind, entry.name) for entry in gone}
    return {(kind, name) for kind, name in both if kind in ("index", "constraint")}


def _locks(
    bare: StatementEffect, before: Snapshot, after: Snapshot, names: dict[int, str], new: Collection[int]
) -> Iterable[Lock]:
    if not bare.transactional:
        yield from _documented(bare, before, after, names)
        return
    old = {relation.name for relation in before.relations.values()}
    strongest: dict[str, Lock] = {}  # by name: an index that is made anew is two relations of one name
    for oid, mode in sorted(after.locks.items()):
        if oid not in names or not observe.stronger(mode, before.locks.get(oid)):
            continue
        known = strongest.get(names[oid])
        if observe.stronger(mode, known.mode if known else None):
            is_new = oid in new or names[oid] not in old
            strongest[names[oid]] = Lock(names[oid], mode, 0.0, is_new=is_new)
    yield from strongest.values()


def _documented(bare: StatementEffect, before: Snapshot, after: Snapshot, names: dict[int, str]) -> Iterable[Lock]:
    differing = {
        relation.table or oid
        for oid, relation in (before.relations | after.relations).items()
        if before.relations.get(oid) != after.relations.get(oid)
    }
    is_concurrent = "CONCURRENTLY" in bare.text.upper()
    mode = "AccessExclusiveLock" if bare.kind in _EXCLUSIVE_ALONE and not is_concurrent else "ShareUpdateExclusiveLock"
    for oid in sorted(differing & names.keys()):
        yield Lock(names[oid], mode, 0.0, is_measured=False)


def _created(before: Snapshot, after: Snapshot) -> Iterable[Named]:
    for oid in sorted(after.relations.keys() - before.relations.keys()):
        yield Named(KINDS[after.relations[oid].kind], after.relations[oid].name)
    for key in sorted(after.others.keys() - before.others.keys()):
        if after.others[key].parent in before.relations or not after.others[key].parent:
            yield Named(after.others[key].kind, after.others[key].name)
    for oid, number in sorted(after.columns.keys() - before.columns.keys()):
        if oid in before.relations and after.relations[oid].kind in TABLES:
            yield Named("column", f"{after.relations[oid].name}.{observe.quoted(after.columns[oid, number].name)}")


def _dropped(before: Snapshot, after: Snapshot) -> Iterable[Named]:
    """What belongs to a dropped table goes without saying, except its indexes and sequences."""
    for oid in sorted(before.relations.keys() - after.relations.keys()):
        yield Named(KINDS[before.relations[oid].kind], before.relations[oid].name)
    for key in sorted(before.others.keys() - after.others.keys()):
        if before.others[key].parent in after.relations or not before.others[key].parent:
            yield Named(before.others[key].kind, before.others[key].name)
    for oid, number in sorted(before.columns.keys() - after.columns.keys()):
        if oid in after.relations and before.relations[oid].kind in TABLES:
            yield Named("column", f"{before.relations[oid].name}.{observe.quoted(before.columns[oid, number].name)}")


def _rows(changed: dict[int, Counts], names: dict[int, str]) -> Iterable[Rows]:
    for oid, counts in sorted(changed.items()):
        if counts.inserted or counts.updated or counts.deleted:
            name = observe.counted_name(oid, names)
            if name:
                yield Rows(name, counts.inserted, counts.updated, counts.deleted)


def _indexes_built(before: Snapshot, after: Snapshot, new: Collection[int]) -> Iterable[str]:
    """Return the indexes built on tables that were there before the change."""
    for oid in sorted(after.relations.keys() - before.relations.keys()):
        relation = after.relations[oid]
        if relation.kind == "i" and relation.table in before.relations and relation.table not in new:
            yield relation.name
