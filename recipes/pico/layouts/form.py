"""Filled-in forms: labels with values, sometimes boxes to tick."""

from __future__ import annotations

import json
import random

from recipes.pico import fonts
from recipes.pico.canvas import Canvas, Page, Question, ink, paper, weather
from recipes.pico.questions import ask
from recipes.pico.text import Writer

TRAIN = ("columns", "above", "grid", "underlined", "two_columns", "filled", "stacked")
HELD_OUT = ("cards",)
TITLES = (
    "Registration Form",
    "Application",
    "Order Form",
    "Contact Form",
    "Membership",
    "Travel Request",
    "Job Application",
    "Delivery Note",
    "Patient Record",
    "Booking",
    "Expense Report",
    "Library Card",
    "Event Ticket",
    "Visitor Form",
    "Insurance Claim",
    "Repair Order",
)
TITLES_HELD = ("Enrolment Form", "Warranty Card", "Parking Permit", "Rental Agreement", "Feedback Form")
ENDINGS = ("Form", "Card", "Request", "Record", "Report", "Application", "Order", "Permit", "Ticket", "List")
CHOICES = (
    ("Yes", "No"),
    ("Small", "Medium", "Large"),
    ("Single", "Double"),
    ("Morning", "Evening"),
    ("Email", "Phone", "Post"),
    ("Male", "Female"),
    ("New", "Renewal"),
)


def _values(w: Writer, rng: random.Random) -> dict[str, str]:
    """A value for every label that a form may have."""
    return {
        "name": w.person(),
        "first name": w.first(),
        "last name": w.last(),
        "date of birth": w.date(),
        "date": w.date(),
        "phone": w.phone(),
        "email": w.email(),
        "address": w.street(),
        "city": w.city(),
        "postcode": w.postcode(),
        "company": w.company(),
        "order number": w.reference(),
        "customer number": w.reference(),
        "amount": f"{rng.randint(5, 999)}.{rng.randint(0, 99):02d}",
        "quantity": str(rng.randint(1, 99)),
        "product": w.goods(),
        "country": rng.choice(("Germany", "France", "Spain", "Italy", "Canada", "Japan", "Norway", "Brazil")),
        "age": str(rng.randint(18, 90)),
        "department": rng.choice(("Sales", "Finance", "Support", "Marketing", "Research")),
        "room": str(rng.randint(1, 500)),
        "seat": f"{rng.randint(1, 40)}{rng.choice('ABCDEF')}",
        "time": w.clock(),
        "member id": w.reference(),
        "manager": w.person(),
        "reference": w.reference(),
        "job title": w.title(),
        "account": str(rng.randint(10000, 9999999)),
        "weight": f"{rng.randint(1, 99)} kg",
    }


class _Drawing:
    """Places labels and values."""

    def __init__(self, layout: str, c: Canvas, rng: random.Random, size: float) -> None:
        self.layout, self.c, self.rng, self.size = layout, c, rng, size
        self.tint = (rng.randint(215, 240), rng.randint(220, 245), rng.randint(225, 250))
        self.colon = rng.choice((":", ":", ""))
        self.grey = rng.choice((c.ink, (110, 110, 110), (60, 80, 120)))
        self.bold_labels = rng.random() < 0.4

    def label(self, text: str) -> str:
        """A label as printed."""
        return (text[0].upper() + text[1:]) + self.colon

    def write(self, x: float, y: float, text: str, room: float, bold: bool = False, label: bool = False) -> None:
        """Text shrunk to its room."""
        size = self.c.fit(text, self.size, room, bold)
        self.c.text(x, y, text, size, bold=bold, ink=self.grey if label else None)

    def field(self, x: float, y: float, wide: float, tall: float, name: str, value: str, column: float) -> None:
        """One label with its value in the cell (x, y, wide, tall)."""
        c, s = self.c, self.size
        if self.layout in ("above", "cards", "filled", "stacked"):
            if self.layout == "cards":
                c.box(x, y + 1, x + wide - 8, y + tall - 3, fill=self.tint, radius=6)
            self.write(x + 5, y + 3, self.label(name), wide - 18, self.bold_labels, True)
            top = y + 3 + s * 1.25
            if self.layout == "filled":
                c.box(x + 2, top, x + wide - 8, top + s * 1.5, fill=self.tint)
            if self.layout == "above":
                c.box(x, top, x + wide - 8, top + s * 1.5, outline=(130, 130, 130))
                top += s * 0.15
            self.write(x + 6, top, value, wide - 20)
            return
        if self.layout == "grid":
            c.box(x, y, x + wide, y + tall, outline=(120, 120, 120))
            c.box(x, y, x + column, y + tall, fill=self.tint, outline=(120, 120, 120))
        middle = y + (tall - s) / 2 - 2
        self.write(x + 5, middle, self.label(name), column - 10, self.bold_labels, True)
        if self.layout == "underlined":
            c.line(x + column, middle + s * 1.25, x + wide - 6, middle + s * 1.25, 1, (120, 120, 120))
        self.write(x + column + 5, middle, value, wide - column - 10)

    def ticks(self, x: float, y: float, options: tuple[str, ...], chosen: str, wide: float) -> None:
        """Boxes to tick in a row."""
        c, s = self.c, self.size
        step = wide / len(options)
        for i, option in enumerate(options):
            left = x + i * step
            c.box(left, y + 1, left + s, y + 1 + s, outline=c.ink)
            if option == chosen:
                c.line(left + 2, y + 3, left + s - 2, y + s - 1, 2)
                c.line(left + s - 2, y + 3, left + 2, y + s - 1, 2)
            self.write(left + s + 5, y, option, step - s - 10)


def _questions(rng: random.Random, title: str, rows: list[tuple[str, str]], chosen: str) -> list[Question]:
    found = [ask(rng, "field", value, name) for name, value in rows]
    found.append(ask(rng, "form_title", title))
    if chosen:
        found.append(ask(rng, "checked", chosen))
    some = dict(rng.sample(rows, min(3, len(rows))))
    found.append(ask(rng, "json", json.dumps(some, ensure_ascii=False), _listed(list(some))))
    return found


def _title(w: Writer, rng: random.Random) -> str:
    """A known title, or in training as often a made-up one, so that titles have to be read."""
    if w.held_out or rng.random() < 0.5:
        return rng.choice(TITLES_HELD if w.held_out else TITLES)
    return f"{w.word().capitalize()} {rng.choice(ENDINGS)}"


def _fits(sheet: _Drawing, name: str, value: str, cell: float, stacked: bool) -> bool:
    """Whether label and value stay legible: no more than a seventh smaller than the rest."""
    room = (cell - 20 if stacked else cell * 0.5 - 12) * 1.16
    label = sheet.c.measure(sheet.label(name), sheet.size, sheet.bold_labels)
    return label <= room and sheet.c.measure(value, sheet.size) <= room


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]


def render(rng: random.Random, held_out: bool = False, layout: str | None = None, clean: bool = False) -> Page:
    """One filled-in form."""
    w = Writer(rng, held_out)
    layout = layout or rng.choice(HELD_OUT if held_out else TRAIN)
    shape = rng.random()
    stacked = layout in ("above", "cards", "filled", "stacked")
    double = layout in ("two_columns", "cards") or (layout in ("above", "filled", "stacked") and rng.random() < 0.6)
    if shape < 0.35:
        width, height = 512.0, rng.uniform(215, 256)
        size, top = rng.uniform(16, 20), 46.0
    elif shape < 0.8:
        width, height = 512.0, rng.uniform(300, 500)
        size, top = rng.uniform(17, 23) if double else rng.uniform(18, 26), 64.0
    else:
        width, height = rng.uniform(340, 420), 512.0
        size, top = rng.uniform(16, 19), 60.0
    c = Canvas(width, height, rng.uniform(1.2, 2.2), fonts.choose(rng, held_out), paper(rng), ink(rng))
    sheet = _Drawing(layout, c, rng, size)
    title = _title(w, rng)
    grow = rng.uniform(1.15, 1.5)
    if layout == "cards" or rng.random() < 0.35:
        dark = (rng.randint(0, 110), rng.randint(0, 110), rng.randint(20, 140))
        c.box(0, 0, width, top - 12, fill=(40, 60, 90) if layout == "cards" else dark)
        c.text(14, (top - 12 - size * grow) / 2 - 2, title, size * grow, bold=True, ink=(255, 255, 255))
    elif rng.random() < 0.5:
        c.text(width / 2, 12, title, size * grow, bold=True, anchor="ma")
    else:
        c.text(14, 12, title, size * grow, bold=True)
    options = rng.choice(CHOICES) if rng.random() < 0.35 else ()
    chosen = rng.choice(options) if options else ""
    tall = size * (3.0 if stacked else rng.uniform(1.5, 2.2))
    fits = int((height - top - 8) // tall) - (1 if options else 0)
    columns = 2 if double else 1
    values = _values(w, rng)
    cell = (width - 28) / columns
    usable = [n for n in sorted(values) if _fits(sheet, n, values[n], cell, stacked)]
    names = rng.sample(usable, max(2, min(fits * columns, rng.randint(3, 7), len(usable))))
    column = min(max(c.measure(sheet.label(n), size, sheet.bold_labels) for n in names) + 14, cell * 0.5)
    y = top
    for i, name in enumerate(names):
        sheet.field(14 + cell * (i % columns), y, cell, tall, name, values[name], column)
        if i % columns == columns - 1:
            y += tall
    if options:
        y += tall if len(names) % columns else 0.0
        sheet.ticks(18, y + 8, options, chosen, width - 30)
        y += tall
    y += tall if len(names) % columns and not options else 0.0
    rows = [(n, values[n]) for n in names]
    # Mostly the sheet ends with the form; empty paper only costs tiles.
    end = height if rng.random() < 0.2 else min(height, max(y + rng.uniform(8, 40), 0.35 * width))
    image = c.image.crop((0, 0, c.image.width, round(end * c.scale)))
    return Page(
        "form",
        layout,
        [image if clean else weather(image, rng)],
        _questions(rng, title, rows, chosen),
        c.transcript(),
    )
