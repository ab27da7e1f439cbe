"""Guessing the next tokens, so that several are checked in one pass over the weights.

Every token of the answer is still chosen from the model's own scores, in order and with the same random
numbers; a guess only saves a pass when it is what was chosen anyway.  So answers do not change, greedy or
sampled.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

_LONGEST_MATCH = 4
_SHORTEST_MATCH = 2
_FIRST_GUESS = 4
_LONGEST_GUESS = 8
_FIRST_REST = 4
_LONGEST_REST = 64


class Draft(Protocol):
    """Something that guesses."""

    def propose(self, tokens: Sequence[int]) -> list[int]:
        """Return what may come after `tokens`, prompt included; nothing when it does not know."""
        ...

    def judge(self, proposed: int, accepted: int, seconds: float) -> None:
        """Learn how many of the last guess were right, and how long the pass took that checked it."""
        ...

    def close(self) -> None:
        """Give back what it holds."""
        ...


class PromptLookup:
    """Guesses that what followed the last few tokens before will follow again: names, numbers, lists, code.

    It guesses longer while it is right, and rests, longer each time, while it is wrong.
    """

    def __init__(self) -> None:
        self._length = _FIRST_GUESS
        self._rest = 0
        self._next_rest = _FIRST_REST

    def propose(self, tokens: Sequence[int]) -> list[int]:
        """Return up to 8 tokens that followed the latest earlier place with the same 2 to 4 tokens."""
        if self._rest > 0:
            self._rest -= 1
            return []
        for size in range(_LONGEST_MATCH, _SHORTEST_MATCH - 1, -1):
            place = _last_place(tokens, size)
            if place is not None:
                return list(tokens[place : place + self._length])
        return []

    def judge(self, proposed: int, accepted: int, seconds: float) -> None:
        """Double the next guess when all was right; rest when nothing was."""
        if accepted == proposed:
            self._length = min(2 * self._length, _LONGEST_GUESS)
            self._next_rest = _FIRST_REST
        elif accepted == 0:
            self._length = _FIRST_GUESS
            self._rest = self._next_rest
            self._next_rest = min(2 * self._next_rest, _LONGEST_REST)

    def close(self) -> None:
        """Nothing is held."""


def _last_place(tokens: Sequence[int], size: int) -> int | None:
    """Return where the latest earlier occurrence of the last `size` tokens ends."""
    if len(tokens) <= size:
        return None
    wanted = list(tokens[-size:])
    for end in range(len(tokens) - 1, size - 1, -1):
        if tokens[end - 1] == wanted[-1] and list(tokens[end - size : end]) == wanted:
            return end
    return None
