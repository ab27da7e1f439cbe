"""A folder of files that can be made again, the least recently used of which go first."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from seatrial import paths


@dataclass(frozen=True)
class CacheUse:
    """What the files of a cache take: how many, and bytes."""

    folder: str
    files: int
    bytes: int


@dataclass(frozen=True)
class Shelf:
    """The files that end in `suffix`, in `folder` or in the folders of its first level."""

    folder: Path
    suffix: str

    def files(self) -> list[Path]:
        """Return all files."""
        return [file for pattern in ("*", "*/*") for file in self.folder.glob(pattern + self.suffix)]

    def use(self) -> CacheUse:
        """Return how many files there are and what they take."""
        sizes = [file.stat().st_size for file in self.files()]
        return CacheUse(str(self.folder), len(sizes), sum(sizes))

    def prune(self, keep_bytes: int = 0) -> CacheUse:
        """Remove the least recently used files until at most `keep_bytes` are left; return what was removed.

        A process that has one of them open keeps it.  What killed writers left is removed, too.
        """
        files = sorted((file.stat().st_mtime, file.stat().st_size, file) for file in self.files())
        left = sum(size for _, size, _ in files)
        removed = freed = 0
        for _, size, file in files:
            if left - freed <= keep_bytes:
                break
            file.unlink(missing_ok=True)
            removed, freed = removed + 1, freed + size
        for folder in (self.folder, *self.folder.glob("*/")):
            paths.remove_abandoned(folder, self.suffix)
        return CacheUse(str(self.folder), removed, freed)
