"""From the events of a turn to numbers: what is counted, and where it is counted."""

from __future__ import annotations

from typing import Any

import pytest

from seatrial.canary.events import Interrupt, Usage

from .talks import HOUR, Talk


def test_each_turn_is_counted_under_the_class_of_its_prompt() -> None:
    talk = Talk()
    talk.call("Read", file_path="/before/any/prompt.py")
    talk.prompt("add a parser")
    talk.answer("Here.")
    talk.call("Read", file_path="/home/ann/shop/src/a.py")
    talk.call("Grep", pattern="x", path="src")
    talk.call("Edit", file_path="/home/ann/shop/src/a.py", old_string="a")
    talk.prompt("the output looks like a traceback from the parser")
    talk.answer("Look:")
    talk.answer("There.")
    talk.call("Read", file_path="/home/ann/shop/src/b.py")
    talk.call("Read", file_path="/home/ann/shop/src/c.py")
    found = talk.features()
    assert set(found.cells) == {"implement", "debug"}
    assert found.cells["implement"]["reads_per_edit"] == (1, 1)
    assert found.cells["implement"]["research_per_change"] == (2, 1)
    assert found.cells["debug"]["reads_per_edit"] == (2, 0)
    assert found.cells["implement"]["calls_per_prompt"] == (1, 1)
    assert found.cells["debug"]["calls_per_prompt"] == (2, 1)
    assert found.cells["debug"]["output_per_prompt"] == (1000, 1)
    assert found.cells["implement"]["text_per_tool_call"] == (5, 3)
    # What came before the first prompt is a call of the session, and of no turn.
    assert found.total("reads_per_edit") == (3, 1)
    assert (found.calls, found.prompts, found.messages) == (6, 2, 3)


def test_an_edit_is_blind_unless_the_file_was_seen_by_its_last_two_parts() -> None:
    talk = Talk()
    talk.prompt()
    talk.call("Read", file_path="/home/ann/shop/src/a.py")
    talk.call("Edit", file_path="src/a.py", old_string="a")
    talk.call("Edit", file_path="/home/ann/shop/test/a.py", old_string="a")
    talk.call("Edit", file_path="/home/ann/shop/test/a.py", old_string="b")
    talk.call("Write", file_path="/home/ann/shop/src/new.py", content="x")
    talk.call("Edit", file_path="/home/ann/shop/src/new.py", old_string="x")
    cell = talk.features().cells["implement"]
    # Only the first edit of test/a.py: a file that is written anew is not blind, and is known from then on.
    assert cell["blind_edits"] == (1, 5)
    assert cell["rewrites"] == (1, 5)
    assert cell["reads_per_edit"] == (1, 5)


def test_what_a_shell_reads_and_writes_counts() -> None:
    talk = Talk()
    talk.prompt()
    talk.call("Bash", command="cat src/a.py | head -5")
    talk.call("Bash", command="rg needle src")
    talk.call("Bash", command="sed -i 's/a/b/' src/a.py")
    talk.call("Bash", command="sed -i 's/a/b/' src/unseen.py")
    talk.call("Bash", command="echo x > src/b.py")
    talk.call("Bash", command="make test")
    talk.call("Read", file_path="/home/ann/shop/src/c.py")
    cell = talk.features().cells["implement"]
    assert cell["reads_per_edit"] == (2, 3)
    assert cell["research_per_change"] == (3, 3)
    assert cell["shell_reads"] == (1, 2)
    assert cell["blind_edits"] == (1, 3)
    assert cell["rewrites"] == (1, 3)


def test_a_correction_belongs_to_the_turn_before() -> None:
    talk = Talk()
    talk.prompt("no, this is the first prompt and corrects nothing: add a parser")
    talk.prompt("what does it do?")
    talk.prompt("no, that is wrong")
    talk.prompt("/clear", "command")
    found = talk.features()
    # The first one is followed by a question, the question by a correction; a command corrects nothing.
    assert found.cells["implement"]["corrections"] == (0, 1)
    assert found.cells["question"]["corrections"] == (1, 1)
    assert found.total("corrections") == (1, 2)


def test_what_a_person_refuses_is_no_error() -> None:
    talk = Talk()
    talk.prompt()
    talk.calls(5)
    talk.result(size=10)
    talk.result(is_error=True, size=30)
    talk.result(is_error=True, size=999, is_denied=True)
    found = talk.features()
    assert found.total("errors") == (1, 2)
    assert found.covariates["result_characters"] == 20


def cache(read: int, missed: int, **more: Any) -> dict[str, Any]:
    return {"usage": Usage(input=missed, output=9, cache_read=read, cache_write=0), **more}


def test_the_first_answer_after_a_pause_tells_nothing_of_the_cache() -> None:
    talk = Talk()
    talk.prompt()
    talk.answer(**cache(0, 7000))
    talk.answer(**cache(9000, 1000))
    talk.answer(usage=Usage(input=100, output=9, cache_read=5000, cache_write=900))
    talk.wait(HOUR + 1)
    talk.answer(**cache(0, 8000))
    talk.answer(**cache(3000, 1000))
    talk.answer(**cache(2000, 2000))
    found = talk.features()
    # In thousands of tokens; what is written to the cache was not there.
    assert found.total("cache_misses") == pytest.approx((2.0, 16.0))
    assert found.total("cache_misses_after_idle") == pytest.approx((3.0, 8.0))


def test_an_hour_without_an_answer_is_no_longer_than_an_hour() -> None:
    talk = Talk()
    talk.prompt()
    talk.answer(**cache(0, 7000))
    talk.wait(HOUR)
    talk.answer(**cache(9000, 1000))
    found = talk.features()
    assert found.total("cache_misses") == (1.0, 10.0)
    assert found.total("cache_misses_after_idle") == (0, 0)


@pytest.mark.parametrize(("partial", "is_counted"), [(0, True), (1, True), (2, False), (5, False)])
def test_counts_of_tokens_that_are_too_small_for_their_text_are_no_counts(partial: int, is_counted: bool) -> None:
    talk = Talk()
    talk.prompt()
    for number in range(5):
        # Eight characters a token at most: 100 characters take 13 tokens.
        talk.answer("x" * 100, usage=Usage(output=12 if number < partial else 13))
    talk.answer("short", usage=Usage(output=1))
    found = talk.features()
    assert ("usage" in found.fields) == is_counted
    assert ("output_per_prompt" in found.cells["implement"]) == is_counted
    assert found.covariates["partial_usage_share"] == partial / 5
    # What was said and how often is known all the same.
    assert found.total("calls_per_prompt") == (6, 1)


def test_without_tokens_there_is_no_count_of_them() -> None:
    talk = Talk()
    talk.prompt()
    talk.answer("x", usage=Usage())
    found = talk.features()
    assert "usage" not in found.fields
    assert "output_per_prompt" not in found.cells["implement"]


@pytest.mark.parametrize(("calls", "says"), [(4, False), (5, True)])
def test_few_tool_calls_say_nothing_of_tools(calls: int, says: bool) -> None:
    talk = Talk()
    talk.prompt()
    talk.answer("Actually, wait.")
    talk.call("Edit", file_path="a.py", old_string="x")
    talk.result()
    talk.calls(calls - 1)
    talk.events.append(Interrupt(talk.at))
    cell = talk.features().cells["implement"]
    of_tools = {"reads_per_edit", "research_per_change", "errors", "blind_edits", "rewrites", "loops",
                "text_per_tool_call", "admissions", "length_excuses"}  # fmt: skip
    assert (of_tools <= set(cell)) == says
    assert (not of_tools & set(cell)) != says
    assert cell["interrupts"] == (1, 1)
    assert {"calls_per_prompt", "output_per_prompt"} <= set(cell)


def test_only_tools_that_are_known_make_a_known_log() -> None:
    talk = Talk()
    talk.prompt()
    talk.calls(8)
    talk.call("Strange")
    talk.call("Strange")
    assert "known_tools" in talk.features().fields
    talk.call("Strange")
    assert "known_tools" not in talk.features().fields
