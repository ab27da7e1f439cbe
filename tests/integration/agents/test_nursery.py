"""Supervisors are forked, and start all the same when what forks them is gone, damaged or cannot be had."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from seatrial.agents import nursery
from seatrial.errors import AgentError


@pytest.fixture(autouse=True)
def own_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Each test has a process of its own; paths of sockets must be short."""
    folder = Path(f"/tmp/st-nursery-{os.getpid()}")
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    yield folder
    for pid in _nurseries(folder):
        os.kill(pid, signal.SIGKILL)
    subprocess.run(["rm", "-rf", str(folder)], check=True)


def _nurseries(folder: Path) -> list[int]:
    """Return those that listen below `folder`: they were started for this test."""
    lines = [line.split() for line in Path("/proc/net/unix").read_text().splitlines() if str(folder) in line]
    wanted = {f"socket:[{words[6]}]" for words in lines}
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if b"seatrial.agents.nursery" not in (place / "cmdline").read_bytes():
                continue
            if wanted & {str(link.readlink()) for link in (place / "fd").iterdir()}:
                found.append(int(place.name))
        except OSError:
            continue
    return found


def _start(tmp_path: Path, *words: str, silent: socket.socket | None = None) -> tuple[bytes, str]:
    """Start a supervisor of a project that is not there; return its report and what it complained of."""
    reader, writer = os.pipe()
    log = tmp_path / "log"
    with log.open("ab") as errors:
        nursery.start_supervisor((str(tmp_path / "absent"), *words, "start"), errors.fileno(), writer)
    os.close(writer)
    if silent:
        silent.close()  # and with it the descriptors that nobody took
    with os.fdopen(reader, "rb") as stream:
        said = stream.read()
    return said, log.read_text()


def test_one_process_forks_all(own_folder: Path, tmp_path: Path) -> None:
    for name in ("ada", "bob"):
        said, complaint = _start(tmp_path, name)
        assert said == b""
        assert f"{tmp_path}/absent/project.json" in complaint
    assert len(_nurseries(own_folder)) == 1


def test_the_environment_is_the_callers(own_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _start(tmp_path, "ada")
    (pid,) = _nurseries(own_folder)
    monkeypatch.setenv("SEATRIAL_TEST_SECRET", "told to the child only")
    monkeypatch.setattr(nursery, "_ANSWER_SECONDS", 5.0)
    _start(tmp_path, "bob")
    assert b"told to" not in Path(f"/proc/{pid}/environ").read_bytes()
    assert _nurseries(own_folder) == [pid]


def test_a_killed_one_is_replaced(own_folder: Path, tmp_path: Path) -> None:
    _start(tmp_path, "ada")
    (pid,) = _nurseries(own_folder)
    os.kill(pid, signal.SIGKILL)
    end = time.monotonic() + 5
    while _nurseries(own_folder) and time.monotonic() < end:
        time.sleep(0.01)
    assert "project.json" in _start(tmp_path, "bob")[1]
    assert _nurseries(own_folder) not in ([], [pid])


def test_one_that_says_nothing_is_done_without(
    own_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = nursery.private_folder() / f"nursery-{nursery._version()}"
    monkeypatch.setattr(nursery, "_ANSWER_SECONDS", 0.2)
    silent = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    silent.bind(str(place))
    silent.listen(8)
    assert "project.json" in _start(tmp_path, "ada", silent=silent)[1]
    assert _nurseries(own_folder) == []


def test_nonsense_does_not_end_it(own_folder: Path, tmp_path: Path) -> None:
    _start(tmp_path, "ada")
    (pid,) = _nurseries(own_folder)
    place = nursery.private_folder() / f"nursery-{nursery._version()}"
    for words in (b"", b"\0\0\0\4", b"\0\0\0\4nope", b"\xff\xff\xff\xff" + b"x" * 1000, b"\0\0\0\2{}", b"\0\0\0\2[]"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.connect(str(place))
            client.sendall(words)
    assert "project.json" in _start(tmp_path, "bob")[1]
    assert _nurseries(own_folder) == [pid]


def test_a_folder_of_others_is_refused(own_folder: Path) -> None:
    nursery.private_folder().chmod(0o755)
    with pytest.raises(AgentError, match="private"):
        nursery.private_folder()
