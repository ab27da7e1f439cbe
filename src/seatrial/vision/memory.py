"""What a model needs in memory, and how to fit it into a limit before anything is loaded."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from seatrial.errors import CapacityError, SettingError
from seatrial.vision.config import ModelConfig
from seatrial.vision.kv import pages_for
from seatrial.vision.ops.protocol import PAGE_POSITIONS, KvPrecision, Precision
from seatrial.vision.precision import PRECISIONS, RECIPES

CONTEXTS = 4
"""Prompts of full length whose keys and values there is room for, where memory allows."""

_PROGRAM = 120_000_000
"""Python, libraries, decoded pictures, scratch of kernels; measured 62 MB before and about 120 after a picture."""
_BYTES: dict[Precision, float] = {"f32": 4, "bf16": 2, "int8": 1, "int4": 4.25 / 8}  # of a weight, scales included
_PREFILL_ROWS = 256
_FEATURES = 2**28
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "KI": 2**10, "MI": 2**20, "GI": 2**30}


@dataclass(frozen=True)
class MemoryPlan:
    """How a model is loaded within a limit, and bytes by part."""

    precision: Precision
    kv: KvPrecision
    positions: int
    prefill_rows: int
    features: int
    parts: dict[str, int]

    @property
    def total(self) -> int:
        """Bytes in all."""
        return sum(self.parts.values())

    def __str__(self) -> str:
        parts = ", ".join(f"{name} {size / 1e6:,.0f}" for name, size in self.parts.items())
        keys = ", keys and values int8" if self.kv == "int8" else ""
        return f"{self.precision}{keys}, {self.total / 1e6:,.0f} MB: {parts}"


def parse_bytes(text: str) -> int:
    """Return the bytes meant by `text`: 700MB, 2GiB, 500000000; SettingError for anything else."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([KMG]I?)?B?", text.strip(), re.IGNORECASE | re.ASCII)
    if not match or float(match[1]) == 0:
        raise SettingError(f"{text!r} is no amount of memory.", hint="For example 700MB or 2GiB.")
    return int(float(match[1]) * _UNITS[(match[2] or "").upper()])


def weight_bytes(config: ModelConfig, parameters: dict[str, int], precision: Precision) -> int:
    """Return the bytes of packed weights, and of embeddings as stored (2 bytes each).

    `parameters` counts vision, connector, text, embeddings and lm_head.  Matrices whose columns no group of
    int4 divides take int8.
    """
    recipe = RECIPES[precision]
    head = parameters["embeddings"] if config.tied else parameters["lm_head"]
    text = recipe.text
    if text == "int4" and (config.text.hidden_size % 32 or config.text.intermediate_size % 32):
        text = "int8"
    packed = (
        parameters["vision"] * _BYTES[recipe.tower]
        + parameters["connector"] * _BYTES[recipe.connector]
        + parameters["text"] * _BYTES[text]
        + head * _BYTES[recipe.lm_head]
    )
    return int(packed) + parameters["embeddings"] * 2


def position_bytes(config: ModelConfig, precision: Precision, kv: KvPrecision = "same") -> int:
    """Return the bytes of one position's keys and values."""
    size = 2 if RECIPES[precision].attention == "bf16" else 4
    row = config.text.head_dim + 4 if kv == "int8" else config.text.head_dim * size
    return 2 * config.text.layers * config.text.kv_heads * row


def activation_bytes(config: ModelConfig, rows: int) -> int:
    """Return the bytes of activations of one tile, or of `rows` of the text tower, whichever is more."""
    vision, text = config.vision, config.text
    tile = vision.patches * (6 * vision.hidden_size + vision.intermediate_size) * 4
    width = 6 * text.hidden_size + 3 * text.intermediate_size
    return max(tile, rows * width * 4) + text.vocab_size * 4


def plan_memory(
    config: ModelConfig,
    parameters: dict[str, int],
    limit: int,
    *,
    best: Precision,
    forced: bool,
    positions: int,
    kv: KvPrecision = "same",
) -> MemoryPlan:
    """Fit a model into `limit` bytes; keys and values become int8 before weights get fewer bits.

    `best` is the precision where memory allows it, and the only one when `forced`; `positions` must find room.
    Raises CapacityError, with what is needed at least, when nothing fits.
    """
    order = [best] if forced else list(PRECISIONS[PRECISIONS.index(best) :])
    kinds: list[KvPrecision] = ["same", "int8"] if kv == "same" and best != "f32" else [kv]
    for precision, kind in ((p, k) for p in order for k in kinds):
        fixed = {
            "program": _PROGRAM,
            "weights": weight_bytes(config, parameters, precision),
            "activations": activation_bytes(config, _PREFILL_ROWS),
        }
        page = position_bytes(config, precision, kind) * PAGE_POSITIONS
        left = limit - sum(fixed.values()) - pages_for(positions) * page
        if left < 0:
            continue
        features = min(_FEATURES, left // 4)
        pages = min(pages_for(CONTEXTS * config.text.max_positions), pages_for(positions) + (left - features) // page)
        parts = {**fixed, "keys and values": pages * page, "features": features}
        return MemoryPlan(precision, kind, pages * PAGE_POSITIONS, _PREFILL_ROWS, features, parts)
    needed = sum(fixed.values()) + pages_for(positions) * page
    raise CapacityError(
        f"{needed / 1e6:,.0f} MB are needed at {precision} for {positions:,} positions; {limit / 1e6:,.0f} MB may be"
        " used.",
        hint="Give more memory, ask about fewer pictures (--detail low), or use a smaller model.",
        needed=needed,
        limit=limit,
    )


def available_memory() -> int | None:
    """Return the bytes that this process may still take: of the machine and of its cgroup.  None where unknown."""
    found = []
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                found.append(int(line.split()[1]) * 1024)
    except (OSError, ValueError):
        return None
    for limit, used in _cgroup_files():
        try:
            found.append(int(limit.read_text()) - int(used.read_text()))
        except (OSError, ValueError):  # "max", or no such controller
            continue
    return min(found, default=None)


def _cgroup_files() -> list[tuple[Path, Path]]:
    """Return (limit, used) files of our groups up to the root, version 2 and 1."""
    root = Path("/sys/fs/cgroup")
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    pairs = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        base = root / "memory" if controllers else root
        names = ("memory.limit_in_bytes", "memory.usage_in_bytes") if controllers else ("memory.max", "memory.current")
        folder = base / path.lstrip("/")
        for place in (folder, *folder.parents):
            pairs.append((place / names[0], place / names[1]))
            if place == base:
                break
    return pairs
