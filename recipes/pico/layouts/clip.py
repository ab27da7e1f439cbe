"""Short clips, one frame a second: something moves, changes colour, is typed, or counts."""

from __future__ import annotations

import random

from PIL import Image, ImageDraw

from recipes.pico import fonts
from recipes.pico.canvas import Canvas, Page
from recipes.pico.layouts.shapes import COLOURS, KINDS, draw
from recipes.pico.questions import ask
from recipes.pico.text import Writer

TRAIN = ("moves", "changes", "types", "counts")
HELD_OUT = TRAIN
PATHS = {"right": (1, 0), "left": (-1, 0), "down": (0, 1), "up": (0, -1)}


def _moves(rng: random.Random, frames: int) -> Page:
    kind, colour, way = rng.choice(KINDS), rng.choice(list(COLOURS)), rng.choice(list(PATHS))
    dx, dy = PATHS[way]
    radius, reach = rng.uniform(22, 38), rng.uniform(50, 80)
    side, images = 256, []
    cx, cy = 128 + rng.uniform(-40, 40) * abs(dy), 128 + rng.uniform(-40, 40) * abs(dx)
    for i in range(frames):
        t = 2 * i / (frames - 1) - 1
        image = Image.new("RGB", (side, side), (250, 250, 250))
        draw(ImageDraw.Draw(image), kind, cx + dx * t * reach, cy + dy * t * reach, radius, COLOURS[colour])
        images.append(image)
    questions = [
        ask(rng, "direction", way, kind),
        ask(rng, "clip_colour", colour, kind),
        ask(rng, "happens", f"A {colour} {kind} moves {way}.".replace("A orange", "An orange")),
    ]
    return Page("clip", "moves", images, questions, clip=True)


def _changes(rng: random.Random, frames: int) -> Page:
    kind = rng.choice(KINDS)
    before, after = rng.sample(list(COLOURS), 2)
    turn = rng.randint(1, frames - 1)
    images = []
    for i in range(frames):
        image = Image.new("RGB", (256, 256), (250, 250, 250))
        draw(ImageDraw.Draw(image), kind, 128, 128, 50, COLOURS[before if i < turn else after])
        images.append(image)
    questions = [
        ask(rng, "final_colour", after),
        ask(rng, "happens", f"The {kind} changes from {before} to {after}."),
    ]
    return Page("clip", "changes", images, questions, clip=True)


def _writes(rng: random.Random, frames: int, held_out: bool, texts: list[str]) -> list[Image.Image]:
    face, size = fonts.choose(rng, held_out), rng.uniform(24, 34)
    images = []
    for text in texts[:frames]:
        c = Canvas(256, 256, 1.0, face, (255, 255, 255), (20, 20, 20))
        c.box(16, 100, 240, 156, fill=(245, 245, 245), outline=(120, 120, 120))
        if text:
            c.text(26, 110, text, c.fit(texts[-1], size, 200))
        images.append(c.image)
    return images


def render(rng: random.Random, held_out: bool = False, layout: str | None = None, clean: bool = False) -> Page:
    """One clip of three to six frames."""
    layout = layout or rng.choice(HELD_OUT if held_out else TRAIN)
    frames = rng.randint(3, 6)
    if layout == "moves":
        return _moves(rng, frames)
    if layout == "changes":
        return _changes(rng, frames)
    if layout == "types":
        w = Writer(rng, held_out)
        word = rng.choice((w.first, w.goods, w.city))()
        texts = [word[: round(len(word) * (i + 1) / frames)] for i in range(frames)]
        questions = [ask(rng, "typed_word", word), ask(rng, "happens", f"The word {word} is typed.")]
        return Page("clip", layout, _writes(rng, frames, held_out, texts), questions, clip=True)
    first, step = rng.randint(0, 90), rng.choice((1, 1, 2, 5, -1))
    numbers = [str(abs(first + step * i)) for i in range(frames)]
    questions = [
        ask(rng, "last_number", numbers[-1]),
        ask(rng, "happens", f"A counter goes from {numbers[0]} to {numbers[-1]}."),
    ]
    return Page("clip", layout, _writes(rng, frames, held_out, numbers), questions, clip=True)
