"""Bar charts with labels and printed values."""

from __future__ import annotations

import random

from recipes.pico import fonts
from recipes.pico.canvas import Canvas, Page, Question, weather
from recipes.pico.layouts.shapes import COLOURS
from recipes.pico.questions import ask
from recipes.pico.text import MONTHS, Writer

TRAIN = ("upright",)
HELD_OUT = ("lying",)


def render(rng: random.Random, held_out: bool = False, layout: str | None = None, clean: bool = False) -> Page:
    """One bar chart of three to five bars."""
    w = Writer(rng, held_out)
    layout = layout or rng.choice(HELD_OUT if held_out else TRAIN)
    c = Canvas(512, rng.uniform(230, 256), rng.uniform(1.2, 2.2), fonts.choose(rng, held_out, ("sans",)))
    title, count = w.title(), rng.randint(3, 5)
    labels = (
        [m[:3] for m in rng.sample(MONTHS, count)]
        if rng.random() < 0.4
        else list(dict.fromkeys(w.city() for _ in range(count)))
    )
    values = rng.sample(range(5, 100), len(labels))
    fill = COLOURS[rng.choice(("red", "green", "blue", "orange", "purple"))]
    c.text(256, 6, title, 18, bold=True, anchor="ma")
    base, step = c.height - 30, 480 / len(labels)
    for i, (label, value) in enumerate(zip(labels, values, strict=True)):
        if layout == "upright":
            x, top = 20 + step * i, base - (base - 60) * value / 100
            c.box(x + step * 0.2, top, x + step * 0.8, base, fill=fill)
            c.text(x + step / 2, top - 20, str(value), 16, anchor="ma", note=False)
            c.text(x + step / 2, base + 5, label, c.fit(label, 16, step - 6), anchor="ma")
        else:
            pitch = (base - 14) / len(labels)
            y = 34 + pitch * i
            c.text(12, y + 4, label, c.fit(label, 16, 96))
            end = 116 + 340 * value / 100
            c.box(116, y + 2, end, y + pitch * 0.75, fill=fill)
            c.text(end + 8, y + 4, str(value), 16)
    questions: list[Question] = [
        ask(rng, "title", title),
        ask(rng, "highest", labels[values.index(max(values))]),
        ask(rng, "lowest", labels[values.index(min(values))]),
    ]
    questions += [ask(rng, "bar", str(value), label) for label, value in zip(labels, values, strict=True)]
    return Page("chart", layout, [c.image if clean else weather(c.image, rng, 0.5)], questions)
