"""Block types against ggml's own Python package, and against blocks worked out by hand."""

from __future__ import annotations

import gguf
import numpy as np
import pytest

from seatrial.vision.gguf.blocks import TYPES, dequantise, encode

BLOCKS = [name for name, kind in TYPES.items() if kind.plain is None]
WRITTEN = [name for name, kind in TYPES.items() if kind.quantise]


def random_blocks(name: str, count: int) -> np.ndarray:
    """Random bytes, with scales that are ordinary numbers."""
    kind, random = TYPES[name], np.random.default_rng(3)
    blocks = random.integers(0, 256, (count, kind.bytes), dtype=np.uint8)
    halves = {"Q4_1": (0, 2), "Q5_1": (0, 2), "Q4_K": (0, 2), "Q5_K": (0, 2), "Q6_K": (208,)}.get(name, (0,))
    for at in halves:
        scales = random.uniform(-2, 2, (count, 1)).astype("<f2")
        blocks[:, at : at + 2] = scales.view(np.uint8)
    return blocks


@pytest.mark.parametrize("name", TYPES)
def test_codes_and_sizes_are_those_of_ggml(name: str) -> None:
    code = gguf.GGMLQuantizationType[name]
    assert (TYPES[name].code, (TYPES[name].size, TYPES[name].bytes)) == (code.value, gguf.GGML_QUANT_SIZES[code])


@pytest.mark.parametrize("name", TYPES)
def test_file_types_are_those_of_llama_cpp(name: str) -> None:
    known = {member.name: member.value for member in gguf.LlamaFileType}
    names = [f"{prefix}{name}{suffix}" for prefix in ("ALL_", "MOSTLY_") for suffix in ("", "_M")]
    assert TYPES[name].file_type in [known[candidate] for candidate in names if candidate in known]


@pytest.mark.parametrize("count", [1, 5, 4097])
@pytest.mark.parametrize("name", BLOCKS)
def test_numbers_are_those_of_ggml(name: str, count: int) -> None:
    blocks = random_blocks(name, count)
    theirs = gguf.dequantize(blocks.reshape(-1), gguf.GGMLQuantizationType[name])
    assert np.array_equal(dequantise(TYPES[name], blocks).reshape(-1), theirs)


@pytest.mark.parametrize("name", WRITTEN)
def test_blocks_are_those_of_ggml(name: str) -> None:
    random = np.random.default_rng(5)
    x = random.standard_normal((5000, 32)).astype(np.float32) * np.exp(random.uniform(-9, 9, (5000, 1))).astype("f4")
    x[0], x[1, 1:], x[2] = 0, 0, 1.5
    theirs = gguf.quantize(x.reshape(1, -1), gguf.GGMLQuantizationType[name])
    assert np.array_equal(encode(TYPES[name], x).reshape(-1), theirs.reshape(-1))


@pytest.mark.parametrize(("name", "most"), [("Q8_0", 1 / 127), ("Q4_0", 1 / 7), ("Q5_1", 1 / 15)])
def test_what_is_written_comes_back_within_a_step(name: str, most: float) -> None:
    x = np.random.default_rng(6).uniform(-1, 1, (100, 32)).astype(np.float32)
    assert np.abs(dequantise(TYPES[name], encode(TYPES[name], x)) - x).max() < most


def test_a_block_by_hand() -> None:
    """Q4_0: scale 0.5, the nibbles of byte j are numbers j and j + 16, eight below."""
    block = np.frombuffer(np.float16(0.5).tobytes() + bytes([0x1F] + [0x88] * 15), np.uint8)[None]
    values = dequantise(TYPES["Q4_0"], block)[0]
    assert values[0] == 3.5
    assert values[16] == -3.5
    assert not values[1:16].any()


def test_plain_types_keep_what_they_can_hold() -> None:
    x = np.array([[1.5, -2.25, 65504.0, 1e-3]], np.float32)
    assert np.array_equal(encode(TYPES["F32"], x), x)
    assert np.array_equal(encode(TYPES["F16"], x), x.astype(np.float16))
    assert encode(TYPES["BF16"], x).tolist() == [[0x3FC0, 0xC010, 0x4780, 0x3A83]]
    assert np.isinf(encode(TYPES["F16"], np.array([70000.0], np.float32))).all()


def test_a_scale_that_is_no_number_is_passed_on() -> None:
    block = np.frombuffer(np.float16("nan").tobytes() + bytes(32), np.uint8)[None]
    assert np.isnan(dequantise(TYPES["Q8_0"], block)).all()
