"""What a model is made of and what it needs, without loading it; and which operations would run it."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from seatrial.vision import ops
from seatrial.vision.config import ModelConfig, load_config
from seatrial.vision.files import open_files
from seatrial.vision.ops.protocol import Precision
from seatrial.vision.precision import RECIPES, Recipe

_BYTES: dict[Precision, float] = {"f32": 4, "bf16": 2, "int8": 1, "int4": 4.25 / 8}  # of a weight, scales included
_TYPICAL_POSITIONS = 2048


@dataclass(frozen=True)
class ModelSummary:
    """Parameters by part, bytes on disk, and memory needed (bytes) at each precision.

    `memory` counts packed weights, embeddings as stored, key/value cache for 2,048 positions and one
    tile's activations; `tensors` is how many the files hold.
    """

    folder: str
    config: dict[str, Any]
    parameters: dict[str, int]
    tensors: int
    bytes_on_disk: int
    memory: dict[str, int]

    def as_dict(self) -> dict[str, Any]:
        """Return the summary ready for JSON."""
        return asdict(self)


def summarise(source: Path, *, mmproj: Path | None = None) -> ModelSummary:
    """Describe a checkpoint (folder or GGUF file) from its headers; ModelError if it is damaged."""
    model = open_files(source, mmproj)
    config = load_config(model)
    weights = model.weights()
    parts = {"vision": 0, "connector": 0, "text": 0, "embeddings": 0, "lm_head": 0}
    count = 0
    files: set[Path] = set()
    for name in weights.names():
        if name.endswith("_scale"):
            continue
        count += 1
        tensor = weights.stored(name)
        parts[_part_of(name)] += math.prod(tensor.shape)
        files.add(tensor.file)
    described = asdict(config)
    described.pop("chat_template")
    return ModelSummary(
        folder=str(source),
        config=described,
        parameters={**parts, "total": sum(parts.values())},
        tensors=count,
        bytes_on_disk=sum(file.stat().st_size for file in files),
        memory={precision: _memory(config, parts, recipe) for precision, recipe in RECIPES.items()},
    )


def describe_operations() -> dict[str, Any]:
    """Return which implementation of the operations runs here, and why not a faster one."""
    return ops.describe()


def _part_of(name: str) -> str:
    if name.startswith("lm_head"):
        return "lm_head"
    if "embed_tokens" in name:
        return "embeddings"
    if name.startswith("model.connector"):
        return "connector"
    return "vision" if name.startswith("model.vision_model") else "text"


def _memory(config: ModelConfig, parts: dict[str, int], recipe: Recipe) -> int:
    """Packed weights by the recipe, embeddings as stored (2 bytes each), cache and activations in float32."""
    head = parts["embeddings"] if config.tied else parts["lm_head"]
    packed = (
        parts["vision"] * _BYTES[recipe.tower]
        + parts["connector"] * _BYTES[recipe.connector]
        + parts["text"] * _BYTES[recipe.text]
        + head * _BYTES[recipe.lm_head]
    )
    text, vision = config.text, config.vision
    cache = 2 * text.layers * text.kv_heads * text.head_dim * _TYPICAL_POSITIONS * 4
    activations = vision.patches * (5 * vision.hidden_size + vision.intermediate_size) * 4
    return int(packed) + parts["embeddings"] * 2 + cache + activations
