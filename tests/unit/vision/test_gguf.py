"""GGUF files: what they say of a model, read as another program reads them, and every way they can be damaged."""

from __future__ import annotations

import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seatrial.errors import ModelError, SeatrialError, WeightsError
from seatrial.vision.checkpoint import load_model
from seatrial.vision.config import load_config
from seatrial.vision.conversion import convert
from seatrial.vision.files import open_files
from seatrial.vision.gguf.blocks import TYPES
from seatrial.vision.gguf.container import Planned, halves_of_pairs, pairs_of_halves, read_gguf, write_gguf
from seatrial.vision.gguf.names import to_gguf, to_hugging_face
from tests.golden.checkpoints import SHAPES, tensor_shapes

Pair = tuple[Path, Path]


@pytest.fixture(scope="module")
def made(checkpoints: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Pair:
    target = tmp_path_factory.mktemp("gguf") / "like-256m"
    convert(checkpoints["like-256m"], target)
    return target / "like-256m-BF16.gguf", target / "mmproj-like-256m-BF16.gguf"


@pytest.fixture
def pair(made: Pair, tmp_path: Path) -> Pair:
    """A copy that a test may damage."""
    folder = Path(shutil.copytree(made[0].parent, tmp_path / "pair"))
    return folder / made[0].name, folder / made[1].name


def rewritten(file: Path, change: Callable[[dict[str, Any], list[Planned]], None]) -> None:
    """Write `file` again after `change` to its metadata and tensors."""
    read = read_gguf(file)
    metadata = dict(read.metadata)
    data = {name: np.array(tensor.data) for name, tensor in read.tensors.items()}
    tensors = [
        Planned(name, tensor.dims, tensor.kind, lambda name=name: data[name]) for name, tensor in read.tensors.items()
    ]
    change(metadata, tensors)
    with file.open("wb") as stream:
        write_gguf(stream, metadata, tensors, lambda: None)


def setting(key: str, value: Any) -> Callable[[dict[str, Any], list[Planned]], None]:
    def change(metadata: dict[str, Any], _tensors: list[Planned]) -> None:
        metadata.pop(key, None)
        if value is not None:
            metadata[key] = value

    return change


def test_ggml_reads_what_we_write(made: Pair) -> None:
    for file in made:
        ours, theirs = read_gguf(file), gguf.GGUFReader(file)
        fields = {name: field.contents() for name, field in theirs.fields.items() if not name.startswith("GGUF.")}
        assert fields == ours.metadata
        assert [tensor.name for tensor in theirs.tensors] == list(ours.tensors)
        for tensor in theirs.tensors:
            kept = ours.tensors[tensor.name]
            assert (tensor.tensor_type.name, tuple(int(n) for n in tensor.shape)) == (kept.dtype, kept.shape[::-1])
            assert bytes(tensor.data.tobytes()) == bytes(kept.data.tobytes())


def test_we_read_what_ggml_writes(tmp_path: Path) -> None:
    x = np.random.default_rng(1).standard_normal((3, 64)).astype(np.float32)
    writer = gguf.GGUFWriter(tmp_path / "a.gguf", "llama")
    writer.add_bool("yes", True)
    writer.add_int64("far", -(1 << 40))
    writer.add_float64("half", 0.5)
    writer.add_array("words", ["a", "ö"])
    writer.add_array("numbers", [1, 2, 3])
    writer.add_tensor("x", gguf.quantize(x, gguf.GGMLQuantizationType.Q8_0), raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    for step in (writer.write_header_to_file, writer.write_kv_data_to_file, writer.write_tensors_to_file, writer.close):
        step()
    read = read_gguf(tmp_path / "a.gguf")
    said = {"yes": True, "far": -(1 << 40), "half": 0.5, "words": ["a", "ö"], "numbers": [1, 2, 3]}
    assert said.items() <= read.metadata.items()
    assert np.abs(read.tensors["x"].values() - x).max() < 0.05


def test_names_are_those_of_llama_cpp() -> None:
    """Every tensor of a checkpoint with all biases, by llama.cpp's own table."""
    layers = 3
    tables = [gguf.get_tensor_name_map(arch, layers) for arch in (gguf.MODEL_ARCH.LLAMA, gguf.MODEL_ARCH.MMPROJ)]
    for shape in SHAPES:
        for name in tensor_shapes(shape, 10):
            # llama.cpp's conversion takes this word out before it looks names up.
            plain = name.replace("text_model.", "")
            found = [table.get_name(plain, try_suffixes=(".weight", ".bias")) for table in tables]
            assert to_gguf(name) in found, name
            assert to_hugging_face(to_gguf(name) or "") == name


def test_names_without_a_place() -> None:
    assert to_hugging_face("blk.0.attn_rot_embd.weight") is None
    assert to_hugging_face("v.class_embd") is None
    assert to_gguf("model.perceiver.latents") is None


def test_rotation_pairs_are_those_of_llama_cpp() -> None:
    """Rows of a head [first half, second half] become [0, D/2, 1, D/2 + 1, …]."""
    x = np.arange(12)[:, None]
    assert pairs_of_halves(x, 2)[:, 0].tolist() == [0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11]
    assert np.array_equal(halves_of_pairs(pairs_of_halves(x, 2), 2), x)


def test_files_without_our_keys_take_the_published_values(pair: Pair, checkpoints: dict[str, Path]) -> None:
    """As llama.cpp's own conversion of before 2025-07 writes them."""
    for file in pair:
        rewritten(file, lambda metadata, _: [metadata.pop(key) for key in list(metadata) if key.startswith("seatrial")])
    rewritten(pair[1], setting("clip.vision.preproc_image_size", None))
    assert load_config(pair[0]) == load_config(checkpoints["like-256m"])


def test_mlp_names_exchanged_as_in_older_files(pair: Pair, made: Pair) -> None:
    def exchange(_metadata: dict[str, Any], tensors: list[Planned]) -> None:
        names = [t.name for t in tensors]
        for old, new in (("ffn_up", "ffn_x"), ("ffn_down", "ffn_up"), ("ffn_x", "ffn_down")):
            names = [name.replace(old, new) for name in names]
        tensors[:] = [Planned(name, t.dims, t.kind, t.make) for name, t in zip(names, tensors, strict=True)]

    rewritten(pair[1], exchange)
    changed, straight = open_files(pair[0]).weights(), open_files(made[0]).weights()
    for name in straight.names():
        assert np.array_equal(changed.stored(name).values(), straight.stored(name).values()), name


def test_the_mmproj_may_lie_elsewhere(pair: Pair, tmp_path: Path) -> None:
    away = pair[1].rename(tmp_path / "towers.gguf")
    with pytest.raises(ModelError, match="holds no GGUF file with a picture tower"):
        load_config(pair[0])
    assert open_files(pair[0], away).weights().has("model.connector.modality_projection.proj.weight")


def test_the_mmproj_of_the_same_name_is_taken(pair: Pair) -> None:
    shutil.copy(pair[1], pair[1].with_name("mmproj-other.gguf"))
    load_config(pair[0])
    with pytest.raises(ModelError, match="holds several GGUF files with a picture tower"):
        load_config(pair[0].rename(pair[0].with_name("renamed.gguf")))


BAD_METADATA: dict[str, tuple[int, str, Any, str]] = {
    "another text model": (0, "general.architecture", "qwen2", "'qwen2' model, which is not supported"),
    "another projector": (1, "clip.projector_type", "gemma3", "projector 'gemma3' is not supported"),
    "mismatched pair": (1, "clip.vision.projection_dim", 960, "takes picture tokens of width 192, .* makes them of"),
    "scaled rotation": (0, "llama.rope.scaling.type", "yarn", "scaled rotation is not supported"),
    "partial rotation": (0, "llama.rope.dimension_count", 32, "rotation of a part of each head"),
    "missing key": (0, "llama.block_count", None, "the key llama.block_count is missing"),
    "missing vision key": (1, "clip.vision.patch_size", None, "the key clip.vision.patch_size is missing"),
    "no heads": (0, "llama.attention.head_count", 0, "malformed"),
    "patches of no size": (1, "clip.vision.patch_size", 0, "malformed"),
    "word for a number": (0, "llama.block_count", "many", "malformed"),
    "SiLU": (1, "clip.use_silu", True, "SiLU is not supported"),
    "another tokenizer": (0, "tokenizer.ggml.model", "llama", "the tokenizer is 'llama' with 'smollm'"),
    "another cut": (0, "tokenizer.ggml.pre", "llama-bpe", "'gpt2' with 'llama-bpe', which is not supported"),
    "no merges": (0, "tokenizer.ggml.merges", None, "tokenizer.ggml.merges is missing"),
    "merges of another kind": (0, "tokenizer.ggml.merges", [1, 2], "tokenizer.ggml.merges is missing or of another"),
    "a negative number": (0, "llama.rope.freq_base", -1.0, "the key llama.rope.freq_base is -1.0"),
    "too few kinds": (0, "tokenizer.ggml.token_type", [1, 1], "400 tokens have 2 kinds"),
    "no image token": (0, "tokenizer.ggml.tokens", [str(n) for n in range(400)], "has no token <image>"),
    "kept JSON damaged": (0, "seatrial.config.json", "{", "seatrial.config.json is not JSON"),
    "a part": (0, "split.count", 3, "is one of several parts"),
}


@pytest.mark.parametrize("name", BAD_METADATA)
def test_metadata_that_does_not_fit(pair: Pair, name: str) -> None:
    which, key, value, sentence = BAD_METADATA[name]
    rewritten(pair[which], setting(key, value))
    with pytest.raises(ModelError, match=sentence):
        load_model(pair[0], "f32")


def test_parts_that_are_no_model(pair: Pair, tmp_path: Path) -> None:
    text, mmproj = pair
    with pytest.raises(ModelError, match="holds the picture tower alone"):
        load_config(mmproj)
    with pytest.raises(ModelError, match="holds no picture tower"):
        open_files(text, text)
    with pytest.raises(ModelError, match="cannot be opened"):
        open_files(text, tmp_path / "absent.gguf")
    text.unlink()
    with pytest.raises(ModelError, match="holds no GGUF file with a text tower"):
        load_config(mmproj.parent)


def test_an_mmproj_has_no_place_in_a_folder_of_safetensors(checkpoints: dict[str, Path], made: Pair) -> None:
    with pytest.raises(ModelError, match="is not a GGUF model"):
        open_files(checkpoints["odd"], made[1])


def test_a_tensor_without_a_place(pair: Pair) -> None:
    extra = Planned("v.class_embd", (1,), TYPES["F32"], lambda: np.zeros(1, np.float32))
    rewritten(pair[1], lambda _, tensors: tensors.append(extra))
    with pytest.raises(WeightsError, match=r"tensor v\.class_embd has no place"):
        open_files(pair[0]).weights()


def test_a_missing_tensor(pair: Pair) -> None:
    rewritten(pair[1], lambda _, tensors: tensors.pop())
    with pytest.raises(WeightsError, match="is missing"):
        load_model(pair[0], "f32")


DAMAGE: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "wrong magic": (lambda b: b"GGML" + b[4:], "is not a GGUF file: it begins with b'GGML'"),
    "version": (lambda b: b[:4] + struct.pack("<I", 9) + b[8:], "version 9, which is not supported"),
    "big-endian": (lambda b: b[:4] + struct.pack(">I", 3) + b[8:], "version 50331648, which is not supported"),
    "truncated header": (lambda b: b[:1000], "is truncated: its header goes on past its 1,000 bytes"),
    "truncated data": (lambda b: b[:-400], "is truncated: tensor .* ends at byte"),
    "empty": (lambda b: b"", "is empty"),
    "two bytes": (lambda b: b[:2], "is not a GGUF file"),
    "a trillion tensors": (lambda b: b[:8] + struct.pack("<Q", 10**12) + b[16:], "is truncated"),
    "unknown value type": (lambda b: b.replace(b"general.type" + struct.pack("<I", 8), b"general.type\x63\0\0\0"),
                           "damaged at byte .*: unknown value type 99"),
    "unknown type": (lambda b: with_type(b, 19), "has type IQ1_S, which is not supported"),
    "rows that blocks cannot hold": (lambda b: with_type(b, 12), "that Q4_K cannot hold"),
}  # fmt: skip


def with_type(content: bytes, code: int) -> bytes:
    """Give the query matrix of the first layer another type."""
    name = b"blk.0.attn_q.weight"
    at = content.index(name) + len(name) + 4 + 2 * 8
    return content[:at] + struct.pack("<I", code) + content[at + 4 :]


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_files(pair: Pair, name: str) -> None:
    damage, sentence = DAMAGE[name]
    pair[0].write_bytes(damage(pair[0].read_bytes()))
    with pytest.raises(WeightsError, match=sentence):
        read_gguf(pair[0])


def test_tensors_that_overlap_or_share_a_name(tmp_path: Path) -> None:
    def write(*names: str) -> bytes:
        planned = [Planned(name, (8,), TYPES["F32"], lambda: np.zeros(8, np.float32)) for name in names]
        with (tmp_path / "a.gguf").open("wb") as stream:
            write_gguf(stream, {}, planned, lambda: None)
        return (tmp_path / "a.gguf").read_bytes()

    write("a", "a")
    with pytest.raises(WeightsError, match="two tensors have the same name"):
        read_gguf(tmp_path / "a.gguf")
    content = write("a", "b")
    (tmp_path / "a.gguf").write_bytes(content.replace(struct.pack("<IQ", 0, 32), struct.pack("<IQ", 0, 0)))
    with pytest.raises(WeightsError, match="two tensors overlap"):
        read_gguf(tmp_path / "a.gguf")


@settings(max_examples=300, deadline=None)
@given(
    which=st.integers(0, 1), at=st.integers(0, 9000), byte=st.integers(0, 255), keep=st.none() | st.integers(0, 9000)
)
def test_any_damage_ends_in_one_sentence(
    made: Pair, tmp_path_factory: pytest.TempPathFactory, which: int, at: int, byte: int, keep: int | None
) -> None:
    content = bytearray(made[which].read_bytes()[:keep])
    if at < len(content):
        content[at] = byte
    file = tmp_path_factory.mktemp("fuzz") / "damaged.gguf"
    file.write_bytes(content)
    text, mmproj = (file, made[1]) if which == 0 else (made[0], file)
    try:
        files = open_files(text, mmproj)
        load_config(files)
        files.weights()
    except SeatrialError as problem:
        assert problem.message.count("\n") == 0
