"""`seatrial db rows diff | promote`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from seatrial.cli import progress
from seatrial.cli.agent_options import table
from seatrial.cli.db_options import in_project, project_of
from seatrial.cli.groups import JsonCommand

_COLOURS = {"added": "green", "changed": "yellow", "deleted": "red"}
_MARKS = {"added": "+", "changed": "~", "deleted": "-"}


@click.group()
def rows() -> None:
    """Rows that a branch has added, changed or deleted, and bringing them to production through the gate."""


@rows.command("diff", cls=JsonCommand)
@click.argument("branch")
@click.option("--table", "tables", multiple=True, metavar="TABLE", help="Only this table.")
@click.option("--last", type=click.IntRange(1), default=50, help="How many rows to show.")
@in_project
def diff_(branch: str, tables: tuple[str, ...], last: int, **options: Any) -> dict[str, Any]:
    """Show which rows of BRANCH are not as in the golden copy that it was made from, by primary key.

    \b
    Examples:
      seatrial db rows diff feature-x
      seatrial db rows diff feature-x --table orders
    """
    from seatrial import database

    project = project_of(options)
    with progress.working("comparing rows", quiet=options["as_json"]):
        found = database.diff_rows(project, branch, tables=tables)
    if not options["as_json"]:
        table(("table", "added", "changed", "deleted"), [(name, *n.values()) for name, n in found.counts().items()])
        for change in found.changes[:last]:
            values = change.after if change.action == "added" else change.before if change.action == "deleted" else None
            shown = values or {
                name: f"{(change.before or {})[name]} → {(change.after or {})[name]}" for name in change.changed
            }
            text = ", ".join(f"{name}={value}" for name, value in shown.items())
            click.secho(
                f"{_MARKS[change.action]} {change.table}:{','.join(k or '' for k in change.key)}  {text}",
                fg=_COLOURS[change.action],
            )
        if len(found.changes) > last:
            click.echo(f"… and {len(found.changes) - last} more (--last)", err=True)
        for name, why in found.not_compared.items():
            click.secho(f"{name} is not compared: {why}", fg="yellow", err=True)
    return {"counts": found.counts(), "changes": [asdict(c) for c in found.changes], "not_compared": found.not_compared}


@rows.command(cls=JsonCommand)
@click.argument("branch")
@click.option("--table", "tables", multiple=True, metavar="TABLE", help="Only rows of this table.")
@click.option("--only", default="added,changed,deleted", show_default=True, help="Which kinds of change.")
@click.option("--key", "keys", multiple=True, metavar="TABLE:KEY", help="Only this row.")
@click.option("--title", default="", help="What it is for.")
@click.option("--author", default="", help="Who proposes it (default: you).")
@in_project
def promote(branch: str, only: str, **options: Any) -> dict[str, Any]:
    """Propose that production gets the chosen rows of BRANCH; refused at apply where production has changed them since.

    \b
    Examples:
      seatrial db rows promote feature-x --table prices
      seatrial db rows promote feature-x --only added --key orders:1001
    """
    from seatrial import database

    project = project_of(options)
    choice = {name: options[name] for name in ("tables", "keys", "title", "author")}
    with progress.working("measuring on a branch", quiet=options["as_json"]):
        made = database.promote_rows(project, branch, actions=only.split(","), **choice)
    if not options["as_json"]:
        click.echo(f"proposal {made.id}: {made.title}")
        click.echo(f"hint: seatrial db review {made.id}", err=True)
    return {"proposal": made.id, "hazards": list(made.opened().hazards)}
