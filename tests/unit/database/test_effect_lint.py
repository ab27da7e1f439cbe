"""Rules about what an idle copy does not show, each with what it must find and what it must leave alone."""

from __future__ import annotations

import pytest

from seatrial.database.effect import lint
from seatrial.database.effect.report import Named, StatementEffect
from seatrial.database.statements import split

NOTHING = lint.Around({}, frozenset())


def rules(sql: str, around: lint.Around = NOTHING, **measured: object) -> list[str]:
    """Return the names of the rules that have something to say about one statement."""
    (statement,) = split(sql)
    effect = StatementEffect(1, statement.text, statement.line, statement.kind, 1, True, **measured)  # type: ignore[arg-type]
    return [finding.rule for finding in lint.check([effect], around)]


FOUND = [
    ("rename", "ALTER TABLE users RENAME COLUMN name TO full_name"),
    ("rename", "ALTER TABLE users RENAME name TO full_name"),
    ("rename", 'ALTER TABLE public."Users" RENAME TO people'),
    ("json", "CREATE TABLE t (id bigint PRIMARY KEY, body json)"),
    ("json", "ALTER TABLE t ADD COLUMN body json"),
    ("char", "CREATE TABLE t (id bigint PRIMARY KEY, code char(3))"),
    ("char", "ALTER TABLE t ADD COLUMN code character (3) NOT NULL"),
    ("timestamp_without_zone", "ALTER TABLE t ADD COLUMN at timestamp"),
    ("timestamp_without_zone", "ALTER TABLE t ADD COLUMN at timestamp(3) DEFAULT now()"),
    ("timestamp_without_zone", "ALTER TABLE t ADD COLUMN at timestamp without time zone"),
    ("serial", "CREATE TABLE t (id bigserial PRIMARY KEY)"),
    ("small_key", "CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY)"),
    ("small_key", "CREATE TABLE t (id serial PRIMARY KEY, name text)"),
    ("hard_coded_id", "UPDATE t SET a = 1 WHERE id = 17"),
    ("hard_coded_id", "DELETE FROM t WHERE t.user_id IN (3, 4)"),
    ("hard_coded_id", "DELETE FROM t WHERE id = '0b0e4e3c-90f5-4b02-8a6c-1a2b3c4d5e6f'"),
    ("every_row", "UPDATE t SET a = 1"),
    ("every_row", "/* of all */ DELETE FROM t"),
    ("not_null_without_default", "ALTER TABLE t ADD COLUMN a int NOT NULL"),
    ("dynamic_sql", "DO $$ BEGIN EXECUTE 'drop ' || 'table t'; END $$"),
    ("cascade", "DROP TABLE t CASCADE"),
    ("cascade", "TRUNCATE t CASCADE"),
    ("temporary", "CREATE TEMP TABLE users (id bigint PRIMARY KEY)"),
    ("disables_guard", "ALTER TABLE t DISABLE TRIGGER ALL"),
    ("disables_guard", "ALTER TABLE t DISABLE ROW LEVEL SECURITY"),
]
LEFT_ALONE = [
    "ALTER TABLE users RENAME CONSTRAINT a TO b",
    "CREATE TABLE t (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, body jsonb, code varchar(3), at timestamptz)",
    "ALTER TABLE t ADD COLUMN at timestamp with time zone",
    "ALTER TABLE t ADD COLUMN at timestamp (3) with time zone",
    "ALTER TABLE t ADD COLUMN a int NOT NULL DEFAULT 1",
    "ALTER TABLE t ADD COLUMN a int",
    "UPDATE t SET a = 1 WHERE b > 2",
    "UPDATE t SET a = 1 WHERE paid = 2",
    "DELETE FROM t WHERE NOT EXISTS (SELECT FROM u WHERE u.id = t.user_id)",
    "INSERT INTO t (id, note) VALUES (1, 'DELETE FROM t')",
    "DO $$ BEGIN PERFORM 1; END $$",
    "DROP TABLE t",
    "ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES u ON DELETE CASCADE",
    "COMMENT ON TABLE t IS 'json, char(3) and timestamp; DISABLE TRIGGER'",
    "ALTER TABLE t ADD COLUMN note text DEFAULT 'json char(3) timestamp serial'",
    "SELECT 1",
]


@pytest.mark.parametrize(("rule", "sql"), FOUND)
def test_a_rule_finds(rule: str, sql: str) -> None:
    assert rule in rules(sql)


@pytest.mark.parametrize("sql", LEFT_ALONE)
def test_nothing_is_said_about(sql: str) -> None:
    assert rules(sql) == []


def test_every_rule_is_tried_here() -> None:
    measured = {"still_in_use", "foreign_key_without_index", "no_primary_key", "exists_already"}
    assert {rule.name for rule in lint.RULES} == {rule for rule, _ in FOUND} | measured


def test_a_foreign_key_without_an_index() -> None:
    sql = "ALTER TABLE orders ADD CONSTRAINT fk FOREIGN KEY (user_id) REFERENCES users"
    made = (Named("constraint", "fk on public.orders"),)
    assert rules(sql, lint.Around({"fk on public.orders": "user_id"}, frozenset()), created=made) == [
        "foreign_key_without_index"
    ]
    assert rules(sql, created=made) == []
    others = lint.Around({"old on public.orders": "user_id"}, frozenset())
    assert rules(sql, others, created=made) == []


def test_a_table_without_a_primary_key() -> None:
    assert rules("CREATE TABLE t (id bigint)", created=(Named("table", "public.t"),)) == ["no_primary_key"]
    assert rules("CREATE TABLE t AS SELECT 1 AS id", created=(Named("table", "public.t"),)) == ["no_primary_key"]
    assert rules("CREATE TABLE t (id bigint PRIMARY KEY)", created=(Named("table", "public.t"),)) == []


def test_what_may_still_be_in_use() -> None:
    for kind, name in (("column", "public.t.a"), ("table", "public.t"), ("view", "public.v")):
        assert "still_in_use" in rules("DROP TABLE t", dropped=(Named(kind, name),))
    assert "still_in_use" not in rules("DROP INDEX i", dropped=(Named("index", "public.i"),))


def test_what_was_skipped() -> None:
    skipped = ('NOTICE: relation "t" already exists, skipping',)
    sql = "CREATE TABLE IF NOT EXISTS t (id bigint PRIMARY KEY)"
    assert rules(sql, notices=skipped) == ["exists_already"]
    assert rules(sql) == []
    missing = ('NOTICE: table "t" does not exist, skipping',)
    assert rules("DROP TABLE IF EXISTS t", notices=missing) == ["exists_already"]
    around = lint.Around({}, frozenset({"public.i"}))
    assert rules("CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS i ON t (a)", around) == ["exists_already"]


def test_findings_say_where_and_what_to_do() -> None:
    (statement,) = split("\n\nALTER TABLE t ADD COLUMN body json")
    effect = StatementEffect(4, statement.text, statement.line, statement.kind, 1, True)
    (finding,) = lint.check([effect], NOTHING)
    assert (finding.statement, finding.line, finding.advice) == (4, 3, "Use jsonb.")
