"""Features of tiles, kept: a tile that was seen before costs no vision.

The tower looks at each tile alone, so its output depends on nothing but the tile's pixels, the
weights, the precision and the instruction set; a hash of these is the key, and what comes back is
what would have been computed, bit for bit.  Kept in memory (least recently used goes first) and in
files with a checksum; a damaged or torn file is computed again.  Does not protect against someone
who can write in Seatrial's own cache folder.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from seatrial import paths
from seatrial.errors import StorageError
from seatrial.vision.ops.protocol import Array
from seatrial.vision.shelf import CacheUse, Shelf

_DIGEST_BYTES = 32
_SUFFIX = ".features"
_PRUNE_TO = 0.8  # a full cache is emptied to this share, so that not every write has to prune


class FeatureCache:
    """Features [T, hidden] float32 by key, within `memory_limit` and `disk_limit` bytes (0 switches off)."""

    def __init__(self, *, memory_limit: int, disk_limit: int, folder: Path | None = None) -> None:
        self.memory_limit = memory_limit
        self.disk_limit = disk_limit
        self.folder = folder or paths.cache() / "features"
        self._shelf = Shelf(self.folder, _SUFFIX)
        self._memory: OrderedDict[str, Array] = OrderedDict()
        self._memory_bytes = 0
        self._lock = threading.Lock()
        self._disk_bytes: int | None = None  # counted at the first write

    @property
    def is_off(self) -> bool:
        """Whether nothing is kept."""
        return not (self.memory_limit or self.disk_limit)

    def encode(
        self, tiles: NDArray[np.uint8], fingerprint: str, compute: Callable[[NDArray[np.uint8]], Array]
    ) -> tuple[Array, int]:
        """Return features [N, T, hidden] of `tiles` [N, side, side, 3] uint8, and how many were not computed.

        `compute` is called once with the tiles that are neither kept nor equal to an earlier one of these.
        """
        keys = [self._key(tile, fingerprint) for tile in tiles]
        known: dict[str, Array] = {}
        missing: dict[str, int] = {}
        for index, key in enumerate(keys):
            if key not in known and key not in missing:
                kept = self._get(key)
                if kept is None:
                    missing[key] = index
                else:
                    known[key] = kept
        if missing:
            for key, value in zip(missing, compute(tiles[list(missing.values())]), strict=True):
                known[key] = value
                self._put(key, value)
        return np.stack([known[key] for key in keys]), len(keys) - len(missing)

    def _key(self, tile: NDArray[np.uint8], fingerprint: str) -> str:
        digest = hashlib.sha256(fingerprint.encode())
        digest.update(np.ascontiguousarray(tile).data)
        return digest.hexdigest()

    def _get(self, key: str) -> Array | None:
        with self._lock:
            if key in self._memory:
                self._memory.move_to_end(key)
                return self._memory[key]
        value = self._read(key) if self.disk_limit else None
        if value is not None:
            self._remember(key, value)
        return value

    def _put(self, key: str, value: Array) -> None:
        self._remember(key, value)
        if self.disk_limit:
            try:
                self._write(key, value)
            except StorageError:
                self.disk_limit = 0  # a cache that cannot be written is no reason to withhold an answer

    def _remember(self, key: str, value: Array) -> None:
        with self._lock:
            if value.nbytes > self.memory_limit or key in self._memory:
                return
            self._memory[key] = value
            self._memory_bytes += value.nbytes
            while self._memory_bytes > self.memory_limit:
                _, oldest = self._memory.popitem(last=False)
                self._memory_bytes -= oldest.nbytes

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}{_SUFFIX}"

    def _read(self, key: str) -> Array | None:
        """Files: SHA-256 of the rest, rows and columns as 4 bytes each, then float32 values."""
        path = self._path(key)
        try:
            content = path.read_bytes()
            digest, rest = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
            if hashlib.sha256(rest).digest() != digest:
                path.unlink(missing_ok=True)
                return None
            path.touch()  # the least recently used files go first
        except OSError:
            return None
        rows, columns = (int.from_bytes(rest[at : at + 4], "little") for at in (0, 4))
        return np.frombuffer(rest, np.float32, offset=8).reshape(rows, columns)

    def _write(self, key: str, value: Array) -> None:
        rest = b"".join(side.to_bytes(4, "little") for side in value.shape) + value.tobytes()
        content = hashlib.sha256(rest).digest() + rest
        with paths.atomic_write(self._path(key)) as stream:
            stream.write(content)
        self._disk_bytes = self.use().bytes if self._disk_bytes is None else self._disk_bytes + len(content)
        if self._disk_bytes > self.disk_limit:
            self.prune(int(self.disk_limit * _PRUNE_TO))

    def use(self) -> CacheUse:
        """Return how many files there are and what they take."""
        return self._shelf.use()

    def prune(self, keep_bytes: int = 0) -> CacheUse:
        """Remove the least recently used files until at most `keep_bytes` are left; return what was removed."""
        removed = self._shelf.prune(keep_bytes)
        self._disk_bytes = None  # counted again at the next write
        return removed
