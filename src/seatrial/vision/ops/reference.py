"""NumPy implementation of the operations: the definition every fast path is tested against."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seatrial.vision.ops.bfloat16 import as_f32, round_to_bf16
from seatrial.vision.ops.protocol import (
    PAGE_POSITIONS,
    Activation,
    Array,
    AttentionPrecision,
    KvPrecision,
    Linear,
    PackedParts,
    PageTables,
    Precision,
)
from seatrial.vision.ops.quantise import int4_group, quantise_int4, quantise_int8, quantise_rows

_EXACT = 1024
"""Columns whose products of int8 sum exactly in float32, in any order: 127² · 1,024 < 2²⁴."""


def gelu_tanh(x: Array) -> Array:
    """Gaussian error linear unit, tanh form (the `gelu_pytorch_tanh` of the checkpoints)."""
    inner = (x + x * np.float32(0.044715) * x * x) * np.float32(math.sqrt(2.0 / math.pi))
    result = np.float32(0.5) * x * (np.float32(1.0) + np.tanh(inner))
    return result.astype(np.float32, copy=False)


@dataclass(frozen=True)
class ReferenceLinear:
    """A float32 matrix [out, in]: rounded for bf16, dequantised for int4, whole for int8 with `scale` [out]."""

    weight: Array
    bias: Array | None
    precision: Precision
    scale: Array | None = None

    @property
    def out_features(self) -> int:
        """Rows of the weight."""
        return int(self.weight.shape[0])

    @property
    def in_features(self) -> int:
        """Columns of the weight."""
        return int(self.weight.shape[1])

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return int(self.weight.nbytes + (0 if self.bias is None else self.bias.nbytes))


def _whole_product(x: Array, weight: Array, scale: Array) -> Array:
    """Quantise `x` [M, K], multiply by whole `weight` [N, K] exactly, scale by rows of both: [M, N] float32."""
    values, row_scale = quantise_rows(x)
    total = np.zeros((len(x), len(weight)), np.int32)
    for start in range(0, weight.shape[1], _EXACT):
        part = slice(start, start + _EXACT)
        total += (values[:, part].astype(np.float32) @ weight[:, part].T).astype(np.int32)
    result: Array = total.astype(np.float32) * row_scale[:, None] * scale
    return result


def _kept_as_int8(x: Array) -> Array:
    """Quantise rows of `x` [R, G, D] and widen them again."""
    values, scale = quantise_rows(x.reshape(-1, x.shape[-1]))
    widened: Array = values * scale[:, None]
    return widened.reshape(x.shape)


class ReferenceOps:
    """The operations in NumPy; see `protocol.Ops` for shapes."""

    name = "reference"
    instruction_set = "numpy"
    threads = 0  # NumPy's BLAS decides
    keeps_packed = False
    layout = "numpy"

    def parts(self, linear: Linear) -> PackedParts:
        """Not offered."""
        raise NotImplementedError

    def restore(self, parts: PackedParts) -> Linear:
        """Not offered."""
        raise NotImplementedError

    def checksum(self, content: NDArray[np.uint8]) -> int:
        """Not offered."""
        raise NotImplementedError

    def pack(self, weight: NDArray[Any], bias: Array | None, precision: Precision) -> ReferenceLinear:
        """Widen to float32, rounding or quantising first when asked."""
        if precision == "int4" and int4_group(weight.shape[1]):
            return ReferenceLinear(quantise_int4(weight).dequantised(), bias, "int4")
        if precision in ("int8", "int4"):
            whole = quantise_int8(weight)
            return ReferenceLinear(whole.values.astype(np.float32), bias, "int8", whole.scale)
        full = as_f32(weight)
        return ReferenceLinear(round_to_bf16(full) if precision == "bf16" else full, bias, precision)

    def linear(
        self, x: Array, packed: Linear, *, activation: Activation | None = None, residual: Array | None = None
    ) -> Array:
        """Multiply in BLAS, then bias, activation, residual."""
        assert isinstance(packed, ReferenceLinear)
        if packed.scale is not None:
            y = _whole_product(x, packed.weight, packed.scale)
        else:
            with np.errstate(invalid="ignore"):  # infinity times zero is NaN, as everywhere else
                y = (x if packed.precision == "f32" else round_to_bf16(x)) @ packed.weight.T
        if packed.bias is not None:
            y += packed.bias
        if activation == "gelu_tanh":
            y = gelu_tanh(y)
        return y if residual is None else y + residual

    def normed_linear(self, x: Array, weight: Array, eps: float, packed: Linear) -> Array:
        """One after the other."""
        return self.linear(self.rms_norm(x, weight, eps), packed)

    def gated_mlp(self, x: Array, weight: Array, eps: float, gate_up: Linear, down: Linear) -> Array:
        """One after the other."""
        return self.linear(self.silu_mul(self.normed_linear(x, weight, eps, gate_up)), down, residual=x)

    def layer_norm(self, x: Array, weight: Array, bias: Array, eps: float) -> Array:
        """Two passes: mean, then variance around it."""
        centred = x - x.mean(axis=-1, keepdims=True)
        variance = np.mean(centred * centred, axis=-1, keepdims=True)
        result: Array = centred / np.sqrt(variance + np.float32(eps)) * weight + bias
        return result

    def rms_norm(self, x: Array, weight: Array, eps: float) -> Array:
        """Root mean square over the last axis."""
        mean_square = np.mean(x * x, axis=-1, keepdims=True)
        result: Array = x / np.sqrt(mean_square + np.float32(eps)) * weight
        return result

    def silu_mul(self, gate_up: Array) -> Array:
        """Split in half, then silu(gate) * up."""
        gate, up = np.split(gate_up, 2, axis=-1)
        with np.errstate(over="ignore"):  # exp(-gate) overflows to inf for very negative gates: 0 is right
            decay: Array = np.exp(-gate)
            result: Array = gate / (decay + np.float32(1.0)) * up
        return result

    def rope(self, x: Array, cos: Array, sin: Array) -> Array:
        """(a, b) -> (a cos - b sin, b cos + a sin) for the two halves of the last axis."""
        a, b = np.split(x, 2, axis=-1)
        c, s = cos[:, None, :], sin[:, None, :]
        return np.concatenate([a * c - b * s, b * c + a * s], axis=-1)

    def attention(self, q: Array, k: Array, v: Array, *, causal: bool, precision: AttentionPrecision) -> Array:
        """Scores for all pairs at once, softmax in float32."""
        if precision == "bf16":
            q, k, v = round_to_bf16(q), round_to_bf16(k), round_to_bf16(v)
        B, S, H, D = q.shape
        T, G = k.shape[1], k.shape[2]
        q_BGRSD = q.reshape(B, S, G, H // G, D).transpose(0, 2, 3, 1, 4)
        k_BG1DT = k.transpose(0, 2, 3, 1)[:, :, None]
        v_BG1TD = v.transpose(0, 2, 1, 3)[:, :, None]
        scores: Any = q_BGRSD @ k_BG1DT * np.float32(1.0 / math.sqrt(D))
        if causal:
            unseen = np.arange(T)[None, :] > np.arange(T - S, T)[:, None]
            scores = np.where(unseen, np.float32(-np.inf), scores)
        scores -= scores.max(axis=-1, keepdims=True)
        weights: Any = np.exp(scores)
        weights /= weights.sum(axis=-1, keepdims=True)
        if precision == "bf16":
            weights = round_to_bf16(weights)
        out_BGRSD = weights @ v_BG1TD
        return np.ascontiguousarray(out_BGRSD.transpose(0, 3, 1, 2, 4)).reshape(B, S, H, D)

    def page_bytes(self, head_dim: int, precision: AttentionPrecision, kv: KvPrecision = "same") -> int:
        """Keys [page, D], then values, in float32 whatever the precision."""
        return 2 * PAGE_POSITIONS * head_dim * 4

    def paged_attention(
        self,
        q: Array,
        k: Array,
        v: Array,
        cos: Array,
        sin: Array,
        pool: NDArray[np.uint8],
        layer: int,
        where: PageTables,
        precision: AttentionPrecision,
        kv: KvPrecision = "same",
    ) -> Array:
        """Write, gather, attend: one sequence after another."""
        q, k = self.rope(q, cos, sin), self.rope(k, cos, sin)
        if kv == "int8":
            k, v = _kept_as_int8(k), _kept_as_int8(v)
        groups, head_dim = k.shape[1:]
        pages = pool[:, layer].view(np.float32).reshape(len(pool), groups, 2, PAGE_POSITIONS, head_dim)
        out = np.empty_like(q)
        start = 0
        for table, length, count in zip(where.tables, where.lengths, where.counts, strict=True):
            if not count:
                continue
            own = slice(start, start + count)
            start += count
            positions = np.arange(length, length + count)
            at = (table[positions // PAGE_POSITIONS], slice(None))
            pages[*at, 0, positions % PAGE_POSITIONS] = k[own]
            pages[*at, 1, positions % PAGE_POSITIONS] = v[own]
            used = pages[table[: -(-(length + count) // PAGE_POSITIONS)]]  # [pages, G, 2, page, D]
            keys, values = used.transpose(2, 0, 3, 1, 4).reshape(2, -1, groups, head_dim)[:, None, : length + count]
            out[own] = self.attention(q[own][None], keys, values, causal=True, precision=precision)[0]
        return out
