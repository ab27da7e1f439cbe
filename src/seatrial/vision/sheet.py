"""A picture of what the model looks at: the tiles of each picture, in their grid."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from seatrial.vision.prompt import Prompt

_GAP = 4
_MARGIN = 16
_BACKGROUND = "#d0d0d0"


def contact_sheet(prompt: Prompt, side: int = 160) -> Image.Image | None:
    """Return all tiles of `prompt`, each shrunk to `side` × `side` pixels; None when there are none.

    A block for each picture: its grid, then the whole picture as one tile; the frames of a clip side by side.
    """
    blocks = []
    start = 0
    for medium in prompt.media:
        tiles = prompt.tiles[start : start + medium.tiles]
        start += medium.tiles
        columns = medium.cols if medium.kind == "picture" else medium.rows
        blocks.append(_block(tiles, columns, max(medium.rows, 1) if medium.kind == "picture" else 1, side))
    if not blocks:
        return None
    width = max(block.width for block in blocks) + 2 * _MARGIN
    sheet = Image.new("RGB", (width, sum(block.height + _MARGIN for block in blocks) + _MARGIN), _BACKGROUND)
    top = _MARGIN
    for block in blocks:
        sheet.paste(block, (_MARGIN, top))
        top += block.height + _MARGIN
    return sheet


def _block(tiles: NDArray[np.uint8], columns: int, rows: int, side: int) -> Image.Image:
    """Lay `tiles` [n, …] out in a grid; one that is left over (the whole picture) goes to the right of it."""
    step = side + _GAP
    left_over = len(tiles) > rows * columns
    block = Image.new("RGB", ((columns + left_over) * step, rows * step), _BACKGROUND)
    for number, tile in enumerate(tiles):
        in_grid = number < rows * columns
        column, row = (number % columns, number // columns) if in_grid else (columns, 0)
        block.paste(Image.fromarray(tile).resize((side, side)), (column * step, row * step))
    return block
