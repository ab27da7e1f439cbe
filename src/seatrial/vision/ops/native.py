"""The operations in C++: checks and layouts here, arithmetic in `_native` (sources under native/).

Importing this module fails with ImportError when the extension is missing or was built from other sources;
`ops.select` turns that into the NumPy reference or a message.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from seatrial.vision.ops import _native
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
from seatrial.vision.ops.quantise import int4_group, quantise_int4, quantise_int8

ABI = 5
if ABI != _native.ABI:
    raise ImportError(f"seatrial.vision.ops._native has ABI {_native.ABI}, this code wants {ABI}: rebuild it")

assert _native.PAGE_KEYS == PAGE_POSITIONS

_PRECISIONS: dict[Precision, int] = {"f32": 0, "bf16": 1, "int8": 2, "int4": 3}
_ATTENTION: dict[AttentionPrecision, int] = {"f32": 0, "bf16": 1}
Name = TypeVar("Name", Precision, AttentionPrecision)
_F32 = np.dtype(np.float32)


def _array(x: Array, name: str, ndim: int) -> Array:
    """Return `x` ready for the extension: float32, `ndim` axes, the last one contiguous, whole strides."""
    if type(x) is not np.ndarray or x.dtype != _F32:
        raise ValueError(f"{name} must be a float32 array, not {getattr(x, 'dtype', type(x).__name__)}")
    if x.ndim != ndim:
        raise ValueError(f"{name} must have {ndim} axes, not shape {x.shape}")
    if x.flags.c_contiguous:
        return x
    if x.flags.aligned and x.strides[-1] == 4 and all(stride % 4 == 0 for stride in x.strides):
        return x
    return np.ascontiguousarray(x)


def _dense(x: Array, name: str, ndim: int) -> Array:
    """As `_array`, but contiguous in all axes."""
    x = _array(x, name, ndim)
    return x if x.flags.c_contiguous else np.ascontiguousarray(x)


def _precision(precision: Name, known: dict[Name, int]) -> int:
    code = known.get(precision)
    if code is None:
        raise ValueError(f"precision must be one of {', '.join(known)}, not {precision!r}")
    return code


class NativeOps:
    """The operations on one instruction set; see `protocol.Ops` for shapes.

    Raises ValueError for arrays of a wrong type or shape.  Calls release the interpreter lock; results
    come from a pool of recycled buffers.
    """

    name = "native"
    keeps_packed = True

    def __init__(self, instruction_set: str) -> None:
        if instruction_set not in _native.available_levels():
            raise ValueError(f"instruction set {instruction_set!r} is not available on this machine")
        self.instruction_set = instruction_set
        self.threads = _native.threads()
        self.layout = f"{ABI} {instruction_set}"
        self._level = _native.LEVELS.index(instruction_set)

    def pack(self, weight: NDArray[Any], bias: Array | None, precision: Precision) -> Linear:
        """Copy `weight` [out, in] and `bias` [out] into the layout of this instruction set."""
        if weight.ndim != 2:
            raise ValueError(f"weight must be [out, in], not shape {weight.shape}")
        if weight.dtype == np.float16:
            weight = weight.astype(np.float32)
        elif weight.dtype != np.float32 and weight.dtype != np.uint16:
            raise ValueError(f"weight must be float32, float16 or uint16 (bfloat16 bits), not {weight.dtype}")
        weight = np.require(weight, requirements=("C", "A"))
        if bias is not None:
            bias = _dense(bias, "bias", 1)
        code = _precision(precision, _PRECISIONS)
        if precision == "int4" and int4_group(weight.shape[1]):
            grouped = quantise_int4(weight)
            return _native.pack_int4(self._level, grouped.codes, grouped.scale, grouped.zero, bias)
        if precision in ("int8", "int4"):
            whole = quantise_int8(weight)
            return _native.pack_int8(self._level, whole.values, whole.scale, bias)
        return _native.pack(self._level, code, weight, bias)

    def parts(self, linear: Linear) -> PackedParts:
        """Views of the panels, bias, scales and offsets."""
        assert isinstance(linear, _native.Linear)
        return PackedParts(*linear.parts())

    def restore(self, parts: PackedParts) -> Linear:
        """Use the arrays as they are."""
        if parts.numbers[0] != self._level:
            raise ValueError(f"this weight was not packed for native {self.instruction_set}")
        return _native.restore(*parts.numbers, *parts.arrays)

    def checksum(self, content: NDArray[np.uint8]) -> int:
        """On all threads."""
        return _native.checksum(content)

    def linear(
        self, x: Array, packed: Linear, *, activation: Activation | None = None, residual: Array | None = None
    ) -> Array:
        """Multiply, then bias, activation, residual in one pass over the result."""
        own = self._own(packed)
        if activation not in (None, "gelu_tanh"):
            raise ValueError(f"activation must be gelu_tanh or None, not {activation!r}")
        if residual is not None:
            residual = _dense(residual, "residual", 2)
        return _native.linear(_array(x, "x", 2), own, activation is not None, residual)

    def normed_linear(self, x: Array, weight: Array, eps: float, packed: Linear) -> Array:
        """Both in one call."""
        own = self._own(packed)
        return _native.normed_linear(_array(x, "x", 2), _dense(weight, "weight", 1), eps, own)

    def gated_mlp(self, x: Array, weight: Array, eps: float, gate_up: Linear, down: Linear) -> Array:
        """All in one call."""
        weight = _dense(weight, "weight", 1)
        return _native.gated_mlp(_dense(x, "x", 2), weight, eps, self._own(gate_up), self._own(down))

    def _own(self, packed: Linear) -> _native.Linear:
        if not isinstance(packed, _native.Linear) or packed.level != self._level:
            raise ValueError(f"this weight was not packed for native {self.instruction_set}")
        return packed

    def layer_norm(self, x: Array, weight: Array, bias: Array, eps: float) -> Array:
        """Two passes over a row in cache: mean, then variance around it."""
        weight, bias = _dense(weight, "weight", 1), _dense(bias, "bias", 1)
        return _native.layer_norm(self._level, _array(x, "x", 2), weight, bias, eps)

    def rms_norm(self, x: Array, weight: Array, eps: float) -> Array:
        """Root mean square over the last axis."""
        return _native.rms_norm(self._level, _array(x, "x", 2), _dense(weight, "weight", 1), eps)

    def silu_mul(self, gate_up: Array) -> Array:
        """silu of the left half times the right half."""
        return _native.silu_mul(self._level, _array(gate_up, "gate_up", 2))

    def rope(self, x: Array, cos: Array, sin: Array) -> Array:
        """Rotate the two halves of the last axis."""
        return _native.rope(self._level, _array(x, "x", 3), _dense(cos, "cos", 2), _dense(sin, "sin", 2))

    def attention(self, q: Array, k: Array, v: Array, *, causal: bool, precision: AttentionPrecision) -> Array:
        """Online softmax in blocks; strided inputs are read in place."""
        q, k, v = _array(q, "q", 4), _array(k, "k", 4), _array(v, "v", 4)
        return _native.attention(self._level, q, k, v, causal, _precision(precision, _ATTENTION))

    def page_bytes(self, head_dim: int, precision: AttentionPrecision, kv: KvPrecision = "same") -> int:
        """As the blocked attention kernel of this instruction set packs keys and values."""
        return _native.page_bytes(self._level, head_dim, _precision(precision, _ATTENTION), kv == "int8")

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
        """Rotation, writing and attention in one call; pages that neighbours share are read once."""
        return _native.paged_attention(
            self._level,
            _array(q, "q", 3),
            _array(k, "k", 3),
            _array(v, "v", 3),
            _dense(cos, "cos", 2),
            _dense(sin, "sin", 2),
            pool,
            layer,
            where.tables,
            where.lengths,
            where.counts,
            _precision(precision, _ATTENTION),
            kv == "int8",
        )
