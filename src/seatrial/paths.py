"""Where state lives: `$SEATRIAL_HOME`, or the platform's data and cache folders.

Folders are private (0700), files 0600.  Nothing is created at import.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import platformdirs

from seatrial.errors import StorageError


def home() -> Path:
    """Return the folder of durable state; not created."""
    forced = os.environ.get("SEATRIAL_HOME")
    return Path(forced).expanduser() if forced else Path(platformdirs.user_data_dir("seatrial", appauthor=False))


def cache() -> Path:
    """Return the folder of things that can be made again; not created."""
    if os.environ.get("SEATRIAL_HOME"):
        return home() / "cache"
    return Path(platformdirs.user_cache_dir("seatrial", appauthor=False))


def private_folder(folder: Path) -> Path:
    """Create `folder` (0700) and its parents; raise StorageError with the reason if that fails."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Root may write anywhere by permission bits; a read-only file system still refuses.
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(13, "Permission denied", str(folder))
    except OSError as problem:
        raise StorageError(
            f"Cannot write in {folder}: {problem.strerror}.",
            hint="Set SEATRIAL_HOME to a folder you may write in.",
            path=folder,
        ) from problem
    return folder


@contextmanager
def atomic_write(target: Path) -> Iterator[BinaryIO]:
    """Write `target` whole or not at all: a temporary file beside it, fsync, rename.

    Raises StorageError with the reason (disk full, no permission).  Does not protect against two
    writers: the last rename wins.
    """
    private_folder(target.parent)
    name = ""
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        with os.fdopen(descriptor, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).replace(target)
    except OSError as problem:
        raise StorageError(
            f"Cannot write {target}: {problem.strerror or problem}.",
            hint="Free some disk space, or set SEATRIAL_HOME to a folder on another disk.",
            path=target,
        ) from problem
    finally:
        if name:
            Path(name).unlink(missing_ok=True)


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Yield an empty folder that becomes `target` when the block ends, and is removed when it fails.

    Raises StorageError when `target` holds something already, or with the reason it cannot be written.
    """
    if target.is_file() or (target.is_dir() and any(target.iterdir())):
        raise StorageError(f"{target} is in use.", hint="Name a folder that is new or empty.", path=target)
    folder = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        folder.mkdir(parents=True)
        yield folder
        folder.rename(target)
    except OSError as problem:
        raise StorageError(
            f"Cannot write {target}: {problem.strerror or problem}.",
            hint="Name another folder, or free some disk space.",
            path=target,
        ) from problem
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Hold `file` against other processes that call this; waits for them.  A process that dies lets go.

    Raises StorageError when the file cannot be made.
    """
    with _opened(file) as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


@contextmanager
def tried_lock(file: Path) -> Iterator[bool]:
    """Hold `file` as `locked` does if nobody else holds it, and yield whether that is so; does not wait.

    Raises StorageError when the file cannot be made.
    """
    with _opened(file) as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def _opened(file: Path) -> BinaryIO:
    private_folder(file.parent)
    try:
        return file.open("ab")
    except OSError as problem:
        raise StorageError(f"Cannot write {file}: {problem.strerror}.", path=file) from problem


_ABANDONED_SECONDS = 3600


def remove_abandoned(folder: Path, suffix: str) -> None:
    """Remove what processes that were killed in `atomic_write` of files that end in `suffix` left in `folder`."""
    for file in folder.glob(f".*{suffix}.*"):
        if time.time() - file.stat().st_mtime > _ABANDONED_SECONDS:
            file.unlink(missing_ok=True)
