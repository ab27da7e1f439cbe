"""Scripts back: run on the changed database, they give the first fingerprint; and what none can bring back is said."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("psycopg")

from seatrial.database import catalog
from tests.integration.database.effect_measuring import effect_on, prepare

BEFORE = (
    "ALTER TABLE users ADD COLUMN must int NOT NULL DEFAULT 1",
    "CREATE VIEW names AS SELECT id, name FROM users",
    "CREATE FUNCTION twice(n int) RETURNS int LANGUAGE sql AS 'SELECT n * 2'",
    "CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
    "CREATE TRIGGER stamped BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION stamp()",
    'CREATE CONSTRAINT TRIGGER "At 1" AFTER INSERT ON orders DEFERRABLE FOR EACH ROW EXECUTE FUNCTION stamp()',
    "CREATE RULE never AS ON DELETE TO old_stuff DO INSTEAD NOTHING",
    "CREATE INDEX by_email ON users (lower(email)) WHERE name IS NOT NULL",
    "ALTER TABLE users ADD CONSTRAINT named CHECK (name <> '')",
    "ALTER TABLE orders ADD CONSTRAINT of_user FOREIGN KEY (user_id) REFERENCES users",
    "ALTER TABLE users ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY mine ON users FOR SELECT USING (id > 0)",
    "CREATE TYPE mood AS ENUM ('a', 'it''s')",
    "CREATE SCHEMA aside",
    "COMMENT ON COLUMN users.name IS 'as they write it'",
    "GRANT SELECT ON orders TO PUBLIC",
    "GRANT SELECT ON names TO PUBLIC",
    "COMMENT ON VIEW names IS 'of people'",
    "CREATE MATERIALIZED VIEW totals AS SELECT user_id, sum(amount) AS total FROM orders GROUP BY 1",
    "CREATE STATISTICS both_columns ON user_id, amount FROM orders",
    'CREATE TABLE "Odd ""Name" ("order" int, "a.b" text)',
)
EXACT = {
    "table": "CREATE TABLE lines (id bigint PRIMARY KEY, order_id int REFERENCES orders, note text DEFAULT 'x')",
    "column": "ALTER TABLE users ADD COLUMN z int NOT NULL DEFAULT 3",
    "index": "CREATE INDEX ON users (name)",
    "index without blocking": "CREATE INDEX CONCURRENTLY c ON users (name)",
    "index dropped": "DROP INDEX by_email",
    "constraint": "ALTER TABLE users ADD CONSTRAINT short CHECK (length(name) < 100)",
    "constraint dropped": "ALTER TABLE users DROP CONSTRAINT named",
    "keys dropped": "ALTER TABLE users DROP CONSTRAINT users_pkey CASCADE",
    "constraint checked": "ALTER TABLE users ADD CONSTRAINT later CHECK (id > -5) NOT VALID",
    "view": "CREATE VIEW more AS SELECT 1 AS one",
    "view replaced": "CREATE OR REPLACE VIEW names AS SELECT id, upper(name) AS name FROM users",
    "view with another column": "CREATE OR REPLACE VIEW names AS SELECT id, name, 1 AS one FROM users",
    "view dropped": "DROP VIEW names",
    "materialized view dropped": "DROP MATERIALIZED VIEW totals",
    "function": "CREATE FUNCTION f(a int, b text) RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "function replaced": "CREATE OR REPLACE FUNCTION twice(n int) RETURNS int LANGUAGE sql AS 'SELECT n + n'",
    "function dropped": "DROP FUNCTION twice",
    "procedure": "CREATE PROCEDURE p() LANGUAGE sql AS 'SELECT 1'",
    "trigger": "CREATE TRIGGER second AFTER INSERT ON users FOR EACH ROW EXECUTE FUNCTION stamp()",
    "trigger dropped": "DROP TRIGGER stamped ON users",
    "constraint trigger dropped": 'DROP TRIGGER "At 1" ON orders',
    "rule dropped": "DROP RULE never ON old_stuff",
    "trigger disabled": "ALTER TABLE users DISABLE TRIGGER stamped",
    "policy": "CREATE POLICY other ON users USING (true)",
    "policy dropped": "DROP POLICY mine ON users",
    "row security off": "ALTER TABLE users DISABLE ROW LEVEL SECURITY",
    "default": "ALTER TABLE users ALTER COLUMN name SET DEFAULT 'nobody'",
    "default dropped": "ALTER TABLE users ALTER COLUMN created DROP DEFAULT",
    "not null": "ALTER TABLE users ALTER COLUMN name SET NOT NULL",
    "nullable": "ALTER TABLE users ALTER COLUMN must DROP NOT NULL",
    "type": "ALTER TABLE orders ALTER COLUMN id TYPE bigint",
    "column renamed": "ALTER TABLE users RENAME COLUMN name TO full_name",
    "table renamed": "ALTER TABLE orders RENAME TO purchases",
    "comment": "COMMENT ON COLUMN users.name IS 'it''s changed'",
    "comment on a table": "COMMENT ON TABLE users IS 'people'",
    "grant": "GRANT INSERT ON users TO PUBLIC",
    "grant changed": "GRANT INSERT ON orders TO PUBLIC",
    "revoked": "REVOKE SELECT ON orders FROM PUBLIC",
    "storage": "ALTER TABLE users SET (fillfactor = 70)",
    "schema": "CREATE SCHEMA more",
    "schema dropped": "DROP SCHEMA aside",
    "enum": "CREATE TYPE colour AS ENUM ('red')",
    "enum dropped": "DROP TYPE mood",
    "sequence": "CREATE SEQUENCE s",
    "statistics dropped": "DROP STATISTICS both_columns",
    "odd names": 'ALTER TABLE "Odd ""Name" ADD COLUMN "x""y" int; CREATE INDEX "i.1" ON "Odd ""Name" ("a.b")',
    "several": "CREATE TABLE t (id int PRIMARY KEY); ALTER TABLE orders ADD COLUMN t_id int REFERENCES t; "
    "CREATE VIEW joined AS SELECT o.id FROM orders o JOIN t ON t.id = o.t_id",
    "nothing": "SELECT 1",
}


@pytest.mark.parametrize("sql", EXACT.values(), ids=EXACT)
def test_the_script_back_restores_the_schema(database: Any, sql: str) -> None:
    prepare(database, *BEFORE)
    report = effect_on(database, sql)
    assert report.outcome == "ok", report.failure
    assert report.undo.is_exact, report.undo
    assert report.undo.reasons == ()
    with database.connect() as connection:
        assert catalog.read(connection).fingerprint == report.result_fingerprint
        if report.undo.sql:
            assert report.result_fingerprint != report.base_fingerprint
            connection.execute(report.undo.sql)
        assert catalog.read(connection).fingerprint == report.base_fingerprint


@pytest.mark.parametrize(
    ("sql", "reason", "has_script"),
    [
        ("ALTER TABLE users DROP COLUMN email", "Statement 1 destroys data of public.users.email", True),
        ("DROP TABLE old_stuff CASCADE", "Table public.old_stuff removed", False),
        ("SELECT 1; DELETE FROM orders", "Statement 2 changes rows of public.orders", False),
        ("INSERT INTO old_stuff VALUES (9)", "Statement 1 adds rows to public.old_stuff", False),
        ("TRUNCATE orders", "Statement 1 destroys data of public.orders", False),
        ("ALTER TYPE mood ADD VALUE 'c'", "Type public.mood changed", False),
    ],
)
def test_what_no_script_brings_back(database: Any, sql: str, reason: str, has_script: bool) -> None:
    prepare(database, *BEFORE)
    report = effect_on(database, sql)
    assert report.outcome == "ok", report.failure
    assert any(reason in told for told in report.undo.reasons), report.undo.reasons
    assert bool(report.undo.sql) is has_script
    assert "CANNOT_ROLL_BACK" in report.hazard_names


def test_a_column_dropped_from_the_middle_comes_back_at_the_end(database: Any) -> None:
    prepare(database)
    report = effect_on(database, "ALTER TABLE users DROP COLUMN name")
    assert not report.undo.is_exact
    assert "The script back was tried and leaves columns in another order: table public.users." in report.undo.reasons


def test_trying_the_script_leaves_no_trace(database: Any) -> None:
    prepare(database)
    report = effect_on(database, "CREATE TABLE t (id int)")
    assert report.undo.sql == "DROP TABLE public.t;"
    with database.connect() as connection:
        assert connection.execute("SELECT count(*) FROM t").fetchone() == (0,)
