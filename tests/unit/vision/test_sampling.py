from __future__ import annotations

import numpy as np
import pytest

from seatrial.errors import SettingError
from seatrial.vision.sampling import Decoding, choose, filtered, log_probability, penalised, softmax

SCORES = np.log(np.array([0.5, 0.25, 0.125, 0.0625, 0.0625], np.float32))


def kept(**options: float) -> list[int]:
    return np.flatnonzero(np.isfinite(filtered(SCORES, Decoding(**options)))).tolist()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [0, 1, 2, 3, 4]), ({"top_k": 2}, [0, 1]), ({"top_k": 99}, [0, 1, 2, 3, 4]), ({"top_p": 0.5}, [0]),
        ({"top_p": 0.51}, [0, 1]), ({"top_p": 0.76}, [0, 1, 2]), ({"top_p": 1e-9}, [0]), ({"min_p": 0.3}, [0, 1]),
        ({"min_p": 0.9}, [0]), ({"top_k": 3, "min_p": 0.4}, [0, 1]),
    ],
)  # fmt: skip
def test_filters(options: dict, expected: list[int]) -> None:
    assert kept(**options) == expected


def test_greedy_takes_the_first_of_equals() -> None:
    scores = np.array([1, 3, 3, 2], np.float32)
    assert choose(scores, [], Decoding(), np.random.default_rng(0)) == 1


def test_sampling_follows_the_distribution() -> None:
    random = np.random.default_rng(0)
    drawn = [choose(SCORES, [], Decoding(temperature=1.0), random) for _ in range(4000)]
    shares = np.bincount(drawn, minlength=5) / 4000
    assert np.abs(shares - np.exp(SCORES)).max() < 0.03


def test_temperature_sharpens() -> None:
    random = np.random.default_rng(0)
    drawn = [choose(SCORES, [], Decoding(temperature=0.25), random) for _ in range(1000)]
    expected = softmax(SCORES / 0.25)[0]
    assert abs(drawn.count(0) / 1000 - expected) < 0.05


def test_repetition_penalty_pushes_seen_tokens_down() -> None:
    scores = np.array([2.0, -2.0, 1.0], np.float32)
    assert penalised(scores, [0, 1, 1], 2.0).tolist() == [1.0, -4.0, 1.0]
    assert scores.tolist() == [2.0, -2.0, 1.0]


def test_log_probability() -> None:
    assert log_probability(SCORES + 7, 1) == pytest.approx(np.log(0.25), abs=1e-6)


@pytest.mark.parametrize(
    "options",
    [{"temperature": -1}, {"top_p": 0}, {"top_p": 1.1}, {"min_p": 1}, {"top_k": -1}, {"max_new_tokens": 0},
     {"repetition_penalty": 0}, {"stop": ("",)}],
)  # fmt: skip
def test_values_outside_their_range(options: dict) -> None:
    with pytest.raises(SettingError):
        Decoding(**options)
