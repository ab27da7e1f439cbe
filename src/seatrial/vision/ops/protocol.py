"""The small set of operations that the model mathematics is written in.

Two implementations exist: `reference` (NumPy, the definition) and `native` (C++).  Every array is
float32 and contiguous in its last axis unless said otherwise.
"""

from __future__ import annotations

from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Precision = Literal["f32", "bf16"]
Activation = Literal["gelu_tanh"]


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
        """What the weight was packed to."""
        ...

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        ...


class Ops(Protocol):
    """What the tower, the connector and the decoder compute with.

    Precision "bf16" means: weights and the activations entering a multiply are rounded to bfloat16
    (nearest, ties to even), products are summed in float32.  Everything between multiplies is float32.
    """

    name: str
    instruction_set: str
    threads: int

    def pack(self, weight: NDArray[Any], bias: Array | None, precision: Precision) -> Linear:
        """Pack `weight` [out, in] (float32, float16, or uint16 = raw bfloat16 bits) and `bias` [out]."""
        ...

    def linear(
        self, x: Array, packed: Linear, *, activation: Activation | None = None, residual: Array | None = None
    ) -> Array:
        """Return `activation(x @ weight.T + bias) + residual`; `x` [M, in] -> [M, out]."""
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

    def attention(self, q: Array, k: Array, v: Array, *, causal: bool, precision: Precision) -> Array:
        """Softmax attention with scale 1/sqrt(D).

        `q` [B, S, H, D], `k` and `v` [B, T, G, D] where G divides H (grouped queries: head h reads
        group h // (H/G)); any strides in the first three axes.  With `causal`, query i sees keys
        0 .. T-S+i.  Returns [B, S, H, D], contiguous.
        """
        ...
