"""Changes that try to hide what they do, or to disturb how it is seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("psycopg", reason="install with: pip install 'seatrial[database]'")

from seatrial.database.effect import EffectReport, Timeouts, measure, render_html, render_text
from seatrial.database.effect.report import Loss, Named, Rows
from seatrial.database.statements import split
from seatrial.errors import RefusedError
from tests.integration.database.effect_measuring import ORDERS, effect_on, only, prepare

ORDERS_DROPPED = {"DROPS_OBJECT", "DROPS_DATA", "CANNOT_ROLL_BACK"}
TIDY = (
    "CREATE FUNCTION tidy() RETURNS {} LANGUAGE plpgsql AS $$BEGIN EXECUTE 'drop ' || 'table orders'; RETURN {}; END$$"
)
TRIGGER = "CREATE {} ON old_stuff {} FOR EACH ROW EXECUTE FUNCTION tidy()"
HIDDEN = {
    "function": ([TIDY.format("int", "1")], "SELECT tidy()"),
    "function in a default": (
        [TIDY.format("int", "1"), "ALTER TABLE old_stuff ADD n int; ALTER TABLE old_stuff ALTER n SET DEFAULT tidy()"],
        "INSERT INTO old_stuff VALUES (99)",
    ),
    "procedure": (["CREATE PROCEDURE tidy() LANGUAGE sql AS 'DROP TABLE orders'"], "CALL tidy()"),
    "trigger": (
        [TIDY.format("trigger", "NEW"), TRIGGER.format("TRIGGER t BEFORE INSERT", "")],
        "INSERT INTO old_stuff VALUES (99)",
    ),
    "trigger at the commit": (
        [
            TIDY.format("trigger", "NEW"),
            TRIGGER.format("CONSTRAINT TRIGGER t AFTER INSERT", "DEFERRABLE INITIALLY DEFERRED"),
        ],
        "INSERT INTO old_stuff VALUES (99)",
    ),
    "trigger of another schema": (
        [
            "CREATE SCHEMA aside",
            TIDY.format("trigger", "NEW").replace("tidy", "aside.tidy"),
            TRIGGER.format("TRIGGER t BEFORE UPDATE", "").replace("tidy", "aside.tidy"),
        ],
        "UPDATE old_stuff SET id = id + 1 WHERE id = 3",
    ),
}


def hidden_phrases(report: EffectReport) -> str:
    return " ".join(
        place.why for hazard in report.hazards if hazard.name == "RUNS_HIDDEN_CODE" for place in hazard.places
    )


@pytest.mark.parametrize("where", HIDDEN)
def test_a_drop_that_does_not_stand_in_the_statement(database: Any, where: str) -> None:
    before, change = HIDDEN[where]
    prepare(database, *before)
    report = effect_on(database, change)
    effect = only(report)
    assert Named("table", "public.orders") in effect.dropped
    assert Loss("rows", "public.orders", ORDERS) in effect.losses
    assert set(report.hazard_names) >= ORDERS_DROPPED | {"RUNS_HIDDEN_CODE"}
    assert "tidy" in hidden_phrases(report)


def test_a_drop_in_the_script_of_an_extension(database: Any, database_folder: Path) -> None:
    if database.server.installation.major < 18:
        pytest.skip("an extension outside of the server's own folders needs Postgres 18")
    folder = database_folder / database.name / "extension"
    folder.mkdir(parents=True)
    (folder / "tidy.control").write_text("default_version = '1'\nsuperuser = false\nrelocatable = false\n")
    (folder / "tidy--1.sql").write_text("DROP TABLE public.orders;\n")
    with database.connect("superuser") as connection:
        connection.execute(f"ALTER DATABASE {database.name} SET extension_control_path = '$system:{folder.parent}'")
    prepare(database)
    report = effect_on(database, "CREATE EXTENSION tidy")
    assert Named("table", "public.orders") in only(report).dropped
    assert Loss("rows", "public.orders", ORDERS) in only(report).losses
    assert set(report.hazard_names) >= ORDERS_DROPPED


def test_a_table_emptied_and_filled_again_in_one_block(database: Any) -> None:
    prepare(database)
    block = """DO $$ BEGIN
        PERFORM pg_catalog.count(*) FROM orders;
        TRUNCATE orders;
        INSERT INTO orders (user_id, amount) SELECT 1, 1 FROM generate_series(1, 3);
    END $$"""
    report = effect_on(database, block)
    effect = only(report)
    assert effect.losses == (Loss("truncated rows", "public.orders", ORDERS),)
    assert effect.rows == (Rows("public.orders", 3, 0, 0),)
    assert effect.truncated == ("public.orders",)
    assert effect.rewritten == ()


def test_a_table_dropped_and_made_again_in_one_block(database: Any) -> None:
    prepare(database)
    report = effect_on(database, "DO $$ BEGIN DROP TABLE orders; CREATE TABLE orders (id int); END $$")
    assert only(report).losses == (Loss("rows", "public.orders", ORDERS),)
    assert "DROPS_DATA" in report.hazard_names


def test_an_empty_table_has_no_data_to_lose(database: Any) -> None:
    prepare(database, "CREATE TABLE nothing (id int, note text)")
    report = effect_on(
        database,
        "TRUNCATE nothing; ALTER TABLE nothing DROP COLUMN note; UPDATE nothing SET id = 1; DROP TABLE nothing",
    )
    assert [loss.count for effect in report.statements for loss in effect.losses] == [0, 0, 0]
    assert not {"DROPS_DATA", "CHANGES_ROWS", "BLOCKS_READS"} & set(report.hazard_names)


def test_rows_deleted_and_put_back_are_still_told(database: Any) -> None:
    prepare(database)
    block = """DO $$ BEGIN
        DELETE FROM orders WHERE id <= 10; INSERT INTO orders (user_id, amount) SELECT 1, 1 FROM generate_series(1, 10);
    END $$"""
    report = effect_on(database, block)
    assert only(report).rows == (Rows("public.orders", 10, 0, 10),)
    assert "DROPS_DATA" in report.hazard_names


@pytest.mark.parametrize(
    "sql",
    [
        "DO $$ BEGIN PERFORM set_config('search_path', 'pg_temp', false); END $$",
        "DO $$ BEGIN SET row_security = off; END $$",
        "DO $$ BEGIN SET LOCAL statement_timeout = 0; END $$",
        "DO $$ BEGIN SET CONSTRAINTS ALL DEFERRED; SET lock_timeout = 0; END $$",
        "DO $$ BEGIN SET TimeZone = 'Asia/Tokyo'; END $$",
    ],
)
def test_a_statement_that_changes_the_session_fails(database: Any, sql: str) -> None:
    prepare(database)
    report = effect_on(database, f"{sql}; CREATE TABLE after_it (id int)")
    assert report.outcome == "failed"
    assert report.failure is not None
    assert "changes the session" in report.failure.message
    assert report.failure.statement == 1
    assert report.base_fingerprint == report.result_fingerprint


def test_a_role_cannot_be_taken_in_passing(database: Any) -> None:
    prepare(database)
    with database.connect("superuser") as connection:
        connection.execute(f"CREATE ROLE {database.name}_other; GRANT {database.name}_other TO {database.owner}")
    try:
        report = effect_on(database, f"DO $$ BEGIN EXECUTE 'set role {database.name}_other'; END $$")
        assert report.failure is not None
        assert "changes the session" in report.failure.message
    finally:
        with database.connect("superuser") as connection:
            connection.execute(f"DROP ROLE {database.name}_other")


def test_a_block_cannot_end_the_transaction(database: Any) -> None:
    prepare(database)
    report = effect_on(database, "CREATE TABLE kept (id int); DO $$ BEGIN COMMIT; END $$")
    assert report.failure is not None
    assert report.failure.sqlstate == "2D000"
    assert report.base_fingerprint == report.result_fingerprint


def test_what_a_change_plants_does_not_change_what_is_seen(database: Any) -> None:
    prepare(database)
    report = effect_on(
        database,
        """CREATE FUNCTION count(anyelement) RETURNS bigint LANGUAGE sql AS 'SELECT 0::bigint';
        CREATE FUNCTION never(oid, oid) RETURNS boolean LANGUAGE sql AS 'SELECT false';
        CREATE OPERATOR >= (LEFTARG = oid, RIGHTARG = oid, FUNCTION = never);
        CREATE OPERATOR = (LEFTARG = oid, RIGHTARG = oid, FUNCTION = never);
        CREATE FUNCTION format_type(oid, integer) RETURNS text LANGUAGE sql AS 'SELECT ''int''';
        CREATE TEMP TABLE pg_class (oid oid);
        CREATE TEMP TABLE orders (id int);
        DROP TABLE public.orders""",
    )
    assert report.failure is None
    assert Named("table", "public.orders") in report.statements[-1].dropped
    assert Loss("rows", "public.orders", ORDERS) in report.statements[-1].losses


def test_row_security_hides_no_rows_from_the_count(database: Any) -> None:
    prepare(
        database,
        "ALTER TABLE orders ENABLE ROW LEVEL SECURITY; ALTER TABLE orders FORCE ROW LEVEL SECURITY",
        "CREATE POLICY nothing ON orders USING (false)",
    )
    (loss,) = only(effect_on(database, "TRUNCATE orders")).losses
    assert (loss.count, loss.is_exact) == (ORDERS, False)  # the planner's, as the role itself sees none


def test_a_superuser_is_refused(database: Any) -> None:
    with pytest.raises(RefusedError, match="superuser"):
        measure(lambda: database.connect("superuser"), split("SELECT 1"))


def test_a_statement_that_takes_too_long_fails(database: Any) -> None:
    report = effect_on(database, "SELECT pg_catalog.pg_sleep(20)", timeouts=Timeouts(lock_ms=50, statement_ms=100))
    assert report.failure is not None
    assert report.failure.sqlstate == "57014"


def test_hostile_names_are_only_names(database: Any) -> None:
    table, column = "<script>alert(1)</script>\x1b[31m", "a\"b' onload='x\u202e"
    quoted_table, quoted_column = (f'"{name.replace(chr(34), chr(34) * 2)}"' for name in (table, column))
    prepare(
        database,
        f"CREATE TABLE {quoted_table} ({quoted_column} int, other text)",
        f"INSERT INTO {quoted_table} VALUES (1, 'x')",
        f"COMMENT ON TABLE {quoted_table} IS '<img src=x onerror=alert(1)>'",
    )
    report = effect_on(
        database,
        f"ALTER TABLE {quoted_table} ALTER COLUMN {quoted_column} TYPE bigint;"
        f"ALTER TABLE {quoted_table} DROP COLUMN other; COMMENT ON TABLE {quoted_table} IS '</style><script>';"
        f"DROP TABLE {quoted_table}",
    )
    assert report.outcome == "ok", report.failure
    assert Loss("rows", f"public.{quoted_table}", 1) in report.statements[-1].losses
    page, text = render_html(report), render_text(report)
    assert "<script" not in page and "<img" not in page and page.count("</style>") == 1
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    for character in ("\x1b", "\u202e"):
        assert character not in page and character not in text
