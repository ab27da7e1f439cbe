"""Each statement of the reference's table of measured effects, on the oldest and the newest server."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

pytest.importorskip("psycopg")

from tests.integration.database.effect_measuring import ORDERS, USERS, effect_on, only, prepare

BOTH_ORDERS = {"public.orders", "public.orders_pkey"}
BOTH_USERS = {"public.users", "public.users_pkey"}
EXCLUSIVE = {"public.users": "AccessExclusiveLock"}
REFERENCE = {"public.users": "ShareRowExclusiveLock", "public.orders": "ShareRowExclusiveLock"}


@dataclass(frozen=True)
class Row:
    """One row of the table: what is rewritten, truncated, made, dropped, and which locks and hazards there are."""

    sql: str
    locks: dict[str, str]
    hazards: set[str] = field(default_factory=set)
    rewritten: set[str] = field(default_factory=set)
    truncated: set[str] = field(default_factory=set)
    created: set[str] = field(default_factory=set)
    dropped: set[str] = field(default_factory=set)
    rows: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    losses: dict[tuple[str, str], int | None] = field(default_factory=dict)
    scans: set[str] = field(default_factory=set)
    built: set[str] = field(default_factory=set)
    writes_log: bool = False


REWRITES = {"REWRITES_TABLE", "BLOCKS_READS"}
ROWS = {
    "add column with a constant": Row(
        "ALTER TABLE users ADD COLUMN status text NOT NULL DEFAULT 'x'", EXCLUSIVE, created={"public.users.status"}
    ),
    "add column with a volatile default": Row(
        "ALTER TABLE users ADD COLUMN r float DEFAULT random()",
        EXCLUSIVE,
        REWRITES,
        rewritten=BOTH_USERS,
        created={"public.users.r"},
        writes_log=True,
    ),
    "int to bigint": Row(
        "ALTER TABLE users ALTER COLUMN id TYPE bigint", EXCLUSIVE, REWRITES, rewritten=BOTH_USERS, writes_log=True
    ),
    "wider text": Row("ALTER TABLE users ALTER COLUMN email TYPE varchar(100)", EXCLUSIVE),
    "narrower text": Row(
        "ALTER TABLE users ALTER COLUMN email TYPE varchar(20) USING email::varchar(20)",
        EXCLUSIVE,
        REWRITES | {"DROPS_DATA", "CANNOT_ROLL_BACK"},
        rewritten=BOTH_USERS,
        losses={("changed values", "public.users.email"): USERS},
        writes_log=True,
    ),
    "zone taken off in UTC": Row("ALTER TABLE users ALTER COLUMN created TYPE timestamp", EXCLUSIVE),
    "index": Row(
        "CREATE INDEX iu ON users(email)",
        {"public.users": "ShareLock"},
        {"BUILDS_INDEX", "BLOCKS_WRITES"},
        created={"public.iu"},
        built={"public.iu"},
        scans={"public.users"},
        writes_log=True,
    ),
    "foreign key": Row(
        "ALTER TABLE orders ADD CONSTRAINT fk FOREIGN KEY (user_id) REFERENCES users",
        REFERENCE,
        {"BLOCKS_WRITES", "SCANS_TABLE_UNDER_LOCK"},
        created={"fk on public.orders"},
        scans={"public.users", "public.orders"},
    ),
    "foreign key not checked": Row(
        "ALTER TABLE orders ADD CONSTRAINT fk2 FOREIGN KEY (user_id) REFERENCES users NOT VALID",
        REFERENCE,
        created={"fk2 on public.orders"},
    ),
    "set not null": Row(
        "ALTER TABLE users ALTER COLUMN name SET NOT NULL",
        EXCLUSIVE,
        {"BLOCKS_READS", "SCANS_TABLE_UNDER_LOCK"},
        scans={"public.users"},
    ),
    "rename column": Row("ALTER TABLE users RENAME COLUMN name TO full_name", EXCLUSIVE),
    "drop table cascade": Row(
        "DROP TABLE old_stuff CASCADE",
        {"public.old_stuff": "AccessExclusiveLock", "public.v_old": "AccessExclusiveLock"},
        {"DROPS_OBJECT", "DROPS_DATA", "CANNOT_ROLL_BACK"},
        dropped={"public.old_stuff", "public.old_stuff_pkey", "public.v_old"},
        losses={("rows", "public.old_stuff"): 3},
    ),
    "drop hidden in a block": Row(
        "DO $$ BEGIN EXECUTE 'dr' || 'op table orders'; END $$",
        {"public.orders": "AccessExclusiveLock"},
        {"DROPS_OBJECT", "DROPS_DATA", "CANNOT_ROLL_BACK"},
        dropped={"public.orders", "public.orders_pkey", "public.orders_id_seq"},
        losses={("rows", "public.orders"): ORDERS},
    ),
    "delete": Row(
        "DELETE FROM orders WHERE id % 2 = 0",
        {"public.orders": "RowExclusiveLock"},
        {"CHANGES_ROWS", "DROPS_DATA", "CANNOT_ROLL_BACK"},
        rows={"public.orders": (0, 0, ORDERS // 2)},
        scans={"public.orders"},
        writes_log=True,
    ),
    "truncate": Row(
        "TRUNCATE orders",
        {"public.orders": "AccessExclusiveLock"},
        {"DROPS_DATA", "CANNOT_ROLL_BACK"},
        truncated={"public.orders"},
        losses={("truncated rows", "public.orders"): ORDERS},
    ),
    "drop column": Row(
        "ALTER TABLE users DROP COLUMN name",
        EXCLUSIVE,
        {"DROPS_OBJECT", "DROPS_DATA", "CANNOT_ROLL_BACK"},
        dropped={"public.users.name"},
        losses={("values", "public.users.name"): USERS},
    ),
    "generated column": Row(
        "ALTER TABLE users ADD COLUMN g int GENERATED ALWAYS AS (length(name)) STORED",
        EXCLUSIVE,
        REWRITES,
        rewritten=BOTH_USERS,
        created={"public.users.g"},
        writes_log=True,
    ),
    "select": Row("SELECT 1", {}),
    "index without blocking": Row(
        "CREATE INDEX CONCURRENTLY ic ON orders (user_id)",
        {"public.orders": "ShareUpdateExclusiveLock"},
        {"BUILDS_INDEX", "NOT_TRANSACTIONAL"},
        created={"public.ic"},
        built={"public.ic"},
        writes_log=True,
    ),
    "vacuum full": Row(
        "VACUUM FULL orders",
        {"public.orders": "AccessExclusiveLock"},
        {"REWRITES_TABLE", "BLOCKS_READS", "NOT_TRANSACTIONAL"},
        rewritten=BOTH_ORDERS,
        writes_log=True,
    ),
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_what_a_statement_does(database: Any, row: Row) -> None:
    prepare(database)
    report = effect_on(database, row.sql)
    effect = only(report)
    assert set(report.hazard_names) == row.hazards
    assert set(effect.rewritten) == row.rewritten
    assert set(effect.truncated) == row.truncated
    assert set(effect.indexes_built) == row.built
    assert {entry.name for entry in effect.created} == row.created
    assert {entry.name for entry in effect.dropped} == row.dropped
    assert {entry.table: (entry.inserted, entry.updated, entry.deleted) for entry in effect.rows} == row.rows
    assert {(loss.what, loss.object): loss.count for loss in effect.losses} == row.losses
    if effect.transactional:
        assert {scan.table for scan in effect.scans} == row.scans
    taken = {lock.relation: lock.mode for lock in effect.locks if not lock.is_new}
    assert row.locks.items() <= taken.items()
    assert effect.transactional == all(lock.is_measured for lock in effect.locks)
    assert all(lock.held_ms >= effect.duration_ms for lock in effect.locks)
    assert effect.duration_ms > 0
    assert (effect.wal_bytes > 10_000) == row.writes_log


def test_sizes_and_the_note_that_times_are_of_the_copy(database: Any) -> None:
    prepare(database)
    report = effect_on(database, "ALTER TABLE users ALTER COLUMN id TYPE bigint")
    (size,) = report.sizes
    assert (size.table, size.rows) == ("public.users", USERS)
    assert size.bytes > 40_000
    assert any("not production" in note for note in report.notes)


@pytest.mark.parametrize(
    "change",
    [
        "INSERT INTO fresh VALUES (8); DELETE FROM fresh WHERE id < 4",
        "DELETE FROM fresh WHERE id < 4; TRUNCATE fresh; INSERT INTO fresh VALUES (1)",
        "INSERT INTO fresh VALUES (8); DELETE FROM fresh WHERE id < 4; DROP TABLE fresh",
        "ALTER TABLE fresh ALTER COLUMN id TYPE bigint",
    ],
)
def test_rows_of_a_table_that_nobody_counted(database: Any, change: str) -> None:
    prepare(database, "CREATE TABLE fresh (id int)", "INSERT INTO fresh SELECT generate_series(1, 7)")
    report = effect_on(database, change)
    assert [(size.table, size.rows) for size in report.sizes] == [("public.fresh", 7)]


def test_what_is_not_there_is_shown_as_nothing(database: Any) -> None:
    prepare(database)
    (change,) = effect_on(database, "CREATE TABLE lines (id bigserial PRIMARY KEY, note text DEFAULT 'x')").changes
    assert change.action == "added"
    assert {facet.before for facet in change.facets} == {""}
    assert {facet.name for facet in change.facets} >= {"column id", "column note", "constraint lines_pkey"}


def test_locks_are_held_to_the_end_of_the_transaction(database: Any) -> None:
    prepare(database)
    report = effect_on(database, "ALTER TABLE users ADD COLUMN z int; UPDATE users SET z = 1; SELECT 1")
    first, second, third = report.statements
    (lock,) = [lock for lock in first.locks if lock.relation == "public.users"]
    assert lock.held_ms >= first.duration_ms + second.duration_ms + third.duration_ms
    assert {"BLOCKS_READS", "SCANS_TABLE_UNDER_LOCK", "CHANGES_ROWS"} <= set(report.hazard_names)
    blocks = next(hazard for hazard in report.hazards if hazard.name == "BLOCKS_READS")
    assert [place.statement for place in blocks.places] == [1]
    assert "statement 2" in blocks.places[0].why


@pytest.mark.parametrize(
    "sql", ["REINDEX INDEX by_email", 'ALTER TABLE users ALTER COLUMN email TYPE text COLLATE "C"']
)
def test_an_index_built_again_without_its_table(database: Any, sql: str) -> None:
    prepare(database, "CREATE INDEX by_email ON users (email)")
    report = effect_on(database, sql)
    effect = only(report)
    assert effect.indexes_built == ("public.by_email",)
    assert effect.rewritten == effect.dropped == effect.created == ()
    assert "BUILDS_INDEX" in report.hazard_names


def test_work_on_new_tables_is_no_hazard(database: Any) -> None:
    prepare(database)
    report = effect_on(
        database,
        """CREATE TABLE lines (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, note text);
           INSERT INTO lines (note) SELECT 'x' FROM generate_series(1, 2000);
           ALTER TABLE lines ALTER COLUMN note SET NOT NULL;
           CREATE INDEX ON lines (note);
           ALTER TABLE lines ADD COLUMN r float DEFAULT random();
           DROP TABLE lines""",
    )
    assert report.outcome == "ok"
    assert report.hazard_names == ()


def test_measuring_twice_gives_the_same_hazards(new_database: Any) -> None:
    change = "ALTER TABLE users ADD COLUMN r float DEFAULT random(); TRUNCATE orders; CREATE INDEX i ON users (name)"
    names = []
    for _ in range(2):
        database = new_database()
        prepare(database)
        names.append(effect_on(database, change).hazard_names)
    assert names[0] == names[1] != ()


def test_an_enum_value_is_used_in_the_transaction_after_its_own(database: Any) -> None:
    prepare(database, "CREATE TYPE mood AS ENUM ('a', 'b')", "CREATE TABLE feelings (m mood)")
    report = effect_on(database, "ALTER TYPE mood ADD VALUE 'c'; INSERT INTO feelings VALUES ('c')")
    assert report.outcome == "ok", report.failure
    assert [effect.group for effect in report.statements] == [1, 2]
    assert "CANNOT_ROLL_BACK" in report.hazard_names
