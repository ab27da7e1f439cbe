"""From a safetensors folder to a pair of GGUF files, and back."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from seatrial import paths
from seatrial.errors import SettingError, WeightsError
from seatrial.vision.config import ModelConfig, load_config
from seatrial.vision.files import ModelFiles, open_files
from seatrial.vision.gguf import writing
from seatrial.vision.gguf.blocks import TYPES, encode
from seatrial.vision.gguf.container import write_gguf
from seatrial.vision.gguf.pair import GgufPair
from seatrial.vision.ops.bfloat16 import as_f32
from seatrial.vision.weights import Weights

NumberType = Literal["auto", "f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "q5_0", "q5_1"]
NUMBER_TYPES: tuple[NumberType, ...] = get_args(NumberType)
_PLAIN = ("F32", "F16", "BF16")
_NAMES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
_JSON_FILES = (
    "config.json",
    "generation_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer_config.json",
    "tokenizer.json",
)
_TEMPLATE = "chat_template.jinja"

Progress = Callable[[int, int], None]
"""Called with (tensors done, tensors in all)."""


@dataclass(frozen=True)
class Conversion:
    """What was written: `form` is "gguf" or "safetensors", `type` the one most tensors got, `bytes` of all files."""

    source: str
    target: str
    form: str
    type: str
    files: list[str]
    tensors: int
    bytes: int

    def as_dict(self) -> dict[str, Any]:
        """Return the facts ready for JSON."""
        return asdict(self)


def convert(
    source: Path,
    target: Path,
    number_type: str = "auto",
    *,
    mmproj: Path | None = None,
    progress: Progress = lambda _done, _total: None,
) -> Conversion:
    """Write the safetensors folder `source` as a pair of GGUF files into the folder `target`, or a pair as a folder.

    `number_type` "auto" keeps every number as it is: the type that most of the model has, and float32 where
    that cannot hold it.  `target` appears whole or not at all.  Raises ModelError and its children for a
    damaged source, SettingError for an unknown type, StorageError when `target` is in use or cannot be written.
    """
    if number_type not in NUMBER_TYPES:
        raise SettingError(f"Unknown type {number_type!r}.", hint=f"Known: {', '.join(NUMBER_TYPES)}.")
    files = open_files(source, mmproj)
    config, weights = load_config(files), files.weights()
    chosen = _lossless_type(weights) if number_type == "auto" else number_type.upper()
    from_gguf = isinstance(files, GgufPair)
    if from_gguf and chosen not in _PLAIN:
        raise SettingError(f"Safetensors cannot hold {number_type}.", hint=f"Types: auto, {', '.join(_PLAIN).lower()}.")
    total = sum(1 for name in weights.names() if not name.endswith("_scale"))
    done = 0

    def written() -> None:
        nonlocal done
        done += 1
        progress(done, total)

    with paths.atomic_folder(target) as folder:
        if from_gguf:
            _write_folder(folder, files, config, weights, chosen, number_type == "auto", written)
        else:
            _write_pair(folder, source.resolve().name, files, config, weights, chosen, written)
        sizes = {file.name: file.stat().st_size for file in sorted(folder.iterdir())}
    return Conversion(
        source=str(source),
        target=str(target),
        form="safetensors" if from_gguf else "gguf",
        type=chosen.lower(),
        files=list(sizes),
        tensors=done,
        bytes=sum(sizes.values()),
    )


def _lossless_type(weights: Weights) -> str:
    """Return the plain type that most bytes have; float32 where blocks or int8 would have to be rounded."""
    sizes: dict[str, int] = {}
    for name in weights.names():
        tensor = weights.stored(name)
        sizes[tensor.dtype] = sizes.get(tensor.dtype, 0) + tensor.data.nbytes
    most = max(sizes, key=lambda dtype: sizes[dtype], default="F32")
    return most if most in _PLAIN else "F32"


def _write_pair(
    folder: Path,
    name: str,
    files: ModelFiles,
    config: ModelConfig,
    weights: Weights,
    chosen: str,
    written: Callable[[], None],
) -> None:
    kind = TYPES[chosen]
    vision_kind = TYPES[chosen if chosen in _PLAIN else "Q8_0"]
    text = writing.text_metadata(files, config, kind, name)
    vision = writing.vision_metadata(files, config, vision_kind, name)
    parts = (("", text, kind), ("mmproj-", vision, vision_kind))
    for prefix, metadata, part_kind in parts:
        tensors = writing.planned(weights, config, part_kind, vision=bool(prefix))
        with (folder / f"{prefix}{name}-{chosen}.gguf").open("wb") as stream:
            write_gguf(stream, metadata, tensors, written)


def _write_folder(
    folder: Path,
    files: ModelFiles,
    config: ModelConfig,
    weights: Weights,
    chosen: str,
    exactly: bool,
    written: Callable[[], None],
) -> None:
    contents = {name: files.json(name) for name in _JSON_FILES}
    contents["config.json"] = {**contents["config.json"], "dtype": _NAMES[chosen]}
    contents["config.json"].pop("torch_dtype", None)
    for name, content in contents.items():
        (folder / name).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if config.chat_template:
        (folder / _TEMPLATE).write_text(config.chat_template, encoding="utf-8")
    with (folder / "model.safetensors").open("wb") as stream:
        _write_safetensors(stream, weights, chosen, exactly, written)


def _write_safetensors(
    stream: BinaryIO, weights: Weights, chosen: str, exactly: bool, written: Callable[[], None]
) -> None:
    types = dict(_types(weights, chosen, exactly))
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, dtype in types.items():
        shape = weights.stored(name).shape
        end = offset + math.prod(shape) * TYPES[dtype].bytes
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    stream.write(len(text).to_bytes(8, "little") + text)
    for name, dtype in types.items():
        stream.write(np.ascontiguousarray(_encoded(weights, name, dtype)).data)
        written()


def _types(weights: Weights, chosen: str, exactly: bool) -> Iterator[tuple[str, str]]:
    """Yield the type of each tensor: `chosen`, or float32 where that would change a number and may not."""
    for name in weights.names():
        kept = weights.stored(name).dtype
        if exactly and kept != chosen and not _holds(chosen, weights.stored(name).values()):
            yield name, "F32"
        else:
            yield name, chosen


def _holds(dtype: str, x: NDArray[Any]) -> bool:
    return bool(np.array_equal(as_f32(encode(TYPES[dtype], x)), as_f32(x)))


def _encoded(weights: Weights, name: str, dtype: str) -> NDArray[Any]:
    encoded = encode(TYPES[dtype], weights.matrix(name, weights.stored(name).shape))
    if dtype == "F16" and not np.isfinite(encoded).all():
        raise WeightsError(f"Tensor {name} has numbers that f16 cannot hold.", hint="Use --type bf16 or f32.")
    return encoded
