"""Real sandboxes for the tests of git: bubblewrap around one command, as an agent would run it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import BinaryIO

import pytest

from seatrial.agents.git.inside import Completed
from seatrial.agents.git.relay import Relay, open_relay, register
from seatrial.agents.git.source import Source, find_source
from seatrial.agents.git.workspace import Workspace, create_workspace
from seatrial.errors import RelayError

OBJECTS = "/run/seatrial/objects"
OWNER = 61184 if os.geteuid() == 0 else None
CLEAN = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "HOME": "/nonexistent",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "LC_ALL": "C",
}
PERSON = {
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.org",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.org",
}


@cache
def works() -> bool:
    """Whether bubblewrap can make a sandbox here."""
    if shutil.which("bwrap") is None:
        return False
    tried = subprocess.run(["bwrap", "--ro-bind", "/", "/", "--unshare-pid", "true"], capture_output=True, check=False)
    return tried.returncode == 0


needs_sandbox = pytest.mark.skipif(not works(), reason="bubblewrap cannot make a sandbox here")


def git(folder: Path, *arguments: str, stdin: bytes | None = None) -> str:
    """The user's git, in the user's repository."""
    done = subprocess.run(
        ["git", *arguments], cwd=folder, env={**CLEAN, **PERSON}, input=stdin, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode("utf-8", "surrogateescape").strip()


def commit_file(folder: Path, name: str, text: str, message: str = "A change") -> str:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    git(folder, "add", "-A")
    git(folder, "commit", "--quiet", "-m", message)
    return git(folder, "rev-parse", "HEAD")


def new_repository(folder: Path, *options: str) -> Path:
    """A repository with a name and an address in its configuration and three files."""
    folder.mkdir(parents=True)
    git(folder, "init", "--quiet", "-b", "main", *options)
    git(folder, "config", "user.name", "Ada")
    git(folder, "config", "user.email", "ada@example.org")
    (folder / "a.txt").write_text("".join(f"line {n}\n" for n in range(20)))
    (folder / "b.txt").write_text("b\n")
    commit_file(folder, "src/c.txt", "c\n", "Start")
    return folder


@dataclass(frozen=True)
class Sandbox:
    """One agent's sandbox: its workspace at /workspace, the system read-only, no network."""

    workspace: Workspace

    def argv(self, command: Sequence[str]) -> list[str]:
        at = self.workspace
        mounts: list[str] = []
        for _, within in (*at.borrowed, *at.read_only):
            for parent in reversed(Path(within).parents[:-1]):  # bubblewrap makes parents that only root can enter
                mounts += ["--perms", "0755", "--dir", str(parent)]
        for host, within in (*at.borrowed, *at.read_only):
            mounts += ["--ro-bind", str(host), within]
        prefix: list[str] = []
        shown = str(at.root)
        if at.root is None:
            assert at.upper is not None
            merged = at.upper.parent / "merged"
            merged.mkdir(exist_ok=True)
            shown = str(merged)
            options = f"lowerdir={at.lower},upperdir={at.upper},workdir={at.work},userxattr"
            script = 'mount -t overlay overlay -o "$1" "$2" && shift 2 && exec "$@"'
            namespaces = ["-m"] if OWNER is not None else ["-Urm"]
            prefix = ["unshare", *namespaces, "sh", "-c", script, "sh", options, shown]
        drop: list[str] = []
        capabilities: list[str] = []
        if OWNER is not None:
            capabilities = ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID", "--cap-add", "CAP_SETPCAP"]
            drop = ["setpriv", "--reuid", str(OWNER), "--regid", str(OWNER), "--clear-groups", "--bounding-set=-all"]
        box = ["bwrap", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--die-with-parent", *capabilities]
        system = [part for top in ("/usr", "/etc") for part in ("--ro-bind", top, top)]
        for link in ("bin", "lib", "lib64", "sbin"):
            if Path("/", link).exists():
                system += ["--ro-bind", f"/{link}", f"/{link}"]
        rest = ["--proc", "/proc", "--dev", "/dev", "--perms", "1777", "--tmpfs", "/tmp", "--bind", shown, "/workspace"]
        environment = ["--clearenv"]
        for name, value in {**CLEAN, "HOME": "/tmp", "TMPDIR": "/tmp"}.items():
            environment += ["--setenv", name, value]
        return [*prefix, *box, *system, *rest, *mounts, *environment, "--chdir", "/workspace", *drop, *command]

    def inside(self, argv: Sequence[str], stdin: bytes | None) -> Completed:
        try:
            done = subprocess.run(self.argv(argv), input=stdin or b"", capture_output=True, check=False, timeout=120)
        except subprocess.TimeoutExpired as error:
            raise RelayError("The command inside took too long.") from error
        return Completed(done.returncode, done.stdout, done.stderr)

    def inside_to(self, argv: Sequence[str], output: BinaryIO, limit: int) -> int:
        with subprocess.Popen(self.argv(argv), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            while piece := process.stdout.read1(1 << 16):
                limit -= len(piece)
                if limit < 0:
                    process.kill()
                    raise RelayError("The agent hands over more than is allowed.")
                output.write(piece)
        output.flush()
        return process.returncode

    def run(self, script: str) -> str:
        """Do an agent's work."""
        done = self.inside(["sh", "-euc", script], None)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode().strip()


@dataclass(frozen=True)
class Yard:
    """A user's repository, its relay, and agents."""

    repository: Path
    source: Source
    relay: Relay
    folder: Path

    def agent(self, name: str, *, cache: Path | None = None, base: str | None = None) -> Sandbox:
        made = create_workspace(
            self.repository,
            self.folder / "agents" / name,
            name=name,
            base=base,
            owner=OWNER,
            objects_inside=OBJECTS,
            cache=cache,
        )
        register(self.relay, name, made.base)
        sandbox = Sandbox(made)
        for command in made.first_commands:
            assert sandbox.inside(command, None).returncode == 0
        return sandbox


def new_yard(folder: Path, *options: str) -> Yard:
    repository = new_repository(folder / "user", *options)
    (folder / "agents").mkdir()
    source = find_source(repository)
    return Yard(repository, source, open_relay(folder / "relay.git", source), folder)
