"""Rows copied by several processes: the same result as by one, and the same errors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from seatrial import database
from seatrial.database import branches, production
from seatrial.database.postgres import connect
from seatrial.database.project import Project
from seatrial.database.records import Snapshot
from seatrial.database.sources import rows, workers
from seatrial.errors import MaskingError, SourceError

from .conftest import Home

POLICY = """
version = 1
[tables."public.users"]
id = "keep"
email = "email"
name = "name"
[tables."public.orders"]
id = "keep"
user_id = "keep"
total = "number"
placed = "date"
"""


@pytest.fixture
def shop(shop_home: Home, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """The shop with a policy, where every table is worth several processes and many jobs."""
    for name, value in shop_home.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SEATRIAL_DB_MASKING", "masking.toml")
    (shop_home.root / "masking.toml").write_text(POLICY)
    monkeypatch.setattr(workers, "_WORTH_BYTES", 0)
    monkeypatch.setattr(rows, "_JOB_PAGES", 2)
    project = database.find_project(shop_home.root)
    yield project
    for branch in reversed(database.all_branches(project)):
        database.delete_branch(project, branch.name)
    project.records.close()


def content(project: Project, name: str) -> list[tuple[object, ...]]:
    database.refresh(project)
    branch = database.create_branch(project, database.Wish(name))
    with connect(branches.dsn(project, branch)) as connection:
        return connection.execute(
            "SELECT o.id, total, placed, email, name FROM orders o JOIN users u ON u.id = user_id ORDER BY o.id"
        ).fetchall()


def owner(project: Project, statement: str) -> None:
    with production.cluster_of(project).connect("shop") as connection:
        connection.execute(f"SET search_path = public; {statement}".encode())


def test_many_processes_do_what_one_does(shop: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[tuple[int, int]] = []
    database.refresh(shop, progress=lambda *numbers: done.append(numbers))
    assert done[-1][0] == done[-1][1] > 4
    several = content(shop, "several")
    monkeypatch.setattr(workers, "_WORTH_BYTES", 2**40)
    assert content(shop, "one") == several
    assert len(several) == 1000


def test_an_error_in_a_process_is_told_by_the_one_that_started_it(shop: Project) -> None:
    before = {snapshot.id for snapshot in shop.records.all(Snapshot)}
    owner(shop, "UPDATE orders SET placed = '0044-03-15 00:00:00 BC' WHERE id = 500")
    try:
        with pytest.raises(MaskingError, match=r"public\.orders\.placed cannot be masked") as caught:
            database.refresh(shop)
        assert "0044" not in str(caught.value)
    finally:
        owner(shop, "UPDATE orders SET placed = now() WHERE id = 500")
    owner(shop, "ALTER TABLE orders ADD CONSTRAINT exact CHECK (total = id)")
    try:
        with pytest.raises(SourceError, match="exact"):
            database.refresh(shop)
    finally:
        owner(shop, "ALTER TABLE orders DROP CONSTRAINT exact")
    assert {snapshot.id for snapshot in shop.records.all(Snapshot)} == before


def test_no_process_is_left(shop: Project) -> None:
    database.refresh(shop)
    commands = [file.read_bytes() for file in Path("/proc").glob("[0-9]*/cmdline") if file.exists()]
    assert not [c for c in commands if b"seatrial.database.sources.worker" in c]
