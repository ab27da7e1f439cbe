"""`seatrial canary report`."""

from __future__ import annotations

import json
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import click

from seatrial.cli import progress
from seatrial.cli.groups import JsonCommand

_COLOURS = {"REGRESSED": "red", "IMPROVED": "green", "CHANGED": "yellow", "HOLDING": "green", "INCONCLUSIVE": "cyan"}
_FAILS = {"regressed": ("REGRESSED",), "changed": ("REGRESSED", "CHANGED", "IMPROVED"), "never": ()}
_DAYS = 60
_DAY = click.DateTime(["%Y-%m-%d"])


@click.command(cls=JsonCommand)
@click.option("--days", type=click.IntRange(1), help=f"The last so many days (default: {_DAYS}; with --from: all).")
@click.option("--since", type=_DAY, help="From this day on (UTC).")
@click.option("--until", type=_DAY, help="Up to and with this day (UTC).")
@click.option("--from", "folders", multiple=True, metavar="PATH", help="Logs in this folder or archive instead.")
@click.option("--agent", type=click.Choice(["claude_code", "codex", "gemini", "opencode"]), help="Only this agent.")
@click.option("--project", default="", help="Only this project (the name of its folder).")
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), help="Write the page to this file, too.")
@click.option("--fail-on", type=click.Choice(sorted(_FAILS)), default="never", help="Verdicts that exit with 3.")
@click.option("--record", is_flag=True, help="Keep the verdict as evidence (seatrial evidence list).")
@click.option("--no-ingest", is_flag=True, help="Judge what is known, without reading new logs.")
@click.option("--permutations", type=click.IntRange(99), default=1999, show_default=True, help="Of the search.")
@click.option("--placebos", type=click.IntRange(0), default=200, show_default=True, help="Placebo reports; 0: none.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of everything that is drawn.")
def report(**options: Any) -> dict[str, Any]:
    """Judge whether the agent changed: REGRESSED, IMPROVED, CHANGED, HOLDING or INCONCLUSIVE, when, and by whom.

    \b
    Examples:
      seatrial canary report
      seatrial canary report --since 2026-01-01 --project shop --html report.html
      seatrial canary report --from ~/logs-of-the-team --json
      seatrial canary report --fail-on regressed
    """
    made = _judged(options)
    facts: dict[str, Any] = made.as_dict()
    _write(made, facts, options)
    if facts["verdict"] in _FAILS[options["fail_on"]]:
        if options["as_json"]:
            click.echo(json.dumps({"ok": True, **facts}, ensure_ascii=False))
        sys.exit(3)
    return facts


def _judged(options: dict[str, Any]) -> Any:
    from seatrial import canary

    quiet = options["as_json"]
    with canary.open_history(options["folders"]) as history:
        if not options["no_ingest"]:
            with progress.counting("reading logs, bytes", quiet=quiet) as counted:
                taken = canary.take_in(history, options["folders"], counted)
            if not quiet:
                _say(taken)
        effort = canary.Effort(options["permutations"], placebos=options["placebos"], seed=options["seed"])
        with progress.working("judging", quiet=quiet):
            return canary.report(history, _window(options), effort)


def _write(made: Any, facts: dict[str, Any], options: dict[str, Any]) -> None:
    """Show the report, write the page, and keep the evidence."""
    from seatrial import canary

    notes = []
    if not options["as_json"]:
        _show(canary.render_text(facts), facts["verdict"])
        if not facts["sessions"]["all"]:
            notes.append("hint: --from FOLDER reads logs from elsewhere, --days 365 looks further back")
    if options["html"]:
        canary.write_page(facts, options["html"])
        notes.append(f"page: {options['html']}")
    if options["record"]:
        facts["evidence"] = canary.keep_evidence(made, facts)
        notes.append(f"evidence: {facts['evidence'][:12]}")
    for note in notes if not options["as_json"] else ():
        click.echo(note, err=True)


def _window(options: dict[str, Any]) -> Any:
    from dataclasses import replace

    from seatrial import canary

    since, until = (options[name].date() if options[name] else None for name in ("since", "until"))
    if since and until and since > until:
        raise click.UsageError(f"--since {since} is after --until {until}.")
    if options["days"] and since:
        raise click.UsageError("Give --days or --since, not both.")
    window = canary.Window(since, until)
    if options["days"] or not (since or options["folders"]):
        last: date = until or datetime.now(UTC).date()
        window = canary.window_of_days(options["days"] or _DAYS, last)
    return replace(window, agent=options["agent"] or "", project=options["project"])


def _say(taken: Any) -> None:
    """Say what was wrong with the logs, if anything."""
    said = {
        "bad lines": taken.bad_lines,
        "overlong lines": taken.long_lines,
        "unreadable logs": len(taken.unreadable),
        "logs not read": len(taken.skipped),
        "lines of unknown types": sum(taken.unknown.values()),
    }
    shown = ", ".join(f"{number:,} {name}" for name, number in said.items() if number)
    if shown:
        click.secho(f"{taken.files_read:,} logs read: {shown} (seatrial canary ingest --json)", fg="yellow", err=True)


def _show(text: str, verdict: str) -> None:
    first, _, rest = text.partition("\n")
    click.echo(click.style(verdict, fg=_COLOURS[verdict], bold=True) + first.removeprefix(verdict))
    click.echo(rest)
