"""A census of a pack before git reads it: how many objects, and how large they would become.

A pack states the size of each object, and each delta the size of its result, so a bomb shows before anything large
is inflated.  Whether the objects are *sound* is git's to say afterwards.
"""

from __future__ import annotations

import mmap
import zlib
from dataclasses import dataclass
from pathlib import Path

from seatrial.errors import RelayError

_COMMIT, _TREE, _BLOB, _TAG, _OFFSET_DELTA, _REF_DELTA = 1, 2, 3, 4, 6, 7
_STEP = 1 << 20


@dataclass(frozen=True)
class Limits:
    """What one hand-over of an agent may contain; sizes in bytes."""

    pack_bytes: int = 1 << 30
    objects: int = 1_000_000
    object_bytes: int = 256 << 20
    inflated_bytes: int = 4 << 30
    new_files: int = 500_000
    """Files that a tree may have beyond those of the base."""
    depth: int = 128
    """Folders within folders."""
    path_bytes: int = 4_000
    commits: int = 20_000
    tips: int = 64
    seconds: float = 300.0
    memory_bytes: int = 2 << 30


@dataclass(frozen=True)
class Census:
    """What a pack holds: objects, and the bytes of all of them when inflated and undeltified."""

    objects: int
    inflated_bytes: int


def take_census(path: Path, hash_bytes: int, limits: Limits) -> Census:
    """Walk through a pack, inflating in small steps, and return its census.

    Raises RelayError if it is not a pack, is torn, or goes beyond `limits`.  Does not check the objects, their names
    or the pack's own checksum.
    """
    size = path.stat().st_size
    if size > limits.pack_bytes:
        raise RelayError(f"The agent's pack has {size} bytes; {limits.pack_bytes} are allowed.")
    if size < 12 + hash_bytes:
        raise RelayError("The agent's pack is torn: it is shorter than an empty one.")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if data[:4] != b"PACK" or int.from_bytes(data[4:8], "big") not in (2, 3):
            raise RelayError("What the agent handed over is not a pack of git.")
        count = int.from_bytes(data[8:12], "big")
        if count > limits.objects:
            raise RelayError(f"The agent's pack has {count} objects; {limits.objects} are allowed.")
        at, total, end = 12, 0, size - hash_bytes
        for _ in range(count):
            at, grown = _entry(data, at, end, hash_bytes, limits)
            total += grown
            if total > limits.inflated_bytes:
                raise RelayError(f"The agent's pack inflates to more than {limits.inflated_bytes} bytes.")
        if at != end:
            raise RelayError("The agent's pack holds more than the objects it announces.")
    return Census(count, total)


def _entry(data: mmap.mmap, at: int, end: int, hash_bytes: int, limits: Limits) -> tuple[int, int]:
    """Return where the entry after this one begins, and the size of this object."""
    byte = _byte(data, at, end)
    at += 1
    kind, size, shift = byte >> 4 & 7, byte & 15, 4
    while byte & 0x80:
        byte = _byte(data, at, end)
        at += 1
        size |= (byte & 0x7F) << shift
        shift += 7
        _short(shift)
    if kind not in (_COMMIT, _TREE, _BLOB, _TAG, _OFFSET_DELTA, _REF_DELTA):
        raise RelayError(f"The agent's pack holds an object of an unknown kind ({kind}).")
    _allow(size, limits)
    if kind == _REF_DELTA:
        at += hash_bytes
    elif kind == _OFFSET_DELTA:
        start = at
        while _byte(data, at, end) & 0x80:
            at += 1
            _short(7 * (at - start))
        at += 1
    at, head = _inflate(data, at, end, size)
    if kind in (_OFFSET_DELTA, _REF_DELTA):
        _, after = _length(head, 0)
        size, _ = _length(head, after)
        _allow(size, limits)
    return at, size


def _inflate(data: mmap.mmap, at: int, end: int, size: int) -> tuple[int, bytes]:
    """Return where a deflated stream of `size` bytes ends, and the first bytes that come out."""
    stream, produced, head, pending = zlib.decompressobj(), 0, b"", b""
    step = min(size + 64, _STEP)
    try:
        while not stream.eof:
            if not pending:
                pending = data[at : min(at + step, end)]
                at += len(pending)
                step = min(2 * step, _STEP)
                if not pending:
                    raise RelayError("The agent's pack is torn: its last object ends too early.")
            out = stream.decompress(pending, _STEP)
            pending = stream.unconsumed_tail
            head = head or out[:32]
            produced += len(out)
            if produced > size:
                raise RelayError("The agent's pack holds an object larger than it says.")
    except zlib.error as error:
        raise RelayError("The agent's pack is damaged: an object cannot be inflated.") from error
    if produced != size:
        raise RelayError("The agent's pack holds an object smaller than it says.")
    return at - len(stream.unused_data), head


def _length(head: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(head):
            raise RelayError("The agent's pack is damaged: a delta has no sizes.")
        byte = head[at]
        value |= (byte & 0x7F) << shift
        shift, at = shift + 7, at + 1
        _short(shift)
        if not byte & 0x80:
            return value, at


def _short(bits: int) -> None:
    if bits > 70:  # nobody's number; reading on would take time that grows with the square of the pack
        raise RelayError("The agent's pack is damaged: a number in it does not end.")


def _byte(data: mmap.mmap, at: int, end: int) -> int:
    if at >= end:
        raise RelayError("The agent's pack is torn: an object is missing.")
    return data[at]


def _allow(size: int, limits: Limits) -> None:
    if size > limits.object_bytes:
        raise RelayError(f"The agent's pack holds an object of {size} bytes; {limits.object_bytes} are allowed.")
