"""What is kept of a session survives being written as JSON and read again."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seatrial.canary.features import LABELS, PROMPT_CLASSES, DayUsage, Features
from seatrial.canary.metrics import METRICS

WORDS = st.text(max_size=8)
NUMBERS = st.integers(0, 2**53)
REALS = st.floats(0, 1e12, allow_nan=False)
METRIC = st.sampled_from([metric.name for metric in METRICS])
USAGE = st.builds(
    DayUsage, WORDS, WORDS, NUMBERS, NUMBERS, NUMBERS, NUMBERS, NUMBERS, NUMBERS, NUMBERS, NUMBERS, st.booleans()
)
CELLS = st.dictionaries(
    st.sampled_from(PROMPT_CLASSES), st.dictionaries(METRIC, st.tuples(REALS, REALS), max_size=3), max_size=3
)
FEATURES = st.builds(
    Features,
    agent=WORDS, session=WORDS, place=WORDS, project=WORDS, start=REALS, end=REALS, population=WORDS, parent=WORDS,
    prompts=NUMBERS, calls=NUMBERS, messages=NUMBERS, active_seconds=REALS,
    labels=st.dictionaries(st.sampled_from(LABELS), WORDS, max_size=3),
    spread=st.dictionaries(WORDS, st.dictionaries(WORDS, NUMBERS, max_size=2), max_size=2),
    fields=st.lists(WORDS, max_size=3).map(tuple), cells=CELLS, covariates=st.dictionaries(WORDS, REALS, max_size=3),
    language=WORDS, usage=st.lists(USAGE, max_size=3), copied=NUMBERS, wordings=NUMBERS, excluded=WORDS,
)  # fmt: skip


@settings(deadline=None)
@given(FEATURES)
def test_written_as_json_and_read_again_it_is_the_same(made: Features) -> None:
    read = Features.from_dict(json.loads(json.dumps(made.as_dict(), allow_nan=False)))
    assert read == made
    assert all(isinstance(pair, tuple) for cell in read.cells.values() for pair in cell.values())
    for metric in METRICS:
        assert read.total(metric.name) == made.total(metric.name)


def test_what_a_newer_version_has_added_is_left_out() -> None:
    made = Features("codex", "s", "", "p", 1.0, 2.0, usage=[DayUsage("2026-01-01", "m", 3, output=4)])
    given_ = json.loads(json.dumps(made.as_dict()))
    given_["mood"] = "good"
    given_["usage"] = [[*row, 17] for row in given_["usage"]]
    assert Features.from_dict(given_) == made


def test_what_an_older_version_did_not_know_has_its_default() -> None:
    found = Features.from_dict({"agent": "codex", "session": "s", "place": "", "project": "p", "start": 1, "end": 2})
    assert found == Features("codex", "s", "", "p", 1.0, 2.0)


def test_a_total_is_the_sum_over_classes() -> None:
    cells = {"plan": {"errors": (1.0, 4.0)}, "debug": {"errors": (2.0, 3.0), "loops": (1.0, 9.0)}, "other": {}}
    made = Features("codex", "s", "", "p", 1.0, 2.0, cells=cells)
    assert made.total("errors") == (3.0, 7.0)
    assert made.total("loops") == (1.0, 9.0)
    assert made.total("rewrites") == (0, 0)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_every_metric_can_be_shown(metric: object) -> None:
    found = next(entry for entry in METRICS if entry is metric)
    assert found.title and found.numerator and found.exposure
    assert found.family != "rare" or not found.is_headline
