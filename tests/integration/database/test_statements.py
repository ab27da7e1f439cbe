"""The cutter beside the server's own grammar: what we take for one statement is one to the server."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import pq

from seatrial.database.statements import group, split
from seatrial.errors import StatementError

OK = (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK)
TRICKY = [
    "SELECT 1; SELECT ';'';'; SELECT E'\\';\\\\'; SELECT E'a' -- ';\n  'b\\';' AS x;",
    "SELECT $$;$$, $a$ $$;$b$ $a$, $ä$;$ä$; SELECT 1 AS a$$b; SELECT U&'\\0041;', U&\"d!0061;\" UESCAPE '!' FROM t",
    'SELECT 1 AS "a;""b;"; SELECT 1 /* ; /* \'; */ " */ ; SELECT 2 -- $$ ;\n ; SELECT 4-/*;*/-1; SELECT 4 */*;*/ 2',
    "SELECT B'01', X'1f'; SELECT N'a;b'; SELECT e';'",
    "DO $do$ BEGIN PERFORM 1; EXECUTE 'SELECT ' || $x$1;$x$; END $do$; SELECT 1",
    "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT 1 AS end; END; SELECT 1",
    "CREATE OR REPLACE PROCEDURE p() BEGIN ATOMIC SELECT 1 case; SELECT (SELECT 2 end); END; SELECT 1; SELECT 2",
    "CREATE FUNCTION begin(atomic int) RETURNS int LANGUAGE sql AS 'SELECT 1; SELECT 2'; SELECT 1",
    "CREATE FUNCTION f(a int) RETURNS int LANGUAGE sql RETURN CASE a WHEN 1 THEN 2 END; SELECT 1",
    "CREATE RULE r AS ON INSERT TO t DO ALSO (SELECT 1; SELECT 2); SELECT 3",
    "CREATE SCHEMA s CREATE TABLE t (a int) CREATE VIEW v AS SELECT 1; SELECT 1",
    "SELECT 1;;;\n;SELECT 2;\n-- nothing more\n",
    "(SELECT 1) UNION (SELECT 2); WITH a AS (SELECT 1) SELECT * FROM a; VALUES (1); TABLE pg_class",
    "\ufeffSELECT 1;\r\nSELECT\t2\f;",
    "SELECT 1e5, 1.5, .5, 1.5e-3, $1::int; SELECT 1AS a",
    "SELECT a[1:2] FROM (SELECT ARRAY[1,2] a) x; SELECT '{}'::json #>> '{a;}', 1 <> 2, 5 +-- ;\n 1",
]
MISSING = "42P01"  # a table that is not there: the grammar was satisfied


def complaint(connection: Any, text: str) -> tuple[str, str]:
    """Return code and message of the server about `text` as one statement of the extended protocol."""
    result = connection.pgconn.prepare(b"", text.encode())
    code = result.error_field(pq.DiagnosticField.SQLSTATE) or b""
    return code.decode(), result.error_message.decode()


def test_each_piece_is_one_statement_to_the_server(database: Any) -> None:
    with database.connect() as connection:
        for statement in [piece for sql in TRICKY for piece in split(sql)]:
            code, message = complaint(connection, statement.text)
            junk = "trailing junk" in message  # `1AS a` is two tokens only before version 15
            assert code in ("", MISSING) or junk, (statement.text, message)


LITERALS = st.builds(
    lambda style, text: style(text),
    st.sampled_from(
        [
            lambda text: "'" + text.replace("'", "''") + "'",
            lambda text: "E'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'",
            lambda text: "e'x' \n 'a" + text.replace("\\", "\\\\").replace("'", "''") + "'",
            lambda text: "$$" + text.replace("$", "") + "$$",
            lambda text: "$q1$" + text.replace("$q1$", "").rstrip("$q1") + " $q1$",
            lambda text: "U&'" + text.replace("\\", "\\\\").replace("'", "''") + "'",
            lambda text: '1 AS "' + text.replace('"', '""')[:20] + 'x"',
        ]
    ),
    st.text(alphabet="ab;'\"\\$q1/*- \n(é", max_size=12),
)
SPACE = st.sampled_from([" ", "\n", "-- a;'\n", "/* ; ' /* $$ */ */", "/**/", "\t\f"])
SELECTS = st.lists(
    st.builds(
        lambda space, literals, last: f"SELECT{space}{', '.join(literals)}{last}",
        SPACE,
        st.lists(LITERALS, min_size=1, max_size=3),
        SPACE,
    ),
    min_size=1,
    max_size=4,
)
QUIET = settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])


def test_as_many_statements_as_the_server_executes(database: Any) -> None:
    with database.connect() as connection:

        @QUIET
        @given(SELECTS)
        def check(parts: list[str]) -> None:
            sql = ";".join(parts)
            connection.pgconn.send_query(sql.encode())
            results = []
            while (result := connection.pgconn.get_result()) is not None:
                results.append(result)
            assert all(result.status in OK for result in results), (sql, results[-1].error_message)
            assert len(split(sql)) == len(results)

        check()


SOUP = st.lists(
    st.sampled_from(
        (
            *(
                "'",
                "''",
                "E'",
                "U&'",
                "e",
                "\\",
                '"',
                "$$",
                "$a$",
                "$1",
                "a",
                "é",
                "1",
                "--",
                "/*",
                "*/",
                "-",
                "/",
                "*",
            ),
            *("\n", " ", ";", "(", ")", "SELECT 1", ";SELECT 1;"),
            *("CREATE FUNCTION f() RETURNS int BEGIN ATOMIC ", " END", "CASE "),
        )
    ),
    min_size=2,
    max_size=14,
).map("".join)


def test_no_piece_of_any_text_is_several_statements(database: Any) -> None:
    """Several statements never pass for one, and the server refuses what is refused here as unterminated."""
    with database.connect() as connection:

        @settings(QUIET, max_examples=600)
        @given(SOUP)
        def check(sql: str) -> None:
            try:
                pieces = split(sql)
            except StatementError as refused:
                if "never" in refused.message or "backslash" in refused.message:
                    assert complaint(connection, sql)[0], sql
                return
            for piece in pieces:
                assert "multiple commands" not in complaint(connection, piece.text)[1], piece.text

        check()


def test_groups_can_be_executed(database: Any) -> None:
    """New values of an enumeration are used in the next transaction; an index is built outside of any."""
    sql = """
        CREATE TYPE mood AS ENUM ('a'); CREATE TABLE t (m mood);
        ALTER TYPE mood ADD VALUE 'b'; ALTER TYPE mood ADD VALUE 'c' BEFORE 'b'; INSERT INTO t VALUES ('b'), ('c');
        CREATE INDEX CONCURRENTLY i ON t (m); VACUUM t; REINDEX (VERBOSE, CONCURRENTLY) TABLE t;
        DROP INDEX CONCURRENTLY i; ALTER TABLE t ADD COLUMN n int
    """
    with database.connect() as connection:
        connection.execute("SET search_path = public")
        for part in group(split(sql)):
            if part.transactional:
                with connection.transaction():
                    for statement in part.statements:
                        connection.execute(statement.text.encode())
            else:
                connection.execute(part.statements[0].text.encode())
        assert connection.execute("SELECT count(*), count(n) FROM t").fetchone() == (2, 0)


ALONE = [
    "CREATE INDEX CONCURRENTLY i ON t (a)",
    "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS i ON t (a)",
    "DROP INDEX CONCURRENTLY IF EXISTS j",
    "VACUUM (ANALYZE) t",
    "CLUSTER",
    "CLUSTER VERBOSE",
    "REINDEX SCHEMA public",
    "REINDEX TABLE CONCURRENTLY t",
    "REINDEX (CONCURRENTLY) INDEX t_pkey",
    "REINDEX (CONCURRENTLY ON, VERBOSE) TABLE public.t",
    "ALTER TABLE parted DETACH PARTITION part CONCURRENTLY",
]


def test_what_refuses_a_transaction_is_known(database: Any) -> None:
    with database.connect() as connection:
        connection.execute("SET search_path = public")
        connection.execute("CREATE TABLE t (a int PRIMARY KEY)")
        connection.execute("CREATE TABLE parted (a int) PARTITION BY LIST (a)")
        connection.execute("CREATE TABLE part PARTITION OF parted FOR VALUES IN (1)")
        for statement in split(";".join(ALONE)):
            assert not statement.transactional
            refused = pytest.raises(psycopg.errors.ActiveSqlTransaction, match="cannot run inside a transaction block")
            with refused, connection.transaction():
                connection.execute(statement.text.encode())
            connection.execute(statement.text.encode())
