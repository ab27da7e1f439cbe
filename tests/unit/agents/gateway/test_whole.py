"""A whole run: the mini agent through the gateway to a model, and again from the recording with no model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from seatrial.agents.gateway import PLACEHOLDER_KEY, Budget
from seatrial.agents.scripted import agent, script
from seatrial.agents.scripted.model import ScriptedModel
from tests.unit.agents.gateway import yard

ENDS = {"anthropic": b"message_stop", "openai": b"response.completed", "gemini": b'"finishReason": "STOP"'}
SCRIPT = script.parse(
    {
        "turn": [
            {"text": "I look where I am.", "run": "pwd; date +%s%N; ls"},
            {"text": "I write.", "run": "echo made > made.txt"},
            {"text": "It is made."},
        ]
    }
)


def work(folder: Path, port: int) -> str:
    folder.mkdir()
    environment = {
        "HOME": str(folder),
        "PATH": os.environ["PATH"],
        "ANTHROPIC_BASE_URL": f"http://127.0.0.1:{port}/anthropic",
        "ANTHROPIC_API_KEY": PLACEHOLDER_KEY,
        "MINI_AGENT_RETRY_S": "0.01",
    }
    command = [sys.executable, "-I", agent.__file__, "--print", "Make a file."]
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.stdout


def test_a_run_is_replayed_without_its_model(tmp_path: Path) -> None:
    with (
        ScriptedModel(SCRIPT, yard.KEY).serve() as model,
        yard.gateway(yard.policy(model.url), recording=tmp_path / "recording") as running,
    ):
        first = work(tmp_path / "first", running.port)
        # The last exchange is entered once its answer has been sent on, when the agent may have ended already.
        running.until(lambda: len(running.ledger.exchanges) == 3)
        assert [exchange.stop for exchange in running.ledger.exchanges] == ["tool_use", "tool_use", "end"]
    with yard.gateway(yard.policy("http://127.0.0.1:1", key=None), replay=tmp_path / "recording") as running:
        again = work(tmp_path / "again", running.port)
        assert [facts["how"] for kind, facts in running.events if kind == "replayed"] == ["exact", "stable", "stable"]
    for text in (first, again):
        assert text.endswith("$ echo made > made.txt\n[no output]\nIt is made.\n")
    assert (tmp_path / "again/made.txt").read_text() == "made\n"
    for name in ("first", "again"):
        assert yard.KEY not in (tmp_path / name / ".mini-agent/conversation.json").read_text()


def test_a_budget_ends_the_run_at_once(tmp_path: Path) -> None:
    with ScriptedModel(SCRIPT).serve() as model, yard.gateway(yard.policy(model.url, Budget(requests=2))) as running:
        shown = work(tmp_path / "a", running.port)
    assert "budget of requests is spent (2 of 2)" in shown
    assert len(model.seen) == 2 and running.kinds().count("budget_exceeded") == 1


def test_many_streams_at_once() -> None:
    turns = {"turn": [{"text": "word " * 400, "delay_s": 0.05}]}
    with ScriptedModel(script.parse(turns)).serve() as model, yard.gateway(yard.policy(model.url)) as running:

        def ask(number: int) -> tuple[int, bool]:
            dialect = yard.DIALECTS[number % 3]
            path, body = yard.request(dialect, f"go {number}", True)
            status, _, answer = yard.post(running.port, f"/{dialect}{path}", body)
            return status, ENDS[dialect] in answer

        with ThreadPoolExecutor(20) as threads:
            assert set(threads.map(ask, range(60))) == {(200, True)}
    assert len({exchange.id for exchange in running.ledger.exchanges}) == 60


def test_nothing_heavy_is_loaded() -> None:
    code = "import sys, seatrial.agents.gateway; print(sorted({name.split('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stdout.replace("'", '"')))
    assert not loaded & {"sqlalchemy", "click", "rich", "numpy", "keyring"}
