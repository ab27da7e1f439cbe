"""Phases that a client could draw out on purpose: only so many at once, and whoever is slow makes room for others.

A client that says nothing holds a file of the service; one that does not answer the question for its password holds one
of the server's places, which everybody may take without a password.  Neither may lock the others out.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

_POLL_SECONDS = 0.02


class Turnstile:
    """Lets `most` clients at once into a phase; one that is in it for longer than `seconds` may be thrown out."""

    def __init__(self, most: int, seconds: float) -> None:
        self._most, self._seconds = most, seconds
        self._since: dict[asyncio.Task[Any], float] = {}

    async def enter(self, task: asyncio.Task[Any]) -> None:
        """Let the client of `task` in: at once where there is room, else in the place of one that is slow."""
        while len(self._since) >= self._most and not self._made_room():
            await asyncio.sleep(_POLL_SECONDS)
        self._since[task] = time.monotonic()

    def enter_anyway(self, task: asyncio.Task[Any]) -> None:
        """Let the client of `task` in at once, also where there is no room yet."""
        while len(self._since) >= self._most and self._made_room():
            pass
        self._since[task] = time.monotonic()

    def leave(self, task: asyncio.Task[Any]) -> None:
        """Note that the client of `task` has come through, or is gone."""
        self._since.pop(task, None)

    def _made_room(self) -> bool:
        oldest, since = next(iter(self._since.items()))
        if time.monotonic() - since < self._seconds:
            return False
        del self._since[oldest]
        oldest.cancel()
        return True
