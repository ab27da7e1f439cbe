"""Limits on all processes of a sandbox together, by control groups of version 1 or 2.

`create` gives None where no group may be made (an ordinary user without a delegated group): the caller then falls back
on resource limits of each process and a watchdog, and says so.  Groups limit memory, processor time and processes; they
do not limit disk space.
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
        end = time.monotonic() + 5
        while (pids := self.pids()) and time.monotonic() < end:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)

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
    for folder in folders:
        _write_limits(folder, limits)
    return group


def find(identity: str, mount: Path = _MOUNT) -> ControlGroup | None:
    """Return the group `identity` if there is one."""
    folders = [
        folder
        for base in (mount, *(mount / name for name in _CONTROLLERS))
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
    controllers = mount / "cgroup.controllers"
    if not controllers.is_file() or "memory" not in controllers.read_text().split():
        return []
    try:
        parent = mount / _PARENT
        parent.mkdir(exist_ok=True)
        for folder in (mount, parent):
            (folder / "cgroup.subtree_control").write_text("+memory +pids +cpu")
        (parent / identity).mkdir(exist_ok=True)
    except OSError:
        return []
    return [parent / identity]


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


def _write_limits(folder: Path, limits: Limits) -> None:
    quota = int(limits.cpus * _PERIOD)
    values = {
        "memory.max": limits.memory,
        "memory.limit_in_bytes": limits.memory,
        "memory.memsw.limit_in_bytes": limits.memory,
        "pids.max": limits.pids,
        "cpu.cfs_quota_us": quota,
    }
    for name, value in values.items():
        if value and (folder / name).is_file():
            (folder / name).write_text(str(value))
    if quota and (folder / "cpu.max").is_file():
        (folder / "cpu.max").write_text(f"{quota} {_PERIOD}")
    if limits.memory and (folder / "memory.swap.max").is_file():
        (folder / "memory.swap.max").write_text("0")
