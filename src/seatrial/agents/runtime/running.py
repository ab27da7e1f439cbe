"""Finding the processes of a sandbox from outside, by their process namespace."""

from __future__ import annotations

import contextlib
from pathlib import Path


def namespace_of(pid: int) -> int:
    """Return the number of a process's process namespace; OSError when the process is gone."""
    return Path(f"/proc/{pid}/ns/pid").stat().st_ino


def lives(pid: int, namespace: int) -> bool:
    """Whether `pid` is still the first process of `namespace`: numbers of processes are used again."""
    try:
        dead = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
        return not dead and namespace_of(pid) == namespace
    except OSError:
        return False


def processes_of(first: int) -> list[int]:
    """Return the processes that live in the process namespace of `first`."""
    found = []
    try:
        inode = namespace_of(first)
    except OSError:
        return []
    for place in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if place.name.isdigit() and (place / "ns" / "pid").stat().st_ino == inode:
                found.append(int(place.name))
    return found
