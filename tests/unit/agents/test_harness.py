from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from seatrial.agents import harness
from seatrial.errors import HarnessError

SHIPPED = ["claude-code", "codex", "gemini-cli", "generic", "mini", "opencode"]


def test_the_shipped_ones_are_well_written() -> None:
    assert [found.name for found in harness.all_harnesses()] == SHIPPED


def test_words_are_words_whatever_is_in_them() -> None:
    made = harness.from_dict({"name": "x", "start": ["p", ["--model", "{model}"], "{arguments}", ["{task}"]]}, "here")
    task = "a {model} $HOME `id`\nb"
    assert made.command({"task": task, "model": ""}, ["-v", "{task}"], resume=False) == ["p", "-v", "{task}", task]
    assert made.command({"task": "", "model": "m"}, [], resume=True) == ["p", "--model", "m"]


def test_what_has_no_place_for_a_task_is_known() -> None:
    made = harness.from_dict({"name": "x", "start": ["p", ["{task}"]], "resume": ["p", "--continue"]}, "here")
    assert made.takes_task(resume=False) and not made.takes_task(resume=True)
    assert harness.from_dict({"name": "x", "start": ["p", ["{task}"]]}, "here").takes_task(resume=True)


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ({"start": ["p"]}, "name"),
        ({"name": "x"}, "start"),
        ({"name": "x", "start": "p {task}"}, "shell"),
        ({"name": "x", "start": ["p", "{tsk}"]}, "tsk"),
        ({"name": "x", "start": ["p"], "colour": 1}, "colour"),
        ({"name": "x", "start": ["p"], "delivery": "shout"}, "delivery"),
        ({"name": "x", "start": ["p"], "ready": "("}, "regular"),
    ],
)
def test_what_is_not_a_harness_is_refused_by_name(values: dict[str, Any], names: str) -> None:
    with pytest.raises(HarnessError, match=names):
        harness.from_dict(values, "here")


def test_a_project_may_bring_its_own(tmp_path: Path) -> None:
    folder = tmp_path / ".seatrial" / "harnesses"
    folder.mkdir(parents=True)
    (folder / "mine.toml").write_text('name = "mine"\nstart = ["mine", ["{task}"]]\n')
    assert harness.find("mine", tmp_path).start == ["mine", ["{task}"]]
    (folder / "other.toml").write_text('name = "mine"\nstart = ["x"]\n')
    with pytest.raises(HarnessError, match=r"other\.toml"):
        harness.find("other", tmp_path)
    for name in ("nope", "../mine", ""):
        with pytest.raises(HarnessError, match="no harness"):
            harness.find(name, tmp_path)
