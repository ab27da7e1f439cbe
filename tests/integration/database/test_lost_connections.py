"""The connection to production is lost before, during and after a commit: what happened is found out (31)."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from seatrial import database as area
from seatrial.database.gate.proposal import Proposal
from seatrial.database.project import Project
from seatrial.errors import ApplyError, RefusedError

from .conftest import Database
from .test_sources import added, deployer, root, rows

__all__ = ["deployer", "root"]


class Line:
    """A line to a server's Unix socket, which breaks when what a client says holds `word`."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.word, self.delivers = b"", False
        self.is_armed = False
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def breaks_at(self, word: bytes, *, delivers: bool) -> None:
        """Break the line once, at `word` (COMMIT: after the ledger's row), before or after the server hears it."""
        self.word, self.delivers, self.is_armed = word, delivers, word != b"COMMIT"

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            server.connect(self.target)
            broken = threading.Event()
            threading.Thread(target=self._forth, args=(client, server, broken), daemon=True).start()
            threading.Thread(target=self._back, args=(client, server, broken), daemon=True).start()

    def _forth(self, client: socket.socket, server: socket.socket, broken: threading.Event) -> None:
        while data := _received(client):
            self.is_armed = self.is_armed or b"INSERT INTO seatrial.ledger" in data
            if self.word and self.is_armed and self.word in data:
                self.word = b""
                broken.set()
                if self.delivers:
                    server.sendall(data)
                    return  # the answer goes nowhere, and the client hears of it when the server has given it
                break
            server.sendall(data)
        _closed(client, server)

    def _back(self, client: socket.socket, server: socket.socket, broken: threading.Event) -> None:
        while (data := _received(server)) and not broken.is_set():
            client.sendall(data)
        _closed(client, server)


def _received(one: socket.socket) -> bytes:
    try:
        return one.recv(65536)
    except OSError:
        return b""


def _closed(*both: socket.socket) -> None:
    for one in both:
        with contextlib.suppress(OSError):  # closed by the other direction already
            one.shutdown(socket.SHUT_RDWR)
        one.close()


@pytest.fixture
def line(database: Database) -> Iterator[Line]:
    where = conninfo_to_dict(database.dsn())
    made = Line(f"{where['host']}/.s.PGSQL.{where.get('port', 5432)}")
    yield made
    made.listener.close()


@pytest.fixture
def far(database: Database, deployer: str, root: Path, line: Line) -> Project:
    """A project whose production is reached by a line that can break."""
    with database.connect() as connection:
        connection.execute("CREATE TABLE public.users (id int)")
    by_line = make_conninfo(deployer, host="127.0.0.1", port=line.port)
    project = added(root, database, deployer=by_line)
    area.add_reviewer(project, "rita")
    return project


def approved(project: Project, sql: str) -> Proposal:
    proposal = area.propose(project, area.Change(sql), author="ann")
    return area.approve(project, proposal.id, hazards=proposal.opened().hazards, approver="rita")


ADDED = "SELECT count(*)::int FROM pg_attribute WHERE attrelid = 'public.users'::regclass AND attname = 'email'"


@pytest.mark.parametrize(
    ("word", "delivers", "is_done"),
    [
        (b"ALTER TABLE", False, False),
        (b"ALTER TABLE", True, False),
        (b"INSERT INTO seatrial.ledger", True, False),
        (b"COMMIT", False, False),
        (b"COMMIT", True, True),
    ],
    ids=["before the statement", "at the statement", "at the ledger", "before COMMIT", "COMMIT without an answer"],
)
def test_an_apply_that_lost_its_connection_is_resumed(
    far: Project, database: Database, line: Line, word: bytes, delivers: bool, is_done: bool
) -> None:
    proposal = approved(far, "ALTER TABLE public.users ADD COLUMN email text")
    line.breaks_at(word, delivers=delivers)
    with pytest.raises(ApplyError, match="not known until it is looked at"):
        area.apply(far, proposal.id)
    assert line.word == b"", "the line has not broken"
    assert rows(database.dsn("superuser"), ADDED) == [(int(is_done),)]
    with pytest.raises(RefusedError, match="is applying, not approved"):
        area.apply(far, proposal.id)
    assert area.resume(far, proposal.id).proposal.state == "applied"
    assert rows(database.dsn("superuser"), ADDED) == [(1,)]
    assert rows(database.dsn("superuser"), "SELECT step, state FROM seatrial.ledger") == [(0, "done")]
    with pytest.raises(RefusedError):
        area.resume(far, proposal.id)


@pytest.mark.parametrize("delivers", [False, True])
def test_a_step_outside_of_transactions_that_lost_its_connection(
    far: Project, database: Database, line: Line, delivers: bool
) -> None:
    proposal = approved(far, "CREATE INDEX CONCURRENTLY by_id ON public.users (id)")
    line.breaks_at(b"CREATE INDEX", delivers=delivers)
    with pytest.raises(ApplyError):
        area.apply(far, proposal.id)
    assert area.resume(far, proposal.id).proposal.state == "applied"
    valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'public.by_id'::regclass"
    assert rows(database.dsn("superuser"), valid) == [(True,)]
