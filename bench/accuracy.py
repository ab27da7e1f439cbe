"""Exact match of the bundled model on held-out pages, through the engine as users run it.

    python -m bench.accuracy --pages 40 --precision bf16 f32 --json bench/results/accuracy.json

Pages come from the recipe's renderer with faces, names and layouts that training never saw; each is asked
one question that it can answer.  Clips and single tiles are measured by recipes/pico/evaluate.py.  Needs
the fonts named in recipes/pico/README.md.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
from pathlib import Path
from typing import Any

from recipes.pico import fonts, pages
from seatrial import vision

FIRST_SEED = 2_000_000
"""Beyond every page that training or the model card's own evaluation used."""
LONG = ("json", "transcribe")
Z = 1.959964


def interval(right: int, asked: int) -> tuple[float, float]:
    """Return the 95 % Wilson interval of a share."""
    share, square = right / asked, Z * Z / asked
    half = Z * math.sqrt(share * (1 - share) / asked + square / (4 * asked))
    return (share + square / 2 - half) / (1 + square), (share + square / 2 + half) / (1 + square)


def measure(engine: vision.Engine, family: str, count: int) -> tuple[int, int]:
    """Return (right, asked) for one family of pages."""
    right = asked = 0
    for seed in range(FIRST_SEED, FIRST_SEED + count):
        page = pages.render(family, seed, held_out=True)
        fitting = [question for question in page.questions if question.kind not in LONG]
        if not fitting or page.clip or page.single:
            continue
        question = random.Random(seed).choice(fitting)
        reply = engine.ask(page.frames, question.text, decoding=vision.Decoding(max_new_tokens=64))
        right += reply.text == question.answer
        asked += 1
    return right, asked


def main() -> None:
    """Print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="pico")
    parser.add_argument("--pages", type=int, default=40)
    parser.add_argument("--families", nargs="+", default=["receipt", "form", "invoice", "screen", "table", "letter"])
    parser.add_argument("--precision", nargs="+", default=["bf16"])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if fonts.missing():
        sys.exit(f"fonts are missing: {', '.join(fonts.missing()[:3])}…; see recipes/pico/README.md")
    results: dict[str, Any] = {}
    for precision in options.precision:
        engine = vision.open(options.model, precision=precision)
        for family in options.families:
            right, asked = measure(engine, family, options.pages)
            if asked:
                low, high = interval(right, asked)
                results.setdefault(precision, {})[family] = {"right": right, "asked": asked, "interval": [low, high]}
                print(f"{precision} {family:<8} {right:>4} of {asked:<4} {right / asked:6.1%}  [{low:.1%}, {high:.1%}]")
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
