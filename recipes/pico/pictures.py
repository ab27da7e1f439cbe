"""Pictures to tiles and to prompt text: the engine's own processing at the sizes of pico."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from seatrial.vision import prompt
from seatrial.vision.config import PictureConfig
from seatrial.vision.pictures import Tiles, cut
from seatrial.vision.video import Clip

TILE = 256
LONGEST = 512
TOKENS_PER_TILE = 64
SPLIT = PictureConfig(
    longest_edge=LONGEST,
    tile=TILE,
    split=True,
    resample=int(Image.Resampling.LANCZOS),
    rescale_factor=1 / 255,
    mean=(0.5,) * 3,
    std=(0.5,) * 3,
    video_fps=1,
    video_max_frames=8,
    video_longest_edge=TILE,
)
WHOLE = replace(SPLIT, longest_edge=TILE, split=False)
_NOTHING = np.empty((0, TILE, TILE, 3), np.uint8)


def split(image: Image.Image) -> tuple[NDArray[np.uint8], int, int]:
    """One picture to uint8 tiles [T, tile, tile, 3] with the grid's rows and columns (0, 0 for one tile)."""
    tiles = cut(image.convert("RGB"), SPLIT)
    return tiles.pixels, tiles.rows, tiles.cols


def frame(image: Image.Image) -> NDArray[np.uint8]:
    """One frame of a clip to one tile [tile, tile, 3]: longest edge first, then the square."""
    tile: NDArray[np.uint8] = cut(image.convert("RGB"), WHOLE).pixels[0]
    return tile


def expand(rows: int, columns: int) -> str:
    """The text that stands for one picture."""
    return prompt.expand_picture(Tiles(_NOTHING, rows, columns, (0, 0)), TOKENS_PER_TILE)


def expand_clip(count: int, seconds: int) -> str:
    """The text that stands for a clip of ``count`` frames, one per second, lasting ``seconds``."""
    return prompt.expand_clip(Clip(_NOTHING, tuple(map(float, range(count))), seconds, (0, 0)), TOKENS_PER_TILE)
