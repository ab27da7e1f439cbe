"""What runs `seatrial canary ingest` every few hours: a systemd user timer, a block of the crontab, a launchd agent.

Texts only, and the commands of the three; what is written where is in `install`.
"""

from __future__ import annotations

import os
import plistlib
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from seatrial.errors import SettingError, StorageError

NAME = "seatrial-canary"
LABEL = "dev.seatrial.canary"
BEGIN = b"# >>> seatrial canary >>> (taken out by: seatrial canary uninstall)\n"
END = b"# <<< seatrial canary <<<\n"
PASSED_ON = ("SEATRIAL_HOME", "CLAUDE_CONFIG_DIR", "CODEX_HOME", "XDG_DATA_HOME")
"""Variables that say where state and logs are: a schedule has none of the shell's."""
_UNITS = {"m": 1, "h": 60, "d": 24 * 60}
_LEAST, _MOST = 5, 14 * 24 * 60
_OFF_THE_HOUR = 17


def minutes_of(every: str) -> int:
    """Return the minutes of `30m`, `6h`, `1d`.

    Raises SettingError for anything else, below 5 minutes or above 14 days: logs are deleted after 30.
    """
    match = re.fullmatch(r"(\d{1,6})([mhd])", every.strip())
    minutes = int(match[1]) * _UNITS[match[2]] if match else 0
    if not _LEAST <= minutes <= _MOST:
        raise SettingError(f"{every!r} is no interval for a schedule.", hint="From 5m to 14d: 30m, 6h or 1d.")
    return minutes


def environment(given: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the variables that a schedule passes on; SettingError for one that no schedule can hold."""
    found = {name: given[name] for name in PASSED_ON if given.get(name)}
    for name, value in found.items():
        if any(ord(c) < 32 for c in value):
            raise SettingError(f"{name} holds a control character.", hint="A schedule cannot pass it on.")
    return found


def service_unit(command: Sequence[str], variables: Mapping[str, str]) -> bytes:
    """Return the text of the systemd service."""
    lines = [
        "[Unit]",
        "Description=Seatrial canary: take new logs of coding agents into the history",
        "",
        "[Service]",
        "Type=oneshot",
        *(f"Environment={_quoted(f'{name}={value}', is_command=False)}" for name, value in variables.items()),
        f"ExecStart={' '.join(_quoted(word) for word in command)}",
        "Nice=10",
    ]
    return ("\n".join(lines) + "\n").encode()


def timer_unit(minutes: int) -> bytes:
    """Return the text of the systemd timer."""
    lines = [
        "[Unit]",
        "Description=Seatrial canary: take new logs of coding agents into the history",
        "",
        "[Timer]",
        "OnActiveSec=2min",
        f"OnUnitActiveSec={minutes}min",
        "",
        "[Install]",
        "WantedBy=timers.target",
    ]
    return ("\n".join(lines) + "\n").encode()


def _quoted(word: str, *, is_command: bool = True) -> str:
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped.replace("$", "$$") if is_command else escaped}"'


def agent_plist(command: Sequence[str], variables: Mapping[str, str], minutes: int) -> bytes:
    """Return the property list of the launchd agent."""
    return plistlib.dumps(
        {
            "Label": LABEL,
            "ProgramArguments": list(command),
            "EnvironmentVariables": dict(variables),
            "StartInterval": minutes * 60,
            "RunAtLoad": True,
            "LowPriorityIO": True,
            "ProcessType": "Background",
        }
    )


def cron_block(command: Sequence[str], variables: Mapping[str, str], minutes: int) -> bytes:
    """Return the block of the crontab; SettingError for an interval that cron has no words for."""
    words = [f"{name}={shlex.quote(value)}" for name, value in variables.items()]
    words += [shlex.quote(word) for word in command]
    # In a crontab, % ends the command unless it is escaped.
    line = " ".join(words).replace("%", "\\%")
    return BEGIN + f"{_cron_times(minutes)} {line} >/dev/null 2>&1\n".encode() + END


def _cron_times(minutes: int) -> str:
    hours, rest = divmod(minutes, 60)
    if minutes < 60 and 60 % minutes == 0:
        return f"*/{minutes} * * * *"
    if not rest and hours < 24 and 24 % hours == 0:
        return f"{_OFF_THE_HOUR} */{hours} * * *"
    if minutes == _UNITS["d"]:
        return f"{_OFF_THE_HOUR} 12 * * *"
    if minutes == 7 * _UNITS["d"]:
        return f"{_OFF_THE_HOUR} 12 * * 1"
    raise SettingError(
        f"cron cannot do something every {minutes} minutes.", hint="With cron: 5m, 10m, 30m, 1h, 2h, 6h, 12h, 1d, 7d, …"
    )


def read_crontab() -> bytes | None:
    """Return the user's crontab, None when there is none; StorageError when it cannot be read."""
    done = _run(["crontab", "-l"])
    if done.returncode == 0:
        return done.stdout
    if b"no crontab" in done.stderr:
        return None
    raise StorageError(f"The crontab cannot be read: {_said(done)}.", hint="Choose another kind of schedule.")


def write_crontab(content: bytes | None) -> None:
    """Replace the user's crontab, or remove it; StorageError when cron refuses."""
    done = _run(["crontab", "-r"]) if content is None else _run(["crontab", "-"], content)
    if done.returncode:
        raise StorageError(f"The crontab cannot be written: {_said(done)}.", hint="Choose another kind of schedule.")


def with_block(content: bytes | None, block: bytes) -> bytes:
    """Return a crontab with the block, in place of the one that is there; the rest stays byte for byte."""
    content = content or b""
    span = find_block(content)
    if span:
        return content[: span[0]] + block + content[span[1] :]
    return content + (b"" if content.endswith(b"\n") or not content else b"\n") + block


def find_block(content: bytes) -> tuple[int, int] | None:
    """Return where the block begins and ends; StorageError when only a part of it is there."""
    begins, ends = content.count(BEGIN), content.count(END)
    if not begins and not ends:
        return None
    start, stop = content.find(BEGIN), content.find(END)
    if begins != 1 or ends != 1 or stop < start:
        raise StorageError("Seatrial's block in the crontab is damaged.", hint="Take its lines out by hand: crontab -e")
    return start, stop + len(END)


def has_systemd() -> bool:
    """Whether systemd runs for this user."""
    return shutil.which("systemctl") is not None and run_quietly(["systemctl", "--user", "show-environment"])


def chosen(schedule: str) -> str:
    """Return `systemd`, `cron` or `launchd`; `auto` is what this machine has.

    Raises SettingError for another one, and when there is none.
    """
    if schedule == "auto":
        if sys.platform == "darwin":
            return "launchd"
        if has_systemd():
            return "systemd"
        if shutil.which("crontab"):
            return "cron"
        schedule = "systemd" if shutil.which("systemctl") else "none"
    if schedule not in ("systemd", "cron", "launchd"):
        raise SettingError(
            "There is no schedule of that kind here.",
            hint="Choose systemd, cron or launchd; or have `seatrial canary ingest` run by something else.",
        )
    return schedule


def program() -> list[str]:
    """Return the command that starts Seatrial, with its whole path."""
    beside = Path(sys.executable).with_name("seatrial")
    if beside.is_file():
        return [str(beside)]
    found = shutil.which("seatrial")
    return [found] if found else [sys.executable, "-c", "from seatrial.cli import main; main()"]


def unit_folder() -> Path:
    """Return where systemd looks for the user's units."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "systemd" / "user"


def run_quietly(command: Sequence[str]) -> bool:
    """Run a command for its effect; say whether it is there and succeeded."""
    try:
        return subprocess.run(command, capture_output=True, check=False, stdin=subprocess.DEVNULL).returncode == 0
    except OSError:
        return False


def _run(command: list[str], content: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    try:
        environment = {**os.environ, "LC_ALL": "C"}
        return subprocess.run(command, input=content, capture_output=True, check=False, env=environment)
    except OSError as problem:
        raise StorageError(
            f"cron is not installed here: {problem.strerror}.", hint="Choose another kind of schedule."
        ) from problem


def _said(done: subprocess.CompletedProcess[bytes]) -> str:
    return done.stderr.decode(errors="replace").strip().splitlines()[-1] if done.stderr.strip() else "no reason given"
