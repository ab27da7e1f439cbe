"""Pictures to tiles and to prompt text, exactly as the published SmolVLM processor does it.

Two successive Pillow LANCZOS resizes, always to the longest edge, tiles row by row, the whole picture
last as one more tile; the text around the tiles follows the same processor.
"""

from __future__ import annotations

import math
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray
from PIL import Image

TILE = 256
LONGEST = 512
TOKENS_PER_TILE = 64
NUMBERS = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
]

Tiles = NDArray[np.uint8]


def _even(value: int) -> int:
    return max(1, value + value % 2)


def grid_size(
    width: int, height: int, longest: int = LONGEST, tile: int = TILE
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Sizes (width, height) after the first and after the second resize."""
    aspect, wide = width / height, width >= height
    first = (longest, _even(int(longest / aspect))) if wide else (_even(int(longest * aspect)), longest)
    aspect = first[0] / first[1]
    if first[0] >= first[1]:
        w = math.ceil(first[0] / tile) * tile
        h = math.ceil(int(w / aspect) / tile) * tile
    else:
        h = math.ceil(first[1] / tile) * tile
        w = math.ceil(int(h * aspect) / tile) * tile
    return first, (max(w, tile), max(h, tile))


def split(image: Image.Image, longest: int = LONGEST, tile: int = TILE) -> tuple[Tiles, int, int]:
    """One picture to uint8 tiles [T, tile, tile, 3] with the grid's rows and columns (0, 0 for one tile)."""
    first, second = grid_size(*image.size, longest, tile)
    image = image.convert("RGB").resize(first, Image.Resampling.LANCZOS).resize(second, Image.Resampling.LANCZOS)
    rows, columns = second[1] // tile, second[0] // tile
    if rows == columns == 1:
        return np.asarray(image)[None], 0, 0
    pixels = np.asarray(image).reshape(rows, tile, columns, tile, 3).transpose(0, 2, 1, 3, 4)
    whole = np.asarray(image.resize((tile, tile), Image.Resampling.LANCZOS))
    return np.concatenate((pixels.reshape(-1, tile, tile, 3), whole[None])), rows, columns


def frame(image: Image.Image, tile: int = TILE) -> Tiles:
    """One frame of a clip to one tile [tile, tile, 3]: longest edge first, then the square."""
    first, _ = grid_size(*image.size, tile, tile)
    resized = image.convert("RGB").resize(first, Image.Resampling.LANCZOS)
    return np.asarray(resized.resize((tile, tile), Image.Resampling.LANCZOS))


def expand(rows: int, columns: int) -> str:
    """The text that stands for one picture."""
    slots, fake = "<image>" * TOKENS_PER_TILE, "<fake_token_around_image>"
    text = ""
    for r in range(1, rows + 1):
        for c in range(1, columns + 1):
            text += f"{fake}<row_{r}_col_{c}>{slots}"
        text += "\n"
    return f"{text}{chr(10) if rows else ''}{fake}<global-img>{slots}{fake}"


def expand_clip(count: int, seconds: int) -> str:
    """The text that stands for a clip of ``count`` frames, one per second, lasting ``seconds``."""
    length = timedelta(seconds=seconds)
    text = f"You are provided the following series of {NUMBERS[count]} frames from a {length} [H:MM:SS] video.\n"
    for i in range(count):
        text += f"\nFrame from {i // 60:02d}:{i % 60:02d}:{expand(0, 0)}"
    return text + "\n\n"
