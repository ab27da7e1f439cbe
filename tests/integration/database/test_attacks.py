"""What an agent may try on the gate, the tools and the service; none of it may reach production (behaviour 39)."""

from __future__ import annotations

import psycopg
import pytest

from seatrial import database
from seatrial.database import branches
from seatrial.database.gate import target
from seatrial.database.project import Project
from seatrial.database.sources import refresh
from tests.integration.database.attacks import PLANTED


def plant(project: Project, branch: str) -> None:
    with psycopg.connect(database.url(project, branch), autocommit=True) as connection:
        connection.execute(PLANTED.encode())


def test_no_superuser_runs_what_a_branch_has_planted(shop: Project) -> None:
    """J1: freezing a branch (for a branch of it, or a named snapshot) connects to it as the superuser."""
    database.create_branch(shop, database.Wish("planted"))
    plant(shop, "planted")
    child = database.create_branch(shop, database.Wish("of-planted", parent="planted"))
    with psycopg.connect(database.url(shop, "planted")) as connection:
        assert connection.execute("SELECT * FROM ran").fetchall() == []
    with psycopg.connect(branches.dsn(shop, child)) as connection:
        assert connection.execute("SELECT * FROM ran").fetchall() == []
    database.delete_branch(shop, "of-planted")


CHECKED = """
CREATE FUNCTION public.is_fine(text) RETURNS boolean LANGUAGE plpgsql AS $f$
BEGIN
  BEGIN PERFORM set_config('role', 'none', false); EXCEPTION WHEN OTHERS THEN NULL; END;
  IF (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
    RAISE 'this runs as a superuser';
  END IF;
  RETURN true;
END $f$;
CREATE DOMAIN public.fine AS text CHECK (public.is_fine(VALUE));
CREATE TABLE public.checked (a text CHECK (public.is_fine(a)), b fine);
INSERT INTO public.checked VALUES ('x', 'y');
CREATE MATERIALIZED VIEW public.seen AS SELECT is_fine(a) AS fine FROM public.checked;
CREATE INDEX ON public.checked ((public.is_fine(a)));
"""


def test_no_superuser_runs_the_checks_of_a_table(shop: Project) -> None:
    """A golden copy by dump and restore fills tables whose constraints call functions of the application."""
    with target.deployer(shop) as connection:
        connection.execute(CHECKED.replace("AS $f$", "IMMUTABLE AS $f$").encode())
    try:
        made = refresh.refresh_by_dump(shop)
        database.delete_snapshot(shop, made.id)
    finally:
        with target.deployer(shop) as connection:
            connection.execute(
                "DROP MATERIALIZED VIEW seen; DROP TABLE checked; DROP DOMAIN fine; DROP FUNCTION is_fine"
            )


@pytest.fixture
def agent(shop: Project) -> database.Branch:
    return database.create_branch(shop, database.Wish("agent"))


def leave(project: Project, branch: str, title: str, sql: str) -> None:
    with psycopg.connect(database.url(project, branch)) as connection:
        connection.execute("INSERT INTO seatrial.inbox (title, sql) VALUES (%s, %s)", [title, sql])


def test_a_branch_that_shuts_its_inbox_stops_nobody_else(shop: Project, agent: database.Branch) -> None:
    """Every role may change its own password and settings, and take all of its connections."""
    database.create_branch(shop, database.Wish("shut"))
    with psycopg.connect(database.url(shop, "shut", "ro"), autocommit=True) as connection:
        connection.execute("SET default_transaction_read_only = off")
        connection.execute("ALTER ROLE CURRENT_USER PASSWORD 'mine'")
        connection.execute("ALTER ROLE CURRENT_USER SET search_path = evil")
    leave(shop, "agent", "fine", "CREATE TABLE fine (id int)")
    found = {name: (made, why) for name, made, why in database.collect_inbox(shop)}
    assert found["agent"][0] is not None
    assert found["shut"][0] is None
    assert "password authentication failed" in found["shut"][1]


def test_an_inbox_of_spam_is_taken_in_portions(shop: Project, agent: database.Branch) -> None:
    with psycopg.connect(database.url(shop, "agent")) as connection:
        connection.execute(
            "INSERT INTO seatrial.inbox (title, sql) SELECT 'spam', 'COMMIT' FROM generate_series(1, 25)"
        )
        connection.execute("INSERT INTO seatrial.inbox (title, sql) VALUES ('huge', repeat('-- x', 5000000))")
    leave(shop, "agent", "at\x1b[2Jlast\n\u202e", "CREATE TABLE at_last (id int)")
    first, second = database.collect_inbox(shop), database.collect_inbox(shop)
    assert [len(first), len(second), len(database.collect_inbox(shop))] == [20, 7, 0]
    assert second[5][1:] == (None, "it has more than 16 MiB.")
    made = second[6][1]
    assert made is not None
    assert made.title == "at\\x1b[2Jlast \\u202e"


def test_a_branch_of_one_whose_owner_took_everything_has_an_owner(shop: Project) -> None:
    database.create_branch(shop, database.Wish("taken"))
    with psycopg.connect(database.url(shop, "taken"), autocommit=True) as connection:
        connection.execute("SET ROLE NONE")
        connection.execute("REASSIGN OWNED BY shop_owner TO SESSION_USER")
    database.create_branch(shop, database.Wish("of-taken", parent="taken"))
    with psycopg.connect(database.url(shop, "of-taken"), autocommit=True) as connection:
        connection.execute("CREATE TABLE made (id int)")
        connection.execute("DROP TABLE orders")
    database.delete_branch(shop, "of-taken")
