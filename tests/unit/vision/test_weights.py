from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seatrial.errors import ModelError, SeatrialError, WeightsError
from seatrial.vision.checkpoint import load_model
from seatrial.vision.weights import load_weights
from tests.golden.checkpoints import write_tensors

VALUES = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(4, np.float32)}


def header_of(file: Path) -> tuple[dict, bytes]:
    raw = file.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    return json.loads(raw[8 : 8 + length]), raw[8 + length :]


def rewrite(file: Path, header: object, data: bytes) -> None:
    text = json.dumps(header).encode() if not isinstance(header, bytes) else header
    file.write_bytes(len(text).to_bytes(8, "little") + text + data)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write_tensors(tmp_path / "model.safetensors", VALUES, "F32")
    return tmp_path / "model.safetensors"


@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
def test_stored_types(tmp_path: Path, dtype: str) -> None:
    write_tensors(tmp_path / "model.safetensors", VALUES, dtype)
    weights = load_weights(tmp_path)
    assert np.array_equal(weights.array("a", (2, 3)), VALUES["a"])


def test_int8_with_scales(tmp_path: Path) -> None:
    header = {
        "w": {"dtype": "I8", "shape": [2, 2], "data_offsets": [0, 4]},
        "w_scale": {"dtype": "F32", "shape": [2, 1], "data_offsets": [4, 12]},
    }
    data = np.array([1, -2, 3, -4], np.int8).tobytes() + np.array([0.5, 2], np.float32).tobytes()
    rewrite(tmp_path / "model.safetensors", header, data)
    expected = [[0.5, -1.0], [6.0, -8.0]]
    assert load_weights(tmp_path).array("w", (2, 2)).tolist() == expected


def test_missing_tensor(file: Path) -> None:
    with pytest.raises(WeightsError, match="tensor c is missing"):
        load_weights(file.parent).array("c", (1,))


def test_wrong_shape_names_both(file: Path) -> None:
    with pytest.raises(WeightsError, match=r"tensor a has shape \[2, 3\], expected \[3, 2\]"):
        load_weights(file.parent).array("a", (3, 2))


@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_none_name_the_tensor(tmp_path: Path, dtype: str, bad: float) -> None:
    values = np.ones((50, 3), np.float32)
    values[31, 2] = bad
    write_tensors(tmp_path / "model.safetensors", {"poisoned": values}, dtype)
    with pytest.raises(WeightsError, match="poisoned holds NaN or infinity"):
        load_weights(tmp_path).matrix("poisoned", (50, 3))


@pytest.mark.parametrize("keep", [0, 4, 8, 30, -1])
def test_truncated(file: Path, keep: int) -> None:
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(WeightsError):
        load_weights(file.parent)


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        ({"data_offsets": [0, 4000]}, "its shape"),
        ({"shape": [1000, 3], "data_offsets": [0, 12000]}, "truncated"),
        ({"shape": [-2, -3]}, "malformed"),
        ({"shape": [2.0, 3]}, "malformed"),
        ({"data_offsets": [24, 0]}, "its shape"),
        ({"dtype": "F8_E4M3"}, "not supported"),
        ({"data_offsets": [8, 32]}, "overlap"),
        ({"shape": None}, "malformed"),
        ({"shape": [2**62, 2**62]}, "its shape"),
    ],
)
def test_lying_header(file: Path, entry: dict, complaint: str) -> None:
    header, data = header_of(file)
    rewrite(file, {**header, "a": {**header["a"], **entry}}, data)
    with pytest.raises(WeightsError, match=complaint):
        load_weights(file.parent)


@pytest.mark.parametrize("header", [b"not json", b"[]", b'{"a": 3}', b"[" * 200_000])
def test_header_of_another_kind(file: Path, header: bytes) -> None:
    rewrite(file, header, b"")
    with pytest.raises(WeightsError):
        load_weights(file.parent)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.integers(0, 200), value=st.integers(0, 255), cut=st.integers(0, 60))
def test_fuzzed_bytes_never_crash(tmp_path: Path, position: int, value: int, cut: int) -> None:
    """One byte changed and the end cut off: either it loads, or it is one clear sentence."""
    file = tmp_path / "model.safetensors"
    write_tensors(file, VALUES, "F32")
    raw = bytearray(file.read_bytes())
    raw[min(position, len(raw) - 1)] = value
    file.write_bytes(bytes(raw[: len(raw) - cut]))
    try:
        weights = load_weights(tmp_path)
        for name in weights.names():
            weights.matrix(name, weights.stored(name).data.shape)
    except SeatrialError as problem:
        assert problem.message.count("\n") == 0


def test_index_must_stay_in_its_folder(tmp_path: Path) -> None:
    index = {"weight_map": {"a": "../../etc/passwd"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(WeightsError, match="outside its folder"):
        load_weights(tmp_path)


def test_missing_shard(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "gone.safetensors"}}))
    with pytest.raises(WeightsError, match=r"gone\.safetensors cannot be opened"):
        load_weights(tmp_path)


def test_the_same_tensor_in_two_files(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_tensors(tmp_path / f"{name}.safetensors", VALUES, "F32")
    with pytest.raises(WeightsError, match="is also in"):
        load_weights(tmp_path)


def test_no_weights(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no \*.safetensors"):
        load_weights(tmp_path)


def test_damage_inside_a_whole_checkpoint(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(checkpoints["odd"], tmp_path / "copy")
    header, data = header_of(folder / "model.safetensors")
    del header["model.text_model.norm.weight"]
    rewrite(folder / "model.safetensors", header, data)
    with pytest.raises(ModelError, match=r"model\.text_model\.norm\.weight is missing"):
        load_model(folder, "f32")
