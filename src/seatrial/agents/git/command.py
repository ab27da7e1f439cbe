"""Running the host's git so that nothing in a repository can make it run anything else.

`host_git` serves repositories that Seatrial made and owns: no configuration but their own, no home, no programs.
`user_git` serves the user's own repository: there the user's configuration counts, because names, signing keys and
filters such as LFS live in it, but hooks, fsmonitor, pagers, editors, prompts and aliases stay off: a landing must not
run what the landed commits brought along (`core.hooksPath` may point into the work tree).

Neither protects when pointed at a folder that an agent can write: filters and `objects/info/alternates` would still be
followed.  That is why nothing here ever is.
"""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import BinaryIO

from seatrial.agents.git.inside import Completed, printable
from seatrial.errors import GitError

LEAST_GIT = (2, 38)
SECONDS = 600.0
_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"
_USER_VARIABLES = (
    *("HOME", "PATH", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "SSH_AUTH_SOCK", "GNUPGHOME", "GPG_TTY", "EMAIL"),
    *("GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL", "GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM"),
)

_ALWAYS = {
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "core.pager": "cat",
    "core.editor": "false",
    "sequence.editor": "false",
    "core.askPass": "",
    "core.sshCommand": "false",
    "core.gitProxy": "false",
    "core.quotePath": "true",
    "core.alternateRefsCommand": "true",
    "credential.helper": "",
    "diff.external": "",
    "protocol.allow": "never",
    "gc.auto": "0",
    "gc.autoDetach": "false",
    "maintenance.auto": "false",
    "submodule.recurse": "false",
    "fetch.recurseSubmodules": "false",
    "uploadpack.packObjectsHook": "",
    "advice.detachedHead": "false",
    "advice.graftFileDeprecated": "false",
    "log.showSignature": "false",
}


@dataclass(frozen=True)
class ChildLimits:
    """What one git process may use: seconds of processor, bytes of private memory, bytes of one file."""

    cpu_seconds: int = 300
    memory_bytes: int = 2 << 30
    file_bytes: int = 8 << 30


@dataclass(frozen=True)
class Repository:
    """A repository as git is to be pointed at it; discovery by git itself is never used.

    `git_dir` is the folder (or `.git` file) for this work tree, `worktree` is None for bare ones.
    """

    git_dir: Path
    worktree: Path | None = None


@cache
def git_program() -> str:
    """Return the absolute path of git; GitError without one."""
    found = shutil.which("git", path=_PATH) or shutil.which("git")
    if found is None:
        raise GitError("git is not installed.", hint="Install git 2.38 or newer.")
    return str(Path(found).absolute())


@cache
def git_version() -> tuple[int, ...]:
    """Return git's version, e.g. (2, 39, 5); GitError below 2.38, which cannot merge without a tree."""
    said = subprocess.run([git_program(), "version"], capture_output=True, env={"PATH": _PATH}, check=False).stdout
    numbers = re.search(rb"(\d+)\.(\d+)(?:\.(\d+))?", said)
    version = tuple(int(part or 0) for part in numbers.groups()) if numbers else (0, 0, 0)
    if version[:2] < LEAST_GIT:
        raise GitError(
            f"git {'.'.join(map(str, version))} is too old: 2.38 is the first that can merge without a work tree.",
            hint="Install git 2.38 or newer.",
        )
    return version


def host_git(
    repository: Repository | Path,
    *arguments: str | bytes,
    stdin: bytes | BinaryIO | None = None,
    stdout: BinaryIO | None = None,
    check: bool = True,
    variables: Mapping[str, str] | None = None,
    limits: ChildLimits | None = None,
    seconds: float = SECONDS,
) -> Completed:
    """Run git in a repository of Seatrial's own; a path means a bare one.

    `stdin` and `stdout` may be files; `variables` are added to an otherwise fixed environment.  Raises GitError with
    git's first line when it fails (unless not `check`), when it takes longer than `seconds`, or when it meets `limits`.
    Does not protect from a `config` that an agent could have written: only ever give it folders no agent can reach.
    """
    environment = {
        "PATH": _PATH,
        "HOME": "/nonexistent",
        "XDG_CONFIG_HOME": "/nonexistent",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_SYSTEM": os.devnull,
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": "Seatrial",
        "GIT_AUTHOR_EMAIL": "relay@seatrial.invalid",
        "GIT_COMMITTER_NAME": "Seatrial",
        "GIT_COMMITTER_EMAIL": "relay@seatrial.invalid",
    }
    settings = {"core.attributesFile": os.devnull, "core.excludesFile": os.devnull}
    return _run(repository, arguments, environment, settings, stdin, stdout, check, variables, limits, seconds)


def user_git(
    repository: Repository | Path,
    *arguments: str | bytes,
    stdin: bytes | BinaryIO | None = None,
    stdout: BinaryIO | None = None,
    check: bool = True,
    variables: Mapping[str, str] | None = None,
    seconds: float = SECONDS,
) -> Completed:
    """Run git in the user's own repository, with the user's configuration but without hooks, prompts and programs.

    What stays the user's: identity, signing (key, program, agent socket), filters, attributes.  Raises GitError like
    `host_git`.  Does not protect from the user's own configuration: a smudge filter that the user set up runs on files
    that are landed, as in any merge.
    """
    environment = {name: os.environ[name] for name in _USER_VARIABLES if name in os.environ}
    environment.setdefault("PATH", _PATH)
    return _run(repository, arguments, environment, {}, stdin, stdout, check, variables, None, seconds)


def alternate(objects: Path) -> dict[str, str]:
    """Return the variable that makes git look for objects in one more folder, whatever is in its name."""
    path = str(objects)
    if set(path) & set(':"\\'):
        path = '"' + path.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return {"GIT_ALTERNATE_OBJECT_DIRECTORIES": path}


def first_line(stderr: bytes) -> str:
    """Return git's own first complaint, printable, at most 300 characters."""
    lines = [line for line in stderr.splitlines() if line.strip()]
    chosen = next(
        (line for line in lines if line.startswith((b"fatal:", b"error:"))), lines[0] if lines else b"no reason"
    )
    return printable(re.sub(rb"^(fatal|error): ", b"", chosen), limit=300)


def _run(
    repository: Repository | Path,
    arguments: tuple[str | bytes, ...],
    environment: dict[str, str],
    settings: Mapping[str, str],
    stdin: bytes | BinaryIO | None,
    stdout: BinaryIO | None,
    check: bool,
    variables: Mapping[str, str] | None,
    limits: ChildLimits | None,
    seconds: float,
) -> Completed:
    git_version()
    place = repository if isinstance(repository, Repository) else Repository(repository)
    environment = {
        **environment,
        "GIT_DIR": str(place.git_dir),
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_PROTOCOL_FROM_USER": "0",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_GRAFT_FILE": os.devnull,
        "GIT_PAGER": "cat",
        "GIT_EDITOR": "false",
        "GIT_ASKPASS": "",
        "LC_ALL": "C",
        **(variables or {}),
    }
    if place.worktree is not None:
        environment["GIT_WORK_TREE"] = str(place.worktree)
    argv = [os.fsencode(git_program())]
    for key, value in {**_ALWAYS, **settings, "safe.directory": str(place.worktree or place.git_dir)}.items():
        argv += [b"-c", os.fsencode(f"{key}={value}")]
    verb = printable(os.fsencode(arguments[0]))
    process = subprocess.Popen(
        argv + [os.fsencode(argument) for argument in arguments],
        env=environment,
        cwd=place.worktree or "/",
        stdin=subprocess.PIPE if isinstance(stdin, bytes) else stdin or subprocess.DEVNULL,
        stdout=stdout or subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        if limits is not None:
            limit_process(process.pid, limits)
        out, err = process.communicate(stdin if isinstance(stdin, bytes) else None, timeout=seconds)
    except subprocess.TimeoutExpired as error:
        raise GitError(f"git {verb} took longer than {seconds:.0f} seconds in {place.git_dir}.") from error
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
    if check and process.returncode:
        told = first_line(err) if process.returncode > 0 else f"it met a limit (signal {-process.returncode})"
        raise GitError(f"git {verb} failed in {place.git_dir}: {told}", returncode=process.returncode)
    return Completed(process.returncode, out or b"", err or b"")


def limit_process(pid: int, limits: ChildLimits) -> None:
    """Bound a running child: processor seconds, private memory (mapped packs do not count), file size, no core."""
    for kind, most in (
        (resource.RLIMIT_CPU, limits.cpu_seconds),
        (resource.RLIMIT_DATA, limits.memory_bytes),
        (resource.RLIMIT_FSIZE, limits.file_bytes),
        (resource.RLIMIT_CORE, 0),
    ):
        try:
            resource.prlimit(pid, kind, (most, most))
        except (ProcessLookupError, ValueError, PermissionError):  # ended already, or the user's own limit is lower
            pass
