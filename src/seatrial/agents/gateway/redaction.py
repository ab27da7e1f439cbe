"""Takes keys out of what goes back to the agent or onto disk.

Each key is replaced by a mask of the same length, so lengths that were announced stay true.  Found are the key
itself, and its base64 (standard and URL alphabet, at each of the three offsets in a longer text), hexadecimal,
percent-encoded and JSON-escaped forms, also when cut into pieces that arrive separately.  Not found: a key that was
reversed, split by other characters, encrypted, or compressed by a method other than those the gateway undoes.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from urllib.parse import quote

from seatrial.settings import Secret

_MASK = b"[key removed by seatrial]"
_SHORTEST = 8


def _mask(length: int) -> bytes:
    return (_MASK + b"*" * length)[:length]


def _forms(key: bytes) -> set[bytes]:
    forms = {key, key.hex().encode(), key.hex().upper().encode(), quote(key, safe="").encode()}
    forms.add(json.dumps(key.decode("utf-8", "replace"))[1:-1].encode())
    for offset in range(3):
        # Whatever precedes or follows the key changes the outer characters; those within depend on the key alone.
        coded = base64.b64encode(b"\0" * offset + key)
        first = (offset * 8 + 5) // 6
        last = (offset + len(key)) * 8 // 6
        inner = coded[first:last]
        forms |= {inner, inner.replace(b"+", b"-").replace(b"/", b"_")}
    return forms


class Redactor:
    """Replaces keys in headers and whole bodies; `stream()` gives one for a body in pieces."""

    def __init__(self, secrets: Iterable[Secret | None]) -> None:
        keys = {secret.reveal().encode() for secret in secrets if secret is not None}
        # Shorter "keys" (`x`, `none` of local servers) are no secrets, and would be found in any text.
        forms = {form for key in keys if len(key) >= _SHORTEST for form in _forms(key)}
        self._forms = sorted(forms, key=len, reverse=True)
        self.longest = max(map(len, self._forms), default=0)

    def whole(self, data: bytes) -> bytes:
        """Return `data` with each key masked; the same object when there is none."""
        for form in self._forms:
            if form in data:
                data = data.replace(form, _mask(len(form)))
        return data

    def headers(self, headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """Return `headers` with each key masked; the same object when there is none."""
        together = "\n".join(value for _, value in headers)
        return headers if self.text(together) == together else [(name, self.text(value)) for name, value in headers]

    def text(self, data: str) -> str:
        """Return `data` with each key masked."""
        return self.whole(data.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")

    def stream(self) -> RedactingStream:
        """Return the state for one body."""
        return RedactingStream(self)

    def unfinished(self, data: bytes) -> int:
        """Return how many bytes at the end of `data` may be the beginning of a key."""
        most = 0
        for form in self._forms:
            if data.endswith((form[:1], form[:2], form[:3])):
                most = max(most, next(n for n in (3, 2, 1) if data.endswith(form[:n])))
            start = max(0, len(data) - len(form) + 1)
            at = data.find(form[:4], start)
            while at >= 0:
                if form.startswith(data[at:]):
                    most = max(most, len(data) - at)
                    break
                at = data.find(form[:4], at + 1)
        return most


class RedactingStream:
    """One body in pieces.  Holds back only bytes that may be the beginning of a key."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._held = b""
        self.found = False

    def feed(self, piece: bytes) -> bytes:
        """Return what may be passed on now."""
        if not self._redactor.longest:
            return piece
        data = self._held + piece if self._held else piece
        clean = self._redactor.whole(data)
        if clean is not data:
            self.found = True
        keep = self._redactor.unfinished(clean)
        self._held = clean[len(clean) - keep :] if keep else b""
        return clean[: len(clean) - keep] if keep else clean

    def flush(self) -> bytes:
        """Return what was held back, at the end of the body."""
        held, self._held = self._held, b""
        return held
