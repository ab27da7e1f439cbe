"""One planned comparison: a difference within strata, and its p-value by permutation of sessions within them."""

from __future__ import annotations

import numpy as np

from seatrial.canary.table import Flags, Floats, Integers, stratum_means

ROUNDS = 999


def difference(values: Floats, side: Flags, strata: Integers, rounds: int = ROUNDS) -> tuple[float, float]:
    """Return the mean difference of values [s] between the sides (True less False) within strata, and its p-value.

    (0, 1) when no stratum has sessions on both sides.  The same values give the same p-value.
    """
    left = values - stratum_means(values, strata)
    centred = side.astype(np.float64)
    centred = centred - stratum_means(centred, strata)
    spread = float(centred @ centred)
    if spread <= 1e-12:
        return 0.0, 1.0
    random = np.random.default_rng(0)
    groups = [np.flatnonzero(strata == stratum) for stratum in np.unique(strata)]
    seen, above = float(left @ centred), 0
    for _ in range(rounds):
        drawn = sum(float(random.permutation(left[rows]) @ centred[rows]) for rows in groups)
        above += abs(drawn) >= abs(seen) - 1e-12
    return seen / spread, (above + 1) / (rounds + 1)
