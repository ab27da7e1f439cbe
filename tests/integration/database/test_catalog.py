"""The schema as data: every change of it is seen once, on every version of the server."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from seatrial.database.catalog import Change, Schema, diff, read
from seatrial.database.postgres import Cluster
from seatrial.database.postgres.connection import PINNED
from tests.integration.database.catalog_changes import changes

READER = "catalog_reader"
CHANGES = changes()


@pytest.fixture(scope="module")
def scratch(server: Cluster) -> Iterator[psycopg.Connection[Any]]:
    """A superuser's connection to a database that stays empty; every test rolls back what it did."""
    name = "catalog_changes"
    with server.connect() as connection:
        connection.execute(f"CREATE DATABASE {name}")
        connection.execute(f"CREATE ROLE {READER}")
    with server.connect(name, pinned=PINNED) as connection:
        connection.execute("SET plan_cache_mode = force_generic_plan")
        yield connection
    with server.connect() as connection:
        connection.execute(f"DROP DATABASE {name} (FORCE)")
        connection.execute(f"DROP ROLE {READER}")


@pytest.fixture(scope="module")
def beginnings(server: Cluster) -> dict[str, Schema]:
    """Schemas before the change, read once for all cases that begin alike."""
    return {}


def read_as_nobody(connection: psycopg.Connection[Any]) -> Schema:
    """Read with the rights of a role that has none."""
    connection.execute(f"SET LOCAL ROLE {READER}")
    schema = read_prepared(connection)
    connection.execute("RESET ROLE")
    return schema


def read_prepared(connection: psycopg.Connection[Any]) -> Schema:
    """Read with statements that stay prepared: planning them anew is half of the time of a small schema."""
    connection.prepare_threshold = 0
    try:
        return read(connection)
    finally:
        connection.prepare_threshold = None


def describe(change: Change) -> str:
    text = f"{change.action} {change.kind} {change.identity}"
    if change.action in ("changed", "renamed"):
        text += f" ({' '.join(sorted(change.facets))})"
    counts = Counter(entry.kind for entry in change.walk())
    counts[change.kind] -= 1
    children = ", ".join(f"{number} {kind}" for kind, number in sorted(counts.items()) if number)
    return text + (f" with {children}" if children else "")


def reverse(text: str) -> str:
    swapped = {"added": "removed", "removed": "added"}
    first, _, rest = text.partition(" ")
    return f"{swapped.get(first, first)} {rest}"


@pytest.mark.parametrize(("since", "before", "done", "expected"), CHANGES, ids=[case[2][:70] for case in CHANGES])
def test_every_change_is_seen_once(
    scratch: psycopg.Connection[Any],
    beginnings: dict[str, Schema],
    since: int,
    before: str,
    done: str,
    expected: list[str],
) -> None:
    if scratch.info.server_version // 10000 < since:
        pytest.skip(f"needs Postgres {since}")
    with scratch.transaction(force_rollback=True):
        scratch.execute(before)
        if before not in beginnings:
            beginnings[before] = read_as_nobody(scratch)
        first = beginnings[before]
        scratch.execute(done.format(database=scratch.info.dbname))
        second = read_as_nobody(scratch)
    found = diff(first, second)
    assert sorted(map(describe, found)) == sorted(expected)
    assert sorted(map(describe, diff(second, first))) == sorted(map(reverse, expected))
    assert (first.fingerprint == second.fingerprint) is (not found)
    assert Schema.from_dict(second.as_dict()).fingerprint == second.fingerprint
    assert all(change.sentence.endswith(".") and change.sentence.isprintable() for change in found)
