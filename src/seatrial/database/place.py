"""Where servers live and as whom they run.

Postgres refuses to run as root, so a Seatrial that runs as root gives its servers a user id of their own; then the
folder must be one that this user can reach, which root's own home seldom is.  Sockets lie apart, in a folder with a
short path: their names are limited to 107 bytes.
"""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

from seatrial import paths
from seatrial.errors import PostgresError, StorageError

ROOT_RUNS_AS = 61185
"""The user id of servers when Seatrial runs as root; in the range that systemd keeps for such uses."""
_SYSTEM_FOLDER = Path("/var/lib/seatrial/databases")
_LONGEST_SOCKET = 107


def account() -> int | None:
    """Return the user id that servers run as; None is Seatrial's own."""
    return ROOT_RUNS_AS if os.geteuid() == 0 else None


def own(path: Path) -> Path:
    """Give `path` to the account that servers run as, and return it."""
    user = account()
    if user is not None:
        os.chown(path, user, user, follow_symlinks=False)
    return path


def databases(setting: str = "") -> Path:
    """Return the folder of all clusters: the setting `[db] folder`, or Seatrial's home, or root's system folder.

    Raises PostgresError when the servers' account could not reach the folder that was named.
    """
    if setting:
        folder = Path(setting).expanduser().absolute()
        if not reachable(folder):
            raise PostgresError(
                f"{folder} cannot be reached by the user id {account()}, which Postgres runs as.",
                hint="Name another [db] folder, or let others pass through its parents: chmod o+x.",
            )
        return folder
    folder = paths.home() / "databases"
    if reachable(folder):
        return folder
    return _SYSTEM_FOLDER / hashlib.sha256(str(paths.home()).encode()).hexdigest()[:12]


def reachable(path: Path) -> bool:
    """Say whether the account that servers run as can get to `path` (what exists of it)."""
    if account() is None:
        return True
    for part in (path, *path.parents):
        try:
            found = part.stat()
        except FileNotFoundError:
            continue
        wanted = stat.S_IXOTH if found.st_uid != account() else stat.S_IXUSR
        if not found.st_mode & wanted:
            return False
    return True


def server_folder(folder: Path) -> Path:
    """Create a folder that Seatrial owns and the servers' account may pass through; StorageError says why not."""
    try:
        folder.mkdir(mode=0o711 if account() else 0o700, parents=True, exist_ok=True)
        if account() and not reachable(folder):
            folder.chmod(0o711)
    except OSError as problem:
        raise StorageError(f"Cannot write in {folder}: {problem.strerror}.", path=folder) from problem
    return folder


def sockets(key: Path) -> Path:
    """Return (made, private) the folder for the socket of the cluster whose folder is `key`.

    Raises PostgresError when somebody else holds the place.
    """
    root = _runtime_folder()
    folder = root / hashlib.sha256(str(key).encode()).hexdigest()[:12]
    folder.mkdir(mode=0o700, exist_ok=True)
    own(folder)
    if len(str(folder / ".s.PGSQL.5432.lock")) > _LONGEST_SOCKET:
        raise PostgresError(f"{folder} is too long for a socket.", hint="Set XDG_RUNTIME_DIR to a shorter path.")
    return folder


def _runtime_folder() -> Path:
    user = os.geteuid()
    if user == 0:
        candidates = [Path("/run/seatrial"), Path("/tmp/seatrial-db-0")]
    else:
        given = os.environ.get("XDG_RUNTIME_DIR")
        candidates = [*([Path(given) / "seatrial"] if given else []), Path(f"/tmp/seatrial-db-{user}")]
    for folder in candidates:
        try:
            folder.mkdir(mode=0o711, exist_ok=True)
        except OSError:
            continue
        found = folder.lstat()
        if stat.S_ISDIR(found.st_mode) and found.st_uid == user and not found.st_mode & 0o022:
            return folder
    raise PostgresError(
        f"There is no private place for sockets: {candidates[-1]} is somebody else's, or open to others.",
        hint="Set XDG_RUNTIME_DIR to a folder of yours.",
    )
