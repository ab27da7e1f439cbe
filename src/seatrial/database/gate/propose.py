"""Proposing: measure a change on a branch of production made for that alone, and write down what was seen."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, replace

from seatrial import paths
from seatrial.database import audit, branches, catalog, production
from seatrial.database.effect.measure import measure
from seatrial.database.effect.phrases import visible
from seatrial.database.effect.report import EffectReport, Query, Timeouts
from seatrial.database.gate import target
from seatrial.database.gate.proposal import OPEN, Plan, Proposal
from seatrial.database.postgres import connect
from seatrial.database.project import Project
from seatrial.database.records import Branch, Snapshot
from seatrial.database.sources import refresh
from seatrial.database.statements import split
from seatrial.errors import ProposalError

_FORBIDDEN_AUTHORS = frozenset(("", "seatrial"))


@dataclass(frozen=True)
class Change:
    """What is to be proposed: SQL, and how it may run; `queries` are those whose plans are compared."""

    sql: str | bytes
    title: str = ""
    name: str = "SQL"
    timeouts: Timeouts | None = None
    queries: tuple[Query, ...] = ()
    needs_fresh_rows: bool = False
    """Whether to measure on rows as they are now, and not on the newest golden copy of the same schema."""
    expected: str = ""
    """Fingerprint of the schema that it must end in, where that is known already."""
    files: tuple[tuple[str, str], ...] = ()
    """Migration files that this is made of: name and SHA-256."""


def measure_change(project: Project, change: Change) -> tuple[Plan, EffectReport]:
    """Run a change on a fresh branch of production as it is now; return the plan and what it did.

    Raises StatementError for SQL that is not taken.
    """
    statements = split(change.sql, change.name)
    timeouts = change.timeouts or Timeouts(project.settings.lock_timeout_ms, project.settings.statement_timeout_ms)
    snapshot = fresh_snapshot(project, change.needs_fresh_rows)
    scratch = branches.create(
        project,
        branches.Wish(f"measure-{secrets.token_hex(4)}", at=snapshot.id, ttl="1h", owner="the gate, measuring"),
    )
    try:
        dsn = branches.dsn(project, scratch, "owner")
        results: list[catalog.Schema] = []
        report = measure(
            lambda: connect(dsn),
            statements,
            timeouts=timeouts,
            queries=change.queries,
            after_group=lambda connection: results.append(target.schema_of(project, connection)),
        )
        for found in results:
            target.keep(project, found)
        report = replace(report, notes=(f"The copy is of {snapshot.taken}.", *report.notes))
    finally:
        branches.delete(project, scratch.name)
    plan = Plan(
        production.source_of(project).name,
        project.settings.name,
        int(snapshot.server_version.split(".")[0]),
        statements,
        timeouts,
        report.hazard_names,
        snapshot.fingerprint,
        tuple(found.fingerprint for found in results),
        change.files,
    )
    return plan, report


def propose(project: Project, change: Change, *, author: str = "", branch: str = "", origin: str = "") -> Proposal:
    """Measure a change and make it a proposal; returns it.

    Raises StatementError for SQL that is not taken, and ProposalError when it fails on the branch, changes nothing, or
    the author may not propose.
    """
    author = author or audit.user()
    if author in _FORBIDDEN_AUTHORS or author.endswith("_deployer"):
        raise ProposalError(f"{author or 'nobody'} cannot be the author of a proposal.", hint="Use a person's name.")
    try:
        plan, report = measure_change(project, change)
        _check_worked(report, change.name)
        _check_expected(project, plan, change)
    except Exception as problem:
        project.audit.write("propose", change.name, "failed", who=author, reason=str(problem)[:300])
        raise
    id = secrets.token_hex(4)
    _write_report(project, id, report)
    title = change.title or f"{plan.statements[0].kind.capitalize()} and {len(plan.statements) - 1} more"
    proposal = project.records.put(
        Proposal(
            id,
            "proposed",
            title=visible(" ".join(title.split()))[:200],
            author=author,
            plan=plan.canonical(),
            hash=plan.hash,
            branch=branch,
            origin=origin,
        )
    )
    project.audit.write("propose", id, who=author, title=proposal.title, plan=plan.hash, hazards=list(plan.hazards))
    return proposal


def stale(project: Project) -> list[str]:
    """Mark open proposals whose base is not production's schema any more as stale; return their ids."""
    now = target.schema(project).fingerprint
    found = []
    for proposal in project.records.all(Proposal, "proposed", "approved"):
        if proposal.opened().base != now:
            project.records.put(proposal, state="stale", reason="production's schema has changed since")
            project.audit.write("propose.stale", proposal.id, reason="production's schema has changed")
            found.append(proposal.id)
    return found


def open_of_branch(project: Project, branch: Branch) -> list[Proposal]:
    """Return the open proposals that came from a branch."""
    return [proposal for proposal in project.records.all(Proposal, *OPEN) if proposal.branch == branch.id]


def fresh_snapshot(project: Project, needs_fresh_rows: bool) -> Snapshot:
    """Return a golden copy with production's schema as it is now, and with its rows as they are now if asked for."""
    if needs_fresh_rows:
        return refresh.refresh(project)
    return refresh.current(project, fingerprint=target.schema(project).fingerprint)


def _check_worked(report: EffectReport, name: str) -> None:
    if report.failure:
        failure = report.failure
        raise ProposalError(
            f"{name}: statement {failure.statement} (line {failure.line}) fails on the branch:"
            f" {failure.message.rstrip('.')}.",
            hint=failure.hint or None,
            sqlstate=failure.sqlstate,
        )


def _check_expected(project: Project, plan: Plan, change: Change) -> None:
    if change.expected and plan.result != change.expected:
        before, after = target.kept(project, change.expected), target.kept(project, plan.result)
        told = "; ".join(c.sentence.rstrip(".") for c in catalog.diff(before, after)[:5]) if before and after else ""
        raise ProposalError(
            f"The statements that {change.name} sent do not do again what it did: {told or 'the schema differs'}.",
            hint="Write the change as SQL and propose that.",
        )


def _write_report(project: Project, id: str, report: EffectReport) -> None:
    with paths.atomic_write(paths.private_folder(project.folder / "reports") / f"{id}.json") as stream:
        stream.write(json.dumps(report.as_dict()).encode())
