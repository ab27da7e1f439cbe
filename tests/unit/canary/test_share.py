"""What is given away holds nothing that names anybody, and many such files can be judged together."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seatrial.canary.events import AgentName
from seatrial.canary.features import LABELS, MIXED, PROMPT_CLASSES, DayUsage, Features
from seatrial.canary.judge import Effort, judge
from seatrial.canary.metrics import METRICS
from seatrial.canary.pool import across_users, pool
from seatrial.canary.share import CATEGORIES, COUNTS, COVARIATES, FIELDS, KIND, OTHER, anonymous, share
from seatrial.canary.table import build, day_of
from seatrial.errors import InputFileError, SettingError, StorageError
from tests.unit.canary.histories import DAY, MONDAY, history

WORDS = st.one_of(
    st.sampled_from(["claude-opus-4-6", "2.1.9", "high", "py", "/home/ann/secret", "arn:aws:1:acct", "a@b", "mixed"]),
    st.text(max_size=12),
)
NUMBERS = st.one_of(st.floats(0, 1e9), st.just(float("nan")))
COUNT = st.integers(0, 10**6)
PAIR = st.tuples(NUMBERS, NUMBERS)
CELLS = st.dictionaries(
    st.one_of(st.sampled_from(PROMPT_CLASSES), WORDS),
    st.dictionaries(st.one_of(st.sampled_from([metric.name for metric in METRICS]), WORDS), PAIR, max_size=3),
    max_size=3,
)
SESSIONS = st.builds(
    Features,
    agent=WORDS,
    session=WORDS,
    place=WORDS,
    project=WORDS,
    start=st.floats(0, 4e9),
    end=st.floats(0, 4e9),
    population=WORDS,
    parent=WORDS,
    prompts=COUNT,
    calls=COUNT,
    messages=COUNT,
    active_seconds=st.floats(0, 1e6),
    labels=st.dictionaries(st.one_of(st.sampled_from(LABELS), WORDS), WORDS, max_size=8),
    spread=st.dictionaries(st.sampled_from(["model", "version", "effort", "x"]), st.dictionaries(WORDS, COUNT)),
    fields=st.lists(WORDS, max_size=3).map(tuple),
    cells=CELLS,
    covariates=st.dictionaries(st.one_of(st.sampled_from(COVARIATES), WORDS), NUMBERS, max_size=4),
    language=WORDS,
    usage=st.lists(st.builds(DayUsage, WORDS, WORDS), max_size=2),
    excluded=st.sampled_from(["", "", "scripted"]),
)
VOCABULARY = {
    "kind", "version", "k", "sessions", KIND, "agent", "project", "day", "active_minutes", "labels", "spread", "fields",
    "cells", "covariates", "language", OTHER, MIXED, "", *get_args(AgentName), *COUNTS, *LABELS, *FIELDS,
    *PROMPT_CLASSES, *COVARIATES, *(metric.name for metric in METRICS),
}  # fmt: skip


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield name
            yield from strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner)


@settings(max_examples=150, deadline=None)
@given(st.lists(SESSIONS, max_size=4), st.integers(1, 5))
def test_no_string_but_the_programs_own_and_what_many_carry(drawn: list[Features], times: int) -> None:
    given_sessions = [replace(session, session=f"{i}") for session in drawn for i in range(times)]
    content, shared = anonymous(given_sessions)
    text = json.dumps(content, allow_nan=False)
    judged = [session for session in given_sessions if not session.excluded and session.start > 0]
    assert shared.sessions == len(judged) == len(content["sessions"])
    carried: Counter[str] = Counter()
    for session in judged:
        values = {session.language}
        for name in CATEGORIES:
            values |= {session.labels.get(name, ""), *session.spread.get(name, {})}
        carried.update(values)
    for found in strings(json.loads(text)):
        is_format = set(found.split()) <= set(FIELDS)
        is_number = found.isascii() and found.isdigit() and int(found) <= len(judged)
        if found not in VOCABULARY and not is_format and not is_number:
            assert carried[found] >= 5, found
            assert not set(found) & set("/:@\\")
    assert pool([]).sessions == []


def many() -> list[Features]:
    made = history(60, 5, change=3.0, at=30)
    for number, session in enumerate(made):
        session.labels = {"model": "one" if number < 30 else "two", "version": f"1.{number}", "tools": "abcdef"}
        session.spread = {"version": {f"1.{number}": 3}, "model": {session.labels["model"]: 3}}
        session.fields = FIELDS
        session.language = "py" if number % 3 else "zig" if number < 12 else "go"
    made[0].language = "cobol"
    made[7].excluded = "scripted"
    return made


def test_rare_categories_become_other(tmp_path: Path) -> None:
    found = share(many(), tmp_path / "s.json")
    rows = json.loads((tmp_path / "s.json").read_text())["sessions"]
    assert (found.sessions, found.left_out, found.projects) == (59, 1, 2)
    assert found.other == {"model": 0, "version": 59, "effort": 0, "entrypoint": 0, "permission": 0, "language": 2}
    assert {row["labels"]["version"] for row in rows} == {OTHER}
    assert {row["labels"]["tools"] for row in rows} == {"1"}
    assert Counter(row["language"] for row in rows)[OTHER] == 4
    assert all(isinstance(row["day"], int) for row in rows)


def test_k_is_at_least_five(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="4 sessions"):
        share(many(), tmp_path / "s.json", k=4)
    assert share(many(), tmp_path / "s.json", k=31).other["model"] == 2


def test_a_file_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        share(many(), tmp_path / "file" / "s.json")


def test_judged_from_a_shared_file_as_from_the_history(tmp_path: Path) -> None:
    given_sessions = many()
    for session in given_sessions:
        # The hour is not given away; at noon there is none to adjust for in either.
        session.start = session.start // DAY * DAY + 43_200
    share(given_sessions, tmp_path / "s.json")
    pooled = pool([tmp_path / "s.json"])
    before, after = build(given_sessions), build(pooled.sessions)
    assert np.allclose(before.numerators, after.numerators, rtol=1e-5)
    assert np.array_equal(before.days, after.days)
    # The same division into projects, by other numbers.
    assert len({*zip(before.strata.tolist(), after.strata.tolist(), strict=True)}) == len({*before.strata.tolist()})
    effort = Effort(permutations=199, draws=100, placebos=0, plants=0)
    first, second = judge(given_sessions, effort), judge(pooled.sessions, effort)
    assert first.verdict == second.verdict
    states = [[(entry.metric.name, entry.state) for entry in made.findings] for made in (first, second)]
    assert states[0] == states[1]
    assert ("reads_per_edit", "CHANGED") in states[0]


def write_users(folder: Path, sizes: list[int], changes: list[float]) -> list[Path]:
    files = []
    for number, (size, change) in enumerate(zip(sizes, changes, strict=True)):
        made = history(size, number, change=change, at=size // 2)
        for index, session in enumerate(made):
            # All users over the same 40 days.
            session.start = MONDAY + index * 40 * DAY / size
        share(made, folder / f"{number}.json")
        files.append(folder / f"{number}.json")
    return files


def test_users_are_places_and_nobody_is_the_whole(tmp_path: Path) -> None:
    files = write_users(tmp_path, [40, 60, 1000], [1, 1, 1])
    found = pool([*files, files[0]])
    assert (found.users, found.doubled) == (3, [str(files[0])])
    sizes = Counter(session.place for session in found.sessions)
    assert sorted(sizes.values()) == [40, 60, 300]
    assert sum(found.thinned.values()) == 700
    assert len({session.session for session in found.sessions}) == 400
    names = build(found.sessions).stratum_names
    assert len(names) == 6 and all(name.startswith("user-") for name in names)
    starts = [session.start for session in found.sessions if sizes[session.place] == 300]
    assert starts[150] < MONDAY + 21 * DAY < starts[170]


def test_users_count_as_clusters(tmp_path: Path) -> None:
    day = day_of(MONDAY + 20 * DAY)
    some = pool(write_users(tmp_path, [60] * 8, [2.0] * 8))
    [all_up] = [found for found in across_users(some.sessions, day) if found.metric == "reads_per_edit"]
    assert all_up.users == 8 and all_up.p == pytest.approx(2 / 256)
    assert all_up.interval is not None and 0.4 < all_up.interval[0] < all_up.log_ratio < all_up.interval[1] < 1.0
    # One person with many sessions who changed is no change of everybody.
    one = pool(write_users(tmp_path, [60] * 7 + [300], [1.0] * 7 + [3.0]))
    [mixed] = [found for found in across_users(one.sessions, day) if found.metric == "reads_per_edit"]
    assert mixed.p > 0.05
    assert across_users(pool(write_users(tmp_path, [60], [2.0])).sessions, day) == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b'{"kind":"x","version":1,"sessions":[]}',
        b'{"kind":"seatrial canary share","version":2,"sessions":[]}',
        b'{"kind":"seatrial canary share","version":1,"sessions":[3]}',
        b'{"kind":"seatrial canary share","version":1,"sessions":[{"day":1e400}]}',
    ],
)
def test_files_that_are_none_are_said(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "s.json").write_bytes(content)
    with pytest.raises(InputFileError, match="is no shared file"):
        pool([tmp_path / "s.json"])
    with pytest.raises(InputFileError, match="cannot be read"):
        pool([tmp_path / "none.json"])


BAD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@settings(max_examples=150, deadline=None)
@given(name=st.sampled_from(sorted(anonymous(history(1))[0]["sessions"][0])), value=BAD)
def test_wrong_types_anywhere_are_said_or_taken(
    tmp_path_factory: pytest.TempPathFactory, name: str, value: object
) -> None:
    content, _ = anonymous(history(3))
    content["sessions"][1][name] = value
    file = tmp_path_factory.mktemp("shared") / "s.json"
    file.write_text(json.dumps(content))
    try:
        sessions = pool([file]).sessions
    except InputFileError as problem:
        assert str(file) in problem.message
    else:
        build(sessions)
