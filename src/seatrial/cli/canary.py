"""`seatrial canary`: one lazy group; each file holds verbs that belong together."""

from __future__ import annotations

import click

from seatrial.cli.groups import LazyGroup

_KEEP = "seatrial.cli.canary_keep"
VERBS = {
    "report": ("seatrial.cli.canary_report:report", "Judge whether the agent changed: verdict, sizes, causes."),
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
