"""Whole numbers for weights and activations: the one place where they are chosen.

Every implementation of the operations gets its integers from here (weights) or must arrive at the same
ones (activations), so all agree on what is multiplied.

int8: a weight row n is `values[n] * scale[n]`, scale = max|w| / 127, values = w / scale rounded to nearest
even.  A row of activations is treated the same way when it arrives (`quantise_rows`).

int4: a group of 64 (or 32) neighbours of a weight row is `(code - zero) * scale`, code and zero in 0 .. 15.
Scales have four significant bits, so `(code - zero) * scale` has at most eight and is a bfloat16 without
rounding: an int4 matrix is a bf16 matrix of few distinct values, and kernels may multiply either form.
Of five scales, from the one that just spans the group downwards (6 to 12 % apart; the ends are then
clipped), and three zeros around the middle of the group, the pair with the least squared error is taken.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seatrial.vision.ops.bfloat16 import as_f32
from seatrial.vision.ops.protocol import Array

INT8_MOST_COLUMNS = 131_072
"""Sums of this many products of two int8 fit 32 bits."""
GROUPS = (64, 32)
"""Sizes of an int4 group, best first; one of them must divide the columns."""
NOTHING = np.float32(1e-30)
"""Rows and groups whose largest magnitude is below this count as zero."""
_SCALES = 5
_CHUNK = 1 << 16  # weights at a time: everything about them stays in a core's cache


@dataclass(frozen=True)
class Int8Weight:
    """`values` [out, in] int8 in -127 .. 127 times `scale` [out] float32."""

    values: NDArray[np.int8]
    scale: Array


@dataclass(frozen=True)
class Int4Weight:
    """`codes` [out, in] uint8 in 0 .. 15, `scale` [out, in/group] float32, `zero` [out, in/group] uint8."""

    codes: NDArray[np.uint8]
    scale: Array
    zero: NDArray[np.uint8]

    @property
    def group(self) -> int:
        """Neighbours that share a scale."""
        return int(self.codes.shape[1] // self.scale.shape[1])

    def dequantised(self) -> Array:
        """Return the weight [out, in]; every value is a bfloat16."""
        rows, columns = self.codes.shape
        grouped = self.codes.reshape(rows, -1, self.group).astype(np.float32)
        result: Array = ((grouped - self.zero[:, :, None]) * self.scale[:, :, None]).reshape(rows, columns)
        return result


def int4_group(columns: int) -> int | None:
    """Return the group size for a matrix of `columns`, or None: then int8 is used for it."""
    return next((group for group in GROUPS if columns and columns % group == 0), None)


def quantise_int8(weight: NDArray[Any]) -> Int8Weight:
    """Quantise `weight` [out, in] (float32, float16, or uint16 = bfloat16 bits) by rows.

    Raises ValueError for values that are not finite and for more than 131,072 columns.
    """
    rows, columns = weight.shape
    if columns > INT8_MOST_COLUMNS:
        raise ValueError(f"int8 takes at most {INT8_MOST_COLUMNS:,} columns, not {columns:,}")
    values, scale = np.empty((rows, columns), np.int8), np.empty(rows, np.float32)

    def chunk(part: slice) -> None:
        values[part], scale[part] = quantise_rows(_finite(weight[part]))

    _in_chunks(chunk, rows, columns)
    return Int8Weight(values, scale)


def quantise_rows(x: Array) -> tuple[NDArray[np.int8], Array]:
    """Return int8 values [M, K] and scales [M] of `x` [M, K] float32.

    In float32: scale = max|x| / 127, value = x * (127 / max|x|) rounded to nearest even.  A row below 1e-30
    is zeros with scale 0; a row with a value that is not finite is zeros with scale NaN.
    """
    most = np.abs(x).max(axis=1, initial=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse = np.where((most >= NOTHING) & np.isfinite(most), np.float32(127) / most, np.float32(0))
        scaled = np.where(np.isfinite(most)[:, None], x, np.float32(0)) * inverse[:, None]
    scale = np.where(np.isfinite(most), np.where(most < NOTHING, 0, most / np.float32(127)), np.float32(np.nan))
    return np.rint(scaled).astype(np.int8), scale.astype(np.float32)


def quantise_int4(weight: NDArray[Any]) -> Int4Weight:
    """Quantise `weight` [out, in] (float32, float16, or uint16 = bfloat16 bits) by groups of its rows.

    Raises ValueError for values that are not finite and where no group size divides the columns.
    """
    rows, columns = weight.shape
    group = int4_group(columns)
    if group is None:
        raise ValueError(f"int4 takes a multiple of {GROUPS[-1]} columns, not {columns}")
    codes = np.empty((rows, columns), np.uint8)
    scale = np.empty((rows, columns // group), np.float32)
    zero = np.empty((rows, columns // group), np.uint8)

    def chunk(part: slice) -> None:
        w = _finite(weight[part])
        best_scale, best_zero = _search(w.reshape(-1, group))
        levels = _levels(w.reshape(-1, group), best_scale, best_zero)
        codes[part] = (levels + best_zero[:, None]).reshape(w.shape)
        scale[part] = best_scale.reshape(len(w), -1)
        zero[part] = best_zero.reshape(len(w), -1)

    _in_chunks(chunk, rows, columns)
    return Int4Weight(codes, scale, zero)


def _finite(stored: NDArray[Any]) -> Array:
    w = as_f32(stored)
    if not np.isfinite(w).all():
        raise ValueError("weights must be finite to be quantised")
    return w


def _in_chunks(work: Callable[[slice], None], rows: int, columns: int) -> None:
    """Call `work` on slices of the rows, on all CPUs: NumPy lets go of the interpreter lock."""
    step = max(1, _CHUNK // max(columns, 1))
    slices = [slice(start, min(start + step, rows)) for start in range(0, rows, step)]
    if len(slices) < 4:
        for part in slices:
            work(part)
        return
    with ThreadPoolExecutor(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 4) as pool:
        for _ in pool.map(work, slices):
            pass


def _search(w: Array) -> tuple[Array, Array]:
    """Return the best scale [G] and zero [G] (whole, float32) of each group of `w` [G, group]."""
    low, high = np.minimum(w.min(axis=1), 0), np.maximum(w.max(axis=1), 0)
    span = high - low
    used = span >= NOTHING
    top = _rung(np.where(used, span, 1).astype(np.float32) / np.float32(15))
    middle = (low + high) * np.float32(0.5)
    scratch = np.empty_like(w)

    def error(scale: Array, zero: Array) -> Array:
        missed = _levels(w, scale, zero, scratch)
        missed *= scale[:, None]
        missed -= w
        squared: Array = np.einsum("gk,gk->g", missed, missed)
        return squared

    scale, zero, least = np.ones_like(span), np.zeros_like(span), np.full_like(span, np.inf)

    def consider(tried_scale: Array, tried_zero: Array) -> None:
        tried_zero = np.clip(np.rint(tried_zero), 0, 15)
        missed = error(tried_scale, tried_zero)
        better = missed < least
        for kept, tried in ((scale, tried_scale), (zero, tried_zero), (least, missed)):
            np.copyto(kept, tried, where=better)

    for step in range(_SCALES):
        tried = _scale_at(top - step)
        consider(tried, np.float32(7.5) - middle / tried)
    centre = zero.copy()
    for move in (-1, 1):
        consider(scale.copy(), centre + np.float32(move))
    scale[~used], zero[~used] = 1, 0
    return scale, zero


def _levels(w: Array, scale: Array, zero: Array, out: Array | None = None) -> Array:
    """Return code - zero [G, group] as whole float32."""
    levels: Array = np.multiply(w, (np.float32(1) / scale)[:, None], out=out)
    np.rint(levels, out=levels)
    np.maximum(levels, -zero[:, None], out=levels)
    np.minimum(levels, np.float32(15) - zero[:, None], out=levels)
    return levels


def _rung(x: Array) -> NDArray[np.int32]:
    """Number of the smallest scale of four significant bits that is at least `x` [G] > 0."""
    mantissa, exponent = np.frexp(x)
    rungs: NDArray[np.int32] = (exponent - 4) * 8 + np.ceil(mantissa * 16).astype(np.int32) - 8
    return rungs


def _scale_at(rung: NDArray[np.int32]) -> Array:
    """Return 8 .. 15 times a power of two [G]; rungs count upwards."""
    scale: Array = np.ldexp((8 + rung % 8).astype(np.float32), rung // 8)
    return scale
