"""What no kernel limit covers: disk space, silence, and whether the sandbox is still there."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path

_LEAST_SECONDS, _SHARE = 2.0, 20.0


class DiskWatch:
    """Measures what an agent has written.

    Looks every two seconds at most, and spends a twentieth of the time on it; sooner when the disk fills up.  An agent
    can pass its limit by what it writes between two looks.
    """

    def __init__(self, folders: Iterable[Path], most: int) -> None:
        self._folders, self._most = tuple(folders), most
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
        self._next = time.monotonic() + max(_LEAST_SECONDS, _SHARE * (time.monotonic() - now))
        return self.used > self._most

    def _free_bytes(self) -> int:
        about = os.statvfs(self._folders[0])
        return about.f_bavail * about.f_frsize


def disk_usage(folder: Path) -> int:
    """Return the bytes that a folder takes on the disk; what vanishes meanwhile is left out, links are not followed."""
    total, stack = 0, [str(folder)]
    while stack:
        try:
            with os.scandir(stack.pop()) as entries:
                for entry in entries:
                    try:
                        total += entry.stat(follow_symlinks=False).st_blocks * 512
                        if entry.is_dir(follow_symlinks=False):
                            stack.append(entry.path)
                    except OSError:
                        continue
        except OSError:
            continue
    return total


def quiet_seconds(log: Path, since: float) -> float:
    """Return for how long neither the terminal printed (its log grew) nor anything was seen since `since` (Unix)."""
    try:
        last = log.stat().st_mtime
    except OSError:
        last = 0.0
    return time.time() - max(last, since)
