"""Histories of sessions made from a seed, in which what has changed is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from seatrial.canary.features import Features

DAY = 86400.0
MONDAY = 20_000 * DAY


def history(
    sessions: int,
    seed: int = 0,
    *,
    change: float = 1.0,
    at: int | None = None,
    projects: int = 2,
    spread: float = 0.6,
    per_day: int = 3,
) -> list[Features]:
    """Return sessions in time order; from number `at` on, reads per edit are `change` times as many."""
    random = np.random.default_rng(seed)
    made = []
    for number in range(sessions):
        project = int(random.integers(projects))
        rate = (1.0 + project) * np.exp(random.normal(0, spread))
        rate *= change if at is not None and number >= at else 1.0
        edits = int(random.integers(5, 40))
        results = edits * 3
        start = MONDAY + (number // per_day) * DAY + (number % per_day) * 3600 + 9 * 3600
        made.append(
            Features(
                agent="claude_code",
                session=f"{number:05d}",
                place="ann",
                project=f"project-{project}",
                start=start,
                end=start + 1800,
                prompts=4,
                labels={"model": "one", "version": "1"},
                cells={
                    "implement": {
                        "reads_per_edit": (float(random.poisson(rate * edits)), float(edits)),
                        "errors": (float(random.binomial(results, random.beta(2, 30))), float(results)),
                        "output_per_prompt": (float(np.exp(random.normal(7, spread)) * 4), 4.0),
                    }
                },
                covariates={"log_prompt_characters": float(random.normal(4, 1))},
            )
        )
    return made


def full_history(sessions: int, seed: int, *, change: float = 1.0, per_day: int = 3) -> list[Features]:
    """Return a history with every metric that is often searched; only reads per edit change, in the middle."""
    random = np.random.default_rng(seed + 10_000)
    made = []
    for session in history(sessions, seed, change=change, at=sessions // 2, per_day=per_day):
        cell = session.cells["implement"]
        edits = cell["reads_per_edit"][1]
        calls = round(edits * 4)
        more = {
            "rewrites": (float(random.binomial(round(edits), random.beta(1, 6))), edits),
            "loops": (float(random.poisson(0.0007 * calls)), float(calls)),
            "calls_per_prompt": (float(np.exp(random.normal(3, 0.5)) * 4), 4.0),
            "corrections": (float(random.binomial(4, random.beta(1, 12))), 4.0),
            "blind_edits": (float(random.binomial(round(edits), random.beta(1, 8))), edits),
            "interrupts": (float(random.poisson(0.1)), 4.0),
            "signature_length": (float(np.exp(random.normal(6, 0.4)) * 9), 9.0),
        }
        made.append(replace(session, calls=calls, cells={"implement": {**cell, **more}}))
    return made


ALL_FIELDS = ("cache", "is_error", "known_tools", "signature", "thinking", "turn_duration", "usage")


def logged(sessions: Sequence[Features], fields: Sequence[str] = ALL_FIELDS) -> list[Features]:
    """Return the sessions as they are when the logs hold every field that metrics depend on."""
    return [replace(session, fields=tuple(fields), calls=max(session.calls, 20), messages=30) for session in sessions]
