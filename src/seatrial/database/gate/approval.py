"""Approving: somebody else than the author names the hazards and signs the hash of the plan, for a while."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from seatrial.database import audit, durations
from seatrial.database.gate import signing
from seatrial.database.gate.proposal import Approval, Plan, Proposal, find
from seatrial.database.project import Project
from seatrial.errors import RefusedError, SeatrialError


def approve(
    project: Project, id: str, *, hazards: Sequence[str] = (), approver: str = "", key: Path | None = None
) -> Proposal:
    """Sign the plan of a proposal; it becomes `approved` when enough people have.

    Raises RefusedError when the approver is the author or no reviewer, when a hazard is not named (or one is named that
    there is not), or when the proposal is not waiting for approval.
    """
    proposal, approver = find(project, id), approver or audit.user()
    try:
        plan = proposal.opened()
        _check(project, proposal, plan, approver, hazards)
        expires = durations.after(durations.seconds(project.settings.approval_ttl))
        statement = _statement(proposal, plan, approver, expires)
        signature = signing.sign(project, approver, statement, key)
    except SeatrialError as problem:
        project.audit.write("approve", proposal.id, "refused", who=approver, reason=problem.message)
        raise
    with project.records.transaction():
        project.records.put(
            Approval(f"{proposal.id}:{approver}", "given", proposal.id, approver, statement, signature, expires)
        )
        enough = len(valid(project, proposal)) >= required(project)
        proposal = project.records.put(proposal, state="approved" if enough else "proposed")
    project.audit.write("approve", proposal.id, who=approver, plan=plan.hash, hazards=list(plan.hazards), until=expires)
    return proposal


def reject(project: Project, id: str, reason: str, *, who: str = "") -> Proposal:
    """Turn a proposal down for good, with a reason.  RefusedError when it is not open for that."""
    proposal = find(project, id)
    if proposal.state not in ("proposed", "approved", "stale"):
        raise RefusedError(f"Proposal {proposal.id} is {proposal.state} and cannot be rejected.")
    proposal = project.records.put(proposal, state="rejected", reason=reason)
    project.audit.write("reject", proposal.id, who=who, reason=reason)
    return proposal


def required(project: Project) -> int:
    """Return how many people must approve; at least one."""
    return max(1, project.settings.approvals)


def valid(project: Project, proposal: Proposal) -> list[Approval]:
    """Return the approvals that count now: signed by a known reviewer who is not the author, for this plan, in time."""
    plan = proposal.opened()
    found = {}
    for approval in project.records.all(Approval, "given"):
        if approval.proposal != proposal.id or approval.approver == proposal.author:
            continue
        expected = _statement(proposal, plan, approval.approver, approval.expires)
        if approval.statement != expected or durations.has_passed(approval.expires):
            continue
        if signing.verify(project, approval.approver, approval.statement, approval.signature):
            found[approval.approver] = approval
    return list(found.values())


def check_approved(project: Project, proposal: Proposal) -> list[Approval]:
    """Return the approvals that let a proposal be applied; RefusedError when there are not enough."""
    found = valid(project, proposal)
    if len(found) < required(project):
        given = [a for a in project.records.all(Approval, "given") if a.proposal == proposal.id]
        why = "what was given has expired or is not valid" if given else "nobody has approved it"
        raise RefusedError(
            f"Proposal {proposal.id} has {len(found)} of {required(project)} approvals: {why}.",
            hint=f"seatrial db approve {proposal.id}",
        )
    return found


def _check(project: Project, proposal: Proposal, plan: Plan, approver: str, hazards: Sequence[str]) -> None:
    if proposal.state not in ("proposed", "approved"):
        raise RefusedError(f"Proposal {proposal.id} is {proposal.state} and cannot be approved.")
    if approver == proposal.author:
        raise RefusedError(f"{approver} wrote proposal {proposal.id} and cannot approve it.", hint="Ask somebody else.")
    if approver not in signing.reviewers(project):
        raise RefusedError(f"{approver} is no reviewer.", hint=f"seatrial db reviewer add {approver}")
    named = {hazard.strip().upper() for hazard in hazards if hazard.strip()}
    missing, unknown = sorted(set(plan.hazards) - named), sorted(named - set(plan.hazards))
    if unknown:
        raise RefusedError(f"This plan does not have {', '.join(unknown)}.", hint="Name the hazards that it has.")
    if missing:
        raise RefusedError(
            f"The hazards of this plan must be named; not named: {', '.join(missing)}.",
            hint=f"seatrial db approve {proposal.id} --hazards {','.join(plan.hazards)}",
        )


def _statement(proposal: Proposal, plan: Plan, approver: str, expires: str) -> str:
    content = {
        "proposal": proposal.id,
        "plan": plan.hash,
        "hazards": list(plan.hazards),
        "author": proposal.author,
        "approver": approver,
        "expires": expires,
    }
    return json.dumps(content, sort_keys=True)
