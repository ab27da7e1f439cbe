"""What each part of a model is computed in, for each precision that can be asked for: one table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from seatrial.errors import SettingError
from seatrial.vision.ops.protocol import AttentionPrecision, Ops, Precision

PRECISIONS: tuple[Precision, ...] = get_args(Precision)
CHOICES = ("auto", *PRECISIONS)
_FAST_BF16 = ("amx", "avx512")


@dataclass(frozen=True)
class Recipe:
    """Precisions by part; `tower` and `text` are the linears of their layers, `attention` is in both."""

    patch: Precision
    tower: Precision
    connector: Precision
    text: Precision
    lm_head: Precision
    attention: AttentionPrecision


RECIPES: dict[Precision, Recipe] = {
    "f32": Recipe("f32", "f32", "f32", "f32", "f32", "f32"),
    "bf16": Recipe("bf16", "bf16", "bf16", "bf16", "bf16", "bf16"),
    # The patch embedding and the connector see raw pixels and joined patches, each once a tile.
    "int8": Recipe("bf16", "int8", "bf16", "int8", "int8", "bf16"),
    # Four bits pay where weights come from memory for every token; the tower is bound by arithmetic, and the
    # head chooses the token.
    "int4": Recipe("bf16", "int8", "bf16", "int4", "int8", "bf16"),
}


def resolve_precision(precision: str, ops: Ops) -> Precision:
    """Return the precision meant by `precision` on these operations; SettingError if it is unknown."""
    if precision == "auto":
        return "bf16" if ops.instruction_set in _FAST_BF16 else "f32"
    for known in PRECISIONS:
        if precision == known:
            return known
    raise SettingError(f"Unknown precision {precision!r}.", hint=f"Known: {', '.join(CHOICES)}.")
