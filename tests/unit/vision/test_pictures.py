from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from seatrial.errors import InputFileError, PictureError, SeatrialError
from seatrial.vision import pictures
from seatrial.vision.config import PictureConfig
from tests.golden.cases import in_mode, picture

LARGE = PictureConfig(2048, 512, True, 1, 1 / 255, (0.5,) * 3, (0.5,) * 3, 1, 64, 512)
SMALL = replace(LARGE, longest_edge=256, tile=64)


def load(source: pictures.Source, **limits: int) -> list[Image.Image]:
    return pictures.load(source, **{"max_pixels": 10**7, "max_pages": 20, **limits})


def saved(image: Image.Image, form: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)  # type: ignore[arg-type]
    return stream.getvalue()


@pytest.mark.parametrize(
    ("size", "grid", "tiles"),
    [
        ((512, 512), (4, 4), 17), ((224, 224), (4, 4), 17), ((1920, 1080), (3, 4), 13), ((1280, 720), (3, 4), 13),
        ((640, 480), (3, 4), 13), ((2480, 3508), (4, 3), 13), ((1700, 2200), (4, 4), 17), ((600, 1600), (4, 2), 9),
        ((600, 3000), (4, 1), 5), ((800, 100), (1, 4), 5),
    ],
)  # fmt: skip
def test_grids_of_the_reference(size: tuple[int, int], grid: tuple[int, int], tiles: int) -> None:
    _, rows, cols = pictures.plan(*size, LARGE)
    assert (rows, cols) == grid
    assert rows * cols + 1 == tiles


@settings(max_examples=300, deadline=None)
@given(width=st.integers(1, 30_000), height=st.integers(1, 30_000))
def test_grid_properties(width: int, height: int) -> None:
    sizes, rows, cols = pictures.plan(width, height, LARGE)
    assert sizes[-1] == (cols * 512, rows * 512)
    assert 1 <= rows <= 4
    assert 1 <= cols <= 4
    assert max(sizes[0]) == 2048


def test_a_single_tile_is_not_split() -> None:
    tiles = pictures.cut(picture(50, 50), replace(LARGE, longest_edge=512))
    assert (tiles.rows, tiles.cols, len(tiles.pixels)) == (0, 0, 1)


def test_resizing_is_two_lanczos_steps_and_a_third_for_the_whole() -> None:
    image = picture(100, 75)
    tiles = pictures.cut(image, SMALL)
    twice = image.resize((256, 192), Image.Resampling.LANCZOS)  # already whole tiles: one step here
    assert np.array_equal(tiles.pixels[0], np.asarray(twice)[:64, :64])
    assert np.array_equal(tiles.pixels[-1], np.asarray(twice.resize((64, 64), Image.Resampling.LANCZOS)))
    assert np.array_equal(tiles.pixels[5], np.asarray(twice)[64:128, 64:128])


def test_the_longest_edge_is_capped() -> None:
    assert pictures.longest_edge_size(1000, 500, 10_000) == (4096, 2048)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "AVIF"])
def test_formats(form: str) -> None:
    (loaded,) = load(saved(picture(40, 30), form))
    assert (loaded.mode, loaded.size) == ("RGB", (40, 30))


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "CMYK", "I;16", "1"])
def test_modes_become_rgb_as_pillow_does(mode: str) -> None:
    image = in_mode(mode)
    (loaded,) = load(image)
    assert np.array_equal(np.asarray(loaded), np.asarray(image.convert("RGB")))


def test_every_way_to_hand_one_in(tmp_path: Path) -> None:
    image = picture(40, 30)
    file = tmp_path / "with space.png"
    file.write_bytes(saved(image, "PNG"))
    expected = np.asarray(image)
    for source in (str(file), file, file.as_uri(), file.read_bytes(), image, expected):
        (loaded,) = load(source)
        assert np.array_equal(np.asarray(loaded), expected)


def test_orientation_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn a quarter clockwise to see it upright
    (loaded,) = load(saved(picture(40, 30), "PNG", exif=exif))
    assert loaded.size == (30, 40)


def test_all_pages_of_a_tiff() -> None:
    pages = [picture(40, 30, seed) for seed in range(3)]
    content = saved(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    loaded = load(content)
    assert [np.array_equal(np.asarray(a), np.asarray(b)) for a, b in zip(loaded, pages, strict=True)] == [True] * 3
    with pytest.raises(PictureError, match="3 pages"):
        load(content, max_pages=2)


@pytest.mark.parametrize("size", [(1, 1), (1, 10_000), (20_000, 10)])
def test_extreme_shapes(size: tuple[int, int]) -> None:
    (loaded,) = load(saved(Image.new("RGB", size, "red"), "PNG"))
    tiles = pictures.cut(loaded, SMALL)
    assert tiles.pixels.shape[1:] == (64, 64, 3)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF", "WEBP", "BMP", "GIF"])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
def test_truncated_files(form: str, share: float) -> None:
    content = saved(picture(200, 150), form)
    with pytest.raises(PictureError, match=r"damaged|not a picture"):
        load(content[: int(len(content) * share)])


def test_decompression_bomb() -> None:
    bomb = saved(Image.new("1", (30_000, 30_000)), "PNG")
    with pytest.raises(PictureError, match="above the limit"):
        load(bomb)
    (loaded,) = load(saved(Image.new("1", (4000, 3000)), "PNG"), max_pixels=12_000_000)
    assert loaded.size == (4000, 3000)


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("/nowhere/a.png", "No such file"),
        ("/tmp", "is a folder"),
        (b"", "empty"),
        (b"just some text", "not a picture"),
        ("https://example.com/a.png", "not a local file"),
        (np.zeros((3, 3), np.float32), "must be uint8"),
        (np.zeros((0, 3), np.uint8), "no pixels"),
    ],
)
def test_what_cannot_be_read_is_said(source: pictures.Source, complaint: str) -> None:
    with pytest.raises(InputFileError, match=complaint):
        load(source)


@settings(max_examples=300, deadline=None)
@given(
    form=st.sampled_from(["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"]),
    flips=st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), min_size=1, max_size=8),
    cut=st.integers(0, 400),
)
def test_fuzzed_pictures_end_in_one_sentence(form: str, flips: list[tuple[int, int]], cut: int) -> None:
    raw = bytearray(saved(picture(24, 16), form))
    for position, value in flips:
        raw[position % len(raw)] = value
    try:
        for image in load(bytes(raw[: max(1, len(raw) - cut)])):
            pictures.cut(image, SMALL)
    except SeatrialError as problem:
        assert "\n" not in problem.message
