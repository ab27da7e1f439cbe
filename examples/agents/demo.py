"""`make demo-agents`: two agents at work at the same time, a message between them, both diffs, one merge, one replay.

No key and no network: the model is the scripted one, on this machine's loopback, playing team.toml.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

HERE = Path(__file__).parent
TASKS = {
    "bob": "Write the documentation of the greeting function. Ada will tell you what it is called.",
    "ada": "Add a function that greets people by name, with a test.",
}


def say(text: str) -> None:
    """Print what happens next."""
    click.secho(f"\n── {text}", bold=True, fg="cyan")


def make_repository(folder: Path) -> None:
    """Make the example repository: one file, one commit."""
    folder.mkdir()
    (folder / "greeting.py").write_text('"""TODO"""\n')
    (folder / ".gitignore").write_text("__pycache__/\n")
    for words in (
        ["init", "-q", "-b", "main"],
        ["config", "user.name", "You"],
        ["config", "user.email", "you@example.org"],
        ["add", "-A"],
        ["commit", "-qm", "A place for greetings"],
    ):
        subprocess.run(["git", *words], cwd=folder, check=True)


@contextmanager
def scripted_model(home: Path) -> Iterator[None]:
    """Serve team.toml as a model, and say in agents.toml that it is there."""
    port_file = home / "port"
    words = [sys.executable, "-m", "seatrial.agents.scripted.model", str(HERE / "team.toml"), "--port", "0"]
    server = subprocess.Popen([*words, "--port-file", str(port_file)], stdout=subprocess.DEVNULL)
    try:
        while not (port_file.is_file() and port_file.read_text().strip()):
            if server.poll() is not None:
                sys.exit("The scripted model did not start.")
            time.sleep(0.02)
        address = f"http://127.0.0.1:{port_file.read_text().strip()}"
        (home / "agents.toml").write_text(f'[providers.anthropic]\nbase_url = "{address}"\nkey = false\n')
        yield
    finally:
        server.terminate()
        server.wait()


def run(repository: Path, *words: str, may_fail: bool = False) -> None:
    """Run `seatrial agent …` as a person would, and show the command."""
    click.secho(f"$ seatrial agent {' '.join(words)}", dim=True)
    command = [str(Path(sys.executable).with_name("seatrial")), "agent", *words]
    done = subprocess.run(command, cwd=repository, stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT, check=False)
    if done.returncode and not may_fail:
        sys.exit(done.returncode)


def main() -> None:
    """Tell the story."""
    with tempfile.TemporaryDirectory(prefix="seatrial-demo-") as folder:
        home, repository = Path(folder) / "home", Path(folder) / "greetings"
        home.mkdir()
        os.environ["SEATRIAL_HOME"] = str(home)
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
        make_repository(repository)
        try:
            with scripted_model(home):
                work(repository)
            replay(repository, home)
        finally:
            run(repository, "stop", "--all", may_fail=True)


def work(repository: Path) -> None:
    """Two agents, a message, diffs, a conflict preview, a merge."""
    say("Two agents start on the same repository, each in a sandbox and a clone of its own.")
    for name, task in TASKS.items():
        run(repository, "start", name, task, "--harness", "mini", "--usd", "1", "--tokens", "100000")
    say("They work at the same time; Ada tells Bob the name of the function.")
    run(repository, "wait", "ada", "--for", "idle", "--timeout", "60s")
    run(repository, "wait", "bob", "--for", "done", "--timeout", "60s")
    run(repository, "list")
    run(repository, "look", "bob")
    run(repository, "inbox", "--agent", "bob")
    say("What each has done.")
    run(repository, "diff", "ada")
    run(repository, "diff", "bob")
    say("Before anything moves: does their work go together, and with main?")
    run(repository, "conflicts")
    run(repository, "merge", "ada", "--preview")
    say("Ada's work lands.  Then Bob's would conflict, and nothing moves.")
    run(repository, "merge", "ada", "--squash", "--message", "Greet people by name", "--yes")
    run(repository, "merge", "bob", "--preview", may_fail=True)
    run(repository, "delete", "bob", may_fail=True)


def replay(repository: Path, home: Path) -> None:
    """The same run again, with no model at all."""
    say("Ada's run again, from its recording: the model is gone, the work is the same.")
    recording = next(home.glob("agents/greetings-*/agents/ada/recording/run-1"))
    task, base = TASKS["ada"], "HEAD~1"
    run(repository, "start", "ada-again", task, "-H", "mini", "--replay", str(recording), "--base", base)
    run(repository, "wait", "ada-again", "--timeout", "60s")
    run(repository, "diff", "ada-again", "--stat")


if __name__ == "__main__":
    main()
