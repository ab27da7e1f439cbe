"""The audit log: one JSON line per event, each holding the hash of the one before.

A line that was changed, taken out or put in breaks the chain from there on.  The length and the last hash are kept in
the project's records as well, so that lines cut off the end are missed.  This does not protect against somebody who
may write all of Seatrial's state: sign the last hash, or send it elsewhere, where that matters.
"""

from __future__ import annotations

import errno
import getpass
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seatrial import paths
from seatrial.database.durations import now
from seatrial.database.records import Records
from seatrial.errors import AuditError

_FIRST = "0" * 64
_FIRST_LOOK = 2**12
_MOST_TEXT, _MOST_ENTRIES = 4_000, 200
"""Characters of one text: what others hand in must not make the log grow without end."""


@dataclass(frozen=True)
class Event:
    """Something that happened: `what` (branch.create, apply, …) to `subject`, by `who`, and how it ended."""

    number: int
    time: str
    who: str
    what: str
    subject: str
    outcome: str
    facts: dict[str, Any]
    hash: str


class Audit:
    """The log of one project."""

    def __init__(self, file: Path, records: Records) -> None:
        self.file, self._records = file, records

    def write(self, what: str, subject: str, outcome: str = "done", *, who: str = "", **facts: Any) -> Event:
        """Append an event and return it once it is on the disk; AuditError when it cannot be written."""
        with paths.locked(self.file.with_suffix(".lock")):
            number, last = self._end()
            time, who = now(), who or user()
            body = _writable(
                {
                    "number": number + 1,
                    "time": time,
                    "who": who,
                    "what": what,
                    "subject": subject,
                    "outcome": outcome,
                    "facts": facts,
                    "previous": last,
                }
            )
            digest = _hash(body)
            self._append(json.dumps({**body, "hash": digest}, ensure_ascii=False, sort_keys=True).encode() + b"\n")
            self._records.set_fact("audit", f"{number + 1} {digest}")
        return Event(**{name: body.get(name, digest) for name in Event.__dataclass_fields__})

    def events(self) -> Iterator[Event]:
        """Return all events, oldest first, without verifying them."""
        for body in self._lines():
            yield Event(**{name: body[name] for name in Event.__dataclass_fields__})

    def verify(self) -> int:
        """Return the number of events; AuditError names the first that is not as it was written."""
        previous, count = _FIRST, 0
        for count, body in enumerate(self._lines(), 1):
            digest = body.pop("hash", "")
            if body.get("number") != count or body.get("previous") != previous or _hash(body) != digest:
                raise AuditError(
                    f"The audit log is not as it was written, from event {count} on.",
                    hint=f"Compare {self.file} with a copy of it.",
                    event=count,
                )
            previous = digest
        known, _, last = (self._records.fact("audit") or f"0 {_FIRST}").partition(" ")
        # One more than known is a process that was killed between the two writes.
        if count < int(known) or (count == int(known) and previous != last):
            raise AuditError(f"The audit log has {count} events; {known} were written.", hint="Its end was cut off.")
        return count

    def _append(self, line: bytes) -> None:
        """Write a line whole or not at all: half a line would damage the log for good."""
        try:
            descriptor = os.open(self.file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                size = os.fstat(descriptor).st_size
                try:
                    if os.write(descriptor, line) < len(line):
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                    os.fsync(descriptor)
                except OSError:
                    os.ftruncate(descriptor, size)
                    raise
            finally:
                os.close(descriptor)
        except OSError as problem:
            raise AuditError(
                f"{self.file} cannot be written: {problem.strerror}.", hint="Free some disk space."
            ) from problem

    def _end(self) -> tuple[int, str]:
        try:
            with self.file.open("rb") as stream:
                size = stream.seek(0, os.SEEK_END)
                lines: list[bytes] = []
                back = _FIRST_LOOK
                while len(lines) < 2 and size:
                    stream.seek(max(0, size - back))
                    lines = stream.read().splitlines()
                    if back >= size:
                        break
                    back *= 2
        except FileNotFoundError:
            return 0, _FIRST
        except OSError as problem:
            raise AuditError(f"{self.file} cannot be read: {problem.strerror}.") from problem
        try:
            last: dict[str, Any] = json.loads(lines[-1]) if lines else {"number": 0, "hash": _FIRST}
        except ValueError as problem:
            raise AuditError(f"The last line of {self.file} is damaged.", hint="seatrial db log --verify") from problem
        if not isinstance(last, dict) or not {"number", "hash"} <= last.keys():
            raise AuditError(f"The last line of {self.file} is damaged.", hint="seatrial db log --verify")
        return last["number"], last["hash"]

    def _lines(self) -> Iterator[dict[str, Any]]:
        try:
            lines = self.file.read_bytes().splitlines()
        except FileNotFoundError:
            return
        except OSError as problem:
            raise AuditError(f"{self.file} cannot be read: {problem.strerror}.") from problem
        for number, line in enumerate(lines, 1):
            try:
                body = json.loads(line)
            except ValueError as problem:
                raise AuditError(f"Line {number} of {self.file} is damaged.", event=number) from problem
            if not isinstance(body, dict) or not set(Event.__dataclass_fields__) <= body.keys():
                raise AuditError(f"Line {number} of {self.file} is damaged.", event=number)
            yield body


def user() -> str:
    """Return who is at work: the name of the operating system's account."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def _writable(value: Any) -> Any:
    """Return facts that are no longer than they may be, and only what UTF-8 can hold (names of files can be more)."""
    if isinstance(value, dict):
        return {key: _writable(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        more = [f"and {len(value) - _MOST_ENTRIES} more"] if len(value) > _MOST_ENTRIES else []
        return [*map(_writable, value[:_MOST_ENTRIES]), *more]
    if isinstance(value, str):
        text = value if len(value) <= _MOST_TEXT else f"{value[:_MOST_TEXT]}…"
        return text.encode("utf-8", "backslashreplace").decode()
    return value


def _hash(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, ensure_ascii=False, sort_keys=True).encode()).hexdigest()
