"""Letters and short documents: heading, date, addressee, paragraphs, signature."""

from __future__ import annotations

import random

from recipes.pico import fonts
from recipes.pico.canvas import Canvas, Page, Question, ink, paper, weather
from recipes.pico.layouts.screen import _wrapped
from recipes.pico.questions import ask
from recipes.pico.text import Writer

TRAIN = ("letter", "memo", "notice")
HELD_OUT = ("bulletin",)


def render(rng: random.Random, held_out: bool = False, layout: str | None = None, clean: bool = False) -> Page:
    """One letter, memo or notice."""
    w = Writer(rng, held_out)
    layout = layout or rng.choice(HELD_OUT if held_out else TRAIN)
    width = rng.choice((256.0, 380.0, 512.0))
    c = Canvas(
        width,
        512 if width < 500 else 400,
        rng.uniform(1.3, 2.4),
        fonts.choose(rng, held_out),
        paper(rng),
        ink(rng),
    )
    size, left = rng.uniform(16, 20), 14.0
    room, pitch = c.width - 28, size * rng.uniform(1.3, 1.5)
    sender, reader, date, subject = w.person(), w.person(), w.date(), w.title()
    questions: list[Question] = [ask(rng, "letter_date", date)]
    y = 12.0

    def put(text: str, bold: bool = False, grow: float = 1.0, anchor: str = "la") -> None:
        nonlocal y
        x = left if anchor == "la" else c.width / 2 if anchor == "ma" else c.width - left
        c.text(x, y, text, c.fit(text, size * grow, room, bold), bold=bold, anchor=anchor)
        y += pitch * grow

    if layout == "letter":
        put(date, anchor=rng.choice(("la", "ra")))
        put(f"Subject: {subject}", True)
        put(f"Dear {reader},")
        questions += [ask(rng, "subject", subject), ask(rng, "addressee", reader), ask(rng, "signed", sender)]
    elif layout == "memo":
        put("MEMO", True, 1.4)
        for label, value in (("To", reader), ("From", sender), ("Date", date), ("Subject", subject)):
            put(f"{label}: {value}")
        questions += [ask(rng, "subject", subject), ask(rng, "addressee", reader), ask(rng, "signed", sender)]
    else:
        put(subject, True, 1.4, "ma" if layout == "notice" else "la")
        put(date, anchor="ma" if layout == "notice" else "ra")
        questions += [ask(rng, "title", subject), ask(rng, "title", subject)]
    y += pitch * 0.4
    for _ in range(rng.randint(1, 2)):
        lines = _wrapped(c, w.sentence(4, 8) + " " + w.sentence(3, 6), size, room)
        if y + (len(lines) + 3) * pitch > c.height:
            break
        for line in lines:
            put(line)
        y += pitch * 0.4
    if layout == "letter" and y + 2 * pitch < c.height:
        put(rng.choice(("Sincerely,", "Best regards,", "Yours,", "Kind regards,")))
        put(sender)
    elif layout == "letter":
        questions.pop()
    end = min(c.image.height, round(max(y + 10, c.width * 0.5) * c.scale))
    image = c.image.crop((0, 0, c.image.width, end))
    return Page("letter", layout, [image if clean else weather(image, rng)], questions, c.transcript())
