from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from seatrial.vision.checkpoint import Model, load_model
from seatrial.vision.engine import Engine
from seatrial.vision.ops import available, select
from seatrial.vision.ops.protocol import Ops
from seatrial.vision.packed import LinearSource, PackedCache, PackedFile
from seatrial.vision.precision import PRECISIONS
from seatrial.vision.sampling import Decoding
from tests.golden.cases import picture

DECODING = Decoding(max_new_tokens=8, logprobs=True)
pytestmark = pytest.mark.skipif(available() == ("reference",), reason="the NumPy operations keep nothing packed")


@pytest.fixture
def notes() -> list[str]:
    return []


@pytest.fixture
def cache(tmp_path: Path, notes: list[str]) -> PackedCache:
    return PackedCache(least_bytes=0, folder=tmp_path / "packed", note=notes.append)


def answer(model: Model) -> tuple[list[int], list[float] | None]:
    reply = Engine(model).ask(picture(50, 40), "What is it?", decoding=DECODING)
    return reply.tokens, reply.logprobs


def only_file(cache: PackedCache) -> Path:
    (path,) = cache.folder.glob("*.packed")
    return path


@pytest.fixture(params=[name for name in available() if name != "reference"])
def ops(request: pytest.FixtureRequest) -> Ops:
    return select(request.param)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_mapped_weights_answer_as_packed_ones(
    precision: str, ops: Ops, cache: PackedCache, checkpoints: dict[str, Path]
) -> None:
    folder = checkpoints["like-2.2b"]
    expected = answer(load_model(folder, precision, ops=ops))
    first, second = (load_model(folder, precision, ops=ops, packed=cache) for _ in range(2))
    assert answer(first) == answer(second) == expected
    assert cache.use().files == 1


def test_precisions_and_models_have_files_of_their_own(cache: PackedCache, checkpoints: dict[str, Path]) -> None:
    for name in ("like-256m", "like-2.2b"):
        for precision in ("f32", "int8"):
            load_model(checkpoints[name], precision, packed=cache)
    assert cache.use().files == 4


def test_changed_weights_are_packed_again(tmp_path: Path, cache: PackedCache, checkpoints: dict[str, Path]) -> None:
    twin = tmp_path / "twin"
    twin.mkdir()
    for file in checkpoints["like-256m"].iterdir():
        (twin / file.name).write_bytes(file.read_bytes())
    load_model(twin, "f32", packed=cache)
    weights = max(twin.glob("*.safetensors"))
    content = bytearray(weights.read_bytes())
    content[-400:] = np.ones(100, np.float32).tobytes()
    weights.write_bytes(content)
    changed = answer(load_model(twin, "f32", packed=cache))
    assert cache.use().files == 2
    assert changed == answer(load_model(twin, "f32"))


@pytest.mark.parametrize("harm", ["bit", "half", "empty", "end", "index"])
def test_a_damaged_file_is_never_used(
    harm: str, cache: PackedCache, notes: list[str], checkpoints: dict[str, Path]
) -> None:
    expected = answer(load_model(checkpoints["like-256m"], "f32", packed=cache))
    path = only_file(cache)
    content = bytearray(path.read_bytes())
    if harm == "bit":
        content[5000] ^= 1
    elif harm == "index":
        content[-200] ^= 1
    else:
        content = content[: {"half": len(content) // 2, "empty": 0, "end": len(content) - 1}[harm]]
    path.write_bytes(content)
    assert answer(load_model(checkpoints["like-256m"], "f32", packed=cache)) == expected
    assert len(notes) == 1
    assert "is damaged" in notes[0]
    PackedFile(only_file(cache), select())  # whole again


def test_a_full_disk_is_no_reason_not_to_answer(cache: PackedCache, checkpoints: dict[str, Path]) -> None:
    """A limit on the size of files stands for the disk."""
    code = f"""
import resource, signal
from pathlib import Path
from seatrial.vision.checkpoint import load_model
from seatrial.vision.packed import PackedCache
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
cache = PackedCache(least_bytes=0, folder=Path({str(cache.folder)!r}), note=print)
load_model(Path({str(checkpoints["like-256m"])!r}), "f32", packed=cache)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Packed weights are not kept: Cannot write" in done.stdout
    assert [file.suffix for file in cache.folder.iterdir()] == [".lock"]
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 100_000


def _pack_slowly(folder: Path, kept: Path, started: multiprocessing.synchronize.Event) -> None:
    cache = PackedCache(least_bytes=0, folder=kept)

    def build(source: object) -> dict[str, str]:
        started.set()
        time.sleep(60)
        return {}

    cache.open("model", "same", 1, select(), build)


def test_killed_while_packing_leaves_nothing_that_is_used(cache: PackedCache) -> None:
    context = multiprocessing.get_context("spawn")
    started = context.Event()
    process = context.Process(target=_pack_slowly, args=(Path(), cache.folder, started))
    process.start()
    assert started.wait(60)
    assert process.pid
    os.kill(process.pid, signal.SIGKILL)
    process.join()

    def build(source: LinearSource) -> dict[str, str]:
        source.linear("one", lambda: select().pack(np.ones((4, 4), np.float32), None, "f32"))
        return {"fact": "kept"}

    built = cache.open("model", "same", 1, select(), build)  # the dead process holds no lock
    assert isinstance(built, PackedFile)
    assert built.facts == {"fact": "kept"}
    (abandoned,) = cache.folder.glob(".*.packed.*")
    os.utime(abandoned, (0, 0))
    cache.prune()
    assert not list(cache.folder.glob("*.packed")) + list(cache.folder.glob(".*.packed.*"))


def _load(folder: Path, kept: Path) -> float:
    began = time.time()
    load_model(folder, "f32", packed=PackedCache(least_bytes=0, folder=kept))
    return began


def test_processes_that_pack_at_once_make_one_file(cache: PackedCache, checkpoints: dict[str, Path]) -> None:
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        pool.starmap(_load, [(checkpoints["like-256m"], cache.folder)] * 3)
    path = only_file(cache)
    inode = path.stat().st_ino
    load_model(checkpoints["like-256m"], "f32", packed=cache)
    assert path.stat().st_ino == inode
    assert not list(cache.folder.glob(".*.packed.*"))


def test_the_least_recently_used_go_first(cache: PackedCache, checkpoints: dict[str, Path]) -> None:
    load_model(checkpoints["like-256m"], "f32", packed=cache)
    first = only_file(cache)
    os.utime(first, (1, 1))
    cache.disk_limit = first.stat().st_size + 100
    load_model(checkpoints["like-2.2b"], "f32", packed=cache)
    assert not first.exists()


def test_small_models_and_a_limit_of_nothing_keep_nothing(tmp_path: Path, checkpoints: dict[str, Path]) -> None:
    load_model(checkpoints["like-256m"], "f32", packed=PackedCache(folder=tmp_path))
    load_model(checkpoints["like-256m"], "f32", packed=PackedCache(disk_limit=0, least_bytes=0, folder=tmp_path))
    assert not list(tmp_path.iterdir())
