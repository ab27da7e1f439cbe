"""`seatrial agent attach | look | logs | events | message | inbox`."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Any

import click

from seatrial.cli.agent_options import in_project, project_of
from seatrial.cli.groups import JsonCommand
from seatrial.errors import AgentError, MessageError


@click.command(cls=JsonCommand)
@click.argument("name")
@click.option("--read-only", is_flag=True, help="Look, but type nothing.")
@in_project
def attach(name: str, read_only: bool, **options: Any) -> dict[str, Any]:
    """Show the terminal of agent NAME in this one; C-b d leaves it.

    \b
    Example:
      seatrial agent attach ada
    """
    from seatrial import agents

    if not sys.stdin.isatty():
        raise AgentError("There is no terminal here to attach to.", hint=f"seatrial agent look {name}")
    return {"code": agents.attach(project_of(options), name, read_only=read_only)}


@click.command(cls=JsonCommand)
@click.argument("name")
@click.option("--lines", "-n", type=click.IntRange(0, 20000), default=0, help="Lines above the screen, too.")
@in_project
def look(name: str, lines: int, **options: Any) -> dict[str, Any]:
    """Print what the terminal of agent NAME shows, as plain text.

    \b
    Example:
      seatrial agent look ada
    """
    from seatrial import agents

    screen = agents.look(project_of(options), name, lines)
    if not options["as_json"]:
        click.echo(screen, nl=False)
    return {"screen": screen}


@click.command(cls=JsonCommand)
@click.argument("name")
@click.option("--lines", "-n", type=click.IntRange(1), default=100, show_default=True, help="Last lines.")
@click.option("--follow", "-f", is_flag=True, help="Go on with what comes.")
@in_project
def logs(name: str, lines: int, follow: bool, **options: Any) -> dict[str, Any]:
    """Print what the terminal of agent NAME printed, without control sequences.

    \b
    Example:
      seatrial agent logs ada -f
    """
    from seatrial import agents

    pieces = agents.logs(project_of(options), name, lines=lines, follow=follow and not options["as_json"])
    if options["as_json"]:
        return {"log": "".join(pieces)}
    for piece in pieces:
        click.echo(piece, nl=False)
    return {}


@click.command(cls=JsonCommand)
@click.argument("name", required=False)
@click.option("--limit", "-n", type=click.IntRange(1), default=50, show_default=True, help="Newest events.")
@click.option("--follow", "-f", is_flag=True, help="Go on with what comes; with --json one object a line.")
@click.option("--otlp", metavar="URL", help="Send them to an OpenTelemetry collector, e.g. http://127.0.0.1:4318.")
@in_project
def events(name: str | None, limit: int, follow: bool, otlp: str | None, **options: Any) -> dict[str, Any]:
    """List what happened to agent NAME, or to all of the project.

    \b
    Examples:
      seatrial agent events ada
      seatrial agent events -f --json | jq .kind
      seatrial agent events -f --otlp http://127.0.0.1:4318
    """
    from seatrial import agents

    project = project_of(options)
    if name:
        project.records.agent(name)
    if otlp:
        return {"sent": agents.export_events(project, name, otlp, limit=limit, follow=follow)}
    shown = []
    for event in agents.events(project, name, limit=limit, follow=follow):
        if options["as_json"] and follow:
            click.echo(json.dumps(asdict(event)))
        elif options["as_json"]:
            shown.append(asdict(event))
        else:
            facts = " ".join(f"{key}={value}" for key, value in event.facts.items() if value not in ("", None, [], {}))
            click.echo(f"{event.time[:19]}  {event.agent:<12} {event.kind:<16} {facts[:140]}")
    return {"events": shown}


@click.command(cls=JsonCommand)
@click.argument("to")
@click.argument("text", nargs=-1)
@click.option("--interrupt", "-i", is_flag=True, help="Stop what it is doing first.")
@click.option("--raw", is_flag=True, help="Type the text as it is, at once and without Enter.")
@click.option("--wait", "wait_", is_flag=True, help="Wait until it is delivered.")
@in_project
def message(to: str, text: tuple[str, ...], interrupt: bool, raw: bool, wait_: bool, **options: Any) -> dict[str, Any]:
    """Send TEXT to agent TO, or to all; - reads standard input.  It is stored, then delivered when it can be.

    \b
    Examples:
      seatrial agent message ada "Use the v2 API instead"
      git diff | seatrial agent message ada -
      seatrial agent message all "Commit what you have" --interrupt
    """
    from seatrial import agents

    if raw and (interrupt or to == "all"):
        raise MessageError("--raw goes with neither --interrupt nor all.")
    body = sys.stdin.read() if text in ((), ("-",)) else " ".join(text)
    project = project_of(options)
    sent = agents.send(project, "user", to, body, "raw" if raw else "interrupt" if interrupt else "message")
    if wait_:
        sent = agents.wait_delivered(project, sent)
    if not options["as_json"]:
        for entry in sent:
            click.echo(f"{entry.id} to {entry.recipient}: {'delivered' if entry.delivered else 'stored'}")
    return {"messages": [entry.as_dict() for entry in sent]}


@click.command(cls=JsonCommand)
@click.option("--all", "-a", "everything", is_flag=True, help="Those that were read, too.")
@click.option("--keep", is_flag=True, help="Do not mark them as read.")
@click.option("--agent", "name", help="What an agent was sent and sent.")
@in_project
def inbox(everything: bool, keep: bool, name: str | None, **options: Any) -> dict[str, Any]:
    """Show what agents wrote to you, and mark it as read.

    \b
    Examples:
      seatrial agent inbox
      seatrial agent inbox --agent ada
    """
    from seatrial import agents

    project = project_of(options)
    found = agents.message_history(project, name or "user") if everything or name else agents.waiting(project, "user")
    if not options["as_json"]:
        for entry in found:
            state = "read" if entry.acknowledged else "delivered" if entry.delivered else "stored"
            click.secho(
                f"{entry.id}  {entry.sender} → {entry.recipient}  {entry.kind}, {state}, {entry.created[:19]}",
                bold=True,
            )
            click.echo("\n".join(f"   {line}" for line in entry.text.splitlines()))
    if found and not keep and not name:
        agents.acknowledge(project, "user", found[-1].id)
    return {"messages": [entry.as_dict() for entry in found]}
