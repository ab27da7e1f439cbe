"""The gate: what is proposed, who approves, and what apply refuses (behaviours 20–34)."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from seatrial import database
from seatrial.database import branches, durations, production
from seatrial.database.gate import target
from seatrial.database.gate.proposal import Approval, Proposal
from seatrial.database.postgres import connect
from seatrial.database.project import Project
from seatrial.errors import ApplyError, DriftError, ProposalError, RefusedError, StatementError

REVIEWER = "rita"


@pytest.fixture
def gate(shop: Project) -> Project:
    """The shop with one reviewer."""
    if REVIEWER not in database.reviewers(shop):
        database.add_reviewer(shop, REVIEWER)
    return shop


@pytest.fixture
def table(gate: Project) -> Iterator[str]:
    """A table in production that one test may change as it likes."""
    name = f"t{time.time_ns()}"
    as_owner(gate, f"CREATE TABLE {name} (id int PRIMARY KEY, a text)")
    as_owner(gate, f"INSERT INTO {name} SELECT i, 'x' FROM generate_series(1, 50) i")
    yield name
    as_owner(gate, f"DROP TABLE IF EXISTS {name}")


def as_owner(project: Project, sql: str) -> None:
    """Change production past the gate, as somebody with too many rights would."""
    with production.cluster_of(project).connect(project.settings.name) as connection:
        connection.execute(f"SET search_path = public; SET ROLE shop_owner; {sql}".encode())


def propose(project: Project, sql: str, **options: Any) -> Proposal:
    return database.propose(project, database.Change(sql), author="ann", **options)


def approve(project: Project, proposal: Proposal) -> Proposal:
    return database.approve(project, proposal.id, hazards=proposal.opened().hazards, approver=REVIEWER)


def approved(project: Project, sql: str) -> Proposal:
    return approve(project, propose(project, sql))


def fingerprint(project: Project) -> str:
    return target.schema(project).fingerprint


def state(project: Project, proposal: Proposal) -> str:
    found = project.records.get(Proposal, proposal.id)
    assert found is not None
    return found.state


def test_a_good_change_is_applied_once(gate: Project, table: str) -> None:
    proposal = approved(gate, f"ALTER TABLE {table} ADD COLUMN b int; CREATE INDEX ON {table} (a)")
    done = database.apply(gate, proposal.id)
    assert done.proposal.state == "applied"
    assert fingerprint(gate) == proposal.opened().result
    with pytest.raises(RefusedError, match="is applied, not approved"):
        database.apply(gate, proposal.id)
    gate.records.put(proposal, state="approved")  # as a restored backup of our own state would say
    with pytest.raises(RefusedError, match="applied already"):
        database.apply(gate, proposal.id)
    assert database.drift(gate) == ()


def test_the_author_cannot_approve_and_hazards_must_be_named(gate: Project, table: str) -> None:
    proposal = propose(gate, f"ALTER TABLE {table} DROP COLUMN a")
    hazards = proposal.opened().hazards
    assert "DROPS_DATA" in hazards
    with pytest.raises(RefusedError, match=r"not named: .*DROPS_DATA") as caught:
        database.approve(gate, proposal.id, approver=REVIEWER)
    assert f"--hazards {','.join(hazards)}" in str(caught.value.hint)
    with pytest.raises(RefusedError, match="does not have MADE_UP"):
        database.approve(gate, proposal.id, approver=REVIEWER, hazards=[*hazards, "MADE_UP"])
    with pytest.raises(RefusedError, match="wrote proposal"):
        database.approve(gate, proposal.id, approver="ann", hazards=hazards)
    with pytest.raises(RefusedError, match="no reviewer"):
        database.approve(gate, proposal.id, approver="stranger", hazards=hazards)
    with pytest.raises(RefusedError, match="is proposed, not approved"):
        database.apply(gate, proposal.id)
    with pytest.raises(ProposalError, match="cannot be the author"):
        database.propose(gate, database.Change("SELECT 1"), author="shop_deployer")


def test_an_approval_is_for_one_plan_and_for_a_while(gate: Project, table: str) -> None:
    first = approved(gate, f"COMMENT ON TABLE {table} IS 'one  two'")
    other = propose(gate, f"COMMENT ON TABLE {table} IS 'one two'")
    given = gate.records.get(Approval, f"{first.id}:{REVIEWER}")
    assert given is not None
    gate.records.put(given, id=f"{other.id}:{REVIEWER}", proposal=other.id)
    gate.records.put(other, state="approved")
    with pytest.raises(RefusedError, match="0 of 1 approvals"):
        database.apply(gate, other.id)
    gate.records.put(given, expires=durations.after(-1))
    with pytest.raises(RefusedError, match="expired or is not valid"):
        database.apply(gate, first.id)
    gate.records.put(given, expires=durations.after(3600))  # longer than what was signed
    with pytest.raises(RefusedError, match="expired or is not valid"):
        database.apply(gate, first.id)


def test_two_must_approve_when_two_are_asked_for(gate: Project, table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEATRIAL_DB_APPROVALS", "2")
    strict = database.find_project(gate.root)
    proposal = propose(strict, f"COMMENT ON TABLE {table} IS 'x'")
    assert approve(strict, proposal).state == "proposed"
    assert approve(strict, proposal).state == "proposed"  # the same person twice is one
    if "otto" not in database.reviewers(strict):
        database.add_reviewer(strict, "otto")
    assert database.approve(strict, proposal.id, approver="otto").state == "approved"
    strict.records.close()


@pytest.mark.parametrize("field", ["text", "hazards", "lock_ms"])
def test_a_plan_that_was_changed_is_refused(gate: Project, table: str, field: str) -> None:
    proposal = approved(gate, f"ALTER TABLE {table} ADD COLUMN c int")
    before = fingerprint(gate)
    plan = json.loads(proposal.plan)
    if field == "text":
        plan["statements"][0]["text"] += " DEFAULT 7"
    elif field == "hazards":
        plan["hazards"] = ["MADE_UP"]
    else:
        plan["timeouts"]["lock_ms"] = 60_000
    changed = json.dumps(plan, sort_keys=True, separators=(",", ":"))
    gate.records.put(proposal, plan=changed)
    with pytest.raises(ProposalError, match="was changed after it was made"):
        database.apply(gate, proposal.id)
    gate.records.put(proposal, plan=changed, hash=hashlib.sha256(changed.encode()).hexdigest())
    with pytest.raises(RefusedError, match="0 of 1 approvals"):
        database.apply(gate, proposal.id)
    assert fingerprint(gate) == before


def test_drift_is_refused_with_what_drifted(gate: Project, table: str) -> None:
    proposal = approved(gate, f"ALTER TABLE {table} ADD COLUMN d int")
    database.accept_drift(gate)
    as_owner(gate, f"ALTER TABLE {table} ADD COLUMN sneaked int")
    with pytest.raises(DriftError, match=r"sneaked added"):
        database.apply(gate, proposal.id)
    assert state(gate, proposal) == "stale"
    assert any("sneaked" in change.sentence for change in database.drift(gate))
    database.accept_drift(gate)
    assert database.drift(gate) == ()


def test_a_result_that_differs_is_rolled_back(gate: Project, table: str) -> None:
    """The same statements do something else in production: here, by a row that the branch did not have."""
    as_owner(gate, f"INSERT INTO {table} VALUES (1000, 'magic')")
    sql = (
        f"DO $$ BEGIN IF EXISTS (SELECT FROM {table} WHERE a = 'magic') THEN"
        f" EXECUTE 'ALTER TABLE {table} ADD COLUMN good int'; ELSE"
        f" EXECUTE 'ALTER TABLE {table} ADD COLUMN evil int'; END IF; END $$"
    )
    proposal = approved(gate, sql)
    as_owner(gate, f"DELETE FROM {table} WHERE a = 'magic'")
    before = fingerprint(gate)
    with pytest.raises(ApplyError, match=r"differs from the reviewed schema.*(evil|good)"):
        database.apply(gate, proposal.id)
    assert fingerprint(gate) == before
    assert state(gate, proposal) == "failed"


def test_a_change_that_fails_on_the_branch_is_no_proposal(gate: Project, table: str) -> None:
    with pytest.raises(ProposalError, match=r"statement 2 \(line 2\) fails on the branch.*no_such"):
        propose(gate, f"ALTER TABLE {table} ADD COLUMN e int;\nALTER TABLE no_such ADD COLUMN e int")
    with pytest.raises(StatementError, match="backslash"):
        propose(gate, "\\i other.sql")
    with pytest.raises(ProposalError, match="syntax error"):
        propose(gate, "ALTER TABLEAU x")
    with pytest.raises(ProposalError, match="changes the session"):
        propose(gate, "DO $$ BEGIN PERFORM set_config('search_path', 'evil', false); END $$")


def test_the_ledger_cannot_be_touched(gate: Project, table: str) -> None:
    for sql in ("INSERT INTO seatrial.ledger DEFAULT VALUES", "DROP SCHEMA seatrial CASCADE"):
        with pytest.raises(ProposalError, match=r"denied|does not exist|must be owner"):
            propose(gate, sql)
    with target.deployer(gate) as connection:
        for sql in (
            "DELETE FROM seatrial.ledger",
            "CREATE TRIGGER t BEFORE INSERT ON seatrial.ledger EXECUTE FUNCTION f()",
        ):
            with pytest.raises(psycopg.Error, match=r"denied|must be owner"):
                connection.execute(sql)


def test_a_long_transaction_makes_apply_give_way_and_tell_who(
    gate: Project, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEATRIAL_DB_LOCK_TIMEOUT_MS", "200")
    monkeypatch.setenv("SEATRIAL_DB_APPLY_TRIES", "3")
    project = database.find_project(gate.root)
    proposal = approved(project, f"ALTER TABLE {table} ADD COLUMN f int")
    before = fingerprint(project)
    with psycopg.connect(database.url(project), application_name="nightly report") as blocker:
        blocker.execute(f"SELECT count(*) FROM {table}")
        with pytest.raises(ApplyError, match=r"3 tries of 200 ms; blocked by process \d+ \(shop_rw, nightly report"):
            database.apply(project, proposal.id)
    assert fingerprint(project) == before
    assert database.apply(project, proposal.id).proposal.state == "applied"
    project.records.close()


def test_two_applies_at_once_are_one_after_the_other(gate: Project, table: str) -> None:
    both = [approved(gate, f"ALTER TABLE {table} ADD COLUMN g{number} int") for number in range(2)]
    ended: list[str] = []

    def run(proposal: Proposal) -> None:
        project = database.find_project(gate.root)
        try:
            database.apply(project, proposal.id)
            ended.append("applied")
        except DriftError:
            ended.append("refused")
        finally:
            project.records.close()

    threads = [threading.Thread(target=run, args=(proposal,)) for proposal in both]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(ended) == ["applied", "refused"]


def test_a_failed_concurrent_index_needs_cleaning_and_resumes(gate: Project, table: str) -> None:
    name = f"{table}_a"
    proposal = approved(
        gate,
        f"CREATE UNIQUE INDEX CONCURRENTLY {name} ON {table} ((a || 'y')) WHERE id > 900;"
        f"ALTER TABLE {table} ADD COLUMN h int",
    )
    # Rows that the branch did not have, and that break the index.
    as_owner(gate, f"INSERT INTO {table} VALUES (901, 'twice'), (902, 'twice')")
    with pytest.raises(ApplyError, match=rf"invalid index public\.{name}"):
        database.apply(gate, proposal.id)
    assert state(gate, proposal) == "needs_cleanup"
    with pytest.raises(ApplyError, match="invalid index"):
        database.resume(gate, proposal.id)
    as_owner(gate, f"DELETE FROM {table} WHERE id = 902")
    assert database.resume(gate, proposal.id).proposal.state == "applied"
    assert fingerprint(gate) == proposal.opened().result


def test_an_enum_value_is_added_and_used_in_two_transactions(gate: Project, table: str) -> None:
    as_owner(gate, f"CREATE TYPE {table}_mood AS ENUM ('calm'); ALTER TABLE {table} ADD COLUMN mood {table}_mood")
    proposal = approved(gate, f"ALTER TYPE {table}_mood ADD VALUE 'storm'; UPDATE {table} SET mood = 'storm'")
    assert len(proposal.opened().groups) == 2
    assert database.apply(gate, proposal.id).proposal.state == "applied"
    as_owner(gate, f"DROP TABLE {table}; DROP TYPE {table}_mood")


def test_a_branch_proposes_through_its_inbox(gate: Project, table: str) -> None:
    branch = database.create_branch(gate, database.Wish("agent"))
    with psycopg.connect(database.url(gate, "agent")) as connection:
        statement = "INSERT INTO seatrial.inbox (title, sql) VALUES (%s, %s)"
        connection.execute(statement, ["good", f"ALTER TABLE {table} ADD COLUMN k int"])
        connection.execute(statement, ["bad", "COMMIT"])
    with pytest.raises(psycopg.Error, match="denied"), connect(branches.dsn(gate, branch)) as connection:
        connection.execute("UPDATE seatrial.inbox SET author = 'rita'")
    arrived = database.collect_inbox(gate)
    assert [(name, bool(made)) for name, made, _ in arrived] == [("agent", True), ("agent", False)]
    assert database.collect_inbox(gate) == []
    made = arrived[0][1]
    assert made is not None
    assert (made.author, made.title) == ("branch agent", "good")
    database.reject(gate, made.id, "not now", who=REVIEWER)
    with pytest.raises(RefusedError, match="is rejected"):
        approve(gate, made)


def test_data_are_kept_in_a_snapshot_before_they_are_dropped(gate: Project, table: str) -> None:
    proposal = approved(gate, f"ALTER TABLE {table} DROP COLUMN a")
    done = database.apply(gate, proposal.id)
    database.create_branch(gate, database.Wish("before", at=done.proposal.snapshot))
    with psycopg.connect(database.url(gate, "before")) as connection:
        assert connection.execute(f"SELECT count(*) FROM {table} WHERE a = 'x'").fetchone() == (50,)


def test_what_was_approved_is_what_runs(gate: Project, table: str) -> None:
    """Byte for byte: the text that reviewers see is the text that the server logs."""
    sql = f"ALTER TABLE {table}  ADD COLUMN  m int /* why */ DEFAULT 3"
    proposal = approved(gate, sql)
    assert [entry.text for entry in database.report_of(gate, proposal).statements] == [sql]
    assert [entry.text for entry in proposal.opened().statements] == [sql]
    database.apply(gate, proposal.id)
    with target.deployer(gate) as connection:
        connection.execute("SET ROLE NONE")
        row = connection.execute(
            "SELECT sql_sha256, approvers, state FROM seatrial.ledger WHERE proposal = %s", [proposal.id]
        ).fetchone()
    assert row == (hashlib.sha256(sql.encode()).hexdigest(), [REVIEWER], "done")


def test_every_act_is_in_the_audit_log(gate: Project) -> None:
    assert gate.audit.verify() > 0
    seen = {(event.what, event.outcome) for event in gate.audit.events()}
    assert {("propose", "done"), ("propose", "failed"), ("approve", "done"), ("approve", "refused")} <= seen
    assert {("apply", "done"), ("apply", "failed"), ("reject", "done")} <= seen
