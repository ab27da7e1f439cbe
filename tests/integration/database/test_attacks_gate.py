"""Proposals that behave on the copy and not on production: refused by what they did, whatever their text says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from seatrial import database
from seatrial.database import production
from seatrial.database.gate import apply as applying
from seatrial.database.gate import target
from seatrial.database.gate.proposal import Proposal
from seatrial.database.project import Project
from seatrial.errors import ApplyError
from tests.integration.database.attacks import state_of_production

IS_PRODUCTION = "EXISTS (SELECT FROM pg_catalog.pg_class WHERE relname = 'ledger')"
"""Copies have no ledger: whoever looks can tell them from production."""


LEDGER = "SELECT ROW(count(*), sum(hashtext(l::text)))::text FROM seatrial.ledger l"


@pytest.fixture
def gate(shop: Project) -> Iterator[Project]:
    """The shop with a reviewer who approves everything, and production as it was afterwards."""
    if "rita" not in database.reviewers(shop):
        database.add_reviewer(shop, "rita")
        # So that the ledger has a row that could be changed.
        database.apply(shop, approved(shop, "COMMENT ON TABLE users IS 'x'; COMMENT ON TABLE users IS NULL").id)
    before = state_now(shop)
    yield shop
    assert state_now(shop) == before


def approved(project: Project, sql: str) -> Proposal:
    proposal = database.propose(project, database.Change(sql), author="ann")
    return database.approve(project, proposal.id, approver="rita", hazards=proposal.opened().hazards)


def state_now(project: Project) -> list[Any]:
    return [*state_of_production(project), production_says(project, LEDGER)]


def hidden(action: str) -> str:
    """A change that does `action` on production alone, and the same harmless thing everywhere."""
    return (
        f"DO $do$ BEGIN IF {IS_PRODUCTION} THEN {action} END IF; END $do$;"
        "COMMENT ON TABLE users IS 'harmless'; COMMENT ON TABLE users IS NULL; DROP TABLE IF EXISTS never_was"
    )


HIDDEN = {
    "rows deleted": "DELETE FROM orders;",
    "rows changed": "UPDATE users SET email = 'x' || id;",
    "rows added": "INSERT INTO users (email) VALUES ('spy@example.com');",
    "a table emptied": "TRUNCATE orders;",
    "the deployer's password": "PERFORM set_config('role', 'none', true);"
    " ALTER ROLE shop_deployer PASSWORD 'known'; PERFORM set_config('role', 'shop_owner', true);",
    "the deployer's settings": "PERFORM set_config('role', 'none', true);"
    " ALTER ROLE shop_deployer SET statement_timeout = 1; PERFORM set_config('role', 'shop_owner', true);",
    "the database's settings": "ALTER DATABASE shop SET search_path = evil;",
    "nobody may connect": "ALTER DATABASE shop CONNECTION LIMIT 0;",
    "the session's settings": "PERFORM set_config('lock_timeout', '0', true);",
    "the session's role": "PERFORM set_config('role', 'none', true);",
    "the ledger's rows": "PERFORM set_config('role', 'none', true);"
    " UPDATE seatrial.ledger SET approvers = '{mallory}'; PERFORM set_config('role', 'shop_owner', true);",
    "a row of the ledger": "PERFORM set_config('role', 'none', true);"
    " INSERT INTO seatrial.ledger (proposal, step, state, plan_hash, sql_sha256, title, author, approvers)"
    " VALUES ('forged', 0, 'done', '', '', '', '', '{}'); PERFORM set_config('role', 'shop_owner', true);",
    "a trigger on the ledger": "CREATE FUNCTION evil() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
    " CREATE TRIGGER evil BEFORE INSERT ON seatrial.ledger FOR EACH ROW EXECUTE FUNCTION evil();",
    "the gate's prepared statements": "EXECUTE (SELECT string_agg('DEALLOCATE ' || quote_ident(name), ';')"
    " FROM pg_prepared_statements);",
    "a table": "CREATE TABLE backdoor (id int);",
    "a right": "GRANT ALL ON users TO PUBLIC;",
}


@pytest.mark.parametrize("action", HIDDEN.values(), ids=HIDDEN.keys())
def test_what_happens_on_production_alone_is_rolled_back(gate: Project, action: str) -> None:
    proposal = approved(gate, hidden(action))
    with pytest.raises(ApplyError) as caught:
        database.apply(gate, proposal.id)
    assert caught.value.message.count("\n") == 0


DEFERRED = """
CREATE TABLE first (id int); CREATE TABLE second (id int);
CREATE FUNCTION at_last() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN {action} RETURN NULL; END $f$;
CREATE CONSTRAINT TRIGGER t AFTER INSERT ON second DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW EXECUTE FUNCTION at_last();
CREATE FUNCTION later() RETURNS trigger LANGUAGE plpgsql AS $f$
BEGIN IF {is_production} THEN SET CONSTRAINTS ALL DEFERRED; INSERT INTO second VALUES (1); END IF; RETURN NULL; END $f$;
CREATE CONSTRAINT TRIGGER t AFTER INSERT ON first DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION later();
INSERT INTO first VALUES (1)
"""


@pytest.mark.parametrize(
    "action",
    ["GRANT ALL ON users TO PUBLIC;", "SET CONSTRAINTS ALL DEFERRED; INSERT INTO second VALUES (1);"],
    ids=["once", "for ever"],
)
def test_nothing_is_put_off_until_after_the_last_look(gate: Project, action: str) -> None:
    """A deferred trigger that defers another one would act at the commit, when the result has been compared."""
    proposal = approved(gate, DEFERRED.format(action=action, is_production=IS_PRODUCTION))
    with pytest.raises(ApplyError, match=r"second|without an end"):
        database.apply(gate, proposal.id)


def test_there_is_no_prepared_statement_to_replace(gate: Project) -> None:
    check = "DO $$ BEGIN IF EXISTS (SELECT FROM pg_prepared_statements) THEN RAISE 'prepared'; END IF; END $$"
    proposal = approved(
        gate, ";".join([check] * 8 + ["COMMENT ON TABLE users IS 'y'", "COMMENT ON TABLE users IS NULL"])
    )
    database.apply(gate, proposal.id)
    assert production_says(gate, "DELETE FROM seatrial.ledger WHERE proposal = '" + proposal.id + "' RETURNING 1") == 1


BETTER = """
CREATE FUNCTION public.unnest(text[]) RETURNS SETOF text LANGUAGE plpgsql AS 'BEGIN RAISE ''unnest''; END';
CREATE FUNCTION public.quote_ident(name) RETURNS text LANGUAGE plpgsql AS 'BEGIN RAISE ''quote_ident''; END';
CREATE FUNCTION public.concat_ws(text, oid, name, "char", oid, aclitem[], boolean, boolean) RETURNS text
  LANGUAGE plpgsql AS 'BEGIN RAISE ''concat_ws''; END';
CREATE FUNCTION public.not_like(name, name) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RAISE ''!~~''; END';
CREATE OPERATOR public.!~~ (LEFTARG = name, RIGHTARG = name, FUNCTION = public.not_like);
CREATE FUNCTION public.at_least(oid, integer) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RAISE ''>=''; END';
CREATE OPERATOR public.>= (LEFTARG = oid, RIGHTARG = integer, FUNCTION = public.at_least);
CREATE FUNCTION public.same(name, name) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RAISE ''=''; END';
"""
WORSE = """
DROP FUNCTION public.unnest(text[]), public.quote_ident(name), public.same(name, name);
DROP FUNCTION public.concat_ws(text, oid, name, "char", oid, aclitem[], boolean, boolean);
DROP OPERATOR public.!~~ (name, name); DROP FUNCTION public.not_like; DROP OPERATOR public.>= (oid, integer);
DROP FUNCTION public.at_least
"""


def production_says(project: Project, sql: str) -> Any:
    with production.cluster_of(project).connect(project.settings.name) as connection:
        row = connection.execute(sql.encode()).fetchone()
    return row[0] if row else None


def test_names_of_the_gates_own_queries_mean_the_servers_own(gate: Project) -> None:
    """Reading, comparing, applying inside and outside of a transaction: nothing of what fits better is called."""
    with target.deployer(gate) as connection:
        connection.execute(BETTER.encode())
    try:
        database.accept_drift(gate)
        proposal = approved(gate, "CREATE TABLE made (id int); CREATE INDEX CONCURRENTLY made_id ON made (id)")
        assert database.apply(gate, proposal.id).proposal.state == "applied"
        assert database.drift(gate) == ()
        database.apply(gate, approved(gate, "DROP TABLE made").id)
        production_says(
            gate, "DELETE FROM seatrial.ledger WHERE title LIKE '%made%' OR title LIKE '%table%' RETURNING 1"
        )
    finally:
        with target.deployer(gate) as connection:
            connection.execute(WORSE.encode())
        database.accept_drift(gate)


def test_whoever_holds_the_gates_lock_is_named_and_not_waited_for_for_ever(
    gate: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    proposal = approved(gate, "COMMENT ON TABLE users IS 'z'")
    monkeypatch.setattr(applying, "_OTHERS_SECONDS", 1)
    with psycopg.connect(database.url(gate)) as hoarder:
        hoarder.execute("SELECT pg_advisory_lock(%s)", [applying._ADVISORY_LOCK])
        with pytest.raises(ApplyError, match=r"held for 1 s already, by process .*shop_rw"):
            database.apply(gate, proposal.id)
    assert gate.records.get(Proposal, proposal.id).state == "approved"
