"""Two small pictures in one prompt."""

from __future__ import annotations

import random

from PIL import Image

from recipes.pico import fonts
from recipes.pico.canvas import Canvas, Page, Question, ink, paper
from recipes.pico.questions import ask
from recipes.pico.text import Writer

TRAIN = ("words",)
HELD_OUT = ("words",)


def render(rng: random.Random, held_out: bool = False, layout: str | None = None, clean: bool = False) -> Page:
    """Two pictures, each with a word or two."""
    w = Writer(rng, held_out)
    frames: list[Image.Image] = []
    texts: list[str] = []
    while len(texts) < 2:
        text = rng.choice((w.goods, w.person, w.city, w.reference))()
        if text in texts:
            continue
        c = Canvas(256, 256, rng.uniform(1, 1.6), fonts.choose(rng, held_out), paper(rng), ink(rng))
        size = c.fit(text, rng.uniform(20, 34), 230)
        c.text(128, rng.uniform(40, 180), text, size, anchor="ma")
        frames.append(c.image)
        texts.append(text)
    questions: list[Question] = [ask(rng, "picture", texts[0], "1"), ask(rng, "picture", texts[1], "2")]
    which = rng.randrange(2)
    questions.append(ask(rng, "pair", str(which + 1), texts[which]))
    return Page("pair", "words", frames, questions, single=rng.random() < 0.7)
