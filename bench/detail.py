"""What `--detail auto` saves and what it costs, on the bundled model's held-out pages.

    python -m bench.detail --pages 100 --json bench/results/detail.json

Every page is asked one question in `high` and by the coarse look of `auto`; the table shows, for each bar of
certainty below which `auto` looks again, the exact matches and the tiles looked at.  Needs the fonts named in
recipes/pico/README.md.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.accuracy import LONG
from recipes.pico import fonts, pages
from seatrial import vision
from seatrial.vision.engine import SURE

BARS = (0.0, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)


@dataclass(frozen=True)
class Asked:
    """One page: whether each look was right, its tiles, and the least certain token of the coarse one."""

    family: str
    high_right: bool
    high_tiles: int
    coarse_right: bool
    coarse_tiles: int
    certainty: float


def ask(engine: vision.Engine, family: str, seed: int, first: str) -> Asked | None:
    """Ask about one held-out page in both details; None where it has no short question."""
    page = pages.render(family, seed, True)
    fitting = [question for question in page.questions if question.kind not in LONG]
    if not fitting or page.clip:
        return None
    question = random.Random(seed).choice(fitting)
    pictures = [picture.convert("RGB") for picture in page.frames]
    processor, decoding = engine.model.processor, vision.Decoding(max_new_tokens=64, logprobs=True)
    high, coarse = (
        engine.answer([processor.question(pictures, question.text, detail=detail)], decoding)[0]
        for detail in ("high", vision.parse_detail(first))
    )
    return Asked(
        family,
        high.text == question.answer,
        high.tiles,
        coarse.text == question.answer,
        coarse.tiles,
        math.exp(min(coarse.logprobs or [0.0])),
    )


def at_bar(asked: list[Asked], bar: float) -> tuple[float, float]:
    """Return (share right, tiles per page) of `auto` that looks again below `bar`."""
    right = tiles = 0
    for one in asked:
        again = one.certainty < bar and one.high_tiles > one.coarse_tiles
        right += one.high_right if again else one.coarse_right
        tiles += one.coarse_tiles + (one.high_tiles if again else 0)
    return right / len(asked), tiles / len(asked)


def main() -> None:
    """Print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="pico")
    parser.add_argument("--pages", type=int, default=50)
    parser.add_argument("--begin", type=int, default=3_000_000, help="number of the first page")
    parser.add_argument("--first", default="auto", help="detail of the coarse look")
    parser.add_argument("--families", nargs="+", default=list(pages.FAMILIES))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if fonts.missing():
        sys.exit(f"fonts are missing: {', '.join(fonts.missing()[:3])}…; see recipes/pico/README.md")
    engine = vision.open(options.model)
    seeds = range(options.begin, options.begin + options.pages)
    asked = [one for family in options.families for seed in seeds if (one := ask(engine, family, seed, options.first))]
    high = sum(one.high_right for one in asked) / len(asked)
    high_tiles = sum(one.high_tiles for one in asked) / len(asked)
    print(f"{len(asked)} pages; high: {high:.1%} right, {high_tiles:.2f} tiles a page")
    rows = []
    for bar in BARS:
        right, tiles = at_bar(asked, bar)
        rows.append({"bar": bar, "right": right, "tiles": tiles})
        mark = "  <- SURE" if bar == SURE else ""
        print(f"look again below {bar:.2f}: {right:6.1%} right ({100 * (right - high):+.1f}), {tiles:.2f} tiles{mark}")
    if options.json:
        result = {"high": {"right": high, "tiles": high_tiles}, "auto": rows, "pages": [asdict(one) for one in asked]}
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
