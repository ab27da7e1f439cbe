"""The text that COPY writes and reads: escapes of fields, and the literals of arrays."""

from __future__ import annotations

import re
from collections.abc import Callable

NULL = rb"\N"
_LETTERS = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}
_ESCAPED = re.compile(rb"\\([0-7]{1,3}|x[0-9A-Fa-f]{1,2}|.)", re.DOTALL)
_SPECIAL = re.compile(rb"[\\\b\f\n\r\t\v]")
_WRITTEN = {b"\\": rb"\\", **{character: b"\\" + letter for letter, character in _LETTERS.items()}}
_ELEMENT = re.compile(r'"((?:[^"\\]|\\.)*)"|((?:[^",{}\\]|\\.)+)|([{},])', re.DOTALL)
_BOUNDS = re.compile(r"((?:\[[-+0-9:]+\])+=)?(\{.*)", re.DOTALL)


def unescape(field: bytes) -> bytes:
    """Return the value of a field that is not NULL."""
    return _ESCAPED.sub(_plain, field) if b"\\" in field else field


def escape(value: bytes) -> bytes:
    """Return a value as a field."""
    return _SPECIAL.sub(_written, value) if _SPECIAL.search(value) else value


def _written(match: re.Match[bytes]) -> bytes:
    return _WRITTEN[match[0]]


def _plain(match: re.Match[bytes]) -> bytes:
    told = match[1]
    if told in _LETTERS:
        return _LETTERS[told]
    if told[:1].isdigit():
        return bytes([int(told, 8) & 0xFF])
    if told[:1] == b"x" and len(told) > 1:
        return bytes([int(told[1:], 16)])
    return told


def map_array(literal: str, change: Callable[[str], str | None]) -> str:
    """Return an array's literal with each element changed; NULL stays, and so do dimensions and bounds.

    Raises ValueError for what is no array.
    """
    match = _BOUNDS.fullmatch(literal)
    if not match:
        raise ValueError("no array")
    made = [match[1] or ""]
    end = 0
    for part in _ELEMENT.finditer(match[2]):
        if part.start() != end:
            raise ValueError("no array")
        end = part.end()
        quoted, plain, sign = part.groups()
        if sign:
            made.append(sign)
        elif plain is not None and plain.upper() == "NULL":
            made.append("NULL")
        else:
            value = change(re.sub(r"\\(.)", r"\1", quoted if plain is None else plain, flags=re.DOTALL))
            made.append("NULL" if value is None else '"' + re.sub(r'(["\\])', r"\\\1", value) + '"')
    if end != len(match[2]):
        raise ValueError("no array")
    return "".join(made)
