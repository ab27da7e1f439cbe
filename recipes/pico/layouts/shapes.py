"""Coloured shapes on a plain ground."""

from __future__ import annotations

import math
import random

from PIL import Image, ImageDraw

from recipes.pico.canvas import Colour, Page, Question
from recipes.pico.questions import ask

TRAIN = ("scattered", "row")
HELD_OUT = ("column",)
COLOURS: dict[str, Colour] = {
    "red": (215, 40, 40),
    "green": (40, 160, 60),
    "blue": (40, 80, 210),
    "yellow": (240, 210, 40),
    "orange": (245, 140, 30),
    "purple": (130, 60, 170),
    "black": (20, 20, 20),
    "pink": (250, 130, 180),
    "brown": (130, 80, 40),
    "grey": (130, 130, 130),
}
KINDS = ("circle", "square", "triangle", "star", "rectangle", "diamond")
NINTHS = (
    ("top left", "top", "top right"),
    ("left", "centre", "right"),
    ("bottom left", "bottom", "bottom right"),
)


def draw(sheet: ImageDraw.ImageDraw, kind: str, x: float, y: float, r: float, fill: Colour) -> None:
    """One shape with centre (x, y) and radius r pixels."""
    if kind == "circle":
        sheet.ellipse((x - r, y - r, x + r, y + r), fill)
    elif kind == "square":
        sheet.rectangle((x - r * 0.85, y - r * 0.85, x + r * 0.85, y + r * 0.85), fill)
    elif kind == "rectangle":
        sheet.rectangle((x - r, y - r * 0.5, x + r, y + r * 0.5), fill)
    else:
        corners, start, inner = {
            "triangle": (3, -90, 1.0),
            "diamond": (4, -90, 1.0),
            "star": (10, -90, 0.42),
        }[kind]
        points = []
        for i in range(corners):
            reach = r * (inner if i % 2 and kind == "star" else 1.0)
            angle = math.radians(start + 360 / corners * i)
            points.append((x + reach * math.cos(angle), y + reach * math.sin(angle)))
        sheet.polygon(points, fill)


def place(x: float, y: float) -> str:
    """The name of the ninth of the unit square that (x, y) lies in."""
    return NINTHS[min(2, int(y * 3))][min(2, int(x * 3))]


def _spots(rng: random.Random, layout: str, count: int) -> list[tuple[float, float]]:
    if layout == "scattered":
        cells = rng.sample([(i, j) for i in range(3) for j in range(3)], count)
        return [((i + 0.5 + rng.uniform(-0.12, 0.12)) / 3, (j + 0.5 + rng.uniform(-0.12, 0.12)) / 3) for i, j in cells]
    along = [(i + 0.5) / count for i in range(count)]
    return [(a, 0.5) if layout == "row" else (0.5, a) for a in along]


def render(rng: random.Random, held_out: bool = False, layout: str | None = None, clean: bool = False) -> Page:
    """One picture of one to six shapes."""
    layout = layout or rng.choice(HELD_OUT if held_out else TRAIN)
    count = rng.randint(1, 6 if layout == "scattered" else 5)
    side = rng.randint(256, 512)
    ground = rng.choice(((255, 255, 255), (235, 235, 235), (250, 245, 225), (225, 240, 250)))
    image = Image.new("RGB", (side, side), ground)
    sheet = ImageDraw.Draw(image)
    shapes = []
    for x, y in _spots(rng, layout, count):
        kind, colour = rng.choice(KINDS), rng.choice(list(COLOURS))
        draw(
            sheet,
            kind,
            x * side,
            y * side,
            side * rng.uniform(0.07, 0.13 if layout == "scattered" else 0.09),
            COLOURS[colour],
        )
        shapes.append((kind, colour, x, y))
    kinds, colours = [s[0] for s in shapes], [s[1] for s in shapes]
    questions: list[Question] = [ask(rng, "shapes", str(count))]
    for kind, colour, x, y in shapes:
        if kinds.count(kind) == 1:
            questions.append(ask(rng, "colour", colour, kind))
        if colours.count(colour) == 1:
            questions.append(ask(rng, "kind", kind, colour))
        if layout == "scattered" and shapes.count((kind, colour, x, y)) == 1 and kinds.count(kind) == 1:
            questions.append(ask(rng, "where", place(x, y), kind))
    kind = rng.choice(kinds)
    questions.append(ask(rng, "how_many", str(kinds.count(kind)), kind + "s"))
    return Page("shapes", layout, [image], questions, single=rng.random() < 0.4)
