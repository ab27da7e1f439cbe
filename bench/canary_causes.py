"""Histories in which it is known who changed: the model, the program, the person, or nobody that the log names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.canary_worlds import READS, Random, format_change, thinned
from seatrial.canary.features import Features
from seatrial.canary.judge import Judgement

_STEP = 20
"""Sessions from one version of the program to the next."""
_DROP = 0.6


@dataclass(frozen=True)
class Cause:
    """`make` changes sessions in place; `right` are the labels that say who it was, `open_` leave it open."""

    make: Callable[[Sequence[Features], Random], None]
    right: tuple[str, ...]
    open_: tuple[str, ...] = ("cannot tell", "MODEL or HARNESS", "none")


def _versions(sessions: Sequence[Features], shift: int = _STEP // 2) -> None:
    """Give the program a new version every twenty sessions, none of them in the middle."""
    for number, session in enumerate(sessions):
        session.labels["version"] = f"1.{(number + shift) // _STEP}"


def model(sessions: Sequence[Features], random: Random) -> None:
    """A new model half-way, while versions come and go."""
    _versions(sessions)
    for session in sessions[len(sessions) // 2 :]:
        session.labels["model"] = "model-2"
        thinned(session, READS, 1 - _DROP, random)


def model_beside(sessions: Sequence[Features], random: Random) -> None:
    """A new model half-way that is used in two of three sessions, beside the old one; only its sessions differ."""
    _versions(sessions)
    for session in sessions[len(sessions) // 3 :]:
        if random.random() < 0.67:
            session.labels["model"] = "model-2"
            thinned(session, READS, 1 - _DROP, random)


def version(sessions: Sequence[Features], random: Random) -> None:
    """A new version half-way, the model the same."""
    for session in sessions[len(sessions) // 2 :]:
        session.labels["version"] = "1.1"
        thinned(session, READS, 1 - _DROP, random)


def effort(sessions: Sequence[Features], random: Random) -> None:
    """A lower effort half-way, model and version the same."""
    for number, session in enumerate(sessions):
        is_new = number >= len(sessions) // 2
        session.labels["effort"] = "medium" if is_new else "high"
        if is_new:
            thinned(session, READS, 1 - _DROP, random)


def work(sessions: Sequence[Features], random: Random) -> None:
    """Other work half-way: questions, which take four times the reads of changes, instead of changes."""
    for number, session in enumerate(sessions):
        share = 0.85 if number < len(sessions) // 2 else 0.15
        metrics = {name: session.total(name) for cell in session.cells.values() for name in cell}
        split: dict[str, dict[str, tuple[float, float]]] = {}
        for name, (y, exposure) in metrics.items():
            asked = {"question": share, "implement": 1 - share}
            weight = {"question": 4.0, "implement": 1.0} if name in READS else {"question": 1.0, "implement": 1.0}
            for kind, part in asked.items():
                cell = split.setdefault(kind, {})
                value = y * part * weight[kind] / 4 if name in READS else y * part
                cell[name] = (float(random.poisson(value)) if name in READS else value, exposure * part)
        session.cells = split
        for kind in ("plan", "implement", "question", "debug", "command", "other"):
            session.covariates[f"class_{kind}"] = {"question": share, "implement": 1 - share}.get(kind, 0.0)


def log_format(sessions: Sequence[Features], random: Random) -> None:
    """A log that no longer says which calls failed."""
    format_change(sessions, random)


def nobody(sessions: Sequence[Features], random: Random) -> None:
    """Fewer reads half-way, and nothing else that the log names."""
    for session in sessions[len(sessions) // 2 :]:
        thinned(session, READS, 1 - _DROP, random)


def together(sessions: Sequence[Features], random: Random) -> None:
    """A new model and a new version on the same day: nobody can tell."""
    for session in sessions[len(sessions) // 2 :]:
        session.labels["model"], session.labels["version"] = "model-2", "1.1"
        thinned(session, READS, 1 - _DROP, random)


CAUSES: dict[str, Cause] = {
    "model": Cause(model, ("MODEL",)),
    "model, beside the old one": Cause(model_beside, ("MODEL",)),
    "version of the program": Cause(version, ("HARNESS",)),
    "effort": Cause(effort, ("HARNESS",)),
    "other work": Cause(work, ("USER",)),
    "log format": Cause(log_format, ("FORMAT",)),
    "nothing the log names": Cause(nobody, ("UNEXPLAINED",)),
    "model and version together": Cause(together, ("MODEL or HARNESS", "cannot tell"), ("none",)),
}


def said(judgement: Judgement) -> str:
    """Return the label that a report gives: of the strongest change of reads, else of what it says apart."""
    changed = [f for f in judgement.findings if f.state == "CHANGED" and f.attribution is not None]
    of_reads = [f for f in changed if f.metric.name in READS] or changed
    if of_reads:
        found = min(of_reads, key=lambda finding: finding.p).attribution
        return found.label if found else "none"
    if judgement.by_format:
        return "FORMAT"
    return "USER" if set(judgement.by_work) & set(READS) else "none"
