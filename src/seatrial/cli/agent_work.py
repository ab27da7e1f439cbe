"""`seatrial agent diff | merge | conflicts | publish | exec | ports | open`."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from seatrial.cli import progress
from seatrial.cli.agent_options import in_project, project_of, table
from seatrial.cli.groups import JsonCommand
from seatrial.errors import GitError, MergeConflictError

if TYPE_CHECKING:
    from seatrial.agents import MergePlan


@click.command(cls=JsonCommand)
@click.argument("name")
@click.option("--stat", is_flag=True, help="Only which files, and how much.")
@in_project
def diff(name: str, stat: bool, **options: Any) -> dict[str, Any]:
    """Show what agent NAME changed since it parted from your branch; what is not committed, too.

    \b
    Examples:
      seatrial agent diff ada
      seatrial agent diff ada --stat
    """
    from seatrial import agents

    with progress.working(f"collecting the work of {name}", quiet=options["as_json"]):
        found = agents.diff(project_of(options), name)
    if not options["as_json"]:
        for change in found.files:
            mark = "" if change.committed else "  (not committed)"
            click.echo(f"{change.path}  +{change.added or 0} -{change.removed or 0}{mark}", err=not stat)
        for patch in (found.committed, found.uncommitted):
            if not stat:
                _print_patch(patch)
    return asdict(found)


def _print_patch(patch: str) -> None:
    colours = {"+": "green", "-": "red", "@": "cyan"}
    for line in patch.splitlines():
        bold = line.startswith(("diff ", "+++", "---"))
        click.secho(line, fg=None if bold else colours.get(line[:1]), bold=bold)


@click.command(cls=JsonCommand)
@click.argument("name")
@click.option("--squash", "strategy", flag_value="squash", help="One commit.")
@click.option("--rebase", "strategy", flag_value="rebase", help="A straight line of its commits.")
@click.option("--merge", "strategy", flag_value="merge", default="merge", help="Its commits and a merge (default).")
@click.option("--into", help="Branch to land on (default: the one checked out).")
@click.option("--uncommitted", is_flag=True, help="Take along what is not committed, as a last commit.")
@click.option("--sign", is_flag=True, help="Sign each commit with your key.")
@click.option("--message", "text", help="Message of the merge, or of the one commit.")
@click.option("--preview", is_flag=True, help="Only show the plan.")
@click.option("--plan", "expected", metavar="HASH", help="Do it if the plan is still the one of this hash.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@in_project
def merge(name: str, preview: bool, expected: str | None, yes: bool, **options: Any) -> dict[str, Any]:
    """Plan landing the work of agent NAME, show the plan, and do exactly that.

    \b
    Examples:
      seatrial agent merge ada --preview
      seatrial agent merge ada --squash --message "Add the parser"
      seatrial agent merge ada --plan 3f9a…
    """
    from seatrial import agents

    project = project_of(options)
    how = {key: options[key] for key in ("strategy", "into", "uncommitted", "sign")}
    with progress.working(f"collecting the work of {name}", quiet=options["as_json"]):
        plan = agents.plan_merge(project, name, message=options["text"], **how)
    facts = {"plan": {**json.loads(plan.canonical()), "hash": plan.hash}}
    if not options["as_json"]:
        _show_plan(plan)
    if preview:
        if plan.conflicts:
            raise MergeConflictError(f"The work of {name} conflicts with {plan.into}.", conflicts=len(plan.conflicts))
        return facts
    if expected and not (len(expected) >= 8 and plan.hash.startswith(expected)):
        raise GitError("The plan is not the one that was named: something moved.", hint="Look at it again: --preview")
    if not (yes or expected or plan.conflicts):
        if options["as_json"] or not sys.stdin.isatty():
            raise GitError("A merge must be confirmed.", hint=f"--plan {plan.hash[:12]}, or --yes")
        click.confirm(f"Land this on {plan.into}?", abort=True)
    landed = agents.execute_merge(project, plan)
    if not options["as_json"]:
        click.echo(f"{plan.into}: {landed.old[:12]} → {landed.new[:12]}")
    return {**facts, "landed": {key: str(value) for key, value in asdict(landed).items()}}


def _show_plan(plan: MergePlan) -> None:
    click.secho(f"plan {plan.hash[:12]}: {plan.strategy} {plan.agent} into {plan.into}", bold=True, err=True)
    for commit in plan.commits:
        click.echo(f"  {commit.old[:10]} {commit.subject}", err=True)
    click.echo(f"  {len(plan.files)} files: {', '.join(plan.files[:8])}{' …' if len(plan.files) > 8 else ''}", err=True)
    for note in plan.notes:
        click.echo(f"  note: {note}", err=True)
    for entry in plan.attention:
        click.secho(f"  look at {entry.path}: {entry.reason}", fg="yellow", err=True)
    for conflict in plan.conflicts:
        click.secho(f"  conflict in {conflict.path}: {conflict.kind}", fg="red", err=True)


@click.command(cls=JsonCommand)
@click.argument("names", nargs=-1, metavar="[NAME...]")
@in_project
def conflicts(names: tuple[str, ...], **options: Any) -> dict[str, Any]:
    """Show which agents' work does not go together; without names, of all agents.

    \b
    Example:
      seatrial agent conflicts ada bob
    """
    from seatrial import agents

    project = project_of(options)
    wanted = names or tuple(record.name for record in project.records.agents())
    with progress.working("collecting work", quiet=options["as_json"]):
        found = agents.preview_between(project, wanted)
    if not options["as_json"]:
        for pair in found:
            paths = ", ".join(conflict.path for conflict in pair.conflicts)
            click.echo(f"{pair.one} and {pair.other}: {'conflict in ' + paths if paths else 'go together'}")
    return {"pairs": [asdict(pair) for pair in found]}


@click.command(cls=JsonCommand)
@click.argument("name")
@in_project
def publish(name: str, **options: Any) -> dict[str, Any]:
    """Show the commits of agent NAME, as they are, as branch seatrial/NAME of your repository.

    \b
    Example:
      seatrial agent publish ada && git log seatrial/ada
    """
    from seatrial import agents

    commit = agents.publish(project_of(options), name)
    if not options["as_json"]:
        click.echo(f"seatrial/{name} is {commit[:12]}")
    return {"branch": f"seatrial/{name}", "commit": commit}


@click.command("exec", cls=JsonCommand, context_settings={"ignore_unknown_options": True})
@click.argument("name")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@in_project
def exec_(name: str, command: tuple[str, ...], **options: Any) -> dict[str, Any]:
    """Run COMMAND in the sandbox of agent NAME; exits with its code.  In one of its own while the agent is stopped.

    \b
    Example:
      seatrial agent exec ada -- git log --oneline
    """
    from seatrial import agents

    code = agents.execute(project_of(options), name, command)
    if not options["as_json"]:
        sys.exit(code)
    return {"code": code}


@click.command(cls=JsonCommand)
@click.argument("name")
@in_project
def ports(name: str, **options: Any) -> dict[str, Any]:
    """List what listens inside of agent NAME.  Each agent has a loopback of its own, so ports never collide.

    \b
    Example:
      seatrial agent ports web
    """
    from seatrial import agents

    found = agents.ports(project_of(options), name)
    if not options["as_json"]:
        table(("port", "address", "program"), [(port.number, port.address, port.program or "-") for port in found])
    return {"ports": [asdict(port) for port in found]}


@click.command("open", cls=JsonCommand)
@click.argument("name")
@click.argument("port", type=click.IntRange(1, 65535))
@click.option("--local", type=click.IntRange(0, 65535), default=0, help="Port here (default: any).")
@in_project
def open_(name: str, port: int, local: int, **options: Any) -> dict[str, Any]:
    """Show PORT inside of agent NAME at an address on this machine's loopback, until C-c.

    \b
    Example:
      seatrial agent open web 3000
    """
    from seatrial import agents

    def ready(address: str) -> None:
        click.echo(json.dumps({"ok": True, "url": address}) if options["as_json"] else address)
        sys.stdout.flush()

    asyncio.run(agents.forward(project_of(options), name, port, local, ready))
    return {}
