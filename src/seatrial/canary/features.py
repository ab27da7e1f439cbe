"""What is kept of a session for ever: numbers and labels, no words."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

LABELS = ("model", "version", "effort", "entrypoint", "permission", "tools", "format")
"""Labels of a session; each is what at least 80 % of its messages carry, else `mixed`; empty when unknown."""
PROMPT_CLASSES = ("plan", "implement", "question", "debug", "command", "other")
MIXED = "mixed"
PARTIAL_SHARE = 0.2
"""Of answers with too few tokens for their text, from which a log's counts of tokens are beginnings, not totals."""


@dataclass(slots=True)
class DayUsage:
    """Tokens of one day (UTC) and model; `first_output` is what counting first lines would give."""

    day: str
    model: str
    messages: int = 0
    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0
    cache_write_hour: int = 0
    reasoning: int = 0
    first_output: int = 0
    is_subagent: bool = False


@dataclass(slots=True)
class Features:
    """One session.

    `cells` holds numerator and exposure of each metric by class of the prompt that the turn began with; their sums are
    the session's.  Times are seconds since 1970 in UTC.  `population` is `person`, `scripted` or `subagent`.
    """

    agent: str
    session: str
    place: str
    """The machine or person whose folder the log was in; empty for this machine's own."""
    project: str
    """Name of the folder that was worked in, without what is above it."""
    start: float
    """Of the sitting with the most model calls: a session that goes on after eight hours has several."""
    end: float
    population: str = "person"
    parent: str = ""
    prompts: int = 0
    """Typed prompts and slash commands."""
    calls: int = 0
    """Tool calls."""
    messages: int = 0
    """Model calls."""
    active_seconds: float = 0.0
    """Between events, gaps of more than ten minutes left out."""
    labels: dict[str, str] = field(default_factory=dict)
    spread: dict[str, dict[str, int]] = field(default_factory=dict)
    """How many messages carry each value of a label, for `model`, `version` and `effort`."""
    fields: tuple[str, ...] = ()
    """Which fields that metrics depend on the log has."""
    cells: dict[str, dict[str, tuple[float, float]]] = field(default_factory=dict)
    covariates: dict[str, float] = field(default_factory=dict)
    language: str = ""
    usage: list[DayUsage] = field(default_factory=list)
    copied: int = 0
    """Messages left out because an earlier session has them: this one goes on from it."""
    wordings: int = 0
    """Version of the lists of wordings that were counted."""
    excluded: str = ""
    """Why this session is not judged: `scripted`, `sub-agent`, `no typed prompt`, `unreadable`, …; empty if it is."""

    @property
    def has_partial_usage(self) -> bool:
        """Whether the log holds no final counts of tokens: its totals are lower bounds."""
        return self.covariates.get("partial_usage_share", 0.0) > PARTIAL_SHARE

    def total(self, metric: str) -> tuple[float, float]:
        """Return numerator and exposure of a metric over the whole session."""
        pairs = [cell[metric] for cell in self.cells.values() if metric in cell]
        return sum(y for y, _ in pairs), sum(e for _, e in pairs)

    def as_dict(self) -> dict[str, Any]:
        """Return everything as values of JSON."""
        found = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        found["usage"] = [
            [getattr(row, entry.name) for entry in fields(DayUsage)] for row in self.usage
        ]  # fmt: skip
        return found

    @classmethod
    def from_dict(cls, given: dict[str, Any]) -> Features:
        """Return what `as_dict` was made of; what a newer version has added is left out."""
        known = {entry.name for entry in fields(cls)}
        made = cls(**{name: value for name, value in given.items() if name in known})
        made.fields = tuple(made.fields)
        made.usage = [DayUsage(*row[: len(fields(DayUsage))]) for row in given.get("usage", [])]
        made.cells = {
            name: {metric: (pair[0], pair[1]) for metric, pair in cell.items()} for name, cell in made.cells.items()
        }
        return made
