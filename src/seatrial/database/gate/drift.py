"""Drift: what somebody changed in production past the gate."""

from __future__ import annotations

from seatrial.database import catalog
from seatrial.database.gate import target
from seatrial.database.project import Project

_KNOWN = "schema of production"


def record(project: Project, schema: catalog.Schema) -> None:
    """Note that production's schema is known to be this one: it was made so by the gate, or a person accepted it."""
    project.records.set_fact(_KNOWN, target.keep(project, schema))


def drift(project: Project) -> tuple[catalog.Change, ...]:
    """Return what in production's schema is not as the gate left it; nothing, the first time it is looked at."""
    now = target.schema(project)
    known = target.kept(project, project.records.fact(_KNOWN))
    if known is None:
        record(project, now)
        return ()
    return catalog.diff(known, now, catalog.renames(known, now))


def accept(project: Project) -> tuple[catalog.Change, ...]:
    """Take production's schema as it is from now on, and return what was accepted."""
    found = drift(project)
    record(project, target.schema(project))
    project.audit.write("drift.accept", "production", changes=[change.sentence for change in found])
    return found


def since(project: Project, base: str, now: catalog.Schema) -> list[str]:
    """Return a sentence for each object that is not as in the schema of fingerprint `base`."""
    before = target.kept(project, base)
    if before is None:
        return ["the schema that the plan begins from was not kept, so what changed cannot be listed"]
    return [change.sentence.rstrip(".") for change in catalog.diff(before, now)]
