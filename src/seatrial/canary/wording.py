"""Numbers and states in words for people; text and page say the same because both say it from here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

STATES = {
    "CHANGED": "changed",
    "EQUIVALENT": "holds",
    "NEGLIGIBLE": "moved too little to matter",
    "NOT TESTABLE": "cannot be tested",
    "UNRESOLVED": "too few sessions to tell",
}


def percent(ratio: float | None) -> str:
    """Return a change as a signed percentage, beyond +300 % as a factor."""
    if ratio is None or not math.isfinite(ratio):
        return "–"
    if ratio > 3:
        return f"×{ratio + 1:.0f}" if ratio < 100 else "×100 or more"
    value = round(100 * ratio)
    return f"{'+' if value > 0 else '−' if value < 0 else '±'}{abs(value)} %"


def interval(pair: Sequence[float] | None) -> str:
    """Return an interval of changes in percent."""
    return f"{percent(pair[0])} to {percent(pair[1])}" if pair else ""


def number(value: float | None) -> str:
    """Return a value with three figures."""
    if value is None or not math.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    if abs(value) < 0.00005:
        return "< 0.0001"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{min(digits, 4)}f}"


def p_value(p: float) -> str:
    """Return a p-value as it is written."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"


def counted(number_: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun."""
    return f"{number_:,} {noun if number_ == 1 else plural or noun + 's'}"


def when(boundary: dict[str, Any]) -> str:
    """Return where a change lies."""
    what = f"with {boundary['label']} {boundary['value']}" if boundary.get("label") else ""
    if boundary.get("label"):
        return f"{what}, first seen on {boundary['day']}"
    if boundary["earliest"] == boundary["latest"]:
        return f"on {boundary['day']}"
    return f"between {boundary['earliest']} and {boundary['latest']}"
