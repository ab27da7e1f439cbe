"""What all tests share: a private home, no settings from outside, and small checkpoints."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from seatrial.vision.checkpoint import Model, load_model
from seatrial.vision.ops import available, select
from tests.golden.checkpoints import SHAPES, make_checkpoint

REPOSITORY = Path(__file__).parents[1]
KEPT = ("SEATRIAL_OPS", "SEATRIAL_THREADS")


def pytest_report_header() -> str:
    return f"seatrial operations: {select().instruction_set}, available: {', '.join(available())}"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--run-reference", action="store_true", help="compare live with transformers")


@pytest.fixture(autouse=True)
def private_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Each test has its own state; settings of the person running the tests do not leak in."""
    for name in list(os.environ):
        if name.startswith("SEATRIAL_") and name not in KEPT:
            monkeypatch.delenv(name)
    home = tmp_path / "seatrial-home"
    monkeypatch.setenv("SEATRIAL_HOME", str(home))
    return home


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folders of all golden checkpoints."""
    root = tmp_path_factory.mktemp("checkpoints")
    return {shape.name: make_checkpoint(shape, root / shape.name) for shape in SHAPES}


@pytest.fixture(scope="session")
def models(checkpoints: dict[str, Path]) -> dict[str, Model]:
    """The golden checkpoints, loaded in float32 on the chosen operations."""
    return {name: load_model(folder, "f32") for name, folder in checkpoints.items()}


@pytest.fixture(scope="session")
def small(models: dict[str, Model]) -> Model:
    """One loaded checkpoint for tests that need any."""
    return models["like-256m"]
