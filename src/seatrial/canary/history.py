"""What is known of all sessions, in one SQLite file that only grows: logs are deleted after 30 days, this is not.

A file of logs is taken in one transaction, so that a process that is killed leaves whole files behind and nothing
else.  A message that several files or sessions hold counts once, for the session that began first.  When a file shows
less of a session than was known, because it was rewritten, what was known stays: of two views of a session the one
with more messages, prompts and calls is kept, and at equal numbers the one with more output; views are never mixed.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import orjson

from seatrial import paths
from seatrial.canary.features import Features
from seatrial.errors import StoreError

VERSION = 1
_WAIT_SECONDS = 30.0
_SCHEMA = """
CREATE TABLE sessions(
    id INTEGER PRIMARY KEY, agent TEXT NOT NULL, session TEXT NOT NULL, project TEXT NOT NULL, start REAL NOT NULL,
    features TEXT NOT NULL, content BLOB NOT NULL, events INTEGER NOT NULL, output INTEGER NOT NULL, excluded TEXT,
    file INTEGER, began REAL NOT NULL, mtime_ns INTEGER NOT NULL, path TEXT NOT NULL,
    first_seen REAL NOT NULL, last_seen REAL NOT NULL, wordings INTEGER NOT NULL, gone INTEGER NOT NULL DEFAULT 0,
    stale INTEGER NOT NULL DEFAULT 0, UNIQUE(agent, session));
CREATE INDEX sessions_start ON sessions(start);
CREATE TABLE files(
    id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, form TEXT NOT NULL, agent TEXT, inside TEXT NOT NULL,
    size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, inode INTEGER NOT NULL, prefix BLOB NOT NULL,
    prefix_size INTEGER NOT NULL, session INTEGER, reason TEXT NOT NULL, is_good INTEGER NOT NULL,
    health TEXT NOT NULL, rewrites INTEGER NOT NULL DEFAULT 0, gone INTEGER NOT NULL DEFAULT 0);
CREATE INDEX files_session ON files(session);
CREATE TABLE keys(key INTEGER PRIMARY KEY, session INTEGER NOT NULL, nested INTEGER NOT NULL);
CREATE TABLE prompted(session TEXT PRIMARY KEY, first REAL NOT NULL, last REAL NOT NULL, prompts INTEGER NOT NULL);
"""


class History:
    """An open history; use `History.open`.  A context manager."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self.connection = connection
        self.path = path

    @classmethod
    def open(cls, path: Path | None = None) -> Self:
        """Open the history, by default the one in Seatrial's home, and make it if it is not there.

        Raises StoreError when it cannot be opened, is damaged, or was written by a newer program; StorageError when
        its folder cannot be made.
        """
        path = path or paths.home() / "canary" / "history.db"
        paths.private_folder(path.parent)
        with guarded(path):
            with suppress(OSError):
                # What SQLite makes beside it takes the same permissions.
                os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
            connection = sqlite3.connect(path, timeout=_WAIT_SECONDS, isolation_level=None)
        found = cls(connection, path)
        try:
            with guarded(path):
                found._prepare()
        except StoreError:
            connection.close()
            raise
        return found

    def _prepare(self) -> None:
        connection = self.connection
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        if self._version() == 0:
            with self.transaction():
                if self._version() == 0:
                    if self.rows("SELECT name FROM sqlite_master"):
                        raise StoreError(
                            f"{self.path} is a database of something else.",
                            hint="Name another file for the history, or move this one away.",
                            path=self.path,
                        )
                    for statement in _SCHEMA.split(";"):
                        connection.execute(statement)
                    connection.execute(f"PRAGMA user_version={VERSION}")
        if self._version() > VERSION:
            raise StoreError(
                f"The history {self.path} was written by a newer Seatrial (its version is {self._version()}).",
                hint="Update this Seatrial, or use another SEATRIAL_HOME.",
                path=self.path,
            )

    def _version(self) -> int:
        return int(self.connection.execute("PRAGMA user_version").fetchone()[0])

    def close(self) -> None:
        """Close the file."""
        self.connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """One transaction that may write, alone from its beginning; undone on any exception.

        Raises StoreError when the file is damaged or cannot be written.
        """
        with guarded(self.path):
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield self.connection
            except BaseException:
                with suppress(sqlite3.Error):
                    self.connection.execute("ROLLBACK")
                raise
            self.connection.execute("COMMIT")

    def rows(self, query: str, *values: Any) -> list[sqlite3.Row]:
        """Return what a query finds; raises StoreError when the file is damaged."""
        with guarded(self.path), closing(self.connection.execute(query, values)) as cursor:
            return cursor.fetchall()

    def sessions(
        self,
        *,
        since: float | None = None,
        until: float | None = None,
        agent: str | None = None,
        project: str | None = None,
    ) -> list[Features]:
        """Return sessions in the order of their start: those that begin at `since` or later and before `until`
        (seconds since 1970), of one agent, of one project.

        Raises StoreError when the file is damaged.
        """
        wanted = {"start >= ?": since, "start < ?": until, "agent = ?": agent, "project = ?": project}
        clauses = {clause: value for clause, value in wanted.items() if value is not None}
        query = f"SELECT features FROM sessions WHERE {' AND '.join(clauses) or '1'} ORDER BY start, session"
        with guarded(self.path):
            return [Features.from_dict(orjson.loads(row[0])) for row in self.rows(query, *clauses.values())]

    def health(self) -> dict[str, Any]:
        """Return what a report says of the logs: numbers of files, lines and sessions, and what was wrong with them.

        Raises StoreError when the file is damaged.
        """
        totals: dict[str, Any] = {"files": 0, "gone": 0, "unreadable": 0, "rewrites": 0, "unknown": {}, "not_read": {}}
        for row in self.rows("SELECT * FROM files WHERE form NOT IN ('archive', 'store', 'prompts')"):
            if row["reason"]:
                totals["not_read"][row["reason"]] = totals["not_read"].get(row["reason"], 0) + 1
            else:
                totals["files"] += 1
            totals["gone"] += row["gone"]
            totals["unreadable"] += not row["is_good"]
            totals["rewrites"] += row["rewrites"]
            for name, value in orjson.loads(row["health"]).items():
                if name == "unknown":
                    for kind, number in value.items():
                        totals["unknown"][kind] = totals["unknown"].get(kind, 0) + number
                else:
                    totals[name] = totals.get(name, 0) + value
        sessions = self.rows(
            "SELECT COUNT(*) AS sessions, TOTAL(gone) AS gone, MIN(start) AS first, MAX(start) AS last FROM sessions"
        )[0]
        excluded = self.rows("SELECT excluded, COUNT(*) FROM sessions WHERE excluded <> '' GROUP BY excluded")
        return {
            **totals,
            "sessions": sessions["sessions"],
            "sessions_gone": int(sessions["gone"]),
            "first": sessions["first"],
            "last": sessions["last"],
            "excluded": dict(tuple(row) for row in excluded),
            "messages": self.rows("SELECT COUNT(*) FROM keys")[0][0],
            "lost": self.lost(),
        }

    def lost(self) -> dict[str, Any]:
        """Return how many sessions of Claude Code were prompted, and of how many of them no log was ever seen.

        `first` and `last` are when the lost ones were prompted, None when there are none.
        """
        prompted = self.rows("SELECT COUNT(*) FROM prompted")[0][0]
        row = self.rows(
            "SELECT COUNT(*), MIN(first), MAX(last) FROM prompted WHERE session NOT IN"
            " (SELECT session FROM sessions WHERE agent = 'claude_code')"
        )[0]
        return {"prompted": prompted, "sessions": row[0], "first": row[1], "last": row[2]}


@contextmanager
def guarded(path: Path) -> Iterator[None]:
    """Turn errors of SQLite into a StoreError that says what to do."""
    try:
        yield
    except sqlite3.OperationalError as problem:
        hint = "Wait for the other program that uses it." if "locked" in str(problem) else "Free some disk space."
        if "unable to open" in str(problem) or "readonly" in str(problem):
            hint = "Make the file writable for you, or use another SEATRIAL_HOME."
        raise StoreError(f"The history {path} cannot be used: {problem}.", hint=hint, path=path) from problem
    except (sqlite3.DatabaseError, orjson.JSONDecodeError) as problem:
        raise StoreError(
            f"The history {path} is damaged: {problem}.",
            hint="Move the file away; the logs that are still there will be read again.",
            path=path,
        ) from problem
