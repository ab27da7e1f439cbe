"""The small set of operations that the model mathematics is written in.

Two implementations exist: `reference` (NumPy, the definition) and `native` (C++).  Every array is
float32 and contiguous in its last axis unless said otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Precision = Literal["f32", "bf16", "int8", "int4"]
AttentionPrecision = Literal["f32", "bf16"]
KvPrecision = Literal["same", "int8"]
"""How keys and values are kept: as attention takes them, or as whole numbers with a scale per position and group."""
Activation = Literal["gelu_tanh"]


PAGE_POSITIONS = 64
"""Positions of a sequence whose keys and values lie together."""


@dataclass(frozen=True)
class PageTables:
    """Where the keys and values of N sequences lie: int32 `tables` [N, W] of page numbers in order, `lengths`
    [N] positions filled, `counts` [N] rows that are each sequence's next positions."""

    tables: NDArray[np.int32]
    lengths: NDArray[np.int32]
    counts: NDArray[np.int32]


@dataclass(frozen=True)
class PackedParts:
    """A packed weight taken apart: whole numbers and uint8 arrays, whose meaning the operations know."""

    numbers: tuple[int, ...]
    arrays: tuple[NDArray[np.uint8], ...]


class Linear(Protocol):
    """A weight matrix in the layout its implementation likes; made by `Ops.pack`."""

    @property
    def out_features(self) -> int:
        """Rows of the weight."""
        ...

    @property
    def in_features(self) -> int:
        """Columns of the weight."""
        ...

    @property
    def precision(self) -> Precision:
        """What the weight was packed to; "int8" where "int4" was asked for and no group divides the columns."""
        ...

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        ...


class Ops(Protocol):
    """What the tower, the connector and the decoder compute with.

    Everything between multiplies is float32.  What enters a multiply, by precision:

    f32    as it is; products are summed in float32.
    bf16   weights and activations rounded to bfloat16 (nearest, ties to even); summed in float32.
    int8   weights as whole numbers in -127 .. 127 with a scale per row of the weight, activations likewise
           with a scale per row, found when they arrive; products are summed as 32-bit integers, exactly.
           Then `sum * activation_scale * weight_scale + bias` in float32: a row's result does not depend on
           how many rows come with it.  A row with a value that is not finite gives NaN.
    int4   weights as 4-bit codes with scale and zero per group of 64 (or 32) columns, each weight
           `(code - zero) * scale`, a bfloat16 without rounding; then as bf16.  Where neither 64 nor 32
           divides the columns the matrix becomes int8.

    `quantise` chooses scales and codes; quantising raises ValueError for weights that are not finite.
    """

    name: str
    instruction_set: str
    threads: int
    keeps_packed: bool
    """Whether packed weights can be taken apart and put together again; else the next three are never called."""
    layout: str
    """Names the layout of packed weights; another name means another layout."""

    def parts(self, linear: Linear) -> PackedParts:
        """Return what `restore` makes `linear` of again; the arrays are views."""
        ...

    def restore(self, parts: PackedParts) -> Linear:
        """Return the weight; it uses the memory of `parts`.  Raises ValueError where sizes do not fit."""
        ...

    def checksum(self, content: NDArray[np.uint8]) -> int:
        """Return a 64-bit sum of `content` [N] that accidents change; as fast as memory is read."""
        ...

    def pack(self, weight: NDArray[Any], bias: Array | None, precision: Precision) -> Linear:
        """Pack `weight` [out, in] (float32, float16, or uint16 = raw bfloat16 bits) and `bias` [out]."""
        ...

    def linear(
        self, x: Array, packed: Linear, *, activation: Activation | None = None, residual: Array | None = None
    ) -> Array:
        """Return `activation(x @ weight.T + bias) + residual`; `x` [M, in] -> [M, out]."""
        ...

    def normed_linear(self, x: Array, weight: Array, eps: float, packed: Linear) -> Array:
        """Return `linear(rms_norm(x, weight, eps), packed)`; `x` [M, in] -> [M, out]."""
        ...

    def gated_mlp(self, x: Array, weight: Array, eps: float, gate_up: Linear, down: Linear) -> Array:
        """Return `x + linear(silu_mul(normed_linear(x, weight, eps, gate_up)), down)`; `x` [M, C] -> [M, C]."""
        ...

    def layer_norm(self, x: Array, weight: Array, bias: Array, eps: float) -> Array:
        """Normalise rows of `x` [M, C] to zero mean and unit (biased) variance, then scale and shift."""
        ...

    def rms_norm(self, x: Array, weight: Array, eps: float) -> Array:
        """Divide rows of `x` [M, C] by their root mean square, then scale."""
        ...

    def silu_mul(self, gate_up: Array) -> Array:
        """Return `silu(gate) * up` [M, I] for `gate_up` [M, 2*I] holding gate then up."""
        ...

    def rope(self, x: Array, cos: Array, sin: Array) -> Array:
        """Rotate `x` [S, H, D] by half-rotation (NEOX) with `cos`, `sin` [S, D/2]."""
        ...

    def attention(self, q: Array, k: Array, v: Array, *, causal: bool, precision: AttentionPrecision) -> Array:
        """Softmax attention with scale 1/sqrt(D).

        `q` [B, S, H, D], `k` and `v` [B, T, G, D] where G divides H (grouped queries: head h reads
        group h // (H/G)); any strides in the first three axes.  With `causal`, query i sees keys
        0 .. T-S+i.  Returns [B, S, H, D], contiguous.
        """
        ...

    def page_bytes(self, head_dim: int, precision: AttentionPrecision, kv: KvPrecision = "same") -> int:
        """Return the bytes that keys and values of one page take, for one layer and one group."""
        ...

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
        """Causal attention of R rows over pages, with the rotation of `rope` first.

        `q` [R, H, D], `k` and `v` [R, G, D] are rows of the sequences of `where`, those of a sequence one after
        another; `cos`, `sin` [R, D/2].  Rotated `k` and `v` are written into `pool` (uint8 [pages, layers, G,
        page bytes], contents known only to these operations) as the sequences' next positions, then each row
        sees its sequence up to itself.  With `kv` "int8", rows of keys (rotated) and values are quantised as rows of
        activations are.  Returns [R, H, D].
        """
        ...
