"""Histories of sessions made from a seed, in which what has changed is known."""

from __future__ import annotations

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
