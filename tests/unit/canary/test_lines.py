"""Lines of JSON from files in every state; values of every type."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seatrial.canary.events import Health
from seatrial.canary.readers.lines import WINDOW, Lines
from seatrial.canary.readers.values import Clock, anthropic_usage, count, items, mapping, seconds, text


def read(content: bytes, limit: int = 1 << 20) -> tuple[list[object], Health]:
    health = Health()
    lines = Lines(io.BytesIO(content), health, limit)
    found = [lines.decode(line) for line in lines]
    return [value for value in found if value is not None], health


def test_good_lines() -> None:
    found, health = read(b'{"a": 1}\n\n  \n{"b": [2]}\r\n')
    assert found[0] == {"a": 1}
    assert found[-1] == {"b": [2]}
    assert health.worst_share >= 0.5
    assert not health.unfinished


def test_a_last_line_that_is_being_written_is_not_bad() -> None:
    found, health = read(b'{"a": 1}\n{"b": "hal')
    assert found == [{"a": 1}]
    assert health.unfinished
    assert health.bad_lines == 0
    assert health.is_good


def test_a_last_line_without_its_end_is_taken_when_it_is_whole() -> None:
    assert read(b'{"a": 1}')[0] == [{"a": 1}]


@pytest.mark.parametrize(
    ("line", "value"),
    [
        (b'{"a": "caf\xe9"}', {"a": "caf\ufffd"}),
        (b'\0\0{"a": 1}\0', {"a": 1}),
        (b'{"a": "\\ud800"}', {"a": "\ufffd"}),
        (b'{"a": "\\ud83d\\ude00"}', {"a": "\U0001f600"}),
    ],
)
def test_damage_that_can_be_put_right(line: bytes, value: object) -> None:
    found, health = read(line + b"\n")
    assert found == [value]
    assert health.bad_lines == 0


@pytest.mark.parametrize("line", [b"nonsense", b"[1]", b"7", b'{"a": }', b'"text"', b"null"])
def test_what_is_no_object_is_counted(line: bytes) -> None:
    found, health = read(line + b"\n")
    assert found == []
    assert (health.lines, health.bad_lines) == (1, 1)
    assert not health.is_good


def test_a_long_line_is_passed_over_and_what_follows_is_read() -> None:
    long = json.dumps({"a": "x" * 5000}).encode()
    found, health = read(long + b'\n{"b": 1}\n' + long, limit=1000)
    assert found == [{"b": 1}]
    assert health.long_lines == 2
    assert health.lines == 3
    assert health.unfinished
    assert health.bytes == 2 * len(long) + 10


def test_health_is_that_of_the_worst_fifty_lines() -> None:
    good, bad = b'{"a": 1}\n', b"bad line\n"
    assert read(good * 200 + bad * 5 + good * 200)[1].is_good
    assert not read(good * 200 + bad * 6 + good * 200)[1].is_good
    assert read(good * 200 + bad + good * WINDOW + bad * 5)[1].worst_share == pytest.approx(0.9)


@given(st.lists(st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=9)), max_size=8), st.data())
def test_cut_anywhere_what_came_before_is_read(values: list[dict[str, object]], data: st.DataObject) -> None:
    lines = [json.dumps(value).encode() + b"\n" for value in values if value and len(json.dumps(value)) < 99]
    content = b"".join(lines)
    cut = data.draw(st.integers(0, len(content)))
    found, health = read(content[:cut])
    whole = content[:cut].count(b"\n")
    assert len(found) - whole in (0, 1)
    assert found[:whole] == [json.loads(line) for line in lines[:whole]]
    assert health.bad_lines == 0


def test_values_of_the_wrong_type_are_absent_and_counted() -> None:
    health = Health()
    assert (text(5, health), mapping([], health), items({}, health)) == ("", {}, [])
    assert [count(value, health) for value in (-1, 2**60, "7", True, 1.5)] == [0] * 5
    assert health.wrong_fields == 8
    assert (text(None, health), mapping(None, health), items(None, health), count(None, health)) == ("", {}, [], 0)
    assert count(3.0, health) == 3
    assert health.wrong_fields == 8


def test_usage() -> None:
    health = Health()
    given_usage = {"input_tokens": 6, "output_tokens": 350, "cache_creation": {"ephemeral_1h_input_tokens": 9}, "x": 1}
    found = anthropic_usage(given_usage, health)
    assert (found.input, found.output, found.cache_write, found.cache_write_hour) == (6, 350, 0, 9)
    assert health.wrong_fields == 0


def test_times() -> None:
    assert seconds("2026-01-13T10:13:57.801Z") == pytest.approx(1768299237.801)
    assert seconds("2026-01-13T11:13:57.801+01:00") == pytest.approx(1768299237.801)
    assert seconds("2026-01-13T10:13:57") == seconds(1768299237) == seconds(1768299237000)
    assert [seconds(value) for value in ("yesterday", None, True, [], float("nan"), -5, 1e30)] == [0.0] * 7


def test_a_clock_that_goes_back() -> None:
    health = Health()
    clock = Clock(health)
    for at in (1000, 1100, 1070, 900, "never", None):
        clock.read(at)
    assert (health.clock_jumps, health.wrong_fields) == (1, 1)
