"""Safer rewritings: they run, they end in the same schema where they say so, and they have not the hazard."""

from __future__ import annotations

import re
from typing import Any

import pytest

pytest.importorskip("psycopg")

from seatrial.database import catalog
from seatrial.database.effect.report import EffectReport
from tests.integration.database.effect_measuring import USERS, effect_on, prepare

MORE = (
    "CREATE INDEX by_email ON users (email)",
    "CREATE TABLE keyless (id int NOT NULL, code text)",
    "INSERT INTO keyless SELECT g, g::text FROM generate_series(1, 50) g",
    "CREATE TABLE days (d int) PARTITION BY RANGE (d)",
    "CREATE TABLE days_1 PARTITION OF days FOR VALUES FROM (0) TO (10)",
)
SAME = {
    "index": ("CREATE INDEX iu ON users (name)", {"BLOCKS_WRITES"}),
    "unique index": ("CREATE UNIQUE INDEX iu ON users (name) INCLUDE (email) WHERE id > 0", {"BLOCKS_WRITES"}),
    "index without a name": ("CREATE INDEX ON users USING btree (lower(name))", {"BLOCKS_WRITES"}),
    "foreign key": (
        "ALTER TABLE orders ADD CONSTRAINT fk FOREIGN KEY (user_id) REFERENCES users ON DELETE CASCADE",
        {"BLOCKS_WRITES"},
    ),
    "foreign key without a name": ("ALTER TABLE orders ADD FOREIGN KEY (user_id) REFERENCES users", {"BLOCKS_WRITES"}),
    "check": ("ALTER TABLE ONLY users ADD CONSTRAINT named CHECK (name <> '')", {"BLOCKS_READS"}),
    "set not null": ("ALTER TABLE users ALTER COLUMN name SET NOT NULL", {"BLOCKS_READS"}),
    "unique": ("ALTER TABLE users ADD UNIQUE (name)", {"BLOCKS_READS", "BLOCKS_WRITES"}),
    "named unique": ("ALTER TABLE users ADD CONSTRAINT u UNIQUE (name, email)", {"BLOCKS_READS", "BLOCKS_WRITES"}),
    "primary key": ("ALTER TABLE keyless ADD PRIMARY KEY (id)", {"BLOCKS_READS", "BLOCKS_WRITES"}),
    "volatile default": ("ALTER TABLE users ADD COLUMN r float DEFAULT random()", {"BLOCKS_READS", "REWRITES_TABLE"}),
    "volatile default, not null": (
        "ALTER TABLE users ADD COLUMN key uuid NOT NULL DEFAULT gen_random_uuid()",
        {"BLOCKS_READS", "REWRITES_TABLE"},
    ),
    "drop index": ("DROP INDEX by_email", set()),
    "reindex": ("REINDEX INDEX by_email", {"BLOCKS_READS", "BLOCKS_WRITES"}),
    "drop column": ("ALTER TABLE users DROP COLUMN email", set()),
}


def follow(database: Any, report: EffectReport) -> list[EffectReport]:
    """Apply the first offer step by step, each as a change of its own; return their reports."""
    rewriting = report.offers[0].rewriting
    reports = []
    for number, step in enumerate(rewriting.steps, 1):
        while True:
            done = effect_on(database, step)
            assert done.outcome == "ok", (step, done.failure)
            reports.append(done)
            if number not in rewriting.repeated or not any(effect.rows for effect in done.statements):
                break
    return reports


@pytest.mark.parametrize("name", SAME)
def test_a_rewriting_ends_in_the_same_schema_without_the_hazard(new_database: Any, name: str) -> None:
    sql, without = SAME[name]
    plain, careful = new_database(), new_database()
    for database in (plain, careful):
        prepare(database, *MORE)
    report = effect_on(plain, sql)
    assert report.outcome == "ok", report.failure
    rewriting = report.offers[0].rewriting
    assert rewriting.keeps_schema
    reports = follow(careful, report)
    with plain.connect() as one, careful.connect() as other:
        schemas = [catalog.read(one).without("database"), catalog.read(other).without("database")]
    ours, theirs = (
        str(schema.as_dict()["objects"]).replace(f"{database.name}_owner", "owner")
        for schema, database in zip(schemas, (plain, careful), strict=True)
    )
    assert without_keys(ours) == without_keys(theirs)
    for done in reports:
        assert not without & set(done.hazard_names), (done.statements[0].text, done.hazard_names)


def without_keys(text: str) -> str:
    return re.sub(r"'key': '[^']*', ", "", text)


def test_every_row_is_filled_in_batches(database: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seatrial.database.effect.safer.BATCH", USERS // 3)
    prepare(database)
    report = effect_on(database, "ALTER TABLE users ADD COLUMN r float DEFAULT random()")
    with database.connect() as connection:
        connection.execute("ALTER TABLE users DROP COLUMN r")
    reports = follow(database, report)
    changed = [sum(rows.updated for effect in done.statements for rows in effect.rows) for done in reports]
    assert changed == [0, USERS // 3, USERS // 3, USERS // 3, USERS % 3, 0]


@pytest.mark.parametrize(
    ("sql", "table", "column"),
    [
        ("ALTER TABLE users ALTER COLUMN id TYPE bigint", "users", "id"),
        ("ALTER TABLE orders ALTER amount TYPE numeric(12, 2) USING amount / 100.0", "orders", "amount"),
    ],
)
def test_expand_and_contract_of_a_type(new_database: Any, sql: str, table: str, column: str) -> None:
    plain, careful = new_database(), new_database()
    for database in (plain, careful):
        prepare(database)
    report = effect_on(plain, sql)
    assert not report.offers[0].rewriting.keeps_schema
    for done in follow(careful, report):
        assert not {"BLOCKS_READS", "REWRITES_TABLE"} & set(done.hazard_names)
    query = f"SELECT {column}::text, pg_typeof({column})::text FROM {table} ORDER BY {column}"
    with plain.connect() as one, careful.connect() as other:
        assert one.execute(query).fetchall() == other.execute(query).fetchall()


def test_detaching_a_partition_leaves_a_check_and_says_so(database: Any) -> None:
    prepare(database, *MORE)
    with database.connect() as connection:
        connection.execute("CREATE TABLE days_2 PARTITION OF days FOR VALUES FROM (10) TO (20)")
    report = effect_on(database, "ALTER TABLE days DETACH PARTITION days_1")
    assert not report.offers[0].rewriting.keeps_schema
    with database.connect() as connection:
        connection.execute("ALTER TABLE days ATTACH PARTITION days_1 FOR VALUES FROM (0) TO (10)")
    (done,) = follow(database, report)
    assert "CHECK" in report.offers[0].rewriting.note
    assert any(change.kind == "constraint" and change.action == "added" for change in done.changes)


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE INDEX CONCURRENTLY iu ON users (name)",
        "CREATE INDEX ON days (d)",
        "ALTER TABLE orders ADD CONSTRAINT fk FOREIGN KEY (user_id) REFERENCES users NOT VALID",
        "ALTER TABLE users ADD COLUMN z int DEFAULT 3",
        "ALTER TABLE users ALTER COLUMN email TYPE varchar(100)",
        "CREATE TABLE fresh (id int PRIMARY KEY, other int REFERENCES orders)",
        "ALTER TABLE users ADD COLUMN a int, ADD CONSTRAINT named CHECK (name <> '')",
    ],
)
def test_nothing_is_offered_where_nothing_is_wrong_or_known(database: Any, sql: str) -> None:
    prepare(database, *MORE)
    assert effect_on(database, sql).offers == ()
