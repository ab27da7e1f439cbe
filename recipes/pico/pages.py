"""The families of pages and how one page is made from a number."""

from __future__ import annotations

import importlib
import random

from recipes.pico.canvas import Page

FAMILIES = (
    "receipt",
    "form",
    "invoice",
    "letter",
    "table",
    "screen",
    "chart",
    "shapes",
    "clip",
    "pair",
    "words",
)


def render(family: str, seed: int, held_out: bool = False, clean: bool = False) -> Page:
    """The page of ``family`` (or "family:layout") that ``seed`` stands for.

    ``held_out`` takes faces, names, goods and layouts that training never sees; ``clean`` leaves out blur,
    rotation and compression.
    """
    name, _, layout = family.partition(":")
    module = importlib.import_module(f"recipes.pico.layouts.{name}")
    rng = random.Random(f"{family}/{held_out}/{seed}")
    page: Page = module.render(rng, held_out, layout or None, clean)
    return page


def layouts(family: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The layouts for training and the held-out ones."""
    module = importlib.import_module(f"recipes.pico.layouts.{family}")
    return module.TRAIN, module.HELD_OUT
