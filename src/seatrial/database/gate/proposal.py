"""A proposal is data: ordered statements, timeouts, hazards, the schema it begins from and the one it must end in.

What a reviewer sees is rendered from the very object that is executed, and an approval is for its hash: a changed byte
is another proposal.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import Any

from seatrial.database.durations import now
from seatrial.database.effect.report import EffectReport, Timeouts
from seatrial.database.project import Project
from seatrial.database.records import Record
from seatrial.database.statements import Group, Statement, group
from seatrial.errors import ProposalError

OPEN = ("proposed", "approved", "applying", "needs_cleanup")
_FORMAT = 1


@dataclass(frozen=True)
class Plan:
    """What will be executed, and what must be true before and after; fingerprints are of the schema, in hexadecimal."""

    source: str
    database: str
    server_major: int
    statements: tuple[Statement, ...]
    timeouts: Timeouts
    hazards: tuple[str, ...]
    base: str
    results: tuple[str, ...]
    """The schema's fingerprint after each transaction, or statement outside of one."""
    files: tuple[tuple[str, str], ...] = ()
    """The migration files that the statements are of, each with the SHA-256 of its bytes."""

    @property
    def result(self) -> str:
        """The schema's fingerprint at the end."""
        return self.results[-1]

    @property
    def groups(self) -> tuple[Group, ...]:
        """The transactions, in order."""
        return group(self.statements)

    def canonical(self) -> str:
        """Return the one text of this plan that is hashed."""
        content = {"format": _FORMAT, **asdict(self)}
        return json.dumps(content, sort_keys=True, ensure_ascii=True, separators=(",", ":"))

    @property
    def hash(self) -> str:
        """SHA-256 of the canonical text, in hexadecimal."""
        return hashlib.sha256(self.canonical().encode()).hexdigest()

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Plan:
        """Return the plan that was kept as JSON; ProposalError when it is none."""
        try:
            content = {key: value for key, value in data.items() if key != "format"}
            content["statements"] = tuple(Statement(**entry) for entry in content["statements"])
            content["files"] = tuple((name, digest) for name, digest in content.get("files", ()))
            content["timeouts"] = Timeouts(**content["timeouts"])
            content["hazards"], content["results"] = tuple(content["hazards"]), tuple(content["results"])
            return cls(**content)
        except (TypeError, KeyError) as problem:
            raise ProposalError(f"This is not a plan: {problem}.") from problem


@dataclass(frozen=True)
class Proposal(Record):
    """A proposed change.

    States: proposed, approved, rejected, applying, applied, failed, needs_cleanup, stale, abandoned.
    `plan` is the canonical text; `hash` must be its hash whenever it is used.
    """

    kind = "proposal"
    title: str
    author: str
    plan: str
    hash: str
    branch: str = ""
    origin: str = ""
    created: str = field(default_factory=now)
    reason: str = ""
    applied: str = ""
    snapshot: str = ""

    def opened(self) -> Plan:
        """Return the plan; ProposalError when it is not the one that was proposed."""
        plan = Plan.from_dict(json.loads(self.plan))
        if plan.hash != self.hash:
            raise ProposalError(
                f"Proposal {self.id} was changed after it was made: its plan does not have its hash any more.",
                hint="Propose it again.",
            )
        return plan


@dataclass(frozen=True)
class Approval(Record):
    """One person's approval: `statement` is the text that `signature` is of; `approver` must be a known reviewer."""

    kind = "approval"
    proposal: str
    approver: str
    statement: str
    signature: str
    expires: str


def find(project: Project, id: str) -> Proposal:
    """Return the proposal of an id or the beginning of one; ProposalError else."""
    found = [p for p in project.records.all(Proposal) if id and p.id.startswith(id)]
    if len(found) != 1:
        known = ", ".join(p.id for p in project.records.all(Proposal)[-5:]) or "none"
        raise ProposalError(f"There is no one proposal {id}.", hint=f"Known: {known}.")
    return found[0]


def report_of(project: Project, proposal: Proposal) -> EffectReport:
    """Return what was measured; ProposalError when it is missing or does not belong to the plan."""
    try:
        data = json.loads((project.folder / "reports" / f"{proposal.id}.json").read_text())
    except (OSError, ValueError) as problem:
        raise ProposalError(f"The report of proposal {proposal.id} is missing.", hint="Propose it again.") from problem
    report = EffectReport.from_dict(data)
    if [effect.text for effect in report.statements] != [s.text for s in proposal.opened().statements]:
        raise ProposalError(f"The report of proposal {proposal.id} is of other statements.", hint="Propose it again.")
    return report
