"""The GGUF container, read and written: typed metadata, a table of tensors, their data, all little-endian.

The reader is our own because tensors must stay mapped and a damaged file must end in one sentence.
Source: ggml, `docs/gguf.md`, versions 2 and 3.
"""

from __future__ import annotations

import itertools
import math
import mmap
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from seatrial.errors import WeightsError
from seatrial.vision.gguf.blocks import TYPES, BlockType, dequantise
from seatrial.vision.weights import StoredTensor

MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_ALIGNMENT = 32
_MOST_DIMENSIONS = 4
_BOOL, _STRING, _ARRAY, _UINT32, _INT32, _FLOAT32 = 7, 8, 9, 4, 5, 6
_SCALARS = {0: "<u1", 1: "<i1", 2: "<u2", 3: "<i2", 4: "<u4", 5: "<i4", 6: "<f4", 7: "?", 10: "<u8", 11: "<i8",
            12: "<f8"}  # fmt: skip
_BY_CODE = {kind.code: kind for kind in TYPES.values()}
_OTHERS = {10: "Q2_K", 11: "Q3_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S", 20: "IQ4_NL", 21: "IQ3_S",
           22: "IQ2_S", 23: "IQ4_XS", 29: "IQ1_M", 34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4"}  # fmt: skip
_FETCH = "Fetch or convert the file again."


@dataclass(frozen=True)
class GgufTensor(StoredTensor):
    """One tensor of a GGUF file; `data` [N, bytes] are its blocks, or the numbers of a plain type.

    `heads` > 0: the rows of each head are a rotation's pairs side by side, and are read as two halves.
    """

    kind: BlockType
    dims: tuple[int, ...]
    heads: int = 0

    @property
    def shape(self) -> tuple[int, ...]:
        """Axes as NumPy orders them, the fastest last."""
        return self.dims

    def values(self) -> NDArray[Any]:
        """Return the numbers [shape]: float32, float16 or bfloat16 bits (uint16)."""
        x = self.data if self.kind.plain is not None else dequantise(self.kind, self.data)
        x = x.reshape(self.dims)
        return halves_of_pairs(x, self.heads) if self.heads else x


def halves_of_pairs(x: NDArray[Any], heads: int) -> NDArray[Any]:
    """Reorder rows [heads · D, …] from pairs of a rotation side by side to its two halves, head by head."""
    return np.ascontiguousarray(x.reshape(heads, -1, 2, *x.shape[1:]).swapaxes(1, 2)).reshape(x.shape)


def pairs_of_halves(x: NDArray[Any], heads: int) -> NDArray[Any]:
    """Undo `halves_of_pairs`: rows [heads · D, …] as llama.cpp rotates them."""
    return np.ascontiguousarray(x.reshape(heads, 2, -1, *x.shape[1:]).swapaxes(1, 2)).reshape(x.shape)


@dataclass(frozen=True)
class GgufFile:
    """A file whose data is mapped; names as in the file."""

    path: Path
    metadata: Mapping[str, Any]
    tensors: Mapping[str, GgufTensor]


class _Truncated(Exception):
    """A read went past the end."""


class _Cursor:
    """Reads little-endian values one after another."""

    def __init__(self, mapped: mmap.mmap) -> None:
        self.mapped = mapped
        self.at = 0

    def take(self, count: int) -> bytes:
        end = self.at + count
        if end > len(self.mapped):
            raise _Truncated
        content = self.mapped[self.at : end]
        self.at = end
        return content

    def whole(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def string(self) -> str:
        return self.take(self.whole(8)).decode("utf-8")

    def value(self, code: int) -> Any:
        if code == _STRING:
            return self.string()
        if code in _SCALARS:
            return np.frombuffer(self.take(np.dtype(_SCALARS[code]).itemsize), _SCALARS[code])[0].item()
        if code != _ARRAY:
            raise ValueError(f"unknown value type {code}")
        item, count = self.whole(4), self.whole(8)
        if item == _STRING:
            return [self.string() for _ in range(count)]
        if item not in _SCALARS:
            raise ValueError(f"unknown value type {item} in an array")
        return np.frombuffer(self.take(count * np.dtype(_SCALARS[item]).itemsize), _SCALARS[item]).tolist()


def is_gguf(path: Path) -> bool:
    """Say whether the file begins as a GGUF file does."""
    try:
        with path.open("rb") as stream:
            return stream.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def read_gguf(path: Path) -> GgufFile:
    """Map the GGUF file at `path`.

    Raises WeightsError when it is missing, truncated, of another kind or version, or lies about its data.
    """
    try:
        with path.open("rb") as stream:
            mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as problem:
        raise WeightsError(f"{path} cannot be opened: {problem.strerror or problem}.", path=path) from problem
    except ValueError as problem:  # an empty file cannot be mapped
        raise WeightsError(f"{path} is empty.", path=path) from problem
    cursor = _Cursor(mapped)
    try:
        return _read(path, cursor)
    except _Truncated:
        raise WeightsError(
            f"{path} is truncated: its header goes on past its {len(mapped):,} bytes.", hint=_FETCH, path=path
        ) from None
    except (ValueError, OverflowError) as problem:
        raise WeightsError(f"{path} is damaged at byte {cursor.at:,}: {problem}.", hint=_FETCH, path=path) from problem


def _read(path: Path, cursor: _Cursor) -> GgufFile:
    magic = cursor.mapped[: len(MAGIC)]
    if magic != MAGIC:
        raise WeightsError(f"{path} is not a GGUF file: it begins with {bytes(magic)!r}, not {MAGIC!r}.", path=path)
    cursor.take(len(MAGIC))
    version = cursor.whole(4)
    if version not in _VERSIONS:
        raise WeightsError(
            f"{path} is a GGUF file of version {version}, which is not supported.",
            hint=f"Supported: {', '.join(map(str, _VERSIONS))}, little-endian.",
            path=path,
        )
    tensor_count, value_count = cursor.whole(8), cursor.whole(8)
    metadata: dict[str, Any] = {}
    for _ in range(value_count):
        key = cursor.string()
        metadata[key] = cursor.value(cursor.whole(4))
    infos = []
    for _ in range(tensor_count):
        name, dimensions = cursor.string(), cursor.whole(4)
        if dimensions > _MOST_DIMENSIONS:
            raise ValueError(f"tensor {name} has {dimensions} dimensions")
        dims = tuple(cursor.whole(8) for _ in range(dimensions))[::-1]
        infos.append((name, dims, cursor.whole(4), cursor.whole(8)))
    alignment = metadata.get("general.alignment", _ALIGNMENT)
    if type(alignment) is not int or alignment <= 0:
        raise ValueError(f"general.alignment is {alignment!r}")
    start = -(-cursor.at // alignment) * alignment
    placed = [_place(path, cursor.mapped, start, *info) for info in infos]
    spans = sorted(span for _, _, span in placed)
    if any(left[1] > right[0] for left, right in itertools.pairwise(spans)):
        raise WeightsError(f"{path}: two tensors overlap.", path=path)
    tensors = {name: tensor for name, tensor, _ in placed}
    if len(tensors) < len(placed):
        raise WeightsError(f"{path}: two tensors have the same name.", path=path)
    return GgufFile(path, metadata, tensors)


def _place(
    path: Path, mapped: mmap.mmap, start: int, name: str, dims: tuple[int, ...], code: int, offset: int
) -> tuple[str, GgufTensor, tuple[int, int]]:
    kind = _BY_CODE.get(code)
    if kind is None:
        raise WeightsError(
            f"{path}: tensor {name} has type {_OTHERS.get(code, code)}, which is not supported.",
            hint=f"Supported: {', '.join(TYPES)}.",
            path=path,
        )
    count = math.prod(dims)
    if not dims or dims[-1] % kind.size:
        raise WeightsError(f"{path}: tensor {name} has rows {list(dims)} that {kind.name} cannot hold.", path=path)
    size = count // kind.size * kind.bytes
    begin, end = start + offset, start + offset + size
    if end > len(mapped):
        raise WeightsError(
            f"{path} is truncated: tensor {name} ends at byte {end:,}, the file has {len(mapped):,}.",
            hint=_FETCH,
            path=path,
        )
    if kind.plain is not None:
        data = np.frombuffer(mapped, kind.plain, count=count, offset=begin) if count else np.empty(0, kind.plain)
    else:
        data = np.frombuffer(mapped, np.uint8, count=size, offset=begin).reshape(-1, kind.bytes)
    return name, GgufTensor(kind.name, data, path, kind, dims), (begin, end)


@dataclass(frozen=True)
class Planned:
    """A tensor to write: its axes as NumPy orders them, its type, and what makes its bytes when it is due."""

    name: str
    dims: tuple[int, ...]
    kind: BlockType
    make: Callable[[], NDArray[Any]]

    @property
    def size(self) -> int:
        """Bytes in the file."""
        return math.prod(self.dims) // self.kind.size * self.kind.bytes


def write_gguf(
    stream: BinaryIO, metadata: Mapping[str, Any], tensors: Sequence[Planned], written: Callable[[], None]
) -> None:
    """Write a whole file of version 3; `written` is called after each tensor.

    Values may be bool, int (unsigned, 32 bits), float, str, or lists of int (32 bits), float or str.
    """
    parts = [MAGIC, struct.pack("<IQQ", 3, len(tensors), len(metadata))]
    for key, value in metadata.items():
        parts += [_string(key), _typed(value)]
    offset = 0
    for tensor in tensors:
        dims = tensor.dims[::-1]
        parts.append(_string(tensor.name))
        parts.append(struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, tensor.kind.code, offset))
        offset = _aligned(offset + tensor.size)
    header = b"".join(parts)
    stream.write(header.ljust(_aligned(len(header)), b"\0"))
    for tensor in tensors:
        data = np.ascontiguousarray(tensor.make())
        assert data.nbytes == tensor.size, tensor.name
        stream.write(data.data)
        stream.write(bytes(_aligned(tensor.size) - tensor.size))
        written()


def _aligned(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT


def _string(text: str) -> bytes:
    content = text.encode("utf-8")
    return struct.pack("<Q", len(content)) + content


def _typed(value: Any) -> bytes:
    if isinstance(value, bool):
        return struct.pack("<I?", _BOOL, value)
    if isinstance(value, int):
        return struct.pack("<II", _UINT32, value)
    if isinstance(value, float):
        return struct.pack("<If", _FLOAT32, value)
    if isinstance(value, str):
        return struct.pack("<I", _STRING) + _string(value)
    item, form = next(
        (code, form)
        for kind, code, form in ((str, _STRING, ""), (int, _INT32, "<i4"), (float, _FLOAT32, "<f4"))
        if isinstance(value[0], kind)
    )
    content = np.asarray(value, form).tobytes() if form else b"".join(map(_string, value))
    return struct.pack("<IIQ", _ARRAY, item, len(value)) + content
