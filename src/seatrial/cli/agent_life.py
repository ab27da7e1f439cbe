"""`seatrial agent start | create | list | show | stop | resume | wait | fork | delete`."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import click

from seatrial.cli import progress
from seatrial.cli.agent_options import choices_of, choosing, coloured, in_project, project_of, table
from seatrial.cli.groups import JsonCommand
from seatrial.errors import AgentError


@click.command(cls=JsonCommand)
@click.argument("name")
@click.argument("task", nargs=-1)
@choosing
@click.option("--attach", "-a", is_flag=True, help="Show its terminal at once.")
def start(name: str, task: tuple[str, ...], attach: bool, **options: Any) -> dict[str, Any]:
    """Make agent NAME, if it is new, and start it on TASK.  Words after -- go to the harness as they are.

    \b
    Examples:
      seatrial agent start ada "Fix the failing test" --harness claude-code --usd 2
      seatrial agent start bob --task-file issue.md --allow preset:pypi --template reviewer
      seatrial agent start web --harness generic -- npm run dev
    """
    from seatrial import agents

    project = project_of(options)
    with progress.working(f"starting {name}", quiet=options["as_json"]):
        record = agents.start(project, name, choices_of(task, options))
    if not options["as_json"]:
        for note in record.workspace.get("notes", ()):
            click.echo(f"note: {note}", err=True)
        click.echo(f"{name} is {coloured(record.phase)} on {record.workspace['branch']}")
    if attach:
        agents.attach(project, name)
    return {"agent": asdict(record)}


@click.command(cls=JsonCommand)
@click.argument("name")
@click.argument("task", nargs=-1)
@choosing
def create(name: str, task: tuple[str, ...], **options: Any) -> dict[str, Any]:
    """Make agent NAME and start nothing; `start NAME` does.

    \b
    Example:
      seatrial agent create ada "Fix the failing test" --harness codex
    """
    from seatrial import agents

    record = agents.create(project_of(options), name, choices_of(task, options))
    if not options["as_json"]:
        click.echo(f"{name} is {coloured(record.phase)} on {record.workspace['branch']}")
    return {"agent": asdict(record)}


@click.command("list", cls=JsonCommand)
@click.option("--everywhere", is_flag=True, help="Of all projects on this machine.")
@click.option("--running", "-r", is_flag=True, help="Only those that run.")
@in_project
def list_(everywhere: bool, running: bool, **options: Any) -> dict[str, Any]:
    """List the agents of this project: what each is doing, since when, and what it has used.

    \b
    Examples:
      seatrial agent list
      seatrial agent list --everywhere --json
    """
    from seatrial import agents

    project = None if everywhere else project_of(options)
    found = agents.projects_with_agents() if project is None else [(project, project.records.agents())]
    shown = []
    for at, members in found:
        for record in members:
            if not running or record.phase == "running":
                used = at.records.spent(record.name)
                shown.append(
                    {**asdict(record), "project": str(at.root), "usage": {**asdict(used), "tokens": used.tokens}}
                )
    if not options["as_json"]:
        headings = ("name", "phase", "activity", "harness", "tokens", "usd", "updated", "detail")
        table(headings, [_row(entry, everywhere) for entry in shown])
    return {"agents": shown}


def _row(entry: dict[str, Any], everywhere: bool) -> list[str]:
    usage, name = entry["usage"], entry["name"]
    where = f"{entry['project'].rsplit('/', 1)[-1]}/{name}" if everywhere else name
    money = "?" if usage["usd"] is None else f"{usage['usd']:.2f}"
    return [where, entry["phase"], entry["activity"] or "-", entry["spec"]["harness"]["name"], f"{usage['tokens']:,}",
            money, entry["updated"][:19], entry["detail"][:60]]  # fmt: skip


@click.command(cls=JsonCommand)
@click.argument("name")
@in_project
def show(name: str, **options: Any) -> dict[str, Any]:
    """Show all that is known of agent NAME, and which layer decided what.

    \b
    Example:
      seatrial agent show ada
    """
    project = project_of(options)
    record = project.records.agent(name)
    used = project.records.spent(*project.records.family(name))
    facts = {"agent": asdict(record), "usage": asdict(used), "folder": str(project.agent(name).path)}
    if not options["as_json"]:
        spec = record.spec
        click.echo(f"{name}: {coloured(record.phase)} {record.activity} {record.detail}".rstrip())
        chosen = {**spec, "harness": spec["harness"]["name"], "template": " < ".join(spec["templates"])}
        for key in ("harness", "template", "runtime", "model", "profile"):
            if chosen[key]:
                click.echo(f"  {key:<10} {chosen[key]}  ({spec['why'][key]})")
        click.echo(f"  branch     {record.workspace.get('branch')} from {record.workspace.get('base', '')[:12]}")
        click.echo(f"  budget     {json.dumps(spec['budget'])}, used {used.tokens:,} tokens in {used.requests} calls")
        click.echo(f"  folder     {facts['folder']}")
    return facts


@click.command(cls=JsonCommand)
@click.argument("names", nargs=-1, metavar="NAME...")
@click.option("--all", "-a", "everyone", is_flag=True, help="Every agent of the project that runs.")
@in_project
def stop(names: tuple[str, ...], everyone: bool, **options: Any) -> dict[str, Any]:
    """Stop agents: what runs is asked to end, then ended.  Their work and conversations stay.

    \b
    Examples:
      seatrial agent stop ada
      seatrial agent stop --all
    """
    from seatrial import agents

    project = project_of(options)
    wanted = [a.name for a in project.records.agents() if a.phase == "running"] if everyone else list(names)
    if not wanted and not everyone:
        raise click.UsageError("Name an agent, or --all.")
    stopped = [agents.stop(project, name) for name in wanted]
    if not options["as_json"]:
        for record in stopped:
            click.echo(f"{record.name} is {coloured(record.phase)}")
    return {"agents": [asdict(record) for record in stopped]}


@click.command(cls=JsonCommand)
@click.argument("name")
@click.argument("task", nargs=-1)
@click.option("--attach", "-a", is_flag=True, help="Show its terminal at once.")
@in_project
def resume(name: str, task: tuple[str, ...], attach: bool, **options: Any) -> dict[str, Any]:
    """Start agent NAME again with its conversation, and give it TASK.

    \b
    Examples:
      seatrial agent resume ada
      seatrial agent resume ada "Now write the changelog"
    """
    from seatrial import agents

    project = project_of(options)
    record = agents.resume(project, name, " ".join(task))
    if not options["as_json"]:
        click.echo(f"{name} is {coloured(record.phase)}")
    if attach:
        agents.attach(project, name)
    return {"agent": asdict(record)}


@click.command(cls=JsonCommand)
@click.argument("name")
@click.option("--for", "states", multiple=True, default=("idle",), show_default=True,
              help="idle, done, asks, stopped, or the name of an activity.")  # fmt: skip
@click.option("--timeout", default="1h", show_default=True, help="How long.")
@in_project
def wait(name: str, states: tuple[str, ...], timeout: str, **options: Any) -> dict[str, Any]:
    """Wait until agent NAME is idle, done, asks or has stopped; exit code 1 when the time is over.

    \b
    Example:
      seatrial agent wait ada --for done --for asks --timeout 30m
    """
    from seatrial import agents

    seconds = agents.parse_seconds(timeout, "--timeout")
    with progress.working(f"waiting for {name}", quiet=options["as_json"]):
        record = agents.wait(project_of(options), name, states, seconds)
    if not options["as_json"]:
        click.echo(f"{name} is {record.activity or record.phase} {record.detail}".rstrip())
    return {"agent": asdict(record)}


@click.command(cls=JsonCommand)
@click.argument("name")
@click.argument("new")
@in_project
def fork(name: str, new: str, **options: Any) -> dict[str, Any]:
    """Copy agent NAME as NEW: workspace, home and conversation; `resume NEW` starts it.

    \b
    Example:
      seatrial agent fork ada ada-2
    """
    from seatrial import agents

    with progress.working(f"copying {name}", quiet=options["as_json"]):
        record = agents.fork(project_of(options), name, new)
    if not options["as_json"]:
        click.echo(f"{new} is {coloured(record.phase)} on {record.workspace['branch']}: seatrial agent resume {new}")
    return {"agent": asdict(record)}


@click.command(cls=JsonCommand)
@click.argument("names", nargs=-1, metavar="NAME...")
@click.option("--stopped", is_flag=True, help="Every agent that does not run.")
@click.option("--discard-work", is_flag=True, help="Delete work that is not merged, too.")
@in_project
def delete(names: tuple[str, ...], stopped: bool, discard_work: bool, **options: Any) -> dict[str, Any]:
    """Delete agents with all that is their own; refuses (exit code 3) while they have work that is not merged.

    \b
    Examples:
      seatrial agent delete ada
      seatrial agent delete --stopped
    """
    from seatrial import agents

    project = project_of(options)
    idle = [a.name for a in project.records.agents() if a.phase in ("created", "stopped", "error")]
    wanted = idle if stopped else list(names)
    if not wanted and not stopped:
        raise click.UsageError("Name an agent, or --stopped.")
    problems: list[AgentError] = []
    for name in wanted:
        try:
            agents.delete(project, name, discard=discard_work)
        except AgentError as problem:
            problems.append(problem)
        else:
            if not options["as_json"]:
                click.echo(f"{name} is deleted")
    if problems:
        raise problems[0]
    return {"deleted": wanted}
