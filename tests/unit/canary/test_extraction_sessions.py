"""From the events of a session to its features: who, when, by what, and whether it is judged."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

import pytest

from seatrial.canary import extraction, phrases
from seatrial.canary.events import ApiMessage, Event, Health, Note, Prompt, PromptOrigin, Session, Usage
from seatrial.canary.features import DayUsage

from .histories import DAY, MONDAY
from .talks import HOUR, Talk


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
