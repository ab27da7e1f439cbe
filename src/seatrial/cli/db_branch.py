"""`seatrial db branch …` and `seatrial db snapshot …`."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Any

import click

from seatrial.cli import progress
from seatrial.cli.agent_options import table
from seatrial.cli.db_options import in_project, project_of, size
from seatrial.cli.groups import JsonCommand
from seatrial.errors import BranchError


@click.group()
def branch() -> None:
    """Branches: a Postgres server of one's own with a copy of the data."""


@branch.command(cls=JsonCommand)
@click.argument("name")
@click.option("--from", "parent", default="", metavar="BRANCH", help="Copy this branch (default: production).")
@click.option("--at", default="", metavar="SNAPSHOT", help="Copy this snapshot.")
@click.option("--ttl", default="", help="How long it lives: 90s, 24h, 7d (default: [db] branch_ttl).")
@click.option("--strategy", default="", help="clone or copy (default: what the file system can).")
@click.option("--schema-only", is_flag=True, help="Without rows.")
@click.option("--lazy", is_flag=True, help="Make it when the first client connects.")
@click.option("--owner", default="", help="Whom it is for, e.g. the name of an agent.")
@in_project
def create(name: str, **options: Any) -> dict[str, Any]:
    """Make a branch, and print its URL.

    \b
    Examples:
      seatrial db branch create feature-x
      seatrial db branch create try --from feature-x --ttl 2h
      seatrial db branch create preview-12 --lazy
    """
    from seatrial import database

    project = project_of(options)
    choices = {key: options[key] for key in ("parent", "at", "ttl", "strategy", "schema_only", "lazy", "owner")}
    with progress.working(f"making branch {name}", quiet=options["as_json"]):
        made = database.create_branch(project, database.Wish(name, **choices))
        url = database.url(project, made.name)
    if not options["as_json"]:
        how = (
            "declared; the first client makes it"
            if options["lazy"]
            else f"ready in {made.seconds:.2f} s ({made.strategy})"
        )
        click.echo(f"{made.name}: {how}, until {made.expires}", err=True)
        click.echo(url)
    return {**database.branch_facts(project, made), "url": url}


@branch.command("list", cls=JsonCommand)
@in_project
def list_(**options: Any) -> dict[str, Any]:
    """List the branches.

    \b
    Example:
      seatrial db branch list
    """
    from seatrial import database

    project = project_of(options)
    found = [database.branch_facts(project, entry) for entry in database.all_branches(project)]
    if not options["as_json"]:
        table(
            ("name", "state", "from", "data of", "strategy", "masked", "expires"),
            [
                (
                    b["name"],
                    b["state"],
                    b["parent"],
                    b["data_of"] or "-",
                    b["strategy"] or "-",
                    "yes" if b["masked"] else "no",
                    b["expires"],
                )
                for b in found
            ],
        )
    return {"branches": found}


@branch.command(cls=JsonCommand)
@click.argument("name")
@in_project
def show(name: str, **options: Any) -> dict[str, Any]:
    """Show all that is known of a branch.

    \b
    Example:
      seatrial db branch show feature-x
    """
    from seatrial import database

    project = project_of(options)
    facts = database.branch_facts(project, database.find_branch(project, name))
    if not options["as_json"]:
        for key, value in facts.items():
            click.echo(f"{key + ':':14}{value}")
    return facts


def _confirmed(question: str, options: dict[str, Any]) -> None:
    if options["yes"]:
        return
    if options["as_json"] or not sys.stdin.isatty():
        raise BranchError("This must be confirmed.", hint="--yes")
    click.confirm(question, abort=True)


@branch.command(cls=JsonCommand)
@click.argument("name")
@click.option("--at", default="", metavar="SNAPSHOT", help="Go to this snapshot (default: what it was made from).")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@in_project
def reset(name: str, at: str, **options: Any) -> dict[str, Any]:
    """Put a branch back to what it was made from: its changes are lost, name and URL stay, clients are cut off.

    \b
    Example:
      seatrial db branch reset feature-x --yes
    """
    from seatrial import database

    project = project_of(options)
    _confirmed(f"Lose all changes of branch {name}?", options)
    with progress.working(f"resetting {name}", quiet=options["as_json"]):
        done = database.reset_branch(project, name, at=at)
    if not options["as_json"]:
        click.echo(f"{done.name} is as it was in golden copy {done.snapshot}")
    return database.branch_facts(project, done)


@branch.command(cls=JsonCommand)
@click.argument("name")
@click.argument("new_name")
@in_project
def rename(name: str, new_name: str, **options: Any) -> dict[str, Any]:
    """Give a branch another name; its URL stays.

    \b
    Example:
      seatrial db branch rename feature-x feature-y
    """
    from seatrial import database

    project = project_of(options)
    done = database.rename_branch(project, name, new_name)
    if not options["as_json"]:
        click.echo(f"{name} is called {done.name} now")
    return database.branch_facts(project, done)


@branch.command(cls=JsonCommand)
@click.argument("name")
@click.option("--ttl", default="24h", show_default=True, help="How long it lives from now.")
@in_project
def extend(name: str, ttl: str, **options: Any) -> dict[str, Any]:
    """Let a branch live longer.

    \b
    Example:
      seatrial db branch extend feature-x --ttl 7d
    """
    from seatrial import database

    project = project_of(options)
    done = database.extend_branch(project, name, ttl)
    if not options["as_json"]:
        click.echo(f"{done.name} lives until {done.expires}")
    return database.branch_facts(project, done)


@branch.command(cls=JsonCommand)
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@in_project
def delete(names: tuple[str, ...], **options: Any) -> dict[str, Any]:
    """Delete branches: their servers, files and passwords.

    \b
    Example:
      seatrial db branch delete feature-x --yes
    """
    from seatrial import database

    project = project_of(options)
    _confirmed(f"Delete {', '.join(names)}?", options)
    for name in names:
        database.delete_branch(project, name)
        if not options["as_json"]:
            click.echo(f"{name} is deleted")
    return {"deleted": list(names)}


@click.group()
def follow() -> None:
    """Let the database follow git: each git branch has a database branch, made when the first client connects."""


@follow.command(cls=JsonCommand)
@in_project
def install(**options: Any) -> dict[str, Any]:
    """Add a git hook that writes the URL into .seatrial/database.env after each checkout of a branch.

    \b
    Example:
      seatrial db follow install
    """
    from seatrial import database

    hook = database.install_follow(project_of(options))
    if not options["as_json"]:
        click.echo(f"{hook}; the URL is in .seatrial/database.env")
    return {"hook": str(hook)}


@follow.command(cls=JsonCommand)
@in_project
def now(**options: Any) -> dict[str, Any]:
    """Follow the git branch that is checked out now, as the hook does.

    \b
    Example:
      seatrial db follow now
    """
    from seatrial import database

    name = database.follow(project_of(options))
    if not options["as_json"]:
        click.echo(f"the database is {name}")
    return {"branch": name}


@follow.command(cls=JsonCommand)
@in_project
def remove(**options: Any) -> dict[str, Any]:
    """Take the hook out again; branches stay until they expire.

    \b
    Example:
      seatrial db follow remove
    """
    from seatrial import database

    was = database.remove_follow(project_of(options))
    if not options["as_json"]:
        click.echo("the hook is removed" if was else "there was no hook")
    return {"removed": was}


@click.group()
def snapshot() -> None:
    """Snapshots: frozen copies of production or of a branch, to make branches of."""


@snapshot.command("create", cls=JsonCommand)
@click.argument("name")
@click.option("--branch", default="", help="Freeze this branch (default: production).")
@in_project
def create_snapshot(name: str, branch: str, **options: Any) -> dict[str, Any]:
    """Freeze production or a branch under a NAME.

    \b
    Examples:
      seatrial db snapshot create before-migration
      seatrial db snapshot create seeded --branch feature-x
    """
    from seatrial import database

    project = project_of(options)
    with progress.working(f"making snapshot {name}", quiet=options["as_json"]):
        made = database.take_snapshot(project, name, branch)
    if not options["as_json"]:
        click.echo(f"{name}: {size(made.bytes)}, taken {made.taken}")
    return asdict(made)


@snapshot.command("list", cls=JsonCommand)
@in_project
def list_snapshots(**options: Any) -> dict[str, Any]:
    """List the snapshots.

    \b
    Example:
      seatrial db snapshot list
    """
    from seatrial import database

    project = project_of(options)
    found = project.records.all(database.Snapshot)
    if not options["as_json"]:
        rows = [(s.name or "-", s.id, s.source, s.state, s.method, s.taken, size(s.bytes)) for s in found]
        table(("name", "id", "source", "state", "method", "taken", "size"), rows)
    return {"snapshots": [asdict(entry) for entry in found]}


@snapshot.command("delete", cls=JsonCommand)
@click.argument("name")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@in_project
def delete_snapshot(name: str, **options: Any) -> dict[str, Any]:
    """Delete a snapshot that no branch needs to be reset to.

    \b
    Example:
      seatrial db snapshot delete before-migration --yes
    """
    from seatrial import database

    project = project_of(options)
    _confirmed(f"Delete the snapshot {name}?", options)
    database.delete_snapshot(project, name)
    if not options["as_json"]:
        click.echo(f"{name} is deleted")
    return {"deleted": name}
