"""Whole models at int8 and int4 beside float32: how far the scores move.

Measured over all golden cases (weights are uniform noise, so four bits cost more than in a trained model):
logits by at most 0.019 of their range at int8 and 0.117 at int4, Kullback-Leibler divergence of the next
token at most 0.0012 and 0.066 nats.  The bounds leave room for half as much again.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from seatrial.errors import SettingError
from seatrial.vision.checkpoint import Model, load_model
from seatrial.vision.inspection import summarise
from seatrial.vision.ops import available, select
from seatrial.vision.ops.protocol import Precision
from seatrial.vision.precision import RECIPES
from tests.golden.cases import all_cases
from tests.golden.compare import last_logits, prompt_of

BOUNDS: dict[Precision, tuple[float, float]] = {"int8": (0.03, 0.002), "int4": (0.18, 0.1)}
CHECKPOINTS = ("like-256m", "like-2.2b", "like-v1", "odd")


def divergence(wanted: np.ndarray, got: np.ndarray) -> float:
    """Kullback-Leibler divergence in nats of the next-token distributions of two rows of logits."""

    def log_probabilities(logits: np.ndarray) -> np.ndarray:
        shifted = logits.astype(np.float64) - logits.max()
        return shifted - np.log(np.exp(shifted).sum())

    p, q = log_probabilities(wanted), log_probabilities(got)
    return float((np.exp(p) * (p - q)).sum())


@pytest.fixture(scope="module")
def exact(checkpoints: dict[str, Path]) -> dict[str, Model]:
    return {name: load_model(checkpoints[name], "f32") for name in CHECKPOINTS}


@pytest.mark.parametrize("precision", BOUNDS)
@pytest.mark.parametrize("name", available())
@pytest.mark.parametrize("checkpoint", CHECKPOINTS)
def test_scores_stay_near(
    checkpoint: str, name: str, precision: Precision, checkpoints: dict[str, Path], exact: dict[str, Model]
) -> None:
    model = load_model(checkpoints[checkpoint], precision, ops=select(name))
    assert model.precision == precision
    most, most_divergence = BOUNDS[precision]
    for case in [case for case in all_cases() if case.checkpoint == checkpoint][:2]:
        prompt = prompt_of(case, exact[checkpoint])
        wanted, got = last_logits(exact[checkpoint], prompt), last_logits(model, prompt)
        assert np.abs(got - wanted).max() < most * (wanted.max() - wanted.min()), case.name
        assert divergence(wanted, got) < most_divergence, case.name


@pytest.mark.parametrize("name", available())
@pytest.mark.parametrize("checkpoint", CHECKPOINTS)
def test_keys_and_values_in_eight_bits_stay_near(
    checkpoint: str, name: str, checkpoints: dict[str, Path], exact: dict[str, Model]
) -> None:
    """Measured: at most 0.005 of the range and 1.7e-5 nats."""
    model = load_model(checkpoints[checkpoint], "f32", ops=select(name), kv="int8")
    for case in [case for case in all_cases() if case.checkpoint == checkpoint][:2]:
        prompt = prompt_of(case, exact[checkpoint])
        wanted, got = last_logits(exact[checkpoint], prompt), last_logits(model, prompt)
        moved, range_ = np.abs(got - wanted).max(), wanted.max() - wanted.min()
        assert 0 < moved < 0.01 * range_, case.name
        assert divergence(wanted, got) < 1e-4, case.name


@pytest.mark.parametrize("precision", RECIPES)
def test_parts_are_packed_by_the_recipe(checkpoints: dict[str, Path], precision: Precision) -> None:
    model, recipe = load_model(checkpoints["like-256m"], precision), RECIPES[precision]
    tower, decoder = model.tower, model.decoder
    assert (tower.patch.precision, tower.connector.precision) == (recipe.patch, recipe.connector)
    assert {part.precision for layer in tower.layers for part in (layer.qkv, layer.out, layer.fc1, layer.fc2)} == {
        recipe.tower
    }
    assert {p.precision for layer in decoder.layers for p in (layer.qkv, layer.o, layer.gate_up, layer.down)} == {
        recipe.text
    }
    assert decoder.lm_head.precision == recipe.lm_head
    assert tower.attention == decoder.attention == recipe.attention


def test_memory_falls_with_the_precision(checkpoints: dict[str, Path]) -> None:
    memory = summarise(checkpoints["like-256m"]).memory
    assert list(memory) == ["f32", "bf16", "int8", "int4"]
    assert memory["f32"] > memory["bf16"] > memory["int8"] > memory["int4"]


def test_an_unknown_precision_is_named(checkpoints: dict[str, Path]) -> None:
    with pytest.raises(SettingError, match="int3") as caught:
        load_model(checkpoints["odd"], "int3")
    assert "auto, f32, bf16, int8, int4" in str(caught.value.hint)
