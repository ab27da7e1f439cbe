"""What an agent may try on the gate, the tools and the service; none of it may reach production (behaviour 39)."""

from __future__ import annotations

import psycopg

from seatrial import database
from seatrial.database import branches
from seatrial.database.gate import target
from seatrial.database.project import Project
from seatrial.database.sources import refresh

PLANTED = """
CREATE TABLE public.ran (who text);
GRANT INSERT ON public.ran TO PUBLIC;
CREATE FUNCTION public.note() RETURNS boolean LANGUAGE plpgsql AS $f$
BEGIN
  INSERT INTO public.ran SELECT rolname FROM pg_roles WHERE rolname = current_user AND rolsuper;
  RETURN true;
END $f$;
CREATE FUNCTION public.unnest(text[]) RETURNS SETOF text LANGUAGE plpgsql AS $f$
BEGIN PERFORM public.note(); RETURN QUERY SELECT pg_catalog.unnest($1); END $f$;
CREATE FUNCTION public.quote_ident(name) RETURNS text LANGUAGE plpgsql AS $f$
BEGIN PERFORM public.note(); RETURN pg_catalog.quote_ident($1::text); END $f$;
CREATE FUNCTION public.oid_int(oid, integer) RETURNS boolean LANGUAGE plpgsql AS $f$
BEGIN PERFORM public.note(); RETURN $1::bigint >= $2; END $f$;
CREATE OPERATOR public.>= (LEFTARG = oid, RIGHTARG = integer, FUNCTION = public.oid_int);
CREATE FUNCTION public.name_name(name, name) RETURNS boolean LANGUAGE plpgsql AS $f$
BEGIN PERFORM public.note(); RETURN NOT ($1::text OPERATOR(pg_catalog.~) $2::text); END $f$;
CREATE OPERATOR public.!~ (LEFTARG = name, RIGHTARG = name, FUNCTION = public.name_name);
"""
"""Functions and operators that fit better than the server's own, for whoever has `public` on the search path."""


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
