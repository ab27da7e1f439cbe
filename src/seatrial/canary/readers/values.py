"""Values out of decoded JSON that may be of any type: taken when they are what they should be, else counted."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

from seatrial.canary.events import Health, Usage

_LARGEST = 2**53
_LATEST = 32503680000.0
_JUMP_SECONDS = 60.0
_MILLISECONDS_FROM = 1e11


def text(value: Any, health: Health) -> str:
    """Return `value` if it is a string; empty for None; else empty and counted."""
    if isinstance(value, str):
        return value
    if value is not None:
        health.wrong_fields += 1
    return ""


def mapping(value: Any, health: Health) -> dict[str, Any]:
    """Return `value` if it is an object; empty for None; else empty and counted."""
    if isinstance(value, dict):
        return value
    if value is not None:
        health.wrong_fields += 1
    return {}


def items(value: Any, health: Health) -> list[Any]:
    """Return `value` if it is a list; empty for None; else empty and counted."""
    if isinstance(value, list):
        return value
    if value is not None:
        health.wrong_fields += 1
    return []


def count(value: Any, health: Health) -> int:
    """Return `value` if it is a whole number from 0 to 2^53; 0 for None; else 0 and counted."""
    if type(value) is int and 0 <= value <= _LARGEST:
        return value
    if isinstance(value, float) and value.is_integer() and 0 <= value <= _LARGEST:
        return int(value)
    if value is not None:
        health.wrong_fields += 1
    return 0


class Clock:
    """Times of one log, in the order of the log; counts those that go back."""

    def __init__(self, health: Health) -> None:
        self._health = health
        self._last = 0.0
        self._text: Any = None

    def read(self, value: Any) -> float:
        """Return seconds since 1970 of an ISO time (UTC unless it says otherwise) or a number of (milli)seconds.

        0.0 when it is neither, which is counted unless `value` is None.
        """
        if value == self._text and type(value) is type(self._text):
            return self._last
        at = seconds(value)
        if at <= 0.0:
            if value is not None:
                self._health.wrong_fields += 1
            return 0.0
        if at < self._last - _JUMP_SECONDS:
            self._health.clock_jumps += 1
        self._last = at
        self._text = value
        return at


def seconds(value: Any) -> float:
    """Return seconds since 1970 of an ISO time or a number of seconds or milliseconds; 0.0 when it is neither."""
    at = 0.0
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
            at = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            return 0.0
    elif isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        at = value / 1000 if value > _MILLISECONDS_FROM else float(value)
    return at if 0.0 < at < _LATEST else 0.0


def anthropic_usage(value: dict[str, Any], health: Health) -> Usage:
    """Return the `usage` of an Anthropic message."""
    written = value.get("cache_creation")
    hour = written.get("ephemeral_1h_input_tokens") if isinstance(written, dict) else None
    return Usage(
        count(value.get("input_tokens"), health),
        count(value.get("output_tokens"), health),
        count(value.get("cache_read_input_tokens"), health),
        count(value.get("cache_creation_input_tokens"), health),
        count(hour, health),
    )
