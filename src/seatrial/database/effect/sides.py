"""Two texts side by side: which lines belong together, and which words in them differ."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import zip_longest

_MOST_LINES = 300
_LONGEST_LINE = 600
_MOST_COMPARED = 2_500
_WORD = re.compile(r"\w+|\s+|.", re.DOTALL)


@dataclass(frozen=True)
class Piece:
    """Part of a line, and whether it differs from the other side."""

    text: str
    is_changed: bool


@dataclass(frozen=True)
class Pair:
    """One line on each side; None where that side has no such line."""

    before: tuple[Piece, ...] | None
    after: tuple[Piece, ...] | None

    @property
    def is_changed(self) -> bool:
        """Whether the sides differ."""
        sides = (self.before, self.after)
        return None in sides or any(piece.is_changed for side in sides for piece in side or ())


def side_by_side(before: str, after: str) -> tuple[Pair, ...]:
    """Return the lines of two texts in pairs, at most 300 and one that says how many are left out.

    Lines of more than 600 characters are marked as a whole.
    """
    ours, theirs = before.splitlines(), after.splitlines()
    longest = max(len(ours), len(theirs))
    if longest > _MOST_LINES:
        more = f"… {longest - _MOST_LINES} more lines"
        is_changed = ours[_MOST_LINES:] != theirs[_MOST_LINES:]
        left_out = Pair((Piece(more, is_changed),), (Piece(more, is_changed),))
        return (*_pairs(ours[:_MOST_LINES], theirs[:_MOST_LINES]), left_out)
    return tuple(_pairs(ours, theirs))


def _pairs(ours: Sequence[str], theirs: Sequence[str]) -> Iterator[Pair]:
    for tag, i1, i2, j1, j2 in SequenceMatcher(None, ours, theirs, autojunk=False).get_opcodes():
        for mine, other in _aligned(ours[i1:i2], theirs[j1:j2]):
            if tag == "equal" and mine is not None and other is not None:
                yield Pair((Piece(mine, False),), (Piece(other, False),))
            elif mine is None or other is None:
                yield Pair(
                    None if mine is None else (Piece(mine, True),), None if other is None else (Piece(other, True),)
                )
            else:
                yield _words(mine, other)


def _aligned(ours: Sequence[str], theirs: Sequence[str]) -> Iterator[tuple[str | None, str | None]]:
    """Pair the lines of two passages in their order, so that the pairs are as alike as can be."""
    if len(ours) == len(theirs) or not ours or not theirs or len(ours) * len(theirs) > _MOST_COMPARED:
        yield from zip_longest(ours, theirs)
        return
    few, many = sorted((ours, theirs), key=len)
    # best[i][j]: how alike the lines from few[i] and many[j] on can be paired.
    best = [[0.0] * (len(many) + 1) for _ in range(len(few) + 1)]
    alike = [[_likeness(one, other) for other in many] for one in few]
    for i in reversed(range(len(few))):
        best[i][len(many)] = float("-inf")
        for j in reversed(range(len(many))):
            best[i][j] = max(best[i][j + 1], alike[i][j] + best[i + 1][j + 1])
    i = 0
    for j, other in enumerate(many):
        is_paired = i < len(few) and best[i][j] != best[i][j + 1]
        one = few[i] if is_paired else None
        i += is_paired
        yield (one, other) if few is ours else (other, one)


def _likeness(one: str, other: str) -> float:
    ours, theirs = set(_WORD.findall(one)), set(_WORD.findall(other))
    return len(ours & theirs) / max(1, len(ours | theirs))


def _words(mine: str, other: str) -> Pair:
    if max(len(mine), len(other)) > _LONGEST_LINE:
        return Pair((Piece(mine, True),), (Piece(other, True),))
    ours, theirs = _WORD.findall(mine), _WORD.findall(other)
    before, after = [], []
    for tag, i1, i2, j1, j2 in SequenceMatcher(None, ours, theirs, autojunk=False).get_opcodes():
        if i2 > i1:
            before.append(Piece("".join(ours[i1:i2]), tag != "equal"))
        if j2 > j1:
            after.append(Piece("".join(theirs[j1:j2]), tag != "equal"))
    return Pair(tuple(before), tuple(after))
