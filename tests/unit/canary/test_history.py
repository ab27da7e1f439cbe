"""The file of the history: private, refused when it is not ours, said when it is damaged."""

from __future__ import annotations

import os
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from seatrial.canary.history import VERSION, History
from seatrial.errors import StoreError


def test_it_is_private_and_in_the_home_of_the_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEATRIAL_HOME", str(tmp_path / "home"))
    with History.open() as history:
        assert history.path == tmp_path / "home" / "canary" / "history.db"
        with history.transaction() as connection:
            connection.execute("INSERT INTO prompted VALUES ('a', 1, 2, 3)")
        for path in history.path.parent.iterdir():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
        assert len(list(history.path.parent.iterdir())) > 1
    assert stat.S_IMODE(history.path.parent.stat().st_mode) == 0o700


def test_opening_again_keeps_what_is_there(tmp_path: Path) -> None:
    for _ in range(2):
        with History.open(tmp_path / "h.db") as history:
            assert history.sessions() == []
            with history.transaction() as connection:
                connection.execute("INSERT OR IGNORE INTO prompted VALUES ('a', 1, 2, 3)")
            assert history.lost()["prompted"] == 1


def test_a_transaction_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with History.open(tmp_path / "h.db") as history:
        with pytest.raises(KeyError), history.transaction() as connection:
            connection.execute("INSERT INTO prompted VALUES ('a', 1, 2, 3)")
            raise KeyError
        assert history.lost()["prompted"] == 0


def test_a_newer_one_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "h.db"
    History.open(file).close()
    with closing(sqlite3.connect(file)) as connection:
        connection.execute(f"PRAGMA user_version={VERSION + 1}")
    with pytest.raises(StoreError, match="written by a newer Seatrial"):
        History.open(file)


def test_a_database_of_something_else_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "h.db"
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("CREATE TABLE precious (a)")
    with pytest.raises(StoreError, match="a database of something else"):
        History.open(file)
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("precious",)]


@pytest.mark.parametrize("at", [0, 4096])
def test_a_damaged_one_is_said(tmp_path: Path, at: int) -> None:
    file = tmp_path / "h.db"
    with History.open(file) as history, history.transaction() as connection:
        connection.executemany("INSERT INTO prompted VALUES (?, 1, 2, 3)", [(f"s{n}",) for n in range(5000)])
    content = bytearray(file.read_bytes())
    content[at : at + len(content) - 4096] = os.urandom(len(content) - 4096)
    file.write_bytes(content)

    def use() -> None:
        with History.open(file) as found:
            found.health()
            found.sessions()

    with pytest.raises(StoreError, match="is damaged") as caught:
        use()
    assert caught.value.hint is not None
    assert str(file) in caught.value.message


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "h.db").mkdir()
    with pytest.raises(StoreError, match="cannot be used"):
        History.open(tmp_path / "h.db")
