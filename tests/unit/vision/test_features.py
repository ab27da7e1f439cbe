from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seatrial.vision.checkpoint import load_model
from seatrial.vision.engine import Engine
from seatrial.vision.features import FeatureCache
from seatrial.vision.sampling import Decoding
from tests.golden.cases import picture

TILES = np.arange(4 * 2 * 2 * 3, dtype=np.uint8).reshape(4, 2, 2, 3)


class Tower:
    """Stands where the tower does; counts what it was asked."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def __call__(self, tiles: np.ndarray) -> np.ndarray:
        self.asked.append(len(tiles))
        return tiles.reshape(len(tiles), 3, 4).astype(np.float32) / 7


@pytest.fixture
def tower() -> Tower:
    return Tower()


def cache(folder: Path, memory: int = 10**6, disk: int = 10**6) -> FeatureCache:
    return FeatureCache(memory_limit=memory, disk_limit=disk, folder=folder)


def test_what_comes_back_is_what_was_computed(tower: Tower, tmp_path: Path) -> None:
    for features in (cache(tmp_path), cache(tmp_path), cache(tmp_path, memory=0)):
        encoded, _ = features.encode(TILES, "weights", tower)
        assert np.array_equal(encoded, TILES.reshape(4, 3, 4).astype(np.float32) / 7)
    assert tower.asked == [4]


def test_equal_tiles_are_computed_once(tower: Tower, tmp_path: Path) -> None:
    twice = np.concatenate([TILES, TILES[::-1]])
    encoded, known = cache(tmp_path, 0, 0).encode(twice, "weights", tower)
    assert (tower.asked, known) == ([4], 4)
    assert np.array_equal(encoded[:4], encoded[:3:-1])


def test_other_weights_share_nothing(tower: Tower, tmp_path: Path) -> None:
    features = cache(tmp_path)
    features.encode(TILES, "weights", tower)
    features.encode(TILES, "others", tower)
    assert tower.asked == [4, 4]


@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: b"", lambda b: b[:40] + b"X" + b[41:]])
def test_damaged_files_are_computed_again(tower: Tower, tmp_path: Path, damage: object) -> None:
    cache(tmp_path).encode(TILES, "weights", tower)
    for file in tmp_path.glob("*/*.features"):
        file.write_bytes(damage(file.read_bytes()))  # type: ignore[operator]
    encoded, known = cache(tmp_path).encode(TILES, "weights", tower)
    assert (tower.asked, known) == ([4, 4], 0)
    assert np.array_equal(encoded, TILES.reshape(4, 3, 4).astype(np.float32) / 7)


def test_memory_limit_forgets_the_least_recently_used(tower: Tower, tmp_path: Path) -> None:
    features = cache(tmp_path, memory=2 * 48, disk=0)
    for tile in (0, 1, 0, 2, 0, 1):
        features.encode(TILES[tile : tile + 1], "weights", tower)
    assert len(tower.asked) == 4  # 0, 1, 2 and 1 again: 0 was used in between


def test_disk_limit_is_kept(tower: Tower, tmp_path: Path) -> None:
    features = cache(tmp_path, memory=0, disk=250)
    for number in range(10):
        tiles = np.full((1, 2, 2, 3), number, np.uint8)
        features.encode(tiles, "weights", tower)
        os.utime(next(iter(features._shelf.files())), (time.time(), time.time()))
        assert features.use().bytes <= 250
    assert features.use().files >= 1


def test_prune_keeps_the_newest(tower: Tower, tmp_path: Path) -> None:
    features = cache(tmp_path, memory=0)
    features.encode(TILES, "weights", tower)
    for age, file in enumerate(sorted(features._shelf.files())):
        os.utime(file, (1000 - age, 1000 - age))
    newest = min(features._shelf.files())
    removed = features.prune(keep_bytes=newest.stat().st_size)
    assert removed.files == 3
    assert features._shelf.files() == [newest]


def test_prune_removes_what_a_killed_writer_left(tower: Tower, tmp_path: Path) -> None:
    features = cache(tmp_path, memory=0)
    features.encode(TILES, "weights", tower)
    finished = min(features._shelf.files())
    abandoned = finished.with_name(f".{finished.name}.abc123")
    under_way = finished.with_name(f".{finished.name}.def456")
    for file in (abandoned, under_way):
        file.write_bytes(b"half")
    os.utime(abandoned, (1000, 1000))
    features.prune(keep_bytes=10**6)
    assert (abandoned.exists(), under_way.exists(), finished.exists()) == (False, True, True)


def test_a_folder_that_cannot_be_written_is_no_reason_to_fail(tower: Tower, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    encoded, known = cache(tmp_path / "file" / "features").encode(TILES, "weights", tower)
    assert (len(encoded), known) == (4, 0)


def test_answers_are_the_same_with_and_without(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    decoding = Decoding(max_new_tokens=10, logprobs=True)
    blank = Image.new("RGB", (300, 300), "white")
    plain = Engine(load_model(checkpoints["like-256m"], "f32"))
    kept = [Engine(load_model(checkpoints["like-256m"], "f32", features=cache(tmp_path))) for _ in range(2)]
    for sources in ([picture(50, 40)], [blank], [picture(50, 40), blank]):
        expected = plain.ask(sources, "What?", decoding=decoding)
        for engine in kept:
            reply = engine.ask(sources, "What?", decoding=decoding)
            assert (reply.tokens, reply.logprobs) == (expected.tokens, expected.logprobs)
    assert kept[0].ask(blank, "And now?").cached_tiles == 17


def test_a_blank_page_is_one_tile_of_work(small: object) -> None:
    reply = Engine(small).ask(Image.new("RGB", (300, 300), "white"), "What?")  # type: ignore[arg-type]
    assert (reply.tiles, reply.cached_tiles) == (17, 16)
