"""Keys and values of prompts seen lately: a prompt that begins the same computes only the rest.

A prompt's signature has one number for each position: the token id, or for picture tokens a hash of
the tile's pixels and the place inside it.  Two prompts share keys and values as far as their
signatures agree.  Entries hold the pages of answers already made; a hit shares them.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray

from seatrial.vision.kv import KvCache, PagePool, pages_for
from seatrial.vision.prompt import Prompt

_SHORTEST = 16
"""Positions below which sharing is not worth the copy."""

Signature = NDArray[np.int64]


def signature_of(prompt: Prompt, image_token_id: int, tokens_per_tile: int) -> Signature:
    """Return the signature [S] of `prompt`; ids are positive, hashes of picture positions negative."""
    signature = np.asarray(prompt.ids, np.int64)
    hashes = [hashlib.sha256(np.ascontiguousarray(tile).data).digest() for tile in prompt.tiles]
    starts = np.array([int.from_bytes(digest[:8], "little") >> 2 for digest in hashes], np.int64)
    places = np.arange(tokens_per_tile, dtype=np.int64)
    signature[signature == image_token_id] = -1 - (starts[:, None] ^ places).reshape(-1)
    return signature


class PrefixCache:
    """Pages of lately seen prompts within `memory_limit` bytes (0 keeps none); the least recently used goes first."""

    def __init__(self, memory_limit: int) -> None:
        self.memory_limit = memory_limit
        self._entries: OrderedDict[int, tuple[Signature, KvCache]] = OrderedDict()
        self._lock = threading.RLock()

    def start(self, signature: Signature, pool: PagePool) -> KvCache | None:
        """Return a sequence in `pool` that holds the longest known beginning of `signature` [S], or None.

        At least one position is left to compute, because its scores are wanted.
        """
        with self._lock:
            lengths = {
                key: _shared(signature, known) for key, (known, held) in self._entries.items() if held.pool is pool
            }
            best = max(lengths, key=lambda key: lengths[key], default=None)
            if best is None:
                return None
            length = min(lengths[best], len(signature) - 1)
            if length < _SHORTEST:
                return None
            self._entries.move_to_end(best)
            return self._entries[best][1].fork(length)

    def keep(self, signature: Signature, cache: KvCache) -> None:
        """Remember that the first len(signature) positions of `cache` belong to `signature` [S]."""
        if pages_for(len(signature)) * cache.pool.page_nbytes > self.memory_limit:
            return
        held = cache.hold(len(signature))
        with self._lock:
            for key, (known, other) in list(self._entries.items()):
                if other.pool is cache.pool and _shared(signature, known) == len(
                    known
                ):  # the new one says all that this one says
                    self._drop(key)
            self._entries[id(held)] = (signature, held)
            while self.nbytes > self.memory_limit:
                self.give_up()

    @property
    def nbytes(self) -> int:
        """Bytes of all pages held; a page that entries share counts once."""
        sizes = {
            (id(held.pool), page): held.pool.page_nbytes for _, held in self._entries.values() for page in held.pages
        }
        return sum(sizes.values())

    def give_up(self) -> bool:
        """Forget the least recently used entry; return whether there was one."""
        with self._lock:
            if not self._entries:
                return False
            self._drop(next(iter(self._entries)))
            return True

    def _drop(self, key: int) -> None:
        _, held = self._entries.pop(key)
        held.release()


def _shared(one: Signature, other: Signature) -> int:
    """How many positions agree from the start."""
    length = min(len(one), len(other))
    differs = np.flatnonzero(one[:length] != other[:length])
    return int(differs[0]) if len(differs) else length
