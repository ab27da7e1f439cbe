"""The engine against transformers in the same process: `make reference`."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from seatrial.vision.checkpoint import Model
from tests.golden.cases import Case, one, picture
from tests.golden.checkpoints import SHAPES
from tests.golden.compare import distance
from tests.golden.reference import Reference

RANDOM_CASES = 8


@pytest.fixture(scope="module", autouse=True)
def wanted(request: pytest.FixtureRequest) -> None:
    if not request.config.getoption("--run-reference"):
        pytest.skip("the live comparison runs with --run-reference (make reference)")
    if importlib.util.find_spec("transformers") is None:
        pytest.skip("transformers is not installed: pip install 'seatrial[reference]'")


def random_cases(checkpoint: str) -> list[Case]:
    """Pictures of random sizes, new at every run; the seed is in the test's name."""
    seed = int(np.random.default_rng().integers(1 << 16))
    random = np.random.default_rng(seed)
    sizes = [tuple(int(side) for side in random.integers(1, 600, 2)) for _ in range(RANDOM_CASES)]
    return [Case(f"live-{seed}-{w}x{h}", checkpoint, one(picture(w, h, seed))) for w, h in sizes]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("checkpoint", [shape.name for shape in SHAPES])
def test_equals_transformers_now(checkpoint: str, checkpoints: dict[str, Path], models: dict[str, Model]) -> None:
    reference = Reference(checkpoints[checkpoint])
    for case in random_cases(checkpoint):
        golden = reference.run(case)
        arrays = {f"seam/{name}": value for name, value in golden.pop("seams").items()}
        arrays |= {"logits": golden["logits"], "ids": np.asarray(golden["ids"])}
        facts = {**golden, "grids": [list(grid) for grid in golden["grids"]]}
        found = distance(case, models[checkpoint], facts, arrays)
        assert found.same_text, case.name
        assert found.same_ids, case.name
        assert found.same_pixels, case.name
        assert found.logits < 2e-4, case.name
        assert found.same_tokens, case.name
