"""Renames, who reads, and what reading leaves as it was."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from seatrial.database.catalog import Schema, diff, read, renames
from seatrial.errors import PostgresError
from tests.integration.database.test_catalog import describe

BEFORE = """
CREATE TABLE users (id serial PRIMARY KEY, email text CHECK (email <> ''), age int);
CREATE INDEX by_email ON users (email) WHERE email IS NOT NULL;
CREATE TABLE orders (id int PRIMARY KEY, user_id int REFERENCES users, note text DEFAULT 'users.email');
CREATE VIEW adults AS SELECT id FROM users WHERE age > 17;
CREATE FUNCTION first_user(users) RETURNS text LANGUAGE sql AS 'SELECT email FROM public.users';
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER touched BEFORE UPDATE OF email ON users FOR EACH ROW EXECUTE FUNCTION touch();
CREATE POLICY own ON users USING (email = CURRENT_USER);
CREATE TYPE mood AS ENUM ('sad');
CREATE TABLE moods (m mood DEFAULT 'sad');
CREATE SCHEMA shop;
CREATE TABLE shop.carts (id int PRIMARY KEY);
CREATE PUBLICATION p FOR TABLE users;
GRANT SELECT ON users TO PUBLIC;
GRANT UPDATE (email) ON users TO PUBLIC;
"""

RENAMES = [
    ("ALTER TABLE users RENAME TO people", ["renamed table public.people (identity)"]),
    ("ALTER TABLE users RENAME email TO mail", ["renamed column public.users.mail (identity)"]),
    (
        "ALTER TABLE users RENAME email TO mail; ALTER TABLE users RENAME TO people",
        ["renamed table public.people (identity)", "renamed column public.people.mail (identity)"],
    ),
    (
        "ALTER TABLE users RENAME TO people; ALTER TABLE people ALTER age SET DEFAULT 3",
        ["renamed table public.people (identity)", "changed column public.people.age (default)"],
    ),
    ("ALTER TABLE users RENAME age TO years", ["renamed column public.users.years (identity)"]),
    ("ALTER INDEX by_email RENAME TO by_mail", ["renamed index public.by_mail (identity)"]),
    ("ALTER INDEX users_pkey RENAME TO pk", ["renamed constraint public.users.pk (identity)"]),
    ("ALTER TRIGGER touched ON users RENAME TO t2", ["renamed trigger public.users.t2 (identity)"]),
    ("ALTER FUNCTION touch RENAME TO touch2", ["renamed function public.touch2() (identity)"]),
    ("ALTER TYPE mood RENAME TO temper", ["renamed type public.temper (identity)"]),
    ("ALTER SCHEMA shop RENAME TO store", ["renamed schema store (identity)"]),
    ("ALTER TABLE shop.carts SET SCHEMA public", ["renamed table public.carts (identity)"]),
    ("ALTER VIEW adults RENAME TO grown", ["renamed view public.grown (identity)"]),
    (
        "DROP TABLE orders; ALTER TABLE moods RENAME TO orders",
        ["removed table public.orders with 3 column, 2 constraint", "renamed table public.orders (identity)"],
    ),
    (
        "ALTER TABLE orders RENAME TO x; ALTER TABLE moods RENAME TO orders; ALTER TABLE x RENAME TO moods",
        ["renamed table public.orders (identity)", "renamed table public.moods (identity)"],
    ),
    ("ALTER TABLE orders DROP note; ALTER TABLE orders ADD note text DEFAULT 'users.email'", []),
]


@pytest.fixture
def connection(database: Any) -> Iterator[psycopg.Connection[Any]]:
    with database.connect("superuser") as connection:
        connection.execute(BEFORE)
        yield connection


def test_renames_are_recognised_by_number(database: Any) -> None:
    with database.connect("superuser") as connection:
        connection.execute(BEFORE)
        before = read(connection)
        for statement, expected in RENAMES:
            with connection.transaction(force_rollback=True):
                connection.execute(statement)
                after = read(connection)
            forward, backward = renames(before, after), renames(after, before)
            assert sorted(map(describe, diff(before, after, forward))) == sorted(expected), statement
            assert len(diff(after, before, backward)) == len(expected), statement


def test_a_rename_is_a_drop_and_an_addition_unless_the_plan_says_so(connection: psycopg.Connection[Any]) -> None:
    before = read(connection)
    connection.execute("ALTER TABLE moods RENAME TO tempers")
    after = read(connection)
    assert [(c.action, c.identity) for c in diff(before, after)] == [
        ("removed", "public.moods"),
        ("added", "public.tempers"),
    ]
    said = diff(before, after, [("table", "public.moods", "public.tempers")])
    assert [c.sentence for c in said] == ["Table public.moods renamed to public.tempers."]
    assert diff(before, after, [("table", "public.no", "public.nowhere")]) == diff(before, after)


def test_numbers_of_another_database_recognise_nothing(new_database: Any) -> None:
    schemas = []
    for name in ("one", "two"):
        with new_database().connect() as connection:
            connection.execute(f"CREATE TABLE {name} (a int)")
            schemas.append(read(connection))
    assert renames(*schemas) == ()
    copy = Schema.from_dict(schemas[0].as_dict())
    assert copy == schemas[0]
    assert (copy.origin, copy.objects["table", "public.one"].key) != ("", "")


def test_roles_are_shown_by_other_names_or_not_at_all(new_database: Any) -> None:
    one, two = new_database(), new_database()
    schemas = []
    for database, other in ((one, two.owner), (two, one.owner)):
        with database.connect() as connection:
            connection.execute("CREATE TABLE t (a int); CREATE POLICY p ON t USING (true)")
            connection.execute(f"ALTER POLICY p ON t TO {database.owner}, {other}; GRANT SELECT ON t TO {other}")
            connection.execute(f"ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO {other}")
            names = {database.owner: "owner", other: ""}
            schemas.append(read(connection, roles=names))
            assert database.owner not in str(schemas[-1].as_dict()["objects"])
            assert other not in str(schemas[-1].as_dict()["objects"])
            shown = read(connection, roles={other: "guest"})
            assert shown.objects["grant", "table public.t to guest"].facets == {"privileges": ["SELECT"]}
            assert ("role", "guest") in shown.objects
        with database.connect("superuser") as connection:
            connection.execute(f"DROP OWNED BY {other}")
    assert [c.sentence for c in diff(*schemas)] == []
    assert schemas[0].objects["policy", "public.t.p"].facets["roles"] == ["owner"]


def test_kinds_are_left_out_with_what_goes_with_them(connection: psycopg.Connection[Any]) -> None:
    schema = read(connection)
    assert ("grant", "database current to PUBLIC") in schema.objects
    rest = schema.without("database", "table")
    assert {o.kind for o in rest.objects.values()} & {"database", "table", "column", "trigger", "index"} == set()
    assert {o.identity for o in rest.objects.values() if o.kind == "grant" and "database" in o.identity} == set()
    assert rest.fingerprint != schema.fingerprint
    assert schema.without() == schema


def test_reading_leaves_the_session_as_it_was(database: Any) -> None:
    settings = ("search_path", "TimeZone", "IntervalStyle", "quote_all_identifiers", "jit")
    with database.connect(autocommit=False) as connection:
        connection.execute("CREATE SCHEMA odd; CREATE TABLE odd.t (a interval DEFAULT '1 day')")
        first = read(connection)
        connection.execute("SET search_path = odd; SET TimeZone = 'Asia/Tokyo'; SET IntervalStyle = iso_8601")
        connection.execute("SET quote_all_identifiers = on")
        before = [connection.execute(f"SHOW {name}").fetchone() for name in settings]
        second = read(connection)
        assert [connection.execute(f"SHOW {name}").fetchone() for name in settings] == before
        assert first.fingerprint == second.fingerprint
        connection.rollback()
        assert read(connection).fingerprint != first.fingerprint


def test_an_error_of_the_server_is_one_sentence(database: Any) -> None:
    with database.connect(autocommit=False) as connection:
        with pytest.raises(psycopg.Error):
            connection.execute("SELECT 1/0")
        with pytest.raises(PostgresError, match="schema cannot be read: current transaction is aborted"):
            read(connection)


def test_nothing_of_the_users_is_run(database: Any) -> None:
    """Functions and operators that hide the server's own would raise; so would reading the view."""
    with database.connect("superuser") as connection:
        connection.execute(
            """CREATE FUNCTION quote_ident(name) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE 'run'; END $$;
            CREATE FUNCTION bad(name, name) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN RAISE 'run'; END $$;
            CREATE OPERATOR <> (LEFTARG = name, RIGHTARG = name, FUNCTION = bad);
            CREATE VIEW pg_class AS SELECT 1/0 AS oid; CREATE TEMPORARY VIEW pg_attribute AS SELECT 1/0 AS attrelid;
            SET search_path = public, pg_catalog"""
        )
        schema = read(connection)
    assert ("view", "public.pg_class") in schema.objects
