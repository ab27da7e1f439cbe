"""`seatrial db source …` and `seatrial db mask …`."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from seatrial.cli import progress
from seatrial.cli.agent_options import table
from seatrial.cli.db_options import in_project, project_of, size
from seatrial.cli.groups import JsonCommand
from seatrial.errors import MaskingError


@click.group()
def source() -> None:
    """Sources: where golden copies come from, if not from the project's own server."""


@source.command(cls=JsonCommand)
@click.argument("name")
@click.argument("url")
@click.option("--deployer", default="", metavar="URL", help="Address by which approved changes are applied.")
@in_project
def add(name: str, url: str, deployer: str, **options: Any) -> dict[str, Any]:
    """Take the database at URL as this project's production.

    A URL of `-` is asked for, or read from standard input: what is on a command line is seen by everybody on this
    machine.  The URL's role must be able to read every table.  The deployer's role must be a member of the one that
    owns the database; it makes a schema `seatrial` there, which holds the ledger.

    \b
    Examples:
      seatrial db source add prod - < url.txt
      seatrial db source add prod postgresql://reader@db.example/shop --deployer -
    """
    from seatrial import database

    root = Path(options["project"]) if options["project"] else None
    url, deployer = (_asked(text, what) for text, what in ((url, "URL"), (deployer, "URL of the deployer")))
    project, made = database.add_source(root, name, url, deployer=deployer)
    facts = database.source_facts(project, made)
    if not options["as_json"]:
        click.echo(f"{name}: Postgres {made.server_version}, database {made.database}")
        click.echo("seatrial db source refresh makes the golden copy that branches come from.", err=True)
    return facts


def _asked(text: str, what: str) -> str:
    if text != "-":
        return text
    if sys.stdin.isatty():
        return str(click.prompt(what, hide_input=True))
    return sys.stdin.readline().strip()


@source.command("list", cls=JsonCommand)
@in_project
def list_(**options: Any) -> dict[str, Any]:
    """List the sources.

    \b
    Example:
      seatrial db source list
    """
    from seatrial import database

    project = project_of(options)
    found = [database.source_facts(project, entry) for entry in project.records.all(database.Source)]
    if not options["as_json"]:
        headings = ("name", "host", "database", "server_version", "refreshed", "masked")
        rows = [[entry["masked"] and "yes" if h == "masked" else entry[h] or "-" for h in headings] for entry in found]
        table(headings, rows)
    return {"sources": found}


@source.command(cls=JsonCommand)
@click.argument("name")
@in_project
def show(name: str, **options: Any) -> dict[str, Any]:
    """Show what is known of a source; its addresses are secrets and not shown.

    \b
    Example:
      seatrial db source show prod
    """
    from seatrial import database

    project = project_of(options)
    facts = database.source_facts(project, database.find_source(project, name))
    if not options["as_json"]:
        for key, value in facts.items():
            click.echo(f"{key + ':':16}{value}")
    return facts


@source.command(cls=JsonCommand)
@click.argument("name")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@in_project
def remove(name: str, yes: bool, **options: Any) -> dict[str, Any]:
    """Forget a source, its addresses and its golden copies; the database itself is left alone.

    \b
    Example:
      seatrial db source remove prod --yes
    """
    from seatrial import database

    project = project_of(options)
    if not yes and not options["as_json"]:
        click.confirm(f"Forget {name}?", abort=True)
    database.remove_source(project, name)
    if not options["as_json"]:
        click.echo(f"{name} is forgotten")
    return {"removed": name}


@source.command(cls=JsonCommand)
@click.option("--schema-only", is_flag=True, help="Without rows.")
@in_project
def refresh(schema_only: bool, **options: Any) -> dict[str, Any]:
    """Make a new golden copy of production, masked where [db] masking names a policy.

    \b
    Example:
      seatrial db source refresh
    """
    from seatrial import database

    project = project_of(options)
    with progress.counting("copying", quiet=options["as_json"]) as count:
        made = database.refresh(project, schema_only=schema_only, progress=count)
    if not options["as_json"]:
        masked = ", masked" if made.masked else ""
        click.echo(f"golden copy {made.id}: {size(made.bytes)}{masked}, taken {made.taken}")
        if made.reason:
            click.echo(made.reason, err=True)
    return asdict(made)


@click.group()
def mask() -> None:
    """Masking: the policy by which golden copies, and so all branches, hold no real values."""


@mask.command(cls=JsonCommand)
@click.option("--output", type=click.Path(path_type=Path), help="Write the policy here instead of printing it.")
@in_project
def propose(output: Path | None, **options: Any) -> dict[str, Any]:
    """Propose a policy from names and types, with a reason for each line; no row is read.

    \b
    Example:
      seatrial db mask propose --output masking.toml
    """
    from seatrial import database

    text = database.propose_policy(project_of(options))
    if output:
        database.write_policy(output, text)
    if not options["as_json"]:
        click.echo(f"{output}: look at every line, then set [db] masking to it." if output else text.rstrip())
    return {"policy": text, "file": str(output) if output else None}


@mask.command(cls=JsonCommand)
@in_project
def check(**options: Any) -> dict[str, Any]:
    """Check that the policy covers every table and column of production as it is now.

    \b
    Example:
      seatrial db mask check
    """
    from seatrial import database

    found = database.check_policy(project_of(options))
    if not options["as_json"]:
        for sentence in found:
            click.echo(sentence)
    if found:
        raise MaskingError(
            f"The policy does not fit production in {len(found)} places.",
            hint="Until it does, no golden copy and no branch is made.",
            problems=found,
        )
    if not options["as_json"]:
        click.secho("the policy covers everything", fg="green")
    return {"problems": found}


@mask.command("try", cls=JsonCommand)
@click.argument("name", metavar="TABLE")
@click.option("--rows", type=click.IntRange(1, 1000), default=10, show_default=True, help="How many rows.")
@in_project
def try_(name: str, rows: int, **options: Any) -> dict[str, Any]:
    """Show the masked columns of a table's first rows, as branches will have them; no real value is shown.

    \b
    Example:
      seatrial db mask try users
    """
    from seatrial import database

    names, found = database.try_policy(project_of(options), name, rows)
    if not options["as_json"]:
        table(names, found)
    return {"columns": names, "rows": found}
