"""Limits on all processes of a sandbox together, by control groups of version 1 or 2.

Root's groups lie at the top.  An ordinary user's lie in the part of the tree that systemd has delegated to the user
(`user@UID.service`), and only programs that run in that part can use it: those of a desktop and of user services can,
those of a plain SSH session cannot (`systemd-run --user --scope seatrial …` does).  `create` gives None where no group
may be made or where the kernel gives it no limits: the caller then falls back on resource limits of each process and a
watchdog, and says so.  Groups limit memory and processes, and processor time where that is delegated; they do not limit
disk space.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from seatrial.agents.policy import Limits

_MOUNT = Path("/sys/fs/cgroup")
_PARENT = "seatrial"
_CONTROLLERS = ("memory", "pids", "cpu")
_PERIOD = 100_000  # microseconds over which processor time is counted


@dataclass(frozen=True)
class ControlGroup:
    """The folders of one sandbox's group: one for version 2, one per controller for version 1."""

    folders: tuple[Path, ...]

    @property
    def entrances(self) -> list[str]:
        """Files that a process writes its id to, to be in the group with all that it starts."""
        return [str(folder / "cgroup.procs") for folder in self.folders]

    def pids(self) -> list[int]:
        """Return the processes in the group, as seen from here."""
        found: set[int] = set()
        for folder in self.folders:
            with contextlib.suppress(OSError):
                found.update(int(line) for line in (folder / "cgroup.procs").read_text().split())
        return sorted(found)

    def usage(self) -> dict[str, int]:
        """Return `memory` (bytes), `memory_peak`, `pids` and `killed` (processes ended for want of memory)."""
        names = {
            "memory": ("memory.current", "memory.usage_in_bytes"),
            "memory_peak": ("memory.peak", "memory.max_usage_in_bytes"),
            "pids": ("pids.current",),
        }
        seen = {key: value for key, files in names.items() if (value := self._first_number(files)) is not None}
        for folder in self.folders:
            for name in ("memory.events", "memory.oom_control"):
                with contextlib.suppress(OSError):
                    for line in (folder / name).read_text().splitlines():
                        if line.startswith("oom_kill "):
                            seen["killed"] = int(line.split()[1])
        return seen

    def kill(self) -> None:
        """End every process in the group; returns when it is empty or after five seconds."""
        for folder in self.folders:
            if (folder / "cgroup.kill").is_file():  # version 2: all at once, those that are just being forked, too
                with contextlib.suppress(OSError):
                    (folder / "cgroup.kill").write_text("1")
        end = time.monotonic() + 5
        while (pids := self.pids()) and time.monotonic() < end:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)

    @property
    def limits_processors(self) -> bool:
        """Whether processor time is limited: it is not delegated everywhere."""
        return any((folder / name).is_file() for folder in self.folders for name in ("cpu.max", "cpu.cfs_quota_us"))

    def remove(self) -> None:
        """Remove the group when it is empty; a group that is in use stays."""
        for folder in self.folders:
            with contextlib.suppress(OSError):
                folder.rmdir()

    def _first_number(self, names: tuple[str, ...]) -> int | None:
        for folder in self.folders:
            for name in names:
                with contextlib.suppress(OSError, ValueError):
                    return int((folder / name).read_text())
        return None


def create(identity: str, limits: Limits, mount: Path = _MOUNT) -> ControlGroup | None:
    """Make the group `identity` with `limits`, or take it as it is after a crash; None where that is not allowed."""
    folders = _version2(identity, mount) or _version1(identity, mount)
    if not folders:
        return None
    group = ControlGroup(tuple(folders))
    for _ in range(2):  # twice, since a limit of version 1 that grows must follow the one above it
        refused = [problem for folder in folders for problem in _write_limits(folder, limits)]
    if refused or not _limits_memory_and_processes(group):
        group.remove()
        return None
    return group


def delegated(mount: Path = _MOUNT, uid: int | None = None, own: str | None = None) -> Path | None:
    """Return the folder below which this process may make groups (version 2), None where there is none.

    It is the highest one above the process's own that belongs to the user; for root, the top of the tree.
    """
    uid = os.geteuid() if uid is None else uid
    if uid == 0:
        return mount
    try:
        lines = (Path("/proc/self/cgroup").read_text() if own is None else own).splitlines()
    except OSError:
        return None
    path = next((line.removeprefix("0::") for line in lines if line.startswith("0::")), "/")
    place, found = mount / path.lstrip("/"), None
    while place != mount and place.is_relative_to(mount):
        try:
            if place.stat().st_uid == uid and (place / "cgroup.procs").stat().st_uid == uid:
                found = place
        except OSError:
            break
        place = place.parent
    return found


def _limits_memory_and_processes(group: ControlGroup) -> bool:
    names = (("memory.max", "memory.limit_in_bytes"), ("pids.max",))
    return all(any((folder / name).is_file() for folder in group.folders for name in either) for either in names)


def find(identity: str, mount: Path = _MOUNT) -> ControlGroup | None:
    """Return the group `identity` if there is one."""
    folders = [
        folder
        for base in (mount, *_users(mount), *(mount / name for name in _CONTROLLERS))
        if (folder := base / _PARENT / identity).is_dir()
    ]
    return ControlGroup(tuple(folders)) if folders else None


def of_process(pid: int, mount: Path = _MOUNT) -> ControlGroup | None:
    """Return the group that a process is in, of those controllers that limit; None where it is in none of its own."""
    folders = []
    with contextlib.suppress(OSError):
        ours = Path("/proc/self/cgroup").read_text().splitlines()
        for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
            if line in ours:
                continue
            _, controllers, path = line.split(":", 2)
            names = [name for name in controllers.split(",") if name in _CONTROLLERS]
            base = mount / names[0] if names else mount
            folder = base / path.lstrip("/")
            if (names or not controllers) and folder != base and (folder / "cgroup.procs").is_file():
                folders.append(folder)
    return ControlGroup(tuple(folders)) if folders else None


def _version2(identity: str, mount: Path) -> list[Path]:
    base = delegated(mount)
    if base is None or not (base / "cgroup.controllers").is_file():
        return []
    parent = base / _PARENT
    try:
        parent.mkdir(exist_ok=True)
        for folder in (base, parent):
            for name in _CONTROLLERS:  # each alone: one that is not delegated must not keep the others out
                with contextlib.suppress(OSError):
                    (folder / "cgroup.subtree_control").write_text(f"+{name}")
        (parent / identity).mkdir(exist_ok=True)
        if not (parent / identity / "memory.max").is_file():
            (parent / identity).rmdir()
            return []
    except OSError:
        return []
    return [parent / identity]


def _users(mount: Path) -> list[Path]:
    """Return where groups of an ordinary user may be, wherever this process is."""
    uid = os.geteuid()
    usual = mount / "user.slice" / f"user-{uid}.slice" / f"user@{uid}.service"
    return [place for place in (delegated(mount), usual) if place is not None and place != mount]


def _version1(identity: str, mount: Path) -> list[Path]:
    made = []
    for name in _CONTROLLERS:
        folder = mount / name / _PARENT / identity
        try:
            if (mount / name / "cgroup.procs").is_file():
                folder.mkdir(parents=True, exist_ok=True)
                made.append(folder)
        except OSError:
            return []
    return made


def _write_limits(folder: Path, limits: Limits) -> list[OSError]:
    """Write what the folder has files for; return what the kernel refused."""
    quota = int(limits.cpus * _PERIOD)
    values = {
        "memory.max": limits.memory,
        "memory.limit_in_bytes": limits.memory,
        "memory.memsw.limit_in_bytes": limits.memory,
        "pids.max": limits.pids,
        "cpu.cfs_quota_us": quota,
    }
    texts = {name: str(value) for name, value in values.items() if value}
    if quota:
        texts["cpu.max"] = f"{quota} {_PERIOD}"
    if limits.memory:
        texts["memory.swap.max"] = "0"
    refused = []
    for name, text in texts.items():
        if (folder / name).is_file():
            try:
                (folder / name).write_text(text)
            except OSError as problem:
                refused.append(problem)
    return refused
