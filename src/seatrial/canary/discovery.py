"""Where logs are: the agents' ordinary places, a tree of folders, or an archive, which is read without unpacking it.

Nothing is opened here but archives: what a file holds is told from its path, and from its first bytes (`recognised`)
when it is read.  What cannot be looked at is reported, never an error.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from seatrial.canary.events import AgentName
from seatrial.errors import InputFileError

Form = Literal["file", "member", "folder", "database", "archive", "store", "prompts"]
"""A log: a file, a member of an archive, a folder of OpenCode, a session in its database.  What holds several: an
archive, a database.  Claude Code's list of prompts."""
ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2", ".zip")
INSIDE = "!"
"""Between the path of an archive and that of a log in it."""
_PROMPTS = "history.jsonl"
_LARGEST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Skipped:
    """Something that was not read, and why."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Log:
    """What may be a log.  `inside` is its path below the tree that was named, empty for the ordinary places."""

    path: str
    form: Form
    agent: AgentName | None
    inside: str
    size: int
    mtime_ns: int
    inode: int

    @property
    def name(self) -> str:
        """The path as text: bytes of it that are no UTF-8 are written out."""
        return as_text(self.path)


def as_text(path: str) -> str:
    """Return a path without what no text can hold."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


@dataclass(slots=True)
class Sources:
    """What was found."""

    logs: list[Log] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)


def ordinary(environment: Mapping[str, str] = os.environ, home: Path | None = None) -> Sources:
    """Return the logs of this machine's user in the places where the agents write them."""
    home = home or Path(environment.get("HOME") or Path.home())
    walk = _Walk()
    parts = (part.strip() for part in environment.get("CLAUDE_CONFIG_DIR", "").split(","))
    named = [Path(part).expanduser() for part in parts if part]
    for root in named or [home / ".claude", home / ".config" / "claude"]:
        walk.tree(root / "projects", agent="claude_code")
        walk.prompts(root / _PROMPTS)
    codex = Path(environment.get("CODEX_HOME") or home / ".codex")
    for name in ("sessions", "archived_sessions"):
        walk.tree(codex / name, agent="codex")
    for chats in sorted((home / ".gemini" / "tmp").glob("*/chats")):
        walk.tree(chats, agent="gemini")
    data = Path(environment.get("XDG_DATA_HOME") or home / ".local" / "share") / "opencode"
    walk.tree(data / "storage", agent="opencode")
    for database in sorted(data.glob("opencode*.db")):
        walk.file(database, "", None)
    return walk.found


def under(path: str | Path) -> Sources:
    """Return the logs in a tree of folders, in an archive, or in one file.

    Raises InputFileError when there is nothing at `path` or it cannot be looked at.
    """
    root = Path(path).expanduser().absolute()
    walk = _Walk()
    try:
        found = root.stat()
    except OSError as problem:
        raise InputFileError(
            f"Cannot read logs from {root}: {problem.strerror}.",
            hint="Name a folder with logs, an archive (.tar, .tar.gz, .tar.xz, .zip), or one log.",
            path=root,
        ) from problem
    if stat.S_ISDIR(found.st_mode):
        walk.tree(root, named=True)
    elif root.name.endswith(ARCHIVES):
        walk.found.logs.append(Log(str(root), "archive", None, "", *state_of(found)))
    else:
        walk.file(root, root.name, None)
    return walk.found


def state_of(found: os.stat_result) -> tuple[int, int, int]:
    """Return size, time of change (ns) and inode of a file, by which a change is known."""
    return found.st_size, found.st_mtime_ns, found.st_ino & _LARGEST


class _Walk:
    """Goes through folders, each once, whatever links lead to it."""

    def __init__(self) -> None:
        self.found = Sources()
        self._folders: set[tuple[int, int]] = set()
        self._files: set[tuple[int, int]] = set()

    def tree(self, root: Path, *, agent: AgentName | None = None, named: bool = False) -> None:
        """Add the logs below `root`; `agent` is whose place it is, `named` whether a user named it."""
        if not named and not os.path.lexists(root):
            return
        waiting = [(root, "")]
        while waiting:
            folder, inside = waiting.pop()
            entries = self._entries(folder)
            names = {entry.name for entry in entries}
            is_store = "session" in names and not names.isdisjoint({"message", "part"})
            for entry in entries:
                below = f"{inside}{entry.name}"
                if self._is_folder(entry):
                    # Of OpenCode's three folders, the messages and parts are found from the sessions.
                    if not is_store or entry.name == "session":
                        waiting.append((folder / entry.name, f"{below}/"))
                else:
                    self._candidate(Path(entry.path), below if named else "", agent)

    def _entries(self, folder: Path) -> list[os.DirEntry[str]]:
        try:
            found = folder.stat()
            if (found.st_dev, found.st_ino) in self._folders:
                self._skip(folder, "a link to a folder that was read already")
                return []
            self._folders.add((found.st_dev, found.st_ino))
            with os.scandir(folder) as entries:
                return sorted(entries, key=lambda entry: entry.name, reverse=True)
        except OSError as problem:
            self._skip(folder, _reason(problem))
            return []

    def _is_folder(self, entry: os.DirEntry[str]) -> bool:
        try:
            return entry.is_dir()
        except OSError as problem:
            self._skip(entry.path, _reason(problem))
            return False

    def _candidate(self, path: Path, inside: str, agent: AgentName | None) -> None:
        name = path.name
        if name == _PROMPTS:
            self.prompts(path)
        elif could_be_log(str(path)):
            self.file(path, inside, agent)
        elif inside and name.endswith(ARCHIVES):
            self._skip(path, "an archive in a folder; name it itself to have it read")

    def file(self, path: Path, inside: str, agent: AgentName | None) -> None:
        """Add a file that may be a log."""
        found = self._stat(path)
        if found is None:
            return
        form: Form = "file"
        if path.suffix == ".db":
            form, agent = "store", "opencode"
        elif agent == "opencode" or is_stored_session(path):
            form, agent = "folder", "opencode"
        self.found.logs.append(Log(str(path), form, agent, as_text(inside), *state_of(found)))

    def prompts(self, path: Path) -> None:
        """Add Claude Code's list of prompts, if it is there."""
        found = self._stat(path) if os.path.lexists(path) else None
        if found is not None:
            self.found.logs.append(Log(str(path), "prompts", "claude_code", "", *state_of(found)))

    def _stat(self, path: Path) -> os.stat_result | None:
        try:
            found = path.stat()
        except OSError as problem:
            self._skip(path, _reason(problem))
            return None
        if not stat.S_ISREG(found.st_mode):
            self._skip(path, "not a regular file")
            return None
        if (found.st_dev, found.st_ino) in self._files:
            self._skip(path, "a link to a file that was read already")
            return None
        self._files.add((found.st_dev, found.st_ino))
        return found

    def _skip(self, path: str | Path, reason: str) -> None:
        self.found.skipped.append(Skipped(as_text(str(path)), reason))


def _reason(problem: OSError) -> str:
    if isinstance(problem, FileNotFoundError):
        return "it is gone"
    return (problem.strerror or str(problem)).lower()


def could_be_log(path: str) -> bool:
    """Whether a file may be a log, by its name and the folders that it is in."""
    parts = path.replace("\\", "/").split("/")
    name = parts[-1]
    if name.endswith(".jsonl"):
        return name != _PROMPTS
    if name.endswith(".json"):
        if name.endswith((".meta.json", "sessions-index.json")):
            return False
        return name.startswith("ses_") or any("gemini" in part or part == "chats" for part in parts[:-1])
    return name.startswith("opencode") and name.endswith(".db")


def is_stored_session(path: Path) -> bool:
    """Whether a file is the header of a session in OpenCode's folder `storage`."""
    folder = path.parent.parent
    return path.name.startswith("ses_") and folder.name == "session" and path.suffix == ".json"


def gone(paths: Iterable[str]) -> Iterator[str]:
    """Yield those of `paths` that are no longer there; what cannot be looked at is taken to be there."""
    for path in paths:
        try:
            os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            yield path
        except OSError:
            continue
