"""Production by URL: added, copied by dump and restore, branched, changed through the gate, and what is refused."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from seatrial import database as area
from seatrial.database import branches
from seatrial.database.gate import target
from seatrial.database.gate.proposal import Proposal
from seatrial.database.postgres import connect, installations
from seatrial.database.postgres.connection import run
from seatrial.database.project import Project
from seatrial.database.records import Snapshot, Source
from seatrial.database.sources import address, register
from seatrial.errors import BranchError, PostgresError, RefusedError, SourceError

from .conftest import Database

EVERYTHING = """
CREATE SCHEMA "Odd name";
CREATE TYPE mood AS ENUM ('happy', 'sad');
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE TABLE users (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, email text NOT NULL UNIQUE, mood mood,
                    points positive DEFAULT 1, loud text GENERATED ALWAYS AS (upper(email)) STORED);
CREATE TABLE "Odd name"."Order" (id serial PRIMARY KEY, user_id bigint REFERENCES users, "the note" text);
CREATE TABLE nothing ();
CREATE TABLE events (day date, what text) PARTITION BY RANGE (day);
CREATE TABLE events_2024 PARTITION OF events FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE VIEW happy AS SELECT id FROM users WHERE mood = 'happy';
CREATE MATERIALIZED VIEW second AS SELECT count(*) FROM users;
CREATE MATERIALIZED VIEW first AS SELECT * FROM second;
CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'fired'; END $$;
INSERT INTO users (email, mood) SELECT E'tab\\t new\\n back\\\\ ' || i, 'sad' FROM generate_series(1, 3000) i;
INSERT INTO users (email) VALUES (''), (E'\\\\N'), (E'\\\\.'), ('ünïcødé');
INSERT INTO "Odd name"."Order" (user_id, "the note") SELECT id, NULL FROM users;
INSERT INTO events SELECT '2024-03-04', 'x' FROM generate_series(1, 10);
CREATE TRIGGER noted BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION noted();
CREATE INDEX ON users (lower(email)) WHERE mood IS NOT NULL;
ALTER TABLE users ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON users USING (email = current_user);
GRANT SELECT ON users TO PUBLIC;
ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC;
COMMENT ON TABLE users IS 'people';
CREATE PUBLICATION everything FOR TABLE events;
SELECT setval('"Odd name"."Order_id_seq"', 5000, false);
REFRESH MATERIALIZED VIEW second;
REFRESH MATERIALIZED VIEW first;
"""


@pytest.fixture
def root(database: Database, database_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that is no project yet, with a home of its own, on the same version as the database."""
    name = database.name
    monkeypatch.setenv("SEATRIAL_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("SEATRIAL_DB_FOLDER", str(database_folder / f"clusters-{name}"))
    monkeypatch.setenv("SEATRIAL_DB_POSTGRES", str(database.server.installation.major))
    folder = tmp_path / "shop"
    folder.mkdir()
    yield folder
    if (tmp_path / "state" / "database").is_dir():
        project = area.find_project(folder)
        for branch in reversed(area.all_branches(project)):
            area.delete_branch(project, branch.name)
        area.down(project)
        project.records.close()


@pytest.fixture
def filled(database: Database) -> Database:
    """A database with something of everything."""
    with database.connect() as connection:
        connection.execute(EVERYTHING.encode())
        connection.execute(f'ALTER DATABASE {database.name} SET search_path = public, "Odd name"'.encode())
    return database


@pytest.fixture
def deployer(database: Database) -> Iterator[str]:
    """The address of a role that may act as the owner."""
    name = f"{database.name}_deployer"
    with database.server.connect() as connection:
        run(connection, "CREATE ROLE {} LOGIN PASSWORD 'deployers-secret'", name)
        run(connection, "GRANT {} TO {}", database.owner, name)
    yield make_conninfo(database.dsn(), user=name, password="deployers-secret")
    with database.server.connect(database.name) as connection:
        run(connection, "DROP OWNED BY {} CASCADE", name)
        run(connection, "DROP ROLE {}", name)


def rows(dsn: str, query: str) -> list[Any]:
    with connect(dsn) as connection:
        return connection.execute(query.encode()).fetchall()


def added(root: Path, source: Database, **options: Any) -> Project:
    project, _ = area.add_source(root, "prod", source.dsn("superuser"), **options)
    return project


def test_a_copy_is_what_its_source_is(filled: Database, root: Path) -> None:
    project = added(root, filled)
    assert project.settings.name == filled.name
    branch = area.create_branch(project, area.Wish("same"))
    dsn = branches.dsn(project, branch)
    for query in (
        "SELECT * FROM public.users ORDER BY id",
        'SELECT * FROM "Odd name"."Order" ORDER BY id',
        "SELECT count(*) FROM public.events",
        "TABLE public.first",
    ):
        assert rows(dsn, query) == rows(filled.dsn("superuser"), query)
    assert branch.fingerprint == target.schema(project).fingerprint
    assert rows(dsn, 'INSERT INTO "Odd name"."Order" DEFAULT VALUES RETURNING id') == [(5000,)]
    with psycopg.connect(dsn) as connection:
        assert connection.execute("SHOW search_path").fetchone() == ('public, "Odd name"',)
    copy = project.records.get(Snapshot, branch.snapshot)
    assert copy is not None
    assert copy.method == "dump"
    assert project.records.all(Source)[0].state == "refreshed"
    owners = rows(dsn, "SELECT rolname FROM pg_roles WHERE rolcanlogin AND rolname !~ '^b[0-9a-f]{8}_'")
    assert owners == [("seatrial",)]


def test_rows_that_come_meanwhile_are_in_none_of_the_tables(filled: Database, root: Path) -> None:
    """One state of the source, however long the copy takes: orders never refer to users that are not there."""
    project = added(root, filled)
    stop = threading.Event()

    def write() -> None:
        with filled.connect("superuser") as connection:
            number = 0
            while not stop.wait(0.005):
                number += 1
                connection.execute(
                    "WITH made AS (INSERT INTO public.users (email) VALUES (%s) RETURNING id)"
                    ' INSERT INTO "Odd name"."Order" (user_id) SELECT id FROM made',
                    [f"late {number}"],
                )

    thread = threading.Thread(target=write)
    thread.start()
    try:
        branch = area.create_branch(project, area.Wish("consistent"))
    finally:
        stop.set()
        thread.join()
    dsn = branches.dsn(project, branch)
    (users,), (orders,) = (
        rows(dsn, f"SELECT count(*) FROM {name}")[0] for name in ("public.users", '"Odd name"."Order"')
    )
    assert users == orders
    assert rows(filled.dsn("superuser"), "SELECT count(*) FROM public.users")[0][0] > users


def test_no_password_is_seen(filled: Database, deployer: str, root: Path) -> None:
    password = address.parsed(filled.dsn("superuser"))["password"]
    seen: set[str] = set()
    stop = threading.Event()

    def watch() -> None:
        while not stop.is_set():
            for file in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    command = file.read_bytes().replace(b"\0", b" ").decode(errors="replace")
                except OSError:
                    continue
                if "pg_dump" in command or "pg_restore" in command:
                    seen.add(command)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        project = added(root, filled, deployer=deployer)
        area.create_branch(project, area.Wish("quiet"))
    finally:
        stop.set()
        thread.join()
    assert any("--schema-only" in command for command in seen)
    assert not any(password in command for command in seen)
    told = str([area.source_facts(project, source) for source in project.records.all(Source)])
    assert password not in told
    assert "deployers-secret" not in told
    files = [file for file in (root.parent).rglob("*") if file.is_file() and file.name != "secrets.json"]
    assert any(file.name == "audit.jsonl" for file in files)
    for file in files:
        assert password.encode() not in file.read_bytes(), file
        assert b"deployers-secret" not in file.read_bytes(), file


def test_a_change_goes_through_the_gate(filled: Database, deployer: str, root: Path) -> None:
    project = added(root, filled, deployer=deployer)
    area.add_reviewer(project, "rita")
    statement = "ALTER TABLE public.users ADD COLUMN nickname text"
    proposal = area.propose(project, area.Change(statement), author="ann")
    assert proposal.opened().source == "prod"
    area.approve(project, proposal.id, hazards=proposal.opened().hazards, approver="rita")
    assert area.apply(project, proposal.id).proposal.state == "applied"
    query = (
        "SELECT a.attname, pg_get_userbyid(c.relowner) FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid"
        " WHERE c.oid = 'public.users'::regclass AND a.attname = 'nickname'"
    )
    assert rows(filled.dsn("superuser"), query) == [("nickname", filled.owner)]
    assert rows(filled.dsn("superuser"), "SELECT state FROM seatrial.ledger") == [("done",)]
    assert area.drift(project) == ()
    with pytest.raises(psycopg.Error, match="permission denied"):
        rows(filled.dsn("owner"), "SELECT * FROM seatrial.ledger")
    stale = area.propose(project, area.Change("ALTER TABLE public.users ADD COLUMN age int"), author="ann")
    area.approve(project, stale.id, hazards=stale.opened().hazards, approver="rita")
    with filled.connect() as connection:
        connection.execute("CREATE TABLE public.surprise (a int)")
    with pytest.raises(RefusedError):
        area.apply(project, stale.id)


def test_without_a_deployer_nothing_is_applied(filled: Database, root: Path) -> None:
    project = added(root, filled)
    area.add_reviewer(project, "rita")
    proposal = area.propose(project, area.Change("ALTER TABLE public.users ADD COLUMN age int"), author="ann")
    area.approve(project, proposal.id, hazards=proposal.opened().hazards, approver="rita")
    with pytest.raises(RefusedError, match="has no deployer"):
        area.apply(project, proposal.id)
    found = project.records.get(Proposal, proposal.id)
    assert found is not None
    assert found.state == "approved"


def test_a_deployer_that_is_not_the_owner_is_refused(filled: Database, deployer: str, root: Path) -> None:
    with filled.server.connect() as connection:
        run(connection, "REVOKE {} FROM {}", filled.owner, f"{filled.name}_deployer")
    with pytest.raises(RefusedError, match="cannot act as"):
        added(root, filled, deployer=deployer)


def test_bad_addresses_are_one_sentence(database: Database, root: Path) -> None:
    wrong = make_conninfo(database.dsn(), password="wrong-password")
    with pytest.raises(PostgresError, match="password authentication failed") as caught:
        area.add_source(root, "prod", wrong)
    assert "wrong-password" not in str(caught.value)
    with pytest.raises(PostgresError, match="cannot be reached"):
        area.add_source(root, "prod", "postgresql://a:b@127.0.0.1:1/shop")
    with pytest.raises(SourceError, match="not the address") as other:
        area.add_source(root, "prod", "postgresql://user:visible-password@[::1/shop")
    assert "visible-password" not in str(other.value)
    assert other.value.__cause__ is None
    with pytest.raises(SourceError, match="names no database"):
        area.add_source(root, "prod", "postgresql://user@host")
    with pytest.raises(SourceError, match="cannot be the name"):
        area.add_source(root, "production", database.dsn())
    assert not (root.parent / "state" / "database").exists() or area.find_project(root).records.all(Source) == []


def test_a_source_that_is_gone_when_it_is_refreshed(filled: Database, root: Path) -> None:
    project = added(root, filled)
    source = project.records.all(Source)[0]
    project.set_secret(address.secret_name(source), "postgresql://a:b@127.0.0.1:1/shop")
    with pytest.raises(PostgresError, match="cannot be reached"):
        area.create_branch(project, area.Wish("never"))
    assert area.all_branches(project) == []
    assert project.records.all(Snapshot) == []


def test_versions_that_cannot_be_copied(database: Database, root: Path) -> None:
    project = added(root, database)
    with pytest.raises(SourceError, match=r"Postgres 14; 15 is the oldest"):
        register.check_version(project, 140012)
    with pytest.raises(SourceError, match=r"Postgres 19, newer than the Postgres"):
        register.check_version(project, 190000)
    register.check_version(project, database.server.installation.major * 10000 + 1)


def test_a_newer_source_is_refused(database: Database, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    older = [i.major for i in installations() if i.major < database.server.installation.major]
    if not older:
        pytest.skip("there is no older Postgres here")
    monkeypatch.setenv("SEATRIAL_DB_POSTGRES", str(older[-1]))
    with pytest.raises(SourceError, match="newer than the Postgres"):
        added(root, database)


def test_a_missing_extension_is_named(database: Database, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with database.connect("superuser") as connection:
        try:
            connection.execute("CREATE EXTENSION citext SCHEMA public")
        except psycopg.Error:
            pytest.skip("this server has no extension that others lack")
    monkeypatch.setenv("SEATRIAL_DB_POSTGRES", "18")
    project = added(root, database)
    with pytest.raises(SourceError, match="the extension citext"):
        area.refresh(project)
    assert project.records.all(Snapshot) == []


def test_there_is_one_production(database: Database, root: Path) -> None:
    project = added(root, database)
    with pytest.raises(SourceError, match="of this project is prod"):
        area.add_source(root, "other", database.dsn())
    with pytest.raises(BranchError, match="elsewhere"):
        area.url(project)
    branch = area.create_branch(project, area.Wish("using"))
    with pytest.raises(SourceError, match="using come from prod"):
        area.remove_source(project, "prod")
    area.delete_branch(project, branch.name)
    area.remove_source(project, "prod")
    assert project.records.all(Snapshot) == []
    assert not any("source" in name for name in (project.folder / "secrets.json").read_text().split('"'))
    with pytest.raises(SourceError, match="no production"):
        area.refresh(project)


def test_no_superuser_runs_what_is_in_the_schema(filled: Database, root: Path) -> None:
    """Checks, generated columns, views and event triggers of the source must not act as the copy's superuser."""
    with filled.connect() as connection:
        connection.execute(
            "CREATE FUNCTION public.spy(a text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN"
            " IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)"
            " THEN RAISE EXCEPTION 'run by a superuser'; END IF;"
            " RETURN a; END $$"
        )
        connection.execute(
            "CREATE TABLE public.spied (a text CHECK (public.spy(a) <> 'x'),"
            " b text GENERATED ALWAYS AS (public.spy(a)) STORED)"
        )
        connection.execute("INSERT INTO public.spied (a) SELECT 'row' FROM generate_series(1, 10)")
        connection.execute("CREATE INDEX ON public.spied (public.spy(a))")
        connection.execute("CREATE MATERIALIZED VIEW public.seen AS SELECT public.spy(a) FROM public.spied")
    with filled.connect("superuser") as connection:
        connection.execute(
            "CREATE FUNCTION public.watch() RETURNS event_trigger LANGUAGE plpgsql SET search_path = pg_catalog AS"
            " $$ BEGIN PERFORM public.spy('event'); END $$"
        )
        connection.execute("CREATE EVENT TRIGGER watching ON ddl_command_start EXECUTE FUNCTION public.watch()")
    try:
        project = added(root, filled)
        branch = area.create_branch(project, area.Wish("spied"))
        assert rows(branches.dsn(project, branch), "SELECT count(b) FROM public.spied") == [(10,)]
        assert rows(branches.dsn(project, branch), "SELECT count(*) FROM public.seen") == [(10,)]
    finally:
        with filled.connect("superuser", pinned={"session_replication_role": "replica"}) as connection:
            connection.execute("DROP EVENT TRIGGER watching")
