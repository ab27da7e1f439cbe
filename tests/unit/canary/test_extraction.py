"""From a session's events to numbers: what is counted, where it is counted, and what is left out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

import pytest

from seatrial.canary import extraction, phrases, tools
from seatrial.canary.events import (
    ApiMessage,
    Event,
    Health,
    Interrupt,
    Note,
    Prompt,
    PromptOrigin,
    Session,
    ToolResult,
    Usage,
)  # fmt: skip
from seatrial.canary.features import DayUsage, Features

from .histories import DAY, MONDAY

HOUR = 3600.0


class Talk:
    """Events of a session, each ten seconds after the one before."""

    def __init__(self, at: float = MONDAY + 9 * HOUR) -> None:
        self.events: list[Event] = []
        self.at = at

    def wait(self, seconds: float) -> None:
        self.at += seconds - 10

    def _next(self) -> float:
        self.at += 10
        return self.at

    def prompt(self, text: str = "add a parser", origin: PromptOrigin = "typed", permission: str = "") -> None:
        self.events.append(Prompt(self._next(), text, origin, permission))

    def answer(self, text: str = "", **more: Any) -> None:
        usage = more.pop("usage", None) or Usage(output=500)
        key = f"m{len(self.events)}"
        self.events.append(ApiMessage(key, self._next(), text=text, usage=usage, **more))

    def call(self, name: str, **arguments: Any) -> None:
        self.events.append(tools.call(f"c{len(self.events)}", self._next(), name, arguments))

    def calls(self, number: int) -> None:
        for _ in range(number):
            self.call("TodoWrite")

    def result(self, call: str = "c0", **more: Any) -> None:
        self.events.append(ToolResult(call, self._next(), **more))

    def session(self, **more: Any) -> Session:
        return Session("claude_code", "s1", self.events, cwd="/home/ann/shop", **more)

    def features(self, **more: Any) -> Features:
        return extraction.of_session(self.session(**more))


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


def test_the_sitting_with_most_calls_gives_the_start() -> None:
    first = MONDAY + 9 * HOUR
    talk = Talk(first)
    talk.prompt()
    talk.answer()
    talk.wait(8 * HOUR + 1)
    talk.prompt()
    second = talk.at
    talk.answer()
    talk.answer()
    talk.wait(7 * HOUR)
    talk.answer()
    talk.wait(9 * HOUR)
    talk.prompt()
    talk.answer()
    found = talk.features()
    assert (found.start, found.end) == (second, talk.at)
    # Pauses of more than ten minutes are no work.
    assert found.active_seconds == pytest.approx(10 + 10 + 10 + 10)
    assert "seconds_between_prompts" not in found.covariates


def test_two_sittings_alike_start_with_the_first() -> None:
    talk = Talk(MONDAY)
    talk.prompt()
    talk.answer()
    talk.wait(30 * HOUR)
    talk.prompt()
    talk.answer()
    assert talk.features().start == MONDAY + 10


@pytest.mark.parametrize(("new", "label"), [(0, "old"), (2, "old"), (3, "mixed"), (7, "mixed"), (8, "new")])
def test_a_label_is_what_80_percent_of_the_answers_carry(new: int, label: str) -> None:
    talk = Talk()
    talk.prompt()
    for number in range(10):
        talk.answer(model="m", version="new" if number < new else "old")
    talk.answer(model="<synthetic>", version="other", is_error=True)
    found = talk.features()
    assert found.labels["version"] == label
    assert found.labels["model"] == "m"
    assert found.labels["effort"] == ""
    assert found.spread["version"] == {name: n for name, n in (("new", new), ("old", 10 - new)) if n}
    assert found.messages == 10


def test_other_labels() -> None:
    talk = Talk()
    talk.prompt(permission="plan")
    talk.prompt(permission="plan")
    talk.prompt(permission="default")
    talk.answer()
    given = frozenset({"Read", "mcp__tickets__search", "mcp__tickets__open", "mcp__mail__send"})
    labels = talk.features(entrypoint="cli", tools=given, fields=frozenset({"thinking"})).labels
    assert labels["permission"] == "mixed"
    assert labels["entrypoint"] == "cli"
    assert labels["tools"] == hashlib.blake2b(b"mail\ntickets", digest_size=6).hexdigest()
    assert labels["format"] == "thinking usage"
    assert talk.features(tools=frozenset({"Read"})).labels["tools"] == ""


def _origins(*origins: PromptOrigin) -> Talk:
    talk = Talk()
    for origin in origins:
        talk.prompt("add a parser", origin)
        talk.answer()
    return talk


@pytest.mark.parametrize(
    ("talk", "more", "population", "excluded"),
    [
        (_origins("typed"), {}, "person", ""),
        (_origins("command"), {}, "person", ""),
        (_origins("typed", "scripted"), {}, "person", ""),
        (_origins("scripted"), {}, "scripted", "scripted"),
        (_origins("typed"), {"entrypoint": "sdk-py"}, "scripted", "scripted"),
        (_origins("typed"), {"entrypoint": "codex_exec"}, "scripted", "scripted"),
        (_origins("typed"), {"parent": "s0"}, "subagent", "sub-agent"),
        (_origins("injected"), {}, "person", "no typed prompt"),
        (_origins(), {}, "person", "no answer"),
        (_origins("typed"), {"health": Health(worst_share=0.89)}, "person", "unreadable"),
        (_origins("typed"), {"health": Health(worst_share=0.9)}, "person", ""),
    ],
)
def test_who_asked_and_who_is_judged(talk: Talk, more: dict[str, Any], population: str, excluded: str) -> None:
    found = talk.features(**more)
    assert (found.population, found.excluded) == (population, excluded)


def test_without_times_a_session_is_not_judged() -> None:
    events: list[Event] = [Prompt(0.0, "add a parser"), ApiMessage("m", 0.0, usage=Usage(output=3))]
    found = extraction.of_session(Session("codex", "s", events))
    assert (found.excluded, found.start, found.end, found.active_seconds) == ("no times", 0.0, 0.0, 0.0)
    assert found.usage == [DayUsage("", "", 1, output=3)]


def test_an_empty_session_is_no_answer() -> None:
    found = Talk().features()
    assert (found.excluded, found.cells, found.usage, found.covariates) == ("no answer", {}, [], {
        "partial_usage_share": 0.0
    })  # fmt: skip


def _keys(events: Iterable[Event]) -> set[str]:
    return {event.key for event in events if isinstance(event, ApiMessage)}


def test_what_was_copied_from_another_session_is_left_out() -> None:
    talk = Talk()
    talk.prompt("add a parser")
    talk.answer("old", usage=Usage(output=70))
    talk.call("Read", file_path="src/a.py")
    talk.result("c2")
    talk.answer("old too", usage=Usage(output=30))
    talk.call("Read", file_path="src/b.py")
    old = _keys(talk.events)
    talk.result("c5", is_error=True)
    began = talk.at + 10
    talk.prompt("what does it do?")
    talk.answer("new", usage=Usage(output=11))
    for number in range(5):
        talk.call("Read", file_path=f"src/{number}.py")
        talk.result(f"c{len(talk.events) - 1}")
    whole = talk.features()
    found = extraction.of_session(talk.session(), is_owned=old.__contains__)
    assert (whole.copied, found.copied) == (0, 2)
    assert set(found.cells) == {"question"}
    assert (found.messages, found.prompts, found.calls, found.start) == (1, 1, 5, began)
    # The last copied message's call and its result are as old as it is.
    assert found.total("errors") == (0, 5)
    assert found.total("reads_per_edit") == (5, 0)
    assert sum(row.output for row in found.usage) == 11
    assert extraction.of_session(talk.session(), is_owned=lambda _: True).excluded == "copy of another session"


def test_what_is_said_and_noted_is_counted() -> None:
    talk = Talk()
    talk.prompt("[reminder of the program]", "injected")
    talk.prompt()
    talk.prompt("[another reminder]", "injected")
    talk.answer("Oh, wait. My mistake. Let me try again.", thinking_blocks=2, signatures=[100, 300])
    talk.answer("Fine.", thinking_blocks=1, signatures=[800])
    talk.answer("API Error", is_error=True, thinking_blocks=1, signatures=[5])
    talk.answer("Done.")
    talk.calls(5)
    for note in (Note(talk.at, "compact"), Note(talk.at, "stop_hook_block"), Note(talk.at, "turn_duration", 12.5),
                 Note(talk.at, "turn_duration", 0.0), Note(talk.at, "api_error")):  # fmt: skip
        talk.events.append(note)
    cells = talk.features().cells
    assert set(cells) == {"implement"}
    cell = cells["implement"]
    assert cell["loops"] == (2, 5)
    assert cell["admissions"] == (1, 5)
    assert cell["dodging"] == (0, 5)
    assert cell["thinking_per_call"] == (2, 3)
    # The median of the lengths, and how many there are.
    assert cell["signature_length"] == (900, 3)
    assert cell["compactions"] == cell["stop_hook_blocks"] == (1, 1)
    assert cell["turn_seconds"] == (12.5, 1)
    assert cell["calls_per_prompt"] == (3, 1)


def test_tokens_by_day_model_and_who_used_them() -> None:
    talk = Talk(MONDAY + DAY - 21)
    talk.prompt()
    for model in ("a", "a", "b"):
        talk.answer(model=model, usage=Usage(1, 20, 300, 4000, 50, 6), first_usage=Usage(output=2))
    inner = [ApiMessage("n1", MONDAY, "a", usage=Usage(output=9)), ApiMessage("n2", MONDAY, "a", usage=Usage(output=8))]
    found = extraction.of_session(talk.session(nested=inner), is_owned=lambda key: key == "n2")
    one = (1, 1, 20, 300, 4000, 50, 6, 2)
    assert found.usage == [
        DayUsage("2024-10-04", "a", *one),
        DayUsage("2024-10-04", "a", 1, output=9, is_subagent=True),
        DayUsage("2024-10-05", "a", *one),
        DayUsage("2024-10-05", "b", *one),
    ]
    sub = extraction.of_session(talk.session(parent="s0"))
    assert all(row.is_subagent for row in sub.usage)


def test_what_was_asked_is_kept_as_numbers_only() -> None:
    talk = Talk()
    secret = "zebra-crossing"
    talk.prompt(f"add {secret} to parser.py and lexer.py, see notes.md")
    talk.prompt("/compact", "command")
    talk.answer(f"Added {secret}.")
    talk.call("Edit", file_path=f"/home/ann/{secret}/parser.py", old_string=secret)
    found = talk.features()
    length = len(talk.events[0].text) if isinstance(talk.events[0], Prompt) else 0
    assert found.covariates["prompt_characters"] == length
    assert found.covariates["slash_share"] == 0.5
    assert found.covariates["class_command"] == found.covariates["class_implement"] == 0.5
    assert found.language == "py"
    assert found.project == "shop"
    assert found.wordings == phrases.version()
    assert secret not in json.dumps(found.as_dict())
