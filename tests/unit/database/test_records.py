"""Records, lengths of time, and the audit log that shows when it was changed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from seatrial.database import durations
from seatrial.database.audit import Audit
from seatrial.database.records import Branch, Records
from seatrial.errors import AuditError, SettingError


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
