"""Records, lengths of time, and the audit log that shows when it was changed."""

from __future__ import annotations

import json
import resource
import signal
import sqlite3
from pathlib import Path

import pytest

from seatrial.database import durations
from seatrial.database.audit import Audit
from seatrial.database.records import Branch, Records
from seatrial.errors import AuditError, SettingError, StoreError


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return Records(tmp_path / "records.db")


@pytest.fixture
def audit(tmp_path: Path, records: Records) -> Audit:
    log = Audit(tmp_path / "audit.jsonl", records)
    for number in range(5):
        log.write("branch.create", f"b{number}", size=number)
    return log


def test_a_record_comes_back_as_it_was(records: Records) -> None:
    branch = records.put(Branch("a1", "creating", name="x", snapshot="s"))
    assert records.get(Branch, "a1") == branch
    assert records.put(branch, state="ready").state == "ready"
    assert records.all(Branch, "creating") == []
    assert records.all(Branch, "ready")[0].role("rw") == "ba1_rw"


def test_a_transaction_that_fails_writes_nothing(records: Records) -> None:
    with pytest.raises(KeyError), records.transaction():
        records.put(Branch("a1", "creating", name="x", snapshot="s"))
        raise KeyError
    assert records.all(Branch) == []


def test_lengths_of_time() -> None:
    assert durations.seconds("1.5h") == 5400
    with pytest.raises(SettingError, match="not a length"):
        durations.seconds("soon")
    assert durations.has_passed(durations.after(-1))
    assert not durations.has_passed(durations.after(60))
    assert not durations.has_passed("")


def test_an_honest_log_verifies(audit: Audit) -> None:
    assert audit.verify() == 5
    assert [event.subject for event in audit.events()] == ["b0", "b1", "b2", "b3", "b4"]


@pytest.mark.parametrize("kind", ["changed", "removed", "swapped", "cut", "emptied", "damaged"])
def test_a_log_that_was_tampered_with_is_told(audit: Audit, kind: str) -> None:
    lines = audit.file.read_text().splitlines()
    if kind == "changed":
        lines[2] = json.dumps({**json.loads(lines[2]), "who": "somebody else"})
    elif kind == "removed":
        del lines[2]
    elif kind == "swapped":
        lines[1], lines[2] = lines[2], lines[1]
    elif kind == "cut":
        del lines[-1]
    elif kind == "emptied":
        lines = []
    else:
        lines[3] = lines[3][:20]
    audit.file.write_text("".join(f"{line}\n" for line in lines))
    with pytest.raises(AuditError):
        audit.verify()


def test_a_line_of_the_log_may_be_long_and_hold_any_name(tmp_path: Path, audit: Audit) -> None:
    audit.write("drift.accept", "production", changes=[f"Table {number} was changed." * 20 for number in range(10_000)])
    audit.write("production.load", "caf\udce9.sql", reason="x" * 5_000_000, title="\u202eab\n\x1b[2J")
    audit.write("branch.create", "after")
    assert audit.verify() == 8
    events = list(audit.events())
    assert events[5].facts["changes"][-1] == "and 9800 more"
    assert events[6].subject == r"caf\udce9.sql"
    assert (tmp_path / "audit.jsonl").stat().st_size < 200_000


@pytest.mark.parametrize("text", ['{"number": 6}', "[1]", "6", "half of a li"])
def test_a_log_whose_end_is_damaged_says_so(tmp_path: Path, audit: Audit, text: str) -> None:
    with (tmp_path / "audit.jsonl").open("a") as stream:
        stream.write(text + "\n")
    with pytest.raises(AuditError, match="is damaged"):
        audit.write("branch.create", "x")
    with pytest.raises(AuditError, match="is damaged"):
        audit.verify()


def test_half_a_line_is_taken_back_when_the_disk_is_full(tmp_path: Path, audit: Audit) -> None:
    size = (tmp_path / "audit.jsonl").stat().st_size
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, before[1]))
        with pytest.raises(AuditError, match="cannot be written"):
            audit.write("branch.create", "too much")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert (tmp_path / "audit.jsonl").stat().st_size == size
    audit.write("branch.create", "again")
    assert audit.verify() == 6


def test_damaged_records_are_named(tmp_path: Path, records: Records) -> None:
    records.put(Branch("a1", "creating", name="x", snapshot="s"))
    with sqlite3.connect(records.file) as db:
        db.execute("UPDATE records SET body = '{}'")
    db.close()
    with pytest.raises(StoreError, match="holds a damaged branch"):
        records.all(Branch)
    records.close()
    for suffix in ("-wal", "-shm"):
        records.file.with_name(records.file.name + suffix).unlink(missing_ok=True)
    records.file.write_bytes(b"SQLite format 3\0" + b"\xff" * 5000)
    with pytest.raises(StoreError, match="cannot be used"):
        Records(records.file)
