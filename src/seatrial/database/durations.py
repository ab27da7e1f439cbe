"""Lengths of time as people write them, and moments as records keep them."""

from __future__ import annotations

import datetime
import re

from seatrial.errors import SettingError

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def seconds(text: str) -> float:
    """Return the seconds of `90s`, `15m`, `24h`, `7d`, `2w`; SettingError for anything else."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw])", text.strip())
    if not match:
        raise SettingError(f"{text!r} is not a length of time.", hint="Write 90s, 15m, 24h, 7d or 2w.")
    return float(match[1]) * _UNITS[match[2]]


def now() -> str:
    """Return this moment in UTC, as ISO 8601 with milliseconds."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")


def after(length: float) -> str:
    """Return the moment `length` seconds from now."""
    moment = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=length)
    return moment.isoformat(timespec="milliseconds")


def has_passed(moment: str) -> bool:
    """Say whether `moment` is over; an empty text is never."""
    return bool(moment) and datetime.datetime.fromisoformat(moment) <= datetime.datetime.now(datetime.UTC)


def age(moment: str) -> float:
    """Return the seconds since `moment`."""
    return (datetime.datetime.now(datetime.UTC) - datetime.datetime.fromisoformat(moment)).total_seconds()
