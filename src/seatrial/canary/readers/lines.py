"""Lines of JSON from a file that may be huge, damaged, or being written: one at a time, in constant memory.

What cannot be read is counted in `Health` and left out; nothing here raises for bad content.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from typing import Any, Protocol

import orjson

from seatrial.canary.events import Health

LINE_LIMIT = 16 << 20
"""Bytes of a line that are held; longer lines are passed over."""
WINDOW = 50
"""Lines in a row over which the share of good ones is looked at."""

_LONE_SURROGATE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F][0-9a-fA-F]{2}"
)


class Stream(Protocol):
    """What lines are read from: a file, or a member of an archive."""

    def readline(self, size: int = -1, /) -> bytes:
        """Return the next line with its end, at most `size` bytes of it."""
        ...


class Lines:
    """The lines of a stream; iterate, and call `decode` for those that matter."""

    def __init__(self, stream: Stream, health: Health, limit: int = LINE_LIMIT) -> None:
        self._stream = stream
        self._limit = limit
        self._bad: deque[int] = deque()
        self._most_bad = 0
        self.health = health

    def __iter__(self) -> Iterator[bytes]:
        """Yield each line as it is in the file; blank and overlong ones are left out."""
        health, readline, limit = self.health, self._stream.readline, self._limit
        while line := readline(limit):
            health.bytes += len(line)
            if not line.endswith(b"\n"):
                if len(line) >= limit:
                    self._pass_over()
                    continue
                health.unfinished = True
            elif len(line) < 3 and not line.strip():
                continue
            health.lines += 1
            yield line
        self._judge()

    def _pass_over(self) -> None:
        health = self.health
        health.lines += 1
        health.long_lines += 1
        while part := self._stream.readline(1 << 20):
            health.bytes += len(part)
            if part.endswith(b"\n"):
                return
        health.unfinished = True

    def decode(self, line: bytes) -> dict[str, Any] | None:
        """Return the JSON object of `line`; None, and counted, if it is none.

        Invalid UTF-8, NUL bytes around it and half surrogate pairs are put right first.
        """
        try:
            value = orjson.loads(line)
        except orjson.JSONDecodeError:
            value = _repaired(line)
        if isinstance(value, dict):
            return value
        self.bad(line)
        return None

    def bad(self, line: bytes) -> None:
        """Count `line`, the last one that was yielded, as bad."""
        health = self.health
        if health.unfinished and not line.endswith(b"\n"):
            return
        health.bad_lines += 1
        self._bad.append(health.lines)
        while self._bad[0] <= health.lines - WINDOW:
            self._bad.popleft()
        self._most_bad = max(self._most_bad, len(self._bad))

    def _judge(self) -> None:
        if self.health.lines:
            self.health.worst_share = 1 - self._most_bad / min(WINDOW, self.health.lines)


def _repaired(line: bytes) -> Any:
    text = line.strip(b" \t\r\n\0").decode("utf-8", "replace").encode()
    try:
        return orjson.loads(_LONE_SURROGATE.sub(rb"\\ufffd", text))
    except orjson.JSONDecodeError:
        return None
