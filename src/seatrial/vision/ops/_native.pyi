"""What the extension exports; `ops/native.py` is its only importer."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

ABI: int
LEVELS: tuple[str, ...]
PAGE_KEYS: int

class Linear:
    """A packed weight; made by `pack`."""

    @property
    def out_features(self) -> int: ...
    @property
    def in_features(self) -> int: ...
    @property
    def precision(self) -> Literal["f32", "bf16", "int8", "int4"]: ...
    @property
    def level(self) -> int: ...
    @property
    def nbytes(self) -> int: ...
    def parts(self) -> tuple[tuple[int, ...], tuple[NDArray[np.uint8], ...]]: ...

def compiled_levels() -> list[str]: ...
def available_levels() -> list[str]: ...
def cpu_features() -> list[str]: ...
def threads() -> int: ...
def pack(level: int, precision: int, weight: NDArray[Any], bias: NDArray[np.float32] | None) -> Linear: ...
def pack_int8(
    level: int, values: NDArray[np.int8], scale: NDArray[np.float32], bias: NDArray[np.float32] | None
) -> Linear: ...
def pack_int4(
    level: int,
    codes: NDArray[np.uint8],
    scale: NDArray[np.float32],
    zero: NDArray[np.uint8],
    bias: NDArray[np.float32] | None,
) -> Linear: ...
def restore(*parts: Any) -> Linear: ...
def checksum(content: NDArray[np.uint8]) -> int: ...
def linear(
    x: NDArray[np.float32], packed: Linear, gelu: bool, residual: NDArray[np.float32] | None
) -> NDArray[np.float32]: ...
def normed_linear(
    x: NDArray[np.float32], weight: NDArray[np.float32], eps: float, packed: Linear
) -> NDArray[np.float32]: ...
def gated_mlp(
    x: NDArray[np.float32], weight: NDArray[np.float32], eps: float, gate_up: Linear, down: Linear
) -> NDArray[np.float32]: ...
def layer_norm(
    level: int,
    x: NDArray[np.float32],
    weight: NDArray[np.float32],
    bias: NDArray[np.float32],
    eps: float,
) -> NDArray[np.float32]: ...
def rms_norm(level: int, x: NDArray[np.float32], weight: NDArray[np.float32], eps: float) -> NDArray[np.float32]: ...
def silu_mul(level: int, gate_up: NDArray[np.float32]) -> NDArray[np.float32]: ...
def rope(
    level: int, x: NDArray[np.float32], cos: NDArray[np.float32], sin: NDArray[np.float32]
) -> NDArray[np.float32]: ...
def attention(
    level: int,
    q: NDArray[np.float32],
    k: NDArray[np.float32],
    v: NDArray[np.float32],
    causal: bool,
    precision: int,
) -> NDArray[np.float32]: ...
def page_bytes(level: int, head_dim: int, precision: int, int8_pages: bool) -> int: ...
def paged_attention(
    level: int,
    q: NDArray[np.float32],
    k: NDArray[np.float32],
    v: NDArray[np.float32],
    cos: NDArray[np.float32],
    sin: NDArray[np.float32],
    pool: NDArray[np.uint8],
    layer: int,
    tables: NDArray[np.int32],
    lengths: NDArray[np.int32],
    counts: NDArray[np.int32],
    precision: int,
    int8_pages: bool,
) -> NDArray[np.float32]: ...
def round_bf16(level: int, x: NDArray[np.float32]) -> NDArray[np.float32]: ...
