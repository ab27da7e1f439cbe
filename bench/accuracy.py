"""Exact match of the bundled model on held-out pages, through the engine as users run it.

    python -m bench.accuracy --pages 100 --precision f32 int8 int4 --json bench/results/accuracy.json

Pages come from the recipe's renderer with faces, names and layouts that training never saw; each is asked
one question that it can answer.  Needs the fonts named in recipes/pico/README.md.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from recipes.pico import fonts, pages
from recipes.pico.canvas import Page
from recipes.pico.intervals import wilson
from recipes.pico.pictures import SPLIT, frame
from seatrial import vision
from seatrial.vision.pictures import Tiles, cut
from seatrial.vision.prompt import Message, Part, build_prompt
from seatrial.vision.video import Clip

LONG = ("json", "transcribe")


def parts_of(page: Page) -> list[Part]:
    """Return what a page shows as the parts of a message: pictures, pictures of one tile, or a clip."""
    if page.clip:
        pixels = np.stack([frame(picture) for picture in page.frames])
        return [Clip(pixels, tuple(map(float, range(len(pixels)))), len(pixels), page.image.size)]
    if page.single:
        return [Tiles(frame(picture)[None], 0, 0, picture.size) for picture in page.frames]
    return [cut(picture.convert("RGB"), SPLIT) for picture in page.frames]


def measure(engine: vision.Engine, family: str, seeds: range, held_out: bool) -> dict[str, list[bool]]:
    """Return for one family of pages, by kind of question, whether each answer was right."""
    processor = engine.model.processor
    found: dict[str, list[bool]] = defaultdict(list)
    for seed in seeds:
        page = pages.render(family, seed, held_out)
        fitting = [question for question in page.questions if question.kind not in LONG]
        if not fitting:
            continue
        question = random.Random(seed).choice(fitting)
        message = Message("user", (*parts_of(page), question.text))
        prompt = build_prompt([message], processor.config, processor.tokenizer)
        (reply,) = engine.answer([prompt], vision.Decoding(max_new_tokens=64))
        found[question.kind].append(reply.text == question.answer)
    return found


def summary(found: dict[str, list[bool]]) -> dict[str, Any]:
    """Return right, asked, the share's interval, and [right, asked] by kind of question."""
    right, asked = sum(map(sum, found.values())), sum(map(len, found.values()))
    kinds = {kind: [sum(answers), len(answers)] for kind, answers in sorted(found.items())}
    return {"right": right, "asked": asked, "interval": wilson(right, asked), "kinds": kinds}


def main() -> None:
    """Print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="pico")
    parser.add_argument("--pages", type=int, default=40)
    parser.add_argument("--begin", type=int, default=2_000_000, help="number of the first page")
    parser.add_argument("--seen", action="store_true", help="faces, names and layouts of training instead")
    parser.add_argument("--families", nargs="+", default=list(pages.FAMILIES))
    parser.add_argument("--precision", nargs="+", default=["f32"])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if fonts.missing():
        sys.exit(f"fonts are missing: {', '.join(fonts.missing()[:3])}…; see recipes/pico/README.md")
    results: dict[str, Any] = {}
    for precision in options.precision:
        engine = vision.open(options.model, precision=precision)
        for family in options.families:
            seeds = range(options.begin, options.begin + options.pages)
            row = summary(measure(engine, family, seeds, not options.seen))
            results.setdefault(precision, {})[family] = row
            low, high = row["interval"]
            share = row["right"] / row["asked"]
            print(
                f"{precision} {family:<8} {row['right']:>4} of {row['asked']:<4} {share:6.1%}  [{low:.1%}, {high:.1%}]"
            )
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
