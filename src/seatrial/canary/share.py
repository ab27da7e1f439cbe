"""A history that can be given away: numbers of sessions, without words, paths, names, ids or times of day.

Projects are numbered, times are days, and a model, version, effort, language or other label that fewer than k sessions
carry is called `other`, as is one that looks like more than a name.  Not in it: token counts, and sessions that are
not judged.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, get_args

import orjson

from seatrial import paths
from seatrial.canary.events import AgentName
from seatrial.canary.features import LABELS, MIXED, PROMPT_CLASSES, Features
from seatrial.canary.metrics import BY_NAME, METRICS
from seatrial.canary.table import day_of
from seatrial.errors import SettingError

KIND, VERSION = "seatrial canary share", 1
LEAST_K = 5
OTHER = "other"
COVARIATES = (
    "log_prompt_characters", "slash_share", *(f"class_{name}" for name in PROMPT_CLASSES), "prompt_characters",
    "seconds_between_prompts", "partial_usage_share", "result_characters",
)  # fmt: skip
FIELDS = tuple(sorted({name for metric in METRICS for name in metric.fields}))
CATEGORIES = ("model", "version", "effort", "entrypoint", "permission")
"""Labels whose values are given; `tools` are numbered, `format` is made of the fields."""
COUNTS = ("prompts", "calls", "messages", "copied", "wordings")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._ +-]{0,47}")
"""No slash, colon or at sign: what names an account or a place has one."""
_DIGITS = 4


@dataclass(slots=True)
class Shared:
    """What is in a shared file."""

    path: str
    sessions: int
    left_out: int
    """Sessions that are not judged."""
    projects: int
    other: dict[str, int] = field(default_factory=dict)
    """How many values of each label became `other`."""

    def as_dict(self) -> dict[str, Any]:
        """Return everything as values of JSON."""
        return asdict(self)


def share(sessions: Sequence[Features], path: str | Path, k: int = LEAST_K) -> Shared:
    """Write the anonymous file of `sessions`; labels that fewer than `k` of them carry become `other`.

    Raises SettingError for a `k` below 5, StorageError when the file cannot be written.
    """
    content, shared = anonymous(sessions, k)
    file = Path(path).expanduser().absolute()
    with paths.atomic_write(file) as stream:
        stream.write(orjson.dumps(content, option=orjson.OPT_APPEND_NEWLINE))
    shared.path = str(file)
    return shared


def anonymous(sessions: Sequence[Features], k: int = LEAST_K) -> tuple[dict[str, Any], Shared]:
    """Return the content of an anonymous file, as values of JSON, and what is in it; SettingError for a `k` below 5."""
    if k < LEAST_K:
        raise SettingError(f"A label that {k} sessions carry says too much of them.", hint="k is 5 or more.")
    judged = sorted((one for one in sessions if not one.excluded and one.start > 0), key=lambda s: (s.start, s.session))
    shared = Shared("", len(judged), len(sessions) - len(judged), 0)
    allowed: dict[str, Callable[[str], str]] = {}
    for name in CATEGORIES:
        allowed[name] = _category(shared, name, [_values(session, name) for session in judged], k)
    allowed["language"] = _category(shared, "language", [{session.language} for session in judged], k)
    projects = _Numbers()
    tools = _Numbers()
    rows = [_row(session, allowed, projects, tools) for session in judged]
    shared.projects = len(projects.known)
    return {"kind": KIND, "version": VERSION, "k": k, "sessions": rows}, shared


class _Numbers:
    """Numbers things in the order in which they come."""

    def __init__(self) -> None:
        self.known: dict[Any, int] = {}

    def of(self, thing: Any) -> int:
        return self.known.setdefault(thing, len(self.known) + 1)


def _values(session: Features, name: str) -> set[str]:
    return {session.labels.get(name, ""), *session.spread.get(name, {})}


def _category(shared: Shared, name: str, carried: Sequence[set[str]], k: int) -> Callable[[str], str]:
    """Return what turns a value into itself or `other`."""
    sessions_with = Counter(value for values in carried for value in values)
    kept = {value for value, number in sessions_with.items() if number >= k and _NAME.fullmatch(value)}
    kept |= {"", MIXED}
    shared.other[name] = len(sessions_with.keys() - kept)
    return lambda value: value if value in kept else OTHER


def _row(
    session: Features, allowed: dict[str, Callable[[str], str]], projects: _Numbers, tools: _Numbers
) -> dict[str, Any]:
    labels: dict[str, str] = {name: allowed[name](session.labels.get(name, "")) for name in CATEGORIES}
    servers = session.labels.get("tools", "")
    labels["tools"] = str(tools.of(servers)) if servers else ""
    fields = [name for name in FIELDS if name in session.fields]
    labels["format"] = " ".join(fields)
    return {
        "agent": session.agent if session.agent in get_args(AgentName) else OTHER,
        "project": projects.of((session.place, session.project)),
        "day": day_of(session.start),
        **{name: int(getattr(session, name)) for name in COUNTS},
        "active_minutes": round(max(0.0, session.active_seconds) / 60),
        "labels": {name: labels[name] for name in LABELS},
        "spread": {name: _spread(session, name, allowed[name]) for name in ("model", "version", "effort")},
        "fields": fields,
        "cells": _cells(session),
        "covariates": {name: _rounded(session.covariates[name]) for name in COVARIATES if name in session.covariates},
        "language": allowed["language"](session.language),
    }


def _spread(session: Features, name: str, allowed: Callable[[str], str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for value, number in session.spread.get(name, {}).items():
        found[allowed(value)] = found.get(allowed(value), 0) + int(number)
    return found


def _cells(session: Features) -> dict[str, dict[str, list[float]]]:
    return {
        prompt_class: {
            metric: [_rounded(value, 6) for value in pair]
            for metric, pair in session.cells[prompt_class].items()
            if metric in BY_NAME
        }
        for prompt_class in PROMPT_CLASSES
        if prompt_class in session.cells
    }


def _rounded(value: float, digits: int = _DIGITS) -> float:
    """Return a number with some digits: with all of them it would say which session it was."""
    if not value or not math.isfinite(value):
        return 0.0
    return round(float(value), digits - 1 - math.floor(math.log10(abs(value))))
