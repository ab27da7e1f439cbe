"""`seatrial canary ingest | install | uninstall | watch | costs | export | share | pool`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from seatrial.cli import progress
from seatrial.cli.agent_options import table
from seatrial.cli.groups import JsonCommand

if TYPE_CHECKING:
    from seatrial.canary import CostRow, Features, History, IngestReport

_Command = TypeVar("_Command", bound=Callable[..., Any])
_SHOWN = 10


def _folders(command: _Command) -> _Command:
    about = "Logs in this folder or archive instead of this machine's own; its history is kept apart."
    return click.option("--from", "folders", multiple=True, metavar="PATH", help=about)(command)


def _new_logs(command: _Command) -> _Command:
    command = click.option("--no-ingest", is_flag=True, help="Only what is known, without reading new logs.")(command)
    return _folders(command)


def _window(command: _Command) -> _Command:
    for option in (
        click.option("--days", type=click.IntRange(1), help="Only the last so many days (default: all)."),
        click.option("--agent", default="", help="Only this agent."),
        click.option("--project", default="", help="Only this project (the name of its folder)."),
    ):
        command = option(command)
    return command


@contextmanager
def _history(options: dict[str, Any]) -> Iterator[History]:
    """Open the history and take in what is new, if that is asked for."""
    from seatrial import canary

    with canary.open_history(options["folders"]) as found:
        if not options.get("no_ingest"):
            with progress.counting("reading logs, bytes", quiet=options["as_json"]) as report:
                canary.take_in(found, options["folders"], report)
        yield found


def _sessions(options: dict[str, Any]) -> list[Features]:
    from dataclasses import replace

    from seatrial import canary

    window = canary.Window()
    if options.get("days"):
        last: date = datetime.now(UTC).date()
        window = canary.window_of_days(options["days"], last)
    window = replace(window, agent=options.get("agent", ""), project=options.get("project", ""))
    with _history(options) as found:
        return canary.sessions_of(found, window)


@click.command(cls=JsonCommand)
@_folders
def ingest(**options: Any) -> dict[str, Any]:
    """Take new logs into the history, which keeps what the agents delete; reads only what has changed.

    May be run at any time and as often as one likes, also while agents write.

    \b
    Examples:
      seatrial canary ingest
      seatrial canary ingest --from ~/old-logs --from backup.tar.xz
    """
    from seatrial import canary

    counting = progress.counting("reading logs, bytes", quiet=options["as_json"])
    with canary.open_history(options["folders"]) as found, counting as report:
        taken = canary.take_in(found, options["folders"], report)
    if not options["as_json"]:
        _show_ingest(taken)
    return asdict(taken)


def _show_ingest(taken: IngestReport) -> None:
    click.echo(
        f"{taken.files_read:,} logs read ({taken.bytes_read / 1e6:,.1f} MB), {taken.files_unchanged:,} unchanged:"
        f" {taken.sessions_new:,} new sessions, {taken.sessions_updated:,} updated"
    )
    counts = {
        "lines that cannot be read": taken.bad_lines,
        "lines that are too long": taken.long_lines,
        "fields of a wrong type": taken.wrong_fields,
        "messages that another log holds too, counted once": taken.duplicates,
        "logs that were rewritten": taken.rewrites,
        "logs that are gone, whose sessions stay": taken.files_gone,
        "sessions of which no log was ever seen": taken.lost.get("sessions", 0),
    }
    for about, number in counts.items():
        if number:
            click.echo(f"  {number:,} {about}")
    for kind, number in sorted(taken.unknown.items(), key=lambda entry: -entry[1])[:_SHOWN]:
        click.secho(f"  {number:,} lines of a type that is not known: {kind}", fg="yellow")
    for path in taken.unreadable[:_SHOWN]:
        click.secho(f"  too damaged to be judged: {path}", fg="yellow")
    for one in taken.skipped[:_SHOWN]:
        click.secho(f"  not read: {one.path}: {one.reason}", fg="yellow")
    hidden = sum(max(0, len(things) - _SHOWN) for things in (taken.unknown, taken.unreadable, taken.skipped))
    if hidden:
        click.echo(f"  … and {hidden} more (--json)")


@click.command(cls=JsonCommand)
@click.option(
    "--schedule",
    type=click.Choice(["auto", "systemd", "cron", "launchd", "none"]),
    default="auto",
    show_default=True,
    help="What runs it.",
)
@click.option("--every", default="6h", show_default=True, help="How often: 30m, 6h, 1d.")
@click.option("--watch", is_flag=True, help="Watch as well, and show on the desktop when something moved.")
@click.option("--no-skills", is_flag=True, help="No skill for Claude Code, no prompt for Codex.")
def install(schedule: str, every: str, watch: bool, no_skills: bool, as_json: bool) -> dict[str, Any]:
    """Have new logs taken in every few hours, and give Claude Code and Codex a command that shows the report.

    `seatrial canary uninstall` takes out exactly what this writes.

    \b
    Examples:
      seatrial canary install
      seatrial canary install --schedule cron --every 12h --no-skills
    """
    from seatrial import canary

    made = canary.install(schedule, every, not no_skills, watch=watch)
    if not as_json:
        for path in made.changed:
            click.echo(f"written: {path}")
        for path in made.unchanged:
            click.echo(f"as before: {path}")
        _show_kept(made.kept)
        for command in made.to_run:
            click.secho(f"run this yourself, it did not succeed: {command}", fg="yellow")
    return made.as_dict()


@click.command(cls=JsonCommand)
def uninstall(as_json: bool) -> dict[str, Any]:
    """Take out what `seatrial canary install` has written; the history stays.

    \b
    Example:
      seatrial canary uninstall
    """
    from seatrial import canary

    made = canary.uninstall()
    if not as_json:
        for path in made.changed:
            click.echo(f"removed: {path}")
        _show_kept(made.kept)
        if not made.changed and not made.kept:
            click.echo("nothing is installed")
    return made.as_dict()


def _show_kept(paths: list[str]) -> None:
    for path in paths:
        click.secho(f"left as it is, somebody else has written or changed it: {path}", fg="yellow")


@click.command(cls=JsonCommand)
@_new_logs
@click.option("--notify", type=click.Choice(["desktop"]), help="Show the line there, too.")
@click.option("--run", "command", metavar="COMMAND", help="Run this with the line on its standard input.")
def watch(notify: str | None, command: str | None, **options: Any) -> dict[str, Any]:
    """Say in one line when something moved since the last time; say nothing otherwise.

    May be run as often as one likes: if nothing changes, there is a line once in 400 sessions of an agent or more.

    \b
    Examples:
      seatrial canary watch
      seatrial canary watch --notify desktop --run "mail -s canary me@example.org"
    """
    from seatrial import canary

    with _history(options) as found, progress.working("ranking sessions", quiet=options["as_json"]):
        alarms = canary.watch_once(found)
    if not options["as_json"]:
        for alarm in alarms:
            click.echo(alarm.line)
        if not alarms and sys.stderr.isatty():
            click.echo("nothing moved", err=True)
    unseen = [alarm.line for alarm in alarms if notify and not canary.show_on_desktop(alarm.line)]
    if unseen:
        click.secho("no desktop's notification could be shown (notify-send)", fg="yellow", err=True)
    if command:
        for alarm in alarms:
            canary.hand_to(command, alarm.line)
    return {"alarms": [alarm.as_dict() for alarm in alarms]}


@click.command(cls=JsonCommand)
@_new_logs
@_window
@click.option("--by", type=click.Choice(["day", "project", "model"]), default="day", show_default=True)
@click.option("--last", type=click.IntRange(1), default=30, show_default=True, help="How many rows to show.")
def costs(by: Any, last: int, **options: Any) -> dict[str, Any]:
    """Show tokens and USD of each day, project or model, by the last numbers that the logs give for each message.

    Where counting first lines instead would differ by more than 5 %, that number is shown as well.

    \b
    Examples:
      seatrial canary costs
      seatrial canary costs --by model --days 30
    """
    from seatrial import canary

    rows = canary.costs(_sessions(options), by)
    total = canary.total_costs(rows)
    if not options["as_json"]:
        shown = rows[-last:] if by == "day" else rows[:last]
        _show_costs(by, [*shown, total])
        if len(rows) > len(shown):
            click.echo(f"… and {len(rows) - len(shown)} more (--last)", err=True)
        _explain_costs(total)
    return {"by": by, "rows": [row.as_dict() for row in rows], "total": total.as_dict()}


def _show_costs(by: str, rows: list[CostRow]) -> None:
    is_both = rows[-1].differs
    headings = [by, "messages", "input", "output", "cache read", "cache write", "usd"]
    headings += ["first-line output", "first-line usd"] if is_both else []
    cells = []
    for row in rows:
        name = (row.key or "(unknown)") + (" (sub-agents)" if row.is_subagent else "")
        numbers = (row.messages, row.input, row.output, row.cache_read, row.cache_write)
        usd = f"{row.usd:,.2f}" + ("+" if row.unpriced_messages or row.is_least else "")
        line = [name, *(f"{number:,}" for number in numbers), usd]
        if is_both:
            line += [f"{row.first_output:,}", f"{row.usd_first:,.2f}"] if row.differs else ["", ""]
        cells.append(line)
    table(headings, cells)


def _explain_costs(total: CostRow) -> None:
    if total.differs:
        click.echo(
            "First lines of messages hold partial numbers in versions"
            f" {', '.join(total.versions) or 'that are not named'}: tools that count them show less.",
            err=True,
        )
    if total.unpriced:
        names = ", ".join(name or "(unnamed)" for name in total.unpriced)
        click.echo(f"Without {total.unpriced_messages:,} messages of models with no known price: {names}.", err=True)
    if total.is_least:
        click.echo(
            "+: at least; some logs hold no final counts, and some models cost more in long requests.",
            err=True,
        )


@click.command(cls=JsonCommand)
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@_new_logs
@_window
def export(file: Path, **options: Any) -> dict[str, Any]:
    """Write one row for each session to FILE (.csv or .parquet): counts, labels and covariates, no text, no paths.

    \b
    Examples:
      seatrial canary export sessions.csv
      seatrial canary export sessions.parquet --project shop
    """
    from seatrial import canary

    number = canary.export(_sessions(options), file)
    if not options["as_json"]:
        click.echo(f"{number:,} sessions: {file}")
    return {"sessions": number, "file": str(file)}


@click.command(cls=JsonCommand)
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@_new_logs
@_window
@click.option("-k", "least", type=click.IntRange(5), default=5, show_default=True, help="Sessions of a category.")
def share(file: Path, least: int, **options: Any) -> dict[str, Any]:
    """Write an anonymous FILE to give away: no text, no paths, no names of projects or sessions, no times of day.

    Models, versions, efforts and languages that fewer than k sessions have become `other`.  Nothing is sent anywhere.

    \b
    Example:
      seatrial canary share canary-of-mine.json
    """
    from seatrial import canary

    made = canary.share(_sessions(options), file, least)
    if not options["as_json"]:
        click.echo(f"{made.sessions:,} sessions of {made.projects} projects: {made.path}")
        hidden = ", ".join(f"{number} of {name}" for name, number in made.other.items() if number)
        if hidden:
            click.echo(f"called `other`: {hidden}")
    return made.as_dict()


@click.command(cls=JsonCommand)
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--permutations", type=click.IntRange(99), default=1999, show_default=True, help="Of the search.")
@click.option("--placebos", type=click.IntRange(0), default=200, show_default=True, help="Placebo reports; 0: none.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of everything that is drawn.")
def pool(files: tuple[Path, ...], as_json: bool, **options: Any) -> dict[str, Any]:
    """Judge many users' shared FILES together: each user is compared with the same user only, and counts once.

    \b
    Example:
      seatrial canary pool shared/*.json
    """
    from seatrial import canary

    found = canary.pool(files)
    effort = canary.Effort(options["permutations"], placebos=options["placebos"], seed=options["seed"])
    with progress.working("judging", quiet=as_json):
        judgement = canary.judge(found.sessions, effort)
        facts = canary.Report(judgement, canary.Window(), found.sessions).as_dict()
        users = canary.across_users(found.sessions, judgement.boundary.day, options["seed"])
    if not as_json:
        click.echo(f"{len(found.sessions):,} sessions of {found.users} users")
        for user, number in found.thinned.items():
            click.echo(f"  {user}: {number:,} sessions left out, evenly over time, as nobody may be the whole")
        for path in found.doubled:
            click.secho(f"  the same as another file: {path}", fg="yellow")
        click.echo(canary.render_text(facts))
        rows = [
            (entry.metric, entry.users, f"{entry.log_ratio:+.2f}", _interval(entry.interval), f"{entry.p:.3f}")
            for entry in users
        ]
        if rows:
            click.echo(f"Across users, at {date.fromordinal(judgement.boundary.day)} (log ratio, each user once):")
            table(("metric", "users", "mean", "95 %", "p"), rows)
    return {"pool": found.as_dict(), "report": facts, "users": [entry.as_dict() for entry in users]}


def _interval(found: tuple[float, float] | None) -> str:
    return f"{found[0]:+.2f} … {found[1]:+.2f}" if found else "too few users"
