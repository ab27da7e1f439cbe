"""Selection of the operations (being written)."""

from __future__ import annotations

from typing import Any

from seatrial.vision.ops.protocol import Ops
from seatrial.vision.ops.reference import ReferenceOps


def select(name: str | None = None) -> Ops:
    """Return the operations."""
    return ReferenceOps()


def describe() -> dict[str, Any]:
    """Describe."""
    return {}
