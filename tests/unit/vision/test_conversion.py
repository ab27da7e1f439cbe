"""Safetensors to GGUF and back: nothing is lost that the type can hold, and answers stay the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seatrial import vision
from seatrial.errors import ModelError, SettingError, StorageError, TokenizerError, WeightsError
from seatrial.vision.config import load_config
from seatrial.vision.conversion import NUMBER_TYPES, convert
from seatrial.vision.files import open_files
from seatrial.vision.gguf.container import read_gguf
from seatrial.vision.ops.bfloat16 import as_f32
from seatrial.vision.tokenizer import Tokenizer
from tests.conftest import REPOSITORY
from tests.golden.cases import picture
from tests.golden.checkpoints import SHAPES, write_tensors
from tests.unit.vision.test_prompt import copy

NAMES = [shape.name for shape in SHAPES]
BLOCK_TYPES = [name for name in NUMBER_TYPES if name.startswith("q")]
TEXTS = ["What is it?", "12 cafés\n\n  naïve\t<image>", "<|im_start|>User: Hi<end_of_utterance>\nAssistant:", "数字 ✓"]


def tensors(source: Path) -> dict[str, tuple[str, Any]]:
    weights = open_files(source).weights()
    return {name: (weights.stored(name).dtype, weights.stored(name).values()) for name in weights.names()}


def answers(source: Path, precision: str = "f32") -> list[list[int]]:
    engine = vision.open(source, precision=precision)
    decoding = vision.Decoding(max_new_tokens=12)
    return [engine.ask(picture(100, 60), question, decoding=decoding).tokens for question in ("What is it?", "7?")]


@pytest.mark.parametrize("name", NAMES)
def test_there_and_back_is_the_same_bit_for_bit(checkpoints: dict[str, Path], tmp_path: Path, name: str) -> None:
    source = checkpoints[name]
    convert(source, tmp_path / "gguf")
    convert(tmp_path / "gguf", tmp_path / "back")
    before, after = tensors(source), tensors(tmp_path / "back")
    assert before.keys() == after.keys()
    for key, (dtype, values) in before.items():
        assert after[key][0] == dtype, key
        assert np.array_equal(after[key][1], values), key
    assert load_config(tmp_path / "back") == load_config(tmp_path / "gguf") == load_config(source)
    old, new = Tokenizer(source), Tokenizer(tmp_path / "back")
    for text in TEXTS:
        for trusted in (True, False):
            assert new.encode([(text, trusted)]) == old.encode([(text, trusted)])
        assert new.decode(new.encode([(text, True)]), control=True) == old.decode(
            old.encode([(text, True)]), control=True
        )


@pytest.mark.parametrize("name", NAMES)
def test_answers_from_gguf_are_the_same(checkpoints: dict[str, Path], tmp_path: Path, name: str) -> None:
    convert(checkpoints[name], tmp_path / "gguf")
    assert answers(tmp_path / "gguf") == answers(checkpoints[name])


def test_pico_answers_the_same(tmp_path: Path) -> None:
    """Its int8 weights become float32 exactly."""
    pico = vision.find_model("pico")
    made = vision.convert(pico, tmp_path / "gguf")
    assert (made.form, made.type) == ("gguf", "f32")
    vision.convert(tmp_path / "gguf", tmp_path / "back")
    receipt = REPOSITORY / "examples" / "receipt.jpg"
    replies = [
        vision.open(source, precision="f32").ask(receipt, "What is the total?")
        for source in (pico, tmp_path / "gguf" / f"{pico.resolve().name}-F32.gguf", tmp_path / "back")
    ]
    assert replies[0].text == "$392.00"
    assert replies[1].tokens == replies[2].tokens == replies[0].tokens
    assert json.loads((tmp_path / "back" / "preprocessor_config.json").read_text())["video_sampling"]["max_frames"] == 8


@pytest.mark.parametrize("number_type", ["f32", "f16", "bf16"])
def test_plain_types_round_once(checkpoints: dict[str, Path], tmp_path: Path, number_type: str) -> None:
    convert(checkpoints["like-2.2b"], tmp_path / "gguf", number_type)
    before, after = tensors(checkpoints["like-2.2b"]), tensors(tmp_path / "gguf")
    step = {"f32": 0, "f16": 2**-11, "bf16": 2**-8}[number_type]
    for key, (_, values) in before.items():
        assert np.all(np.abs(as_f32(after[key][1]) - values) <= step * np.abs(values) + 1e-7), key
    name = "model.text_model.layers.0.mlp.up_proj.weight"
    assert after[name][0] == number_type.upper()


@pytest.mark.parametrize("number_type", BLOCK_TYPES)
def test_blocks_stay_near(checkpoints: dict[str, Path], tmp_path: Path, number_type: str) -> None:
    made = convert(checkpoints["like-256m"], tmp_path / "gguf", number_type)
    assert made.type == number_type
    before, after = tensors(checkpoints["like-256m"]), tensors(tmp_path / "gguf")
    kinds = {key: dtype for key, (dtype, _) in after.items()}
    few_bits = number_type.upper()
    assert kinds["model.text_model.layers.0.mlp.up_proj.weight"] == few_bits
    assert kinds["lm_head.weight"] == kinds["model.vision_model.encoder.layers.0.mlp.fc1.weight"] == "Q8_0"
    assert kinds["model.text_model.norm.weight"] == "F32"
    assert kinds["model.vision_model.embeddings.position_embedding.weight"] == "F32"
    for key, (_, values) in before.items():
        x, y = as_f32(values), as_f32(after[key][1])
        most = {"Q8_0": 0.006, "F32": 0}.get(kinds[key], 0.127)
        assert np.abs(x - y).max() <= most * np.abs(x).max() + 1e-7, key


def test_a_model_in_blocks_answers_as_its_widened_form(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    convert(checkpoints["like-256m"], tmp_path / "gguf", "q4_0")
    made = convert(tmp_path / "gguf", tmp_path / "wide")
    assert made.type == "f32"
    assert answers(tmp_path / "gguf") == answers(tmp_path / "wide")
    assert answers(tmp_path / "gguf", "int8") == answers(tmp_path / "wide", "int8")


def test_widths_that_blocks_do_not_divide_become_f16(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    convert(checkpoints["odd"], tmp_path / "gguf", "q8_0")
    kinds = {key: dtype for key, (dtype, _) in tensors(tmp_path / "gguf").items()}
    assert kinds["model.text_model.layers.0.mlp.up_proj.weight"] == "F16"  # 72 columns


def test_eos_ids_survive(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    source = copy(checkpoints["odd"], tmp_path / "a")
    (source / "generation_config.json").write_text(json.dumps({"eos_token_id": [3, 2]}))
    convert(source, tmp_path / "gguf")
    assert load_config(tmp_path / "gguf").eos_token_ids == (3, 2)


def test_progress_and_facts(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    made = convert(checkpoints["odd"], tmp_path / "gguf", progress=lambda done, total: seen.append((done, total)))
    count = len(tensors(checkpoints["odd"]))
    assert seen == [(n, count) for n in range(1, count + 1)]
    assert made.tensors == count
    assert made.files == ["mmproj-odd-F32.gguf", "odd-F32.gguf"]
    assert made.bytes == sum((tmp_path / "gguf" / name).stat().st_size for name in made.files)


def test_summary_is_that_of_the_folder(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    convert(checkpoints["like-2.2b"], tmp_path / "gguf")
    ours, theirs = vision.summarise(tmp_path / "gguf"), vision.summarise(checkpoints["like-2.2b"])
    assert (ours.parameters, ours.tensors, ours.memory) == (theirs.parameters, theirs.tensors, theirs.memory)
    assert ours.bytes_on_disk == sum(file.stat().st_size for file in (tmp_path / "gguf").iterdir())


def test_a_target_in_use_is_left_alone(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "kept.txt").write_text("mine")
    with pytest.raises(StorageError, match="is in use"):
        convert(checkpoints["odd"], tmp_path)
    assert [file.name for file in tmp_path.iterdir() if file.name != "seatrial-home"] == ["kept.txt"]


def test_a_conversion_that_fails_leaves_nothing(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    source = copy(checkpoints["odd"], tmp_path / "source")
    file = source / "model.safetensors"
    kept = {name: as_f32(values).copy() for name, (_, values) in tensors(source).items()}
    kept["lm_head.weight"][0, 0] = 1e6
    write_tensors(file, kept, "F32")
    with pytest.raises(WeightsError, match="numbers that F16 cannot hold"):
        convert(source, tmp_path / "gguf", "f16")
    assert not [path for path in tmp_path.iterdir() if path.name not in ("source", "seatrial-home")]
    convert(source, tmp_path / "gguf", "bf16")


def test_types_that_are_none(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="Unknown type 'q2_k'"):
        convert(checkpoints["odd"], tmp_path / "a", "q2_k")
    convert(checkpoints["odd"], tmp_path / "gguf")
    with pytest.raises(SettingError, match="Safetensors cannot hold q8_0"):
        convert(tmp_path / "gguf", tmp_path / "b", "q8_0")


def test_a_tokenizer_that_has_no_form_in_gguf(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    source = copy(checkpoints["odd"], tmp_path / "a", normalizer={"type": "Lowercase"})
    with pytest.raises(TokenizerError, match="cannot be written as GGUF"):
        convert(source, tmp_path / "gguf")


def test_a_tensor_without_a_place(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    source = copy(checkpoints["odd"], tmp_path / "a")
    write_tensors(source / "extra.safetensors", {"model.perceiver.latents": np.zeros((2, 2), np.float32)}, "F32")
    with pytest.raises(ModelError, match=r"tensor model\.perceiver\.latents has no place"):
        convert(source, tmp_path / "gguf")


def test_tokens_are_kept_in_their_order(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    convert(checkpoints["odd"], tmp_path / "gguf")
    metadata = read_gguf(tmp_path / "gguf" / "odd-F32.gguf").metadata
    tokens, kinds = metadata["tokenizer.ggml.tokens"], metadata["tokenizer.ggml.token_type"]
    assert (tokens[5], kinds[5]) == ("<image>", 3)
    assert metadata["tokenizer.ggml.eos_token_id"] == tokens.index("<end_of_utterance>")
    assert metadata["tokenizer.ggml.add_bos_token"] is False
