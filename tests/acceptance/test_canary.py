"""The installed command, as a new user types it: no logs, one session, three hundred, bad logs, no network."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("orjson", reason="install with: pip install 'seatrial[canary]'")
pytest.importorskip("numpy", reason="install with: pip install 'seatrial[canary]'")

from tests.conftest import REPOSITORY

sys.path.insert(0, str(REPOSITORY / "examples" / "canary"))
from logs import write_home

DATA = REPOSITORY.parent / "shared" / "data" / "canary" / "claude_code.tar.xz"
UNTIL = datetime(2026, 11, 28, tzinfo=UTC)
DAYS = ("--since", "2026-08-01", "--until", "2026-11-28")
"""Fixed days: the same logs and the same verdict whenever the tests run."""
SECRET = "canary-string-5f3a"
Canary = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.fixture
def canary(home: Path, tmp_path: Path) -> Canary:
    names = ("CLAUDE_CONFIG_DIR", "CODEX_HOME", "XDG_DATA_HOME")
    kept = {name: value for name, value in os.environ.items() if name not in names}
    environment = {**kept, "HOME": str(home), "SEATRIAL_HOME": str(tmp_path / "state")}

    def call(*words: object, before: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        command = [*before, str(Path(sys.executable).with_name("seatrial")), "canary", *map(str, words)]
        return subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)

    return call


def facts(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_an_empty_home(canary: Canary) -> None:
    done = canary("report")
    assert done.returncode == 0
    assert done.stdout.splitlines()[0] == "INCONCLUSIVE  0 sessions of a person; at least 20 are needed"
    assert "--from FOLDER" in done.stderr


def test_a_home_with_one_session(canary: Canary, home: Path) -> None:
    write_home(home, 1)
    done = canary("report")
    assert done.stdout.startswith("INCONCLUSIVE  1 session of a person; at least 20 are needed")
    assert "Traceback" not in done.stderr


def test_a_home_with_300_sessions_that_changed(canary: Canary, home: Path, tmp_path: Path) -> None:
    write_home(home, 300, change_at=180, until=UNTIL)
    done = canary("report", *DAYS, "--html", tmp_path / "report.html", "--fail-on", "regressed")
    assert done.returncode == 3
    assert done.stdout.startswith("REGRESSED  reads per edit")
    assert "HARNESS: the version changed (2.1.96 → 2.1.110), model did not" in done.stdout
    assert len(done.stdout.splitlines()) <= 24
    assert "<!doctype html>" in (tmp_path / "report.html").read_text()
    found = facts(canary("report", *DAYS, "--json", "--no-ingest"))
    assert found["verdict"] == "REGRESSED"
    reads = next(entry for entry in found["metrics"] if entry["name"] == "reads_per_edit")
    assert reads["interval95"][0] < -0.5 < reads["interval95"][1]
    assert reads["boundary"]["earliest"] <= _day(home, 180) <= reads["boundary"]["latest"]
    assert found["placebo"]["calibrated"]


def _day(home: Path, number: int) -> str:
    file = next(home.rglob(f"{number:08d}-*.jsonl"))
    return str(json.loads(file.read_text().splitlines()[0])["timestamp"])[:10]


def test_a_home_with_300_sessions_that_did_not_change(canary: Canary, home: Path) -> None:
    write_home(home, 300, seed=3, until=UNTIL)
    done = canary("report", *DAYS, "--fail-on", "changed", "--json")
    assert done.returncode == 0
    assert facts(done)["verdict"] in ("HOLDING", "INCONCLUSIVE")


def test_the_same_logs_give_the_same_report(canary: Canary, home: Path) -> None:
    write_home(home, 60, change_at=30)
    words = ("report", "--days", 90, "--json", "--permutations", 199, "--placebos", 20)
    assert canary(*words).stdout == canary(*words).stdout


def test_a_verdict_is_kept_as_evidence(canary: Canary, home: Path) -> None:
    write_home(home, 60, change_at=30)
    found = facts(canary("report", "--record", "--json", "--placebos", 0))
    command = [str(Path(sys.executable).with_name("seatrial")), "evidence", "show", found["evidence"], "--json"]
    environment = {**os.environ, "SEATRIAL_HOME": str(home.parent / "state")}
    shown = json.loads(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
    assert shown["kind"] == "canary verdict"
    assert shown["summary"].startswith(found["verdict"])
    artefact = next((home.parent / "state" / "artefacts").rglob(shown["artefacts"][0]))
    assert json.loads(artefact.read_text())["verdict"] == found["verdict"]


def test_nothing_is_sent_anywhere(canary: Canary, home: Path) -> None:
    unshare = shutil.which("unshare")
    inside = (unshare or "", "--net", "--map-root-user") if unshare else ()
    if not unshare or subprocess.run([*inside, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine lets nobody make an empty network namespace")
    write_home(home, 40)
    assert canary("report", "--json", before=inside).returncode == 0
    for file in (REPOSITORY / "src" / "seatrial" / "canary").rglob("*.py"):
        for name in ("socket", "http", "urllib.request", "ssl", "asyncio", "requests", "httpx"):
            assert f"import {name}" not in file.read_text(), file


def test_prompts_do_not_leave_the_logs(canary: Canary, home: Path, tmp_path: Path) -> None:
    write_home(home, 30)
    for file in home.rglob("*.jsonl"):
        text = file.read_text().replace("Rename the function", f"{SECRET} Rename").replace("Done:", f"{SECRET} Done:")
        file.write_text(text)
    assert any(SECRET in file.read_text() for file in home.rglob("*.jsonl"))
    done = canary("report", "--html", tmp_path / "report.html", "--json")
    assert done.returncode == 0
    assert SECRET not in done.stdout + done.stderr
    written = [file for file in tmp_path.rglob("*") if file.is_file() and home not in file.parents]
    assert written
    for file in written:
        assert SECRET.encode() not in file.read_bytes(), file


def test_damaged_logs_are_counted_and_said(canary: Canary, home: Path) -> None:
    write_home(home, 40, seed=1)
    files = sorted(home.rglob("*.jsonl"))
    source = random.Random(0)
    files[0].write_bytes(files[0].read_bytes()[:-40])
    files[1].write_bytes(b"\0" * 2000)
    files[2].write_bytes(files[2].read_bytes() + b'{"type":"of tomorrow","x":1}\n')
    files[3].write_bytes(bytes(source.randrange(256) for _ in range(5000)))
    files[4].write_text("")
    (files[5].parent / "loop").symlink_to(files[5].parent)
    os.mkfifo(files[5].parent / "fifo.jsonl")
    done = canary("report", "--json")
    assert done.returncode == 0, done.stderr
    found = facts(done)
    assert found["logs"]["unknown"] == {"of tomorrow": 1}
    assert 35 <= found["sessions"]["judged"] <= 38
    said = canary("report")
    assert "Traceback" not in said.stderr


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("report", "--from", "/no/such/folder"), "Cannot read logs from /no/such/folder: No such file or directory."),
        (
            ("report", "--since", "2026-02-01", "--until", "2026-01-01"),
            "--since 2026-02-01 is after --until 2026-01-01.",
        ),
        (("report", "--since", "2026-02-01", "--days", "3"), "Give --days or --since, not both."),
    ],
)
def test_wrong_use_is_one_sentence(canary: Canary, words: tuple[str, ...], sentence: str) -> None:
    done = canary(*words)
    assert done.returncode in (1, 2)
    assert done.stderr.startswith(f"error: {sentence}")


@pytest.mark.skipif(not DATA.exists(), reason="the sample of real logs is not beside the repository")
def test_the_known_change_of_the_real_logs_is_found(canary: Canary) -> None:
    """Opus 4.5 to 4.6 in the first days of February 2026: changed, dated, and put on the model's side."""
    found = facts(canary("report", "--from", DATA, "--json", "--placebos", 50))
    assert found["verdict"] == "CHANGED"
    thinking = next(entry for entry in found["metrics"] if entry["name"] == "thinking_per_call")
    assert thinking["attribution"]["label"] == "MODEL"
    assert "2026-02-04" <= thinking["boundary"]["day"] <= "2026-02-08"
    assert thinking["interval95"][1] < -0.5
    tokens = found["tokens"]
    assert tokens["main"]["output"] == 1_242_280
    assert tokens["first_line_output"] == 102_097
