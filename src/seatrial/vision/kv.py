"""Keys and values of one sequence, for every layer of the text tower."""

from __future__ import annotations

import numpy as np

from seatrial.vision.config import TextConfig
from seatrial.vision.ops.protocol import Array


class KvCache:
    """Room for `capacity` positions; `length` are filled.

    Arrays [layers, G, capacity, D] float32: what one head reads lies in one piece.
    """

    def __init__(self, config: TextConfig, capacity: int) -> None:
        shape = (config.layers, config.kv_heads, capacity, config.head_dim)
        self._keys = np.empty(shape, np.float32)
        self._values = np.empty(shape, np.float32)
        self.length = 0

    def extend(self, layer: int, keys: Array, values: Array) -> tuple[Array, Array]:
        """Write `keys`, `values` [S, G, D] of `layer` behind the filled part; return all of that layer's [T, G, D].

        The filled part grows only by `advance`, once every layer has been written.
        """
        start, end = self.length, self.length + len(keys)
        self._keys[layer, :, start:end] = keys.transpose(1, 0, 2)
        self._values[layer, :, start:end] = values.transpose(1, 0, 2)
        return self._keys[layer, :, :end].transpose(1, 0, 2), self._values[layer, :, :end].transpose(1, 0, 2)

    def advance(self, positions: int) -> None:
        """Count `positions` more as filled."""
        self.length += positions

    def copy_from(self, other: KvCache, positions: int) -> None:
        """Fill the empty cache with the first `positions` of `other`."""
        self._keys[:, :, :positions] = other._keys[:, :, :positions]
        self._values[:, :, :positions] = other._values[:, :, :positions]
        self.length = positions

    @property
    def nbytes(self) -> int:
        """Bytes reserved."""
        return self._keys.nbytes + self._values.nbytes
