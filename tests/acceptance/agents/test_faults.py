"""kill -9 anywhere, full disks, everything gone at once: nothing is lost, and the next command says what was found."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.acceptance.agents.conftest import Yard

# Parts of the time that the whole command takes; with the commands below, 32 points.
POINTS = [0.1, 0.25, 0.4, 0.5, 0.6, 0.7, 0.8, 0.95]


def killed(yard: Yard, part: float, usual: float, *words: str) -> None:
    """Run a command and kill it, with all that it has started in its process group, after a part of its usual time."""
    command = [str(Path(sys.executable).with_name("seatrial")), "agent", *words]
    environment = {**os.environ, "SEATRIAL_HOME": str(yard.home)}
    nothing = subprocess.DEVNULL
    process = subprocess.Popen(command, cwd=yard.repository, env=environment, start_new_session=True,
                               stdin=nothing, stdout=nothing, stderr=nothing)  # fmt: skip
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(usual * part)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def kill_all(yard: Yard, what: str = "") -> None:
    for pid in yard.processes(what):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def usual_time(yard: Yard, *words: str) -> float:
    began = time.monotonic()
    yard.ok(*words)
    return time.monotonic() - began


def names(yard: Yard) -> dict[str, str]:
    return {agent["name"]: agent["phase"] for agent in yard.json("list")["agents"]}


def test_start_killed_anywhere(yard: Yard) -> None:
    start = ("-H", "generic", "--", "sleep", "1000")
    usual = usual_time(yard, "start", "warm", *start)
    for number, part in enumerate(POINTS):
        name = f"a{number}"
        killed(yard, part, usual, "start", name, *start)
        if number % 2:
            kill_all(yard, f" {name} ")  # its supervisor, too
        phase = names(yard).get(name)
        assert phase in (None, "created", "running", "error", "stopped", "starting"), (part, phase)
        yard.ok("start", name, *(start if phase is None else ()))
        assert yard.inside(name, "git status --porcelain").stdout == ""
        yard.ok("delete", name)
    assert set(names(yard)) == {"warm"}


def test_stop_and_delete_killed_anywhere(yard: Yard) -> None:
    start = ("-H", "generic", "--", "sleep", "1000")
    for verb in ("stop", "delete"):
        for number, part in enumerate(POINTS):
            name = f"{verb[0]}{number}"
            yard.ok("start", name, *start)
            yard.inside(name, f"echo {number} > w; git add w; git commit -qm w")
            extra = ("--discard-work",) if verb == "delete" else ()
            killed(yard, part, 1.5, verb, name, *extra)
            phase = names(yard).get(name)
            assert verb == "delete" or phase is not None
            if phase is not None:
                yard.ok("stop", name)
                assert yard.inside(name, "git log -1 --format=%s").stdout == "w\n"
                yard.ok("delete", name, "--discard-work")
    assert names(yard) == {}


def test_messages_killed_anywhere_are_stored_whole_and_delivered(yard: Yard) -> None:
    yard.generic("ada", "sh", "-c", 'while read -r line; do echo "got: $line"; done')
    usual = usual_time(yard, "message", "ada", "warm")
    for number, part in enumerate(POINTS):
        killed(yard, part, usual, "message", "ada", f"text {number} whole")
    kill_all(yard, " ada ")
    yard.ok("message", "ada", "last one")
    yard.wait_until(lambda: "got: last one" in yard.ok("look", "ada"))
    stored = [m["text"] for m in yard.json("inbox", "--agent", "ada")["messages"]]
    shown = yard.ok("look", "ada", "-n", "500")
    assert all(text in ("warm", "last one") or text.endswith("whole") for text in stored)
    yard.wait_until(lambda: all(f"got: {text}" in yard.ok("look", "ada", "-n", "500") for text in stored))
    assert shown


@pytest.mark.parametrize("what", ["supervisor", "tmux", "sandbox", "everything"])
def test_killed_parts_are_found_and_work_goes_on(yard: Yard, what: str) -> None:
    yard.model('[[turn]]\nrun = "echo 1 > one; git add one; git commit -qm one"\n[[turn]]\ntext = "ok"\n'
               '[[turn]]\nwhen = "go on"\ntext = "still here"\n')  # fmt: skip
    yard.ok("start", "ada", "begin", "-H", "mini")
    yard.ok("wait", "ada")
    pid = yard.processes("agents.supervise")
    assert len(pid) == 1
    if what in ("supervisor", "everything"):
        os.kill(pid[0], signal.SIGKILL)
    if what in ("tmux", "everything"):
        for found in terminals(yard):
            os.kill(found, signal.SIGKILL)
    if what in ("sandbox", "everything"):
        for place in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                if b"seatrial-mini" in place.read_bytes() and b"begin" in place.read_bytes():
                    os.kill(int(place.parent.name), signal.SIGKILL)
    time.sleep(0.5)
    said = yard.run("list")
    assert said.returncode == 0
    if what in ("supervisor", "everything"):
        assert "found: The supervisor" in said.stderr
    yard.wait_until(lambda: names(yard)["ada"] in ("running", "stopped", "error"))
    if names(yard)["ada"] != "running":
        yard.ok("resume", "ada")
    assert yard.inside("ada", "git log -1 --format=%s").stdout == "one\n"
    yard.ok("message", "ada", "go on")
    yard.wait_until(lambda: "still here" in yard.ok("look", "ada"), 40)
    yard.ok("merge", "ada", "--yes")


def terminals(yard: Yard) -> list[int]:
    """The tmux servers of this yard: the programs in their panes are started with paths in its home."""
    found = []
    for place in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if "(tmux: server)" in place.read_text():
                children = Path(f"/proc/{place.parent.name}/task/{place.parent.name}/children").read_text().split()
                for child in children:
                    environment = Path(f"/proc/{child}/cmdline").read_bytes()
                    descriptors = [str(fd.readlink()) for fd in Path(f"/proc/{child}/fd").iterdir()]
                    if str(yard.home).encode() in environment or any(str(yard.home) in d for d in descriptors):
                        found.append(int(place.parent.name))
                        break
    return found


def test_a_full_disk_is_one_sentence_and_leaves_nothing_half_made(yard: Yard) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    small = yard.folder / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(small)], check=True)
    try:
        (small / "fill").write_bytes(bytes(900_000))
        done = yard.run("start", "ada", "-H", "generic", "--", "sleep", "10", SEATRIAL_HOME=str(small))
        assert done.returncode == 1 and "Traceback" not in done.stderr and done.stderr.startswith("error:")
        (small / "fill").unlink()
        assert yard.run("list", SEATRIAL_HOME=str(small)).returncode == 0
        done = yard.run("start", "ada", "-H", "generic", "--", "sleep", "10", SEATRIAL_HOME=str(small))
        assert done.returncode == 0, done.stderr
        yard.ok("delete", "ada", SEATRIAL_HOME=str(small))
    finally:
        yard.run("stop", "--all", SEATRIAL_HOME=str(small))
        subprocess.run(["umount", "-l", str(small)], check=False)


def test_damaged_records_are_one_sentence(yard: Yard) -> None:
    yard.ok("create", "ada", "-H", "generic", "--", "true")
    file = next(yard.home.glob("agents/*/records.db"))
    file.write_bytes(b"not a database, " * 100)
    for left in file.parent.glob("records.db-*"):
        left.unlink()
    done = yard.run("list")
    assert done.returncode == 1 and str(file) in done.stderr and "Traceback" not in done.stderr
