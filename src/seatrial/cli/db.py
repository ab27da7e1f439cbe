"""`seatrial db`: one lazy group; each file holds verbs that belong together."""

from __future__ import annotations

import click

from seatrial.cli.groups import LazyGroup

_SERVER, _BRANCH, _GATE = (f"seatrial.cli.db_{part}" for part in ("server", "branch", "gate"))
VERBS = {
    "init": (f"{_SERVER}:init", "Give this project a production server, and start it."),
    "up": (f"{_SERVER}:up", "Start the servers of this project."),
    "down": (f"{_SERVER}:down", "Stop the servers of this project."),
    "status": (f"{_SERVER}:status", "Show servers, branches and golden copies."),
    "url": (f"{_SERVER}:url", "Print the URL of production or of a branch."),
    "psql": (f"{_SERVER}:psql", "Open psql on production or on a branch."),
    "refresh": (f"{_SERVER}:refresh", "Make a new golden copy, which later branches are made from."),
    "source": ("seatrial.cli.db_source:source", "Production by URL: add, list, show, refresh, remove."),
    "mask": ("seatrial.cli.db_source:mask", "The masking policy: propose, check, try."),
    "branch": (f"{_BRANCH}:branch", "Branches: create, list, show, reset, rename, extend, delete."),
    "follow": (f"{_BRANCH}:follow", "Let the database follow the git branch that is checked out."),
    "snapshot": (f"{_BRANCH}:snapshot", "Snapshots: create, list, delete."),
    "measure": (f"{_GATE}:measure", "Show what a change of the schema would do."),
    "propose": (f"{_GATE}:propose", "Measure a change and put it before the reviewers."),
    "review": (f"{_GATE}:review", "List the proposals, or show one with what was measured."),
    "approve": (f"{_GATE}:approve", "Sign a proposal, naming its hazards."),
    "reject": (f"{_GATE}:reject", "Turn a proposal down."),
    "apply": (f"{_GATE}:apply", "Apply an approved proposal to production."),
    "resume": (f"{_GATE}:resume", "Go on with an apply that was interrupted."),
    "abandon": (f"{_GATE}:abandon", "Give up a proposal."),
    "migrations": (f"{_GATE}:migrations", "List the migration files, and what became of them."),
    "rows": ("seatrial.cli.db_rows:rows", "Rows of a branch: what differs, and bringing them to production."),
    "drift": (f"{_GATE}:drift", "Show what was changed in production past the gate."),
    "reviewer": (f"{_GATE}:reviewer", "Reviewers: who may approve, by which key."),
    "mcp": (f"{_SERVER}:mcp", "Serve a branch as tools for an agent (Model Context Protocol)."),
    "log": (f"{_SERVER}:log", "Show the audit log, and verify it."),
    "doctor": (f"{_SERVER}:doctor", "Check whether branches can be made here."),
}


@click.group(cls=LazyGroup, lazy=VERBS)
def db() -> None:
    """Give each preview or agent its own real Postgres branch; measure a schema change; let a person approve it.

    \b
    Examples:
      seatrial db init
      seatrial db branch create feature-x
      export DATABASE_URL=$(seatrial db url --branch feature-x)
    """
