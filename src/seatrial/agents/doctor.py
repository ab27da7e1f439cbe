"""Whether agents can run here: the programs that are needed, the runtimes, the harnesses that are installed."""

from __future__ import annotations

import platform
import shutil
import subprocess

from seatrial.agents import harness
from seatrial.agents.git.command import git_version
from seatrial.agents.runtime.base import RUNTIMES, Finding, open_runtime
from seatrial.errors import SeatrialError


def doctor() -> list[Finding]:
    """Look at all that agents need; only what the default runtime needs can fail."""
    found = [_git(), _program("tmux", ["tmux", "-V"])]
    for name in RUNTIMES:
        try:
            for finding in open_runtime(name).check():
                needed = name == "bubblewrap"
                found.append(finding if needed else Finding(finding.name, True, finding.finding, finding.hint))
        except SeatrialError as problem:
            found.append(Finding(name, name != "bubblewrap", problem.message, problem.hint))
    found.append(Finding("kernel", True, f"{platform.system()} {platform.release()} {platform.machine()}"))
    for entry in harness.all_harnesses():
        if entry.program:
            place = shutil.which(entry.program)
            found.append(Finding(entry.name, True, place or f"{entry.program} is not installed"))
    return found


def _git() -> Finding:
    try:
        git_version()
    except SeatrialError as problem:
        return Finding("git", False, problem.message, problem.hint)
    return _program("git", ["git", "--version"])


def _program(name: str, command: list[str]) -> Finding:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return Finding(name, False, f"{name} is not installed", f"apt-get install {name}")
    return Finding(name, True, done.stdout.strip())
