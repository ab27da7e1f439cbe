"""`seatrial db propose | measure | review | approve | reject | apply | resume | abandon | drift | reviewer`."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from seatrial.cli import progress
from seatrial.cli.agent_options import table
from seatrial.cli.db_options import in_project, project_of
from seatrial.cli.groups import JsonCommand
from seatrial.errors import ProposalError

if TYPE_CHECKING:
    from seatrial.database import Change, Proposal

_COLOURS = {"approved": "green", "applied": "green", "proposed": "cyan", "rejected": "red", "failed": "red"}


def _change_options(function: Any) -> Any:
    for option in reversed(
        [
            click.argument("files", nargs=-1, metavar="[FILE]...", type=click.Path(path_type=Path)),
            click.option("--migrations", is_flag=True, help="The pending files of the folder of migrations."),
            click.option("--run", "command", metavar="COMMAND", help="What this command does to a fresh branch."),
            click.option("--tool", is_flag=True, help="The same with the migration tool that the project uses."),
            click.option("--title", default="", help="What it is for, in a few words."),
            click.option("--lock-timeout", type=click.IntRange(1), metavar="MS", help="Longest wait for a lock."),
            click.option("--statement-timeout", type=click.IntRange(1), metavar="MS", help="Longest statement."),
            click.option(
                "--queries",
                type=click.Path(path_type=Path),
                metavar="FILE|statistics",
                help="Queries whose plans to compare: a file, or production's slowest (pg_stat_statements).",
            ),
        ]
    ):
        function = option(function)
    return in_project(function)


def _change_of(options: dict[str, Any]) -> Change:
    from seatrial import database

    return database.change_from(
        project_of(options),
        options["files"],
        title=options["title"],
        lock_ms=options["lock_timeout"],
        statement_ms=options["statement_timeout"],
        queries=options["queries"],
        migrations=options["migrations"],
        command=options["command"] or "",
        tool=options["tool"],
    )


def _facts(proposal: Proposal) -> dict[str, Any]:
    plan = proposal.opened()
    facts = asdict(proposal)
    facts.pop("plan")
    return {**facts, "hazards": list(plan.hazards), "statements": [s.text for s in plan.statements]}


@click.command(cls=JsonCommand)
@_change_options
@click.option("--html", type=click.Path(path_type=Path), help="Write the report as a page.")
def measure(html: Path | None, **options: Any) -> dict[str, Any]:
    """Run a change on a fresh branch of production and show what it would do; nothing is proposed.

    \b
    Examples:
      seatrial db measure migrations/0007_add_status.sql
      seatrial db measure change.sql --queries slow.sql --html report.html
    """
    from seatrial import database

    project, change = project_of(options), _change_of(options)
    with progress.working("measuring on a branch", quiet=options["as_json"]):
        plan, report = database.measure_change(project, change)
    if html:
        database.write_page(report, html, change.title or change.name)
    if not options["as_json"]:
        click.echo(database.render_text(report))
    return {"plan": plan.hash, "hazards": list(plan.hazards), "report": report.as_dict()}


@click.command(cls=JsonCommand)
@_change_options
@click.option("--author", default="", help="Who proposes it (default: you).")
def propose(author: str, **options: Any) -> dict[str, Any]:
    """Measure a change on a branch and put it before the reviewers.  FILEs are SQL; - is standard input.

    With --run or --tool, a migration tool is run on a fresh branch (DATABASE_URL says which), and what it did there is
    the change: Alembic, Django, Prisma, Drizzle and Flyway are recognised.

    \b
    Examples:
      seatrial db propose --migrations
      seatrial db propose --run "alembic upgrade head"
      seatrial db propose migrations/0007_add_status.sql --title "Order status"
      echo "CREATE INDEX CONCURRENTLY ON orders (user_id)" | seatrial db propose -
    """
    from seatrial import database

    project, change = project_of(options), _change_of(options)
    with progress.working("measuring on a branch", quiet=options["as_json"]):
        made = database.propose(project, change, author=author)
    report = database.report_of(project, made)
    if not options["as_json"]:
        click.echo(database.render_text(report))
        click.echo(f"proposal {made.id}: {made.title}")
        click.echo(f"hint: somebody else: seatrial db review {made.id}", err=True)
    return _facts(made)


@click.command(cls=JsonCommand)
@click.argument("proposal", default="")
@click.option("--html", type=click.Path(path_type=Path), help="Write the report as a page.")
@in_project
def review(proposal: str, html: Path | None, **options: Any) -> dict[str, Any]:
    """List the proposals, with those that branches have left in their inbox; or show one, with what was measured.

    \b
    Examples:
      seatrial db review
      seatrial db review 3f9a --html review.html
    """
    from seatrial import database

    project = project_of(options)
    if proposal:
        return _show(database.find_proposal(project, proposal), html, options)
    with progress.working("looking into the branches' inboxes", quiet=options["as_json"]):
        arrived = database.collect_inbox(project)
        database.stale(project)
    for branch, made, why in arrived:
        if not made:
            click.secho(f"what branch {branch} proposes is not taken: {why}", fg="yellow", err=True)
    found = project.records.all(database.Proposal)
    if not options["as_json"]:
        table(
            ("id", "state", "author", "hazards", "title"),
            [(p.id, p.state, p.author, ",".join(p.opened().hazards) or "-", p.title) for p in found],
        )
    return {"proposals": [_facts(entry) for entry in found]}


def _show(found: Proposal, html: Path | None, options: dict[str, Any]) -> dict[str, Any]:
    from seatrial import database

    project = project_of(options)
    report = database.report_of(project, found)
    approvals = database.approvals(project, found)
    if html:
        database.write_page(report, html, found.title, found)
    if not options["as_json"]:
        state = click.style(found.state, fg=_COLOURS.get(found.state))
        click.echo(f"proposal {found.id} by {found.author}, {state}: {found.title}")
        click.echo(f"plan {found.hash}")
        click.echo(database.render_text(report))
        for given in approvals:
            click.secho(f"approved by {given.approver} until {given.expires}", fg="green")
        if found.state == "proposed":
            hazards = ",".join(found.opened().hazards)
            click.echo(f"hint: seatrial db approve {found.id}{f' --hazards {hazards}' if hazards else ''}", err=True)
    return {**_facts(found), "approvals": [asdict(given) for given in approvals], "report": report.as_dict()}


@click.command(cls=JsonCommand)
@click.argument("proposal")
@click.option("--hazards", default="", metavar="NAMES", help="The hazards that you accept, all of them, by name.")
@click.option("--as", "approver", default="", metavar="REVIEWER", help="Who approves (default: you).")
@click.option("--key", type=click.Path(path_type=Path), help="Your private SSH key.")
@in_project
def approve(proposal: str, hazards: str, approver: str, key: Path | None, **options: Any) -> dict[str, Any]:
    """Sign the plan of a proposal.  Its author cannot; the signature is for this plan only, and expires.

    \b
    Examples:
      seatrial db approve 3f9a
      seatrial db approve 3f9a --hazards DROPS_DATA,BLOCKS_READS --key ~/.ssh/id_ed25519
    """
    from seatrial import database

    project = project_of(options)
    done = database.approve(project, proposal, hazards=hazards.split(","), approver=approver, key=key)
    given, needed = len(database.approvals(project, done)), database.approvals_required(project)
    if not options["as_json"]:
        click.echo(f"proposal {done.id} has {given} of {needed} approvals and is {done.state}")
    return {**_facts(done), "given": given, "needed": needed}


@click.command(cls=JsonCommand)
@click.argument("proposal")
@click.option("--reason", required=True, help="Why; the author will read it.")
@in_project
def reject(proposal: str, reason: str, **options: Any) -> dict[str, Any]:
    """Turn a proposal down.

    \b
    Example:
      seatrial db reject 3f9a --reason "The column is still read by the old release."
    """
    from seatrial import database

    done = database.reject(project_of(options), proposal, reason)
    if not options["as_json"]:
        click.echo(f"proposal {done.id} is rejected")
    return _facts(done)


def _notice(text: str) -> None:
    click.echo(text, err=True)


def _applied(verb: str, proposal: str, options: dict[str, Any]) -> dict[str, Any]:
    from seatrial import database

    project = project_of(options)
    work = database.apply if verb == "apply" else database.resume
    done = work(project, proposal, notice=_notice)
    if not options["as_json"]:
        click.secho(f"proposal {done.proposal.id} is applied ({done.seconds:.1f} s)", fg="green")
    return {**_facts(done.proposal), "tries": done.tries, "blockers": [str(b) for b in done.blockers]}


@click.command(cls=JsonCommand)
@click.argument("proposal")
@in_project
def apply(proposal: str, **options: Any) -> dict[str, Any]:
    """Apply an approved proposal to production: exactly the plan, onto exactly the schema that it was measured on.

    \b
    Example:
      seatrial db apply 3f9a
    """
    return _applied("apply", proposal, options)


@click.command(cls=JsonCommand)
@click.argument("proposal")
@in_project
def resume(proposal: str, **options: Any) -> dict[str, Any]:
    """Go on with a proposal whose apply was interrupted, or left an invalid index; what is done is not done again.

    \b
    Example:
      seatrial db resume 3f9a
    """
    return _applied("resume", proposal, options)


@click.command(cls=JsonCommand)
@click.argument("proposal")
@click.option("--reason", required=True, help="Why.")
@in_project
def abandon(proposal: str, reason: str, **options: Any) -> dict[str, Any]:
    """Give up a proposal that is open or half applied.

    \b
    Example:
      seatrial db abandon 3f9a --reason "The duplicates must be merged first."
    """
    from seatrial import database

    done = database.abandon(project_of(options), proposal, reason)
    if not options["as_json"]:
        click.echo(f"proposal {done.id} is abandoned")
    return _facts(done)


@click.command(cls=JsonCommand)
@in_project
def migrations(**options: Any) -> dict[str, Any]:
    """List the files of the folder of migrations, and which are applied, pending, changed or missing.

    \b
    Example:
      seatrial db migrations
    """
    from seatrial import database

    found = database.migrations(project_of(options))
    if not options["as_json"]:
        table(("file", "state", "proposal"), [(entry.name, entry.state, entry.proposal or "-") for entry in found])
    return {"migrations": [asdict(entry) for entry in found]}


@click.command(cls=JsonCommand)
@click.option("--accept", is_flag=True, help="Take production's schema as it is from now on.")
@in_project
def drift(accept: bool, **options: Any) -> dict[str, Any]:
    """Show what was changed in production's schema past the gate; exits with 3 when there is something.

    \b
    Examples:
      seatrial db drift
      seatrial db drift --accept
    """
    from seatrial import database

    project = project_of(options)
    found = database.accept_drift(project) if accept else database.drift(project)
    if options["as_json"]:
        return {"accepted": accept, "changes": [asdict(change) for change in found]}
    for change in found:
        click.secho(change.sentence, fg="yellow")
    if not found:
        click.echo("production's schema is as the gate left it")
    elif not accept:
        sys.exit(3)
    return {}


@click.group()
def reviewer() -> None:
    """Reviewers: who may approve, by which SSH key."""


@reviewer.command(cls=JsonCommand)
@click.argument("name")
@click.option("--key", type=click.Path(path_type=Path), help="Their public key (default: make a pair here).")
@in_project
def add(name: str, key: Path | None, **options: Any) -> dict[str, Any]:
    """Let NAME approve proposals.

    \b
    Examples:
      seatrial db reviewer add rita --key rita.pub
      seatrial db reviewer add rita
    """
    from seatrial import database

    try:
        public = key.read_text() if key else ""
    except (OSError, UnicodeDecodeError) as problem:
        raise ProposalError(f"{key} cannot be read.") from problem
    made = database.add_reviewer(project_of(options), name, public)
    if not options["as_json"]:
        click.echo(f"{name} may approve" + (f"; the private key is {made}, give it to nobody else" if made else ""))
    return {"reviewer": name, "private_key": str(made) if made else None}


@reviewer.command("list", cls=JsonCommand)
@in_project
def list_(**options: Any) -> dict[str, Any]:
    """List the reviewers and their keys.

    \b
    Example:
      seatrial db reviewer list
    """
    from seatrial import database

    found = database.reviewers(project_of(options))
    if not options["as_json"]:
        table(("reviewer", "key"), sorted(found.items()))
    return {"reviewers": found}


@reviewer.command(cls=JsonCommand)
@click.argument("name")
@in_project
def remove(name: str, **options: Any) -> dict[str, Any]:
    """Let NAME approve no more; approvals given by it stop counting.

    \b
    Example:
      seatrial db reviewer remove rita
    """
    from seatrial import database

    database.remove_reviewer(project_of(options), name)
    if not options["as_json"]:
        click.echo(f"{name} approves no more")
    return {"reviewer": name}
