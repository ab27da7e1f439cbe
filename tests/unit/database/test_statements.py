"""Cutting SQL: what is one statement, what is refused, and in which transaction it goes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seatrial.database.statements import MOST_BYTES, group, split, suspicious
from seatrial.errors import StatementError


@pytest.mark.parametrize(
    ("sql", "count"),
    [
        ("SELECT 1", 1),
        ("SELECT 1;;; SELECT 2;", 2),
        ("SELECT ';'; SELECT E'\\';'; SELECT $$;$$; SELECT $a$;$$;$a$", 4),
        ("/* ; /* ; */ ; */ SELECT 1; -- ;\n", 1),
        ('SELECT ";"; SELECT U&"\\0041;"', 2),
        ("CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2); SELECT 3", 2),
        ("CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT CASE WHEN true THEN 1 END; END; SELECT 2", 2),
        ("DO $x$ BEGIN EXECUTE 'drop' || ' table t'; END $x$; SELECT 1", 2),
        ("SELECT a$b$ FROM t; SELECT 1", 2),
        ("SELECT 'a'\n'b;c'; SELECT 1", 2),
    ],
)
def test_statements_are_cut_as_the_server_would(sql: str, count: int) -> None:
    assert len(split(sql)) == count


def test_a_statement_knows_its_line_and_kind() -> None:
    first, second = split("-- about\n\nCREATE UNIQUE INDEX CONCURRENTLY i ON t (a);\n\n\nALTER TABLE t ADD a int;")
    assert (first.line, first.kind, first.transactional) == (3, "CREATE INDEX", False)
    assert (second.line, second.kind, second.transactional) == (6, "ALTER TABLE", True)
    assert second.text == "ALTER TABLE t ADD a int"


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("", "no statement"),
        ("-- only a comment", "no statement"),
        ("SELECT 'a", "never closed"),
        ("SELECT 1;\nSELECT $$ a", "line 2.*never ends"),
        ("/* a", "comment is never closed"),
        ("\\i other.sql", "backslash"),
        ("SELECT 1 \\gexec", "backslash"),
        ("SELECT 1\0", "NUL"),
        (b"SELECT 1;\n\xff", "line 2.*not UTF-8"),
        ("SELECT 1;\n'\ud800'", "line 2.*not UTF-8"),
        ("BEGIN; SELECT 1; COMMIT", "BEGIN is refused"),
        ("SELECT 1; commit", "COMMIT is refused"),
        ("SET ROLE postgres", "role"),
        ("SET search_path = evil", "outlives"),
        ("SELECT pg_catalog.set_config('search_path', '', false)", "set_config"),
        ("COPY t FROM STDIN", "COPY is refused"),
        ("COPY t TO PROGRAM 'id'", "COPY is refused"),
        ("ALTER SYSTEM SET a = 1", "ALTER SYSTEM is refused"),
        ("CREATE ROLE r", "roles"),
        ("GRANT admin TO me", "memberships"),
        ("REASSIGN OWNED BY a TO b", "refused"),
        ("DROP DATABASE d", "outside of this database"),
    ],
)
def test_what_could_not_be_planned_is_refused(sql: str | bytes, said: str) -> None:
    with pytest.raises(StatementError, match=said) as caught:
        split(sql, "0001_a.sql")
    assert caught.value.hint
    assert "0001_a.sql" in caught.value.message


def test_a_huge_text_is_refused_before_it_is_read() -> None:
    with pytest.raises(StatementError, match="100 MiB"):
        split(b"x" * 100 * 2**20)
    with pytest.raises(StatementError, match="MiB"):
        split("\u00e9" * (MOST_BYTES // 2 + 1))
    assert MOST_BYTES == 2**24


def test_a_grant_of_rights_is_taken() -> None:
    assert split("GRANT SELECT ON t TO r")[0].kind == "GRANT"


def test_groups_are_transactions() -> None:
    sql = (
        "ALTER TYPE m ADD VALUE 'c'; INSERT INTO t VALUES ('c'); CREATE INDEX CONCURRENTLY i ON t (a); SELECT 1; DO ''"
    )
    assert [(g.first, len(g.statements), g.transactional) for g in group(split(sql))] == [
        (0, 1, True),
        (1, 1, True),
        (2, 1, False),
        (3, 2, True),
    ]


def test_hidden_characters_are_told() -> None:
    assert suspicious("SELECT 1;\nSELECT 'Grüße — ok'") == ()
    told = suspicious("SELECT 1;\nDROP\u202e TABLE p\u0430yments\u200b;")
    assert [sentence.split(":")[0] for sentence in told] == ["Line 2"] * 3
    assert any("mixes Cyrillic and Latin" in sentence for sentence in told)


PIECES = st.sampled_from(
    [
        "SELECT 1",
        "SELECT ';'",
        "SELECT E'a\\'b;'",
        "DO $q$ a; 'b $q$",
        'SELECT ";"',
        "SELECT (1)",
        "INSERT INTO t SELECT 1",
    ]
)
NOISE = st.sampled_from(["", " ", "\n", "-- a;'\n", "/* ; ' /* $$ */ */"])


@given(st.lists(st.tuples(NOISE, PIECES, NOISE), min_size=1, max_size=8))
def test_joined_statements_come_apart_again(parts: list[tuple[str, str, str]]) -> None:
    joined = ";".join("".join(part) for part in parts)
    assert [statement.text for statement in split(joined)] == ["".join(part).strip() for part in parts]
