"""Follows renames through a schema: the renamed object, what goes with it, and the definitions that mention it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from seatrial.database.catalog.schema import Facet, Schema, SchemaObject

Key = tuple[str, str]
_BODIES = {"function", "procedure"}
"""Kinds whose text stays as it was written when something that it mentions is renamed."""
_FIRST = ("schema", "table", "foreign table", "view", "materialized view", "sequence", "type", "function", "procedure")
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
    rewrite, roots = _rewriting(wanted, before)
    found = Renamed({})
    left: list[SchemaObject] = []
    for key, entry in before.objects.items():
        if key in wanted:
            _place(found, entry, wanted[key], rewrite, after)
            if key in roots:
                found.was[entry.kind, wanted[key]] = entry
        else:
            left.append(entry)
    rest: list[SchemaObject] = []
    for entry in left:
        target = (entry.kind, rewrite(entry.identity, entry.parent))
        if target[1] != entry.identity and target in after.objects and target not in found.objects:
            _place(found, entry, target[1], rewrite, after)
        else:
            rest.append(entry)
    lost: set[str] = set()
    for entry in sorted(rest, key=lambda one: _depth(one, before)):
        if entry.parent in lost or (entry.kind, entry.identity) in found.objects:
            found.gone.append(entry)
            lost.add(entry.label)
        else:
            _place(found, entry, entry.identity, rewrite, after)
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


def _rewriting(wanted: Mapping[Key, str], before: Schema) -> tuple[Callable[[str, str], str], set[Key]]:
    """Return the function that renames inside of a text, and the renames that do not follow from another one."""
    steps: list[
        tuple[re.Pattern[str], str, str]
    ] = []  # what, by what, and in what goes with this parent only ("": all)
    roots: set[Key] = set()

    def rewrite(text: str, parent: str) -> str:
        for pattern, new, within in steps:
            if not within or parent == within:
                text = pattern.sub(new.replace("\\", r"\\"), text)
        return text

    def turn(key: Key) -> tuple[int, Key]:
        return (_FIRST.index(key[0]) if key[0] in _FIRST else len(_FIRST), key)

    for key in sorted(wanted, key=turn):
        kind, identity = key
        parent = before.objects[key].parent
        so_far = rewrite(identity, "")
        if so_far == wanted[key]:
            continue
        roots.add(key)
        if kind == "schema":
            steps.append((re.compile(rf"{_NOT_IN_NAME}{re.escape(so_far)}\.(?=[\w\"])"), f"{wanted[key]}.", ""))
            steps.append((re.compile(rf"^(schema ){re.escape(so_far)}(?= to |$)"), f"schema {wanted[key]}", ""))
            continue
        steps.append((re.compile(_NOT_IN_NAME + re.escape(so_far) + _NOT_AFTER), wanted[key], ""))
        if kind in _BODIES:
            start, new = so_far.partition("(")[0], wanted[key].partition("(")[0]
            steps.append((re.compile(rf"{_NOT_IN_NAME}{re.escape(start)}\("), f"{new}(", ""))
        if kind == "column":
            old, new = (name.rpartition(".")[2] for name in (so_far, wanted[key]))
            steps.append((re.compile(_NOT_IN_NAME + re.escape(old) + _NOT_AFTER), new, parent))
    return rewrite, roots


def _place(
    found: Renamed, entry: SchemaObject, identity: str, rewrite: Callable[[str, str], str], after: Schema
) -> None:
    """Put an earlier object under its later identity; a facet that reads as the later one once renamed is unchanged."""
    match = after.objects.get((entry.kind, identity))
    facets = dict(entry.facets)
    if match is not None and (entry.kind not in _BODIES or identity != entry.identity):
        for name, value in facets.items():
            new = _rewritten(value, lambda text: rewrite(text, entry.parent))
            if new == match.facets.get(name):
                facets[name] = new
    found.objects[entry.kind, identity] = replace(
        entry, identity=identity, parent=rewrite(entry.parent, ""), facets=facets
    )


def _rewritten(value: Facet, rewrite: Callable[[str], str]) -> Facet:
    if isinstance(value, str):
        return rewrite(value)
    if isinstance(value, list):
        return [rewrite(entry) for entry in value]
    return value
