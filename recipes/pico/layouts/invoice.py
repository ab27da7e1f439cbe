"""Invoices: two parties, numbers, dates, a table of services, a total."""

from __future__ import annotations

import json
import random

from recipes.pico import fonts
from recipes.pico.canvas import Canvas, Page, Question, ink, paper, weather
from recipes.pico.questions import ask
from recipes.pico.text import Writer

TRAIN = ("classic", "side", "shaded")
HELD_OUT = ("striped",)


def _questions(rng: random.Random, facts: dict[str, str], total: str, goods: list[tuple[str, str]]) -> list[Question]:
    found = [ask(rng, kind, answer) for kind, answer in facts.items()]
    found += [
        ask(rng, "total", total),
        ask(rng, "total", total),
        ask(rng, "invoice_number", facts["invoice_number"]),
    ]
    found += [ask(rng, "price", price, name) for name, price in goods]
    fields = {"number": facts["invoice_number"], "date": facts["invoice_date"], "total": total}
    found.append(ask(rng, "json", json.dumps(fields, ensure_ascii=False), "number, date and total"))
    return [*found, ask(rng, "count", str(len(goods)))]


class _Drawing:
    """Writes an invoice from top to bottom."""

    def __init__(self, layout: str, c: Canvas, rng: random.Random) -> None:
        self.layout, self.c, self.rng = layout, c, rng
        self.size, self.left, self.right = rng.uniform(15.5, 18.5), 16.0, c.width - 16.0
        self.pitch, self.y = self.size * rng.uniform(1.3, 1.5), 14.0

    def write(
        self, x: float, text: str, room: float, bold: bool = False, anchor: str = "la", grow: float = 1.0
    ) -> None:
        """Text at the present height, shrunk to its room."""
        size = self.c.fit(text, self.size * grow, room, bold)
        self.c.text(x, self.y, text, size, bold=bold, anchor=anchor)

    def pair(self, left: float, name: str, right: float, value: str, bold: bool = False, grow: float = 1.0) -> None:
        """A name and a value on one line."""
        size = self.size * grow
        wide = self.c.measure(name, size, bold) + self.c.measure(value, size, bold) + 12
        left = max(self.left, min(left, right - wide))
        self.c.text(left, self.y, name, size, bold=bold)
        self.write(right, value, right - left - self.c.measure(name, size, bold) - 10, bold, "ra", grow)

    def head(self, word: str, vendor: str) -> None:
        """The word invoice and who sends it."""
        if self.layout in ("side", "striped"):
            self.write(self.left, vendor, 200, True, grow=1.2)
            self.write(self.right, word, 130, True, "ra", 1.3)
        else:
            self.write(self.left, word, 200, True, grow=1.5)
            self.y += self.pitch * 1.6
            self.write(self.left, vendor, self.right - self.left, True)
        self.y += self.pitch * 1.5

    def facts(self, customer: str, facts: list[tuple[str, str]]) -> None:
        """Customer, number and dates."""
        side = self.layout == "side"
        if side:
            self.write(self.left, "Bill to", 160)
            self.y += self.pitch
            self.write(self.left, customer, self.c.width * 0.5 - 20, True)
            self.y -= self.pitch
        else:
            facts = [(self.rng.choice(("Bill to", "Customer", "To")), customer), *facts]
        for label, value in facts:
            stop = self.right if self.layout in ("side", "striped") else self.left + 250
            self.pair(self.c.width * 0.52 if side else self.left, label, stop, value)
            self.y += self.pitch
        self.y += self.pitch * 0.6

    def goods(self, goods: list[tuple[str, str]]) -> None:
        """The table."""
        left, right = self.left, self.right
        rows = [
            (self.rng.choice(("Description", "Item", "Service")), self.rng.choice(("Amount", "Price"))),
            *goods,
        ]
        for i, (name, price) in enumerate(rows):
            if self.layout in ("shaded", "striped") and (i == 0 or (self.layout == "striped" and i % 2 == 0)):
                fill = (232, 236, 242) if i else (205, 215, 230)
                self.c.box(left - 6, self.y - 3, right + 6, self.y + self.pitch - 3, fill=fill)
            self.pair(left, name, right, price, bold=i == 0)
            self.y += self.pitch * 1.1
        self.c.rule(self.y + 2, left, right)
        self.y += self.pitch * 0.6

    def total(self, total: str) -> None:
        """The last line."""
        left = self.c.width * 0.52 if self.layout == "side" else self.left
        name = self.rng.choice(("Total", "TOTAL", "Amount due", "Total due"))
        self.pair(left, name, self.right, total, True, 1.15)
        self.y += self.pitch * 1.5


def render(rng: random.Random, held_out: bool = False, layout: str | None = None, clean: bool = False) -> Page:
    """One invoice."""
    w = Writer(rng, held_out)
    layout = layout or rng.choice(HELD_OUT if held_out else TRAIN)
    face = fonts.choose(rng, held_out)
    c = Canvas(rng.uniform(360, 420), 512, rng.uniform(1.3, 2.4), face, paper(rng), ink(rng))
    sign = rng.choice(("", "$", "€", "£"))
    cents = [(name, rng.randint(100, 99999)) for name in w.distinct_goods(rng.randint(1, 4))]

    def money(value: int) -> str:
        return f"{sign}{value // 100}.{value % 100:02d}"

    facts = {
        "vendor": w.company(),
        "customer": rng.choice((w.company, w.person))(),
        "invoice_number": w.reference(),
    }
    facts |= {"invoice_date": w.date(), "due": w.date()}
    goods, total = [(name, money(value)) for name, value in cents], money(sum(value for _, value in cents))
    sheet = _Drawing(layout, c, rng)
    sheet.head(rng.choice(("INVOICE", "Invoice")), facts["vendor"])
    labels = (
        ("Invoice no", "Number", "Invoice #"),
        ("Date", "Invoice date"),
        ("Due", "Due date", "Payment due"),
    )
    keys = ("invoice_number", "invoice_date", "due")
    sheet.facts(facts["customer"], [(rng.choice(names), facts[k]) for names, k in zip(labels, keys, strict=True)])
    sheet.goods(goods)
    sheet.total(total)
    end = min(c.image.height, round((sheet.y + rng.uniform(0, 80)) * c.scale))
    image = c.image.crop((0, 0, c.image.width, max(end, round(c.image.width * 0.8))))
    questions = _questions(rng, facts, total, goods)
    return Page("invoice", layout, [image if clean else weather(image, rng)], questions, c.transcript())
