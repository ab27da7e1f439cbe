"""Scales, codes and zeros: what they lose, and that what they stand for is exact."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from seatrial.vision.ops.bfloat16 import round_to_bf16
from seatrial.vision.ops.protocol import Array
from seatrial.vision.ops.quantise import (
    INT8_MOST_COLUMNS,
    int4_group,
    quantise_int4,
    quantise_int8,
    quantise_rows,
)


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng([seed, *shape]).standard_normal(shape, dtype=np.float32)


def relative_error(near: np.ndarray, weight: Array) -> float:
    return float(np.sqrt(np.mean((near - weight) ** 2) / np.mean(weight**2)))


def plain_int4(weight: Array, group: int) -> np.ndarray:
    """Scale from the span of the group, zero from its lower end: no search."""
    w = weight.reshape(-1, group).astype(np.float64)
    low, high = np.minimum(w.min(1, keepdims=True), 0), np.maximum(w.max(1, keepdims=True), 0)
    scale = (high - low) / 15
    zero = np.rint(-low / scale)
    return ((np.clip(np.rint(w / scale) + zero, 0, 15) - zero) * scale).reshape(weight.shape)


# ---- int8 --------------------------------------------------------------------------------------------------


def test_int8_misses_by_half_a_step_at_most() -> None:
    weight = normal(65, 333) * np.logspace(-6, 3, 65, dtype=np.float32)[:, None]
    whole = quantise_int8(weight)
    assert np.abs(whole.values).max(axis=1).tolist() == [127] * 65  # the largest of a row is met
    np.testing.assert_array_equal(whole.scale, np.abs(weight).max(axis=1) / np.float32(127))
    missed = np.abs(whole.values.astype(np.float64) * whole.scale[:, None] - weight)
    assert np.all(missed <= 0.5001 * whole.scale[:, None])


def test_int8_of_normal_weights_loses_little() -> None:
    weight = normal(100, 576)
    whole = quantise_int8(weight)
    assert relative_error(whole.values * whole.scale[:, None], weight) < 0.0085


def test_weights_that_were_int8_come_back() -> None:
    values = np.random.default_rng(1).integers(-127, 128, (40, 300)).astype(np.int8)
    values[:, 7] = 127
    scale = np.abs(normal(40)) + np.float32(0.01)
    again = quantise_int8(values.astype(np.float32) * scale[:, None])
    np.testing.assert_array_equal(again.values, values)
    np.testing.assert_allclose(again.scale, scale, rtol=2e-7)


def test_activations_ties_go_to_even() -> None:
    x = np.array([[127, 0.5, 1.5, 2.5, -0.5, -1.5, -127, 3.49]], np.float32)
    values, scale = quantise_rows(x)
    assert values.tolist() == [[127, 0, 2, 2, 0, -2, -127, 3]]
    assert scale.tolist() == [1.0]


def test_rows_of_nothing_and_of_no_numbers() -> None:
    x = np.array([[0, 0], [1e-31, 0], [np.nan, 1], [np.inf, 1], [3e38, -3e38]], np.float32)
    values, scale = quantise_rows(x)
    assert values.tolist() == [[0, 0], [0, 0], [0, 0], [0, 0], [127, -127]]
    assert scale[:2].tolist() == [0, 0] and np.isnan(scale[2:4]).all() and np.isfinite(scale[4])


def test_too_many_columns_are_refused() -> None:
    with pytest.raises(ValueError, match="at most"):
        quantise_int8(np.zeros((1, INT8_MOST_COLUMNS + 1), np.float32))


# ---- int4 --------------------------------------------------------------------------------------------------


def test_groups() -> None:
    assert [int4_group(k) for k in (64, 96, 576, 2048, 4304, 33, 0)] == [64, 32, 64, 64, None, None, None]
    assert quantise_int4(normal(3, 96)).group == 32
    with pytest.raises(ValueError, match="multiple of 32"):
        quantise_int4(normal(3, 4304))


def test_int4_values_are_bfloat16_without_rounding() -> None:
    """Checked with fractions: neither the product nor the bfloat16 has lost anything."""
    weight = normal(40, 128) * np.logspace(-8, 8, 40, dtype=np.float32)[:, None]
    grouped = quantise_int4(weight)
    dequantised = grouped.dequantised()
    np.testing.assert_array_equal(round_to_bf16(dequantised), dequantised)
    for row, column in [(0, 0), (3, 77), (20, 64), (39, 127)]:
        group = column // grouped.group
        steps = int(grouped.codes[row, column]) - int(grouped.zero[row, group])
        assert Fraction(float(dequantised[row, column])) == steps * Fraction(float(grouped.scale[row, group]))
    mantissa, _ = np.frexp(grouped.scale)
    np.testing.assert_array_equal(mantissa * 16, np.rint(mantissa * 16))  # four significant bits


@pytest.mark.parametrize("shift", [0.0, 0.5, 3.0, -3.0])
def test_the_search_is_no_worse_than_the_plain_way(shift: float) -> None:
    weight = normal(64, 576) + np.float32(shift)
    error = relative_error(quantise_int4(weight).dequantised(), weight)
    assert error <= 1.001 * relative_error(plain_int4(weight, 64), weight)


def test_int4_of_normal_weights_loses_nine_percent() -> None:
    weight = normal(200, 576)
    assert relative_error(quantise_int4(weight).dequantised(), weight) < 0.0895


def test_codes_and_zeros_are_four_bits() -> None:
    for weight in (normal(20, 64), np.abs(normal(20, 64)), -np.abs(normal(20, 64)), normal(20, 64) ** 9):
        grouped = quantise_int4(weight)
        assert grouped.codes.max() <= 15 and grouped.zero.max() <= 15
        assert relative_error(grouped.dequantised(), weight) < 0.15


def test_groups_of_one_value_and_of_nothing() -> None:
    weight = np.zeros((4, 64), np.float32)
    weight[1], weight[2], weight[3, 5] = 3, -0.7, 1e-35
    dequantised = quantise_int4(weight).dequantised()
    np.testing.assert_array_equal(dequantised[[0, 3]], 0)
    np.testing.assert_allclose(dequantised[1:3], weight[1:3], rtol=0.02)


def test_chunks_do_not_show() -> None:
    weight = normal(700, 512)
    whole, grouped = quantise_int8(weight), quantise_int4(weight)
    for row in (0, 127, 128, 699):
        one = slice(row, row + 1)
        np.testing.assert_array_equal(quantise_int8(weight[one]).values, whole.values[one])
        np.testing.assert_array_equal(quantise_int4(weight[one]).codes, grouped.codes[one])


def test_weights_that_are_not_numbers_are_refused() -> None:
    weight = normal(5, 64)
    weight[2, 3] = np.inf
    for quantise in (quantise_int8, quantise_int4):
        with pytest.raises(ValueError, match="finite"):
            quantise(weight)
