"""Limits that hold for each process, where control groups do not hold for all together."""

from __future__ import annotations

import resource

from seatrial.agents.policy import Limits


def bounds_of(limits: Limits, grouped: bool) -> tuple[tuple[int, int], ...]:
    """Return (resource, most) for a process that joins a sandbox; `grouped`: a control group limits memory and count.

    None may be above what this process has itself: an ordinary user cannot raise a limit.
    """
    wanted = [(resource.RLIMIT_NOFILE, limits.open_files), (resource.RLIMIT_FSIZE, limits.disk)]
    if not grouped:
        wanted += [(resource.RLIMIT_AS, limits.memory), (resource.RLIMIT_NPROC, limits.pids)]
    return tuple((kind, _allowed(kind, most)) for kind, most in wanted if most)


def _allowed(kind: int, most: int) -> int:
    hard = resource.getrlimit(kind)[1]
    return most if hard == resource.RLIM_INFINITY else min(most, hard)
