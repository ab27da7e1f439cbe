"""The audit log: one JSON line per event, each holding the hash of the one before.

A line that was changed, taken out or put in breaks the chain from there on.  The length and the last hash are kept in
the project's records as well, so that lines cut off the end are missed.  This does not protect against somebody who
may write all of Seatrial's state: sign the last hash, or send it elsewhere, where that matters.
"""

from __future__ import annotations

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
_MOST_LINE = 2**20


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
            body = {
                "number": number + 1,
                "time": time,
                "who": who,
                "what": what,
                "subject": subject,
                "outcome": outcome,
                "facts": facts,
                "previous": last,
            }
            digest = _hash(body)
            line = json.dumps({**body, "hash": digest}, ensure_ascii=False, sort_keys=True)
            try:
                descriptor = os.open(self.file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
                try:
                    os.write(descriptor, line.encode() + b"\n")
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
            except OSError as problem:
                raise AuditError(f"{self.file} cannot be written: {problem.strerror}.") from problem
            self._records.set_fact("audit", f"{number + 1} {digest}")
        return Event(number + 1, time, who, what, subject, outcome, facts, digest)

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

    def _end(self) -> tuple[int, str]:
        try:
            with self.file.open("rb") as stream:
                stream.seek(max(0, self.file.stat().st_size - _MOST_LINE))
                lines = stream.read().splitlines()
        except FileNotFoundError:
            return 0, _FIRST
        try:
            last: dict[str, Any] = json.loads(lines[-1]) if lines else {"number": 0, "hash": _FIRST}
        except ValueError as problem:
            raise AuditError(f"The last line of {self.file} is damaged.", hint="seatrial db log --verify") from problem
        return last["number"], last["hash"]

    def _lines(self) -> Iterator[dict[str, Any]]:
        try:
            lines = self.file.read_bytes().splitlines()
        except FileNotFoundError:
            return
        for number, line in enumerate(lines, 1):
            try:
                yield json.loads(line)
            except ValueError as problem:
                raise AuditError(f"Line {number} of {self.file} is damaged.", event=number) from problem


def user() -> str:
    """Return who is at work: the name of the operating system's account."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def _hash(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, ensure_ascii=False, sort_keys=True).encode()).hexdigest()
