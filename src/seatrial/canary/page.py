"""The report as a self-contained page: no script, nothing loaded, everything from outside escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from seatrial import pages
from seatrial.canary import charts, prose, timeline, wording
from seatrial.canary.shape import day, whole_report

_FOLDER = Path(__file__).with_name("templates")
_TONES = {"REGRESSED": "harmful", "IMPROVED": "good", "CHANGED": "moved", "HOLDING": "good"}
_LABELS = ("model", "version", "effort", "permission", "entrypoint")
_STRIPS = _LABELS[:3]
_MOST_DIFFERENT = 12
_SPACE = "\u00a0%"
_KEPT = pages.KEPT + "\u00a0"
_PHRASES = (
    prose.amount, prose.interval_words, prose.level, prose.meaning, prose.moment, prose.p_words, prose.share_of,
    prose.shown_day, prose.size, prose.smallest, prose.span, prose.state_words, prose.usd, prose.when, wording.counted,
    wording.number, wording.percent, timeline.tone_of,
)  # fmt: skip


def render_html(report: Mapping[str, Any]) -> str:
    """Return the page of `Report.as_dict`; parts that are missing are left out.

    Characters that would not be seen are shown by their number.
    """
    found = whole_report(report)
    metrics = prose.ordered(found["metrics"])
    headline = [entry for entry in metrics if entry["headline"]]
    rare = [entry for entry in metrics if entry["family"] == "rare"]
    seen = [entry for entry in rare if entry["events"] and entry["events"]["before"] + entry["events"]["after"]]
    return _template().render(
        report=found,
        tone=_TONES.get(found["verdict"], "still"),
        titles={entry["name"]: entry["title"] for entry in metrics},
        headline=headline,
        further=[entry for entry in metrics if not entry["headline"] and entry["family"] != "rare"],
        rare=rare,
        seen=seen,
        unseen=[entry for entry in rare if entry not in seen],
        changes=prose.changes(found),
        who=prose.who(found),
        ability=prose.ability(found["metrics"], found["sessions"]["judged"]),
        forest=_forest(metrics),
        origins=[_origin(entry) for entry in prose.changes(found) if entry["attribution"]],
        days=_days(found, headline),
        labels=_labels(found),
        money=_money(found["costs"]),
        costs=_cost_tables(found["costs"]),
        agent=prose.AGENTS.get(found["window"]["agent"], found["window"]["agent"]),
        meaning_of=prose.WHO,
        field_names=prose.FIELDS,
        css=Markup((_FOLDER / "report.css").read_text(encoding="utf-8")),
    )


def shown(text: str) -> Markup:
    """Return `text` escaped, with characters that cannot be seen as their numbers."""
    return pages.shown(text, _KEPT)


def plain(text: str) -> str:
    """Return `text` for an attribute, where no element may stand, with unseen characters as their numbers."""
    return "".join(c if c.isprintable() or c in _KEPT else f"U+{ord(c):04X}" for c in text)


@cache
def _template() -> jinja2.Template:
    environment = pages.environment(_FOLDER, _PHRASES, lambda text: shown(text.replace(" %", _SPACE)))
    environment.filters["plain"] = plain
    return environment.get_template("report.html.j2")


def _forest(metrics: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the axis of all changes, and each metric's row by its name."""
    scale = charts.forest_scale(metrics)
    rows = {}
    for entry in metrics:
        low, high = entry["interval95"] or (None, None)
        words = f"{entry['title']}: {wording.percent(entry['change'])}, {prose.interval_words(entry['interval95'])}"
        rows[entry["name"]] = charts.forest_row(
            scale, charts.log_of(entry["change"]), (charts.log_of(low), charts.log_of(high)), plain(words),
            tone=timeline.tone_of(entry), blind=prose.blind(entry),
        )  # fmt: skip
    return {"axis": charts.forest_axis(scale), "rows": rows}


def _origin(metric: Mapping[str, Any]) -> dict[str, Any]:
    """Return a changed metric's parts as bars: what was asked, how it was done, and both together."""
    found = metric["attribution"]
    parts = {name: found[name] for name in ("composition", "rate") if found[name]}
    sizes = {name: part["log_ratio"] or 0.0 for name, part in parts.items()}
    ends = [end for part in parts.values() for end in part["interval95"] or ()]
    total = sum(sizes.values())
    scale = charts.scale_of([*sizes.values(), *ends, total], is_small=True)
    rows = []
    for name, title in (("composition", "What was asked for"), ("rate", "How it was done")):
        if name not in parts:
            continue
        pair = parts[name]["interval95"]
        shown_pair = (prose.ratio(pair[0]), prose.ratio(pair[1])) if pair else None
        change = prose.ratio(sizes[name])
        words = plain(f"{metric['title']}, {title}: {wording.percent(change)}, {prose.interval_words(shown_pair)}")
        picture = charts.forest_row(scale, sizes[name], pair or (None, None), words, tone=name, bar=True)
        rows.append({"title": title, "change": change, "interval": shown_pair, "picture": picture})
    if len(rows) == 2:
        picture = charts.forest_row(scale, total, (None, None), "", tone=timeline.tone_of(metric), bar=True)
        rows.append({"title": "Together", "change": prose.ratio(total), "interval": None, "picture": picture})
    return {"metric": metric, "rows": rows, "axis": charts.forest_axis(scale)}


def _days(report: Mapping[str, Any], headline: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Return the pictures of all metrics by day, and the bars of the labels; None when there are no days."""
    axis = timeline.axis_of(entry["day"] for entry in report["timeline"])
    if axis is None:
        return None
    is_weekly = timeline.is_weekly(report["timeline"])
    lines = []
    for entry in headline:
        points = timeline.points_of(report["timeline"], entry["name"], axis)
        if points:
            picture = timeline.metric_picture(entry, points, axis, report["boundary"], is_weekly)
            lines.append({"metric": entry, "picture": picture})
    strips = []
    for label in _STRIPS:
        bars, left_out = timeline.label_bars(report["values"], label, axis)
        if bars:
            strips.append({"label": label, "bars": bars, "left_out": left_out})
    return {
        "lines": lines,
        "strips": strips,
        "dates": timeline.date_axis(axis),
        "incidents": timeline.incident_bands(report["incidents"], axis),
        "is_weekly": is_weekly,
    }


def _labels(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return the comparisons that differ with their rows, and all of them as a table of values by metrics."""
    different = [entry for entry in report["labels"] if entry["different"]]
    different.sort(key=lambda entry: (_rank(entry["label"]), -abs(charts.log_of(entry["change"]) or 0.0)))
    left_out = max(0, len(different) - _MOST_DIFFERENT)
    different = different[:_MOST_DIFFERENT]
    scale = charts.scale_of(charts.log_of(entry["change"]) for entry in different)
    rows = []
    for entry in different:
        low, high = entry["interval95"] or (None, None)
        words = plain(f"{entry['label']} {entry['value']}: {wording.percent(entry['change'])}")
        ends = charts.log_of(low), charts.log_of(high)
        rows.append((entry, charts.forest_row(scale, charts.log_of(entry["change"]), ends, words, tone="moved")))
    table: dict[tuple[str, str], dict[str, Any]] = {}
    for entry in report["labels"]:
        key = entry["label"], entry["value"]
        row = table.setdefault(key, {"day": entry["first_day"], "sessions": entry["sessions"], "cells": {}})
        row["cells"][entry["metric"]] = entry
    return {
        "different": rows,
        "left_out": left_out,
        "axis": charts.forest_axis(scale),
        "table": table,
        "metrics": list(dict.fromkeys(entry["metric"] for entry in report["labels"])),
        "values": sorted(report["values"], key=lambda v: (_rank(v["label"]), -v["sessions"])),
    }


def _rank(label: str) -> int:
    return _LABELS.index(label) if label in _LABELS else len(_LABELS)


def _money(costs: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Return the chart of each day's cost, of its tokens when no price is known; None when there are no days."""
    daily = [{**entry, "day": day(entry["key"])} for entry in costs if entry["by"] in ("", "day") and day(entry["key"])]
    total = sum(entry["usd"] or 0.0 for entry in daily)
    name = "usd" if total > 0 else "tokens"
    columns, axis = timeline.cost_columns(daily, name)
    if axis is None:
        return None
    top = charts.nice_top(max(sum(size for size, _ in column.parts) for column in columns))
    unit = "USD" if name == "usd" else "tokens"
    words = f"{unit} by day, {prose.span(axis.first, axis.last)}; at most {prose.amount(top)} {unit}"
    return {
        "picture": charts.columns(columns, top, words),
        "dates": timeline.date_axis(axis),
        "top": prose.usd(top) if name == "usd" else prose.amount(top),
        "half": prose.usd(top / 2) if name == "usd" else prose.amount(top / 2),
        "unit": unit,
        "usd": total,
        "usd_first": sum(entry["usd_first"] or 0.0 for entry in daily),
        "tokens": sum(entry["tokens"] for entry in daily),
        "is_least": any(entry["is_least"] for entry in daily),
        "unpriced": sorted({name for entry in daily for name in entry["unpriced"]}),
        "is_weekly": len(columns) > 1 and axis.days > len(columns),
    }


def _cost_tables(costs: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[Mapping[str, Any]]]]:
    """Return the rows that are not of days, by model and by project where they say which they are."""
    other = [entry for entry in costs if entry["by"] not in ("", "day") or not day(entry["key"])]
    found = []
    for by, title in (("model", "By model"), ("project", "By project"), ("", "By model and by project")):
        rows = [entry for entry in other if entry["by"] == by]
        if rows:
            found.append((title, rows))
    return found
