from __future__ import annotations

from pathlib import Path

import pytest

from seatrial.errors import CapacityError, SettingError
from seatrial.vision import memory
from seatrial.vision.checkpoint import Model
from seatrial.vision.engine import Engine, open_engine
from seatrial.vision.features import FeatureCache
from seatrial.vision.inspection import count_parameters
from seatrial.vision.memory import MemoryPlan, available_memory, parse_bytes, plan_memory


@pytest.mark.parametrize(
    ("text", "size"),
    [("700MB", 700_000_000), ("2GiB", 2**31), ("1.5g", 1_500_000_000), ("300000", 300_000), ("64 KiB", 65536)],
)
def test_amounts(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "0", "much", "-5MB", "5TB", "1e9", "5 MB MB"])
def test_no_amounts(text: str) -> None:
    with pytest.raises(SettingError, match="no amount of memory"):
        parse_bytes(text)


def plan(small: Model, limit: int, *, forced: bool = False, positions: int = 500) -> MemoryPlan:
    config, parameters = small.processor.config, count_parameters(small.processor.files.weights())
    return plan_memory(config, parameters, limit, best="bf16", forced=forced, positions=positions)


def test_less_memory_means_fewer_bits_then_a_refusal(small: Model) -> None:
    generous = plan(small, 10**9)
    assert generous.precision == "bf16"
    assert generous.total <= 10**9
    precisions = []
    with pytest.raises(CapacityError, match=r"are needed at int4 for 500 positions; \d+ MB may be used"):
        for limit in range(generous.total, 0, -5_000):
            fitted = plan(small, limit)
            assert fitted.total <= limit
            assert fitted.positions >= 500
            precisions.append((fitted.precision, fitted.kv))
    assert sorted(set(precisions), key=precisions.index) == [
        ("bf16", "same"), ("bf16", "int8"), ("int8", "same"), ("int8", "int8"), ("int4", "same"), ("int4", "int8")
    ]  # fmt: skip


def test_a_precision_that_was_asked_for_stays(small: Model) -> None:
    parameters = plan(small, 10**9).parts
    with pytest.raises(CapacityError, match="are needed at bf16"):
        plan(small, parameters["program"] + parameters["weights"], forced=True)


def test_an_engine_in_little_memory_answers_as_ever(checkpoints: dict[str, Path]) -> None:
    folder = checkpoints["like-256m"]
    tight = open_engine(folder, precision="f32", memory="250MB")
    assert tight.model.plan
    assert tight.ask([], "Hello there").tokens == open_engine(folder, precision="f32").ask([], "Hello there").tokens
    with pytest.raises(CapacityError):
        open_engine(folder, memory=10_000_000)


def test_memory_of_the_machine_and_its_cgroups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (available_memory() or 0) > 10**8
    (tmp_path / "memory.max").write_text("5000000\n")
    (tmp_path / "memory.current").write_text("2000000\n")
    monkeypatch.setattr(memory, "_cgroup_files", lambda: [(tmp_path / "memory.max", tmp_path / "memory.current")])
    assert available_memory() == 3_000_000
    (tmp_path / "memory.max").write_text("max\n")
    assert (available_memory() or 0) > 10**8


def test_what_the_machine_has_left_is_asked_before_loading(
    checkpoints: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seatrial.vision.engine.available_memory", lambda: 50_000_000)
    with pytest.raises(CapacityError, match="50 MB may be used"):
        open_engine(checkpoints["like-256m"])


def test_what_was_asked_for_reaches_the_model(small: Model) -> None:
    """Keys and values in eight bits, with and without a limit; a feature cache that is off stays off."""
    off = FeatureCache(memory_limit=0, disk_limit=0)
    for limit in (None, 10**9):
        model = Engine.load(small.processor, "bf16", off, memory=limit, kv="int8").model
        assert model.pool.kv == "int8"
        assert model.features.is_off
    assert Engine.load(small.processor, "bf16").model.pool.kv == "same"
