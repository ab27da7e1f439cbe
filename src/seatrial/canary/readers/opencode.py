"""OpenCode: `storage/{session,message,part}` to 1.1, a file for each of them; `opencode.db` (SQLite) since.

In both, a session has messages and a message has parts; 2.0 keeps a message and its parts in one row.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from seatrial.canary.events import Health, Session
from seatrial.canary.readers.files import open_regular
from seatrial.canary.readers.lines import LINE_LIMIT
from seatrial.canary.readers.opencode_events import Entry, entry_of_row, session_of
from seatrial.canary.readers.values import text


@dataclass(frozen=True, slots=True)
class State:
    """What tells whether a session changed: bytes (0 in a database), newest time, number of messages."""

    size: int
    newest: int
    messages: int


def read_folder(file: Path) -> Session:
    """Return the session whose header is `file`, `storage/session/<project>/<session>.json`.

    Raises OSError when the header cannot be opened; what else cannot be read is counted in `Session.health`.
    """
    health = Health()
    with open_regular(file) as stream:
        header = _decoded(stream.read(LINE_LIMIT), health) or {}
    storage = file.parent.parent.parent
    session = text(header.get("id"), health) or file.stem
    flat: dict[str, list[dict[str, Any]]] | None = None
    entries = []
    for path in _files(storage / "message" / session):
        message = _object(path, health)
        if message is None:
            continue
        name = text(message.get("id"), health) or path.stem
        found = [part for path in _files(storage / "part" / name) if (part := _object(path, health)) is not None]
        if not found:
            flat = _flat_parts(storage / "part", health) if flat is None else flat
            found = flat.get(name, [])
        entries.append(Entry(name, text(message.get("role"), health), message, found))
    return session_of(session, header, entries, health)


def folder_state(file: Path) -> State:
    """Return the state of the session whose header is `file`; raises OSError when that is gone.

    A message's own file is written again when the message is complete, so that its parts need not be looked at.
    """
    found = [file.stat()]
    messages = file.parent.parent.parent / "message"
    for name in {file.stem, file.stem.removeprefix("ses_")}:
        for path in _files(messages / name):
            try:
                found.append(path.stat())
            except OSError:
                continue
    return State(sum(one.st_size for one in found), max(one.st_mtime_ns for one in found), len(found) - 1)


def _files(folder: Path) -> Iterator[Path]:
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if entry.name.endswith(".json"))
    except OSError:
        return
    for name in names:
        yield folder / name


def _flat_parts(folder: Path, health: Health) -> dict[str, list[dict[str, Any]]]:
    """Return the parts of all messages where they are not in folders of their messages, by message."""
    found: dict[str, list[dict[str, Any]]] = {}
    for path in _files(folder):
        part = _object(path, health)
        if part is not None:
            found.setdefault(text(part.get("messageID"), health), []).append(part)
    return found


def _object(path: Path, health: Health) -> dict[str, Any] | None:
    try:
        with open_regular(path) as stream:
            content = stream.read(LINE_LIMIT)
            if stream.read(1):
                health.lines += 1
                health.long_lines += 1
                return None
    except OSError:
        health.lines += 1
        health.bad_lines += 1
        return None
    return _decoded(content, health)


def _decoded(content: bytes | str, health: Health) -> dict[str, Any] | None:
    health.lines += 1
    health.bytes += len(content)
    try:
        value = orjson.loads(content)
    except orjson.JSONDecodeError:
        value = None
    if isinstance(value, dict):
        return value
    health.bad_lines += 1
    return None


class Database:
    """An `opencode.db`, opened for reading only; a context manager.

    Opening and reading raise sqlite3.Error when the file is none, is damaged, or has another schema.
    """

    def __init__(self, file: Path) -> None:
        log = file.with_name(file.name + "-wal")
        is_still = not log.exists() or log.stat().st_size == 0
        # Without changes that wait in the log beside it, the file is read as it is, and nothing is made next to it.
        mode = "mode=ro&immutable=1" if is_still else "mode=ro"
        self._connection = sqlite3.connect(f"{file.absolute().as_uri()}?{mode}", uri=True, timeout=5)
        self._connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
        self._connection.row_factory = sqlite3.Row
        self._columns = {
            table: {row["name"] for row in self._rows(f"PRAGMA table_info({table})")}
            for table in ("session", "session_v2", "message", "part", "session_message")
        }
        if not self._columns["message"] and not self._columns["session_message"]:
            self._connection.close()
            raise sqlite3.DatabaseError("it has no table of messages")

    def __enter__(self) -> Database:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def _rows(self, query: str, *values: Any) -> Iterator[sqlite3.Row]:
        with closing(self._connection.execute(query, values)) as cursor:
            yield from cursor

    def sessions(self) -> dict[str, State]:
        """Return the identifiers of the sessions and what tells whether each changed."""
        found: dict[str, State] = {}
        for table in ("session_message", "message"):
            columns = self._columns[table]
            if not {"session_id", "data"} <= columns:
                continue
            newest = "MAX(time_updated)" if "time_updated" in columns else "MAX(rowid)"
            query = f"SELECT session_id, COUNT(*), {newest} FROM {table} GROUP BY session_id"
            for session, number, time in self._rows(query):
                found[str(session)] = State(0, time if isinstance(time, int) else 0, number)
        return found

    def read(self, session: str) -> Session:
        """Return a session; what of it cannot be read is counted in `Session.health`."""
        health = Health()
        header: dict[str, Any] = {}
        for table in ("session", "session_v2"):
            if "id" in self._columns[table]:
                for row in self._rows(f"SELECT * FROM {table} WHERE id = ?", session):
                    header = dict(row)
        header.setdefault("parentID", header.get("parent_id"))
        entries = list(self._entries(session, health))
        return session_of(session, header, entries, health)

    def _entries(self, session: str, health: Health) -> Iterator[Entry]:
        found = False
        if {"session_id", "data"} <= self._columns["message"]:
            parts: dict[str, list[dict[str, Any]]] = {}
            for row in self._rows("SELECT message_id, data FROM part WHERE session_id = ? ORDER BY id", session):
                part = _decoded(row["data"] or "", health)
                if part is not None:
                    parts.setdefault(row["message_id"], []).append(part)
            for row in self._rows("SELECT id, data FROM message WHERE session_id = ? ORDER BY id", session):
                found = True
                message = _decoded(row["data"] or "", health)
                if message is not None:
                    role = text(message.get("role"), health)
                    yield Entry(row["id"], role, message, parts.get(row["id"], []))
        if found or not {"session_id", "data", "type", "seq"} <= self._columns["session_message"]:
            # 1.x writes some of a session's messages here too.
            return
        query = "SELECT id, type, data FROM session_message WHERE session_id = ? ORDER BY seq"
        for row in self._rows(query, session):
            message = _decoded(row["data"] or "", health)
            if message is not None:
                yield entry_of_row(row["id"], row["type"], message, health)
