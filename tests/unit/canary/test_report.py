"""A report as data and as text: the same after a round through JSON, and never a verdict without its sessions."""

from __future__ import annotations

import copy
import json
import math
import re
from collections.abc import Callable
from datetime import date
from functools import cache
from typing import Any

import orjson
import pytest

from bench.canary_worlds import format_change
from seatrial.canary.features import DayUsage, Features
from seatrial.canary.judge import Effort, judge
from seatrial.canary.report import Report, Window, window_of_days
from seatrial.canary.text import render_text
from seatrial.canary.wording import counted, interval, number, p_value, percent, when

from .histories import full_history, history, logged

EFFORT = Effort(permutations=199, draws=100, placebos=60, plants=10)


def formats() -> list[Features]:
    sessions = logged(full_history(120, 3))
    format_change(sessions, None)  # type: ignore[arg-type]
    return sessions


def labelled() -> list[Features]:
    sessions = logged(full_history(160, 4, change=0.3))
    for place, one in enumerate(sessions):
        one.labels = {"model": "two" if place >= 80 else "one", "version": "1", "effort": "mixed"}
        one.covariates |= {"prompt_characters": 50.0 + place % 7, "partial_usage_share": 0.5 if place < 3 else 0.0}
        one.usage = [
            DayUsage("2024-10-05", "one", 2, 3, 40, 5, 6, 0, 7, 8),
            DayUsage("", "s", 1, output=9, is_subagent=True),
        ]
    sessions[5].excluded, sessions[6].excluded, sessions[9].excluded = "scripted", "scripted", "no answer"
    return sessions


KINDS: dict[str, Callable[[], list[Features]]] = {
    "empty": list,
    "one": lambda: logged(history(1)),
    "all excluded": lambda: [Features("codex", "s", "", "p", 1.0, 2.0, excluded="scripted")],
    "few": lambda: logged(history(19)),
    "open": lambda: logged(history(120, 1)),
    "no fields": lambda: history(120, 1),
    "regressed": lambda: logged(history(240, 2, spread=0.4, change=0.35, at=120)),
    "improved": lambda: logged(history(240, 2, spread=0.4, change=2.8, at=120)),
    "holding": lambda: logged(history(1200, spread=0.3, per_day=12)),
    "formats": formats,
    "labelled": labelled,
}


@cache
def _made(kind: str) -> dict[str, Any]:
    sessions = KINDS[kind]()
    return Report(judge(sessions, EFFORT), Window(), sessions).as_dict()


def made(kind: str) -> dict[str, Any]:
    return copy.deepcopy(_made(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_it_goes_through_json_and_says_the_same(kind: str) -> None:
    report = made(kind)
    written = json.dumps(report, allow_nan=False)
    read = json.loads(written)
    assert render_text(read) == render_text(report)
    assert json.dumps(read, allow_nan=False) == written
    # Nothing in it is of another kind than JSON's, numbers of arrays neither.
    assert orjson.loads(orjson.dumps(report)) == read


@pytest.mark.parametrize("kind", KINDS)
def test_a_verdict_stands_with_its_number_of_sessions(kind: str) -> None:
    report = made(kind)
    lines = render_text(report).splitlines()
    assert lines[0] == f"{report['verdict']}  {report['reason']}"
    judged, whole = report["sessions"]["judged"], report["sessions"]["all"]
    # Twice where the verdict is about the number.
    assert lines[1].startswith(
        f"{counted(judged, 'session')} of a person, " if judged else f"{counted(whole, 'session')} in"
    )
    if judged:
        before, after = report["sessions"]["before"], report["sessions"]["after"]
        assert lines[1].endswith(f"{before} before, {after} after")
        assert before + after <= judged


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_open_is_never_called_unchanged(kind: str) -> None:
    report = made(kind)
    text = render_text(report)
    assert not re.search(r"\bno (relevant )?change\b|unchanged|did not change|stayed the same", text, re.IGNORECASE)
    for entry in report["metrics"]:
        line = next((line for line in text.splitlines() if line.startswith(f"{entry['title']} ")), "")
        if entry["state"] == "UNRESOLVED" and line:
            assert line.endswith("too few sessions to tell")
            assert "holds" not in line


EXPECTED = {"empty": "INCONCLUSIVE", "one": "INCONCLUSIVE", "all excluded": "INCONCLUSIVE", "few": "INCONCLUSIVE",
            "open": "INCONCLUSIVE", "no fields": "INCONCLUSIVE", "regressed": "REGRESSED", "improved": "IMPROVED",
            "holding": "HOLDING", "formats": "INCONCLUSIVE", "labelled": "REGRESSED"}  # fmt: skip


@pytest.mark.parametrize(("kind", "verdict"), EXPECTED.items())
def test_the_verdicts_are_those_of_the_histories(kind: str, verdict: str) -> None:
    assert made(kind)["verdict"] == verdict


def test_few_sessions_have_no_table_of_numbers() -> None:
    for kind in ("empty", "one", "all excluded", "few"):
        assert "before  after" not in re.sub(" +", "  ", render_text(made(kind)).split("\n", 2)[-1])
        assert "%" not in render_text(made(kind))
    assert "change (95 %)" in render_text(made("open"))


@pytest.mark.parametrize("kind", ["open", "regressed", "holding"])
def test_what_could_have_been_found_is_said(kind: str) -> None:
    report, text = made(kind), render_text(made(kind))
    assert re.search(r"This history would show a drop of \d+% in reads per edit \(8 times in 10\)", text)
    placebo = report["placebo"]
    assert f"False alarms on this history: {placebo['alarms']} of 60 placebos" in text
    assert re.search(r"planted and found: \d+ of 10 drops of 30%, \d+ of 10 drops of 50%", text)
    assert ("more sessions a side for the noisiest metric" in text) == any(
        entry["state"] == "UNRESOLVED" and entry["power"] for entry in report["metrics"]
    )


def test_a_change_is_said_with_size_place_and_cause() -> None:
    report, text = made("labelled"), render_text(made("labelled"))
    entry = next(one for one in report["metrics"] if one["name"] == "reads_per_edit")
    assert (entry["state"], entry["direction"], entry["attribution"]["label"]) == ("CHANGED", "harmful", "MODEL")
    assert entry["interval95"][0] <= entry["change"] <= entry["interval95"][1]
    assert entry["boundary"]["earliest"] <= entry["boundary"]["day"] <= entry["boundary"]["latest"]
    assert f"  reads per edit: {percent(entry['change'])} ({interval(entry['interval95'])}) " in text
    assert "    MODEL: the model changed (one → two), version and effort did not (other work that was asked for" in text
    assert "Not judged: 2 scripted, 1 no answer" in text
    assert "3 sessions log no final counts of tokens: totals are lower bounds" in text
    assert report["sessions"] == {**report["sessions"], "all": 160, "judged": 157,
                                  "excluded": {"scripted": 2, "no answer": 1}}  # fmt: skip


def test_tokens_are_those_of_all_sessions() -> None:
    tokens = made("labelled")["tokens"]
    assert tokens["main"] == {"input": 480, "output": 6400, "cache_read": 800, "cache_write": 960, "reasoning": 1120,
                              "messages": 320}  # fmt: skip
    assert tokens["subagents"]["output"] == 160 * 9
    assert tokens["first_line_output"] == 8 * 160
    assert (tokens["partial_sessions"], tokens["partial_versions"]) == (3, ["1"])


def test_the_time_line_and_the_values_of_labels() -> None:
    report = made("labelled")
    days = report["timeline"]
    assert sum(day["sessions"] for day in days) == 157
    assert [day["day"] for day in days] == sorted({day["day"] for day in days})
    assert (report["window"]["first_day"], report["window"]["last_day"]) == (days[0]["day"], days[-1]["day"])
    values = {(one["label"], one["value"]): one for one in report["values"]}
    assert ("effort", "mixed") not in values
    assert values["model", "two"]["sessions"] == 80
    assert values["model", "one"]["last_day"] <= values["model", "two"]["first_day"]


def test_a_change_of_the_log_is_said_as_one() -> None:
    report = made("formats")
    (switch,) = report["by_format"]
    assert (switch["field"], switch["appears"], switch["metrics"]) == ("is_error", False, ["errors"])
    text = render_text(report)
    assert f"FORMAT: is_error went in the logs on {switch['day']}: no evidence there about failed tool calls" in text
    assert "not tested: the log's format changed (is_error)" in text


def test_logs_without_fields_are_not_tested_for_them() -> None:
    text = render_text(made("no fields"))
    assert "not tested: the logs do not say it (known_tools)" in text
    assert "not tested: the logs hold no final counts of tokens" in text


def test_work_and_incidents_are_remarks() -> None:
    report = made("open")
    report["by_work"] = ["reads_per_edit", "errors"]
    given = {"from": "2026-03-01", "name": "a fault", "why": ""}
    report["incidents"] = [
        {**given, "seen": True},
        {**given, "seen": False},
        {**given, "seen": False, "why": "3 sessions"},
    ]
    text = render_text(report)
    assert "USER: reads per edit, failed tool calls moved, but not given what was asked for" in text
    ends = [line.rsplit(": ", 1)[1] for line in text.splitlines() if line.startswith("Known incident 2026-03-01: ")]
    assert ends == ["its signature is here", "its signature is not here", "3 sessions"]


def test_the_parts_of_a_report() -> None:
    report = made("labelled")
    assert set(report) == {
        "schema", "verdict", "reason", "window", "sessions", "boundary", "metrics", "labels", "by_work", "by_format",
        "search", "placebo", "incidents", "controls", "timeline", "values", "tokens", "costs", "logs",
    }  # fmt: skip


def test_a_window_of_days() -> None:
    assert window_of_days(30, date(2026, 3, 30)) == Window(date(2026, 3, 1), date(2026, 3, 30))


@pytest.mark.parametrize(("ratio", "shown"), [
    (0.0, "±0 %"), (0.004, "±0 %"), (-0.004, "±0 %"), (0.25, "+25 %"), (-0.5, "−50 %"), (-1.0, "−100 %"),
    (3.0, "+300 %"),
    (3.01, "×4"), (99.0, "×100"), (1e6, "×100 or more"), (None, "–"), (math.nan, "–"), (math.inf, "–"),
])  # fmt: skip
def test_changes_in_percent(ratio: float | None, shown: str) -> None:
    assert percent(ratio) == shown


@pytest.mark.parametrize(("value", "shown"), [
    (0.0, "0"), (1.0, "1.00"), (12.34, "12.3"), (123.4, "123"), (1234.5, "1,234"), (0.5, "0.500"), (0.01234, "0.0123"),
    (-2.5, "-2.50"), (None, "–"), (math.nan, "–"),
])  # fmt: skip
def test_values(value: float | None, shown: str) -> None:
    assert number(value) == shown


def test_other_words() -> None:
    assert [p_value(p) for p in (0.0001, 0.001, 0.05, 0.0999, 0.1, 1.0)] == [
        "p < 0.001", "p = 0.001", "p = 0.050", "p = 0.100", "p = 0.10", "p = 1.00",
    ]  # fmt: skip
    assert (counted(1, "day"), counted(0, "day"), counted(1200, "day")) == ("1 day", "0 days", "1,200 days")
    assert counted(2, "history", "histories") == "2 histories"
    assert (interval([-0.5, 0.1]), interval(None)) == ("−50 % to +10 %", "")
    where = {"day": "2026-03-02", "earliest": "2026-03-01", "latest": "2026-03-04", "label": "", "value": ""}
    assert when(where) == "between 2026-03-01 and 2026-03-04"
    assert when({**where, "earliest": "2026-03-04"}) == "on 2026-03-02"
    assert when({**where, "label": "model", "value": "m"}) == "with model m, first seen on 2026-03-02"
