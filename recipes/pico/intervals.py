"""How sure a counted share is."""

from __future__ import annotations

import math

_Z = 1.959964


def wilson(right: int, count: int) -> tuple[float, float]:
    """The 95 % Wilson interval of a share."""
    share = right / count
    middle = share + _Z * _Z / (2 * count)
    half = _Z * math.sqrt(share * (1 - share) / count + _Z * _Z / (4 * count * count))
    return (middle - half) / (1 + _Z * _Z / count), (middle + half) / (1 + _Z * _Z / count)
