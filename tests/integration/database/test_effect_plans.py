"""Plans of given queries before and after a change."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("psycopg")

from seatrial import database as area
from seatrial.database.effect import Query, queries_of_statistics, read_queries
from seatrial.database.effect.plans import explain
from seatrial.database.effect.report import PlanSummary
from seatrial.database.postgres import Cluster, installations
from seatrial.database.postgres.cluster import create
from seatrial.database.postgres.connection import PINNED
from seatrial.errors import SourceError
from tests.integration.database.effect_measuring import ORDERS, effect_on, prepare

BY_AMOUNT = Query("by amount", "SELECT id FROM orders WHERE amount = 77")
MANY = f"INSERT INTO orders (user_id, amount) SELECT g % 400, g + {ORDERS} FROM generate_series(1, 20000) g"


def test_an_index_that_is_dropped_changes_a_plan(database: Any) -> None:
    prepare(database, MANY, "CREATE INDEX by_amount ON orders (amount)", "ANALYZE orders")
    report = effect_on(database, "DROP INDEX by_amount", queries=[BY_AMOUNT])
    (plan,) = report.plans
    assert plan.before is not None and plan.after is not None
    assert plan.before.indexes == ("by_amount",)
    assert plan.after.scanned == ("orders",)
    assert plan.after.cost > 10 * plan.before.cost
    assert plan.after.blocks > 10 * plan.before.blocks > 0
    assert "It now reads orders from beginning to end." in plan.findings
    assert "It no longer uses the index by_amount." in plan.findings
    assert "CHANGES_PLAN" in report.hazard_names


def test_a_new_index_is_used(database: Any) -> None:
    prepare(database, MANY, "ANALYZE orders")
    (plan,) = effect_on(database, "CREATE INDEX by_amount ON orders (amount)", queries=[BY_AMOUNT]).plans
    assert plan.findings[0] == "It now uses the index by_amount."


def test_a_plan_that_stays_is_no_hazard(database: Any) -> None:
    prepare(database)
    report = effect_on(database, "CREATE TABLE t (id int PRIMARY KEY)", queries=[BY_AMOUNT])
    assert report.plans[0].before == report.plans[0].after
    assert report.plans[0].findings == ()
    assert report.hazard_names == ()


def test_a_query_that_breaks(database: Any) -> None:
    prepare(database)
    report = effect_on(database, "ALTER TABLE orders RENAME COLUMN amount TO cents", queries=[BY_AMOUNT])
    assert report.plans[0].breaks
    assert report.plans[0].after is None
    assert report.hazard_names == ("BREAKS_QUERY",)


def test_queries_with_parameters_as_statistics_have_them(database: Any) -> None:
    prepare(database, MANY, "CREATE INDEX by_amount ON orders (amount)", "ANALYZE orders")
    query = Query("from statistics", "SELECT id FROM orders WHERE amount = $1 AND user_id > $2")
    (plan,) = effect_on(database, "DROP INDEX by_amount", queries=[query]).plans
    assert plan.before is not None and plan.after is not None
    assert plan.before.blocks == -1
    assert plan.before.indexes == ("by_amount",)
    assert plan.after.indexes == ()


def test_a_query_that_writes_is_planned_and_changes_nothing(database: Any) -> None:
    prepare(database)
    query = Query("a write", "DELETE FROM orders WHERE id = 1")
    (plan,) = effect_on(database, "SELECT 1", queries=[query]).plans
    assert plan.before is not None and plan.before.blocks == -1
    with database.connect() as connection:
        assert connection.execute("SELECT count(*) FROM orders").fetchone() == (ORDERS,)


def test_a_query_cannot_bring_another_statement(database: Any) -> None:
    prepare(database)
    query = Query("two", "SELECT 1; DROP TABLE orders")
    (plan,) = effect_on(database, "SELECT 1", queries=[query]).plans
    assert plan.before is None
    assert "multiple commands" in plan.problem


def test_a_query_that_was_broken_before_is_no_hazard(database: Any) -> None:
    prepare(database)
    report = effect_on(database, "SELECT 1", queries=[Query("old", "SELECT gone FROM orders")])
    assert 'column "gone" does not exist' in report.plans[0].problem
    assert not report.plans[0].breaks
    assert report.hazard_names == ()


def test_queries_of_a_file_are_named_by_their_lines() -> None:
    queries = read_queries("-- first\nSELECT 1;\n\nSELECT 2;", "queries.sql")
    assert [query.name for query in queries] == ["queries.sql:2", "queries.sql:4"]


@pytest.fixture
def counting(database_folder: Path) -> Iterator[Any]:
    """A server that keeps statistics of queries, where one with that extension is installed."""
    for installation in installations():
        if (installation.programs / "../lib/pg_stat_statements.so").resolve().exists():
            break
    else:
        pytest.skip("needs a server with the extension pg_stat_statements")
    cluster = create(database_folder / f"counting-{secrets.token_hex(4)}", installation)
    settings = {"shared_preload_libraries": "pg_stat_statements", "fsync": "off", "compute_query_id": "on"}
    cluster = Cluster(cluster.folder, cluster.installation, cluster.password, settings)
    cluster.start()
    yield cluster
    cluster.stop(immediate=True)


def test_queries_that_took_most_time_come_from_statistics(counting: Any) -> None:
    with counting.connect(pinned=PINNED) as connection:
        connection.execute("CREATE SCHEMA aside")
        connection.execute("CREATE EXTENSION pg_stat_statements SCHEMA aside")
        connection.execute("CREATE TABLE orders (id int, amount int)")
        connection.execute("SELECT pg_sleep(0.2) FROM (SELECT 1) one WHERE 1 = 1")
        for amount in range(3):
            connection.execute(f"SELECT id FROM orders WHERE amount = {amount}")
        queries = queries_of_statistics(connection)
        assert "pg_sleep" in queries[0].text
        (found,) = [query for query in queries if "FROM orders" in query.text]
        assert found.text == "SELECT id FROM orders WHERE amount = $1"
        assert found.name.endswith(", 3 calls")
        assert not any(query.text.startswith("CREATE") for query in queries)
        assert len(queries_of_statistics(connection, most=1)) == 1
        plans = explain(connection, queries)
        assert isinstance(plans[found.name], PlanSummary)


def test_a_change_is_compared_by_what_production_runs(
    counting: Any, database_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with counting.connect(pinned=PINNED) as connection:
        connection.execute("CREATE ROLE live_owner")
        connection.execute("CREATE DATABASE live OWNER live_owner")
    with counting.connect("live", pinned=PINNED) as connection:
        connection.execute("CREATE EXTENSION pg_stat_statements")
        connection.execute("ALTER SCHEMA public OWNER TO live_owner")
        connection.execute("SET ROLE live_owner")
        connection.execute("CREATE TABLE orders (id int, amount int)")
        connection.execute("INSERT INTO orders SELECT g, g FROM generate_series(1, 20000) g")
        connection.execute("CREATE INDEX by_amount ON orders (amount)")
        connection.execute("SELECT id FROM orders WHERE amount = 1")
    monkeypatch.setenv("SEATRIAL_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("SEATRIAL_DB_FOLDER", str(database_folder / counting.folder.name.replace("counting", "project")))
    monkeypatch.setenv("SEATRIAL_DB_POSTGRES", str(counting.installation.major))
    project, _ = area.add_source(tmp_path, "live", counting.dsn("live"))
    try:
        (tmp_path / "drop.sql").write_text("DROP INDEX by_amount")
        change = area.change_from(project, [tmp_path / "drop.sql"], queries=Path("statistics"))
        _, report = area.measure_change(project, change)
        (plan,) = [plan for plan in report.plans if "WHERE amount" in plan.text]
        assert "It no longer uses the index by_amount." in plan.findings
    finally:
        area.down(project)
        project.records.close()


def test_a_database_without_statistics_says_so(database: Any) -> None:
    with database.connect() as connection, pytest.raises(SourceError, match="no extension pg_stat_statements"):
        queries_of_statistics(connection)
