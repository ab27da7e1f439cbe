"""Reads a server's log of statements (`jsonlog`): what was committed and changes something, in order."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field

from seatrial.database.statements import kinds, lexer

_MESSAGE = re.compile(r"(?:statement|execute [^:]*): (.*)", re.DOTALL)
_PARAMETER = re.compile(r"\$(\d+) = (NULL|'(?:[^']|'')*')")
# Everything in which a dollar and digits would be something else, or a parameter.
_PLACE = re.compile(r"'(?:[^']|'')*'|\"[^\"]*\"|--[^\n]*|/\*.*?\*/|(\$(?:[A-Za-z_]\w*)?\$).*?\1|\$(\d+)", re.DOTALL)
_READS = frozenset(
    "SELECT SHOW SET RESET DISCARD LISTEN UNLISTEN DEALLOCATE PREPARE EXPLAIN FETCH DECLARE CLOSE LOCK VALUES TABLE ("
    " CHECKPOINT ANALYZE".split(" ")
)
_WRITES = {
    "WITH": re.compile(r"\b(?:INSERT|UPDATE|DELETE|MERGE)\b", re.IGNORECASE),
    "SELECT": re.compile(r"\bsetval\s*\(", re.IGNORECASE),
}
_OURS = "seatrial"
"""The application name of our own connections, which look at what the tool has done."""


@dataclass
class _Session:
    """One connection: what is open, with marks of savepoints, and whether it has failed."""

    is_open: bool = False
    has_failed: bool = False
    pending: list[str] = field(default_factory=list)
    marks: list[tuple[str, int]] = field(default_factory=list)
    last: int = 0
    """How many statements of the last message are at the end of what is committed, outside of a transaction."""


def committed(log: bytes, user: str) -> list[str]:
    """Return the statements of `user` that were committed and change something, parameters put in."""
    done: list[str] = []
    sessions: dict[str, _Session] = {}
    for line in log.splitlines():
        entry = json.loads(line)
        if entry.get("user") != user or entry.get("application_name") == _OURS:
            continue
        session = sessions.setdefault(entry["session_id"], _Session())
        if entry.get("error_severity") in ("ERROR", "FATAL"):
            _fail(session, done)
            continue
        match = _MESSAGE.match(entry.get("message", ""))
        if match:
            _take(session, _with_parameters(match[1], entry.get("detail", "")), done)
    return done


def _fail(session: _Session, done: list[str]) -> None:
    if session.is_open:
        session.has_failed = True
    elif session.last:
        del done[-session.last :]  # a message outside of a transaction is one by itself
    session.last = 0


def _take(session: _Session, text: str, done: list[str]) -> None:
    session.last = 0
    for piece in lexer.cut(text, "the tool's statement"):
        statement = text[piece.start : piece.end].strip()
        if not _controls(session, piece.head, done) and _changes(piece.head, statement):
            if session.is_open:
                session.pending.append(statement)
            else:
                done.append(statement)
                session.last += 1


def _controls(session: _Session, words: tuple[str, ...], done: list[str]) -> bool:
    """Follow the statements that control transactions; say whether this is one."""
    match words[0]:
        case "BEGIN" | "START":
            session.is_open, session.has_failed, session.pending, session.marks = True, False, [], []
        case "COMMIT" | "END":
            if not session.has_failed:
                done += session.pending
            session.is_open, session.pending = False, []
        case "ROLLBACK" | "ABORT" if "TO" not in words:
            session.is_open, session.has_failed, session.pending = False, False, []
        case "ROLLBACK":
            _back_to(session, words[-1])
        case "SAVEPOINT":
            session.marks.append((words[-1], len(session.pending)))
        case "RELEASE":
            pass
        case _:
            return False
    return True


def _back_to(session: _Session, name: str) -> None:
    for mark, count in reversed(session.marks):
        if mark == name:
            del session.pending[count:]
            break
    session.has_failed = False


def _changes(head: tuple[str, ...], text: str) -> bool:
    kind = kinds.kind_of(head)
    if kind in _WRITES:
        return bool(_WRITES[kind].search(text))
    return kind not in _READS


def _with_parameters(text: str, detail: str | None) -> str:
    values = dict(_PARAMETER.findall(detail or ""))

    def put(match: re.Match[str]) -> str:
        return values.get(match[2], match[0]) if match[2] else match[0]

    return _PLACE.sub(put, text) if values else text
