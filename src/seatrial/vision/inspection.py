"""What a model is made of and what it needs, without loading it; and which operations would run it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

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


@dataclass(frozen=True)
class Speed:
    """What the operations reach here: billions of steps a second multiplying in `bf16` and `int8` (a multiply and
    an add are two), and bytes read from memory a second, in billions."""

    bf16: float
    int8: float
    memory: float


def measure_speed(seconds: float = 0.1) -> Speed:
    """Measure for about three times `seconds`, with the largest matrix of the 256M picture tower; best of calls."""
    here = ops.select()
    x = np.ones((1024, 768), np.float32)
    weight = np.ones((3072, 768), np.float32)
    flops = 2 * x.size * len(weight)
    rates = []
    for precision in ("bf16", "int8"):
        packed = here.pack(weight, None, precision)
        rates.append(flops / _best(lambda: here.linear(x, packed), seconds) / 1e9)  # noqa: B023
    data = np.ones(2**28 if here.keeps_packed else 2**25, np.uint8)  # beyond the caches
    read = here.checksum if here.keeps_packed else np.sum
    return Speed(rates[0], rates[1], data.nbytes / _best(lambda: read(data), seconds) / 1e9)


def _best(call: Callable[[], object], seconds: float) -> float:
    call()
    shortest, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        began = time.perf_counter()
        call()
        shortest = min(shortest, time.perf_counter() - began)
    return shortest


def _part_of(name: str) -> str:
    if name.startswith("lm_head"):
        return "lm_head"
    if "embed_tokens" in name:
        return "embeddings"
    if name.startswith("model.connector"):
        return "connector"
    return "vision" if name.startswith("model.vision_model") else "text"
