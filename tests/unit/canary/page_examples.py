"""Reports for the page: judged histories made from a seed, and one in which every part is there."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

from seatrial.canary.features import DayUsage, Features
from seatrial.canary.judge import Effort, judge
from seatrial.canary.report import Report, Window
from tests.unit.canary.histories import history

_EFFORT = Effort(199, draws=100, placebos=60, plants=10)


def _known(sessions: list[Features]) -> list[Features]:
    for session in sessions:
        session.fields = ("known_tools", "is_error", "usage")
    return sessions


@cache
def _made(name: str) -> dict[str, Any]:
    sessions = {
        "REGRESSED": lambda: _known(history(400, change=0.4, at=200)),
        "IMPROVED": lambda: _known(history(400, change=2.2, at=200)),
        "HOLDING": lambda: _known(history(1200, spread=0.3, per_day=12)),
        "INCONCLUSIVE": lambda: _known(history(150)),
        "few": lambda: _known(history(12)),
        "empty": lambda: [],
        "rich": lambda: _rich(_known(history(180, change=0.3, at=90))),
    }[name]()
    return Report(judge(sessions, _EFFORT), Window(), sessions).as_dict()


def judged(name: str) -> dict[str, Any]:
    """A report with the verdict `name`, or of `few` or no (`empty`) sessions."""
    return copy.deepcopy(_made(name))


def rich() -> dict[str, Any]:
    """A report of 60 days with a new model, in which no part is empty."""
    made = judged("rich")
    made["incidents"] = [
        {
            "name": "a fault", "from": "2024-10-20", "to": "2024-10-28", "source": "its makers", "metric": "errors",
            "sessions": [20, 100], "change": 0.8, "p": 0.01, "seen": True, "why": "",
        },
        {
            "name": "another", "from": "2024-11-20", "to": "2024-11-21", "source": "its makers", "metric": "errors",
            "sessions": [3, 100], "change": None, "p": None, "seen": False, "why": "3 sessions inside",
        },
    ]  # fmt: skip
    made["by_format"] = [{"field": "thinking", "day": "2024-11-02", "appears": True, "metrics": ["thinking_per_call"]}]
    made["by_work"] = ["rewrites"]
    made["sessions"]["excluded"] = {"scripted": 12, "sub-agent": 3}
    made["logs"] = {
        "files": 190, "gone": 2, "unreadable": 1, "rewrites": 1, "bytes": 5_000_000, "lines": 90_000, "bad_lines": 7,
        "long_lines": 1, "wrong_fields": 2, "clock_jumps": 1, "unfinished": 4, "other_sessions": 2,
        "unknown": {"strange": 4}, "not_read": {"too large": 1},
        "lost": {"prompted": 210, "sessions": 20, "first": 1.72e9, "last": 1.725e9},
    }  # fmt: skip
    made["costs"] = [
        {
            "by": by, "key": key, "is_subagent": is_subagent, "sessions": 3, "messages": 200, "input": 4000,
            "output": 90_000, "cache_read": 7_000_000, "cache_write": 500_000, "reasoning": 0, "first_output": 20_000,
            "usd": usd, "usd_first": 0.8 * usd, "is_least": is_subagent, "unpriced": ["strange-1"], "tokens": 7_594_000,
            "differs": True, "versions": ["1"],
        }
        for by, key, is_subagent, usd in (
            ("day", "2024-10-04", False, 12.3), ("day", "2024-10-04", True, 1.25), ("day", "2024-12-01", False, 40.0),
            ("model", "one", False, 30.0), ("model", "two", True, 23.0), ("project", "project-0", False, 53.0),
        )
    ]  # fmt: skip
    made["tokens"]["partial_sessions"], made["tokens"]["partial_versions"] = 4, ["1"]
    return made


def _rich(sessions: list[Features]) -> list[Features]:
    for number, session in enumerate(sessions):
        session.labels = {"model": "two" if number >= 90 else "one", "version": "1", "effort": "high"}
        session.covariates |= {"prompt_characters": 50.0 + number % 7, "partial_usage_share": 0.0}
        session.cells["implement"]["loops"] = (float(number % 9 == 0), 40.0)
        day = f"2024-10-{4 + number % 20:02d}"
        session.usage = [DayUsage(day, "one", 20, 400, 9000, 700_000, 50_000, 0, 10, 2000)]
    return sessions
