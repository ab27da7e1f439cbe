"""Copies of a data folder: files that share their blocks where the file system can, whole files where it cannot.

The strategy is found by trying it on a small file in the very folder, and recorded with the branch.  OverlayFS is not
among them: reading one row copied a whole gigabyte segment up, and the upper layer is not the server's alone.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from seatrial.database import place
from seatrial.errors import BranchError, StorageError

CLONE, COPY = "clone", "copy"
STRATEGIES = (CLONE, COPY)
_FICLONE = 0x40049409  # <linux/fs.h>
_NOT_COPIED = frozenset(("postmaster.pid", "postmaster.opts", "pg_internal.init", "current_logfiles"))
# Folders whose content belongs to the running server, or to replication that a copy must not take part in.
_EMPTIED = frozenset(
    ("pg_replslot", "pg_dynshmem", "pg_notify", "pg_serial", "pg_snapshots", "pg_stat_tmp", "pg_subtrans")
)
_CHUNK = 2**30


@dataclass(frozen=True)
class Copied:
    """What a copy took: `bytes` is the apparent size, also of files that share their blocks."""

    strategy: str
    files: int
    bytes: int


def probe(folder: Path) -> str:
    """Return the strategy that works in `folder`; StorageError when nothing can be written there."""
    name = folder / f".probe-{secrets.token_hex(4)}"
    other = name.with_suffix(".clone")
    try:
        name.write_bytes(b"x")
        with name.open("rb") as source, other.open("wb") as target:
            fcntl.ioctl(target, _FICLONE, source.fileno())
        return CLONE
    except OSError as problem:
        if problem.errno in (errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT):
            raise StorageError(f"Cannot write in {folder}: {problem.strerror}.", path=folder) from problem
        return COPY
    finally:
        # Removing what is not there fails too where nothing can be written.
        with contextlib.suppress(OSError):
            name.unlink(missing_ok=True)
            other.unlink(missing_ok=True)


def check(strategy: str, folder: Path) -> str:
    """Return `strategy`, or the best one for an empty text; BranchError when `folder` cannot do it."""
    possible = probe(folder)
    if strategy and strategy not in STRATEGIES:
        raise BranchError(f"There is no strategy {strategy}.", hint=f"Known: {', '.join(STRATEGIES)}.")
    if strategy == CLONE and possible != CLONE:
        raise BranchError(
            f"The file system of {folder} cannot share blocks between files.",
            hint="Set [db] folder to one that can (XFS, btrfs, bcachefs, ZFS 2.2), or use --strategy copy.",
        )
    return strategy or possible


def copy_data(
    source: Path, target: Path, strategy: str, *, wal: bool = True, progress: Callable[[int], None] | None = None
) -> Copied:
    """Copy the data folder `source` to `target`, which must not exist; `progress` is told each file's bytes.

    A server may run on `source` only between pg_backup_start and pg_backup_stop; files that vanish meanwhile are left
    out.  `wal=False` leaves `pg_wal` empty, to be copied after the backup has ended.  Links are refused: a tablespace
    would be shared between branches.  Raises BranchError or StorageError; then `target` is half written and the caller
    removes it.
    """
    files = size = 0
    try:
        _folder(target)
        for path, found in _walk(source):
            relative = path.relative_to(source)
            if _is_left_out(relative, stat.S_ISDIR(found.st_mode), wal):
                continue
            if stat.S_ISDIR(found.st_mode):
                _folder(target / relative)
            elif stat.S_ISREG(found.st_mode):
                if _file(path, target / relative, strategy):
                    files, size = files + 1, size + found.st_size
                    if progress:
                        progress(found.st_size)
            elif stat.S_ISLNK(found.st_mode):
                raise BranchError(
                    f"{path} is a link; tablespaces and links cannot be branched by copying files.",
                    hint="Move the tables into the default tablespace, or refresh this source with --method dump.",
                )
    except OSError as problem:
        raise StorageError(
            f"Cannot copy {source} to {target}: {problem.strerror}.", hint="Free some disk space.", path=target
        ) from problem
    return Copied(strategy, files, size)


def copy_files(source: Path, target: Path, strategy: str) -> None:
    """Copy the plain files of one folder into another that exists; StorageError when the disk refuses."""
    try:
        for entry in os.scandir(source):
            if entry.is_file(follow_symlinks=False):
                _file(Path(entry.path), target / entry.name, strategy)
    except OSError as problem:
        raise StorageError(f"Cannot copy {source} to {target}: {problem.strerror}.", path=target) from problem


def size_of(folder: Path) -> int:
    """Return the apparent bytes of all files below `folder`."""
    return sum(found.st_size for _, found in _walk(folder) if stat.S_ISREG(found.st_mode))


def remove(folder: Path) -> None:
    """Remove `folder` without following links out of it; nothing happens when it is gone.

    It is renamed first, so that what is half removed is never taken for a cluster.  StorageError says why it stays.
    """
    if folder.is_symlink():
        folder.unlink()
        return
    doomed = folder if folder.name.startswith(".gone-") else folder.with_name(f".gone-{secrets.token_hex(6)}")
    try:
        if folder.exists():
            if doomed != folder:
                folder.rename(doomed)
            try:
                shutil.rmtree(doomed)
            except FileNotFoundError:  # another process removes it, too
                shutil.rmtree(doomed, ignore_errors=True)
        folder.with_name(f".{folder.name}.lock").unlink(missing_ok=True)  # of the cluster that was there
    except OSError as problem:
        raise StorageError(f"Cannot remove {folder}: {problem.strerror}.", path=folder) from problem


def set_aside(folder: Path, parent: Path) -> None:
    """Move `folder` out of the way at once; `remove_doomed(parent)` removes it later.  StorageError says why not."""
    try:
        if folder.exists():
            folder.rename(parent / f".gone-{secrets.token_hex(6)}")
    except OSError as problem:
        raise StorageError(f"Cannot move {folder}: {problem.strerror}.", path=folder) from problem


def remove_doomed(parent: Path) -> int:
    """Remove what was set aside in `parent`, or is left of removals that were interrupted; return how many."""
    doomed = list(parent.glob(".gone-*"))
    for folder in doomed:
        remove(folder)
    return len(doomed)


def _is_left_out(relative: Path, is_folder: bool, wal: bool) -> bool:
    top, *below = relative.parts
    if is_folder:
        return bool(below) and top in _EMPTIED
    if top in _EMPTIED or (top == "pg_wal" and not wal):
        return True
    return relative.name in _NOT_COPIED or relative.name.startswith("pgsql_tmp")


def _walk(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        try:
            found = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            continue
        yield Path(entry.path), found
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(Path(entry.path))


def _folder(path: Path) -> None:
    path.mkdir(mode=0o700)
    place.own(path)


def _file(source: Path, target: Path, strategy: str) -> bool:
    try:
        reading = os.open(source, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        writing = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            user = place.account()
            if user is not None:
                os.fchown(writing, user, user)
            if strategy == CLONE:
                fcntl.ioctl(writing, _FICLONE, reading)
            else:
                while os.copy_file_range(reading, writing, _CHUNK):
                    pass
        finally:
            os.close(writing)
    finally:
        os.close(reading)
    return True
