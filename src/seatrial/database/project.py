"""A project: the folder with `seatrial.toml` in it, what is known of its databases, and where their clusters lie."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from seatrial import paths
from seatrial.database import place
from seatrial.database.audit import Audit
from seatrial.database.postgres import Installation, choose
from seatrial.database.records import Records
from seatrial.errors import DatabaseError, StorageError
from seatrial.settings import DbSettings, load


@dataclass(frozen=True)
class Project:
    """An open project: `root` is the user's folder, `folder` holds private state, `clusters` what servers run on."""

    root: Path
    folder: Path
    clusters: Path
    settings: DbSettings

    @cached_property
    def records(self) -> Records:
        """The project's records, opened when they are first asked for."""
        return Records(self.folder / "records.db")

    @cached_property
    def audit(self) -> Audit:
        """The project's audit log."""
        return Audit(self.folder / "audit.jsonl", self.records)

    @property
    def installation(self) -> Installation:
        """The Postgres that this project runs; PostgresError when there is none."""
        return choose(self.settings.postgres)

    @property
    def production(self) -> Path:
        """The folder of the embedded production cluster."""
        return self.clusters / "production"

    @property
    def snapshots(self) -> Path:
        """The folder of all golden copies."""
        return place.server_folder(self.clusters / "snapshots")

    @property
    def branches(self) -> Path:
        """The folder of all branches' clusters."""
        return place.server_folder(self.clusters / "branches")

    def lock(self, name: str) -> Path:
        """Return the file that is held by whoever changes `name`."""
        return paths.private_folder(self.folder / "locks") / name

    def secret(self, name: str) -> str:
        """Return a secret of this project; made when it is first asked for.  Secrets never lie beside data."""
        with paths.locked(self.lock("secrets")):
            known = self._secrets()
            if name not in known:
                known[name] = secrets.token_urlsafe(24)
                self._write_secrets(known)
        return known[name]

    def set_secret(self, name: str, value: str) -> None:
        """Keep a secret under `name`, or forget it when `value` is empty."""
        with paths.locked(self.lock("secrets")):
            known = self._secrets()
            known.pop(name, None)
            if value:
                known[name] = value
            self._write_secrets(known)

    def has_secret(self, name: str) -> bool:
        """Say whether there is a secret under `name`."""
        return name in self._secrets()

    def _secrets(self) -> dict[str, str]:
        try:
            return _texts(self.folder / "secrets.json")
        except FileNotFoundError:
            return {}

    def _write_secrets(self, known: dict[str, str]) -> None:
        with paths.atomic_write(self.folder / "secrets.json") as stream:
            os.fchmod(stream.fileno(), 0o600)
            stream.write(json.dumps(known).encode())


def find_project(start: Path | None = None) -> Project:
    """Return the project of `start` (default: the working folder) or the nearest parent that was initialised.

    Raises DatabaseError when there is none.
    """
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        project = at(folder)
        if (project.folder / "project.json").is_file():
            # Where the clusters were put stays true when the setting changes later.
            about = _texts(project.folder / "project.json")
            if not about.get("clusters"):
                raise StorageError(f"{project.folder / 'project.json'} is damaged.", hint="Restore it from a backup.")
            return replace(project, clusters=Path(about["clusters"]))
    raise DatabaseError(f"{here} has no database of Seatrial.", hint="seatrial db init")


def at(root: Path) -> Project:
    """Return the project of exactly this folder, whether it was initialised or not; nothing is written."""
    key = hashlib.sha256(str(root).encode()).hexdigest()[:10]
    slug = re.sub(r"[^a-z0-9]+", "-", root.name.lower()).strip("-")[:30] or "project"
    settings = load(root).db
    clusters = place.databases(settings.folder) / f"{slug}-{key}"
    return Project(root, paths.home() / "database" / f"{slug}-{key}", clusters, settings)


def prepare(project: Project) -> None:
    """Create the folders of a project, so that `find_project` finds it."""
    paths.private_folder(project.folder)
    place.server_folder(project.clusters)
    with paths.atomic_write(project.folder / "project.json") as stream:
        stream.write(json.dumps({"root": str(project.root), "clusters": str(project.clusters)}).encode())


def _texts(file: Path) -> dict[str, str]:
    """Read an object of texts; StorageError when the file holds something else, FileNotFoundError without one."""
    try:
        found = json.loads(file.read_text())
        if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
            raise ValueError(found)
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as problem:
        raise StorageError(f"{file} is damaged.", hint="Restore it from a backup.") from problem
    return found
