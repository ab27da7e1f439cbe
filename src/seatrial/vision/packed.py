"""Packed weights, kept: a model that was packed once is mapped, not packed, when it is opened again.

One file for each (model, precision, instruction set, version of the layouts), mapped read-only, so that
processes share its memory.  It is written whole or not at all, by one process while others wait, and its
checksum is compared when it is opened; a damaged file is packed again.  A model is told by its tensors'
names and shapes, its files' sizes and times, and a sample of every tensor.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from seatrial import paths
from seatrial.errors import StorageError
from seatrial.vision.ops.protocol import Linear, Ops, PackedParts, Precision
from seatrial.vision.shelf import CacheUse, Shelf

_FORMAT = 1
_MAGIC = b"SEATPACK"
_ALIGNMENT = 4096
_SUFFIX = ".packed"
_TRAILER_BYTES = 8 + hashlib.sha256().digest_size + len(_MAGIC)


class LinearSource(Protocol):
    """Where towers get their matrices from."""

    checked: bool
    """Whether the checkpoint's numbers were found to be finite before."""

    def linear(self, name: str, pack: Callable[[], Linear]) -> Linear:
        """Return the matrix called `name`; `pack` makes it from the checkpoint."""
        ...


class Fresh:
    """Packs every matrix anew."""

    checked = False

    def linear(self, name: str, pack: Callable[[], Linear]) -> Linear:
        """Pack it."""
        return pack()


class PackedFile:
    """A file of packed matrices, mapped.  Raises ValueError, with the reason, when it is not whole.

    File: matrices at multiples of 4,096 bytes, then JSON, then the JSON's length (8 bytes), its SHA-256, a mark.
    """

    checked = True

    def __init__(self, path: Path, ops: Ops) -> None:
        self._ops = ops
        with path.open("rb") as stream:
            mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        trailer = mapped[-_TRAILER_BYTES:]
        length = int.from_bytes(trailer[:8], "little")
        end = len(mapped) - _TRAILER_BYTES
        index = mapped[max(end - length, 0) : end]
        if trailer[-len(_MAGIC) :] != _MAGIC or hashlib.sha256(index).digest() != trailer[8 : -len(_MAGIC)]:
            raise ValueError("its end is not that of a packed model")
        self._index: dict[str, Any] = json.loads(index)
        self._bytes = np.frombuffer(mapped, np.uint8, count=end - length)
        if ops.checksum(self._bytes) != self._index["checksum"]:
            raise ValueError("its checksum is wrong")

    @property
    def facts(self) -> dict[str, str]:
        """What was noted when it was written."""
        facts: dict[str, str] = self._index["facts"]
        return facts

    def linear(self, name: str, pack: Callable[[], Linear]) -> Linear:
        """Return the matrix called `name`, its memory that of the file."""
        entry = self._index["linears"][name]
        arrays = tuple(self._bytes[start : start + size] for start, size in entry["arrays"])
        return self._ops.restore(PackedParts(tuple(entry["numbers"]), arrays))


@dataclass(frozen=True)
class _Written:
    """Stands for a matrix that went to the file: it has sizes but cannot multiply."""

    out_features: int
    in_features: int
    precision: Precision
    nbytes: int


class _Writer:
    """Packs matrices one after another into `stream`, holding no more than one."""

    checked = False

    def __init__(self, stream: BinaryIO, ops: Ops) -> None:
        self._stream = stream
        self._ops = ops
        self._linears: dict[str, Any] = {}

    def linear(self, name: str, pack: Callable[[], Linear]) -> Linear:
        linear = pack()
        parts = self._ops.parts(linear)
        self._linears[name] = {"numbers": parts.numbers, "arrays": [self._put(array) for array in parts.arrays]}
        return _Written(linear.out_features, linear.in_features, linear.precision, linear.nbytes)

    def _put(self, array: NDArray[np.uint8]) -> tuple[int, int]:
        self._stream.write(bytes(-self._stream.tell() % _ALIGNMENT))
        start = self._stream.tell()
        self._stream.write(array.data)
        return start, array.size

    def finish(self, facts: dict[str, str]) -> None:
        self._stream.flush()
        written = np.frombuffer(mmap.mmap(self._stream.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)
        index = {"linears": self._linears, "facts": facts, "checksum": self._ops.checksum(written)}
        content = json.dumps(index).encode()
        self._stream.write(content + len(content).to_bytes(8, "little") + hashlib.sha256(content).digest() + _MAGIC)


class PackedCache:
    """Packed models within `disk_limit` bytes (0 keeps none); the least recently used go first.

    Models below `least_bytes` are packed faster than a file is worth.  `note` gets a sentence when something is
    amiss that does not matter to the answer.
    """

    def __init__(
        self,
        *,
        disk_limit: int = 2**34,
        least_bytes: int = 2**26,
        folder: Path | None = None,
        note: Callable[[str], None] = lambda _line: None,
    ) -> None:
        self.disk_limit = disk_limit
        self.least_bytes = least_bytes
        self.folder = folder or paths.cache() / "packed"
        self.note = note
        self._shelf = Shelf(self.folder, _SUFFIX)

    def open(
        self, name: str, identity: str, size: int, ops: Ops, build: Callable[[LinearSource], dict[str, str]]
    ) -> PackedFile | Fresh:
        """Return the packed model called `name`, of `size` bytes as stored, packing it first where there is none.

        `identity` says everything that its bytes depend on; `build` packs every matrix from the source it is
        given and returns facts to note.  Where nothing can be kept, everything is packed fresh.
        """
        if not self.disk_limit or size < self.least_bytes or not ops.keeps_packed:
            return Fresh()
        key = hashlib.sha256(f"{_FORMAT} {ops.layout} {identity}".encode()).hexdigest()[:24]
        path = self.folder / f"{name}-{key}{_SUFFIX}"
        found = self._read(path, ops)
        if found:
            return found
        try:
            with paths.locked(path.with_suffix(".lock")):  # another process may be packing the same
                found = self._read(path, ops)
                if not found:
                    self._write(path, ops, build)
                    found = self._read(path, ops)
        except StorageError as problem:
            self.note(f"Packed weights are not kept: {problem.message}")
        return found or Fresh()

    def _read(self, path: Path, ops: Ops) -> PackedFile | None:
        try:
            found = PackedFile(path, ops)
            os.utime(path)  # the least recently used go first
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as problem:
            self.note(f"{path} is damaged ({problem}); the model is packed again.")
            path.unlink(missing_ok=True)
            return None
        return found

    def _write(self, path: Path, ops: Ops, build: Callable[[LinearSource], dict[str, str]]) -> None:
        with paths.atomic_write(path) as stream:
            writer = _Writer(stream, ops)
            writer.finish(build(writer))
        if self.use().bytes > self.disk_limit:
            self.prune(self.disk_limit)

    def use(self) -> CacheUse:
        """Return how many models there are and what they take."""
        return self._shelf.use()

    def prune(self, keep_bytes: int = 0) -> CacheUse:
        """Remove the least recently used models until at most `keep_bytes` are left; return what was removed."""
        return self._shelf.prune(keep_bytes)
