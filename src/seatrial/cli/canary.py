"""`seatrial canary`: one lazy group; each file holds verbs that belong together."""

from __future__ import annotations

import click

from seatrial.cli.groups import LazyGroup

_KEEP = "seatrial.cli.canary_keep"
VERBS = {
    "report": ("seatrial.cli.canary_report:report", "Judge whether the agent changed: verdict, sizes, causes."),
    "watch": (f"{_KEEP}:watch", "Say one line when something moved since the last time."),
    "ingest": (f"{_KEEP}:ingest", "Take new logs into the history, which is kept for ever."),
    "install": (f"{_KEEP}:install", "Keep the history by a schedule, and teach agents to call the report."),
    "uninstall": (f"{_KEEP}:uninstall", "Remove exactly what install has written."),
    "costs": (f"{_KEEP}:costs", "Tokens and costs by day, project or model."),
    "export": (f"{_KEEP}:export", "Write one row for each session, as CSV or Parquet."),
    "share": (f"{_KEEP}:share", "Write numbers that name nobody, to be pooled with others'."),
    "pool": (f"{_KEEP}:pool", "Judge many users' shared numbers together."),
}


@click.group(cls=LazyGroup, lazy=VERBS)
def canary() -> None:
    """Did my coding agent get worse?  A computed verdict from its logs, with its rate of false alarms.

    Reads the logs of Claude Code, Codex, Gemini CLI and OpenCode; nothing leaves this machine.

    \b
    Examples:
      seatrial canary report
      seatrial canary report --days 90 --html report.html
    """
