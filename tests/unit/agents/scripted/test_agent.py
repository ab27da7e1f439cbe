"""The agent in one file, against the scripted model: real processes, a real terminal."""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from seatrial.agents.scripted import agent as source
from seatrial.agents.scripted import script
from seatrial.agents.scripted.model import ScriptedModel, Server

TURNS: dict[str, Any] = {
    "turn": [
        {"text": "I write a file.", "run": "echo hello > made.txt; cat made.txt"},
        {"text": "It says hello.", "when": "^hello"},
    ],
    "conversation": {
        "more": {"when": "second message", "turn": [{"text": "Seen, both lines."}]},
        "slow": {
            "when": "sleep",
            "turn": [{"run": "echo begun > begun; sleep 60; echo ended"}, {"text": "It went on."}],
        },
    },
}


@pytest.fixture
def model() -> Iterator[Server]:
    with ScriptedModel(script.parse(TURNS)).serve() as server:
        yield server


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with the one file and nothing else of Seatrial."""
    shutil.copy(source.__file__, tmp_path / "agent.py")
    (tmp_path / "home").mkdir()
    (tmp_path / "work").mkdir()
    return tmp_path


def environment(place: Path, url: str) -> dict[str, str]:
    return {
        "HOME": str(place / "home"),
        "PATH": os.environ["PATH"],
        "ANTHROPIC_BASE_URL": url,
        "ANTHROPIC_API_KEY": "placeholder",
        "MINI_AGENT_RETRY_S": "0.01",
    }


def run(place: Path, url: str, *arguments: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", str(place / "agent.py"), *arguments]
    return subprocess.run(
        command,
        input=typed,
        capture_output=True,
        text=True,
        cwd=place / "work",
        env=environment(place, url),
        check=False,
    )


def saved(place: Path) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = json.loads((place / "home/.mini-agent/conversation.json").read_text())
    return messages


def test_a_task_is_worked_on_until_no_tool_is_called(model: Server, place: Path) -> None:
    done = run(place, model.url, "make a file")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "I write a file.\n$ echo hello > made.txt; cat made.txt\nhello\nIt says hello.\n"
    assert (place / "work/made.txt").read_text() == "hello\n"
    assert [message["role"] for message in saved(place)] == ["user", "assistant", "user", "assistant"]


def test_a_conversation_goes_on(model: Server, place: Path) -> None:
    run(place, model.url, "make a file")
    done = run(place, model.url, "--continue", "a second message")
    assert done.stdout == "Seen, both lines.\n" and len(saved(place)) == 6
    assert run(place, model.url, "--continue").returncode == 0


@pytest.mark.parametrize("fault", ["500", "429", "cut"])
def test_faults_of_the_model_are_tried_again(place: Path, fault: str) -> None:
    turns = [{"text": "All is well at last.", "fault": fault, "fault_times": 2}]
    with ScriptedModel(script.parse({"turn": turns})).serve() as server:
        done = run(place, server.url, "go")
    assert done.returncode == 0 and done.stdout.count("[model: ") == 2
    assert done.stdout.endswith("All is well at last.\n") and len(saved(place)) == 2


def test_lasting_refusals_end_the_task(place: Path) -> None:
    with ScriptedModel(script.parse({}), key="another").serve() as server:
        done = run(place, server.url, "go")
        assert done.returncode == 1 and "[model: 401: The key is not the right one.]" in done.stdout
        assert len(server.seen) == 1


def test_messages_come_by_standard_input(model: Server, place: Path) -> None:
    done = run(place, model.url, "-", typed="make a file\n\n\x1b[200~a second\nsecond message\x1b[201~\n")
    assert done.stdout.count("> ") >= 2 and done.stdout.endswith("Seen, both lines.\n> ")
    assert saved(place)[4]["content"] == [{"type": "text", "text": "a second\nsecond message"}]


class Terminal:
    """The agent on a terminal of its own."""

    def __init__(self, place: Path, url: str, *arguments: str) -> None:
        self.pid, self.descriptor = pty.fork()
        if self.pid == 0:
            os.chdir(place / "work")
            command = [sys.executable, "-I", str(place / "agent.py"), *arguments]
            os.execve(sys.executable, command, environment(place, url))
        self.shown = b""

    def until(self, text: str, times: int = 1) -> None:
        while self.shown.count(text.encode()) < times:
            self.shown += os.read(self.descriptor, 65536)

    def type(self, data: bytes) -> None:
        os.write(self.descriptor, data)

    def end(self) -> int:
        try:
            while os.read(self.descriptor, 65536):
                pass
        except OSError:
            pass
        os.close(self.descriptor)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_terminal_takes_lines_pastes_and_long_ones(model: Server, place: Path) -> None:
    terminal = Terminal(place, model.url, "make a file")
    terminal.until("It says hello.")
    terminal.until("> ")
    long = "x" * 9000
    terminal.type(f"\x1b[200~a second message\r{long}\x1b[201~".encode())
    terminal.until("x" * 9000)
    assert b"Seen" not in terminal.shown
    terminal.type(b"\r")
    terminal.until("Seen, both lines.")
    terminal.until("\x1b[?2004h> ", 2)
    terminal.type("a sécx\x7fond second message\r".encode())
    terminal.until("Seen, both lines.", 2)
    terminal.until("\x1b[?2004h> ", 3)
    terminal.type(b"\x04")
    assert terminal.end() == 0
    assert saved(place)[4]["content"][0]["text"] == f"a second message\n{long}"
    assert saved(place)[6]["content"][0]["text"] == "a sécond second message"


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_an_interrupt_ends_the_turn_and_not_the_agent(model: Server, place: Path) -> None:
    terminal = Terminal(place, model.url, "sleep")
    terminal.until("sleep 60")
    while not (place / "work/begun").exists():
        time.sleep(0.01)
    terminal.type(b"\x03")
    terminal.until("[interrupted]")
    terminal.until("\x1b[?2004h> ")
    terminal.type(b"go on\r")
    terminal.until("It went on.")
    terminal.until("\x1b[?2004h> ", 2)
    terminal.type(b"\x04")
    assert terminal.end() == 0
    assert saved(place)[2]["content"][0]["content"] == "Interrupted by the user."


def test_a_kill_in_the_middle_of_a_command_loses_nothing(model: Server, place: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-I", str(place / "agent.py"), "sleep"],
        cwd=place / "work",
        env=environment(place, model.url),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    while not (place / "work/begun").exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = run(place, model.url, "--continue")
    assert done.stdout == "It went on.\n"
    assert saved(place)[2]["content"][0]["is_error"] is True


def test_long_output_keeps_its_ends_and_background_processes_do_not_hold_it_up() -> None:
    text, failed = source.run("echo begin; head -c 100000 /dev/zero | tr '\\0' x; echo end; sleep 3 & false", 10)
    assert failed and text.startswith("begin") and "bytes left out" in text and "end\n" in text
    assert text.endswith("[exit code 1]") and len(text) < source.MOST_OUTPUT + 100
    assert source.run("sleep 30", 0.2) == ("\n[stopped after 0.2 s]\n[exit code 124]", True)
