"""Follows renames through a schema: the renamed object, what goes with it, and the definitions that mention it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from seatrial.database.catalog.schema import Facet, Schema, SchemaObject

Key = tuple[str, str]
_CALLED = ("function", "procedure", "aggregate")
_BODY = "\nAS "
"""What follows it in the definition of a function stays as it was written, whatever is renamed."""
_FIRST = ("schema", "table", "foreign table", "view", "materialized view", "sequence", "type", "function", "procedure")
_MARK = re.compile("\0(\\d+)\0")
_NOT_IN_NAME, _NOT_AFTER = r'(?<![\w.$"])', r'(?![\w$"])'


class Rename(NamedTuple):
    """An object of this kind had the identity `before` and has `after`."""

    kind: str
    before: str
    after: str


@dataclass
class Renamed:
    """Earlier objects under their later names.

    `objects` are those, `was` tells what the renamed ones were, and `gone` are objects whose name went to another one.
    """

    objects: dict[Key, SchemaObject]
    was: dict[Key, SchemaObject] = field(default_factory=dict)
    gone: list[SchemaObject] = field(default_factory=list)


def renames(before: Schema, after: Schema) -> tuple[Rename, ...]:
    """Return what was renamed, found by the server's own numbers.

    Only for one database at two times: of two databases this returns nothing, because there a new object can have the
    number of another.  A copy that keeps the numbers must not have been changed beside its origin.
    """
    if before.origin != after.origin or not before.origin:
        return ()
    later = {entry.key: entry for entry in after.objects.values() if entry.key}
    found = []
    for entry in before.objects.values():
        match = later.get(entry.key)
        if match is not None and match.kind == entry.kind and match.identity != entry.identity:
            found.append(Rename(entry.kind, entry.identity, match.identity))
    return tuple(found)


def follow(before: Schema, after: Schema, given: Iterable[Rename]) -> Renamed:
    """Return the objects of `before` as they are called in `after`; renames of what does not exist are passed over."""
    wanted = {
        (entry.kind, entry.before): entry.after
        for entry in given
        if (entry.kind, entry.before) in before.objects and (entry.kind, entry.after) in after.objects
    }
    if not wanted:
        return Renamed(dict(before.objects))
    rewriting = _rewriting(wanted)
    found = Renamed({})
    left: list[SchemaObject] = []
    for key, entry in before.objects.items():
        if key in wanted:
            _place(found, entry, wanted[key], rewriting, after)
            if key in rewriting.roots:
                found.was[entry.kind, wanted[key]] = entry
        else:
            left.append(entry)
    rest: list[SchemaObject] = []
    for entry in left:
        target = (entry.kind, rewriting.identity(entry.identity))
        if target[1] != entry.identity and target in after.objects and target not in found.objects:
            _place(found, entry, target[1], rewriting, after)
        else:
            rest.append(entry)
    lost: set[str] = set()
    for entry in sorted(rest, key=lambda one: _depth(one, before)):
        if entry.parent in lost or (entry.kind, entry.identity) in found.objects:
            found.gone.append(entry)
            lost.add(entry.label)
        else:
            _place(found, entry, entry.identity, rewriting, after)
    return found


def _depth(entry: SchemaObject, schema: Schema) -> int:
    depth = 0
    while entry.parent:
        kind, _, identity = entry.parent.partition(" ")
        parent = schema.objects.get((kind, identity))
        if parent is None:
            return depth + 1
        entry, depth = parent, depth + 1
    return depth


@dataclass
class _Rewriting:
    """Renames inside of texts: `names` where identities are meant, `columns` by their bare name in definitions too.

    What is found becomes a mark first, and marks become the later names at the end, so that names can be exchanged.
    """

    names: list[tuple[re.Pattern[str], str]] = field(default_factory=list)
    columns: list[tuple[re.Pattern[str], str]] = field(default_factory=list)
    later: list[str] = field(default_factory=list)
    roots: set[Key] = field(default_factory=set)

    def identity(self, text: str) -> str:
        return self._named(self._marked(text))

    def definition(self, value: Facet) -> Facet:
        if isinstance(value, list):
            return [str(self.definition(entry)) for entry in value]
        if not isinstance(value, str):
            return value
        printed, start, written = value.partition(_BODY)
        printed = self._marked(printed)
        for pattern, mark in self.columns:
            printed = pattern.sub(mark, printed)
        return self._named(printed) + start + written

    def add(self, kind: str, old: str, new: str) -> None:
        """Follow this rename from now on."""
        old = self._marked(old)
        found = re.escape(old)
        if kind == "schema":
            self.names.append((re.compile(rf"{_NOT_IN_NAME}{found}\.(?=[\w\"])"), self._mark(new) + "."))
            self.names.append((re.compile(rf"^schema {found}(?= to |$)"), "schema " + self._mark(new)))
            return
        self.names.append((re.compile(_NOT_IN_NAME + found + _NOT_AFTER), self._mark(new)))
        if kind in _CALLED:
            start = re.escape(old.partition("(")[0])
            self.names.append((re.compile(rf"{_NOT_IN_NAME}{start}\("), self._mark(new.partition("(")[0]) + "("))
        if kind == "column":
            last = re.escape(old.rpartition(".")[2])
            self.columns.append((re.compile(rf'(?<![\w$"]){last}{_NOT_AFTER}'), self._mark(new.rpartition(".")[2])))

    def _mark(self, new: str) -> str:
        self.later.append(new)
        return f"\0{len(self.later) - 1}\0"  # no text of Postgres has this character

    def _marked(self, text: str) -> str:
        for pattern, mark in self.names:
            text = pattern.sub(mark, text)
        return text

    def _named(self, text: str) -> str:
        return _MARK.sub(lambda found: self.later[int(found[1])], text)


def _rewriting(wanted: Mapping[Key, str]) -> _Rewriting:
    """Return how texts change by these renames; its roots are those that do not follow from another one."""

    def turn(key: Key) -> tuple[int, Key]:
        return (_FIRST.index(key[0]) if key[0] in _FIRST else len(_FIRST), key)

    found = _Rewriting()
    for key in sorted(wanted, key=turn):
        if found.identity(key[1]) != wanted[key]:
            found.roots.add(key)
            found.add(*key, wanted[key])
    return found


def _place(found: Renamed, entry: SchemaObject, identity: str, rewriting: _Rewriting, after: Schema) -> None:
    """Put an earlier object under its later identity; a facet that reads as the later one once renamed is unchanged."""
    match = after.objects.get((entry.kind, identity))
    facets = dict(entry.facets)
    if match is not None:
        for name, value in facets.items():
            later = match.facets.get(name)
            if value != later and rewriting.definition(value) == later:
                facets[name] = later
    parent = match.parent if match and rewriting.identity(entry.parent) == match.parent else entry.parent
    found.objects[entry.kind, identity] = replace(entry, identity=identity, parent=parent, facets=facets)
