"""The report for a terminal: one screen, made from the report's data alone."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from seatrial.canary.verdict import FEWEST_SESSIONS
from seatrial.canary.wording import STATES, counted, interval, number, p_value, percent, when

_LONGEST_REASON = 60


def render_text(report: Mapping[str, Any]) -> str:
    """Return the lines of `Report.as_dict`."""
    return "\n".join(_lines(report))


def _lines(report: Mapping[str, Any]) -> Iterator[str]:
    yield f"{report['verdict']}  {report['reason']}"
    yield _base(report)
    yield from _changes([entry for entry in report["metrics"] if entry["state"] == "CHANGED" and entry["headline"]])
    if report["sessions"]["judged"] < FEWEST_SESSIONS:
        # Numbers of so few sessions would be read as findings.
        yield from _remarks(report)
        return
    yield ""
    yield from _table(report["metrics"])
    yield ""
    yield from _abilities(report)
    yield from _remarks(report)


def _base(report: Mapping[str, Any]) -> str:
    window, sessions = report["window"], report["sessions"]
    if not sessions["judged"]:
        return f"{counted(sessions['all'], 'session')} in the logs, none of them a person's that can be judged"
    text = f"{counted(sessions['judged'], 'session')} of a person, {window['first_day']} to {window['last_day']}"
    text += f" ({counted(window['active_days'], 'active day')}, {counted(window['projects'], 'project')})"
    name = "compared at the middle" if report["boundary"]["kind"] == "middle" else "compared"
    return f"{text}; {name}: {sessions['before']} before, {sessions['after']} after"


def _changes(changed: list[dict[str, Any]]) -> Iterator[str]:
    """Say what moved, when and by whom; what the same sentence explains is said once."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for entry in sorted(changed, key=lambda entry: (entry["direction"] == "neutral", entry["p"])):
        found = entry["attribution"] or {"label": "cannot tell", "why": ""}
        groups.setdefault((found["label"], found["why"]), []).append(entry)
    for (label, why), entries in groups.items():
        first = entries[0]
        size = f"{percent(first['change'])} ({interval(first['interval95'])})"
        yield f"  {first['title']}: {size} {when(first['boundary'])}"
        if len(entries) > 1:
            yield "  also " + ", ".join(f"{entry['title']} {percent(entry['change'])}" for entry in entries[1:])
        yield f"    {label}: {why}{_parts(first['attribution'])}"


def _parts(found: Mapping[str, Any] | None) -> str:
    if not found:
        return ""
    parts = [
        f"{name} {percent(math.expm1(found[key]['log_ratio']))}"
        for key, name in (("composition", "other work that was asked for"), ("rate", "how it was done"))
        if found[key]
    ]
    return f" ({'; '.join(parts)})" if parts else ""


def _table(metrics: list[dict[str, Any]]) -> Iterator[str]:
    rows = []
    for entry in metrics:
        if not entry["headline"]:
            continue
        change = f"{percent(entry['change'])} ({interval(entry['interval95'])})" if entry["interval95"] else ""
        state = STATES[entry["state"]]
        if entry["state"] == "NOT TESTABLE":
            state, change = f"not tested: {entry['why']}", ""
        elif entry["state"] == "CHANGED":
            state = f"{state}, {p_value(entry['p'])}"
        rows.append((entry["title"], number(entry["before"]), number(entry["after"]), change, state))
    header = ("", "before", "after", "change (95 %)", "")
    widths = [max(len(row[i]) for row in [*rows, header]) for i in range(4)]
    for row in [header, *rows]:
        cells = [row[0].ljust(widths[0]), row[1].rjust(widths[1]), row[2].rjust(widths[2]), row[3].ljust(widths[3])]
        yield "  ".join([*cells, row[4]]).rstrip()


def _abilities(report: Mapping[str, Any]) -> Iterator[str]:
    able = [entry for entry in report["metrics"] if entry["power"]]
    if able:
        first = able[0]
        power = first["power"]
        text = f"This history would show a drop of {power['smallest_drop']:.0%} in {first['title']} (8 times in 10)"
        if power["more_for_30"]:
            text += f"; one of 30 % takes {counted(power['more_for_30'], 'more session')} a side"
        yield text
        short = [entry["power"]["more_to_hold"] for entry in able if entry["state"] == "UNRESOLVED"]
        if short and max(short):
            yield f"To show that nothing relevant changed: {max(short):,} more sessions a side for the noisiest metric"
    placebo = report["placebo"]
    if placebo:
        interval_ = "{:.0%} to {:.0%}".format(*placebo["interval"])
        text = f"False alarms on this history: {placebo['alarms']} of {placebo['runs']} placebos ({interval_})"
        found = ", ".join(f"{p['found']} of {p['of']} drops of {p['drop']:.0%}" for p in placebo["planted"])
        yield f"{text}; planted and found: {found}" if found else text


def _remarks(report: Mapping[str, Any]) -> Iterator[str]:
    different = sorted({f"{entry['label']} {entry['value']}" for entry in report["labels"] if entry["different"]})
    if different:
        yield f"Different from the others: {', '.join(different[:4])}{' …' if len(different) > 4 else ''}"
    titles = {entry["name"]: entry["title"] for entry in report["metrics"]}
    if report["by_work"]:
        names = ", ".join(titles[name] for name in report["by_work"])
        yield f"USER: {names} moved, but not given what was asked for"
    for entry in report["by_format"]:
        names = ", ".join(titles[name] for name in entry["metrics"])
        verb = "came" if entry["appears"] else "went"
        yield f"FORMAT: {entry['field']} {verb} in the logs on {entry['day']}: no evidence there about {names}"
    for entry in report["incidents"]:
        seen = "its signature is here" if entry["seen"] else entry["why"] or "its signature is not here"
        yield f"Known incident {entry['from']}: {entry['name']}: {seen}"
    tokens = report["tokens"]
    if tokens["partial_sessions"]:
        yield (
            f"{counted(tokens['partial_sessions'], 'session')} log no final counts of tokens: totals are lower bounds"
        )
    excluded = report["sessions"]["excluded"]
    if excluded:
        yield "Not judged: " + ", ".join(f"{number_:,} {why}" for why, number_ in excluded.items())
