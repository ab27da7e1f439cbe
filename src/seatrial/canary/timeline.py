"""Metrics day by day as pictures: points, a smoothed line, where the change is, and which labels there were."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from markupsafe import Markup

from seatrial.canary import charts
from seatrial.canary.charts import element, share
from seatrial.canary.prose import level, scale_mark, shown_day
from seatrial.canary.wording import counted

HEIGHT = 76
_RADIUS = 6.5
_MOST_POINTS = 150
_MOST_BARS = 12
_INSIDE = 0.97
"""Share of the sessions whose values the picture holds; what lies above is drawn as an arrow at its edge."""


@dataclass(frozen=True)
class Point:
    """A day, or a week of a long history: `at` is its middle in days, `value` by sessions."""

    day: date
    at: float
    sessions: int
    value: float


@dataclass(frozen=True)
class Axis:
    """The days from `first` to `last` over the width of a picture."""

    first: date
    last: date

    @property
    def days(self) -> int:
        """Return the number of days."""
        return (self.last - self.first).days + 1

    def __call__(self, day: date) -> float:
        """Return the share of the width at which a day begins, within 0 and 1."""
        return self.place((day - self.first).days)

    def place(self, days: float) -> float:
        """Return the share of the width at which so many days have gone by."""
        return max(0.0, min(1.0, days / self.days))

    def ticks(self) -> list[tuple[float, str]]:
        """Return at most six days or months with their names."""
        step = next((days for days in (1, 2, 7, 14) if self.days / days <= 6), 0)
        if step:
            skipped = -self.first.weekday() % 7 if step >= 7 else 0
            found = [self.first + timedelta(days=skipped + step * place) for place in range(7)]
            return [(self(day), f"{day.day} {day:%b}") for day in found if day <= self.last]
        months = [date(year, month, 1) for year in range(self.first.year, self.last.year + 1) for month in range(1, 13)]
        months = [month for month in months if self.first <= month <= self.last]
        step = next(step for step in (1, 2, 3, 6, 12, 24, 1200) if len(months) / step <= 6)
        chosen = [month for month in months if (month.month - 1 + 12 * month.year) % step == 0]
        return [(self(month), f"{month:%b}" if month.month > 1 else f"{month:%b %Y}") for month in chosen]


def axis_of(days: Iterable[date | None]) -> Axis | None:
    """Return the axis that holds the days, None when there are none."""
    known = [day for day in days if day]
    return Axis(min(known), max(known)) if known else None


def date_axis(axis: Axis) -> Markup:
    """Return the names of an axis's ticks."""
    ticks = [charts.label(at, 12, name, "end" if at > 0.96 else "middle") for at, name in axis.ticks()]
    return charts.picture(ticks, "", 16, "axis")


def is_weekly(timeline: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether a history is so long that weeks are drawn instead of days."""
    return len(timeline) > _MOST_POINTS


def points_of(timeline: Sequence[Mapping[str, Any]], name: str, axis: Axis) -> list[Point]:
    """Return a metric's points, of days or, in a long history, of weeks."""
    is_long = is_weekly(timeline)
    groups: dict[date, list[tuple[int, float]]] = {}
    for entry in timeline:
        day, value = entry["day"], entry["values"].get(name)
        if day and value is not None:
            start = day - timedelta(days=day.weekday()) if is_long else day
            groups.setdefault(start, []).append((max(entry["sessions"], 1), value))
    found = []
    for day, pairs in sorted(groups.items()):
        sessions = sum(number for number, _ in pairs)
        middle = (day - axis.first).days + (3.5 if is_long else 0.5)
        found.append(Point(day, middle, sessions, sum(number * value for number, value in pairs) / sessions))
    return found


def smoothed(
    points: Sequence[Point], width: float, top: float, breaks: Sequence[float] = ()
) -> list[list[tuple[float, float]]]:
    """Return lines of (days, value): means weighted by sessions and a normal kernel of `width` days.

    Values above `top` count as `top`.  A line ends at the `breaks`, and where there are no points for long.
    """
    lines: list[list[tuple[float, float]]] = []
    pieces: dict[int, list[Point]] = {}
    for point in points:
        pieces.setdefault(sum(point.at >= place for place in breaks), []).append(point)
    for piece in pieces.values():
        last = -math.inf
        for point in piece:
            weights = [p.sessions * math.exp(-0.5 * ((p.at - point.at) / width) ** 2) for p in piece]
            value = sum(w * min(p.value, top) for w, p in zip(weights, piece, strict=True)) / sum(weights)
            if point.at - last > 5 * width:
                lines.append([])
            lines[-1].append((point.at, value))
            last = point.at
    return [one for one in lines if len(one) > 1]


def metric_picture(
    metric: Mapping[str, Any], points: Sequence[Point], axis: Axis, shown: Mapping[str, Any], weekly: bool
) -> Markup:
    """Return a metric's time line; `shown` is the boundary that the report is about."""
    top = _top(points)
    spot = metric["boundary"] if metric["state"] == "CHANGED" else None
    tone = tone_of(metric)
    drawn = _marks(axis, spot, shown, tone)
    drawn += [
        element("line", x1="0", x2="100%", y1=y, y2=y, class_="zero" if y == HEIGHT else "tick")
        for y in (0, HEIGHT / 2, HEIGHT)
    ]
    drawn += [
        element("text", scale_mark(value, metric), x=-6, y=y, text_anchor="end")
        for value, y in ((top, 8), (top / 2, HEIGHT / 2 + 4), (0.0, HEIGHT))
    ]
    breaks = [(spot["day"] - axis.first).days] if spot and spot["day"] else []
    drawn.append(_line(smoothed(points, max(1.5, axis.days / 22), top, breaks), axis, top))
    # Areas by sessions; smaller where there are many.
    unit = max(3.0, min(_RADIUS, 300 / max(len(points), 1))) / math.sqrt(max((p.sessions for p in points), default=1))
    drawn += [_point(point, axis, top, unit, metric, weekly) for point in points]
    return charts.picture(drawn, _about(metric, axis, spot), HEIGHT, "days")


def tone_of(metric: Mapping[str, Any]) -> str:
    """Return the class of a metric's colour: whether it has changed, and for what."""
    if metric["state"] != "CHANGED":
        return "still"
    return {"harmful": "harmful", "good": "good"}.get(metric["direction"], "moved")


def _about(metric: Mapping[str, Any], axis: Axis, spot: Mapping[str, Any] | None) -> str:
    words = f"{metric['title']} from {shown_day(axis.first)} to {shown_day(axis.last)}"
    sides = f"{level(metric['before'], metric)} before and {level(metric['after'], metric)} after"
    return f"{words}: {sides}{' ' + shown_day(spot['day']) if spot and spot['day'] else ''}"


def _top(points: Sequence[Point]) -> float:
    total, seen = sum(point.sessions for point in points), 0
    largest = 0.0
    for point in sorted(points, key=lambda p: p.value):
        if seen > _INSIDE * total and point.value > 1.6 * largest > 0:
            break
        seen += point.sessions
        largest = point.value
    return charts.nice_top(largest)


def _marks(axis: Axis, spot: Mapping[str, Any] | None, shown: Mapping[str, Any], tone: str) -> list[Markup]:
    if spot is None or not spot["day"]:
        at = axis(shown["day"]) if shown["day"] else 0.0
        return [charts.line(at, 0, HEIGHT, "compared")] if 0 < at < 1 else []
    first, last = spot["earliest"] or spot["day"], spot["latest"] or spot["day"]
    words = f"the change: {shown_day(first)} to {shown_day(last)}"
    return [
        charts.box(axis(first), axis(last + timedelta(days=1)), 0, HEIGHT, f"within {tone}", words),
        charts.line(axis(spot["day"]), 0, HEIGHT, f"change {tone}"),
    ]


def _line(lines: Sequence[Sequence[tuple[float, float]]], axis: Axis, top: float) -> Markup:
    """Return smoothed lines in a picture of their own, which is stretched: only lines, no points or texts."""
    drawn = []
    for one in lines:
        places = [f"{1000 * axis.place(at):.1f},{HEIGHT * (1 - value / top):.1f}" for at, value in one]
        drawn.append(element("polyline", points=" ".join(places), class_="smooth"))
    return element("svg", *drawn, viewBox=f"0 0 1000 {HEIGHT}", preserveAspectRatio="none", width="100%", height=HEIGHT)


def _point(point: Point, axis: Axis, top: float, unit: float, metric: Mapping[str, Any], weekly: bool) -> Markup:
    week = "week of " if weekly else ""
    words = f"{week}{shown_day(point.day)}: {level(point.value, metric)}, {counted(point.sessions, 'session')}"
    if point.value > top:
        return charts.arrow(axis.place(point.at), 5, "M-4 3L0 -4L4 3Z", "day", words)
    radius = max(1.5, unit * math.sqrt(point.sessions))
    return charts.dot(axis.place(point.at), HEIGHT * (1 - max(point.value, 0.0) / top), radius, "day", words)


@dataclass(frozen=True)
class Bar:
    """A label's value from its first to its last day; `style` places it, `side` is where its name has room."""

    value: str
    words: str
    style: str
    side: str
    room: str


def label_bars(values: Sequence[Mapping[str, Any]], label: str, axis: Axis) -> tuple[list[Bar], int]:
    """Return the bars of a label's most frequent values in the order of their first days, and how many are left out."""
    known = [entry for entry in values if entry["label"] == label and entry["first_day"] and entry["last_day"]]
    often = sorted(known, key=lambda entry: -entry["sessions"])[:_MOST_BARS]
    found = []
    for entry in sorted(often, key=lambda entry: (entry["first_day"], entry["last_day"])):
        left, right = axis(entry["first_day"]), axis(entry["last_day"] + timedelta(days=1))
        style = f"left:{share(left)};width:{share(max(right - left, 0.004))}"
        is_left = 1 - left >= right
        room = f"left:{share(left)};max-width:{share(1 - left)}" if is_left else (
            f"right:{share(1 - right)};max-width:{share(right)}"
        )  # fmt: skip
        words = f"from {shown_day(entry['first_day'], year=False)}, {counted(entry['sessions'], 'session')}"
        found.append(Bar(entry["value"], words, style, "left" if is_left else "right", room))
    return found, len(known) - len(often)


def incident_bands(incidents: Sequence[Mapping[str, Any]], axis: Axis) -> list[tuple[str, str]]:
    """Return the place (a style) and the name of each known incident."""
    found = []
    for entry in incidents:
        if entry["from"] and entry["to"]:
            left, right = axis(entry["from"]), axis(entry["to"])
            name = f"{entry['name']}, {shown_day(entry['from'])} to {shown_day(entry['to'])}"
            found.append((f"left:{share(left)};width:{share(max(right - left, 0.004))}", name))
    return found


def cost_columns(costs: Sequence[Mapping[str, Any]], name: str) -> tuple[list[charts.Column], Axis | None]:
    """Return a column for each day, or week of a long history, of `usd` or `tokens`: own calls, then sub-agents'."""
    axis = axis_of(entry["day"] for entry in costs)
    if axis is None:
        return [], None
    days = 7 if axis.days > _MOST_POINTS else 1
    sums: dict[int, list[float]] = {}
    for entry in costs:
        amounts = sums.setdefault((entry["day"] - axis.first).days // days, [0.0, 0.0])
        amounts[entry["is_subagent"]] += entry[name] or 0.0
    found = []
    for place in range(math.ceil(axis.days / days)):
        own, other = sums.get(place, (0.0, 0.0))
        total = f"{own + other:,.2f} USD" if name == "usd" else f"{own + other:,.0f} tokens"
        day = axis.first + timedelta(days=days * place)
        words = f"{'from ' if days > 1 else ''}{shown_day(day)}: {total}"
        found.append(charts.Column(words, ((own, "own"), (other, "other"))))
    return found, Axis(axis.first, axis.first + timedelta(days=days * len(found) - 1))
