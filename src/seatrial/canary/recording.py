"""Taking a log into the history in one transaction: whose messages are whose, which view of a session is kept."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import orjson

from seatrial.canary import extraction, phrases
from seatrial.canary.discovery import INSIDE, Log, gone
from seatrial.canary.events import ApiMessage, Health, Prompt, Session, ToolCall
from seatrial.canary.history import History

PREFIX = 4096
"""First bytes of a file by which it is known to be another than before."""
_MOST_VALUES = 500
_PLAIN = re.compile(r"[\w .:/#-]{0,60}")
_Rank = tuple[int, float, int, str]


@dataclass(slots=True)
class Reading:
    """A log as it was read: `session` is None, with a reason, when it holds none."""

    log: Log
    place: str = ""
    session: Session | None = None
    reason: str = ""
    head: bytes = b""


@dataclass(slots=True)
class Taken:
    """What became of a reading."""

    is_new: bool = False
    is_updated: bool = False
    is_rewritten: bool = False
    """The file is not what was read before with more at its end."""
    is_less: bool = False
    """It shows less of its session than before, which was kept."""
    duplicates: int = 0
    """Messages that another log holds too."""


def key_of(agent: str, key: str) -> int:
    """Return the number (63 bits) under which a message is known."""
    digest = blake2b(f"{agent}\0{key}".encode("utf-8", "replace"), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def identity_of(session: Session) -> str:
    """Return the name of a session that is the only one of its agent: a sub-agent's begins with its parent's."""
    return f"{session.parent}:{session.id}" if session.parent else session.id


def record(history: History, reading: Reading, *, again: bool = False) -> Taken:
    """Take a reading into the history; `again` when its session is read once more since messages of it changed owner,
    or since other wordings are counted now.

    Raises StoreError when the history is damaged or cannot be written.
    """
    with history.transaction() as connection:
        return _Recorder(connection, reading).run(again)


class _Recorder:
    def __init__(self, connection: sqlite3.Connection, reading: Reading) -> None:
        self.connection = connection
        self.reading = reading
        self.taken = Taken()
        self.now = time.time()
        log = reading.log
        self.file = self._one("SELECT * FROM files WHERE path = ?", log.name)

    def _one(self, query: str, *values: Any) -> sqlite3.Row | None:
        row: sqlite3.Row | None = self.connection.execute(query, values).fetchone()
        return row

    def run(self, again: bool) -> Taken:
        session = self.reading.session
        if session is not None and not _view(session)[0]:
            self.reading.reason, session = "no session is in it", None
        row = self.file
        if row is not None and row["prefix_size"]:
            is_other = _prefix(self.reading.head, row["prefix_size"]) != row["prefix"]
            self.taken.is_rewritten = is_other or self.reading.log.size < row["size"]
        file = self._write_file(session)
        if session is not None:
            number = self._session(session, file, again)
            self.connection.execute("UPDATE files SET session = ? WHERE id = ?", (number, file))
        return self.taken

    def _write_file(self, session: Session | None) -> int:
        log, head = self.reading.log, self.reading.head
        health = self.reading.session.health if self.reading.session is not None else Health()
        size = min(PREFIX, len(head))
        values = (
            *(log.form, session.agent if session else log.agent, log.inside, log.size, log.mtime_ns, log.inode),
            *(_prefix(head, size), size, self.reading.reason, health.is_good, health_json(health)),
        )
        found = self._one(
            "INSERT INTO files(path, form, agent, inside, size, mtime_ns, inode, prefix, prefix_size, reason, is_good,"
            " health) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT(path) DO UPDATE SET form = excluded.form,"
            " agent = excluded.agent, inside = excluded.inside, size = excluded.size, mtime_ns = excluded.mtime_ns,"
            " inode = excluded.inode, prefix = excluded.prefix, prefix_size = excluded.prefix_size,"
            " reason = excluded.reason, is_good = excluded.is_good, health = excluded.health, gone = 0,"
            " rewrites = rewrites + ? RETURNING id",
            *(log.name, *values, int(self.taken.is_rewritten)),
        )
        assert found is not None
        return int(found["id"])

    def _session(self, session: Session, file: int, again: bool) -> int:
        identity, view = identity_of(session), _view(session)
        row = self._one("SELECT * FROM sessions WHERE agent = ? AND session = ?", session.agent, identity)
        log = self.reading.log
        began = min((event.at for event in session.events if event.at), default=log.mtime_ns / 1e9)
        rank = (row["began"], row["mtime_ns"], row["path"]) if row else (began, log.mtime_ns, log.name)
        known = (row["events"], row["output"]) if row else (0, 0)
        is_own = row is not None and row["file"] == file
        is_used = view > known or (view == known and (is_own or again))
        number = int(row["id"]) if row else None
        others = self._owned(session, number, rank, is_used)
        if not is_used:
            assert row is not None
            self.taken.is_less = view < known and is_own
            self.connection.execute(
                "UPDATE sessions SET last_seen = ?, gone = 0, stale = stale AND NOT ?, wordings = ? WHERE id = ?",
                (self.now, again, phrases.version(), number),
            )
            return int(row["id"])
        kept = extraction.of_session(
            session, place=self.reading.place, is_owned=lambda key: key_of(session.agent, key) in others
        )
        if not session.health.is_good:
            kept.excluded = kept.excluded or "unreadable"
        text = orjson.dumps(kept.as_dict())
        content = blake2b(text, digest_size=16).digest()
        self.taken.is_new = row is None
        self.taken.is_updated = row is not None and row["content"] != content
        found = self._one(
            "INSERT INTO sessions(agent, session, project, start, features, content, events, output, excluded, file,"
            " last_seen, wordings, began, mtime_ns, path, first_seen)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT(agent, session) DO UPDATE SET project = excluded.project, start = excluded.start,"
            " features = excluded.features, content = excluded.content, events = excluded.events,"
            " output = excluded.output, excluded = excluded.excluded, file = excluded.file,"
            " last_seen = excluded.last_seen, wordings = excluded.wordings, gone = 0, stale = 0 RETURNING id",
            *(session.agent, identity, kept.project, kept.start, text.decode(), content, *view, kept.excluded, file),
            *(self.now, kept.wordings, *rank, self.now),
        )
        assert found is not None
        self._claim(session, int(found["id"]), others)
        return int(found["id"])

    def _owned(self, session: Session, number: int | None, rank: tuple[float, int, str], is_used: bool) -> set[int]:
        """Return the messages that are another session's; mark those sessions whose messages become this one's."""
        mine = _keys(session)
        others: set[int] = set()
        stale: set[int] = set()
        for row in self._holders(mine):
            if row["session"] == number:
                self.taken.duplicates += self.file is None
                continue
            self.taken.duplicates += 1
            own: _Rank = (mine[row["key"]], *rank)
            held: _Rank = (row["nested"], row["began"], row["mtime_ns"], row["path"])
            if is_used and own < held and (row["session"] in stale or self._can_be_read(row["file"])):
                stale.add(row["session"])
            else:
                others.add(row["key"])
        self.connection.executemany("UPDATE sessions SET stale = 1 WHERE id = ?", [(one,) for one in stale])
        return others

    def _holders(self, keys: Iterable[int]) -> Iterator[sqlite3.Row]:
        waiting = list(keys)
        for start in range(0, len(waiting), _MOST_VALUES):
            some = waiting[start : start + _MOST_VALUES]
            yield from self.connection.execute(
                "SELECT keys.key, keys.session, keys.nested, began, mtime_ns, path, file FROM keys"
                f" JOIN sessions ON sessions.id = keys.session WHERE key IN ({','.join('?' * len(some))})",
                some,
            ).fetchall()

    def _can_be_read(self, file: int) -> bool:
        row = self._one("SELECT * FROM files WHERE id = ?", file)
        if row is None or row["gone"]:
            return False
        return not list(gone([container_of(row["form"], row["path"], row["inside"])]))

    def _claim(self, session: Session, number: int, others: set[int]) -> None:
        self.connection.executemany(
            "INSERT INTO keys(key, session, nested) VALUES (?, ?, ?) ON CONFLICT(key) DO UPDATE SET"
            " session = excluded.session, nested = excluded.nested",
            [(key, number, nested) for key, nested in _keys(session).items() if key not in others],
        )


def container_of(form: str, path: str, inside: str) -> str:
    """Return the file on disk that a log is in."""
    if form == "member":
        return path.removesuffix(INSIDE + inside)
    return path.rpartition("#")[0] if form == "database" else path


def _prefix(head: bytes, size: int) -> bytes:
    return blake2b(head[:size], digest_size=16).digest()


def _view(session: Session) -> tuple[int, int]:
    """Return how much of a session a log shows: messages, prompts and calls; output tokens."""
    number, output = len(session.nested), 0
    for event in session.events:
        number += isinstance(event, (ApiMessage, Prompt, ToolCall))
        output += event.usage.output if isinstance(event, ApiMessage) else 0
    return number, output


def _keys(session: Session) -> dict[int, int]:
    """Return the messages of a session, and 1 for those of sub-agents that are written into its own log."""
    keys = {key_of(session.agent, message.key): 1 for message in session.nested}
    keys |= {key_of(session.agent, event.key): 0 for event in session.events if isinstance(event, ApiMessage)}
    return keys


def health_json(health: Health) -> str:
    """Return the numbers of a file's health; types of lines that may hold words are called `other`."""
    unknown: dict[str, int] = {}
    for kind, number in health.unknown.items():
        name = kind if _PLAIN.fullmatch(kind) else "other"
        unknown[name] = unknown.get(name, 0) + number
    return orjson.dumps(
        {
            "bytes": health.bytes,
            "lines": health.lines,
            "bad_lines": health.bad_lines,
            "long_lines": health.long_lines,
            "wrong_fields": health.wrong_fields,
            "clock_jumps": health.clock_jumps,
            "other_sessions": health.other_sessions,
            "unfinished": int(health.unfinished),
            "unknown": unknown,
        }
    ).decode()
