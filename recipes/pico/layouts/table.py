"""Tables: names down the side, properties across."""

from __future__ import annotations

import random

from recipes.pico import fonts
from recipes.pico.canvas import Canvas, Page, Question, ink, paper, weather
from recipes.pico.questions import ask
from recipes.pico.text import Writer

TRAIN = ("ruled", "open", "headed")
HELD_OUT = ("striped",)
COLUMNS = (
    "Age",
    "City",
    "Price",
    "Score",
    "Room",
    "Year",
    "Stock",
    "Phone",
    "Code",
    "Colour",
    "Weight",
    "Date",
)


def _value(column: str, w: Writer, rng: random.Random) -> str:
    r = rng.randint
    made = {
        "Age": str(r(18, 90)),
        "City": w.city(),
        "Price": f"{r(1, 999)}.{r(0, 99):02d}",
        "Score": str(r(0, 100)),
        "Room": str(r(1, 400)),
        "Year": str(r(1950, 2027)),
        "Stock": str(r(0, 999)),
        "Phone": f"{r(200, 999)}-{r(0, 9999):04d}",
        "Code": w.reference(),
        "Colour": rng.choice(("red", "blue", "green", "black", "white")),
        "Weight": f"{r(1, 99)} kg",
        "Date": f"{r(2018, 2027)}-{r(1, 12):02d}-{r(1, 28):02d}",
    }
    return made[column]


def render(rng: random.Random, held_out: bool = False, layout: str | None = None, clean: bool = False) -> Page:
    """One table."""
    w = Writer(rng, held_out)
    layout = layout or rng.choice(HELD_OUT if held_out else TRAIN)
    columns = rng.sample(COLUMNS, rng.choice((1, 2, 2, 3)))
    people = rng.random() < 0.5
    names = list(dict.fromkeys(w.first() if people else w.goods() for _ in range(rng.randint(3, 6))))
    rows = [[name, *(_value(column, w, rng) for column in columns)] for name in names]
    head = [rng.choice(("Name", "Person") if people else ("Item", "Product")), *columns]
    pitch = rng.uniform(28, 40)
    c = Canvas(
        512,
        pitch * (len(rows) + 1) + 24,
        rng.uniform(1.2, 2.2),
        fonts.choose(rng, held_out),
        paper(rng),
        ink(rng),
    )
    size, cell = min(rng.uniform(17, 23), pitch * 0.66), 488 / len(head)
    for i, row in enumerate([head, *rows]):
        y = 12 + i * pitch
        if (layout == "headed" and i == 0) or (layout == "striped" and i % 2 == 0):
            c.box(12, y, 500, y + pitch, fill=(210, 218, 230))
        for j, text in enumerate(row):
            fitted = c.fit(text, size, cell - 12, i == 0)
            c.text(18 + j * cell, y + (pitch - size) / 2 - 1, text, fitted, bold=i == 0)
        if layout == "ruled":
            c.box(12, y, 500, y + pitch, outline=(120, 120, 120))
    if layout == "ruled":
        for j in range(1, len(head)):
            c.line(12 + j * cell, 12, 12 + j * cell, 12 + pitch * (len(rows) + 1), 1, (120, 120, 120))
    questions: list[Question] = [ask(rng, "rows", str(len(rows))), ask(rng, "column", head[-1])]
    for row in rows:
        j = rng.randrange(len(columns))
        questions.append(ask(rng, "cell", row[j + 1], columns[j].lower(), row[0]))
    return Page("table", layout, [c.image if clean else weather(c.image, rng)], questions, c.transcript())
