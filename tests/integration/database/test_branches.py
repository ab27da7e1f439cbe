"""Branches: made, kept apart, reset, woken, put to sleep, removed (behaviours 1–3, 7, 8, 12, 35, 37)."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path
from typing import Any

import psycopg
import pytest

from seatrial import database
from seatrial.database import branches, copying, durations, production, snapshots
from seatrial.database.postgres import connect
from seatrial.database.project import Project
from seatrial.database.records import Branch, Snapshot
from seatrial.errors import BranchError, PostgresError, UnknownBranchError


def value(url: str, query: str) -> Any:
    with psycopg.connect(url) as connection:
        row = connection.execute(query).fetchone()
    return row[0] if row else None


def test_a_branch_is_what_its_source_was(shop: Project) -> None:
    branch = database.create_branch(shop, database.Wish("same"))
    snapshot = shop.records.get(Snapshot, branch.snapshot)
    assert snapshot is not None
    with connect(branches.dsn(shop, branch)) as connection:
        assert snapshots.schema_of(connection).fingerprint == snapshot.fingerprint == branch.fingerprint
        assert connection.execute("SELECT count(*), sum(total) FROM orders").fetchone() == (1000, 500500)
    assert branch.strategy == copying.probe(shop.branches)


def test_writes_stay_in_their_branch(shop: Project) -> None:
    for name in ("one", "two"):
        database.create_branch(shop, database.Wish(name))
    with psycopg.connect(database.url(shop, "one")) as connection:
        connection.execute("DROP TABLE orders")
    assert value(database.url(shop, "two"), "SELECT count(*) FROM orders") == 1000
    assert value(database.url(shop), "SELECT count(*) FROM orders") == 1000


def test_a_branch_of_a_branch_has_its_changes(shop: Project) -> None:
    database.create_branch(shop, database.Wish("parent"))
    with psycopg.connect(database.url(shop, "parent")) as connection:
        connection.execute("DELETE FROM orders WHERE id > 10")
    child = database.create_branch(shop, database.Wish("child", parent="parent"))
    assert value(database.url(shop, "child"), "SELECT count(*) FROM orders") == 10
    with pytest.raises(BranchError, match="branches of its own: child"):
        database.delete_branch(shop, "parent")
    database.delete_branch(shop, child.name)


def test_two_branches_at_the_same_moment(shop: Project) -> None:
    failures: list[BaseException] = []

    def make(name: str) -> None:
        try:
            database.create_branch(database.find_project(shop.root), database.Wish(name))
        except BaseException as problem:
            failures.append(problem)

    threads = [threading.Thread(target=make, args=(f"twin-{number}",)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert {branch.state for branch in database.all_branches(shop)} == {"ready"}


def test_a_lazy_branch_is_made_once_by_ten_clients(shop: Project) -> None:
    declared = database.create_branch(shop, database.Wish("lazy", lazy=True))
    url = database.url(shop, "lazy")
    assert not (shop.branches / declared.id).exists()
    found: list[Any] = []
    threads = [
        threading.Thread(target=lambda: found.append(value(url, "SELECT count(*) FROM orders"))) for _ in range(10)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [1000] * 10
    made = [event for event in shop.audit.events() if event.what == "branch.create" and event.subject == declared.id]
    assert len(made) == 1


def test_a_sleeping_branch_wakes_for_a_client(shop: Project) -> None:
    branch = database.create_branch(shop, database.Wish("sleeper"))
    cluster = branches.cluster_of(shop, branch)
    cluster.stop()
    assert cluster.pid() is None
    assert value(database.url(shop, "sleeper"), "SELECT 1") == 1
    assert cluster.pid() is not None


def test_roles_do_what_they_are_for(shop: Project) -> None:
    database.create_branch(shop, database.Wish("roles"))
    with psycopg.connect(database.url(shop, "roles", "ro"), autocommit=True) as reader:
        assert reader.execute("SELECT count(*) FROM users").fetchone() == (100,)
        reader.execute("SET default_transaction_read_only = off")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            reader.execute("DELETE FROM orders")
    with psycopg.connect(database.url(shop, "roles", "rw"), autocommit=True) as writer:
        writer.execute("DELETE FROM orders WHERE id = 1")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            writer.execute("DROP TABLE orders")
    with psycopg.connect(database.url(shop, "roles", "owner"), autocommit=True) as owner:
        owner.execute("CREATE TABLE made (id int)")
        assert owner.execute("SELECT tableowner FROM pg_tables WHERE tablename = 'made'").fetchone() == ("shop_owner",)
    with psycopg.connect(database.url(shop, "roles", "rw"), autocommit=True) as writer:
        writer.execute("INSERT INTO made VALUES (1)")
    with pytest.raises(BranchError, match="gate"):
        database.url(shop, "", "owner")


def test_credentials_of_a_branch_open_nothing_else(shop: Project) -> None:
    one = database.create_branch(shop, database.Wish("one"))
    two = database.create_branch(shop, database.Wish("two"))
    password = branches.password(shop, one, "owner")
    sockets = {
        "production": production.cluster_of(shop),
        "two": branches.cluster_of(shop, two),
    }
    for cluster in sockets.values():
        with pytest.raises(PostgresError, match="password authentication failed"):
            connect(cluster.dsn(shop.settings.name, one.role("owner"), password))
    own = branches.cluster_of(shop, one)
    for other in ("postgres", "template1"):
        with pytest.raises(PostgresError, match="permission denied for database"):
            connect(own.dsn(other, one.role("owner"), password))
    with pytest.raises(PostgresError, match="authentication failed"):
        connect(own.dsn(shop.settings.name, "seatrial", password))
    url = database.url(shop, "one")
    for user in ("seatrial", "shop_deployer", "shop_owner", "postgres", "b00000000_owner"):
        with pytest.raises(psycopg.OperationalError, match=r"no branch has a user|does not exist any more"):
            psycopg.connect(url, user=user)


def test_reset_brings_back_the_parent_and_keeps_the_url(shop: Project) -> None:
    branch = database.create_branch(shop, database.Wish("again"))
    url = database.url(shop, "again")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP TABLE orders")
        database.reset_branch(shop, "again")
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    assert value(url, "SELECT count(*) FROM orders") == 1000
    with connect(branches.dsn(shop, branch)) as connection:
        assert snapshots.schema_of(connection).fingerprint == branch.fingerprint


def test_a_branch_that_expired_lets_nobody_in_and_goes(shop: Project) -> None:
    branch = database.create_branch(shop, database.Wish("short", ttl="1h"))
    url = database.url(shop, "short")
    shop.records.put(branch, expires=durations.after(-1))
    with pytest.raises(psycopg.OperationalError, match=r"expired|does not exist"):
        psycopg.connect(url)
    expired = shop.records.get(Branch, branch.id)
    if expired:  # the service may have been faster
        branches.expire(shop, expired)
    assert not (shop.branches / branch.id).exists()
    assert not shop.has_secret(f"branch {branch.id} owner")


def test_deleting_never_leaves_its_folder(shop: Project, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("kept")
    branch = database.create_branch(shop, database.Wish("planted"))
    (branches.cluster_of(shop, branch).data / "pg_tblspc" / "link").symlink_to(precious)
    database.delete_branch(shop, "planted")
    assert (precious / "file").read_text() == "kept"


@pytest.mark.parametrize("name", ["", "..", "a/../b", "production", "-x", "a\0b", "a" * 101, "näme", "a b", "a;b"])
def test_names_that_could_be_something_else_are_refused(shop: Project, name: str) -> None:
    with pytest.raises(BranchError, match="cannot be the name"):
        database.create_branch(shop, database.Wish(name))


def test_names_that_differ_late_or_are_keywords_are_two_branches(shop: Project) -> None:
    for name in ("select", "x" * 99 + "a", "x" * 99 + "b"):
        database.create_branch(shop, database.Wish(name, lazy=True))
    with pytest.raises(BranchError, match="already"):
        database.create_branch(shop, database.Wish("select", lazy=True))
    assert len(database.all_branches(shop)) == 3


def test_what_cannot_be_is_said(shop: Project) -> None:
    with pytest.raises(UnknownBranchError, match="no branch nowhere"):
        database.url(shop, "nowhere")
    with pytest.raises(BranchError, match="no snapshot"):
        database.create_branch(shop, database.Wish("x", at="nowhere"))
    with pytest.raises(BranchError, match="no strategy"):
        database.create_branch(shop, database.Wish("x", strategy="overlay"))
    assert database.all_branches(shop) == []


def test_a_client_that_speaks_something_else_is_turned_away(shop: Project) -> None:
    import socket

    service = database.up(shop)
    for sent in (b"GET / HTTP/1.1\r\n\r\n", b"\0" * 64, b"\xff" * 64):
        with socket.create_connection(("127.0.0.1", service.port), timeout=10) as client:
            client.sendall(sent)
            client.shutdown(socket.SHUT_WR)
            assert client.recv(4096)[:1] in (b"E", b"")
    assert value(database.url(shop), "SELECT 1") == 1


def test_a_query_can_be_cancelled_through_the_listener(shop: Project) -> None:
    database.create_branch(shop, database.Wish("cancel"))
    with psycopg.connect(database.url(shop, "cancel")) as connection:
        timer = threading.Timer(0.3, connection.cancel_safe)
        timer.start()
        with pytest.raises(psycopg.errors.QueryCanceled):
            connection.execute("SELECT pg_sleep(60)")
        timer.join()


def test_what_keeps_a_branch_is_said(shop: Project) -> None:
    branch = database.create_branch(shop, database.Wish("kept"))
    change = database.Change("CREATE TABLE from_kept (id int)")
    proposal = database.propose(shop, change, author="branch kept", branch=branch.id)
    shop.records.put(branch, expires=durations.after(-1))
    expired = database.find_branch(shop, "kept")
    assert branches.expire(shop, expired) is False
    with pytest.raises(psycopg.OperationalError, match=f"kept until proposal {proposal.id} is decided"):
        psycopg.connect(database.url(shop, "kept"))
    database.extend_branch(shop, "kept", "1h")
    database.reset_branch(shop, "kept")
    found = database.find_proposal(shop, proposal.id)
    assert (found.state, found.reason) == ("stale", "branch kept was reset")


def test_a_branch_that_is_too_large_is_not_started(shop: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    branch = database.create_branch(shop, database.Wish("large"))
    monkeypatch.setenv("SEATRIAL_DB_MAX_BRANCH_BYTES", "1000000")
    strict = database.find_project(shop.root)
    with pytest.raises(BranchError, match=r"has [\d,]+ bytes; 1,000,000 are allowed"):
        branches.start(strict, branch)
    strict.records.close()


def test_the_database_follows_git(shop: Project) -> None:
    def git(*words: str) -> None:
        subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@t", *words], cwd=shop.root, check=True)

    git("init", "-q", "-b", "main")
    git("commit", "-q", "--allow-empty", "-m", "x")
    hook = database.install_follow(shop)
    assert hook.stat().st_mode & 0o111
    file = shop.root / ".seatrial" / "database.env"
    assert "shop_rw" in file.read_text()
    git("switch", "-q", "-c", "feature/täst")
    assert database.follow(shop) == "feature/t-st"
    address = file.read_text().strip().removeprefix("DATABASE_URL=")
    assert database.find_branch(shop, "feature/t-st").state == "declared"
    assert value(address, "SELECT count(*) FROM orders") == 1000
    assert file.stat().st_mode & 0o077 == 0
    assert database.remove_follow(shop) is True
    hook.write_text("#!/bin/sh\n")
    with pytest.raises(BranchError, match="is not Seatrial's"):
        database.install_follow(shop)
