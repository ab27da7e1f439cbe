"""A server that is started, asked, stopped and started again."""

from __future__ import annotations

from typing import Any

import pytest

from seatrial.database.postgres import Cluster, choose
from seatrial.errors import PostgresError


def test_a_database_answers(database: Any) -> None:
    with database.connect() as connection:
        connection.execute("CREATE TABLE t (a int)")
        assert connection.execute("SELECT current_user, current_setting('TimeZone')").fetchone() == (
            database.owner,
            "UTC",
        )


def test_a_wrong_password_is_one_sentence(server: Cluster) -> None:
    with pytest.raises(PostgresError, match="password authentication failed"):
        Cluster(server.folder, server.installation, "wrong").connect()


def test_starting_twice_is_harmless(server: Cluster) -> None:
    assert server.start() is False


def test_an_unknown_version_is_refused() -> None:
    with pytest.raises(PostgresError, match="no Postgres 9"):
        choose(9)
