"""Weights from safetensors files: mapped, checked, never trusted.

The reader is our own because tensors must stay mapped, bfloat16 must survive in NumPy (as raw bits),
and a damaged header must end in one sentence.  Format: 8 bytes little-endian header length, a JSON
header {name: {dtype, shape, data_offsets}}, then the data.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import mmap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seatrial.errors import WeightsError
from seatrial.vision.ops.bfloat16 import as_f32

_DTYPES: dict[str, np.dtype[Any]] = {
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),  # raw bits; NumPy has no bfloat16
    "I8": np.dtype("i1"),
}
_MAX_HEADER_BYTES = 100_000_000


@dataclass(frozen=True)
class StoredTensor:
    """One tensor as it lies in a file; `data` is a read-only view of the mapped bytes."""

    dtype: str
    data: NDArray[Any]
    file: Path

    @property
    def shape(self) -> tuple[int, ...]:
        """Axes of the tensor."""
        return self.data.shape

    def values(self) -> NDArray[Any]:
        """Return the numbers [shape] as stored; types kept in blocks are widened to float32."""
        return self.data


class Weights:
    """All tensors of a checkpoint by name.

    Tensors compressed to int8 with one scale per output row (`X.weight` I8 and `X.weight_scale`, the
    compressed-tensors "int-quantized" layout) are widened when read.
    """

    def __init__(self, tensors: Mapping[str, StoredTensor], folder: Path) -> None:
        self._tensors = tensors
        self.folder = folder

    def fingerprint(self, *prefixes: str) -> str:
        """Return the SHA-256 of every tensor whose name begins with one of `prefixes`: names, shapes, bytes."""
        digest = hashlib.sha256()
        for name in sorted(name for name in self._tensors if name.startswith(prefixes)):
            tensor = self._tensors[name]
            digest.update(f"{name} {tensor.dtype} {tensor.shape}\n".encode())
            digest.update(tensor.data.data)
        return digest.hexdigest()

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors as stored."""
        return sum(tensor.data.nbytes for tensor in self._tensors.values())

    def identity(self) -> str:
        """Return a hash that tells these weights from others without reading them whole.

        Of every tensor: name, type, shape and its first bytes; of every file: size and time of change.
        """
        digest = hashlib.sha256()
        for name, tensor in self._tensors.items():
            digest.update(f"{name} {tensor.dtype} {tensor.shape}\n".encode())
            digest.update(np.ascontiguousarray(tensor.data.reshape(-1)[:64]).tobytes())
        for file in sorted({tensor.file for tensor in self._tensors.values()}):
            status = file.stat()
            digest.update(f"{status.st_size} {status.st_mtime_ns}\n".encode())
        return digest.hexdigest()

    def names(self) -> Iterator[str]:
        """Yield the stored names in file order."""
        yield from self._tensors

    def stored(self, name: str) -> StoredTensor:
        """Return one tensor unread; WeightsError when it is missing."""
        if name not in self._tensors:
            raise WeightsError(f"{self.folder}: tensor {name} is missing.", tensor=name, path=self.folder)
        return self._tensors[name]

    def has(self, name: str) -> bool:
        """Say whether a tensor of this name is stored."""
        return name in self._tensors

    def matrix(self, name: str, shape: tuple[int, ...], *, checked: bool = False) -> NDArray[Any]:
        """Return `name` with `shape` as float32, float16 or raw bfloat16 bits (uint16), finite.

        Raises WeightsError when it is missing, has another shape, or (unless that was `checked` before, since it
        reads every number) holds NaN or infinity.
        """
        tensor = self.stored(name)
        if tensor.shape != shape:
            raise WeightsError(
                f"{tensor.file}: tensor {name} has shape {list(tensor.shape)}, expected {list(shape)}.",
                tensor=name,
                path=tensor.file,
            )
        data = tensor.values()
        if tensor.dtype == "I8":
            data = data.astype(np.float32) * self.array(f"{name}_scale", (shape[0], 1))
        if not checked and not _all_finite(data):
            raise WeightsError(f"{tensor.file}: tensor {name} holds NaN or infinity.", tensor=name, path=tensor.file)
        return data

    def array(self, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Return `name` with `shape`, widened to float32; same errors as `matrix`."""
        return as_f32(self.matrix(name, shape))


def load_weights(folder: Path) -> Weights:
    """Map the weights of the checkpoint in `folder`: a sharded index, or every *.safetensors there.

    Raises WeightsError for missing, truncated or lying files.
    """
    index = folder / "model.safetensors.index.json"
    sharded = index.is_file()
    files = [folder / name for name in _shards(index)] if sharded else sorted(folder.glob("*.safetensors"))
    if not files:
        raise WeightsError(f"{folder} holds no *.safetensors file.", path=folder)
    tensors: dict[str, StoredTensor] = {}
    for file in files:
        for name, tensor in _read_file(file).items():
            if name in tensors:
                raise WeightsError(f"{file}: tensor {name} is also in {tensors[name].file}.", path=file)
            tensors[name] = tensor
    return Weights(tensors, folder)


def _shards(index: Path) -> list[str]:
    try:
        weight_map = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        names = sorted(set(weight_map.values()))
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as problem:
        raise WeightsError(f"{index} cannot be read: {problem!r}.", path=index) from problem
    if any(not isinstance(name, str) or Path(name).name != name for name in names):
        raise WeightsError(f"{index} names a file outside its folder.", path=index)
    return names


def _read_file(file: Path) -> dict[str, StoredTensor]:
    try:
        with file.open("rb") as stream:
            mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as problem:
        raise WeightsError(f"{file} cannot be opened: {problem}.", path=file) from problem
    header, start = _header(file, mapped)
    tensors: dict[str, StoredTensor] = {}
    spans: list[tuple[int, int]] = []
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        tensor, span = _tensor(file, mapped, start, name, entry)
        tensors[name] = tensor
        spans.append(span)
    spans.sort()
    if any(left[1] > right[0] for left, right in itertools.pairwise(spans)):
        raise WeightsError(f"{file}: two tensors overlap.", path=file)
    return tensors


def _header(file: Path, mapped: mmap.mmap) -> tuple[dict[str, Any], int]:
    length = int.from_bytes(mapped[:8], "little")
    if len(mapped) < 8 or length > min(_MAX_HEADER_BYTES, len(mapped) - 8):
        raise WeightsError(
            f"{file} is truncated or not a safetensors file: its header says {length} bytes, the file has"
            f" {len(mapped)}.",
            hint="Fetch the model again (seatrial see pull).",
            path=file,
        )
    try:
        header = json.loads(mapped[8 : 8 + length])
    except (ValueError, RecursionError) as problem:
        raise WeightsError(f"{file}: the header is not JSON: {problem}.", path=file) from problem
    if not isinstance(header, dict):
        raise WeightsError(f"{file}: the header must be a JSON object.", path=file)
    return header, 8 + length


def _tensor(file: Path, mapped: mmap.mmap, start: int, name: str, entry: Any) -> tuple[StoredTensor, tuple[int, int]]:
    try:
        dtype_name, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
        numbers = [*shape, begin, end]
        if not all(type(number) is int and number >= 0 for number in numbers):
            raise ValueError("sizes must be whole numbers")
    except (KeyError, TypeError, ValueError) as problem:
        raise WeightsError(f"{file}: the header entry of {name!r} is malformed: {problem}.", path=file) from problem
    if dtype_name not in _DTYPES:
        raise WeightsError(
            f"{file}: tensor {name} has type {dtype_name}, which is not supported.",
            hint=f"Supported: {', '.join(_DTYPES)}.",
            path=file,
        )
    dtype = _DTYPES[dtype_name]
    if end - begin != math.prod(shape) * dtype.itemsize:
        raise WeightsError(f"{file}: tensor {name} says {end - begin} bytes, its shape {shape} needs another number.")
    if start + end > len(mapped):
        raise WeightsError(
            f"{file} is truncated: tensor {name} ends at byte {start + end}, the file has {len(mapped)}.",
            hint="Fetch the model again (seatrial see pull).",
            path=file,
        )
    count = math.prod(shape)
    data = np.frombuffer(mapped, dtype, count=count, offset=start + begin) if count else np.empty(0, dtype)
    return StoredTensor(dtype_name, data.reshape(shape), file), (begin, end)


def _all_finite(data: NDArray[Any]) -> bool:
    if data.dtype == np.uint16:  # bfloat16 bits: an exponent of all ones is NaN or infinity
        return data.size == 0 or bool(np.bitwise_and(data, 0x7FFF).max() < 0x7F80)
    with np.errstate(all="ignore"):
        if np.isfinite(np.sum(data, dtype=np.float32)):  # a sum is NaN or infinite whenever a term is
            return True
    return bool(np.isfinite(data).all())
