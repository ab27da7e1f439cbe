"""Stored numbers to float32 and float32 to bfloat16."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from seatrial.vision.ops.protocol import Array


def bf16_bits_to_f32(bits: NDArray[np.uint16]) -> Array:
    """Widen raw bfloat16 bits (uint16, any shape) to float32; exact."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def f32_to_bf16_bits(x: Array) -> NDArray[np.uint16]:
    """Round float32 (any shape) to bfloat16 bits, nearest with ties to even; NaN stays NaN."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    return np.where(np.isnan(x), np.uint16(0x7FC0), rounded)


def round_to_bf16(x: Array) -> Array:
    """Return `x` (any shape) with every value rounded to the nearest bfloat16, as float32."""
    return bf16_bits_to_f32(f32_to_bf16_bits(x))


def as_f32(stored: NDArray[Any]) -> Array:
    """Widen a stored tensor of any shape (float32, float16, or uint16 = bfloat16 bits) to float32."""
    if stored.dtype == np.uint16:
        return bf16_bits_to_f32(stored)
    return np.asarray(stored, np.float32)
