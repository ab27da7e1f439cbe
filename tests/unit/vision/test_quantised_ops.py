"""int8 and int4 multiplies of every implementation that this machine can run, against float64.

Bounds, operands as quantised (|a| elementwise):
  int8  sums are exact; scaling, bias and the row's scale are float32: 4e-7 * (|result - bias| + |bias|)
  int4  1e-6 * (|x| @ (|weight| + 15 scale).T): codes are summed before the zero is taken off
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from seatrial.vision.ops import available, select
from seatrial.vision.ops.bfloat16 import f32_to_bf16_bits, round_to_bf16
from seatrial.vision.ops.protocol import Array, Ops, Precision
from seatrial.vision.ops.quantise import quantise_int4, quantise_int8, quantise_rows
from tests.unit.vision.test_ops import assert_within, gelu64, normal

ROWS = (1, 2, 3, 5, 8, 9, 15, 16, 17, 31, 33, 97)
QUANTISED: tuple[Precision, ...] = ("int8", "int4")
NATIVE = [name for name in available() if name != "reference"]


@pytest.fixture(params=available())
def ops(request: pytest.FixtureRequest) -> Ops:
    return select(request.param)


def product(x: Array, weight: Array, precision: Precision) -> tuple[np.ndarray, np.ndarray]:
    """Return the product in float64 by the definition, and the bound for results without a bias."""
    if precision == "int8":
        (rows, row_scale), whole = quantise_rows(x), quantise_int8(weight)
        exact = rows.astype(np.float64) @ whole.values.T.astype(np.float64)
        wanted = exact * row_scale.astype(np.float64)[:, None] * whole.scale
        return wanted, 4e-7 * np.abs(wanted)
    grouped, entering = quantise_int4(weight), round_to_bf16(x).astype(np.float64)
    dequantised = grouped.dequantised().astype(np.float64)
    reach = np.abs(dequantised) + 15 * np.repeat(grouped.scale, grouped.group, axis=1)
    return entering @ dequantised.T, 1e-6 * (np.abs(entering) @ reach.T)


def check(ops: Ops, rows: tuple[int, ...], k: int, n: int, precision: Precision) -> None:
    x, weight, bias = normal(max(rows), k), normal(n, k, seed=1), normal(n, seed=2)
    packed = ops.pack(weight, bias, precision)
    assert (packed.out_features, packed.in_features, packed.precision) == (n, k, precision)
    wanted, bound = product(x, weight, precision)
    for m in rows:
        whole = bound[:m] + 4e-7 * np.abs(bias) + 1e-30
        assert_within(ops.linear(x[:m], packed), wanted[:m] + bias, whole, (m, k, n))


@pytest.mark.parametrize("k", [1, 3, 17, 63, 64, 65, 130, 269])
def test_int8_at_awkward_sizes(ops: Ops, k: int) -> None:
    for n in (1, 7, 16, 31, 33, 97):
        check(ops, ROWS, k, n, "int8")


@pytest.mark.parametrize("k", [32, 64, 96, 192, 576])
def test_int4_at_awkward_sizes(ops: Ops, k: int) -> None:
    for n in (1, 7, 16, 31, 33, 97):
        check(ops, ROWS, k, n, "int4")


def test_sizes_of_the_models(ops: Ops) -> None:
    check(ops, (1, 729), 288, 4304, "int8")
    check(ops, (1, 4, 97), 4304, 288, "int8")
    for precision in QUANTISED:
        check(ops, (1, 8, 9, 1024), 768, 192, precision)


@pytest.mark.skipif(not NATIVE, reason="the extension is not built")
def test_int4_of_many_panels_is_expanded_in_parts() -> None:
    """More bf16 panels than scratch is given, so the multiply runs over ranges of them."""
    check(select(NATIVE[0]), (9, 33), 4096, 1300, "int4")


def test_the_largest_whole_numbers_do_not_overflow(ops: Ops) -> None:
    x, weight = np.ones((3, 12288), np.float32), np.ones((17, 12288), np.float32)
    x[1] *= -1
    for m in (1, 3):
        y = ops.linear(x[:m], ops.pack(weight, None, "int8"))
        np.testing.assert_allclose(y, np.sign(x[:m, :1]) * np.full(17, 12288), rtol=1e-6)
    np.testing.assert_allclose(ops.linear(np.repeat(x, 6, 0), ops.pack(-weight, None, "int8"))[0], -12288, rtol=1e-6)


@pytest.mark.parametrize("precision", QUANTISED)
def test_bias_activation_and_residual_are_fused_in_this_order(ops: Ops, precision: Precision) -> None:
    for m, k, n in [(1, 64, 33), (7, 96, 31), (33, 64, 97)]:
        x, weight, bias, residual = normal(m, k), normal(n, k), normal(n), normal(m, n, seed=3)
        wanted, _ = product(x, weight, precision)
        scale = 1e-5 * (1 + np.abs(wanted))
        packed = ops.pack(weight, bias, precision)
        assert_within(ops.linear(x, packed, activation="gelu_tanh"), gelu64(wanted + bias), scale, "gelu")
        assert_within(ops.linear(x, packed, residual=residual), wanted + bias + residual, scale, "residual")
        both = ops.linear(x, packed, activation="gelu_tanh", residual=residual)
        assert_within(both, gelu64(wanted + bias) + residual, scale, "both")


def test_an_int8_row_does_not_depend_on_its_neighbours(ops: Ops) -> None:
    """Prefill and decode agree bit for bit, whichever kernel each of them gets."""
    x, packed = normal(97, 269), ops.pack(normal(130, 269), normal(130), "int8")
    whole = ops.linear(x, packed, activation="gelu_tanh")
    for m in ROWS:
        np.testing.assert_array_equal(ops.linear(x[:m], packed, activation="gelu_tanh"), whole[:m])
    np.testing.assert_array_equal(ops.linear(x[50:51], packed, activation="gelu_tanh"), whole[50:51])


def test_activations_are_quantised_bit_for_bit(ops: Ops) -> None:
    """The identity shows what entered the multiply: halves between whole numbers and tails included."""
    for k in (64, 100):
        identity = ops.pack(np.eye(k, dtype=np.float32), None, "int8")
        x = normal(40, k) * np.float32(30)
        x[::3] = np.rint(x[::3] * 2) / 2
        x[:, 0] = 127
        values, scale = quantise_rows(x)
        wanted = values.astype(np.float32) * np.float32(127) * scale[:, None] * np.float32(1 / 127)
        for m in (1, 3, 8, 40):
            np.testing.assert_allclose(ops.linear(x[:m], identity), wanted[:m], rtol=3e-7, atol=0)


@pytest.mark.parametrize("precision", QUANTISED)
def test_rows_of_nothing_and_rows_of_no_numbers(ops: Ops, precision: Precision) -> None:
    weight, bias = normal(20, 64), normal(20)
    packed = ops.pack(weight, bias, precision)
    for m in (4, 33):
        x = normal(m, 64)
        x[0], x[1, 3] = 0, np.nan
        y = ops.linear(x, packed)
        np.testing.assert_array_equal(y[0], bias)
        assert np.isnan(y[1]).all() and np.isfinite(np.delete(y, 1, axis=0)).all()
        x[1, 3] = np.inf
        assert not np.isfinite(ops.linear(x, packed)[1]).any()
    assert ops.linear(np.empty((0, 64), np.float32), packed).shape == (0, 20)


@pytest.mark.parametrize("precision", QUANTISED)
def test_weights_of_all_stored_types(ops: Ops, precision: Precision) -> None:
    weight = round_to_bf16(normal(33, 64))
    wanted = ops.linear(normal(5, 64), ops.pack(weight, None, precision))
    np.testing.assert_array_equal(
        ops.linear(normal(5, 64), ops.pack(f32_to_bf16_bits(weight), None, precision)), wanted
    )
    half = ops.linear(normal(5, 64), ops.pack(weight.astype(np.float16), None, precision))
    np.testing.assert_allclose(half, wanted, rtol=0, atol=2e-2)


@pytest.mark.parametrize("precision", QUANTISED)
def test_the_same_call_twice_is_bit_equal(ops: Ops, precision: Precision) -> None:
    x, packed = normal(97, 320), ops.pack(normal(130, 320), normal(130), precision)
    for m in (1, 7, 97):
        np.testing.assert_array_equal(ops.linear(x[:m], packed), ops.linear(x[:m], packed))


def test_int4_becomes_int8_where_no_group_divides(ops: Ops) -> None:
    x, weight = normal(3, 4304), normal(20, 4304)
    packed = ops.pack(weight, None, "int4")
    assert packed.precision == "int8"
    np.testing.assert_array_equal(ops.linear(x, packed), ops.linear(x, ops.pack(weight, None, "int8")))


@pytest.mark.parametrize("name", NATIVE)
def test_bytes_are_what_the_precision_says(name: str) -> None:
    weight: Any = normal(512, 1024)
    sizes = {p: select(name).pack(weight, None, p).nbytes for p in ("bf16", *QUANTISED)}
    assert sizes["int8"] < 0.51 * sizes["bf16"] and sizes["int4"] < 0.27 * sizes["bf16"]


def test_weights_that_are_not_numbers_are_refused(ops: Ops) -> None:
    weight = normal(5, 64)
    weight[2, 3] = np.nan
    for precision in QUANTISED:
        with pytest.raises(ValueError, match="finite"):
            ops.pack(weight, None, precision)
