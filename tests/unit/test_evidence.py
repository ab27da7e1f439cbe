"""Evidence and the store beneath it, on SQLite; tests/integration runs the same on Postgres."""

from __future__ import annotations

import hashlib
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from seatrial import evidence
from seatrial.errors import EvidenceError, StoreError
from seatrial.evidence import Evidence
from seatrial.settings import Secret, Settings, StoreSettings
from seatrial.store import Store


@pytest.fixture
def store() -> Iterator[Store]:
    opened = Store.open()
    yield opened
    opened.close()


def sample(**changes: object) -> Evidence:
    values: dict[str, object] = {
        "subject": "pico",
        "kind": "benchmark",
        "source": "bench/ask.py",
        "outcome": "pass",
        "summary": "2.3 times faster",
        "value": 2.3,
        "unit": "ratio",
        "interval": (2.1, 2.5),
    }
    return Evidence(**{**values, **changes})  # type: ignore[arg-type]


def test_round_trip(store: Store) -> None:
    entry = sample(artefacts=(evidence.keep_artefact(store, b"log"),))
    name = evidence.record(store, entry)
    assert evidence.load(store, name[:10]) == entry


def test_recording_twice_is_once(store: Store) -> None:
    entry = sample()
    evidence.record(store, entry)
    evidence.record(store, entry)
    assert evidence.select(store) == [entry]


def test_newest_first_and_filtered(store: Store) -> None:
    for number in range(3):
        evidence.record(store, sample(subject=f"s{number}", finished=f"2026-01-0{number + 1}T00:00:00.000+00:00"))
    assert [entry.subject for entry in evidence.select(store)] == ["s2", "s1", "s0"]
    assert [entry.subject for entry in evidence.select(store, subject="s1")] == ["s1"]


def test_artefacts_are_addressed_by_content(store: Store) -> None:
    name = evidence.keep_artefact(store, b"abc")
    assert name == hashlib.sha256(b"abc").hexdigest()
    assert evidence.artefact_path(store, name).read_bytes() == b"abc"


@pytest.mark.parametrize("name", ["../../etc/passwd", "", "A" * 64, "a" * 63])
def test_artefact_names_cannot_wander(store: Store, name: str) -> None:
    with pytest.raises(EvidenceError):
        evidence.artefact_path(store, name)


@pytest.mark.parametrize("changes", [{"outcome": "great"}, {"interval": (2.0, 1.0)}])
def test_malformed_records_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(EvidenceError):
        sample(**changes)


def test_unknown_id(store: Store) -> None:
    with pytest.raises(EvidenceError, match="No evidence"):
        evidence.load(store, "ffff")


def test_id_may_not_match_everything(store: Store) -> None:
    evidence.record(store, sample())
    with pytest.raises(EvidenceError):
        evidence.load(store, "%")


def test_damaged_file_is_one_sentence(private_home: Path) -> None:
    private_home.mkdir()
    (private_home / "state.db").write_bytes(b"this is not a database" * 100)
    with pytest.raises(StoreError, match="cannot be opened"):
        Store.open()


def test_newer_store_is_refused(store: Store, private_home: Path) -> None:
    with sqlite3.connect(private_home / "state.db") as raw:
        raw.execute("INSERT INTO seatrial_migrations VALUES ('m999_future', '2030-01-01')")
    raw.close()
    with pytest.raises(StoreError, match="newer"):
        Store.open()


def test_password_of_the_url_is_never_shown() -> None:
    settings = Settings(store=StoreSettings(url=Secret("postgresql://me:hunter2@127.0.0.1:1/none")))
    with pytest.raises(StoreError) as caught:
        Store.open(settings)
    assert "hunter2" not in str(caught.value) + str(caught.value.hint)


WRITER = """
import sys
from seatrial import evidence
from seatrial.evidence import Evidence
from seatrial.store import Store
store = Store.open()
for number in range(100_000):
    evidence.record(store, Evidence(f"{sys.argv[1]}-{number}", "k", "s", "info", "x"))
    print(number, flush=True)
"""


def test_killed_writers_lose_nothing_that_was_acknowledged(store: Store) -> None:
    """Two writers at once, both killed in the middle: every printed record is there, the store opens."""
    command = [sys.executable, "-c", textwrap.dedent(WRITER)]
    writers = [
        subprocess.Popen([*command, name], stdout=subprocess.PIPE, text=True, env=dict(os.environ)) for name in "ab"
    ]
    acknowledged = []
    for writer in writers:
        assert writer.stdout
        acknowledged.append([int(writer.stdout.readline()) for _ in range(20)])
    for writer in writers:
        writer.send_signal(signal.SIGKILL)
        writer.communicate()
    reopened = Store.open()
    kept = {entry.subject for entry in evidence.select(reopened, limit=1_000_000)}
    reopened.close()
    for name, numbers in zip("ab", acknowledged, strict=True):
        assert {f"{name}-{number}" for number in numbers} <= kept
