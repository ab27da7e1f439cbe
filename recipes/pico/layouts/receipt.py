"""Till receipts: a shop, goods with prices, a total."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass

from recipes.pico import fonts
from recipes.pico.canvas import Canvas, Page, Question, ink, paper, weather
from recipes.pico.questions import ask
from recipes.pico.text import Writer

TRAIN = ("centred", "left", "boxed", "quantities", "till")
HELD_OUT = ("banner",)
PAYMENTS = ("Cash", "Card", "Credit Card", "Debit Card", "VISA", "Mastercard", "Gift Card", "Contactless")
TOTALS = ("Total", "TOTAL", "Total", "Amount due", "Grand total", "TOTAL DUE", "Sum", "Balance")


@dataclass
class Receipt:
    """The facts of one receipt, prices as printed."""

    shop: str
    address: str
    city: str
    phone: str
    date: str
    time: str
    number: str
    cashier: str
    goods: list[tuple[str, int, str]]
    subtotal: str
    tax: str
    total: str
    payment: str
    has: set[str]


def _facts(w: Writer, rng: random.Random, most: int) -> Receipt:
    names = w.distinct_goods(rng.randint(2, most))
    sign = rng.choice(("", "", "", "", "$", "$", "£", "€"))
    cents = [(rng.randint(50, 2999) if rng.random() < 0.8 else rng.randint(3000, 39999)) for _ in names]
    amounts = [rng.choice((1, 1, 1, 2, 3, 4)) for _ in names]
    subtotal = sum(cents)
    tax = subtotal * rng.choice((5, 7, 8, 10, 19, 20)) // 100
    has = {
        key
        for key, chance in (
            ("address", 0.35),
            ("phone", 0.25),
            ("time", 0.35),
            ("number", 0.5),
            ("cashier", 0.25),
            ("tax", 0.5),
            ("payment", 0.65),
        )
        if rng.random() < chance
    }
    total = subtotal + (tax if "tax" in has else 0)

    def money(value: int) -> str:
        return f"{sign}{value // 100}.{value % 100:02d}"

    return Receipt(
        w.shop(),
        w.street(),
        f"{w.postcode()} {w.city()}",
        w.phone(),
        w.date(),
        w.clock(),
        w.reference(),
        w.first(),
        [(n, a, money(c)) for n, a, c in zip(names, amounts, cents, strict=True)],
        money(subtotal),
        money(tax),
        money(total),
        rng.choice(PAYMENTS),
        has,
    )


def _questions(r: Receipt, rng: random.Random, with_quantities: bool) -> list[Question]:
    found = [
        ask(rng, "total", r.total),
        ask(rng, "date", r.date),
        ask(rng, "shop", r.shop),
        ask(rng, "count", str(len(r.goods))),
        ask(rng, "first_item", r.goods[0][0]),
    ]
    found += [ask(rng, "price", price, name) for name, _, price in r.goods]
    for key in ("phone", "time", "number", "cashier", "tax", "payment"):
        if key in r.has:
            found.append(ask(rng, key, str(getattr(r, key))))
    if "address" in r.has:
        found.append(ask(rng, "address", f"{r.address}, {r.city}"))
    if "tax" in r.has:
        found.append(ask(rng, "subtotal", r.subtotal))
    if with_quantities:
        name, amount, _ = rng.choice(r.goods)
        found.append(ask(rng, "quantity", str(amount), name))
    fields = {"shop": r.shop, "date": r.date, "total": r.total}
    found.append(ask(rng, "json", json.dumps(fields, ensure_ascii=False), "shop, date and total"))
    return found


class _Drawing:
    """Lays one receipt out on a canvas, top to bottom."""

    def __init__(self, r: Receipt, layout: str, c: Canvas, rng: random.Random, size: float) -> None:
        self.r, self.layout, self.c, self.rng, self.size = r, layout, c, rng, size
        self.left, self.right = 10.0, c.width - 10.0
        self.pitch = size * rng.uniform(1.25, 1.55)
        self.y = rng.uniform(6, 16)
        self.style = rng.choice(("solid", "dashed", "dashed", "double"))

    def line(self, text: str, centred: bool, bold: bool = False, grow: float = 1.0) -> None:
        """One line of text, centred or at the left edge."""
        c = self.c
        size = c.fit(text, self.size * grow, self.right - self.left, bold)
        if centred:
            c.text(c.width / 2, self.y, text, size, bold=bold, anchor="ma")
        else:
            c.text(self.left, self.y, text, size, bold=bold)
        self.y += self.pitch * max(grow, 1.0)

    def pair(self, name: str, value: str, bold: bool = False, grow: float = 1.0, indent: float = 0.0) -> None:
        """A name at the left edge and a value at the right edge of one line."""
        c = self.c
        room = self.right - self.left - indent - 8
        size = self.size * grow
        wide = c.measure(name, size, bold) + c.measure(value, size, bold)
        size = size if wide <= room else size * room / wide * 0.99
        c.text(self.left + indent, self.y, name, size, bold=bold)
        c.text(self.right, self.y, value, size, bold=bold, anchor="ra")
        self.y += self.pitch * max(grow, 1.0)

    def rule(self) -> None:
        """A separating line."""
        self.c.rule(self.y + self.pitch * 0.3, self.left, self.right, self.style)
        self.y += self.pitch * 0.75

    def head(self) -> None:
        """Shop, address, telephone."""
        r, centred = self.r, self.layout in ("centred", "boxed", "till")
        if self.layout == "banner":
            tall = self.pitch * 2
            self.c.box(0, 0, self.c.width, tall, fill=(30, 40, 60))
            size = self.c.fit(r.shop, self.size * 1.35, self.right - self.left, True)
            self.c.text(self.left, tall * 0.28, r.shop, size, bold=True, ink=(255, 255, 255))
            self.y = tall + self.pitch * 0.5
        else:
            self.line(r.shop, centred, True, self.rng.choice((1.0, 1.2, 1.4)))
        if "address" in r.has:
            self.line(r.address, centred)
            self.line(r.city, centred)
        if "phone" in r.has:
            self.line(("Tel " if self.rng.random() < 0.7 else "") + r.phone, centred)

    def meta(self) -> None:
        """Date, time, number, cashier."""
        r, rng = self.r, self.rng
        label = rng.choice(("Date", "Date:", "DATE", ""))
        if label and self.layout != "left":
            self.pair(label, r.date)
            if "time" in r.has:
                self.pair(rng.choice(("Time", "Time:")), r.time)
        elif "time" in r.has:
            self.pair(r.date, r.time)
        else:
            self.line(r.date, self.layout == "centred")
        if "number" in r.has:
            self.pair(rng.choice(("Receipt", "Receipt no", "No.", "Receipt #")), r.number)
        if "cashier" in r.has:
            self.pair(rng.choice(("Cashier", "Served by", "Cashier:")), r.cashier)

    def goods(self) -> None:
        """The goods with their prices."""
        times = self.rng.choice(("", "x", " x"))
        for name, amount, price in self.r.goods:
            if self.layout == "quantities":
                self.pair(f"{amount}{times} {name}", price)
            else:
                self.pair(name, price)

    def foot(self) -> None:
        """Subtotal, tax, total, payment, a greeting."""
        r, rng = self.r, self.rng
        if "tax" in r.has:
            self.pair(rng.choice(("Subtotal", "Net", "Subtotal")), r.subtotal)
            self.pair(rng.choice(("Tax", "VAT", "Tax", "Sales tax")), r.tax)
        grow = rng.choice((1.0, 1.15, 1.3))
        if self.layout == "boxed":
            self.c.box(4, self.y, self.c.width - 4, self.y + self.pitch * (grow + 0.55), outline=self.c.ink)
            self.y += self.pitch * 0.2
        self.pair(rng.choice(TOTALS), r.total, True, grow)
        self.y += self.pitch * 0.35
        if "payment" in r.has:
            self.pair(rng.choice(("Paid by", "Payment", "Paid with", "Tender")), r.payment)
        if rng.random() < 0.4:
            self.line(
                rng.choice(("Thank you!", "Thank you for your visit", "Please come again", "Have a nice day")),
                True,
            )


def render(rng: random.Random, held_out: bool = False, layout: str | None = None, clean: bool = False) -> Page:
    """One receipt."""
    w = Writer(rng, held_out)
    layout = layout or rng.choice(HELD_OUT if held_out else TRAIN)
    wide = rng.random() < 0.3
    width = rng.uniform(300, 370) if wide else rng.uniform(200, 255)
    r = _facts(w, rng, 6)
    kinds = ("mono", "mono", "sans", "serif") if rng.random() < 0.5 else ("mono", "sans", "serif")
    face = fonts.choose(rng, held_out, (rng.choice(kinds),))
    size = rng.uniform(16, 21) if wide else rng.uniform(13, 17)
    c = Canvas(width, 512, rng.uniform(1.3, 2.4), face, paper(rng), ink(rng))
    sheet = _Drawing(r, layout, c, rng, size)
    parts = [sheet.meta, sheet.goods]
    if layout == "till":
        parts.reverse()
    sheet.head()
    sheet.rule()
    parts[0]()
    sheet.rule()
    parts[1]()
    sheet.rule()
    sheet.foot()
    # The paper ends a little under the last line; shorter paper is enlarged by the processor.
    least = rng.choice((1.05, 1.05, 1.05, 1.05, 2.02)) * width
    end = min(512.0, max(sheet.y + rng.uniform(4, 24), least))
    image = c.image.crop((0, 0, c.image.width, round(end * c.scale)))
    questions = _questions(r, rng, layout == "quantities")
    return Page("receipt", layout, [image if clean else weather(image, rng)], questions, c.transcript())
