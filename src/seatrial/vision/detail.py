"""How many tiles a picture gets.

`high` is the reference: every picture is resized to the model's longest edge, so an icon costs as much as a
page.  The others choose the grid of tiles by the picture: never more pixels than it has, the grid's shape
near the picture's.  `low` is one tile; a number is the most tiles; `auto` takes the fewest that keep what can
be seen in the picture, and the engine asks again in `high` where the model was not sure.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from PIL import Image

from seatrial.errors import SettingError
from seatrial.vision.config import PictureConfig

Detail = Literal["low", "auto", "high"] | int

_VISIBLE = 12.0
"""Difference of grey values, of 255, that counts as something seen."""
_LOST_SHARE = 0.004
"""Share of pixels that may differ visibly when a picture is shrunk to fewer tiles."""


def parse_detail(text: str) -> Detail:
    """Return the detail meant by `text`: low, auto, high or a number of tiles; SettingError for anything else."""
    if text in ("low", "auto", "high"):
        return text  # type: ignore[return-value]  # one of the three
    if text.isascii() and text.isdigit() and int(text) > 0:
        return int(text)
    raise SettingError(f"Unknown detail {text!r}.", hint="Known: low, auto, high, or the most tiles, for example 5.")


def grid_of(image: Image.Image, config: PictureConfig, detail: Detail) -> tuple[int, int] | None:
    """Return (rows, cols) of tiles for `image`, (0, 0) for one tile; None where the reference's rules decide."""
    if detail == "high" or not config.split or config.longest_edge is None:
        return None
    most_side = math.ceil(config.longest_edge / config.tile)
    most = 1 if detail == "low" else detail if isinstance(detail, int) else most_side**2 + 1
    rows, cols = _fitting(*image.size, config, most)
    if detail != "auto" or rows * cols == 0:
        return rows, cols
    full = _grey(image, cols * config.tile, rows * config.tile, config)
    for fewer in _smaller_grids(rows, cols):
        if _lost(full, fewer, config) <= _LOST_SHARE:
            return fewer
    return rows, cols


def _fitting(width: int, height: int, config: PictureConfig, most: int) -> tuple[int, int]:
    """Return the grid of at most `most` tiles (the overview included) that shows most of the picture's pixels.

    Among equals the fewest tiles win, then the shape nearest to the picture's.
    """
    assert config.longest_edge is not None
    shrink = min(1.0, config.longest_edge / max(width, height))
    width, height = max(1, round(width * shrink)), max(1, round(height * shrink))
    if most < 3 or max(width, height) <= config.tile:  # two tiles would be the same picture twice
        return 0, 0
    side = math.ceil(config.longest_edge / config.tile)

    def worth(grid: tuple[int, int]) -> tuple[float, int, float]:
        rows, cols = grid
        shown = min(1.0, cols * config.tile / width, rows * config.tile / height)
        return round(shown, 3), -rows * cols, -abs(math.log(cols * height / (rows * width)))

    grids = [(r, c) for r in range(1, side + 1) for c in range(1, side + 1) if 1 < r * c < most]
    return max(grids, key=worth)


def _smaller_grids(rows: int, cols: int) -> list[tuple[int, int]]:
    """Return the grids that show the same picture in fewer tiles, the fewest first."""
    longest = max(rows, cols)
    grids = {(round(rows * step / longest), round(cols * step / longest)) for step in range(1, longest)}
    whole = {(max(1, r), max(1, c)) for r, c in grids}
    return sorted({(0, 0) if r * c == 1 else (r, c) for r, c in whole}, key=lambda grid: grid[0] * grid[1])


def _grey(image: Image.Image, width: int, height: int, config: PictureConfig) -> Image.Image:
    return image.convert("L").resize((width, height), Image.Resampling(config.resample))


def _lost(full: Image.Image, grid: tuple[int, int], config: PictureConfig) -> float:
    """Return the share of pixels that change visibly when `full` is shrunk to `grid` and enlarged again."""
    rows, cols = (max(1, side) for side in grid)
    shrunk = full.resize((cols * config.tile, rows * config.tile), Image.Resampling.LANCZOS)
    again = np.asarray(shrunk.resize(full.size, Image.Resampling.BICUBIC), np.int16)
    return float((np.abs(again - np.asarray(full, np.int16)) > _VISIBLE).mean())
