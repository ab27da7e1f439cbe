"""kill -9 of our process at every step, and of the servers: nothing half exposed, nothing lost (5, 6, 31, 38)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest

from seatrial import database
from seatrial.database import branches, production
from seatrial.database.gate import target
from seatrial.database.project import Project
from seatrial.database.records import Snapshot

KILLED = -signal.SIGKILL


def seatrial(project: Project, *words: str, stop_at: str = "") -> subprocess.CompletedProcess[str]:
    """Run `seatrial db …` as a user would, killed at a step."""
    environment = {**os.environ, "SEATRIAL_STOP_AT": stop_at}
    command = [str(Path(sys.executable).with_name("seatrial")), "db", *words]
    return subprocess.run(command, cwd=project.root, env=environment, capture_output=True, text=True, check=False)


def value(url: str, query: str) -> Any:
    with psycopg.connect(url) as connection:
        row = connection.execute(query).fetchone()
    return row[0] if row else None


def nothing_is_left(project: Project, folders: set[str]) -> None:
    assert {entry.name for entry in project.branches.iterdir()} == folders | {f".{name}.lock" for name in folders}
    for snapshot in project.records.all(Snapshot):
        assert snapshot.state == "ready"
    assert not list(project.snapshots.glob(".gone-*"))


@pytest.mark.parametrize(
    "step",
    [
        "snapshot.copied",
        "snapshot.disarmed",
        "snapshot.stopped",
        "branch.begun",
        "branch.copied",
        "branch.started",
        "branch.given",
    ],
)
def test_making_a_branch_is_undone(shop: Project, step: str) -> None:
    for snapshot in shop.records.all(Snapshot):
        database.delete_snapshot(shop, snapshot.id)
    assert seatrial(shop, "branch", "create", "killed", stop_at=step).returncode == KILLED
    half = shop.records.all(database.Branch)
    assert [branch.state for branch in half] == ["creating"]
    url = f"postgresql://{half[0].role('owner')}:x@127.0.0.1:{database.up(shop).port}/shop"
    with pytest.raises(psycopg.OperationalError, match="creating"):
        psycopg.connect(url)
    listed = seatrial(shop, "branch", "list")
    assert "found: the making of branch killed was interrupted" in listed.stderr
    assert database.all_branches(shop) == []
    nothing_is_left(shop, set())
    assert not shop.has_secret(f"branch {half[0].id} owner")
    assert seatrial(shop, "branch", "create", "killed").returncode == 0


@pytest.mark.parametrize("step", ["reset.begun", "reset.removed", "branch.copied", "branch.started", "reset.given"])
def test_a_reset_is_finished(shop: Project, step: str) -> None:
    branch = database.create_branch(shop, database.Wish("again"))
    url = database.url(shop, "again")
    with psycopg.connect(url) as connection:
        connection.execute("DELETE FROM orders")
    assert seatrial(shop, "branch", "reset", "again", "--yes", stop_at=step).returncode == KILLED
    with pytest.raises(psycopg.OperationalError, match="resetting"):
        psycopg.connect(url)
    assert "reset of branch again was interrupted and is finished" in seatrial(shop, "branch", "list").stderr
    assert value(url, "SELECT count(*) FROM orders") == 1000
    nothing_is_left(shop, {branch.id})


@pytest.mark.parametrize("step", ["delete.begun", "delete.stopped", "delete.removed"])
def test_a_deletion_is_finished(shop: Project, step: str) -> None:
    branch = database.create_branch(shop, database.Wish("doomed"))
    assert seatrial(shop, "branch", "delete", "doomed", "--yes", stop_at=step).returncode == KILLED
    assert "deletion of branch doomed was interrupted" in seatrial(shop, "branch", "list").stderr
    assert database.all_branches(shop) == []
    assert not shop.has_secret(f"branch {branch.id} rw")
    nothing_is_left(shop, set())


def approved(project: Project, sql: str) -> database.Proposal:
    if "rita" not in database.reviewers(project):
        database.add_reviewer(project, "rita")
    proposal = database.propose(project, database.Change(sql), author="ann")
    return database.approve(project, proposal.id, approver="rita", hazards=proposal.opened().hazards)


@pytest.mark.parametrize("step", ["apply.begun", "apply.executed", "apply.ledger", "apply.committed"])
def test_an_apply_is_resumed_and_done_once(shop: Project, step: str) -> None:
    name = step.replace(".", "_")
    proposal = approved(shop, f"CREATE TABLE {name} (id int); INSERT INTO {name} VALUES (1)")
    assert seatrial(shop, "apply", proposal.id, stop_at=step).returncode == KILLED
    refused = seatrial(shop, "apply", proposal.id)
    assert refused.returncode == 3
    assert "resume" in refused.stderr
    assert seatrial(shop, "resume", proposal.id).returncode == 0
    assert value(database.url(shop), f"SELECT count(*) FROM {name}") == 1
    assert target.schema(shop).fingerprint == proposal.opened().result
    assert seatrial(shop, "resume", proposal.id).returncode == 3


@pytest.mark.parametrize("step", ["apply.started", "apply.alone"])
def test_a_step_outside_of_a_transaction_is_resumed(shop: Project, step: str) -> None:
    name = step.replace(".", "_")
    sql = f"CREATE INDEX CONCURRENTLY {name} ON orders (placed); CREATE TABLE {name}_t (id int)"
    proposal = approved(shop, sql)
    assert seatrial(shop, "apply", proposal.id, stop_at=step).returncode == KILLED
    done = seatrial(shop, "resume", proposal.id)
    assert done.returncode == 0, done.stderr
    assert target.schema(shop).fingerprint == proposal.opened().result


def test_servers_that_are_killed_come_back(shop: Project) -> None:
    branch = database.create_branch(shop, database.Wish("crash"))
    with psycopg.connect(database.url(shop, "crash")) as connection:
        connection.execute("DELETE FROM orders WHERE id <= 10")
    for cluster in (branches.cluster_of(shop, branch), production.cluster_of(shop)):
        pid = cluster.pid()
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        while cluster.pid():
            pass
    assert value(database.url(shop, "crash"), "SELECT count(*) FROM orders") == 990
    assert value(database.url(shop), "SELECT count(*) FROM orders") == 1000


def test_the_service_that_is_killed_comes_back_on_the_same_port(shop: Project) -> None:
    url = database.url(shop)
    service = database.running(shop)
    assert service is not None
    os.kill(service.pid, signal.SIGKILL)
    while database.running(shop):
        pass
    assert database.url(shop) == url
    assert value(url, "SELECT 1") == 1
