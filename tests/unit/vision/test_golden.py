"""Every golden case on every implementation of the operations, in float32."""

from __future__ import annotations

from pathlib import Path

import pytest

from seatrial.vision.checkpoint import Model, load_model
from seatrial.vision.ops import available, select
from tests.golden.cases import Case, all_cases
from tests.golden.checkpoints import SHAPES
from tests.golden.compare import compare, golden_facts

LOGITS_TOLERANCE = 2e-4
"""Largest difference of a logit, as a share of the range of the logits."""
SEAM_TOLERANCE = 1e-4
"""Largest difference at a seam, as a share of the largest value there (or of 1)."""


@pytest.fixture(scope="module", params=available())
def loaded(request: pytest.FixtureRequest, checkpoints: dict[str, Path]) -> dict[str, Model]:
    return {name: load_model(folder, "f32", ops=select(request.param)) for name, folder in checkpoints.items()}


@pytest.mark.parametrize("case", all_cases(), ids=lambda case: case.name)
def test_equals_the_reference(case: Case, loaded: dict[str, Model]) -> None:
    distance = compare(case, loaded[case.checkpoint])
    assert distance.same_text
    assert distance.same_ids
    assert distance.same_pixels
    assert distance.same_grids
    assert distance.logits < LOGITS_TOLERANCE
    assert max(distance.seams.values()) < SEAM_TOLERANCE
    assert distance.same_tokens


def test_the_suite_is_whole() -> None:
    cases = all_cases()
    assert len(cases) >= 60
    assert {case.name for case in cases} == set(golden_facts()["cases"])
    assert {case.checkpoint for case in cases} == {shape.name for shape in SHAPES}


@pytest.mark.parametrize("name", available())
def test_bfloat16_stays_close(name: str, checkpoints: dict[str, Path]) -> None:
    """bf16 is not exact; its logits stay within a few percent of the range."""
    model = load_model(checkpoints["like-256m"], "bf16", ops=select(name))
    cases = [case for case in all_cases() if case.checkpoint == "like-256m"][:3]
    for case in cases:
        assert compare(case, model).logits < 0.05
