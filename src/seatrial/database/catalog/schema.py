"""A schema as data: its objects, each with facets that mean the same on every supported version of the server."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

Facet = str | int | bool | list[str] | None
"""One property of an object; None and absent are the same."""


@dataclass(frozen=True)
class SchemaObject:
    """One object, for example kind "column", identity "public.users.email", parent "table public.users".

    Identities are quoted as SQL needs them.  `parent` is kind and identity of the object that this one goes with, ""
    where there is none.  `key` is the server's own number, by which a renamed object is recognised; it is neither
    compared nor part of a fingerprint.
    """

    kind: str
    identity: str
    parent: str
    facets: Mapping[str, Facet]
    key: str = field(default="", compare=False)

    @property
    def label(self) -> str:
        """Kind and identity, as children name their parent."""
        return f"{self.kind} {self.identity}"


@dataclass(frozen=True)
class Schema:
    """All objects of a database, by kind and identity.

    `origin` names the server and the database that it was read from: keys mean something within one origin only.
    """

    objects: Mapping[tuple[str, str], SchemaObject]
    origin: str = field(default="", compare=False)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 in hexadecimal; equal schemas have equal ones, whatever version of the server they are on."""
        found = [(o.kind, o.identity, o.parent, o.facets) for _, o in sorted(self.objects.items())]
        text = json.dumps(found, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def as_dict(self) -> dict[str, Any]:
        """Return the schema as JSON can hold it; `from_dict` is the way back."""
        rows = [
            {"kind": o.kind, "identity": o.identity, "parent": o.parent, "key": o.key, "facets": dict(o.facets)}
            for _, o in sorted(self.objects.items())
        ]
        return {"fingerprint": self.fingerprint, "origin": self.origin, "objects": rows}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Schema:
        """Return the schema that `as_dict` described."""
        return cls.of((SchemaObject(**row) for row in data["objects"]), data.get("origin", ""))

    @classmethod
    def of(cls, objects: Iterable[SchemaObject], origin: str = "") -> Schema:
        """Return the schema of these objects."""
        return cls({(entry.kind, entry.identity): entry for entry in objects}, origin)

    def without(self, *kinds: str) -> Schema:
        """Return the schema without these kinds and what goes with them, for example the grants on a database."""
        gone: set[str] = set()
        kept = dict(self.objects)
        while True:
            leaving = [key for key, o in kept.items() if o.kind in kinds or o.parent in gone]
            if not leaving:
                return Schema(kept, self.origin)
            gone.update(kept.pop(key).label for key in leaving)
