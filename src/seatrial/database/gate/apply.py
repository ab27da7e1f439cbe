"""Applying: exactly the approved plan, onto exactly the schema it was measured on, or nothing.

Each transaction waits for its locks no longer than the plan says and then lets the readers behind it through before it
tries again.  The last one compares the schema it has made with the one that was reviewed before it commits, and writes
the ledger in the same breath.  A statement that refuses a transaction is a step of its own, with a row in the ledger
before and after it.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import psycopg

from seatrial import paths
from seatrial.database import branches, catalog
from seatrial.database.effect.execute import send
from seatrial.database.effect.report import EffectReport
from seatrial.database.gate import agreement, approval, drift, ledger, target
from seatrial.database.gate.blockers import Blocker, Watch
from seatrial.database.gate.proposal import Plan, Proposal, find, report_of
from seatrial.database.masking import policy
from seatrial.database.postgres.connection import explain, own_names
from seatrial.database.project import Project
from seatrial.database.statements import Group
from seatrial.database.steps import step
from seatrial.errors import ApplyError, DriftError, PostgresError, RefusedError, SeatrialError

_ADVISORY_LOCK = 0x5EA7_DB01
_LOCK_NOT_AVAILABLE, _QUERY_CANCELED = "55P03", "57014"
_DESTRUCTIVE = frozenset(("DROPS_DATA", "DROPS_OBJECT", "CHANGES_ROWS"))
_PAUSE_SECONDS, _OTHERS_SECONDS = 0.2, 30
Notice = Callable[[str], None]


@dataclass(frozen=True)
class Applied:
    """What an apply did: how often it had to try for its locks, and who was in the way."""

    proposal: Proposal
    tries: int
    blockers: tuple[Blocker, ...]
    seconds: float


class _Locked(Exception):
    """The locks were not free in time."""


def apply(project: Project, id: str, *, notice: Notice = lambda _text: None) -> Applied:
    """Apply an approved proposal to production.

    Raises RefusedError without enough valid approvals, DriftError (with what changed) when production is not what was
    measured, ApplyError when a statement fails or the result is another than was reviewed; production is then
    unchanged, except for steps outside of transactions, which the message names.
    """
    proposal = find(project, id)
    if proposal.state != "approved":
        hint = f"seatrial db resume {proposal.id}" if proposal.state in ("applying", "needs_cleanup") else None
        raise RefusedError(f"Proposal {proposal.id} is {proposal.state}, not approved.", hint=hint)
    return _run(project, proposal, notice)


def resume(project: Project, id: str, *, notice: Notice = lambda _text: None) -> Applied:
    """Go on with a proposal whose apply was interrupted or needs cleaning up.

    What the ledger says decides: steps that are done are not done again, and an invalid index that a step left is
    dropped before the step is repeated.  Raises RefusedError when there is nothing to resume, and what `apply` does.
    """
    proposal = find(project, id)
    if proposal.state not in ("applying", "needs_cleanup"):
        raise RefusedError(f"Proposal {proposal.id} is {proposal.state}; there is nothing to resume.")
    return _run(project, proposal, notice)


def abandon(project: Project, id: str, reason: str) -> Proposal:
    """Give up a proposal; what steps outside of transactions have done stays, and the reason is written down.

    Raises RefusedError when it is closed already.
    """
    proposal = find(project, id)
    if proposal.state in ("applied", "rejected", "abandoned"):
        raise RefusedError(f"Proposal {proposal.id} is {proposal.state}.")
    proposal = project.records.put(proposal, state="abandoned", reason=reason)
    project.audit.write("apply.abandon", proposal.id, reason=reason)
    return proposal


def _run(project: Project, proposal: Proposal, notice: Notice) -> Applied:
    began = time.monotonic()
    with paths.locked(project.lock("apply")):
        try:
            plan = proposal.opened()
            approvers = [given.approver for given in approval.check_approved(project, proposal)]
            work = _Work(project, proposal, plan, report_of(project, proposal), approvers, notice)
            done = work.run()
        except (SeatrialError, psycopg.Error) as problem:
            told = explain(problem, "Applying failed") if isinstance(problem, psycopg.Error) else problem
            project.audit.write("apply", proposal.id, "failed", reason=told.message, plan=proposal.hash)
            if isinstance(problem, psycopg.Error | PostgresError):
                raise ApplyError(
                    f"{told.message} The state of proposal {proposal.id} is not known until it is looked at.",
                    hint=f"seatrial db resume {proposal.id}",
                ) from problem
            raise
    return replace(done, seconds=round(time.monotonic() - began, 3))


class _Work:
    def __init__(
        self,
        project: Project,
        proposal: Proposal,
        plan: Plan,
        report: EffectReport,
        approvers: list[str],
        notice: Notice,
    ) -> None:
        self.project, self.proposal, self.plan, self.report = project, proposal, plan, report
        self.approvers, self.notice = approvers, notice
        self.blockers: list[Blocker] = []
        self.tries = 0

    def run(self) -> Applied:
        with target.deployer(self.project) as connection:
            self.connection = connection
            self._one_at_a_time()
            done, started = self._steps()
            if done < len(self.plan.groups):
                done = self._check_base(done, started)
            if not done:
                self._prepare()
            self._state("applying")
            step("apply.begun")
            for number, group in list(enumerate(self.plan.groups))[done:]:
                (self._transaction if group.transactional else self._alone)(number, group)
            return self._finish()

    def _one_at_a_time(self) -> None:
        """Wait for another apply to end; ApplyError when it, or anybody who holds its lock, takes too long."""
        with Watch(self.project, self.connection) as watch:
            self.connection.execute(f"SET lock_timeout = {_OTHERS_SECONDS * 1000}".encode())
            try:
                self.connection.execute("SELECT pg_catalog.pg_advisory_lock(%s)", [_ADVISORY_LOCK])
            except psycopg.errors.LockNotAvailable:
                who = "; ".join(str(found) for found in watch.found) or "somebody"
                raise ApplyError(
                    f"The lock that lets one apply at a time is held for {_OTHERS_SECONDS} s already, by {who}.",
                    hint="Wait for it, or end that session.",
                ) from None

    def _steps(self) -> tuple[int, bool]:
        """Return how many steps the ledger says are done, and whether the next one was started."""
        done, started = 0, False
        for row in ledger.steps(self.connection, self.proposal.id):
            if row.plan_hash != self.plan.hash:
                raise RefusedError(f"The ledger has another plan under {self.proposal.id}.", hint="Propose it again.")
            if row.state == "done":
                done = row.step + 1
            started = row.state == "started"
        if self.proposal.state == "approved" and done:
            self._state("applied" if done == len(self.plan.groups) else "needs_cleanup")
            raise RefusedError(f"Proposal {self.proposal.id} was applied already.", hint="seatrial db review")
        return done, started

    def _check_base(self, done: int, started: bool) -> int:
        """Return how many steps are done when production is as it must be after them; DriftError else."""
        major = self.connection.info.server_version // 10000
        if major != self.plan.server_major:
            raise DriftError(f"Production runs Postgres {major}; the plan was measured on {self.plan.server_major}.")
        expected = self.plan.results[done - 1] if done else self.plan.base
        now = target.schema_of(self.project, self.connection)
        if now.fingerprint == expected or self._only_leftovers(now, expected):
            return done
        if started and now.fingerprint == self.plan.results[done]:
            # It ended, and we were killed before that was written down.
            self._ledger(done, self.plan.groups[done], "done", now.fingerprint)
            return done + 1
        changes = drift.since(self.project, expected, now)
        if not done:
            self._state("stale", "production's schema has changed since it was measured")
        listed = "; ".join(changes[:8]) + (f"; and {len(changes) - 8} more" if len(changes) > 8 else "")
        raise DriftError(
            f"Production is not what proposal {self.proposal.id} was measured on: {listed}.",
            hint="Propose the change again; it is then measured on what is there now.",
            changes=changes,
        )

    def _only_leftovers(self, now: catalog.Schema, expected: str) -> bool:
        """Whether only an index that this plan's own failed step left makes the difference."""
        if self.proposal.state != "needs_cleanup" and self.proposal.state != "applying":
            return False
        before = target.kept(self.project, expected)
        if before is None:
            return False
        kept = [
            entry
            for key, entry in now.objects.items()
            if key in before.objects or entry.facets.get("valid") is not False
        ]
        return catalog.Schema.of(kept).fingerprint == expected

    def _prepare(self) -> None:
        if _DESTRUCTIVE & set(self.plan.hazards) and not self.proposal.snapshot:
            self.notice("taking a snapshot before data are dropped")
            made = branches.keep_production(self.project, f"before-{self.proposal.id}-{int(time.time())}")
            self.proposal = self.project.records.put(self.proposal, snapshot=made.name)

    def _transaction(self, number: int, group: Group) -> None:
        for attempt in range(1, self.project.settings.apply_tries + 1):
            self.tries += 1
            try:
                with Watch(self.project, self.connection) as watch:
                    self._attempt(number, group)
                return
            except _Locked:
                self.blockers += [found for found in watch.found if found not in self.blockers]
                who = "; ".join(str(found) for found in self.blockers) or "somebody who has let go since"
                self.notice(
                    f"try {attempt}: the lock was not free within {self.plan.timeouts.lock_ms} ms; held by {who}"
                )
                time.sleep(_PAUSE_SECONDS)
        self._state("approved" if number == 0 else "needs_cleanup")
        raise ApplyError(
            f"Proposal {self.proposal.id} did not get its locks in {self.project.settings.apply_tries} tries of"
            f" {self.plan.timeouts.lock_ms} ms; blocked by {who}. Production is as it was before this step.",
            hint="Wait for that transaction or end it, then apply again.",
            blockers=[str(found) for found in self.blockers],
        )

    def _attempt(self, number: int, group: Group) -> None:
        self.connection.execute("BEGIN")
        try:
            self._limits("SET LOCAL")
            guard, who, before = ledger.guard(self.connection), self._who(), agreement.look(self.connection)
            for offset, statement in enumerate(group.statements, group.first + 1):
                failure = send(self.connection, statement, offset)
                if failure:
                    if failure.sqlstate == _LOCK_NOT_AVAILABLE:
                        raise _Locked
                    self._state("failed", f"statement {offset}: {failure.message}")
                    raise ApplyError(
                        f"Statement {offset} fails: {failure.message.rstrip('.')}. The transaction is rolled back.",
                        hint=failure.hint or None,
                        sqlstate=failure.sqlstate,
                    )
                if self._who() != who:
                    self._state("failed", f"statement {offset} changes the session's role")
                    raise ApplyError(f"Statement {offset} changes the session's role; everything is rolled back.")
            after = agreement.fire_deferred(self.connection)
            step("apply.executed")
            self._check_effect(group, before, after)
            fingerprint = self._check_result(number)
            if ledger.guard(self.connection) != guard:
                self._state("failed", "the change touches the ledger")
                raise ApplyError("The change touches the ledger; everything is rolled back.")
            self._ledger(number, group, "done", fingerprint)
            step("apply.ledger")
            self.connection.execute("COMMIT")
            step("apply.committed")
        except psycopg.errors.LockNotAvailable as problem:  # a deferred check, or the ledger
            self.connection.execute("ROLLBACK")
            raise _Locked from problem
        except BaseException:
            if not self.connection.closed and not self.connection.broken:
                self.connection.execute("ROLLBACK")
            raise

    def _alone(self, number: int, group: Group) -> None:
        """Run a statement that takes no transaction; what it leaves when it fails is named and cleaned by `resume`."""
        self._drop_invalid()
        self._ledger(number, group, "started", "")
        step("apply.started")
        self._limits("SET")
        failure = send(self.connection, group.statements[0], group.first + 1)
        step("apply.alone")
        left = self._invalid()
        if failure or left:
            self._ledger(number, group, "failed", "")
            named = f" It left the invalid index {', '.join(left)}." if left else ""
            self._state("needs_cleanup", (failure.message if failure else "") + named)
            raise ApplyError(
                f"Step {number + 1}, outside of a transaction, fails:"
                f" {failure.message.rstrip('.') if failure else 'the index is not valid'}.{named}",
                hint=f"seatrial db resume {self.proposal.id} drops it and tries again; or seatrial db abandon",
                sqlstate=failure.sqlstate if failure else "",
            )
        self._ledger(number, group, "done", self._check_result(number))

    def _check_effect(self, group: Group, before: agreement.State, after: agreement.State) -> None:
        numbers = range(group.first + 1, group.first + len(group.statements) + 1)
        masking = policy.current(self.project)
        sampled = [name for name, table in masking.tables.items() if table.share < 1] if masking else []
        found = agreement.surprises(before, after, agreement.Measured.of(self.report, numbers), sampled)
        if found:
            self._state("failed", f"on production {found[0]}")
            raise ApplyError(
                f"The change does more on production than it did on the copy: {'; '.join(found[:5])}."
                " Everything is rolled back.",
                hint="Look for code that tells production from a copy; if rows have changed since, propose it again.",
            )

    def _check_result(self, number: int) -> str:
        schema = target.schema_of(self.project, self.connection)
        target.keep(self.project, schema)
        if schema.fingerprint != self.plan.results[number]:
            changes = drift.since(self.project, self.plan.results[number], schema)
            alone = not self.plan.groups[number].transactional
            self._state("needs_cleanup" if alone else "failed", "the result differs from the reviewed schema")
            raise ApplyError(
                f"The result differs from the reviewed schema: {'; '.join(changes[:5])}."
                f" {'It cannot be rolled back' if alone else 'It is rolled back'}.",
                hint="Something on production makes the same statements do something else; measure again.",
                changes=changes,
            )
        return schema.fingerprint

    def _drop_invalid(self) -> None:
        before = target.kept(self.project, self.plan.base)
        for name in self._invalid():
            if before is not None and ("index", name) in before.objects:
                continue  # it was invalid before this plan, and is not ours to drop
            self.notice(f"dropping the invalid index {name}")
            self.connection.execute(f"DROP INDEX CONCURRENTLY {name}".encode())

    def _invalid(self) -> list[str]:
        with own_names(self.connection):
            found = self.connection.execute(
                "SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname) FROM pg_catalog.pg_index i"
                " JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid"
                " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
                " WHERE NOT i.indisvalid AND n.nspname NOT LIKE 'pg\\_%' AND c.relkind = 'i' ORDER BY 1"
            )
            return [name for (name,) in found.fetchall()]

    def _limits(self, how: str) -> None:
        timeouts = self.plan.timeouts
        for name, value in (("lock_timeout", timeouts.lock_ms), ("statement_timeout", timeouts.statement_ms)):
            self.connection.execute(f"{how} {name} = {int(value)}".encode())

    def _who(self) -> tuple[Any, ...] | None:
        return self.connection.execute(
            "SELECT current_user, session_user, pg_catalog.current_setting('search_path'),"
            " pg_catalog.current_setting('session_replication_role')"
        ).fetchone()

    def _ledger(self, number: int, group: Group, state: str, fingerprint: str) -> None:
        text = ";\n".join(statement.text for statement in group.statements)
        values = {
            "proposal": self.proposal.id,
            "step": number,
            "state": state,
            "plan_hash": self.plan.hash,
            "sql_sha256": hashlib.sha256(text.encode()).hexdigest(),
            "title": self.proposal.title,
            "author": self.proposal.author,
            "approvers": self.approvers,
            "fingerprint": fingerprint,
        }
        ledger.write(self.connection, values)

    def _finish(self) -> Applied:
        schema = target.schema_of(self.project, self.connection)
        # What is known from now on is what was reviewed, and not what somebody made of it since.
        drift.record(self.project, target.kept(self.project, self.plan.result) or schema)
        if schema.fingerprint != self.plan.result:
            self.notice("production's schema is not what was applied any more: seatrial db drift")
        self._state("applied")
        self.project.audit.write(
            "apply", self.proposal.id, plan=self.plan.hash, approvers=self.approvers, tries=self.tries
        )
        return Applied(self.proposal, self.tries, tuple(self.blockers), 0.0)

    def _state(self, state: str, reason: str = "") -> None:
        self.proposal = self.project.records.put(self.proposal, state=state, reason=reason)
