"""The types of numbers in a GGUF file: blocks of whole numbers with scales, to float32 and back.

A row of a tensor is cut into blocks of `size` numbers, each kept in `bytes` bytes.  The definitions are
those of ggml (llama.cpp, `ggml-quants.c`); results equal its own, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seatrial.vision.ops.bfloat16 import as_f32, f32_to_bf16_bits
from seatrial.vision.ops.protocol import Array

Bytes = NDArray[np.uint8]

_CHUNK = 1 << 12  # blocks at a time: what is unpacked stays in a core's cache
_SUPER = 256  # numbers in a block of the K types


@dataclass(frozen=True)
class BlockType:
    """A type; `code` is its number in tensor tables, `file_type` the one for "a file mostly of it".

    `widen` takes blocks [N, bytes] to [N, size]; `quantise` takes [N, size] to [N, bytes], where we write it.
    `plain` is the NumPy type of numbers kept without blocks (uint16 holds bfloat16 bits).
    """

    name: str
    code: int
    size: int
    bytes: int
    file_type: int
    widen: Callable[[Bytes], Array] | None = None
    quantise: Callable[[Array], Bytes] | None = None
    plain: np.dtype[Any] | None = None


def dequantise(kind: BlockType, blocks: Bytes) -> Array:
    """Return the numbers [N, size] float32 of `blocks` [N, bytes]."""
    assert kind.widen
    result = np.empty((len(blocks), kind.size), np.float32)
    with np.errstate(all="ignore"):  # a scale that is no number makes numbers that are none; the reader tells
        for start in range(0, len(blocks), _CHUNK):
            part = slice(start, start + _CHUNK)
            result[part] = kind.widen(blocks[part])
    return result


def encode(kind: BlockType, stored: NDArray[Any]) -> NDArray[Any]:
    """Return `stored` (any shape; float32, float16 or uint16 = bfloat16 bits) in `kind`, ready for a file.

    Plain types keep the shape, block types give [N, bytes].  Numbers above 65,504 become infinite in F16.
    """
    if kind.plain == stored.dtype:
        return stored
    x = as_f32(stored)
    if kind.name == "BF16":
        return f32_to_bf16_bits(x)
    if kind.plain is not None:
        with np.errstate(over="ignore"):
            return x.astype(kind.plain)
    assert kind.quantise
    blocks = x.reshape(-1, kind.size)
    result = np.empty((len(blocks), kind.bytes), np.uint8)
    for start in range(0, len(blocks), _CHUNK):
        part = slice(start, start + _CHUNK)
        result[part] = kind.quantise(blocks[part])
    return result


def _half(blocks: Bytes, at: int) -> Array:
    """Return the float16 at byte `at` of each block as [N, 1]."""
    return np.ascontiguousarray(blocks[:, at : at + 2]).view("<f2").astype(np.float32)


def _halves(*columns: Array) -> Bytes:
    """Return columns [N] as float16 bytes [N, 2 x columns]."""
    with np.errstate(over="ignore"):
        return np.stack(columns, axis=1).astype("<f2").view(np.uint8)


def _nibbles(packed: Bytes) -> Bytes:
    """Return the low nibbles of [N, B], then the high ones: [N, 2B]."""
    return np.concatenate([packed & 15, packed >> 4], axis=1)


def _fifth_bits(blocks: Bytes, at: int) -> Bytes:
    """Return bit j of the 32-bit word at byte `at` as 0 or 16, [N, 32]."""
    bits: Bytes = np.unpackbits(blocks[:, at : at + 4], axis=1, bitorder="little") << np.uint8(4)
    return bits


def _widen_q4_0(blocks: Bytes) -> Array:
    return _half(blocks, 0) * (_nibbles(blocks[:, 2:]).astype(np.float32) - 8)


def _widen_q4_1(blocks: Bytes) -> Array:
    return _half(blocks, 0) * _nibbles(blocks[:, 4:]).astype(np.float32) + _half(blocks, 2)


def _widen_q5_0(blocks: Bytes) -> Array:
    levels = _nibbles(blocks[:, 6:]) | _fifth_bits(blocks, 2)
    return _half(blocks, 0) * (levels.astype(np.float32) - 16)


def _widen_q5_1(blocks: Bytes) -> Array:
    levels = _nibbles(blocks[:, 8:]) | _fifth_bits(blocks, 4)
    return _half(blocks, 0) * levels.astype(np.float32) + _half(blocks, 2)


def _widen_q8_0(blocks: Bytes) -> Array:
    return _half(blocks, 0) * blocks[:, 2:].view(np.int8).astype(np.float32)


def _scales_and_minima(packed: Bytes) -> tuple[Array, Array]:
    """Unpack 12 bytes [N, 12] of a Q4_K or Q5_K block into eight scales and eight minima of six bits, [N, 8, 1]."""
    first, second, rest = packed[:, 0:4], packed[:, 4:8], packed[:, 8:12]
    scales = np.concatenate([first & 63, (rest & 15) | ((first >> 6) << 4)], axis=1)
    minima = np.concatenate([second & 63, (rest >> 4) | ((second >> 6) << 4)], axis=1)
    return scales.astype(np.float32)[:, :, None], minima.astype(np.float32)[:, :, None]


def _widen_q4_k(blocks: Bytes, levels: Bytes | None = None) -> Array:
    """Eight runs of 32 numbers, each with its scale and minimum; runs 2i and 2i + 1 share 32 bytes."""
    scales, minima = _scales_and_minima(blocks[:, 4:16])
    if levels is None:
        levels = _runs_of_nibbles(blocks[:, 16:])
    step, low = _half(blocks, 0)[:, None] * scales, _half(blocks, 2)[:, None] * minima
    return (step * levels.astype(np.float32) - low).reshape(-1, _SUPER)


def _runs_of_nibbles(packed: Bytes) -> Bytes:
    pairs = packed.reshape(-1, 4, 1, 32)
    return np.concatenate([pairs & 15, pairs >> 4], axis=2).reshape(-1, 8, 32)


def _widen_q5_k(blocks: Bytes) -> Array:
    """As Q4_K, with bit i of 32 further bytes as the fifth bit of run i."""
    fifth: Bytes = (blocks[:, None, 16:48] >> np.arange(8, dtype=np.uint8)[:, None]) & np.uint8(1)
    return _widen_q4_k(blocks, _runs_of_nibbles(blocks[:, 48:]) | (fifth << np.uint8(4)))


def _widen_q6_k(blocks: Bytes) -> Array:
    """Two halves of 128 numbers: four runs of 32 from 64 bytes of nibbles and 32 of upper bits; a scale for 16."""
    low = blocks[:, :128].reshape(-1, 2, 1, 2, 32)
    low = np.concatenate([low & 15, low >> 4], axis=2).reshape(-1, 2, 4, 32)
    high = (blocks[:, 128:192].reshape(-1, 2, 1, 32) >> np.array([0, 2, 4, 6], np.uint8)[:, None]) & 3
    levels = (low | (high << 4)).reshape(-1, 16, 16).astype(np.float32) - 32
    scales = blocks[:, 192:208].view(np.int8).astype(np.float32)[:, :, None]
    return (_half(blocks, 208)[:, None] * scales * levels).reshape(-1, _SUPER)


def _inverse(step: Array) -> Array:
    with np.errstate(divide="ignore"):
        return np.where(step == 0, np.float32(0), np.float32(1) / step)[:, None]


def _quantise_q8_0(x: Array) -> Bytes:
    step = np.abs(x).max(axis=1) / np.float32(127)
    scaled = x * _inverse(step)
    levels = np.copysign(np.floor(np.abs(scaled) + np.float32(0.5)), scaled)  # halves away from zero, as ggml does
    return np.concatenate([_halves(step), levels.astype(np.int8).view(np.uint8)], axis=1)


def _from_middle(x: Array, levels: int) -> tuple[Array, Bytes]:
    """Steps [N] and whole numbers [N, 32] where the number of largest magnitude becomes the lowest level."""
    furthest = np.take_along_axis(x, np.abs(x).argmax(axis=1)[:, None], axis=1)[:, 0]
    step = furthest / np.float32(-levels // 2)
    codes = (x * _inverse(step) + np.float32(levels / 2 + 0.5)).astype(np.int8)
    return step, np.minimum(codes, levels - 1).astype(np.uint8)


def _from_lowest(x: Array, levels: int) -> tuple[Array, Array, Bytes]:
    """Steps [N], minima [N] and whole numbers [N, 32] where the least number becomes 0."""
    low = x.min(axis=1)
    step = (x.max(axis=1) - low) / np.float32(levels - 1)
    codes = ((x - low[:, None]) * _inverse(step) + np.float32(0.5)).astype(np.int8)
    return step, low, np.minimum(codes, levels - 1).astype(np.uint8)


def _packed_nibbles(codes: Bytes) -> Bytes:
    packed: Bytes = (codes[:, :16] & np.uint8(15)) | ((codes[:, 16:] & np.uint8(15)) << np.uint8(4))
    return packed


def _packed_fifth_bits(codes: Bytes) -> Bytes:
    return np.packbits(codes >> 4, axis=1, bitorder="little")


def _quantise_q4_0(x: Array) -> Bytes:
    step, codes = _from_middle(x, 16)
    return np.concatenate([_halves(step), _packed_nibbles(codes)], axis=1)


def _quantise_q4_1(x: Array) -> Bytes:
    step, low, codes = _from_lowest(x, 16)
    return np.concatenate([_halves(step, low), _packed_nibbles(codes)], axis=1)


def _quantise_q5_0(x: Array) -> Bytes:
    step, codes = _from_middle(x, 32)
    return np.concatenate([_halves(step), _packed_fifth_bits(codes), _packed_nibbles(codes)], axis=1)


def _quantise_q5_1(x: Array) -> Bytes:
    step, low, codes = _from_lowest(x, 32)
    return np.concatenate([_halves(step, low), _packed_fifth_bits(codes), _packed_nibbles(codes)], axis=1)


TYPES: dict[str, BlockType] = {
    kind.name: kind
    for kind in (
        BlockType("F32", 0, 1, 4, 0, plain=np.dtype("<f4")),
        BlockType("F16", 1, 1, 2, 1, plain=np.dtype("<f2")),
        BlockType("BF16", 30, 1, 2, 32, plain=np.dtype("<u2")),
        BlockType("Q8_0", 8, 32, 34, 7, _widen_q8_0, _quantise_q8_0),
        BlockType("Q4_0", 2, 32, 18, 2, _widen_q4_0, _quantise_q4_0),
        BlockType("Q4_1", 3, 32, 20, 3, _widen_q4_1, _quantise_q4_1),
        BlockType("Q5_0", 6, 32, 22, 8, _widen_q5_0, _quantise_q5_0),
        BlockType("Q5_1", 7, 32, 24, 9, _widen_q5_1, _quantise_q5_1),
        BlockType("Q4_K", 12, _SUPER, 144, 15, _widen_q4_k),
        BlockType("Q5_K", 13, _SUPER, 176, 17, _widen_q5_k),
        BlockType("Q6_K", 14, _SUPER, 210, 18, _widen_q6_k),
    )
}
