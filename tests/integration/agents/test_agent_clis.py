"""The published command lines of Claude Code, Codex, Gemini CLI and OpenCode, from start to merge, in the sandbox.

    make test-agent-clis        installs them (tools/agent_clis) and runs this with them in PATH

Nothing but the loopback is reached: the model is the scripted one, which speaks each provider's API and refuses every
key but the one that the gateway holds.  What is not installed is skipped.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from seatrial.agents.scripted import script
from seatrial.agents.scripted.model import ScriptedModel, Server
from tests.acceptance.agents.conftest import Yard, sandboxes_work

pytestmark = pytest.mark.skipif(not sandboxes_work(), reason="bubblewrap and tmux are needed, and user namespaces")

PROGRAMS = {"claude-code": "claude", "codex": "codex", "gemini-cli": "gemini", "opencode": "opencode"}
KEY = "sk-real-7f3a9c51e2d84b06a1c3-only-the-gateway-has-it"
SECONDS = 240
SCRIPT = """
[conversation.edit]
when = "write the greeting file"
[[conversation.edit.turn]]
text = "I will write it."
run = "echo hello > greeting.txt && git add -A && git commit -qm 'Add a greeting'"
[[conversation.edit.turn]]
text = "The greeting is committed."

[conversation.ask]
when = "ask the user which colour"
[[conversation.ask.turn]]
run = "seatrial-agent ask 'Which colour shall it be?'"
[[conversation.ask.turn]]
text = "I have asked."

[conversation.slow]
when = "take a long time"
[[conversation.slow.turn]]
run = "timeout 300 tail -f /dev/null"
[[conversation.slow.turn]]
text = "That took long."

[conversation.colour]
when = "the colour is blue"
[[conversation.colour.turn]]
run = "echo blue > colour.txt && git add -A && git commit -qm 'Add the colour'"
[[conversation.colour.turn]]
text = "The colour is committed."

[conversation.again]
when = "go on after the pause"
[[conversation.again.turn]]
run = "echo again > again.txt && git add -A && git commit -qm 'Go on'"
[[conversation.again.turn]]
text = "It goes on."
"""


@pytest.fixture(params=list(PROGRAMS))
def harness(request: pytest.FixtureRequest) -> str:
    if shutil.which(PROGRAMS[request.param]) is None:
        pytest.skip(f"{PROGRAMS[request.param]} is not installed: make agent-clis")
    return str(request.param)


@pytest.fixture
def model() -> Iterator[Server]:
    with ScriptedModel(script.parse(_toml(SCRIPT)), KEY).serve() as server:
        yield server


@pytest.fixture
def yard(tmp_path: Path, private_home: Path, model: Server) -> Iterator[Yard]:
    made = Yard(tmp_path, private_home)
    names = ("anthropic", "openai", "gemini")
    made.configure("".join(f'[providers.{name}]\nbase_url = "{model.url}"\n' for name in names))
    for name in names:
        made.ok("keys", "set", name, stdin=KEY)
    yield made
    made.close()


def _toml(text: str) -> dict[str, Any]:
    import tomllib

    return tomllib.loads(text)


def wait(yard: Yard, file: str, activity: str) -> None:
    """Wait until a file is committed (none: nothing) and the agent is at `activity`; shows its screen if it is not."""
    end = time.monotonic() + SECONDS
    while yard.agent("ada")["activity"] != activity or (file and not committed(yard, file)):
        shown = f"{yard.agent('ada')}\n{yard.ok('look', 'ada')}" if time.monotonic() > end else ""
        assert not shown, f"{file or 'no file'}, {activity}:\n{shown}"
        time.sleep(0.2)


def committed(yard: Yard, file: str) -> bool:
    return bool(yard.inside("ada", f"git cat-file -e HEAD:{file}").returncode == 0)


def texts(server: Server) -> list[str]:
    """Return the bodies of the requests that went to the model."""
    return [body.decode() for method, _, _, body in list(server.seen) if method == "POST"]


def messages(yard: Yard) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yard.json("inbox", "--agent", "ada")["messages"]
    return [message for message in found if message["sender"] == "user"]


def recording(yard: Yard, run: int) -> Path:
    return yard.state("ada") / "recording" / f"run-{run}"


def start(yard: Yard, harness: str, name: str = "ada", *options: object) -> None:
    yard.ok("start", name, "Please write the greeting file.", "-H", harness, "--tokens", 50_000_000, *options)


def test_from_start_to_merge(harness: str, yard: Yard, model: Server) -> None:
    start(yard, harness)
    wait(yard, "greeting.txt", "idle")
    yard.ok("message", "ada", "Now ask the user which colour.")
    wait(yard, "", "waiting_for_input")
    assert [(m["kind"], m["text"]) for m in yard.json("inbox")["messages"]] == [("asks", "Which colour shall it be?")]
    yard.ok("message", "ada", "My answer:\nthe colour is blue.", "--wait")
    wait(yard, "colour.txt", "idle")
    assert all(m["delivered"] and m["acknowledged"] for m in messages(yard))
    assert any("the colour is blue" in text for text in texts(model))

    yard.ok("stop", "ada")
    assert yard.agent("ada")["phase"] == "stopped"
    asked = len(texts(model))
    yard.ok("resume", "ada", "Please go on after the pause.")
    wait(yard, "again.txt", "idle")
    ours = [text for text in texts(model)[asked:] if "go on after the pause" in text]
    assert any("write the greeting file" in text and "I have asked." in text for text in ours), "a new conversation"

    assert {entry["path"] for entry in yard.json("diff", "ada")["files"]} == {"greeting.txt", "colour.txt", "again.txt"}
    yard.ok("merge", "ada", "--yes")
    assert (yard.repository / "colour.txt").read_text() == "blue\n"
    assert no_key(yard) == []


def test_interrupted(harness: str, yard: Yard) -> None:
    start(yard, harness)
    wait(yard, "greeting.txt", "idle")
    yard.ok("message", "ada", "This will take a long time.")
    wait(yard, "", "executing")
    time.sleep(1)
    yard.ok("message", "ada", "Stop that: the colour is blue.", "--interrupt")
    wait(yard, "colour.txt", "idle")
    assert all(m["acknowledged"] for m in messages(yard))


def test_replayed_without_a_model(harness: str, yard: Yard, model: Server) -> None:
    start(yard, harness)
    wait(yard, "greeting.txt", "idle")
    yard.ok("stop", "ada")
    kept = yard.folder / "recording"
    shutil.copytree(recording(yard, 1), kept)
    yard.ok("delete", "ada", "--discard-work")
    asked = len(texts(model))
    start(yard, harness, "ada", "--replay", kept)
    wait(yard, "greeting.txt", "idle")
    assert len(texts(model)) == asked


def no_key(yard: Yard) -> list[Path]:
    """Return the files that hold the real key beside the one that keeps it: homes, recordings, logs, records."""
    environment = yard.inside("ada", "cat /proc/[0-9]*/environ").stdout
    assert "SEATRIAL_AGENT" in environment and KEY not in environment
    files = [file for file in yard.home.rglob("*") if file.is_file() and not file.is_symlink()]
    files.remove(yard.home / "keys.toml")
    assert any("recording" in file.parts for file in files) and any("home" in file.parts for file in files)
    return [file for file in files if KEY.encode() in file.read_bytes()]
