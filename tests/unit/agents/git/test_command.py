from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from seatrial.agents.git import command
from seatrial.agents.git.command import ChildLimits, Repository, git_version, host_git, user_git
from seatrial.agents.git.inside import check_name, printable
from seatrial.errors import AgentError, GitError
from tests.unit.agents.git.sandbox import git, new_repository


def test_gits_own_first_line_is_the_message(tmp_path: Path) -> None:
    repository = new_repository(tmp_path / "r")
    with pytest.raises(GitError, match=r"git cat-file failed in .*: Not a valid object name nothing$"):
        host_git(repository / ".git", "cat-file", "-p", "nothing")


def test_host_git_sees_no_configuration_but_the_repositorys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = new_repository(tmp_path / "r")
    (tmp_path / "global").write_text("[user]\n\tname = Global\n[alias]\n\tst = !touch ran\n")
    for name in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"):
        monkeypatch.setenv(name, str(tmp_path / "global"))
    for name, value in (("GIT_CONFIG_COUNT", "1"), ("GIT_CONFIG_KEY_0", "x.y"), ("GIT_CONFIG_VALUE_0", "z")):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("GIT_DIR", "/nonexistent")
    shown = host_git(repository / ".git", "config", "--list", "--show-scope").stdout.decode()
    assert "Global" not in shown
    assert "x.y" not in shown
    assert {line.split("\t")[0] for line in shown.splitlines()} == {"local", "command"}
    assert "Global" in user_git(repository / ".git", "config", "--list").stdout.decode()


def test_user_git_runs_no_hook_and_asks_nothing(tmp_path: Path) -> None:
    repository = new_repository(tmp_path / "r")
    hook = repository / ".git" / "hooks" / "reference-transaction"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    hook.chmod(0o755)
    place = Repository(repository / ".git", repository)
    user_git(place, "update-ref", "refs/heads/x", "HEAD")
    assert not (tmp_path / "ran").exists()
    with pytest.raises(GitError):
        user_git(place, "commit", "--allow-empty")
    git(repository, "update-ref", "refs/heads/y", "HEAD")
    assert (tmp_path / "ran").exists()


def test_limits_end_a_child(tmp_path: Path) -> None:
    repository = new_repository(tmp_path / "r")
    with (tmp_path / "big").open("wb") as file:
        file.truncate(200 << 20)
    with (tmp_path / "big").open("rb") as file, pytest.raises(GitError, match=r"hash-object (failed|took)"):
        host_git(
            repository / ".git", "hash-object", "-w", "--stdin", stdin=file, limits=ChildLimits(60, 32 << 20, 1 << 10)
        )


def test_time_outs_end_a_child(tmp_path: Path) -> None:
    repository = new_repository(tmp_path / "r")
    reader, writer = os.pipe()
    told = pytest.raises(GitError, match="hash-object took longer than 0 seconds")
    with os.fdopen(reader, "rb") as file, os.fdopen(writer, "wb"), told:
        host_git(repository / ".git", "hash-object", "--stdin", stdin=file, seconds=0.2)


def test_old_git_is_named(tmp_path: Path) -> None:
    fake = tmp_path / "git"
    fake.write_text("#!/bin/sh\necho git version 2.30.2\n")
    fake.chmod(0o755)
    code = (
        "import sys\nfrom seatrial.agents.git import command\n"
        f"command._PATH = {str(tmp_path)!r}\n"
        "try: command.git_version()\nexcept Exception as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("git 2.30.2 is too old: 2.38 is the first")
    assert git_version() >= command.LEAST_GIT


def test_printable_leaves_nothing_for_a_terminal_to_act_on() -> None:
    nasty = bytes(range(256)) + "\u202e\u2028\x85é漢".encode()
    for lines in (False, True):
        shown = printable(nasty, lines=lines)
        assert all(char.isprintable() or (lines and char in "\n\t") for char in shown), shown
    assert "é漢" in printable(nasty)
    assert printable("x" * 50, limit=10) == "x" * 10 + "…"


@pytest.mark.parametrize("name", ["a", "a-b.c_d", "A1", "x" * 64])
def test_good_names(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize("name", ["x" * 65, "ä", "a b", ".", "a.", "a.lock", "a\n"])
def test_bad_names(name: str) -> None:
    with pytest.raises(AgentError, match="cannot be the name of an agent"):
        check_name(name)
