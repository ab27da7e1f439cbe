"""Reading practice: one word, or a few lines, on a single tile.

This is where reading sets in when the network starts from nothing: first one large word in a window a
quarter of the tile, then more and smaller text.
"""

from __future__ import annotations

import random

from recipes.pico import fonts
from recipes.pico.canvas import Canvas, Page, ink, paper, weather
from recipes.pico.questions import ask
from recipes.pico.text import Writer

TRAIN = ("word", "lines")
HELD_OUT = ("lines",)


def _snippet(w: Writer, rng: random.Random) -> str:
    kind = rng.randrange(9)
    if kind == 0:
        return f"{rng.randint(0, 9999)}.{rng.randint(0, 99):02d}"
    if kind == 1:
        return w.reference()
    made = (w.person, w.date, w.goods, w.shop, w.street, w.phone, w.company, w.email)
    return rng.choice(made)() if kind < 7 else " ".join(w.word() for _ in range(rng.randint(1, 4)))


def render(rng: random.Random, held_out: bool = False, layout: str | None = None, clean: bool = False) -> Page:
    """One tile of text."""
    w = Writer(rng, held_out)
    layout = layout or ("word" if rng.random() < 0.1 and not held_out else "lines")
    c = Canvas(256, 256, rng.uniform(1.0, 2.0), fonts.choose(rng, held_out), paper(rng), ink(rng))
    if rng.random() < 0.2:  # light on dark
        c = Canvas(
            256, 256, c.scale, c.face, (rng.randint(0, 80), rng.randint(0, 80), rng.randint(0, 110)), (255, 255, 255)
        )
    if layout == "word":
        text = rng.choice((w.word(), w.first(), str(rng.randint(0, 9999)), w.invented()))
        size = c.fit(text, rng.uniform(18, 30), 118)
        c.text(rng.uniform(4, 250 - c.measure(text, size)), rng.uniform(4, 220), text, size)
        page = Page("words", layout, [c.image], [], text)
    else:
        size = rng.uniform(12.5, 18) if rng.random() < 0.3 else rng.uniform(17, 30)
        pitch = size * rng.uniform(1.2, 1.7)
        lines: list[str] = []
        y = rng.uniform(4, 20)
        while y + size * 1.3 < 254 and len(lines) < 11 and (len(lines) < 2 or rng.random() < 0.9):
            text = _snippet(w, rng)
            fitted = c.fit(text, size, 244, False)
            if fitted > 10.5:
                slack = 250 - c.measure(text, fitted)
                c.text(4 + rng.random() * rng.choice((0.0, slack)), y, text, fitted, bold=rng.random() < 0.2)
                lines.append(text)
                y += pitch
        questions = [ask(rng, "line", text, str(i + 1)) for i, text in enumerate(lines)]
        page = Page("words", layout, [c.image], questions, c.transcript())
    page.frames = [c.image if clean else weather(c.image, rng)]
    page.single = rng.random() < 0.9
    return page
