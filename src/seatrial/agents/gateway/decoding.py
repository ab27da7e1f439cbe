"""Undoes gzip and deflate of answers, a bounded piece at a time.

The gateway asks upstreams for plain answers; some compress all the same, and a key can be found only in plain text.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

_MOST_AT_ONCE = 256 * 1024


class Decoder:
    """Raises ValueError for a method it does not know, and from `feed` for damaged data."""

    def __init__(self, encoding: str) -> None:
        encoding = encoding.strip().lower()
        if encoding not in ("", "identity", "gzip", "x-gzip", "deflate"):
            raise ValueError(f"The answer is compressed by {encoding}, which was not asked for.")
        self.active = encoding not in ("", "identity")
        self._stream = zlib.decompressobj(wbits=47)

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Yield what `piece` stands for, at most 256 KiB at once."""
        if not self.active:
            yield piece
            return
        try:
            while piece and not self._stream.eof:
                yield self._stream.decompress(piece, _MOST_AT_ONCE)
                piece = self._stream.unconsumed_tail
        except zlib.error as problem:
            raise ValueError(f"The answer is damaged: {problem}.") from problem
