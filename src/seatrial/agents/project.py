"""A project: the git repository that agents work on, and the folder where their state is.

State lies outside of the repository, in Seatrial's home, under a name made of the repository's path.  What people write
lies inside, in `.seatrial/agents.toml`, `.seatrial/templates/`, `.seatrial/harnesses/`, and may be committed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from seatrial import paths
from seatrial.agents import nursery
from seatrial.agents.records import Records
from seatrial.errors import AgentError, ProjectError

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")
_ROOT_RUNS_AS = 61184
"""The user id that agents get when Seatrial runs as root: the first of the range that systemd keeps for such uses."""


@dataclass(frozen=True)
class Project:
    """An open project; `root` is the top of the repository's main work tree."""

    root: Path
    folder: Path

    @cached_property
    def records(self) -> Records:
        """The project's records, opened when they are first asked for."""
        return Records(self.folder / "records.db")

    @property
    def relay(self) -> Path:
        """The bare repository that takes what agents hand over."""
        return self.folder / "relay.git"

    @property
    def owner(self) -> int | None:
        """The user id of agents' files and processes; None is Seatrial's own."""
        return _ROOT_RUNS_AS if os.geteuid() == 0 else None

    def agent(self, name: str) -> AgentFolder:
        """Return where the state of one agent is."""
        return AgentFolder(self.folder / "agents" / name)

    def lock(self, name: str) -> Path:
        """Return the file that is held by an agent's supervisor while it lives, or by whoever makes or deletes it."""
        folder = self.folder / "locks"
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder / name

    @property
    def is_trusted(self) -> bool:
        """Whether the user has said that the project's `.seatrial`, as it is now, may open the sandbox."""
        known = self._read_about().get("trusted")
        try:
            return known is not None and known == self._configuration_hash()
        except ProjectError:
            return False

    def trust(self) -> None:
        """Say so; ProjectError when there is a link in `.seatrial`."""
        self._write_about(trusted=self._configuration_hash())

    def _configuration_hash(self) -> str:
        folder = self.root / ".seatrial"
        found = hashlib.sha256()
        for place in (folder, *sorted(folder.rglob("*"))):
            if place.is_symlink():  # what it leads to could change without a trace here
                raise ProjectError(f"{place} is a link and cannot be trusted.", hint="Put the file itself there.")
            if place.is_file():
                content = place.read_bytes()
                found.update(f"{place.relative_to(folder)}\0{len(content)}\0".encode("utf-8", "surrogateescape"))
                found.update(content)
        return found.hexdigest()

    def _read_about(self) -> dict[str, str]:
        try:
            about: dict[str, str] = json.loads((self.folder / "project.json").read_text())
        except (OSError, ValueError):
            return {}
        return about

    def _write_about(self, **values: str) -> None:
        with paths.atomic_write(self.folder / "project.json") as stream:
            stream.write(json.dumps({"root": str(self.root), **self._read_about(), **values}).encode())


@dataclass(frozen=True)
class AgentFolder:
    """Where the state of one agent is."""

    path: Path

    @property
    def home(self) -> Path:
        """Its home folder; the harness keeps its conversation there."""
        return self.path / "home"

    @property
    def workspace(self) -> Path:
        """Its clone, or the layers of it."""
        return self.path / "workspace"

    @property
    def ours(self) -> Path:
        """What is shown read-only at /run/seatrial."""
        return self.path / "run"

    @property
    def launch(self) -> Path:
        """Where the runtime keeps its files."""
        return self.path / "launch"

    @property
    def recording(self) -> Path:
        """The exchanges with models."""
        return self.path / "recording"

    @property
    def log(self) -> Path:
        """All that the agent's terminal printed."""
        return self.path / "terminal.log"

    def socket(self, name: str) -> Path:
        """Return a short path for a socket that only this side uses: the kernel allows about 100 characters."""
        return nursery.private_folder() / f"{hashlib.sha256(str(self.path).encode()).hexdigest()[:16]}.{name}"


def find_project(start: Path | None = None) -> Project:
    """Return the project of the repository that holds `start` (default: the working folder).

    Raises ProjectError outside of a git repository.  Worktrees belong to the project of their main repository.
    """
    from seatrial.agents.git import source

    found = source.find_source(start or Path.cwd())
    return _project(found.root)


def _project(root: Path) -> Project:
    key = hashlib.sha256(str(root).encode()).hexdigest()[:10]
    slug = re.sub(r"[^a-z0-9]+", "-", root.name.lower()).strip("-")[:30] or "project"
    folder = paths.private_folder(paths.home() / "agents" / f"{slug}-{key}")
    project = Project(root, folder)
    if not (folder / "project.json").is_file():
        project._write_about()
    return project


def all_projects() -> list[Project]:
    """Return every project that has state on this machine."""
    found = []
    for file in sorted((paths.home() / "agents").glob("*/project.json")):
        try:
            found.append(Project(Path(json.loads(file.read_text())["root"]), file.parent))
        except (OSError, ValueError, KeyError):
            continue
    return found


def check_name(name: str) -> str:
    """Return `name` if an agent may be called so; AgentError else."""
    if not _NAME.fullmatch(name) or name in ("user", "all", "system"):
        raise AgentError(
            f"{name!r} cannot be the name of an agent.",
            hint="Use up to 40 of a-z, 0-9 and -, beginning and ending with a letter or digit; not user, all, system.",
        )
    return name
