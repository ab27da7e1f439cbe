"""The record that every area produces: immutable, addressed by its content.

A screenshot check, a test run, a measured schema effect, a canary verdict, a benchmark ratio and a
reviewer's opinion are all evidence.
"""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

import sqlalchemy as sa

from seatrial import __version__, paths
from seatrial.errors import EvidenceError
from seatrial.store import Store

Outcome = Literal["pass", "fail", "info", "inconclusive"]

_table = sa.table("evidence", *(sa.column(c) for c in ("id", "subject", "kind", "outcome", "finished", "record")))


@dataclass(frozen=True)
class Evidence:
    """One observation about one subject.

    `value` is a number in `unit`, `interval` its (low, high); `inputs_hash` names what was looked at;
    `artefacts` are SHA-256 names of files kept beside the store; times are ISO 8601 in UTC.
    Raises EvidenceError on an unknown outcome or an interval that is upside down.
    """

    subject: str
    kind: str
    source: str
    outcome: Outcome
    summary: str
    inputs_hash: str = ""
    value: float | None = None
    unit: str = ""
    interval: tuple[float, float] | None = None
    artefacts: tuple[str, ...] = ()
    started: str = field(default_factory=lambda: now())
    finished: str = field(default_factory=lambda: now())
    tool_version: str = __version__

    def __post_init__(self) -> None:
        if self.outcome not in get_args(Outcome):
            raise EvidenceError(f"Outcome {self.outcome!r} is not one of {', '.join(get_args(Outcome))}.")
        if self.interval is not None and not self.interval[0] <= self.interval[1]:
            raise EvidenceError(f"The interval {self.interval} is upside down.")

    @property
    def id(self) -> str:
        """SHA-256 of the record's canonical JSON, hexadecimal."""
        return hashlib.sha256(self._canonical().encode()).hexdigest()

    def as_dict(self) -> dict[str, Any]:
        """Return the record with its id, ready for JSON."""
        return {"id": self.id, **asdict(self)}

    def _canonical(self) -> str:
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"), allow_nan=False)


def now() -> str:
    """Return the present time, ISO 8601 in UTC, milliseconds."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")


def record(store: Store, evidence: Evidence) -> str:
    """Keep `evidence`; recording the same twice changes nothing.  Returns its id."""
    row = {
        "id": evidence.id,
        "subject": evidence.subject,
        "kind": evidence.kind,
        "outcome": evidence.outcome,
        "finished": evidence.finished,
        "record": evidence._canonical(),
    }
    with store.write() as connection:
        known = connection.scalar(sa.select(_table.c.id).where(_table.c.id == evidence.id))
        if known is None:
            connection.execute(_table.insert().values(**row))
    return evidence.id


def load(store: Store, evidence_id: str) -> Evidence:
    """Read one record by its id or an unambiguous beginning of it; EvidenceError if there is none."""
    with store.read() as connection:
        query = sa.select(_table.c.record).where(_table.c.id.startswith(evidence_id, autoescape=True)).limit(2)
        rows = connection.scalars(query).all()
    if len(rows) != 1:
        reason = "No evidence has" if not rows else "Several pieces of evidence have"
        raise EvidenceError(f"{reason} the id {evidence_id}.", hint="seatrial evidence list")
    return _from_json(rows[0])


def select(store: Store, *, subject: str | None = None, kind: str | None = None, limit: int = 50) -> list[Evidence]:
    """Return the newest records first, filtered by subject and kind."""
    query = sa.select(_table.c.record).order_by(_table.c.finished.desc(), _table.c.id).limit(limit)
    if subject is not None:
        query = query.where(_table.c.subject == subject)
    if kind is not None:
        query = query.where(_table.c.kind == kind)
    with store.read() as connection:
        return [_from_json(row) for row in connection.scalars(query)]


def keep_artefact(store: Store, content: bytes) -> str:
    """Keep `content` under its SHA-256 and return that name; StorageError when the disk refuses."""
    name = hashlib.sha256(content).hexdigest()
    target = artefact_path(store, name)
    if not target.is_file():
        with paths.atomic_write(target) as stream:
            stream.write(content)
    return name


def artefact_path(store: Store, name: str) -> Path:
    """Return where the artefact `name` (64 hexadecimal digits) lies; EvidenceError for any other name."""
    if len(name) != 64 or not set(name) <= set("0123456789abcdef"):
        raise EvidenceError(f"{name!r} is not the name of an artefact.")
    return store.artefacts / name[:2] / name


def _from_json(text: str) -> Evidence:
    values: Mapping[str, Any] = json.loads(text)
    known = {entry.name for entry in fields(Evidence)}
    kept = {key: value for key, value in values.items() if key in known}
    kept["artefacts"] = tuple(kept.get("artefacts", ()))
    kept["interval"] = tuple(kept["interval"]) if kept.get("interval") else None
    return Evidence(**kept)
