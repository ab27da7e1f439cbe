"""What is different between two schemas, each change once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from seatrial.database.catalog.renaming import Rename, follow
from seatrial.database.catalog.schema import Facet, Schema, SchemaObject

Key = tuple[str, str]
_LONGEST_VALUE = 60


@dataclass(frozen=True)
class Change:
    """One change.  `identity` is that of the later schema, for something removed that of the earlier one.

    `facets` gives what changed as (before, after), with None for what is not there.  `children` are the changes that
    come with this one, as the columns of a new table do.
    """

    action: Literal["added", "removed", "changed", "renamed"]
    kind: str
    identity: str
    facets: Mapping[str, tuple[Facet, Facet]]
    parent: str = ""
    children: tuple[Change, ...] = ()

    @property
    def sentence(self) -> str:
        """The change in words, on one line, without characters that a terminal would act on."""
        text = f"{self.kind[:1].upper()}{self.kind[1:]} {self.identity} {self.action}"
        if self.action == "renamed":
            text = f"{self.kind[:1].upper()}{self.kind[1:]} {self.facets['identity'][0]} renamed to {self.identity}"
        if self.children:
            counts = Counter(entry.kind for entry in self.walk())
            counts[self.kind] -= 1
            text += " with " + ", ".join(f"{number} {kind}" for kind, number in sorted(counts.items()) if number)
        shown = [
            f"{name} {_shown(before)} → {_shown(after)}"
            for name, (before, after) in sorted(self.facets.items())
            if self.action in ("changed", "renamed") and name != "identity"
        ]
        if shown:
            text += ": " + "; ".join(shown)
        return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text) + "."

    def walk(self) -> Iterator[Change]:
        """Give this change and all below it."""
        yield self
        for child in self.children:
            yield from child.walk()


def _shown(value: Facet) -> str:
    if value is None:
        return "(none)"
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = ", ".join(value) if isinstance(value, list) else str(value)
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST_VALUE else text[:_LONGEST_VALUE] + "…"


def diff(before: Schema, after: Schema, renames: Iterable[Rename] = ()) -> tuple[Change, ...]:
    """Return the changes from `before` to `after`, none exactly when the fingerprints are equal.

    Something renamed is removed and added, unless `renames` names it (objects or tuples of kind, before, after).  What
    was added or removed together with its parent is among the children of the parent's change.
    """
    found = follow(before, after, [Rename(*entry) for entry in renames])
    moved: set[Key] | None = None
    changes = [_change("removed", entry) for entry in found.gone]
    for key, entry in found.objects.items():
        match = after.objects.get(key)
        if match is None:
            changes.append(_change("removed", entry))
            continue
        if entry.facets == match.facets and entry.parent == match.parent and key not in found.was:
            continue
        if moved is None:
            moved = _reordered(found.objects, after.objects)
        facets = _facets(entry, match, key in moved)
        if key in found.was:
            identity: tuple[Facet, Facet] = (found.was[key].identity, match.identity)
            changes.append(Change("renamed", *key, {"identity": identity, **facets}, match.parent))
        elif facets:
            changes.append(Change("changed", *key, facets, match.parent))
    changes += [_change("added", entry) for key, entry in after.objects.items() if key not in found.objects]
    return _nested(changes)


def _change(action: Literal["added", "removed"], entry: SchemaObject) -> Change:
    facets = {name: (None, value) if action == "added" else (value, None) for name, value in entry.facets.items()}
    return Change(action, entry.kind, entry.identity, facets, entry.parent)


def _facets(before: SchemaObject, after: SchemaObject, moved: bool) -> dict[str, tuple[Facet, Facet]]:
    names = sorted(before.facets.keys() | after.facets.keys())
    found = {name: (before.facets.get(name), after.facets.get(name)) for name in names}
    if before.parent != after.parent:
        found["parent"] = (before.parent, after.parent)
    return {n: (a, b) for n, (a, b) in found.items() if a != b and (n != "position" or moved)}


def _reordered(before: Mapping[Key, SchemaObject], after: Mapping[Key, SchemaObject]) -> set[Key]:
    """Return the columns whose place among the columns that are on both sides is another."""
    both = [
        (key, entry)
        for key, entry in before.items()
        if entry.kind == "column" and key in after and "position" in entry.facets and "position" in after[key].facets
    ]
    moved = {entry.parent for key, entry in both if entry.facets["position"] != after[key].facets["position"]}
    tables: dict[str, list[Key]] = {}
    for key, entry in both:
        if entry.parent in moved:
            tables.setdefault(entry.parent, []).append(key)
    found: set[Key] = set()
    for keys in tables.values():
        first = sorted(keys, key=lambda key: int(str(before[key].facets["position"])))
        second = sorted(keys, key=lambda key: int(str(after[key].facets["position"])))
        found |= {key for key, other in zip(first, second, strict=True) if key != other}
    return found


def _nested(changes: list[Change]) -> tuple[Change, ...]:
    """Return the changes of the top level, with those that came or went with their parent below it."""
    places = {(c.action, f"{c.kind} {c.identity}") for c in changes if c.action in ("added", "removed")}
    below: dict[tuple[str, str], list[Change]] = {}
    top = []
    for change in changes:
        if (change.action, change.parent) in places:
            below.setdefault((change.action, change.parent), []).append(change)
        else:
            top.append(change)

    def build(change: Change) -> Change:
        children = below.get((change.action, f"{change.kind} {change.identity}"), ())
        return replace(change, children=tuple(build(child) for child in sorted(children, key=_order)))

    return tuple(build(change) for change in sorted(top, key=_order))


def _order(change: Change) -> tuple[str, str, str, str]:
    """Return what puts changes of one table together."""
    return (change.parent.rpartition(" ")[2] or change.identity, change.identity, change.kind, change.action)
