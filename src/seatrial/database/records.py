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
        with self._explained("cannot be used"):
            self._db = sqlite3.connect(file, timeout=30, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.executescript(_SCHEMA)
            self._check_version()

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make several writes one; nothing is written when the block fails."""
        self._write("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            if self._db.in_transaction:
                self._write("ROLLBACK")
            raise
        self._write("COMMIT")

    def put(self, record: _AnyRecord, **changes: Any) -> _AnyRecord:
        """Write `record` with `changes`, and return it so; StoreError when the disk refuses."""
        record = replace(record, **changes)
        self._write(
            "INSERT OR REPLACE INTO records VALUES (?, ?, ?, ?, ?)",
            (record.kind, record.id, record.state, now(), json.dumps(asdict(record))),
        )
        return record

    def get(self, cls: type[_AnyRecord], id: str) -> _AnyRecord | None:
        """Return one record."""
        rows = self._rows("SELECT body FROM records WHERE kind = ? AND id = ?", (cls.kind, id))
        return self._made(cls, rows[0][0]) if rows else None

    def all(self, cls: type[_AnyRecord], *states: str) -> list[_AnyRecord]:
        """Return all records of a kind, or those in `states`, in the order of their writing."""
        rows = self._rows("SELECT body, state FROM records WHERE kind = ? ORDER BY rowid", (cls.kind,))
        return [self._made(cls, body) for body, state in rows if not states or state in states]

    def remove(self, record: Record) -> None:
        """Forget a record."""
        self._write("DELETE FROM records WHERE kind = ? AND id = ?", (record.kind, record.id))

    def fact(self, name: str) -> str:
        """Return a single value, empty when it was never set."""
        rows = self._rows("SELECT value FROM facts WHERE name = ?", (name,))
        return str(rows[0][0]) if rows else ""

    def set_fact(self, name: str, value: str) -> None:
        """Set a single value."""
        self._write("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))

    def _check_version(self) -> None:
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version > _VERSION:
            raise StoreError(f"{self.file} was written by a newer Seatrial.", hint="Update this one.")
        self._db.execute(f"PRAGMA user_version = {_VERSION}")

    def _write(self, statement: str, values: tuple[Any, ...] = ()) -> None:
        with self._explained("cannot be written"):
            self._db.execute(statement, values)

    def _rows(self, query: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        with self._explained("cannot be read"):
            return self._db.execute(query, values).fetchall()

    def _made(self, cls: type[_AnyRecord], body: str) -> _AnyRecord:
        known = {entry.name for entry in fields(cls)}
        try:
            values: dict[str, Any] = {name: value for name, value in json.loads(body).items() if name in known}
            values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
            return cls(**values)
        except (ValueError, TypeError, AttributeError) as problem:
            raise StoreError(f"{self.file} holds a damaged {cls.kind}.", hint="Restore it from a backup.") from problem

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as problem:
            full = "full" in str(problem) or "I/O" in str(problem)
            hint = "Free some disk space." if full else "Restore a damaged file from a backup, or move it away."
            raise StoreError(f"{self.file} {what}: {problem}.", hint=hint) from problem
