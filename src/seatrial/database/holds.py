"""What keeps a branch from going, and what keeps it from being used."""

from __future__ import annotations

from seatrial.database import copying, durations
from seatrial.database.gate.proposal import OPEN, Proposal
from seatrial.database.project import Project
from seatrial.database.records import Branch
from seatrial.errors import BranchError


def keeps(project: Project, branch: Branch) -> str:
    """Return why a branch whose time is over is kept, empty when nothing keeps it."""
    waiting = [p.id for p in project.records.all(Proposal, *OPEN) if p.branch == branch.id]
    if waiting:
        return f"kept until proposal {', '.join(waiting)} is decided"
    children = [other.name for other in project.records.all(Branch) if other.parent == branch.id]
    return f"kept until {', '.join(children)}, made from it, are gone" if children else ""


def check_usable(project: Project, branch: Branch) -> None:
    """Raise BranchError when a branch is not ready, has expired, or is larger than it may be."""
    if branch.state != "ready":
        raise BranchError(f"The branch {branch.name} is {branch.state}.", hint=branch.reason or "Try again.")
    if durations.has_passed(branch.expires):
        why = keeps(project, branch)
        raise BranchError(
            f"The branch {branch.name} expired at {branch.expires}{f' and is {why}' if why else ''}.",
            hint=f"seatrial db branch extend {branch.name}" if why else "Make a new one.",
        )
    most = project.settings.max_branch_bytes
    if most and (size := copying.size_of(project.branches / branch.id)) > most:
        raise BranchError(
            f"The branch {branch.name} has {size:,} bytes; {most:,} are allowed.",
            hint=f"seatrial db branch reset {branch.name}, or raise [db] max_branch_bytes.",
        )


def make_stale(project: Project, branch: Branch, reason: str) -> list[str]:
    """Mark the open proposals of a branch as stale, with the reason; return their ids.  Nothing of them is lost."""
    found = []
    for proposal in project.records.all(Proposal, "proposed", "approved"):
        if proposal.branch == branch.id:
            project.records.put(proposal, state="stale", reason=reason)
            project.audit.write("propose.stale", proposal.id, reason=reason)
            found.append(proposal.id)
    return found
