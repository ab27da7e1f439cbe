"""Telling people that something moved: on the desktop, or by a command of their own."""

from __future__ import annotations

import shlex
import subprocess

from seatrial.errors import SeatrialError, SettingError


def show_on_desktop(line: str) -> bool:
    """Show a line as a desktop's notification; return whether there is something that shows it."""
    # What follows -- is text, whatever it begins with.
    command = ["notify-send", "--app-name=Seatrial", "--", "Seatrial canary", line]
    try:
        return subprocess.run(command, capture_output=True, check=False, stdin=subprocess.DEVNULL).returncode == 0
    except OSError:
        return False


def hand_to(command: str, line: str) -> None:
    """Run a command, its words as a shell would split them, with a line on its standard input.

    Raises SettingError when there is no such command, SeatrialError when it fails.
    """
    try:
        words = shlex.split(command)
        if not words:
            raise ValueError("it is empty")
        done = subprocess.run(words, input=line + "\n", text=True, capture_output=True, check=False)
    except (OSError, ValueError) as problem:
        reason = problem.strerror if isinstance(problem, OSError) else problem
        raise SettingError(f"{command!r} cannot be run: {reason}.", hint="Give its whole path.") from problem
    if done.returncode:
        said = done.stderr.strip().splitlines()[-1:] or ["no reason given"]
        raise SeatrialError(f"{words[0]} ended with exit code {done.returncode}: {said[0]}.")
