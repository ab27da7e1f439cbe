"""JSON documents: transformers for the places that paths name, and what becomes of the rest."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from seatrial.errors import MaskingError

Change = Callable[[Any], Any]
_STEP = re.compile(r"""\.(?P<key>[^.\[\]"]+)|\["(?P<quoted>(?:[^"\\]|\\.)*)"\]|(?P<each>\[\*\])""")


@dataclass
class _Place:
    change: Change | None = None
    keys: dict[str, _Place] = field(default_factory=dict)
    each: _Place | None = None


def masker(paths: Mapping[str, Change], *, keep_rest: bool) -> Callable[[str], str]:
    """Return a function of a document's text.

    A path is `$` and then keys (`.key`, `["any key"]`) or `[*]` for each element of an array.  What no path names is
    kept with `keep_rest`; else it is left out, its keys too, as keys can be somebody's.  Raises MaskingError for a
    path that is none.
    """
    root = _Place()
    for path, change in paths.items():
        place = root
        for key in _steps(path):
            if key is None:
                place.each = place.each or _Place()
                place = place.each
            else:
                place = place.keys.setdefault(key, _Place())
        place.change = change

    def change_text(text: str) -> str:
        return json.dumps(_changed(root, json.loads(text), keep_rest))

    return change_text


def _steps(path: str) -> list[str | None]:
    steps: list[str | None] = []
    end = 1
    for match in _STEP.finditer(path, 1):
        if match.start() != end:
            break
        end = match.end()
        quoted = match["quoted"]
        steps.append(None if match["each"] else match["key"] if quoted is None else json.loads(f'"{quoted}"'))
    if path[:1] != "$" or end != len(path):
        raise MaskingError(f"{path!r} is not a path.", hint='Write $.key, $.list[*].key or $["any key"].')
    return steps


def _changed(place: _Place, value: Any, keep_rest: bool) -> Any:
    if place.change is not None:
        return place.change(value)
    if isinstance(value, dict):
        return {
            key: _changed(place.keys[key], entry, keep_rest) if key in place.keys else entry
            for key, entry in value.items()
            if key in place.keys or keep_rest
        }
    if isinstance(value, list):
        if place.each is None:
            return value if keep_rest else []
        return [_changed(place.each, entry, keep_rest) for entry in value]
    return value if keep_rest else None
