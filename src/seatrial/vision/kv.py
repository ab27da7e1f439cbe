"""Keys and values of all sequences, in pages that sequences may share.

A page holds `PAGE_POSITIONS` positions of every layer, laid out as the operations like it.  A sequence
is a list of pages; one that begins like another shares the whole pages of that beginning and copies
the last, partial one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from seatrial.errors import CapacityError
from seatrial.vision.config import TextConfig
from seatrial.vision.ops.protocol import PAGE_POSITIONS, AttentionPrecision, KvPrecision, Ops, PageTables

_ALIGNMENT = 64


def pages_for(positions: int) -> int:
    """Return how many pages `positions` take."""
    return -(-positions // PAGE_POSITIONS)


class PagePool:
    """Room for `positions` positions, rounded up to whole pages; memory is taken when a page is first used.

    `array` is uint8 [pages, layers, G, bytes of a page].  `make_room` is called when no page is free; it
    gives something up and returns whether it could.  Safe to use from several threads.
    """

    def __init__(
        self, config: TextConfig, ops: Ops, precision: AttentionPrecision, positions: int, kv: KvPrecision = "same"
    ) -> None:
        pages = pages_for(positions)
        shape = (pages, config.layers, config.kv_heads, ops.page_bytes(config.head_dim, precision, kv))
        size = int(np.prod(shape))
        raw = np.empty(size + _ALIGNMENT, np.uint8)
        start = -raw.ctypes.data % _ALIGNMENT
        self.array: NDArray[np.uint8] = raw[start : start + size].reshape(shape)
        self.kv: KvPrecision = kv
        self.make_room: Callable[[], bool] = lambda: False
        self._uses = [0] * pages
        self._free = list(range(pages - 1, -1, -1))
        self._lock = threading.Lock()

    @property
    def page_nbytes(self) -> int:
        """Bytes of one page, all layers."""
        return int(np.prod(self.array.shape[1:]))

    @property
    def pages(self) -> int:
        """Pages in all."""
        return len(self._uses)

    @property
    def free(self) -> int:
        """Pages that nobody holds."""
        return len(self._free)

    def take(self) -> int:
        """Return a page, its content of no meaning; CapacityError when none is free and nothing can be given up."""
        while True:
            with self._lock:
                if self._free:
                    page = self._free.pop()
                    self._uses[page] = 1
                    return page
            if not self.make_room():  # not under the lock: it releases pages
                raise CapacityError(
                    f"All {self.pages * PAGE_POSITIONS:,} positions for keys and values are in use.",
                    hint="Ask fewer questions at a time, or give the engine more memory (--memory).",
                )

    def share(self, pages: Sequence[int]) -> None:
        """Count one more holder of each of `pages`."""
        with self._lock:
            for page in pages:
                self._uses[page] += 1

    def release(self, pages: Sequence[int]) -> None:
        """Count one holder less of each of `pages`."""
        with self._lock:
            for page in pages:
                self._uses[page] -= 1
                if self._uses[page] == 0:
                    self._free.append(page)


class KvCache:
    """Keys and values of one sequence: `length` positions in `pages` of `pool`."""

    def __init__(self, pool: PagePool) -> None:
        self.pool = pool
        self.pages: list[int] = []
        self.length = 0

    def reserve(self, positions: int) -> None:
        """Make room for `positions` more; CapacityError when the pool is full."""
        while len(self.pages) < pages_for(self.length + positions):
            self.pages.append(self.pool.take())

    def advance(self, positions: int) -> None:
        """Count `positions` more as filled."""
        self.length += positions

    def cut(self, length: int) -> None:
        """Forget everything from position `length` on."""
        self.length = length
        spare = self.pages[pages_for(length) :]
        del self.pages[pages_for(length) :]
        self.pool.release(spare)

    def fork(self, positions: int) -> KvCache:
        """Return a sequence that begins with the first `positions` of this one; whole pages are shared."""
        twin = KvCache(self.pool)
        whole = positions // PAGE_POSITIONS
        twin.pages = self.pages[:whole]
        self.pool.share(twin.pages)
        if positions % PAGE_POSITIONS:
            copy = self.pool.take()
            self.pool.array[copy] = self.pool.array[self.pages[whole]]
            twin.pages.append(copy)
        twin.length = positions
        return twin

    def hold(self, positions: int) -> KvCache:
        """Return the first `positions` of this sequence, to be kept and forked but not continued; nothing is copied."""
        twin = KvCache(self.pool)
        twin.pages = self.pages[: pages_for(positions)]
        self.pool.share(twin.pages)
        twin.length = positions
        return twin

    def release(self) -> None:
        """Give all pages back."""
        self.cut(0)


def page_tables(sequences: Sequence[tuple[KvCache, int]]) -> PageTables:
    """Make room for each sequence's next positions, and return where all of them lie."""
    for cache, count in sequences:
        cache.reserve(count)
    tables = np.zeros((len(sequences), max((len(cache.pages) for cache, _ in sequences), default=0)), np.int32)
    for row, (cache, _) in zip(tables, sequences, strict=True):
        row[: len(cache.pages)] = cache.pages
    lengths = np.array([cache.length for cache, _ in sequences], np.int32)
    counts = np.array([count for _, count in sequences], np.int32)
    return PageTables(tables, lengths, counts)
