"""Histories in which it is known what has changed: real sessions, shuffled, and then changed in one way.

A shuffle moves what the agent did (counts, what was asked) against when it was and which model and version it was,
among the sessions of one person: whatever was there before, nothing depends on date or label afterwards.
"""

from __future__ import annotations

import tarfile
import tempfile
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np

from seatrial.canary import discovery
from seatrial.canary.features import Features
from seatrial.canary.history import History
from seatrial.canary.ingest import ingest

SAMPLE = Path(__file__).parents[2] / "shared" / "data" / "canary" / "claude_code.tar.xz"
DAY = 86400.0
READS = ("reads_per_edit", "research_per_change")
Random = np.random.Generator


def real_sessions(logs: Path | None = None) -> list[Features]:
    """Return the features of real logs: of a folder or an archive, by default of the sample beside the repository."""
    with tempfile.TemporaryDirectory() as folder:
        source = logs or SAMPLE
        if logs is None:
            with tarfile.open(SAMPLE) as archive:
                archive.extractall(folder, filter="data")
            source = Path(folder) / "claude_code"
        with History.open(Path(folder) / "history.db") as history:
            ingest(history, discovery.under(source))
            return [session for session in history.sessions() if not session.excluded]


def shuffled(sessions: Sequence[Features], random: Random) -> list[Features]:
    """Return sessions whose dates and labels are dealt out anew within each person."""
    made: list[Features] = []
    for place in sorted({session.place for session in sessions}):
        own = [session for session in sessions if session.place == place]
        for session, other in zip(own, random.permutation(len(own)), strict=True):
            when = own[int(other)]
            moved = replace(session, start=when.start, end=when.end, labels=dict(when.labels), fields=session.fields)
            made.append(replace(moved, cells=deepcopy(session.cells), covariates=dict(session.covariates)))
    return sorted(made, key=lambda session: session.start)


def drawn(sessions: Sequence[Features], count: int, random: Random, a_day: float = 3.6) -> list[Features]:
    """Return `count` sessions drawn anew, with the same labels, about `a_day` each day, for as long as it takes."""
    made = []
    chosen = random.integers(len(sessions), size=count)
    starts = np.sort(random.uniform(0, count / a_day, size=count))
    for number, (index, start) in enumerate(zip(chosen, starts, strict=True)):
        session = sessions[int(index)]
        at = 1_760_000_000.0 + float(start) * DAY
        labels = {**session.labels, "model": "model-1", "version": "1.0", "effort": ""}
        made.append(
            replace(
                session, session=f"{number:06d}", start=at, end=at + 1800, labels=labels,
                cells=deepcopy(session.cells), covariates=dict(session.covariates),
            )
        )  # fmt: skip
    return made


def thinned(session: Features, metrics: Sequence[str], keep: float, random: Random) -> None:
    """Keep each counted event of some metrics with a probability, in place; sizes are multiplied."""
    for cell in session.cells.values():
        for name in metrics:
            if name in cell:
                y, exposure = cell[name]
                whole = y == int(y) and name not in ("output_per_prompt", "text_per_tool_call", "signature_length")
                cell[name] = (float(random.binomial(int(y), keep)) if whole else y * keep, exposure)


def planted(sessions: Sequence[Features], drop: float, random: Random, metrics: Sequence[str] = READS) -> None:
    """Drop a share of the events in the later half, in place."""
    for session in sessions[len(sessions) // 2 :]:
        thinned(session, metrics, 1 - drop, random)


_SPREADS = {READS: 0.4, ("errors",): 0.46, ("text_per_tool_call",): 0.2, ("calls_per_prompt",): 0.36}
"""Of a day's effect; as large as the chance part of a day's mean (a session's own spread over the root of 3.6)."""


def resembling_days(sessions: Sequence[Features], random: Random, memory: float = 0.6) -> None:
    """Give each day an effect that remembers the day before: means of days are correlated by about 0.3."""
    days = sorted({int(session.start // DAY) for session in sessions})
    for metrics, spread in _SPREADS.items():
        effect, of_day = float(random.normal(0, spread)), {}
        for day in days:
            of_day[day] = effect
            effect = memory * effect + float(random.normal(0, spread * np.sqrt(1 - memory**2)))
        highest = max(of_day.values())
        for session in sessions:
            thinned(session, metrics, float(np.exp(of_day[int(session.start // DAY)] - highest)), random)


def project_switch(sessions: Sequence[Features], random: Random) -> None:
    """Move most work to another project half-way, in which half as much is read."""
    for number, session in enumerate(sessions):
        is_new = random.random() < (0.9 if number >= len(sessions) // 2 else 0.1)
        session.project = "second" if is_new else "first"
        if is_new:
            thinned(session, READS, 0.5, random)


def prompt_drift(sessions: Sequence[Features], random: Random) -> None:
    """Let prompts grow shorter over time, and reads follow the prompts, not the date."""
    for number, session in enumerate(sessions):
        length = session.covariates.get("log_prompt_characters", 4.0) - 1.5 * number / len(sessions)
        session.covariates["log_prompt_characters"] = max(0.0, length)
        thinned(session, READS, float(np.exp(0.2 * (min(length, 7.0) - 7.0))), random)


def format_change(sessions: Sequence[Features], random: Random) -> None:
    """Stop logging whether a tool failed, half-way: no error is seen any more."""
    del random
    for session in sessions[len(sessions) // 2 :]:
        session.fields = tuple(name for name in session.fields if name != "is_error")
        for cell in session.cells.values():
            if "errors" in cell:
                cell["errors"] = (0.0, cell["errors"][1])


def tools_renamed(sessions: Sequence[Features], random: Random) -> None:
    """Rename the tools half-way, so that two thirds of the reads are not known as such."""
    for session in sessions[len(sessions) // 2 :]:
        session.fields = tuple(name for name in session.fields if name != "known_tools")
        thinned(session, READS, 1 / 3, random)


NUISANCES: dict[str, Callable[[Sequence[Features], Random], None]] = {
    "days resemble the days before (0.3)": resembling_days,
    "other project": project_switch,
    "prompts grow shorter": prompt_drift,
    "log format changes": format_change,
    "tools renamed": tools_renamed,
}
