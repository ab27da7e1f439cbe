"""Half a year of made-up logs, in whose second half an update reads half as many files: report, page, and who it was.

python examples/canary/demo.py [FOLDER]
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import click

SEATRIAL = str(Path(sys.executable).with_name("seatrial"))
sys.path.insert(0, str(Path(__file__).parent))
from logs import write_home  # noqa: E402


def main() -> None:
    """Write the logs, judge them, and show where the page is."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp(prefix="seatrial-canary-"))
    # Fixed days: the same logs and the same report whenever it runs.
    write_home(folder / "home", 300, change_at=180, until=datetime(2026, 11, 28, tzinfo=UTC))
    environment = {**os.environ, "HOME": str(folder / "home"), "SEATRIAL_HOME": str(folder / "state")}
    for name in ("CLAUDE_CONFIG_DIR", "CODEX_HOME", "XDG_DATA_HOME"):
        environment.pop(name, None)
    page = folder / "report.html"
    command = [
        "canary",
        "report",
        "--since",
        "2026-08-01",
        "--until",
        "2026-11-28",
        "--html",
        str(page),
        "--fail-on",
        "regressed",
    ]
    click.secho(f"$ seatrial {' '.join(command)}", fg="yellow")
    done = subprocess.run([SEATRIAL, *command], env=environment, check=False)
    click.echo(f"\nexit code {done.returncode} (3: the verdict that --fail-on names); the page is {page}")
    sys.exit(0 if done.returncode == 3 else 1)


if __name__ == "__main__":
    main()
