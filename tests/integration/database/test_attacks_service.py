"""What clients may do to the one port of all branches: nobody is locked out, no password is gone past."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterator
from urllib.parse import urlsplit

import psycopg
import pytest

from seatrial import database
from seatrial.database.project import Project

CANCEL = 80877102


@pytest.fixture
def port(shop: Project) -> int:
    return database.up(shop).port


def startup(user: str, **parameters: str) -> bytes:
    body = struct.pack("!I", 3 << 16)
    for name, value in {"user": user, "database": "shop", **parameters}.items():
        body += name.encode() + b"\0" + value.encode() + b"\0"
    body += b"\0"
    return struct.pack("!I", len(body) + 4) + body


@contextlib.contextmanager
def connected(port: int, count: int, say: bytes) -> Iterator[list[socket.socket]]:
    with contextlib.ExitStack() as stack:
        found = [stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(count)]
        for one in found:
            one.sendall(say)
        yield found


def answer(port: int, say: bytes) -> bytes:
    with connected(port, 1, say) as (one,):
        one.settimeout(60)
        with contextlib.suppress(ConnectionError):
            return one.recv(2**16)
        return b""


def works(project: Project) -> bool:
    with psycopg.connect(database.url(project)) as connection:
        return connection.execute("SELECT count(*) FROM orders").fetchone() == (1000,)


@pytest.mark.parametrize("say", [b"", b"\0\0\0", startup("shop_rw")], ids=["silent", "slow", "no password"])
def test_nobody_is_locked_out_by_clients_that_wait(shop: Project, port: int, say: bytes) -> None:
    """Before the password is asked for everybody is let in, and a server has a hundred places."""
    with connected(port, 400, say):
        assert works(shop)
    assert works(shop)


def test_a_burst_of_honest_clients_is_served(shop: Project) -> None:
    url = database.url(shop)
    with contextlib.ExitStack() as stack:
        for _ in range(60):
            connection = stack.enter_context(psycopg.connect(url))
            assert connection.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.parametrize(
    ("say", "told"),
    [
        (struct.pack("!II", 2**31, 3 << 16), b"not a client of PostgreSQL"),
        (struct.pack("!II", 20_000, 3 << 16) + b"x" * 100, b"not a client of PostgreSQL"),
        (struct.pack("!II", 4, 3 << 16), b"not a client of PostgreSQL"),
        (b"GET / HTTP/1.1\r\n\r\n", b"not a client of PostgreSQL"),
        (struct.pack("!II", 8, 2 << 16), b"protocol version 2"),
        (struct.pack("!II", 14, 3 << 16) + b"user\0x", b"malformed"),
        (struct.pack("!II", 15, 3 << 16) + b"user\0\xff\0"[:5] + b"\xff\0", b"malformed"),
        (startup("shop_deployer"), b"no branch has a user shop_deployer"),
        (startup("seatrial"), b"no branch has a user seatrial"),
        (startup("shop_owner"), b"no branch has a user shop_owner"),
        (startup("b00000000_owner"), b"does not exist any more"),
        (startup("b00000000_owner\nX"), b"no branch has a user"),
        (startup("../production"), b"no branch has a user"),
        (startup("production"), b"no branch has a user"),
        (startup("%73eatrial"), b"no branch has a user %73eatrial"),
    ],
)
def test_what_is_no_client_of_ours_is_told_so(port: int, say: bytes, told: bytes) -> None:
    assert told in answer(port, say)


def test_a_connection_for_replication_is_refused(shop: Project, port: int) -> None:
    branch = database.create_branch(shop, database.Wish("replica"))
    for url in (database.url(shop, "replica"), database.url(shop)):
        for kind in ("true", "database"):
            with pytest.raises(psycopg.OperationalError, match=r"permission denied|max_wal_senders"):
                psycopg.connect(url, replication=kind)
    assert branch.state == "ready"


def test_settings_in_the_first_message_give_no_right(shop: Project) -> None:
    database.create_branch(shop, database.Wish("options"))
    for options in ("-c role=seatrial", "-c session_authorization=seatrial", "-c session_preload_libraries=x"):
        with pytest.raises(psycopg.Error):
            psycopg.connect(database.url(shop, "options"), options=options)
    with (
        pytest.raises(psycopg.errors.InsufficientPrivilege),
        psycopg.connect(database.url(shop, "options", "ro"), options="-c default_transaction_read_only=off") as reader,
    ):
        reader.execute("DELETE FROM orders")


def test_a_cancel_request_needs_the_secret(shop: Project, port: int) -> None:
    with psycopg.connect(database.url(shop)) as connection:
        pid = connection.info.backend_pid
        for secret in range(200):
            with connected(port, 1, struct.pack("!IIII", 16, CANCEL, pid, secret)) as (one,):
                one.recv(1)
        assert connection.execute("SELECT pg_sleep(0.2), 1").fetchone() is not None


def test_the_password_of_one_branch_opens_no_other(shop: Project, port: int) -> None:
    one, two = (database.create_branch(shop, database.Wish(name)) for name in ("one", "two"))
    password = urlsplit(database.url(shop, "one")).password
    for user in (two.role("owner"), two.role("ro"), one.role("rw"), "shop_rw", "shop_ro"):
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(f"postgresql://{user}:{password}@127.0.0.1:{port}/shop")
