"""`seatrial db init | up | down | status | url | psql | refresh | log | doctor`."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from seatrial.cli import progress
from seatrial.cli.agent_options import table
from seatrial.cli.db_options import in_project, project_of, size
from seatrial.cli.groups import JsonCommand
from seatrial.errors import DatabaseError


@click.command(cls=JsonCommand)
@click.option("--name", default="", help="Name of the database (default: made of the folder's name).")
@click.option("--load", type=click.Path(path_type=Path), help="File of SQL that fills the new database.")
@in_project
def init(name: str, load: Path | None, **options: Any) -> dict[str, Any]:
    """Write [db] into seatrial.toml, make a production server, start it and print its URL.

    \b
    Examples:
      seatrial db init
      seatrial db init --name shop --load schema.sql
    """
    from seatrial import database

    root = Path(options["project"]) if options["project"] else None
    with progress.working("making a Postgres server", quiet=options["as_json"]):
        project = database.init(root, name=name, load=load)
        found = database.url(project)
    if not options["as_json"]:
        click.echo(f"Postgres {project.installation.name} runs. The application's URL:", err=True)
        click.echo(found)
    return {"url": found, "database": project.settings.name, "postgres": project.installation.name}


@click.command(cls=JsonCommand)
@in_project
def up(**options: Any) -> dict[str, Any]:
    """Start the production server and the service that clients connect to.

    \b
    Example:
      seatrial db up
    """
    from seatrial import database

    with progress.working("starting", quiet=options["as_json"]):
        service = database.up(project_of(options))
    if not options["as_json"]:
        click.echo(f"listening on 127.0.0.1:{service.port}")
    return asdict(service)


@click.command(cls=JsonCommand)
@in_project
def down(**options: Any) -> dict[str, Any]:
    """Stop the service, the production server and all branches; nothing is lost.

    \b
    Example:
      seatrial db down
    """
    from seatrial import database

    with progress.working("stopping", quiet=options["as_json"]):
        stopped = database.down(project_of(options))
    if not options["as_json"]:
        click.echo(f"stopped: {', '.join(stopped) or 'nothing was running'}")
    return {"stopped": stopped}


@click.command(cls=JsonCommand)
@in_project
def status(**options: Any) -> dict[str, Any]:
    """Show what runs, with its memory, and the golden copies that branches are made from.

    \b
    Example:
      seatrial db status
    """
    from seatrial import database

    project = project_of(options)
    service = database.running(project)
    servers: list[dict[str, Any]] = [
        {"name": name, "running": cluster.pid() is not None, "memory": database.resident_bytes(cluster)}
        for name, cluster in database.servers(project)
    ]
    copies = [asdict(copy) for copy in project.records.all(database.Snapshot)]
    if not options["as_json"]:
        click.echo(f"service: {f'127.0.0.1:{service.port}' if service else 'not running (seatrial db up)'}")
        table(
            ("server", "state", "memory"),
            [
                (s["name"], "running" if s["running"] else "asleep", size(s["memory"]) if s["memory"] else "-")
                for s in servers
            ],
        )
        if copies:
            table(
                ("golden copy", "taken", "method", "size"),
                [(c["name"] or c["id"], c["taken"], c["method"], size(c["bytes"])) for c in copies],
            )
    return {"service": asdict(service) if service else None, "servers": servers, "snapshots": copies}


@click.command(cls=JsonCommand)
@click.option("--branch", default="", help="Branch (default: production).")
@click.option("--role", type=click.Choice(["owner", "rw", "ro"]), help="Default: owner on a branch, rw on production.")
@in_project
def url(branch: str, role: str | None, **options: Any) -> dict[str, Any]:
    """Print the URL for DATABASE_URL.  A branch that sleeps, or is only declared, is there when a client connects.

    \b
    Examples:
      seatrial db url
      export DATABASE_URL=$(seatrial db url --branch feature-x)
      seatrial db url --branch feature-x --role ro
    """
    from seatrial import database

    found = database.url(project_of(options), branch, role or "")
    if not options["as_json"]:
        click.echo(found)
    return {"url": found}


@click.command(cls=JsonCommand, context_settings={"ignore_unknown_options": True})
@click.option("--branch", default="", help="Branch (default: production).")
@click.option("--role", type=click.Choice(["owner", "rw", "ro"]), help="Default: owner on a branch, rw on production.")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@in_project
def psql(branch: str, role: str | None, arguments: tuple[str, ...], **options: Any) -> dict[str, Any]:
    """Open psql; ARGUMENTS are psql's.  The password is handed over in the environment, not on the command line.

    \b
    Examples:
      seatrial db psql
      seatrial db psql --branch feature-x -- -c "SELECT count(*) FROM orders"
    """
    from seatrial import database

    project = project_of(options)
    address, environment = database.psql_arguments(database.url(project, branch, role or ""))
    program = project.installation.program("psql")
    try:
        os.execve(program, [program, address, *arguments], {**os.environ, **environment})
    except OSError as problem:
        raise DatabaseError(f"{program} cannot be run: {problem.strerror}.") from problem


@click.command(cls=JsonCommand)
@in_project
def refresh(**options: Any) -> dict[str, Any]:
    """Make a new golden copy of production, without stopping it; branches made from now on come from there.

    \b
    Example:
      seatrial db refresh
    """
    from seatrial import database

    project = project_of(options)
    with progress.counting("copying", quiet=options["as_json"]) as count:
        snapshot = database.refresh(project, progress=count)
    if not options["as_json"]:
        click.echo(f"golden copy {snapshot.id}: {size(snapshot.bytes)}, taken {snapshot.taken}")
    return asdict(snapshot)


@click.command(cls=JsonCommand)
@click.option("--verify", is_flag=True, help="Check that no event was changed or taken out.")
@click.option("--last", type=click.IntRange(1), default=30, help="How many events to show.")
@in_project
def log(verify: bool, last: int, **options: Any) -> dict[str, Any]:
    """Show what was done, by whom, and how it ended; the log only grows, and each event holds the one before.

    \b
    Examples:
      seatrial db log
      seatrial db log --verify
    """
    project = project_of(options)
    count = project.audit.verify() if verify else None
    events = list(project.audit.events())[-last:]
    if not options["as_json"]:
        table(
            ("time", "who", "what", "subject", "outcome"),
            [(e.time, e.who, e.what, e.facts.get("name", e.subject), e.outcome) for e in events],
        )
        if verify:
            click.secho(f"{count} events, none changed", fg="green")
    return {"events": [asdict(event) for event in events], "verified": count}


@click.command(cls=JsonCommand)
@click.option("--branch", default="", help="The branch that the agent works on.")
@click.option("--url", "address", default="", envvar="DATABASE_URL", help="Its URL, where this project is not at hand.")
@in_project
def mcp(branch: str, address: str, **options: Any) -> dict[str, Any]:
    """Serve one branch as tools: query, execute, schema, propose.  None of them reaches production.

    \b
    Examples:
      seatrial db mcp --branch agent-ada
      DATABASE_URL=… seatrial db mcp
    """
    from seatrial import database

    if branch:
        address = database.url(project_of(options), branch)
    elif not address:
        raise DatabaseError("Which branch?", hint="--branch NAME, or its URL in DATABASE_URL.")
    database.serve_mcp(address)
    return {}


@click.command(cls=JsonCommand)
@in_project
def doctor(**options: Any) -> dict[str, Any]:
    """Say which Postgres is found, how branches would be copied here, and what is missing.

    \b
    Example:
      seatrial db doctor
    """
    from seatrial import database

    findings = database.doctor(Path(options["project"]) if options["project"] else None)
    if not options["as_json"]:
        for finding in findings:
            mark = click.style("ok " if finding.ok else "no ", fg="green" if finding.ok else "red")
            click.echo(f"{mark} {finding.name}: {finding.detail}{f'  ({finding.hint})' if finding.hint else ''}")
    return {"findings": [asdict(finding) for finding in findings]}
