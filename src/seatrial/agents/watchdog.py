"""What no kernel limit covers: disk space, silence, and whether the sandbox is still there."""

from __future__ import annotations

import contextlib
import os
import stat
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path

_LEAST_SECONDS, _SHARE = 2.0, 20.0


class DiskWatch:
    """Measures what an agent has written.

    Looks every two seconds at most, and spends a twentieth of the time on it; sooner when the disk fills up.  An agent
    can pass its limit by what it writes between two looks.  Files that the processes `pids` hold open count, too.
    """

    def __init__(self, folders: Iterable[Path], most: int, pids: Callable[[], Iterable[int]] = tuple) -> None:
        self._folders, self._most, self._pids = tuple(folders), most, pids
        self._next, self._free = 0.0, 0
        self.used = 0

    def exceeded(self) -> bool:
        """Return whether the limit is passed; looks only when it is time."""
        if not self._most:
            return False
        now, free = time.monotonic(), self._free_bytes()
        hurry = self._free - free > (self._most - self.used) // 2
        if now < self._next and not hurry:
            return False
        self._free = free
        self.used = sum(disk_usage(folder) for folder in self._folders)
        self.used += unlinked(self._pids(), self._folders[0].stat().st_dev)
        self._next = time.monotonic() + max(_LEAST_SECONDS, _SHARE * (time.monotonic() - now))
        return self.used > self._most

    def _free_bytes(self) -> int:
        about = os.statvfs(self._folders[0])
        return about.f_bavail * about.f_frsize


def disk_usage(folder: Path) -> int:
    """Return the bytes that a folder takes on the disk; what vanishes meanwhile is left out, links are not followed.

    Does not count what cannot be read, and files that are open but in no folder any more (`unlinked`).
    """
    # Not by Python: an agent's folders may lie deeper than a path can be long, and would not be counted.
    done = subprocess.run(["du", "-s", "-B1", "--", folder], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    size = done.stdout.split(b"\t", 1)[0]
    return int(size) if size.isdigit() else 0


def unlinked(pids: Iterable[int], device: int) -> int:
    """Return the bytes of files on `device` that processes hold open and that are in no folder any more."""
    found: dict[int, int] = {}
    for pid in pids:
        with contextlib.suppress(OSError):
            for descriptor in Path(f"/proc/{pid}/fd").iterdir():
                with contextlib.suppress(OSError):
                    about = descriptor.stat()  # what it is open at is not opened again
                    if stat.S_ISREG(about.st_mode) and about.st_nlink == 0 and about.st_dev == device:
                        found[about.st_ino] = about.st_blocks * 512
    return sum(found.values())


def quiet_seconds(log: Path, since: float) -> float:
    """Return for how long neither the terminal printed (its log grew) nor anything was seen since `since` (Unix)."""
    try:
        last = log.stat().st_mtime
    except OSError:
        last = 0.0
    return time.time() - max(last, since)
