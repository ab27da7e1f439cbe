"""Every implementation that this machine can run, against float64, at awkward sizes.

Bounds (w = softmax weights; |a| elementwise):
  linear       f32 and bf16: 1e-6 * (|x| @ |weight|.T), operands rounded to bfloat16 first for bf16
  attention    f32: 4e-6 * (w @ |v|);  bf16: (2^-8 + 1e-5) * (w @ |v|), as the weights are rounded to bfloat16
  norms, gates, rotation: 2e-6 * (1 + |result|)
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from seatrial.vision.ops import available, select
from seatrial.vision.ops.bfloat16 import f32_to_bf16_bits, round_to_bf16
from seatrial.vision.ops.protocol import Array, Ops, Precision
from seatrial.vision.ops.reference import ReferenceOps

ROWS = (1, 7, 15, 16, 17, 31, 33, 97)
WIDTHS = (1, 7, 16, 17, 31, 33, 72, 97, 269)
PRECISIONS: tuple[Precision, ...] = ("f32", "bf16")
NATIVE = [name for name in available() if name != "reference"]
needs_native = pytest.mark.skipif(not NATIVE, reason="the extension is not built")


@pytest.fixture(params=available())
def ops(request: pytest.FixtureRequest) -> Ops:
    return select(request.param)


@pytest.fixture(params=NATIVE)
def native(request: pytest.FixtureRequest) -> Any:
    return select(request.param)


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng([seed, *shape]).standard_normal(shape, dtype=np.float32)


def entering(x: Array, precision: Precision) -> np.ndarray:
    return (round_to_bf16(x) if precision == "bf16" else x).astype(np.float64)


def assert_within(actual: Array, wanted: np.ndarray, bound: np.ndarray | float, what: object) -> None:
    assert actual.shape == wanted.shape and actual.dtype == np.float32, what
    excess = np.abs(actual - wanted) - bound
    assert np.all(excess <= 0), f"{what}: {excess.max():.3g} over the bound"


# ---- linear ------------------------------------------------------------------------------------------------


def check_linear(ops: Ops, rows: tuple[int, ...], k: int, n: int, precision: Precision) -> None:
    x, weight, bias = normal(max(rows), k), normal(n, k, seed=1), normal(n, seed=2)
    packed = ops.pack(weight, bias, precision)
    assert (packed.out_features, packed.in_features, packed.precision) == (n, k, precision)
    x64, w64 = entering(x, precision), entering(weight, precision)
    wanted = x64 @ w64.T + bias
    bound = 1e-6 * (np.abs(x64) @ np.abs(w64).T + np.abs(bias) + 0.1)
    for m in rows:
        assert_within(ops.linear(x[:m], packed), wanted[:m], bound[:m], (m, k, n))


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("k", WIDTHS)
def test_linear_at_awkward_sizes(ops: Ops, k: int, precision: Precision) -> None:
    for n in WIDTHS:
        check_linear(ops, ROWS, k, n, precision)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_linear_at_sizes_of_the_models(ops: Ops, precision: Precision) -> None:
    check_linear(ops, (1, 729), 288, 4304, precision)
    check_linear(ops, (1, 4, 97), 4304, 288, precision)
    check_linear(ops, (1, 8, 9, 1024), 768, 192, precision)


def gelu64(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_bias_activation_and_residual_are_fused_in_this_order(ops: Ops, precision: Precision) -> None:
    for m, k, n in [(1, 17, 33), (7, 72, 31), (33, 97, 97), (97, 33, 72)]:
        x, weight, bias, residual = normal(m, k), normal(n, k), normal(n), normal(m, n, seed=3)
        product = entering(x, precision) @ entering(weight, precision).T
        scale = 1e-5 * (1 + np.abs(product))
        assert_within(ops.linear(x, ops.pack(weight, None, precision)), product, scale, "bare")
        packed = ops.pack(weight, bias, precision)
        gelu = ops.linear(x, packed, activation="gelu_tanh")
        assert_within(gelu, gelu64(product + bias), scale, "gelu")
        assert_within(ops.linear(x, packed, residual=residual), product + bias + residual, scale, "residual")
        both = ops.linear(x, packed, activation="gelu_tanh", residual=residual)
        assert_within(both, gelu64(product + bias) + residual, scale, "both")


def test_gelu_is_accurate_everywhere(ops: Ops) -> None:
    x = np.linspace(-20, 20, 4001, dtype=np.float32)[:, None]
    packed = ops.pack(np.ones((1, 1), np.float32), None, "f32")
    wanted = gelu64(x.astype(np.float64))
    assert_within(ops.linear(x, packed, activation="gelu_tanh"), wanted, 2e-6 * (1 + np.abs(wanted)), "gelu")


def test_weights_of_all_stored_types(ops: Ops) -> None:
    weight = round_to_bf16(normal(33, 40))  # exact in bfloat16 and, at this size, in float16
    x = normal(5, 40)
    for precision in PRECISIONS:
        wanted = ops.linear(x, ops.pack(weight, None, precision))
        for stored in (f32_to_bf16_bits(weight), weight.astype(np.float16)):
            got = ops.linear(x, ops.pack(stored, None, precision))
            np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-2 if stored.dtype == np.float16 else 0)


def test_no_rows_give_no_rows(ops: Ops) -> None:
    for precision in PRECISIONS:
        packed = ops.pack(normal(5, 7), None, precision)
        assert ops.linear(np.empty((0, 7), np.float32), packed).shape == (0, 5)
    assert ops.rms_norm(np.empty((0, 7), np.float32), normal(7), 1e-5).shape == (0, 7)
    assert ops.silu_mul(np.empty((0, 8), np.float32)).shape == (0, 4)


def test_rounding_to_bfloat16_is_bit_exact(native: Any) -> None:
    from seatrial.vision.ops import _native

    upper = np.arange(65536, dtype=np.uint32) << 16
    lower = np.array([0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF, 0x1234, 0xABCD], np.uint32)
    x = (upper[:, None] | lower).view(np.float32).reshape(-1, 64)
    level = _native.LEVELS.index(native.instruction_set)
    np.testing.assert_array_equal(_native.round_bf16(level, x).view(np.uint32), round_to_bf16(x).view(np.uint32))


def test_rounding_inside_linear_is_bit_exact(ops: Ops) -> None:
    """The identity shows what entered the multiply; halves between two bfloat16 values included."""
    identity = ops.pack(np.eye(64, dtype=np.float32), None, "bf16")
    bits = np.random.default_rng(5).integers(0x3F000000, 0x42000000, (40, 64)).astype(np.uint32)
    bits[::2] = bits[::2] & 0xFFFF0000 | 0x8000
    x = bits.view(np.float32)
    for m in (1, 3, 8, 40):
        np.testing.assert_array_equal(ops.linear(x[:m], identity), round_to_bf16(x[:m]))


def test_nan_and_infinity_stay_in_their_row(ops: Ops) -> None:
    for precision in PRECISIONS:
        for m in (4, 33):
            x, weight = normal(m, 40), normal(20, 40)
            x[1, 3], x[2, 5] = np.nan, np.inf
            y = ops.linear(x, ops.pack(weight, None, precision))
            assert np.isnan(y[1]).all() and np.isfinite(np.delete(y, [1, 2], axis=0)).all()
            np.testing.assert_array_equal(y[2], np.inf * np.sign(weight[:, 5]))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_same_call_twice_is_bit_equal(ops: Ops, precision: Precision) -> None:
    x, packed = normal(97, 269), ops.pack(normal(130, 269), normal(130), precision)
    np.testing.assert_array_equal(ops.linear(x, packed), ops.linear(x, packed))
    q, k, v = normal(1, 70, 6, 64), normal(1, 300, 2, 64, seed=1), normal(1, 300, 2, 64, seed=2)
    first, second = (ops.attention(q, k, v, causal=True, precision=precision) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_a_row_does_not_depend_on_its_neighbours_in_f32(native: Any) -> None:
    x, packed = normal(97, 269), native.pack(normal(130, 269), normal(130), "f32")
    whole = native.linear(x, packed, activation="gelu_tanh")
    for m in ROWS:
        np.testing.assert_array_equal(native.linear(x[:m], packed, activation="gelu_tanh"), whole[:m])
    np.testing.assert_array_equal(native.linear(x[50:51], packed, activation="gelu_tanh"), whole[50:51])


# ---- attention ---------------------------------------------------------------------------------------------

SHAPES = [  # B, S, T, H, G, D, causal
    (1, 1, 1, 1, 1, 8, True),
    (1, 1, 100, 9, 3, 64, True),
    (1, 1, 1100, 3, 3, 64, False),
    (2, 4, 77, 6, 2, 72, True),
    (3, 7, 7, 2, 2, 64, False),
    (1, 17, 17, 6, 2, 8, True),
    (2, 33, 33, 4, 4, 72, False),
    (1, 31, 97, 3, 1, 64, True),
    (1, 40, 600, 2, 1, 40, True),
    (1, 65, 1030, 3, 1, 64, True),
    (2, 130, 130, 6, 2, 64, True),
    (1, 96, 512, 2, 2, 96, False),
    (1, 16, 48, 2, 2, 7, False),
]


def attention64(q: np.ndarray, k: np.ndarray, v: np.ndarray, causal: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return (w @ v, w @ |v|) in float64, [B, S, H, D]."""
    S, H, D, T = q.shape[1], q.shape[2], q.shape[3], k.shape[1]
    k, v = (np.repeat(a, H // a.shape[2], axis=2) for a in (k, v))
    scores = np.einsum("bshd,bthd->bhst", q, k) / np.sqrt(D)
    if causal:
        scores[..., np.arange(T)[None, :] > np.arange(T - S, T)[:, None]] = -np.inf
    w = np.exp(scores - scores.max(axis=-1, keepdims=True))
    w /= w.sum(axis=-1, keepdims=True)
    return np.einsum("bhst,bthd->bshd", w, v), np.einsum("bhst,bthd->bshd", w, np.abs(v))


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_attention(ops: Ops, shape: tuple[int, int, int, int, int, int, bool], precision: Precision) -> None:
    B, S, T, H, G, D, causal = shape
    q, k, v = 2 * normal(B, S, H, D), normal(B, T, G, D, seed=1), normal(B, T, G, D, seed=2)
    wanted, scale = attention64(*(entering(a, precision) for a in (q, k, v)), causal)
    relative = 4e-6 if precision == "f32" else 2**-8 + 1e-5
    assert_within(ops.attention(q, k, v, causal=causal, precision=precision), wanted, relative * scale, shape)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_attention_reads_strided_arrays_in_place(ops: Ops, precision: Precision) -> None:
    """A fused qkv, a cache longer than what is used, heads before positions."""
    for S in (1, 40):
        qkv = normal(2, S, 5 * 3, 64)
        q, k, v = qkv[:, :, :9], qkv[:, :, 9:12], qkv[:, :, 12:]
        cache = normal(2, 3, 512, 64)[:, :, :300].transpose(0, 2, 1, 3)
        for keys, values in ((k, v), (cache, cache)):
            got = ops.attention(q, keys, values, causal=True, precision=precision)
            dense = (np.ascontiguousarray(a) for a in (q, keys, values))
            np.testing.assert_array_equal(got, ops.attention(*dense, causal=True, precision=precision))


def test_scores_of_any_size_are_survived(ops: Ops) -> None:
    for S in (1, 40):
        q, k, v = 300 * normal(1, S, 2, 64), 30 * normal(1, 200, 2, 64, seed=1), normal(1, 200, 2, 64, seed=2)
        wanted, _ = attention64(*(a.astype(np.float64) for a in (q, k, v)), False)
        got = ops.attention(q, k, v, causal=False, precision="f32")
        assert np.abs(got - wanted).max() < 0.05  # a score of 1e5 is known to 1e-2 in float32
        assert np.isfinite(ops.attention(q, k, v, causal=False, precision="bf16")).all()


def test_nan_stays_in_its_query(ops: Ops) -> None:
    for S in (2, 40):
        q, k, v = normal(1, S, 2, 64), normal(1, 50, 2, 64), normal(1, 50, 2, 64)
        q[0, 1, 1, 3] = np.nan
        for precision in PRECISIONS:
            y = ops.attention(q, k, v, causal=True, precision=precision)
            assert np.isnan(y[0, 1, 1]).all() and np.isnan(y).sum() == 64


# ---- pointwise ---------------------------------------------------------------------------------------------


def test_norms(ops: Ops) -> None:
    for m in (1, 7, 33):
        for c in (*WIDTHS, 576, 768, 1152):
            x, weight, bias = 3 * normal(m, c) + 5, normal(c), normal(c, seed=1)
            x64 = x.astype(np.float64)
            rms = x64 / np.sqrt((x64**2).mean(-1, keepdims=True) + 1e-5) * weight
            assert_within(ops.rms_norm(x, weight, 1e-5), rms, 2e-6 * (1 + np.abs(rms)), ("rms", m, c))
            if c > 1:  # one value has no variance: only noise is left
                centred = x64 - x64.mean(-1, keepdims=True)
                norm = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6) * weight + bias
                assert_within(ops.layer_norm(x, weight, bias, 1e-6), norm, 5e-6 * (1 + np.abs(norm)), ("layer", m, c))


def test_calls_that_do_several_things_do_just_these(ops: Ops) -> None:
    """Bit for bit what the steps give one by one."""
    for m in (1, 7, 33):
        for c, inner in ((64, 96), (192, 512), (72, 40)):
            x, norm = normal(m, c), normal(c, seed=1)
            for precision in ("f32", "bf16", "int8", "int4"):
                gate_up = ops.pack(normal(2 * inner, c, seed=2), None, precision)
                down = ops.pack(normal(c, inner, seed=3), normal(c, seed=4), precision)
                both = ops.linear(ops.rms_norm(x, norm, 1e-5), gate_up)
                assert np.array_equal(ops.normed_linear(x, norm, 1e-5, gate_up), both)
                wanted = ops.linear(ops.silu_mul(both), down, residual=x)
                assert np.array_equal(ops.gated_mlp(x, norm, 1e-5, gate_up, down), wanted)


def test_silu_mul(ops: Ops) -> None:
    for m in (1, 7, 97):
        for half in WIDTHS:
            x = 10 * normal(m, 2 * half)
            gate, up = np.split(x.astype(np.float64), 2, axis=-1)
            wanted = gate / (1 + np.exp(-gate)) * up
            assert_within(ops.silu_mul(x), wanted, 2e-6 * (1 + np.abs(wanted)), (m, half))
    extreme = np.array([[-np.float32(1e4), np.nan, 1e4, 1, 1, 1]], np.float32)
    np.testing.assert_allclose(ops.silu_mul(extreme)[0], np.array([0, np.nan, 1e4], np.float32), atol=1e-30)


def test_rope(ops: Ops) -> None:
    for S, H, D in [(1, 9, 64), (17, 3, 8), (40, 2, 72), (5, 1, 14)]:
        fused = normal(S, H + 2, D)
        angle = normal(S, D // 2)
        cos, sin = np.cos(angle), np.sin(angle)
        for x in (fused, fused[:, :H]):
            wanted = ReferenceOps().rope(x, cos, sin)
            assert_within(ops.rope(x, cos, sin), wanted, 2e-6 * (1 + np.abs(wanted)), (S, H, D))


# ---- arrays in and out -------------------------------------------------------------------------------------


@needs_native
def test_wrong_arrays_are_refused_in_words(native: Any) -> None:
    packed = native.pack(normal(5, 7), None, "f32")
    for call, words in [
        (lambda: native.linear(normal(3, 6), packed), "as many columns"),
        (
            lambda: native.linear(normal(3, 7).astype(np.float64), packed),
            "x must be a float32 array, not float64",
        ),
        (lambda: native.linear(normal(7), packed), "must have 2 axes"),
        (lambda: native.linear(normal(3, 7), packed, residual=normal(3, 4)), "residual must have the shape"),
        (lambda: native.linear(normal(3, 7), packed, activation="relu"), "activation must be"),
        (
            lambda: native.linear(normal(3, 7), ReferenceOps().pack(normal(5, 7), None, "f32")),
            "not packed for",
        ),
        (lambda: native.pack(normal(5, 7), normal(4), "f32"), "one value per row"),
        (lambda: native.pack(normal(5, 7), None, "int2"), "precision must be one of"),
        (lambda: native.rms_norm(normal(3, 7), normal(6), 1e-5), "weight must have"),
        (lambda: native.silu_mul(normal(3, 7)), "even number"),
        (lambda: native.rope(normal(3, 2, 8), normal(3, 4), normal(2, 4)), "sin must be"),
    ]:
        with pytest.raises(ValueError, match=words):
            call()
    q, k = normal(1, 2, 4, 8), normal(1, 2, 3, 8)
    with pytest.raises(ValueError, match="groups of k must divide"):
        native.attention(q, k, k, causal=True, precision="f32")


def test_read_only_and_strided_inputs(ops: Ops) -> None:
    weight, x = normal(33, 40), normal(34, 80)
    weight.flags.writeable = x.flags.writeable = False
    packed = ops.pack(weight, None, "f32")
    for view in (x[::2, :40], x[:, ::2], x[::-1, 40:], x[:, :40]):
        dense = np.ascontiguousarray(view)
        np.testing.assert_allclose(ops.linear(view, packed), ops.linear(dense, packed), rtol=1e-5, atol=1e-5)
        np.testing.assert_array_equal(ops.silu_mul(view), ops.silu_mul(dense))


@needs_native
def test_results_are_never_shared(native: Any) -> None:
    """Buffers are recycled only when nothing refers to them any more."""
    packed = native.pack(np.eye(64, dtype=np.float32), None, "f32")
    inputs = [normal(200, 64, seed=i) for i in range(8)]
    results = [native.linear(x, packed) for x in inputs]
    views = [result[3:] for result in results]
    del results
    for x in inputs:
        native.linear(-x, packed)
    for x, view in zip(inputs, views, strict=True):
        np.testing.assert_array_equal(view, x[3:])


@needs_native
def test_many_python_threads_at_once(native: Any) -> None:
    packed = native.pack(normal(96, 64), None, "bf16")
    inputs = [normal(50, 64, seed=i) for i in range(40)]
    wanted = [native.linear(x, packed) for x in inputs]
    with ThreadPoolExecutor(4) as pool:
        for got, want in zip(pool.map(lambda x: native.linear(x, packed), inputs), wanted, strict=True):
            np.testing.assert_array_equal(got, want)
