"""Setting up what keeps the history and shows reports, and taking exactly that out again.

What is going to be written is recorded first, with its hash: whatever happens, `uninstall` knows what is Seatrial's.  A
file that somebody has changed is theirs.
"""

from __future__ import annotations

import hashlib
import os
import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson

from seatrial import paths
from seatrial.canary import schedules
from seatrial.errors import StorageError

_TIMER = f"{schedules.NAME}.timer"
_SKILL = """---
name: seatrial-canary
description: Shows whether the coding agent on this machine got worse, got better or changed, computed from its logs. \
Use when the user asks whether the agent or model regressed, is not what it was, or costs more than before.
---

Run this, with what the user wrote after the name of the skill (such as `--days 30`) added to it:

```
{command}
```

Show the text that it prints as it is, whole, in a code block. It is the answer. Do not add a judgement of your own, do
not call it better or worse than it says, and do not read the logs yourself: an agent is no judge of itself. If the
command fails, show its message and its hint.
"""
_PROMPT = """---
description: Show whether the coding agent on this machine changed, computed from its logs
argument-hint: "[--days N] [--project NAME]"
---

Run `{command} $ARGUMENTS` and show the text that it prints as it is, whole, in a code block. It is the answer. Do not
add a judgement of your own, and do not read the logs yourself: an agent is no judge of itself. If the command fails,
show its message and its hint.
"""


@dataclass(slots=True)
class Installed:
    """What `install` or `uninstall` did."""

    schedule: str = ""
    changed: list[str] = field(default_factory=list)
    """Files that were written or removed; `crontab` for its block."""
    unchanged: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    """Files that were left as they are, because somebody else wrote or changed them."""
    to_run: list[str] = field(default_factory=list)
    """Commands that could not be run, for the user to run."""

    def as_dict(self) -> dict[str, Any]:
        """Return everything as values of JSON."""
        return asdict(self)


@dataclass(slots=True)
class _Record:
    """The file that says what is Seatrial's: hashes of files by path, folders that it made, its crontab's block."""

    path: Path
    files: dict[str, list[str]] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)
    schedule: str = ""
    block: str = ""
    had_crontab: bool = True

    @classmethod
    def read(cls) -> _Record:
        path = paths.home() / "canary" / "installed.json"
        try:
            given = orjson.loads(path.read_bytes())
            made = cls(path, dict(given["files"]), list(given["folders"]), given["schedule"], given["block"])
            made.had_crontab = bool(given["had_crontab"])
        except FileNotFoundError:
            return cls(path)
        except (OSError, orjson.JSONDecodeError, KeyError, TypeError, ValueError) as problem:
            raise StorageError(
                f"{path} cannot be read: {problem}.", hint="Move it away, and install again.", path=path
            ) from problem
        return made

    def write(self) -> None:
        with paths.atomic_write(self.path) as stream:
            content = {name: value for name, value in asdict(self).items() if name != "path"}
            stream.write(orjson.dumps(content, option=orjson.OPT_INDENT_2))


def install(schedule: str = "auto", every: str = "6h", skills: bool = True, *, watch: bool = False) -> Installed:
    """Have `ingest` run every few hours, and give the coding agents that are here a command that shows the report.

    `schedule` is `systemd`, `cron`, `launchd`, `auto` or `none`; with `watch` it watches as well, and tells the desktop
    what moved.  Installing again changes what has changed.  Raises
    SettingError for a schedule or an interval that cannot be, StorageError when something cannot be written.
    """
    minutes = schedules.minutes_of(every)
    kind = "" if schedule == "none" else schedules.chosen(schedule)
    task = ["watch", "--notify", "desktop"] if watch else ["ingest"]
    command, variables = [*schedules.program(), "canary", *task], schedules.environment()
    wanted = {**_units(kind, command, variables, minutes), **(_skills() if skills else {})}
    block = schedules.cron_block(command, variables, minutes) if kind == "cron" else b""
    with paths.locked(paths.private_folder(paths.home() / "canary") / "installed.lock"):
        record, made = _Record.read(), Installed(kind)
        if record.schedule not in ("", kind):
            _take_out(record, made, [path for path in record.files if Path(path) in _units(record.schedule)])
        record.schedule = kind
        if block:
            _put_block(record, made, block)
        for path, content in wanted.items():
            _put(record, made, path, content)
        record.write()
        _start(kind, made)
    return made


def uninstall() -> Installed:
    """Take out what `install` wrote, but for files that were changed since; the history stays.

    Raises StorageError when something cannot be removed, or the record of what was installed cannot be read.
    """
    folder = paths.home() / "canary"
    if not (folder / "installed.json").exists():
        return Installed()
    with paths.locked(folder / "installed.lock"):
        record = _Record.read()
        made = Installed(record.schedule)
        _take_out(record, made, list(record.files))
        record.path.unlink(missing_ok=True)
        made.changed.sort()
    return made


def _skills() -> dict[Path, bytes]:
    """Return the files for the coding agents that have a folder here."""
    command = shlex.join([*schedules.program(), "canary", "report"])
    named = os.environ.get("CLAUDE_CONFIG_DIR", "").split(",")[0].strip()
    claude = Path(named).expanduser() if named else Path.home() / ".claude"
    codex = Path(os.environ.get("CODEX_HOME") or Path.home() / ".codex").expanduser()
    found = {}
    if claude.is_dir():
        found[claude / "skills" / schedules.NAME / "SKILL.md"] = _SKILL.format(command=command).encode()
    if codex.is_dir():
        found[codex / "prompts" / f"{schedules.NAME}.md"] = _PROMPT.format(command=command).encode()
    return found


def _units(
    kind: str, command: Sequence[str] = (), variables: Mapping[str, str] | None = None, minutes: int = 0
) -> dict[Path, bytes]:
    """Return the files of a kind of schedule."""
    if kind == "systemd":
        folder = schedules.unit_folder()
        return {
            folder / f"{schedules.NAME}.service": schedules.service_unit(command, variables or {}),
            folder / _TIMER: schedules.timer_unit(minutes),
        }
    return {_plist(): schedules.agent_plist(command, variables or {}, minutes)} if kind == "launchd" else {}


def _plist() -> Path:
    return Path.home() / "Library" / "LaunchAgents" / f"{schedules.LABEL}.plist"


def _put(record: _Record, made: Installed, path: Path, content: bytes) -> None:
    """Write a file, unless somebody else's is there."""
    there = _content(path)
    known = record.files.get(str(path), [])
    is_ours = there is None or _hash(there) in known or there == content
    if path.is_symlink() or not is_ours:
        made.kept.append(str(path))
        return
    new_folders = [str(folder) for folder in path.parents if not folder.exists()]
    record.folders = sorted({*record.folders, *new_folders})
    record.files[str(path)] = [_hash(content)]
    if there == content:
        made.unchanged.append(str(path))
        return
    record.files[str(path)] += known
    record.write()
    with paths.atomic_write(path) as stream:
        stream.write(content)
        os.fchmod(stream.fileno(), 0o644)
    record.files[str(path)] = [_hash(content)]
    made.changed.append(str(path))


def _put_block(record: _Record, made: Installed, block: bytes) -> None:
    """Write the crontab's block, unless somebody has changed the one that is there."""
    content = schedules.read_crontab()
    span = schedules.find_block(content or b"")
    known = record.block.encode()
    if content is not None and span:
        there = content[span[0] : span[1]]
        if there == block:
            made.unchanged.append("crontab")
            record.block = record.block or block.decode()
            return
        if known and not known.endswith(there):
            made.kept.append("crontab")
            return
    else:
        record.had_crontab = content is not None
        known = b""
    wanted = schedules.with_block(content, block)
    before = known.partition(schedules.BEGIN)[0] if span else wanted[len(content or b"") : -len(block)]
    record.block = (before + block).decode()
    record.write()
    schedules.write_crontab(wanted)
    made.changed.append("crontab")


def _start(kind: str, made: Installed) -> None:
    """Start the schedule, or say what would."""
    commands: list[list[str]] = []
    if kind == "systemd":
        commands = [
            ["systemctl", "--user", "daemon-reload"],
            ["systemctl", "--user", "enable", "--now", _TIMER],
        ]
    elif kind == "launchd" and str(_plist()) in made.changed:
        schedules.run_quietly(["launchctl", "bootout", f"gui/{os.getuid()}/{schedules.LABEL}"])
        commands = [["launchctl", "bootstrap", f"gui/{os.getuid()}", str(_plist())]]
    for number, command in enumerate(commands):
        if not schedules.run_quietly(command):
            made.to_run += [shlex.join(rest) for rest in commands[number:]]
            return


def _take_out(record: _Record, made: Installed, files: list[str]) -> None:
    """Stop the schedule, and remove its block, some files and the folders that are empty then."""
    if record.schedule == "systemd":
        schedules.run_quietly(["systemctl", "--user", "disable", "--now", _TIMER])
        link = schedules.unit_folder() / "timers.target.wants" / _TIMER
        if link.is_symlink() and link.readlink().name == link.name:
            link.unlink()
    elif record.schedule == "launchd":
        schedules.run_quietly(["launchctl", "bootout", f"gui/{os.getuid()}/{schedules.LABEL}"])
    if record.block:
        _remove_block(record, made)
    for path in files:
        _remove(record, made, Path(path))
    if record.schedule == "systemd":
        schedules.run_quietly(["systemctl", "--user", "daemon-reload"])
    for folder in sorted(record.folders, key=len, reverse=True):
        with suppress(OSError):
            Path(folder).rmdir()
            record.folders.remove(folder)


def _remove(record: _Record, made: Installed, path: Path) -> None:
    there = _content(path)
    if there is not None and not path.is_symlink() and _hash(there) in record.files[str(path)]:
        try:
            path.unlink()
        except OSError as problem:
            raise StorageError(f"Cannot remove {path}: {problem.strerror}.", path=path) from problem
        made.changed.append(str(path))
    elif there is not None:
        made.kept.append(str(path))
    del record.files[str(path)]


def _remove_block(record: _Record, made: Installed) -> None:
    content, block = schedules.read_crontab() or b"", record.block.encode()
    if block in content:
        rest = content.replace(block, b"", 1)
        schedules.write_crontab(None if not rest and not record.had_crontab else rest)
        made.changed.append("crontab")
    elif schedules.BEGIN in content:
        made.kept.append("crontab")
    record.block = ""


def _content(path: Path) -> bytes | None:
    """Return what is in a file; None when there is none; StorageError when it cannot be read."""
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as problem:
        raise StorageError(f"Cannot read {path}: {problem.strerror}.", path=path) from problem


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
