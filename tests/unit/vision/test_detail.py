from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seatrial.errors import SettingError
from seatrial.vision import engine as engine_module
from seatrial.vision.checkpoint import Model
from seatrial.vision.config import PictureConfig
from seatrial.vision.detail import Detail, grid_of, parse_detail
from seatrial.vision.engine import Engine
from seatrial.vision.pictures import cut
from seatrial.vision.processor import Processor, Reading
from seatrial.vision.sampling import Decoding


@pytest.fixture(scope="module")
def config(small: Model) -> PictureConfig:
    """Tiles of the checkpoint's side, at most 4 x 4 of them and the overview."""
    return small.processor.config.picture


def noise(width: int, height: int) -> Image.Image:
    pixels = np.random.default_rng(width).integers(0, 255, (height, width, 3), np.uint8)
    return Image.fromarray(pixels)


def smooth(width: int, height: int) -> Image.Image:
    return noise(8, 8).resize((width, height), Image.Resampling.BICUBIC)


def text(width: int, height: int) -> Image.Image:
    """Black strokes a pixel wide."""
    pixels = np.full((height, width, 3), 255, np.uint8)
    pixels[::3] = 0
    return Image.fromarray(pixels)


def test_high_is_the_reference(config: PictureConfig) -> None:
    image = noise(30, 20)
    assert grid_of(image, config, "high") is None
    assert np.array_equal(cut(image, config, "high").pixels, cut(image, config).pixels)


@pytest.mark.parametrize("most", range(1, 18))
def test_a_number_is_the_most_tiles(config: PictureConfig, most: int) -> None:
    side = config.tile
    for size in [(4 * side, 4 * side), (4 * side, side), (side, 3 * side), (9 * side, 5 * side), (1, 2000)]:
        assert 1 <= len(cut(noise(*size), config, most).pixels) <= most


def test_nothing_is_enlarged(config: PictureConfig) -> None:
    side = config.tile
    assert grid_of(noise(side, side), config, 17) == (0, 0)
    assert grid_of(noise(side // 2, 3), config, "auto") == (0, 0)
    assert grid_of(noise(2 * side, side), config, 17) == (1, 2)
    assert grid_of(noise(2 * side, 2 * side), config, 17) == (2, 2)
    assert grid_of(noise(40 * side, 40 * side), config, 17) == (4, 4)


def test_a_tight_budget_keeps_the_shape_of_the_picture(config: PictureConfig) -> None:
    side = config.tile
    assert grid_of(noise(4 * side, 2 * side), config, 4) == (1, 2)
    assert grid_of(noise(2 * side, 4 * side), config, 4) == (2, 1)
    assert grid_of(noise(4 * side, 4 * side), config, 5) == (2, 2)


def test_auto_goes_by_what_can_be_seen(config: PictureConfig) -> None:
    side = 4 * config.tile
    assert grid_of(smooth(side, side), config, "auto") == (0, 0)
    assert grid_of(text(side, side), config, "auto") == (4, 4)
    soft = noise(side // 6, side // 6).resize((side, side), Image.Resampling.BICUBIC)  # strokes six pixels wide
    rows, cols = grid_of(soft, config, "auto") or (9, 9)
    assert 0 < rows * cols < 16


@pytest.mark.parametrize("wrong", ["", "0", "-3", "medium", "1.5", "³"])
def test_unknown_details_are_refused(wrong: str) -> None:
    with pytest.raises(SettingError, match="Unknown detail"):
        parse_detail(wrong)


def test_messages_may_ask_for_detail(small: Model, tmp_path: Path) -> None:
    side = small.processor.config.picture.tile
    noise(4 * side, 4 * side).save(tmp_path / "noise.png")

    def tiles(detail: str | None) -> int:
        url = {"url": str(tmp_path / "noise.png")} | ({"detail": detail} if detail else {})
        prompt = small.processor.chat([{"role": "user", "content": [{"type": "image_url", "image_url": url}]}])
        return len(prompt.tiles)

    assert [tiles(detail) for detail in (None, "low", "high", "5")] == [17, 1, 17, 5]


@pytest.mark.parametrize(("sure", "looks_again"), [(0.0, False), (1.1, True)])
def test_auto_looks_again_when_it_is_not_sure(
    small: Model, sure: float, looks_again: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "SURE", sure or math.ulp(0.0))
    processor = Processor(small.processor.files, Reading(detail="auto"))
    engine = Engine(type(small)(**{**vars(small), "processor": processor}))
    side = processor.config.picture.tile
    reply = engine.ask(smooth(4 * side, 4 * side), "What?", decoding=Decoding(max_new_tokens=4))
    assert (reply.tiles, reply.coarse_tiles) == ((17, 1) if looks_again else (1, 0))
    assert reply.logprobs is None


def test_details_of_settings(small: Model) -> None:
    def tiles(detail: Detail) -> int:
        return len(Processor(small.processor.files, Reading(detail=detail)).question(noise(900, 900), "?").tiles)

    assert (tiles("low"), tiles(5), tiles("high")) == (1, 5, 17)
