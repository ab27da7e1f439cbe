"""Pictures: decode anything Pillow can, then resize and cut into tiles exactly as the reference does.

Source of the rules: transformers 5.23, `image_processing_pil_smolvlm.py`.  Every picture is resized
(up or down) to the longest edge, resized again to whole tiles, cut row by row, and followed by the
whole picture shrunk to one tile.
"""

from __future__ import annotations

import io
import math
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from seatrial.errors import InputFileError, PictureError
from seatrial.vision.config import PictureConfig
from seatrial.vision.detail import Detail, grid_of
from seatrial.vision.ops.protocol import Array

MAX_SIDE = 4096
"""No resized picture is wider or higher than this (the reference's cap)."""

Source = str | Path | bytes | Image.Image | NDArray[Any]

_pillow_limit = threading.Lock()


@dataclass(frozen=True)
class Tiles:
    """A picture ready for the tower.

    `pixels` [n, tile, tile, 3] uint8: rows × cols tiles, then the whole picture; one tile and
    rows = cols = 0 when the picture is not split.  `size` is (width, height) before resizing.
    """

    pixels: NDArray[np.uint8]
    rows: int
    cols: int
    size: tuple[int, int]


def read_source(source: str | Path | bytes) -> tuple[bytes, str]:
    """Return the bytes of a path, file URL or bytes, and a name for messages; InputFileError if unreadable."""
    if isinstance(source, bytes):
        if not source:
            raise InputFileError("The file is empty (0 bytes).")
        return source, "the given bytes"
    path = local_path(source)
    try:
        if path.is_dir():
            raise InputFileError(f"{path} is a folder, not a file.", hint="Name the files in it.", path=path)
        content = path.read_bytes()
    except OSError as problem:
        raise InputFileError(f"{path} cannot be read: {problem.strerror}.", path=path) from problem
    if not content:
        raise InputFileError(f"{path} is empty (0 bytes).", path=path)
    return content, str(path)


def local_path(source: str | Path) -> Path:
    """Return the path meant by a path or file URL; InputFileError for other URLs (nothing is fetched)."""
    text = str(source)
    if isinstance(source, str) and "://" in text:
        url = urlparse(text)
        if url.scheme != "file" or url.netloc not in ("", "localhost"):
            raise InputFileError(f"{text} is not a local file.", hint="Only paths and file:// URLs are read.")
        return Path(unquote(url.path))
    return Path(source).expanduser()


def load(source: Source, *, max_pixels: int, max_pages: int) -> list[Image.Image]:
    """Decode `source` to upright RGB pictures: one, or every page of a TIFF.

    Accepts a path, file URL, bytes, PIL image, or uint8 array [H, W], [H, W, 3] or [H, W, 4].
    Raises InputFileError or PictureError: unreadable, not a picture, truncated, above `max_pixels`,
    more than `max_pages` pages.
    """
    if isinstance(source, Image.Image):
        return [_upright(source, "the given picture")]
    if isinstance(source, np.ndarray):
        return [_from_array(source)]
    content, name = read_source(source)
    with _opened(content, name, max_pixels) as image:
        if image.format != "TIFF":
            return [_upright(image, name)]
        return [_upright(page, name) for page in _pages(image, name, max_pixels, max_pages)]


def _pages(image: Image.Image, name: str, max_pixels: int, max_pages: int) -> Iterator[Image.Image]:
    """Yield the pages of a TIFF, each checked before it is decoded."""
    try:
        count = getattr(image, "n_frames", 1)
    except Exception as problem:  # counting reads every page's header
        raise PictureError(f"{name} is damaged: {_reason(problem)}.") from problem
    if count > max_pages:
        raise PictureError(f"{name} has {count} pages, more than {max_pages}.", hint="Raise [see] max_pages.")
    for number in range(count):
        try:
            image.seek(number)
        except Exception as problem:
            raise PictureError(f"Page {number + 1} of {name} is damaged: {_reason(problem)}.") from problem
        _check_size(image, name, max_pixels)
        yield image


def _from_array(pixels: NDArray[Any]) -> Image.Image:
    grey = pixels.ndim == 2
    if pixels.dtype != np.uint8 or not (grey or (pixels.ndim == 3 and pixels.shape[2] in (1, 3, 4))):
        raise PictureError(
            f"An array picture must be uint8 [height, width], or with 3 or 4 channels; this is {pixels.dtype}"
            f" {list(pixels.shape)}."
        )
    if pixels.size == 0:
        raise PictureError("The array picture has no pixels.")
    return Image.fromarray(pixels.squeeze(2) if not grey and pixels.shape[2] == 1 else pixels).convert("RGB")


@contextmanager
def _opened(content: bytes, name: str, max_pixels: int) -> Iterator[Image.Image]:
    try:
        with warnings.catch_warnings(), _pillow_limit:
            warnings.simplefilter("ignore")  # Pillow warns about odd metadata; the picture is what matters
            before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None  # our own limit is checked below
            try:
                image = Image.open(io.BytesIO(content))
            finally:
                Image.MAX_IMAGE_PIXELS = before
    except UnidentifiedImageError as problem:
        raise PictureError(f"{name} is not a picture in a known format.") from problem
    except Exception as problem:  # a damaged header can raise almost anything inside Pillow's parsers
        raise PictureError(f"{name} is damaged: {_reason(problem)}.") from problem
    with image:
        _check_size(image, name, max_pixels)
        yield image


def _check_size(image: Image.Image, name: str, max_pixels: int) -> None:
    width, height = image.size
    if width * height > max_pixels:
        raise PictureError(
            f"{name} has {width} × {height} = {width * height:,} pixels, above the limit of {max_pixels:,}.",
            hint="If you trust the file: --max-pixels N, or [see] max_pixels.",
        )


def _upright(image: Image.Image, name: str) -> Image.Image:
    """Decode fully, apply the EXIF orientation, convert to RGB."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image.load()
            return ImageOps.exif_transpose(image).convert("RGB")
    except Exception as problem:  # truncated or damaged data can raise almost anything inside Pillow
        raise PictureError(f"{name} is damaged: {_reason(problem)}.") from problem


def _reason(problem: Exception) -> str:
    return (str(problem).strip().splitlines() or [type(problem).__name__])[0].rstrip(".")


def longest_edge_size(width: int, height: int, longest: int) -> tuple[int, int]:
    """Return (width, height) in pixels after the first resize: longest edge `longest`, other edge even."""
    ratio = width / height
    if width >= height:
        width, height = longest, int(longest / ratio)
        height += height % 2
    else:
        width, height = int(longest * ratio), longest
        width += width % 2
    width, height = max(width, 1), max(height, 1)
    ratio = width / height
    if width >= height and width > MAX_SIDE:
        width, height = MAX_SIDE, int(MAX_SIDE / ratio)
    elif height > width and height > MAX_SIDE:
        width, height = int(MAX_SIDE * ratio), MAX_SIDE
    return max(width, 1), max(height, 1)


def whole_tiles_size(width: int, height: int, tile: int) -> tuple[int, int]:
    """Return (width, height) in pixels after the second resize: both multiples of `tile`."""
    ratio = width / height
    if width >= height:
        width = math.ceil(width / tile) * tile
        height = math.ceil(int(width / ratio) / tile) * tile
    else:
        height = math.ceil(height / tile) * tile
        width = math.ceil(int(height * ratio) / tile) * tile
    return width, height


def plan(width: int, height: int, config: PictureConfig) -> tuple[list[tuple[int, int]], int, int]:
    """Return the successive sizes a picture is resized to, and its grid (rows, cols); 0, 0 when not split."""
    sizes = []
    if config.longest_edge is not None:
        width, height = longest_edge_size(width, height, config.longest_edge)
        sizes.append((width, height))
    if not config.split:
        return [*sizes, (config.tile, config.tile)], 0, 0
    # A side of zero (a line thinner than its share) still takes one row of tiles.
    width, height = (max(side, config.tile) for side in whole_tiles_size(width, height, config.tile))
    sizes.append((width, height))
    if max(width, height) <= config.tile:
        return sizes, 0, 0
    return sizes, height // config.tile, width // config.tile


def cut(image: Image.Image, config: PictureConfig, detail: Detail = "high") -> Tiles:
    """Resize and cut an RGB picture into tiles; with detail "high" exact to the reference, pixel by pixel."""
    original = image.size
    sizes, rows, cols = plan(*original, config)
    chosen = grid_of(image, config, detail)
    if chosen is not None:
        rows, cols = chosen
        sizes = [(max(1, cols) * config.tile, max(1, rows) * config.tile)]
    filter_ = Image.Resampling(config.resample)
    for size in sizes:
        image = image.resize(size, filter_) if image.size != size else image
    side = config.tile
    pixels = np.asarray(image)
    tiles = [
        pixels[row * side : (row + 1) * side, col * side : (col + 1) * side]
        for row in range(rows)
        for col in range(cols)
    ]
    whole = image.resize((side, side), filter_) if image.size != (side, side) else image
    tiles.append(np.asarray(whole))
    return Tiles(np.stack(tiles), rows, cols, original)


def normalise(pixels: NDArray[np.uint8], config: PictureConfig) -> Array:
    """Return tiles [n, 3, tile, tile] float32: rescaled, then (x - mean) / std, rounded as the reference does."""
    # Rescaling happens in float64 and is stored as float32; 256 values make a table of the whole step.
    scaled = (np.arange(256, dtype=np.float64) * config.rescale_factor).astype(np.float32)
    channels = [
        ((scaled - np.float32(mean)) / np.float32(std))[pixels[..., channel]]
        for channel, (mean, std) in enumerate(zip(config.mean, config.std, strict=True))
    ]
    return np.stack(channels, axis=1)
