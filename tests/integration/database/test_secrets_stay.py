"""Byte search: no key, no password and no later row of production is where it does not belong."""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from seatrial import database
from seatrial.database import branches, production
from seatrial.database.project import Project
from seatrial.errors import SeatrialError


@pytest.fixture
def busy(shop: Project) -> Iterator[Project]:
    """A project in which much has happened: branches, failures, proposals, an apply, rows compared, wrong passwords."""
    if "rita" not in database.reviewers(shop):
        database.add_reviewer(shop, "rita")
    database.create_branch(shop, database.Wish("first"))
    with production.cluster_of(shop).connect("shop") as connection:
        connection.execute(
            "UPDATE public.users SET email = %s WHERE id = 1", [f"later-{secrets.token_hex(8)}@example.com"]
        )
    database.create_branch(shop, database.Wish("second"))
    database.create_branch(shop, database.Wish("third", parent="second"))
    with psycopg.connect(database.url(shop, "second")) as connection:
        connection.execute("INSERT INTO seatrial.inbox (title, sql) VALUES ('t', 'ALTER TABLE users ADD COLUMN a int')")
        connection.execute("UPDATE users SET name = 'n' WHERE id = 2")
    with contextlib.suppress(psycopg.Error):
        psycopg.connect(database.url(shop, "first"), password=shop.secret("production deployer")).close()
    with pytest.raises(SeatrialError):
        database.create_branch(shop, database.Wish("second"))
    for _, made, _ in database.collect_inbox(shop):
        if made:
            database.approve(shop, made.id, approver="rita", hazards=made.opened().hazards)
            database.apply(shop, made.id)
    database.diff_rows(shop, "second")
    database.reset_branch(shop, "first")
    yield shop
    database.delete_branch(shop, "third")


def later_row(project: Project) -> bytes:
    """What a row was changed to after the golden copy was made."""
    with psycopg.connect(database.url(project)) as connection:
        row = connection.execute("SELECT email FROM users WHERE id = 1").fetchone()
    assert row is not None
    assert row[0].startswith("later-")
    return str(row[0]).encode()


def secrets_of(project: Project) -> dict[str, bytes]:
    found = {name: value.encode() for name, value in json.loads((project.folder / "secrets.json").read_text()).items()}
    for file in (project.folder / "keys").iterdir():
        if not file.suffix:
            found[f"key {file.name}"] = file.read_bytes().splitlines()[2]
    assert {"superuser of production", "superuser of branches", "production deployer", "key rita"} <= found.keys()
    return found


def where(needles: dict[str, bytes], files: Iterator[Path]) -> list[tuple[str, str]]:
    found = []
    for file in files:
        with contextlib.suppress(OSError):
            content = file.read_bytes()
            found += [(name, str(file)) for name, needle in needles.items() if needle in content]
    return found


def files_below(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def test_no_secret_and_no_later_row_is_in_a_branch(busy: Project) -> None:
    folders = [busy.branches / branch.id for branch in database.all_branches(busy)]
    assert len(folders) == 3
    for folder in folders:
        assert sum(1 for _ in files_below(folder)) > 500
        assert where({**secrets_of(busy), "a later row": later_row(busy)}, files_below(folder)) == []
        assert where({"an earlier row": b"user2@example.com"}, files_below(folder)) != []


def test_no_secret_is_in_what_we_write_and_log(busy: Project) -> None:
    kept = {busy.folder / "secrets.json"}
    written = [file for file in files_below(busy.folder) if file not in kept and file.parent.name != "keys"]
    logs = [busy.production / "server.log", *busy.branches.glob("*/server.log")]
    assert {"records.db", "audit.jsonl", "service.log"} <= {file.name for file in written}
    assert any(file.parent.name == "reports" for file in written)
    needles = {**secrets_of(busy), "a row": later_row(busy)}
    assert where(needles, iter([*written, *logs])) == []
    assert where(secrets_of(busy), files_below(busy.root)) == []
    for file in kept:
        assert file.stat().st_mode & 0o077 == 0


def test_no_secret_is_on_a_command_line_or_in_a_servers_environment(busy: Project) -> None:
    service = database.running(busy)
    assert service is not None
    with psycopg.connect(database.url(busy, "second")) as connection:
        connection.execute("SELECT 1")
        pids = {service.pid, *(pid for _, cluster in database.servers(busy) if (pid := cluster.pid()))}
        pids |= {int(child) for pid in pids for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}
        assert len(pids) > 10
        seen = [Path(f"/proc/{pid}/{name}") for pid in pids for name in ("cmdline", "environ")]
        assert where(secrets_of(busy), iter(seen)) == []
    others = [entry / "cmdline" for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    assert where(secrets_of(busy), iter(others)) == []


def test_a_branch_that_is_gone_leaves_no_password(busy: Project) -> None:
    gone = database.create_branch(busy, database.Wish("gone"))
    password = branches.password(busy, gone, "rw").encode()
    database.delete_branch(busy, "gone")
    assert where({"its password": password}, files_below(busy.folder)) == []
    assert where({"its password": password}, files_below(busy.clusters)) == []
