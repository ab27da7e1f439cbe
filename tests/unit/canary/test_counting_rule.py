"""An answer's counts are the largest that any of its lines says: in any order, however often, as far as it was read."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from seatrial.canary.events import ApiMessage, Session, ToolCall, Usage
from seatrial.canary.extraction import of_session
from seatrial.canary.readers.claude_code import read

from .test_claude_code import SESSION, entry, only, said

NAMES = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
COUNTS = st.tuples(*[st.integers(0, 10**6)] * 4)
LINES = st.lists(st.tuples(st.sampled_from("abc"), COUNTS, st.booleans()), min_size=1, max_size=10)
Given = tuple[str, tuple[int, ...], bool]


def line(number: int, given_: Given) -> dict[str, Any]:
    """A line of a message; one that calls a tool does so in each of its lines."""
    message, counts, calls = given_
    call = {"type": "tool_use", "id": f"t-{message}", "name": "Read", "input": {"file_path": "a.py"}}
    body = {
        "id": message, "model": "claude-opus-4-6", "content": [call] if calls else [],
        "usage": dict(zip(NAMES, counts, strict=True)),
    }  # fmt: skip
    return entry("assistant", number, requestId=f"req_{message}", message=body)


def lines_of(given_: Sequence[Given]) -> list[dict[str, Any]]:
    return [line(number, one) for number, one in enumerate(given_)]


def read_bytes(content: bytes) -> Session:
    return read(io.BytesIO(content), f"p/{SESSION}.jsonl")


def written(entries: Sequence[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(one).encode() + b"\n" for one in entries)


def totals(session: Session) -> dict[str, tuple[int, ...]]:
    found = {}
    for message in only(session, ApiMessage):
        usage: Usage = message.usage
        found[message.key.split(":")[0]] = (usage.input, usage.output, usage.cache_read, usage.cache_write)
    return found


def largest(given_: Sequence[Given]) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    for message, counts, _ in given_:
        known = found.get(message, (0,) * 4)
        found[message] = tuple(map(max, known, counts))
    return found


@settings(deadline=None)
@given(LINES, st.randoms(use_true_random=False))
def test_order_and_repetition_change_nothing(given_: list[Given], chance: random.Random) -> None:
    entries = lines_of(given_)
    moved = entries + chance.choices(entries, k=3)
    # Written again under another name, as a copy of a log is.
    moved += [{**one, "uuid": f"again-{number}"} for number, one in enumerate(chance.choices(entries, k=3))]
    chance.shuffle(moved)
    calls = {message for message, _, is_call in given_ if is_call}
    for order in (entries, moved):
        session = read_bytes(written(order))
        assert totals(session) == largest(given_)
        assert sorted(call.id for call in only(session, ToolCall)) == sorted(f"t-{name}" for name in calls)


@settings(deadline=None)
@given(LINES)
def test_a_line_that_is_repeated_with_larger_counts_raises_them(given_: list[Given]) -> None:
    entries = lines_of(given_)
    for number, (message, counts, is_call) in enumerate(given_):
        more = line(number, (message, tuple(count + 5 for count in counts), is_call))
        assert more["uuid"] == entries[number]["uuid"]
        expected = largest([*given_, (message, tuple(count + 5 for count in counts), is_call)])
        session = read_bytes(written([*entries, more]))
        assert totals(session) == expected
        assert totals(read_bytes(written([more, *entries]))) == expected
        assert session.events == read_bytes(written([*entries, {**more, "uuid": "other"}])).events


@settings(deadline=None)
@given(LINES)
def test_the_first_line_is_kept_apart(given_: list[Given]) -> None:
    session = read_bytes(written(lines_of(given_)))
    first: dict[str, int] = {}
    for message, counts, _ in given_:
        first.setdefault(message, counts[1])
    found = {message.key.split(":")[0]: message.first_usage.output for message in only(session, ApiMessage)}
    assert found == first


@settings(max_examples=60, deadline=None)
@given(LINES)
def test_as_a_log_grows_no_total_falls(given_: list[Given]) -> None:
    entries = lines_of(given_)
    before: dict[str, tuple[int, ...]] = {}
    for length in range(len(entries) + 1):
        found = totals(read_bytes(written(entries[:length])))
        assert found == largest(given_[:length])
        assert all(
            new >= old for message, counts in before.items() for old, new in zip(counts, found[message], strict=True)
        )
        before = found


@settings(max_examples=60, deadline=None)
@given(LINES, st.floats(0, 1))
def test_a_log_that_ends_anywhere_has_the_counts_of_its_whole_lines(given_: list[Given], where: float) -> None:
    content = written(lines_of(given_))
    cut = content[: round(where * len(content))]
    whole = cut.count(b"\n")
    session = read_bytes(cut)
    # A last line without its end counts once all of it is there.
    is_whole = len(cut) and content[len(cut) : len(cut) + 1] == b"\n"
    assert totals(session) == largest(given_[: whole + bool(is_whole)])
    assert session.health.bad_lines == 0
    assert session.health.unfinished == (not cut.endswith(b"\n") and len(cut) > 0)


@settings(deadline=None)
@given(LINES)
def test_features_add_up_what_the_answers_say(given_: list[Given]) -> None:
    session = read_bytes(
        written([said(0, "add a parser"), *({**one, "uuid": f"x{n}"} for n, one in enumerate(lines_of(given_)))])
    )
    found = of_session(session)
    expected = largest(given_)
    assert found.messages == len(expected)
    sums = [sum(counts[place] for counts in expected.values()) for place in range(4)]
    assert [
        sum(getattr(row, name) for row in found.usage) for name in ("input", "output", "cache_read", "cache_write")
    ] == sums
    if sums[1]:
        assert found.total("output_per_prompt") == (sums[1], 1)
