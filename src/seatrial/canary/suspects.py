"""What else changed when a metric did: the model, the program's version, its effort, the person's prompts."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass

import numpy as np

from seatrial.canary.boundary import LABELS, Boundary
from seatrial.canary.contrast import difference
from seatrial.canary.effect import Location
from seatrial.canary.features import MIXED
from seatrial.canary.table import Flags, Floats, Integers, Table, stratum_means

_NEAR = 30
_FEWEST = 5
_MOVED = 0.5


@dataclass(frozen=True)
class Suspects:
    """What changed at a boundary.

    `moved` says of each label whether most sessions carry another value after than before; `sides` [s] has 1 where a
    session's value belongs to the time after, 0 to that before, NaN where it is mixed or unknown; `control` is
    the change of the logarithm of the prompts' length, with its p-value.
    """

    moved: dict[str, bool]
    is_known: dict[str, bool]
    shown: dict[str, str]
    sides: dict[str, Floats]
    control: tuple[float, float]
    boundary: Boundary

    def precedents(self, table: Table, scores: Floats, known: Flags) -> tuple[int, float, float]:
        """Return how many changes of version happened under one model, the largest difference of mean scores [s] at
        one of them (its standard error taken off), and the difference at the boundary itself."""
        known = known & self.boundary.rows
        here = _difference(scores, table.strata, known, self.boundary.after)[0]
        steps, largest = 0, 0.0
        for is_after in (False, True):
            side = known & (self.boundary.after == is_after)
            for rows, after in _version_steps(table, side):
                found, error = _difference(scores, table.strata, rows, after)
                steps += 1
                largest = max(largest, abs(found) - error)
        return steps, largest, here


def suspects_at(table: Table, column: int, boundary: Boundary, location: Location) -> Suspects:
    """Return what changed at a boundary; around a date, the nearest sessions on both sides are compared."""
    usable = boundary.rows & (table.exposures[:, column] > 0)
    if boundary.label:
        before, after = np.flatnonzero(usable & ~boundary.after), np.flatnonzero(usable & boundary.after)
    else:
        before = np.flatnonzero(usable & (table.days <= location.earliest))[-_NEAR:]
        after = np.flatnonzero(usable & (table.days >= max(location.latest, location.day)))[:_NEAR]
    moved, known, shown, sides = {}, {}, {}, {}
    for name in LABELS:
        labels = table.labels(name)
        old = Counter(labels[row] for row in before if labels[row] not in ("", MIXED))
        new = Counter(labels[row] for row in after if labels[row] not in ("", MIXED))
        known[name] = min(old.total(), new.total()) >= _FEWEST
        moved[name] = known[name] and _distance(old, new) >= _MOVED
        shown[name] = f"{old.most_common(1)[0][0]} → {new.most_common(1)[0][0]}" if moved[name] else ""
        sides[name] = _sides(labels, boundary)
    return Suspects(moved, known, shown, sides, _control(table, boundary), boundary)


def _distance(old: Counter[str], new: Counter[str]) -> float:
    """Return the total variation distance of two distributions."""
    return 0.5 * sum(abs(old[v] / old.total() - new[v] / new.total()) for v in {*old, *new})


def _sides(labels: list[str], boundary: Boundary) -> Floats:
    share: dict[str, list[bool]] = {}
    for label, is_compared, is_late in zip(labels, boundary.rows, boundary.after, strict=True):
        if is_compared:
            share.setdefault(label, []).append(bool(is_late))
    side = {label: float(sum(values) * 2 > len(values)) for label, values in share.items()}
    return np.array([np.nan if label in ("", MIXED) else side.get(label, np.nan) for label in labels])


def _control(table: Table, boundary: Boundary) -> tuple[float, float]:
    """Return the change within strata of the logarithm of the prompts' length, and its permutation p-value."""
    rows = boundary.rows
    given = [session.covariates.get("log_prompt_characters", 0.0) for session in table.sessions]
    return difference(np.array(given)[rows], boundary.after[rows], table.strata[rows])


def _difference(scores: Floats, strata: Integers, rows: Flags, after: Flags) -> tuple[float, float]:
    """Return the difference of the mean scores [s] of two sides, centred within strata, and its standard error."""
    if not (rows & after).any() or not (rows & ~after).any():
        return 0.0, 0.0
    values = scores - stratum_means(scores, strata, rows)
    one, other = values[rows & after], values[rows & ~after]
    error = float(np.sqrt(values[rows].var() * (1 / len(one) + 1 / len(other))))
    return float(one.mean() - other.mean()), error


def _version_steps(table: Table, side: Flags) -> list[tuple[Flags, Flags]]:
    """Return sessions with neighbouring versions under one model, and which of them have the later one."""
    versions = np.array(table.labels("version"))
    models = np.array(table.labels("model"))
    found = []
    for model in sorted(set(models[side]) - {"", MIXED}):
        first: dict[str, int] = {}
        for row in np.flatnonzero(side & (models == model)):
            first.setdefault(str(versions[row]), int(row))
        ordered = [version for version in first if version not in ("", MIXED)]
        rows = [np.asarray(side & (models == model) & (versions == version)) for version in ordered]
        often = [entry for entry in rows if entry.sum() >= _FEWEST]
        found += [(old | new, new) for old, new in itertools.pairwise(often)]
    return found
