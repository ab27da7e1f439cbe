"""A report's data with every key there: a page is made whatever was left out, of whatever type it is."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import date
from typing import Any

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


class Part(dict[str, Any]):
    """A part that may be absent: None when it is."""


def text(value: Any) -> str:
    """Return a text; empty when it is none."""
    return value if isinstance(value, str) else ""


def day(value: Any) -> date | None:
    """Return a day written as YYYY-MM-DD, None when it is none."""
    if not isinstance(value, str) or not _DAY.fullmatch(value):
        return None
    try:
        return date.fromisoformat(value)
    except ValueError:
        return None


def real(value: Any) -> float | None:
    """Return a finite number, None when it is none."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) else None


def whole(value: Any) -> int:
    """Return a whole number; 0 when it is none."""
    found = real(value)
    return int(found) if found is not None else 0


def flag(value: Any) -> bool:
    """Return a truth value; false when it is none."""
    return value is True


def pair(value: Any) -> tuple[float, float] | None:
    """Return two finite numbers, None when they are not."""
    if not isinstance(value, list | tuple) or len(value) != 2:
        return None
    low, high = real(value[0]), real(value[1])
    return None if low is None or high is None else (low, high)


def counts(value: Any) -> tuple[int, int]:
    """Return two whole numbers; zeros when they are not."""
    found = pair(value)
    return (int(found[0]), int(found[1])) if found else (0, 0)


def numbers(value: Any) -> dict[str, float]:
    """Return the finite numbers of a mapping by their names."""
    given = value if isinstance(value, Mapping) else {}
    return {name: found for name, entry in given.items() if (found := real(entry)) is not None}


def texts(value: Any) -> list[str]:
    """Return the texts of a list."""
    return [entry for entry in value if isinstance(entry, str)] if isinstance(value, list | tuple) else []


_SPOT = {"day": day, "earliest": day, "latest": day, "label": text, "value": text}
_PART = Part(log_ratio=real, interval95=pair)
_TOTALS = dict.fromkeys(("input", "output", "cache_read", "cache_write", "reasoning", "messages"), whole)
_OF_LOGS = (
    "files", "gone", "unreadable", "rewrites", "bytes", "lines", "bad_lines", "long_lines", "wrong_fields",
    "clock_jumps", "unfinished", "other_sessions", "sessions", "sessions_gone", "messages",
)  # fmt: skip
_METRIC = {
    "name": text, "title": text, "family": text, "unit": text, "harm": text, "numerator": text, "exposure": text,
    "headline": flag, "state": text, "why": text, "direction": text, "sessions": counts, "before": real,
    "after": real, "p": real, "change": real, "interval90": pair, "interval95": pair, "boundary": Part(_SPOT),
    "power": Part(sigma=real, smallest_drop=real, more_for_30=whole, more_to_hold=whole),
    "events": Part(before=whole, after=whole, of=counts),
    "attribution": Part(label=text, why=text, composition=_PART, rate=_PART, not_comparable=real),
}  # fmt: skip
_COST = {
    "by": text, "key": text, "is_subagent": flag, "sessions": whole, "usd": real, "usd_first": real, "tokens": whole,
    "is_least": flag, "unpriced": texts, "differs": flag, "versions": texts, **_TOTALS, "first_output": whole,
}  # fmt: skip
SHAPE: dict[str, Any] = {
    "verdict": text,
    "reason": text,
    "window": {
        "since": day, "until": day, "agent": text, "project": text, "first_day": day, "last_day": day,
        "active_days": whole, "projects": whole,
    },
    "sessions": {
        "all": whole, "judged": whole, "before": whole, "after": whole, "informative": real, "excluded": numbers,
    },
    "boundary": {"kind": text, **_SPOT},
    "metrics": [_METRIC],
    "labels": [
        {
            "label": text, "value": text, "first_day": day, "sessions": counts, "metric": text, "change": real,
            "interval95": pair, "p": real, "q": real, "different": flag,
        }
    ],
    "by_work": texts,
    "by_format": [{"field": text, "day": day, "appears": flag, "metrics": texts}],
    "search": {
        "permutations": whole, "seed": whole, "dates": whole, "labels": whole, "metrics": whole, "critical": real,
        "block_days": whole, "testable": flag,
    },
    "placebo": Part(
        runs=whole, alarms=whole, interval=pair, calibrated=flag, planted=[{"drop": real, "found": whole, "of": whole}]
    ),
    "incidents": [
        {
            "name": text, "from": day, "to": day, "source": text, "metric": text, "sessions": counts, "change": real,
            "p": real, "seen": flag, "why": text,
        }
    ],
    "controls": [{"name": text, "title": text, "before": real, "after": real, "p": real}],
    "timeline": [{"day": day, "sessions": whole, "values": numbers}],
    "values": [{"label": text, "value": text, "sessions": whole, "first_day": day, "last_day": day}],
    "tokens": {
        "main": _TOTALS, "subagents": _TOTALS, "first_line_output": whole, "partial_sessions": whole,
        "partial_versions": texts,
    },
    "costs": [_COST],
    "logs": {
        **dict.fromkeys(_OF_LOGS, whole),
        "unknown": numbers,
        "not_read": numbers,
        "lost": {"prompted": whole, "sessions": whole, "first": real, "last": real},
    },
}  # fmt: skip


def whole_report(given: Any) -> dict[str, Any]:
    """Return what `Report.as_dict` gives, with every key there and days as dates."""
    found: dict[str, Any] = _fitted(given, SHAPE)
    return found


def _fitted(given: Any, shape: Any) -> Any:
    if isinstance(shape, Part) and not isinstance(given, Mapping):
        return None
    if isinstance(shape, dict):
        known = given if isinstance(given, Mapping) else {}
        return {name: _fitted(known.get(name), inner) for name, inner in shape.items()}
    if isinstance(shape, list):
        entries = given if isinstance(given, list | tuple) else ()
        return [_fitted(entry, shape[0]) for entry in entries if isinstance(entry, Mapping)]
    return shape(given)
