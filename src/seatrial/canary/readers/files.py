"""Opening a log that somebody else is writing: ordinary files only, and no further than the size they have now."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from seatrial.canary.readers.lines import Stream


def open_regular(path: str | Path) -> BinaryIO:
    """Return an ordinary file opened for reading; raises OSError when it is none or cannot be opened.

    A pipe that nobody writes to does not hold the caller up.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(0, "not a regular file")
    return open(descriptor, "rb", buffering=1 << 18)


class FirstBytes:
    """The first `size` bytes of a stream, so that what is added while it is read waits for the next time."""

    def __init__(self, stream: Stream, size: int, head: bytes = b"") -> None:
        self._stream = stream
        self._left = size
        self._head = head
        """What was read of the stream before; it comes first."""

    def readline(self, size: int = -1, /) -> bytes:
        """Return the next line with its end, at most `size` bytes of it."""
        most = self._left if size < 0 else min(size, self._left)
        if most <= 0:
            return b""
        line = self._from_head(most) if self._head else self._stream.readline(most)
        self._left -= len(line)
        return line

    def _from_head(self, most: int) -> bytes:
        end = self._head.find(b"\n", 0, most) + 1
        line = self._head[: end or most]
        self._head = self._head[len(line) :]
        if not end and not self._head and len(line) < most:
            line += self._stream.readline(most - len(line))
        return line
