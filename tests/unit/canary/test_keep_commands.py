"""The commands that keep, count and give away: what they print, for people and as JSON."""

from __future__ import annotations

import csv
import json
import os
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from seatrial.canary.history import History
from seatrial.cli import canary_keep, seatrial
from seatrial.errors import SeatrialError, SettingError
from tests.unit.canary.histories import history
from tests.unit.canary.ingests import small_tree
from tests.unit.canary.test_monitor import put


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An own home without logs."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("CLAUDE_CONFIG_DIR", "CODEX_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    return small_tree(tmp_path / "logs")


def run(command: click.Command, *arguments: str | Path) -> str:
    done = CliRunner().invoke(seatrial, ["canary", str(command.name), *map(str, arguments)], catch_exceptions=False)
    if isinstance(done.exception, SeatrialError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.stdout


def run_json(command: click.Command, *arguments: str | Path) -> dict[str, Any]:
    found = json.loads(run(command, *arguments, "--json"))
    assert found.pop("ok") is True
    return dict(found)


def test_every_command_on_an_empty_home(tmp_path: Path) -> None:
    assert "0 logs read" in run(canary_keep.ingest)
    assert run(canary_keep.watch) == ""
    assert run_json(canary_keep.costs)["rows"] == []
    assert "TOTAL" not in run(canary_keep.costs)
    assert "0 sessions" in run(canary_keep.export, tmp_path / "a.csv")
    assert "0 sessions" in run(canary_keep.share, tmp_path / "a.json")
    pooled = run_json(canary_keep.pool, tmp_path / "a.json")
    assert (pooled["report"]["verdict"], pooled["pool"]["users"]) == ("INCONCLUSIVE", 0)
    assert "INCONCLUSIVE" in run(canary_keep.pool, tmp_path / "a.json")
    assert run(canary_keep.uninstall) == "nothing is installed\n"


def test_ingest_says_what_it_did_and_what_it_could_not(logs: Path) -> None:
    (logs / "dev0" / "bad.jsonl").write_bytes(b"\x00\x00nothing\n" * 20)
    text = run(canary_keep.ingest, "--from", logs)
    assert text.startswith("5 logs read")
    assert "4 new sessions" in text
    assert "bad.jsonl" in text
    again = run_json(canary_keep.ingest, "--from", logs)
    assert (again["files_read"], again["sessions_new"]) == (0, 0)
    assert again["files_unchanged"] == 5


def test_costs_by_day_and_model(logs: Path) -> None:
    found = run_json(canary_keep.costs, "--from", logs, "--by", "model")
    assert [row["key"] for row in found["rows"]] == ["claude-opus-4-6"]
    assert found["rows"][0]["by"] == "model"
    assert found["total"]["usd"] > 0
    text = run(canary_keep.costs, "--from", logs, "--by", "model")
    assert "claude-opus-4-6" in text and "FIRST-LINE" not in text
    assert f"{found['total']['output']:,}" in text
    assert run_json(canary_keep.costs, "--from", logs, "--project", "nothing")["rows"] == []
    assert run_json(canary_keep.costs, "--from", logs, "--days", "1")["rows"] == []


def test_both_ways_of_counting_and_unknown_prices_are_explained() -> None:
    sessions = history(2)
    for session, model in zip(sessions, ("claude-opus-4-6", "mine"), strict=True):
        from seatrial.canary.features import DayUsage

        session.usage = [DayUsage("2026-01-01", model, 3, 10, 1000, first_output=100)]
        session.spread["version"] = {"2.1.7": 3}
    with History.open() as kept:
        put(kept, sessions)
    done = CliRunner().invoke(seatrial, ["canary", "costs", "--no-ingest"], catch_exceptions=False)
    assert "FIRST-LINE OUTPUT" in done.stdout and "2,000" in done.stdout and "200" in done.stdout
    assert "in versions 2.1.7" in done.stderr
    assert "Without 3 messages of models with no known price: mine." in done.stderr


def test_export_share_and_pool(tmp_path: Path) -> None:
    with History.open() as kept:
        put(kept, history(40, change=3.0, at=20))
    run(canary_keep.export, tmp_path / "a.csv", "--no-ingest")
    with (tmp_path / "a.csv").open() as stream:
        assert len(list(csv.reader(stream))) == 41
    text = run(canary_keep.share, tmp_path / "a.json", "-k", "7")
    assert text.startswith("40 sessions of 2 projects")
    assert "project-1" not in (tmp_path / "a.json").read_text()
    other = tmp_path / "b.json"
    other.write_text((tmp_path / "a.json").read_text() + "\n")
    found = run_json(canary_keep.pool, tmp_path / "a.json", other, "--placebos", "0", "--permutations", "99")
    assert found["pool"]["users"] == 2
    assert {entry["metric"] for entry in found["users"]} >= {"reads_per_edit"}
    text = run(canary_keep.pool, tmp_path / "a.json", tmp_path / "a.json", "--placebos", "0", "--permutations", "99")
    assert "40 sessions of 1 users" in text and "the same as another file" in text


def test_a_move_is_said_once_and_handed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "bin" / "notify-send"
    fake.parent.mkdir()
    fake.write_text(f'#!/bin/sh\necho "$@" >> "{tmp_path}/shown"\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}:{os.defpath}")
    with History.open() as kept:
        put(kept, history(240, 2, change=1 / 4, at=120))
    hook = f"{sys.executable} -c 'import sys; open(sys.argv[1], \"a\").write(sys.stdin.read())' '{tmp_path}/handed on'"
    arguments = ("--no-ingest", "--notify", "desktop", "--run", hook)
    text = run(canary_keep.watch, *arguments)
    assert text.count("\n") == 1 and "reads per edit went down (worse)" in text
    assert (tmp_path / "handed on").read_text() == text
    assert (tmp_path / "shown").read_text() == f"--app-name=Seatrial -- Seatrial canary {text}"
    assert run(canary_keep.watch, *arguments) == ""
    assert run_json(canary_keep.watch, *arguments) == {"alarms": []}
    assert (tmp_path / "shown").read_text().count("\n") == 1


@pytest.mark.parametrize(
    ("command", "error", "message"),
    [
        ("/none/there", SettingError, "cannot be run"),
        ("", None, ""),
        ("'", SettingError, "cannot be run"),
        ("false", SeatrialError, "exit code 1"),
    ],
)
def test_a_command_that_fails_is_said(command: str, error: type[SeatrialError] | None, message: str) -> None:
    with History.open() as kept:
        put(kept, history(240, 2, change=1 / 4, at=120))
    if error is None:
        run(canary_keep.watch, "--no-ingest", "--run", command)
    else:
        with pytest.raises(error, match=message):
            run(canary_keep.watch, "--no-ingest", "--run", command)


def test_install_and_uninstall(home: Path) -> None:
    (home / ".claude").mkdir()
    made = run_json(canary_keep.install, "--schedule", "launchd", "--every", "1h")
    assert len(made["changed"]) == 2 and made["schedule"] == "launchd"
    skill = home / ".claude" / "skills" / "seatrial-canary" / "SKILL.md"
    skill.write_text("mine")
    text = run(canary_keep.install, "--schedule", "launchd", "--every", "1h")
    assert "as before: " in text and f"written or changed it: {skill}" in text
    text = run(canary_keep.uninstall)
    assert "removed: " in text and str(skill) in text
    assert [path.name for path in home.iterdir()] == [".claude"]
