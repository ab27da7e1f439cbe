"""Keys and values of prompts seen lately: a prompt that begins the same computes only the rest.

A prompt's signature has one number for each position: the token id, or for picture tokens a hash of
the tile's pixels and the place inside it.  Two prompts share keys and values as far as their
signatures agree.  Entries refer to the caches of answers already made (no copy is taken to keep them);
a hit copies the shared part into a cache of its own.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray

from seatrial.vision.kv import KvCache
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
    """Caches of lately seen prompts within `memory_limit` bytes (0 keeps none); the least recently used goes first."""

    def __init__(self, memory_limit: int) -> None:
        self.memory_limit = memory_limit
        self._entries: OrderedDict[int, tuple[Signature, KvCache]] = OrderedDict()
        self._lock = threading.Lock()

    def start(self, signature: Signature, cache: KvCache) -> int:
        """Fill the empty `cache` with the longest known beginning of `signature` [S]; return its length.

        At least one position is left to compute, because its scores are wanted.
        """
        with self._lock:
            lengths = {key: _shared(signature, known) for key, (known, _) in self._entries.items()}
            best = max(lengths, key=lambda key: lengths[key], default=None)
            if best is None:
                return 0
            length = min(lengths[best], len(signature) - 1)
            if length < _SHORTEST:
                return 0
            self._entries.move_to_end(best)
            _, source = self._entries[best]
        cache.copy_from(source, length)
        return length

    def keep(self, signature: Signature, cache: KvCache) -> None:
        """Remember that the first len(signature) positions of `cache` belong to `signature` [S]."""
        if cache.nbytes > self.memory_limit:
            return
        with self._lock:
            self._entries[id(cache)] = (signature, cache)
            self._entries.move_to_end(id(cache))
            while sum(kept.nbytes for _, kept in self._entries.values()) > self.memory_limit:
                self._entries.popitem(last=False)


def _shared(one: Signature, other: Signature) -> int:
    """How many positions agree from the start."""
    length = min(len(one), len(other))
    differs = np.flatnonzero(one[:length] != other[:length])
    return int(differs[0]) if len(differs) else length
