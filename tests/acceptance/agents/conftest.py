"""A yard for each test: a repository, a private home, the installed command, a scripted model; all ended afterwards."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

SCRIPT = """
[[turn]]
run = "echo hello > hello.txt && git add -A && git commit -qm 'Say hello'"
[[turn]]
text = "Done."
"""


def sandboxes_work() -> bool:
    if shutil.which("bwrap") is None or shutil.which("tmux") is None:
        return False
    probe = ["bwrap", "--unshare-all", "--ro-bind", "/", "/", "true"]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not sandboxes_work():
        for item in items:
            if "agents" in item.path.parts:
                item.add_marker(pytest.mark.skip(reason="bubblewrap and tmux are needed, and user namespaces"))


class Yard:
    """One project, driven by the installed command as a person would."""

    def __init__(self, folder: Path, home: Path) -> None:
        self.folder, self.home = folder, home
        self.repository = folder / "project"
        self.models: list[subprocess.Popen[bytes]] = []
        self.make_repository(self.repository)
        home.mkdir(parents=True, exist_ok=True)

    def make_repository(self, folder: Path) -> Path:
        folder.mkdir()
        (folder / "a.txt").write_text("1\n")
        for words in (
            ["init", "-q", "-b", "main"],
            ["config", "user.name", "Owner"],
            ["config", "user.email", "owner@example.org"],
            ["add", "-A"],
            ["commit", "-qm", "Start"],
        ):
            subprocess.run(["git", *words], cwd=folder, check=True)
        return folder

    def git(self, *words: str) -> str:
        return subprocess.run(["git", *words], cwd=self.repository, check=True, capture_output=True, text=True).stdout

    def run(self, *words: object, cwd: Path | None = None, stdin: str = "", **variables: str) -> Any:
        """Call `seatrial agent …`; returns code, stdout, stderr."""
        command = [Path(sys.executable).with_name("seatrial"), "agent", *map(str, words)]
        environment = {**os.environ, "SEATRIAL_HOME": str(self.home), **variables}
        return subprocess.run(
            command, cwd=cwd or self.repository, input=stdin, capture_output=True, text=True, env=environment,
            timeout=120, check=False,
        )  # fmt: skip

    def ok(self, *words: object, **options: Any) -> str:
        done = self.run(*words, **options)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return str(done.stdout)

    def json(self, *words: object, **options: Any) -> dict[str, Any]:
        if "--" in words:
            at = words.index("--")
            words = (*words[:at], "--json", *words[at:])
        else:
            words = (*words, "--json")
        done = self.run(*words, **options)
        lines = done.stdout.splitlines()
        assert len(lines) == 1, done
        return dict(json.loads(lines[0]))

    def agent(self, name: str) -> dict[str, Any]:
        return dict(self.json("show", name)["agent"])

    def model(self, script: str = SCRIPT) -> str:
        """Start the scripted model and name it in agents.toml; returns its address."""
        file, port = self.folder / f"script-{len(self.models)}.toml", self.folder / f"port-{len(self.models)}"
        file.write_text(script)
        words = [sys.executable, "-m", "seatrial.agents.scripted.model", str(file), "--port", "0"]
        self.models.append(subprocess.Popen([*words, "--port-file", str(port)], stdout=subprocess.DEVNULL))
        while not (port.is_file() and port.read_text().strip()):
            assert self.models[-1].poll() is None
            time.sleep(0.02)
        address = f"http://127.0.0.1:{port.read_text().strip()}"
        self.configure(f'[providers.anthropic]\nbase_url = "{address}"\nkey = false\n')
        return address

    def configure(self, text: str) -> None:
        (self.home / "agents.toml").write_text(text)

    def generic(self, name: str, *command: str, options: tuple[str, ...] = ()) -> None:
        """Start an agent that is an ordinary program."""
        self.ok("start", name, "-H", "generic", *options, "--", *(command or ("sleep", "1000")))

    def inside(self, name: str, command: str) -> Any:
        return self.run("exec", name, "--", "sh", "-c", command)

    def state(self, name: str) -> Path:
        return next(self.home.glob(f"agents/*/agents/{name}"))

    def processes(self, what: str = "") -> list[int]:
        """Ids of the processes that belong to this yard (its home is in their command line)."""
        found = []
        for place in Path("/proc").glob("[0-9]*"):
            try:
                line = (place / "cmdline").read_bytes().decode(errors="replace")
            except OSError:
                continue
            if str(self.home) in line and what in line and place.name != str(os.getpid()):
                found.append(int(place.name))
        return found

    def wait_until(self, condition: Any, seconds: float = 20) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "it did not happen"
            time.sleep(0.05)

    def close(self) -> None:
        self.run("stop", "--all")
        for model in self.models:
            model.kill()
            model.wait()
        for pid in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue


@pytest.fixture
def yard(tmp_path: Path, private_home: Path) -> Iterator[Yard]:
    made = Yard(tmp_path, private_home)
    yield made
    made.close()
