"""Sentences of the page: what was found, in plain words, and what could have been found."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

from seatrial.canary.wording import STATES, counted, interval, number, p_value, percent

BETTER = {"harmful": "for the worse", "good": "for the better"}
WHO = {
    "MODEL": "The model behaves differently.",
    "HARNESS": "The agent's program or its settings changed: its version or its effort, not the model.",
    "MODEL or HARNESS": "The model or the agent's program: both changed together, and the logs do not tell them apart.",
    "USER": "What the agent was asked to do changed, not how it does it.",
    "FORMAT": "What is written to the logs changed, so the numbers cannot be compared.",
    "UNEXPLAINED": "Nothing in the logs explains it: model, version and effort stayed what they were.",
    "cannot tell": "The logs do not say.",
}
FIELDS = {
    "usage": "counts of tokens", "thinking": "blocks of thinking", "signature": "signatures of thinking",
    "is_error": "whether a tool call failed", "known_tools": "tools that are known", "cache": "use of the cache",
    "turn_duration": "how long a turn took",
}  # fmt: skip
AGENTS = {"claude_code": "Claude Code", "codex": "Codex", "gemini": "Gemini CLI", "opencode": "OpenCode"}
_ORDER = ("CHANGED", "NEGLIGIBLE", "EQUIVALENT", "UNRESOLVED", "NOT TESTABLE")
_SIGNIFICANT = 0.05


def shown_day(day: date | None, *, year: bool = True) -> str:
    """Return a day as it is written: 6 Feb 2026."""
    return "–" if day is None else f"{day.day} {day:%b %Y}" if year else f"{day.day} {day:%b}"


def moment(seconds: float | None) -> str:
    """Return the day of a time in seconds since 1970."""
    try:
        return "–" if seconds is None else shown_day(datetime.fromtimestamp(seconds, UTC).date())
    except (OverflowError, OSError, ValueError):
        return "–"


def span(first: date | None, last: date | None) -> str:
    """Return two days as a span."""
    if first is None or last is None:
        return "–"
    if first == last:
        return shown_day(first)
    return f"{shown_day(first, year=first.year != last.year)} to {shown_day(last)}"


def level(value: float | None, metric: Mapping[str, Any]) -> str:
    """Return a metric's value: shares in percent, others with three figures."""
    if value is None:
        return "–"
    if metric["family"] != "share":
        return number(value)
    value = 100 * value
    digits = 0 if value == 0 or abs(value) >= 10 else 1 if abs(value) >= 0.1 else 2
    return f"{value:.{digits}f} %"


def scale_mark(value: float, metric: Mapping[str, Any]) -> str:
    """Return a round value at a scale."""
    return (
        f"{100 * value:.3g} %" if metric["family"] == "share" else f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
    )


def amount(value: float | None) -> str:
    """Return a large number shortened: 1.24 million."""
    value = value or 0.0
    for size, word in ((1e9, "billion"), (1e6, "million")):
        if abs(value) >= size:
            return f"{value / size:.3g} {word}"
    return f"{value:,.0f}"


def usd(value: float | None) -> str:
    """Return an amount of money."""
    return "–" if value is None else f"${value:,.0f}" if value >= 1000 else f"${value:,.2f}"


def size(value: float) -> str:
    """Return a number of bytes."""
    for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if value >= unit:
            return f"{value / unit:.3g} {name}"
    return counted(int(value), "byte")


def share_of(value: float | None) -> str:
    """Return a share in percent."""
    return "–" if value is None else f"{value:.0%}".replace("%", " %")


def p_words(p: float | None) -> str:
    """Return a p-value with its name; empty when there is none."""
    return "" if p is None else p_value(p)


def when(spot: Mapping[str, Any]) -> str:
    """Return where a change lies."""
    if spot["label"]:
        return f"with {spot['label']} {spot['value']}, first seen on {shown_day(spot['day'])}"
    if spot["earliest"] is None or spot["earliest"] == spot["latest"]:
        return f"on {shown_day(spot['day'])}"
    return f"between {span(spot['earliest'], spot['latest']).replace(' to ', ' and ')}"


def smallest(power: Mapping[str, Any] | None) -> str:
    """Return the smallest change that is found 8 times in 10, as a fall or a rise."""
    drop = power["smallest_drop"] if power else None
    if drop is None or not 0 < drop < 1:
        return ""
    return f"{percent(-drop)} or {percent(1 / (1 - drop) - 1)}"


def blind(metric: Mapping[str, Any]) -> float | None:
    """Return the log ratio up to which a change of a metric would mostly not be found."""
    drop = metric["power"]["smallest_drop"] if metric["power"] else None
    return -math.log1p(-drop) if drop is not None and 0 < drop < 1 else None


def ordered(metrics: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return metrics, those that changed first, then by how sure it is."""

    def rank(entry: Mapping[str, Any]) -> tuple[int, float, str]:
        state = entry["state"]
        p = entry["p"] if entry["p"] is not None else 1.0
        return (_ORDER.index(state) if state in _ORDER else len(_ORDER), p, entry["title"])

    return sorted(metrics, key=rank)


def state_words(metric: Mapping[str, Any]) -> str:
    """Return a metric's state in a few words."""
    state = metric["state"]
    if state == "CHANGED":
        return f"changed {BETTER.get(metric['direction'], 'neither for better nor worse')}"
    if state == "UNRESOLVED" and metric["power"] is None:
        return "not searched for"
    if state == "UNRESOLVED":
        return "moved, by how much is open" if _is_significant(metric) else "nothing found, too few sessions to tell"
    return STATES.get(state, state or "not judged")


def meaning(metric: Mapping[str, Any]) -> str:
    """Return what a metric's state says, and what it does not."""
    state, power = metric["state"], metric["power"]
    if state == "NOT TESTABLE":
        return f"{metric['why']}." if metric["why"] else ""
    if state == "CHANGED":
        spot = when(metric["boundary"]) if metric["boundary"] else ""
        return f"{'; '.join(filter(None, (p_words(metric['p']), spot)))}."
    if state == "EQUIVALENT":
        return "Stays within −20 % and +25 % at the middle and at every label that was compared."
    if power is None:
        return "Shown beside the others: the interval alone, no test."
    found = smallest(power)
    able = f"Smallest to be found: {found}." if found else ""
    p = f"{p_words(metric['p'])}." if metric["p"] is not None else ""
    return " ".join(filter(None, (p, able, _needed(power))))


def _needed(power: Mapping[str, Any]) -> str:
    parts = []
    if power["more_for_30"]:
        parts.append(f"{power['more_for_30']:,} to find −30 %")
    if power["more_to_hold"]:
        parts.append(f"{power['more_to_hold']:,} to show that it holds")
    return f"More sessions a side: {', '.join(parts)}." if parts else ""


def _is_significant(metric: Mapping[str, Any]) -> bool:
    return metric["power"] is not None and metric["p"] is not None and metric["p"] <= _SIGNIFICANT


def ability(metrics: Sequence[Mapping[str, Any]], judged: int) -> str:
    """Return the smallest change that could have been seen, in the best and in the worst metric."""
    able = [entry for entry in metrics if entry["headline"] and smallest(entry["power"])]
    if not able:
        return f"With {counted(judged, 'session')} a search could not find a change of any size."
    able.sort(key=lambda entry: float(entry["power"]["smallest_drop"]))
    first, last = able[0], able[-1]
    middle = next((entry for entry in able if entry["name"] == "reads_per_edit"), able[len(able) // 2])
    said: dict[str, str] = {}
    for prefix, entry in (("", middle), ("at best ", first), ("at worst ", last)):
        said.setdefault(entry["name"], f"{prefix}{smallest(entry['power'])} in {entry['title']}")
    return f"Smallest change that is found 8 times in 10: {'; '.join(said.values())}."


def changes(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the headline metrics that changed, the surest first."""
    return [entry for entry in ordered(report["metrics"]) if entry["headline"] and entry["state"] == "CHANGED"]


def who(report: Mapping[str, Any]) -> list[tuple[str, str, list[str]]]:
    """Return each label of an attribution with its reason and the metrics that it is about."""
    found: dict[tuple[str, str], list[str]] = {}
    for entry in changes(report):
        given = entry["attribution"]
        key = (given["label"] or "cannot tell", given["why"]) if given else ("cannot tell", "")
        found.setdefault(key, []).append(entry["title"])
    return [(label, why, titles) for (label, why), titles in found.items()]


def interval_words(pair: tuple[float, float] | None) -> str:
    """Return an interval of changes; a dash when there is none."""
    return interval(pair) or "–"


def ratio(log_ratio: float) -> float:
    """Return the change that a log ratio stands for: −0.5 is half as much."""
    return math.expm1(min(log_ratio, 50.0))
