"""Pictures as inline SVG.  Places are percentages, so that one picture fits every width and its text keeps its size."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape

from seatrial.canary.verdict import RELEVANT

_MOST = math.log(12)
_LEAST = math.log(2.2)
_LINE = 16
_TICKS = (
    (1 / 10, "−90 %"), (1 / 4, "−75 %"), (1 / 2, "−50 %"), (1, "0"), (2, "+100 %"), (4, "×4"), (10, "×10"),
)  # fmt: skip


def element(name: str, *content: Markup | str, **attributes: object) -> Markup:
    """Return an element; values and texts are escaped, `_` in names is `-`, attributes that are None are left out."""
    given = "".join(
        f' {key.strip("_").replace("_", "-")}="{escape(_short(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    inner = Markup("").join(content)
    return Markup(f"<{name}{given}>{inner}</{name}>" if inner else f"<{name}{given}/>")


def picture(content: Iterable[Markup], label: str, height: float | str, class_: str = "") -> Markup:
    """Return an SVG picture as wide as its place, `height` in pixels or percent; `label` says what it shows."""
    attributes = {"role": "img", "aria_label": label} if label else {"aria_hidden": "true"}
    return element("svg", *content, class_=class_ or None, width="100%", height=height, **attributes)


def share(value: float) -> str:
    """Return a share of the width as a percentage."""
    return f"{_short(round(100 * value, 2))}%"


def line(x: float, top: float, bottom: float | str, class_: str) -> Markup:
    """Return a vertical line at a share of the width."""
    return element("line", x1=share(x), x2=share(x), y1=top, y2=bottom, class_=class_)


def box(left: float, right: float, top: float, height: float | str, class_: str, hover: str = "") -> Markup:
    """Return a rectangle between two shares of the width."""
    width = share(max(right - left, 0))
    return element("rect", *_hover(hover), x=share(left), width=width, y=top, height=height, class_=class_)


def dot(x: float, y: float, radius: float, class_: str, hover: str = "") -> Markup:
    """Return a point at a share of the width."""
    return element("circle", *_hover(hover), cx=share(x), cy=round(y, 1), r=round(radius, 1), class_=class_)


def arrow(x: float, y: float, shape: str, class_: str, hover: str = "") -> Markup:
    """Return a small triangle at a share of the width; `shape` is its path around (0, 0)."""
    path = element("path", *_hover(hover), d=shape)
    return element("svg", path, x=share(x), y=round(y, 1), overflow="visible", class_=class_)


def label(x: float, y: float, words: str, anchor: str = "middle") -> Markup:
    """Return a text at a share of the width."""
    return element("text", words, x=share(x), y=y, text_anchor=anchor)


@dataclass(frozen=True)
class Scale:
    """Log ratios from −`reach` to +`reach` over the width of a picture."""

    reach: float
    is_small: bool = False
    """Whether its pictures are, so that fewer ticks have room."""

    def __call__(self, log_ratio: float) -> float:
        """Return the share of the width, within 0 and 1."""
        return 0.5 + 0.5 * max(-1.0, min(1.0, log_ratio / self.reach))

    def ticks(self) -> list[tuple[float, str]]:
        """Return log ratios with their names."""
        step = 2 if self.is_small and self.reach > 1.6 else 1
        chosen = [tick for place, tick in enumerate(_TICKS) if (place - len(_TICKS) // 2) % step == 0]
        return [(math.log(ratio), name) for ratio, name in chosen if abs(math.log(ratio)) < 0.93 * self.reach]


def scale_of(log_ratios: Iterable[float | None], *, is_small: bool = False) -> Scale:
    """Return a scale that holds the log ratios as far as they can be told apart."""
    largest = max((abs(value) for value in log_ratios if value is not None and math.isfinite(value)), default=0.0)
    return Scale(min(_MOST, max(_LEAST, 1.08 * largest)), is_small)


def log_of(change: float | None) -> float | None:
    """Return the log ratio of a change (−0.5 is half as much), None when there is none."""
    return None if change is None else math.log(max(1 + change, 1e-4))


def forest_scale(metrics: Iterable[Mapping[str, Any]]) -> Scale:
    """Return the scale of the changes of metrics: intervals of what has changed in full, of the others in part."""
    reach: list[float | None] = []
    for metric in metrics:
        reach.append(log_of(metric["change"]))
        if metric["interval95"] and metric["state"] == "CHANGED":
            reach += [log_of(value) for value in metric["interval95"]]
    return scale_of(reach)


def forest_axis(scale: Scale) -> Markup:
    """Return the names of a scale's ticks."""
    return picture([label(scale(at), 12, name) for at, name in scale.ticks()], "", 16, "axis")


def forest_row(
    scale: Scale, estimate: float | None, ends: tuple[float | None, float | None], about: str, **options: Any
) -> Markup:
    """Return one row of a forest plot: a log ratio with its interval, above the band of no relevant change.

    It fills its place's height.  `tone` is the class of what is drawn; `blind` the log ratio up to which a change would
    mostly not be found; `bar` draws the estimate as a bar from nothing.
    """
    tone, blind = options.get("tone", ""), options.get("blind")
    low, high = ends
    # A picture inside, level with the first line of text, in which heights are pixels from there.
    drawn = []
    if blind:
        drawn.append(box(scale(-blind), scale(blind), 8, 2, "blind"))
    if options.get("bar") and estimate is not None:
        left, right = sorted((scale(0), scale(estimate)))
        drawn.append(box(left, right, -5, 10, f"bar {tone}".strip()))
    if low is not None and high is not None:
        drawn.append(box(scale(low), scale(high), -1, 2, f"range {tone}".strip()))
        drawn += _ends(scale, low, high, f"range {tone}".strip())
    if estimate is not None:
        drawn.append(dot(scale(estimate), 0, 4.5, f"point {tone}".strip()))
    behind = [box(scale(-RELEVANT), scale(RELEVANT), 0, "100%", "band")]
    behind += [line(scale(at), 0, "100%", "zero" if at == 0 else "tick") for at, _ in scale.ticks()]
    return picture([*behind, element("svg", *drawn, y=_LINE, overflow="visible")], about, "100%", "forest")


def _ends(scale: Scale, low: float, high: float, class_: str) -> list[Markup]:
    """Return arrows where an interval goes on beyond the picture."""
    found = []
    if low < -scale.reach:
        found.append(arrow(0, 0, "M0 0L7 -4V4Z", class_))
    if high > scale.reach:
        found.append(arrow(1, 0, "M0 0L-7 -4V4Z", class_))
    return found


@dataclass(frozen=True)
class Column:
    """A column of a bar chart: its name for hovering, and the heights that are stacked in it with their classes."""

    hover: str
    parts: tuple[tuple[float, str], ...]


def columns(given: list[Column], top: float, about: str, height: float = 120) -> Markup:
    """Return a bar chart; a column as high as the picture is worth `top`."""
    width = 1 / max(len(given), 1)
    gap = min(0.2 * width, 0.004)
    drawn = [element("line", x1="0", x2="100%", y1=y, y2=y, class_="tick") for y in (0.5, height / 2, height - 0.5)]
    for place, column in enumerate(given):
        bottom = height
        for size, class_ in column.parts:
            tall = height * min(max(size, 0.0) / top, 1.0) if top > 0 else 0.0
            bottom -= tall
            if tall > 0.2:
                left, right = place * width + gap, (place + 1) * width - gap
                drawn.append(box(left, right, round(bottom, 1), round(tall, 1), class_, column.hover))
    return picture(drawn, about, height)


def nice_top(largest: float) -> float:
    """Return a round number at or above the largest value."""
    if largest <= 0 or not math.isfinite(largest):
        return 1.0
    unit = float(10 ** math.floor(math.log10(largest)))
    return next((factor * unit for factor in (1, 1.5, 2, 3, 4, 5, 6, 8) if factor * unit >= largest), 10 * unit)


def _hover(words: str) -> tuple[Markup, ...]:
    return (element("title", words),) if words else ()


def _short(value: object) -> object:
    return f"{value:g}" if isinstance(value, float) else value
