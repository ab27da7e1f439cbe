"""What a model is made of and what it needs, without loading it; and which operations would run it."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from seatrial.vision import ops
from seatrial.vision.config import ModelConfig, load_config
from seatrial.vision.files import open_files
from seatrial.vision.memory import activation_bytes, position_bytes, weight_bytes
from seatrial.vision.ops.protocol import Precision
from seatrial.vision.precision import PRECISIONS
from seatrial.vision.weights import Weights

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
    parts = count_parameters(weights)
    names = [name for name in weights.names() if not name.endswith("_scale")]
    files = {weights.stored(name).file for name in names}
    described = asdict(config)
    described.pop("chat_template")
    return ModelSummary(
        folder=str(source),
        config=described,
        parameters={**parts, "total": sum(parts.values())},
        tensors=len(names),
        bytes_on_disk=sum(file.stat().st_size for file in files),
        memory={precision: _typical_memory(config, parts, precision) for precision in PRECISIONS},
    )


def count_parameters(weights: Weights) -> dict[str, int]:
    """Return how many numbers each part has: vision, connector, text, embeddings, lm_head."""
    parts = {"vision": 0, "connector": 0, "text": 0, "embeddings": 0, "lm_head": 0}
    for name in weights.names():
        if not name.endswith("_scale"):
            parts[_part_of(name)] += math.prod(weights.stored(name).shape)
    return parts


def _typical_memory(config: ModelConfig, parts: dict[str, int], precision: Precision) -> int:
    cache = position_bytes(config, precision) * _TYPICAL_POSITIONS
    return weight_bytes(config, parts, precision) + cache + activation_bytes(config, _TYPICAL_POSITIONS)


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
