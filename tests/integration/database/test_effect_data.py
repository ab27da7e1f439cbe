"""Data that a change loses or alters, and changes that fail."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("psycopg")

from seatrial.database.effect import Timeouts, measure
from seatrial.database.effect.report import Failure, Loss
from seatrial.database.statements import split
from seatrial.errors import PostgresError, ProposalError
from tests.integration.database.effect_measuring import ORDERS, USERS, effect_on, only, prepare


def losses(database: Any, sql: str) -> set[tuple[str, str, int | None, bool]]:
    report = effect_on(database, sql)
    assert report.outcome == "ok", report.failure
    return {(x.what, x.object, x.count, x.is_exact) for effect in report.statements for x in effect.losses}


@pytest.mark.parametrize(
    ("sql", "lost"),
    [
        (
            "TRUNCATE orders, old_stuff",
            {("truncated rows", "public.orders", ORDERS, True), ("truncated rows", "public.old_stuff", 3, True)},
        ),
        ("DROP TABLE orders", {("rows", "public.orders", ORDERS, True)}),
        ("ALTER TABLE users DROP COLUMN email", {("values", "public.users.email", USERS - 1, True)}),
        (
            "ALTER TABLE users ALTER COLUMN email TYPE varchar(36) USING email::varchar(36)",
            {("changed values", "public.users.email", 0, False)},
        ),
        ("ALTER TABLE users ALTER COLUMN id TYPE numeric(8,2)", {("changed values", "public.users.id", USERS, True)}),
        ("ALTER TABLE users ALTER COLUMN id TYPE bigint", set()),
        (
            "ALTER TABLE users ALTER COLUMN id TYPE bigint USING id + 1",
            {("changed values", "public.users.id", None, False)},
        ),
        ("ALTER TABLE orders ALTER COLUMN amount TYPE smallint", set()),
        ("CLUSTER orders USING orders_pkey", set()),
        ("DROP VIEW v_old", set()),
    ],
)
def test_what_is_lost(database: Any, sql: str, lost: set[tuple[str, str, int | None, bool]]) -> None:
    prepare(database, "UPDATE users SET email = NULL WHERE id = 1")
    if "varchar(36)" in sql:
        # Addresses are 36 to 42 characters long: those with three digits lose some.
        expected = losses(database, sql)
        ((what, name, count, is_exact),) = expected
        assert (what, name, is_exact) == ("changed values", "public.users.email", False)
        assert count is not None and 0 < count < USERS
        return
    assert losses(database, sql) == lost


def test_rows_changed_by_an_update_of_everything(database: Any) -> None:
    prepare(database)
    report = effect_on(database, "UPDATE orders SET amount = 0")
    (rows,) = only(report).rows
    assert (rows.table, rows.inserted, rows.updated, rows.deleted) == ("public.orders", 0, ORDERS, 0)
    assert "every_row" in {finding.rule for finding in report.findings}
    assert "CHANGES_ROWS" in report.hazard_names


def test_rows_of_triggers_and_cascades_are_counted(database: Any) -> None:
    prepare(database, "ALTER TABLE orders ADD FOREIGN KEY (user_id) REFERENCES users ON DELETE CASCADE")
    effect = only(effect_on(database, "DELETE FROM users WHERE id <= 2"))
    deleted = {rows.table: rows.deleted for rows in effect.rows}
    assert deleted["public.users"] == 2
    assert deleted["public.orders"] > 2


def test_dropped_large_objects_are_counted(database: Any) -> None:
    prepare(database, "SELECT lo_create(0), lo_create(0)")
    effect = only(effect_on(database, "SELECT lo_unlink(oid) FROM pg_largeobject_metadata"))
    assert [(rows.table, rows.deleted) for rows in effect.rows] == [("large objects", 2)]


def test_partitions_dropped_with_their_table(database: Any) -> None:
    prepare(
        database,
        "CREATE TABLE days (d int) PARTITION BY RANGE (d)",
        "CREATE TABLE days_1 PARTITION OF days FOR VALUES FROM (0) TO (10)",
        "CREATE TABLE days_2 PARTITION OF days FOR VALUES FROM (10) TO (20)",
        "INSERT INTO days SELECT generate_series(0, 14)",
    )
    assert losses(database, "DROP TABLE days") == {
        ("rows", "public.days_1", 10, True),
        ("rows", "public.days_2", 5, True),
    }


def test_a_table_too_large_to_count_is_estimated(database: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(database)
    monkeypatch.setattr("seatrial.database.effect.losses.LARGEST_COUNTED", 0)
    report = effect_on(database, "DROP TABLE orders; ALTER TABLE users DROP COLUMN name")
    assert [effect.losses for effect in report.statements] == [
        (Loss("rows", "public.orders", ORDERS, False),),
        (Loss("values", "public.users.name", None, False),),
    ]
    assert any("estimate" in note for note in report.notes)
    assert {"DROPS_DATA", "CANNOT_ROLL_BACK"} <= set(report.hazard_names)


def test_a_failing_statement_is_reported_with_the_servers_words(database: Any) -> None:
    prepare(database)
    report = effect_on(database, "CREATE TABLE a (id int);\n\nALTER TABLE users\n  ADD COLUMN x nosuchtype;\nSELECT 1")
    assert report.outcome == "failed"
    assert report.failure == Failure(2, 'type "nosuchtype" does not exist', "42704", "", 4)
    assert [effect.number for effect in report.statements] == [1, 2]
    assert report.base_fingerprint == report.result_fingerprint
    assert any("stops at statement 2" in note for note in report.notes)


def test_the_servers_hint_is_kept(database: Any) -> None:
    prepare(database)
    report = effect_on(database, "SELECT emai FROM users")
    assert report.failure is not None
    assert "users.email" in report.failure.hint


def test_a_check_that_is_deferred_to_the_commit_fails(database: Any) -> None:
    prepare(
        database,
        "ALTER TABLE orders ADD CONSTRAINT later FOREIGN KEY (user_id) REFERENCES users DEFERRABLE INITIALLY DEFERRED",
    )
    report = effect_on(database, "INSERT INTO orders (user_id) VALUES (-1); SELECT 1")
    assert report.failure is not None
    assert (report.failure.statement, report.failure.sqlstate, report.failure.at_commit) == (2, "23503", True)


def test_what_a_failed_index_build_leaves(database: Any) -> None:
    prepare(database, "UPDATE orders SET amount = 1")
    report = effect_on(
        database, "CREATE TABLE kept (id int PRIMARY KEY); CREATE UNIQUE INDEX CONCURRENTLY u ON orders (amount)"
    )
    assert report.outcome == "failed"
    assert report.invalid_indexes == ("public.u",)
    assert {"LEAVES_INVALID_INDEX", "NOT_TRANSACTIONAL"} <= set(report.hazard_names)
    assert "public.kept" in {change.identity for change in report.changes}


def test_an_invalid_index_hidden_by_if_not_exists(database: Any) -> None:
    prepare(database, "UPDATE orders SET amount = 1")
    with database.connect() as connection, pytest.raises(Exception, match="could not create unique index"):
        connection.execute("CREATE UNIQUE INDEX CONCURRENTLY u ON orders (amount)")
    report = effect_on(database, "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS u ON orders (amount)")
    assert report.outcome == "ok"
    assert report.invalid_indexes == ("public.u",)
    assert "LEAVES_INVALID_INDEX" in report.hazard_names
    assert "exists_already" in {finding.rule for finding in report.findings}


def test_constraints_that_are_not_checked_yet(database: Any) -> None:
    prepare(database)
    report = effect_on(database, "ALTER TABLE users ADD CONSTRAINT named CHECK (name <> '') NOT VALID")
    assert report.unchecked_constraints == ("named on public.users",)


def test_a_lock_that_somebody_holds(database: Any) -> None:
    prepare(database)
    with database.connect(autocommit=False) as other:
        other.execute("LOCK TABLE users IN ACCESS SHARE MODE")
        report = effect_on(
            database, "ALTER TABLE users ADD COLUMN z int", timeouts=Timeouts(lock_ms=50, statement_ms=60_000)
        )
        other.rollback()
    assert report.failure is not None
    assert report.failure.sqlstate == "55P03"


def test_a_lock_timeout_must_be_below_that_of_the_statement() -> None:
    with pytest.raises(ProposalError, match="must be above 0 and below"):
        Timeouts(lock_ms=1_000, statement_ms=1_000)


def test_a_connection_that_breaks(database: Any) -> None:
    with pytest.raises(PostgresError, match=r"broke|terminat"):
        measure(database.connect, split("SELECT pg_catalog.pg_terminate_backend(pg_catalog.pg_backend_pid())"))


def test_our_own_schema_must_not_be_touched(database: Any) -> None:
    prepare(database, "CREATE SCHEMA seatrial", "CREATE TABLE seatrial.applied (id int)")
    for sql in (
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"
        "CREATE TRIGGER t BEFORE INSERT ON seatrial.applied FOR EACH ROW EXECUTE FUNCTION f()",
        "INSERT INTO seatrial.applied VALUES (1)",
        "DROP TABLE seatrial.applied",
        "DROP SCHEMA seatrial",
    ):
        assert "TOUCHES_SEATRIAL" in effect_on(database, sql).hazard_names, sql


@pytest.mark.parametrize(
    ("sql", "grants"),
    [
        ("GRANT SELECT ON users TO PUBLIC", True),
        ("CREATE FUNCTION f() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'", True),
        ("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'", False),
        ("CREATE TABLE open (id int PRIMARY KEY); GRANT SELECT ON open TO PUBLIC", True),
        ("ALTER TABLE locked DISABLE ROW LEVEL SECURITY", True),
        ("DROP POLICY mine ON locked", True),
        ("CREATE POLICY all_of_it ON locked USING (true)", True),
        ("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC", True),
        ("REVOKE SELECT ON readable FROM PUBLIC", False),
        ("ALTER TABLE users ADD COLUMN z int", False),
    ],
)
def test_changes_of_rights(database: Any, sql: str, grants: bool) -> None:
    prepare(
        database,
        "CREATE TABLE readable (id int)",
        "GRANT SELECT ON readable TO PUBLIC",
        "CREATE TABLE locked (id int)",
        "ALTER TABLE locked ENABLE ROW LEVEL SECURITY",
        "CREATE POLICY mine ON locked USING (id = 1)",
    )
    report = effect_on(database, sql)
    assert report.outcome == "ok", report.failure
    assert ("GRANTS_RIGHTS" in report.hazard_names) is grants


def test_text_that_is_not_what_it_looks_like(database: Any) -> None:
    prepare(database)
    assert "SUSPICIOUS_TEXT" in effect_on(database, "SELECT 1 /* \u202e harmless */").hazard_names
