"""Wordings that are counted, from `phrases.toml`: what an agent says, how people correct it, what they ask for."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

_FILE = Path(__file__).with_name("phrases.toml")
_LOOKED_AT = 4000
"""Characters at the beginning and at the end of a prompt that are looked at: what is between is mostly pasted."""


@cache
def _lists() -> dict[str, dict[str, re.Pattern[str]]]:
    table = tomllib.loads(_FILE.read_text(encoding="utf-8"))
    return {
        group: {name: _any_of(patterns) for name, patterns in table[group].items()}
        for group in ("said", "typed", "class")
    }


@cache
def version() -> int:
    """Return the version of the wordings; results of different versions do not compare."""
    return int(tomllib.loads(_FILE.read_text(encoding="utf-8"))["version"])


def _any_of(patterns: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{pattern})" for pattern in patterns), re.IGNORECASE)


def said(text: str) -> dict[str, int]:
    """Return how often each kind of wording is in what an agent said, kinds that are not there left out."""
    found = {name: sum(1 for _ in pattern.finditer(text)) for name, pattern in _lists()["said"].items()}
    return {name: number for name, number in found.items() if number}


def is_correction(text: str) -> bool:
    """Whether a prompt that follows an answer corrects it."""
    return _lists()["typed"]["correction"].search(_ends(text)) is not None


def prompt_class(text: str, *, is_command: bool = False, permission: str = "") -> str:
    """Return what a prompt asks for: `command`, `plan`, `debug`, `question`, `implement` or `other`."""
    if is_command:
        return "command"
    if permission == "plan":
        return "plan"
    looked_at = _ends(text)
    for name, pattern in _lists()["class"].items():
        if pattern.search(looked_at):
            return name
    return "other"


def _ends(text: str) -> str:
    return text if len(text) <= 2 * _LOOKED_AT else f"{text[:_LOOKED_AT]}\n{text[-_LOOKED_AT:]}"
