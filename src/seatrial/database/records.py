"""What is known of sources, snapshots and branches: one SQLite file, written before anything is done.

A record names what it is about to become first (`creating`, `deleting`), so a process may be killed at any line and
the next one knows what to finish or to undo.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from seatrial.database.durations import now
from seatrial.errors import StoreError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS records (
  kind TEXT NOT NULL, id TEXT NOT NULL, state TEXT NOT NULL, updated TEXT NOT NULL, body TEXT NOT NULL,
  PRIMARY KEY (kind, id));
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""
_VERSION = 1


@dataclass(frozen=True)
class Record:
    """Something that is written down; `state` says what it is or is about to become."""

    kind: ClassVar[str]
    id: str
    state: str


@dataclass(frozen=True)
class Source(Record):
    """Where golden copies come from: the project's own production server, or a database by URL (kept as a secret)."""

    kind = "source"
    name: str
    embedded: bool
    database: str
    server_version: str = ""
    created: str = field(default_factory=now)


@dataclass(frozen=True)
class Snapshot(Record):
    """A frozen, stopped cluster that branches are copied from; `method` says how it was made from its source."""

    kind = "snapshot"
    source: str
    name: str = ""
    branch: str = ""
    method: str = ""
    taken: str = ""
    fingerprint: str = ""
    server_version: str = ""
    bytes: int = 0
    owners: tuple[str, ...] = ()
    masked: str = ""
    schema_only: bool = False
    reason: str = ""


@dataclass(frozen=True)
class Branch(Record):
    """A server of one's own with a copy of the data; roles are `b<id>_owner`, `b<id>_rw` and `b<id>_ro`."""

    kind = "branch"
    name: str
    snapshot: str
    parent: str = ""
    strategy: str = ""
    owner: str = ""
    git_branch: str = ""
    created: str = field(default_factory=now)
    expires: str = ""
    fingerprint: str = ""
    schema_only: bool = False
    masked: str = ""
    seconds: float = 0.0
    reason: str = ""

    def role(self, kind: str) -> str:
        """Return the login role for `owner`, `rw` or `ro`."""
        return f"b{self.id}_{kind}"


_AnyRecord = TypeVar("_AnyRecord", bound=Record)


class Records:
    """An open file of records; open one in each process and thread."""

    def __init__(self, file: Path) -> None:
        self.file = file
        try:
            self._db = sqlite3.connect(file, timeout=30, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.executescript(_SCHEMA)
            self._check_version()
        except sqlite3.Error as problem:
            raise StoreError(f"{file} cannot be used: {problem}.", hint="Move a damaged file away.") from problem

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make several writes one; nothing is written when the block fails."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def put(self, record: _AnyRecord, **changes: Any) -> _AnyRecord:
        """Write `record` with `changes`, and return it so; StoreError when the disk refuses."""
        record = replace(record, **changes)
        try:
            self._db.execute(
                "INSERT OR REPLACE INTO records VALUES (?, ?, ?, ?, ?)",
                (record.kind, record.id, record.state, now(), json.dumps(asdict(record))),
            )
        except sqlite3.Error as problem:
            raise StoreError(f"{self.file} cannot be written: {problem}.", hint="Free some disk space.") from problem
        return record

    def get(self, cls: type[_AnyRecord], id: str) -> _AnyRecord | None:
        """Return one record."""
        row = self._db.execute("SELECT body FROM records WHERE kind = ? AND id = ?", (cls.kind, id)).fetchone()
        return _made(cls, row[0]) if row else None

    def all(self, cls: type[_AnyRecord], *states: str) -> list[_AnyRecord]:
        """Return all records of a kind, or those in `states`, in the order of their writing."""
        rows = self._db.execute("SELECT body, state FROM records WHERE kind = ? ORDER BY rowid", (cls.kind,))
        return [_made(cls, body) for body, state in rows.fetchall() if not states or state in states]

    def remove(self, record: Record) -> None:
        """Forget a record."""
        self._db.execute("DELETE FROM records WHERE kind = ? AND id = ?", (record.kind, record.id))

    def fact(self, name: str) -> str:
        """Return a single value, empty when it was never set."""
        row = self._db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return str(row[0]) if row else ""

    def set_fact(self, name: str, value: str) -> None:
        """Set a single value."""
        self._db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))

    def _check_version(self) -> None:
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version > _VERSION:
            raise StoreError(f"{self.file} was written by a newer Seatrial.", hint="Update this one.")
        self._db.execute(f"PRAGMA user_version = {_VERSION}")


def _made(cls: type[_AnyRecord], body: str) -> _AnyRecord:
    values = json.loads(body)
    known = {entry.name for entry in fields(cls)}
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items() if key in known}
    return cls(**values)
