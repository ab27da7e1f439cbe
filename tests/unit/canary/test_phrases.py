"""Wordings: what an agent says, how people correct it, what they ask for."""

from __future__ import annotations

import pytest

from seatrial.canary import phrases
from seatrial.canary.metrics import METRICS

SAID = {
    "Let me try again. Oh, wait: actually, no.": {"loops": 3},
    "Wait, that is another file.": {"loops": 1},
    "On second thought, let me reconsider.": {"loops": 2},
    "I waited, and the server actually came up.": {},
    "That was sloppy. I should have checked the tests.": {"admissions": 2},
    "My mistake! I introduced a bug in the parser.": {"admissions": 2},
    "This is a good place to stop; I’ll pause here.": {"early_stops": 2},
    "These are pre-existing failures, not related to my changes.": {"dodging": 2},
    "Should I continue with the rest?": {"permission_seeking": 1},
    "Would you like me to proceed?": {"permission_seeking": 1},
    "It is a known limitation and left as a TODO.": {"known_limits": 2},
    "Given the length of this session, continue in a new conversation.": {"length_excuses": 2},
    "All the tests pass.": {},
    "": {},
}


@pytest.mark.parametrize(("text", "expected"), SAID.items())
def test_what_an_agent_says(text: str, expected: dict[str, int]) -> None:
    assert phrases.said(text) == expected


def test_every_kind_of_wording_is_a_rare_metric() -> None:
    rare = {metric.name for metric in METRICS if metric.family == "rare"}
    kinds = {kind for found in map(phrases.said, SAID) for kind in found}
    assert kinds == rare - {"compactions", "stop_hook_blocks"}


@pytest.mark.parametrize("text", [
    "no", "No, the other one", "nope", "Wrong file", "stop", "wait, what?", "you forgot the tests",
    "But you missed one",
    "that's not what I meant", "That’s wrong", "this is not right", "I told you to use ruff",
    "it still doesn't compile",
    "this does not work", "why did you delete that?", "don't touch that", "not what i asked", "revert",
    "nein, anders", "das ist falsch", "funktioniert immer noch nicht", "du hast vergessen zu speichern",
    "non", "ça ne marche pas", "tu as oublié le test", "no funciona", "eso no es lo que pedí", "te dije que no",
])  # fmt: skip
def test_corrections(text: str) -> None:
    assert phrases.is_correction(text)


@pytest.mark.parametrize("text", [
    "no problem, go on", "No worries", "no need to hurry", "thanks, now add the tests", "nothing else",
    "notes are in a.md",
    "stopwatch.py needs a test", "once again, please", "good, continue", "what did you change?", "ja, weiter", "oui",
    "si, sigue", "",
])  # fmt: skip
def test_what_is_no_correction(text: str) -> None:
    assert not phrases.is_correction(text)


@pytest.mark.parametrize(("text", "expected"), [
    ("Make a plan for the migration", "plan"), ("Think about the design first", "plan"),
    ("How would you structure this?", "plan"), ("explain it, but don't write any code", "plan"),
    ("fix the parser", "debug"), ("The import crashes for empty files", "debug"),
    ("Traceback (most recent call last): …", "debug"), ("why is it slow?", "debug"),
    ("warum? Der Fehler ist da", "debug"),
    ("what does load do?", "question"), ("show me the callers", "question"), ("Is it used anywhere", "question"),
    ("the callers are where?", "question"), ("wie groß ist die Tabelle", "question"),
    ("add a column for the price", "implement"), ("please rename load to read_orders", "implement"),
    ("füge eine Spalte hinzu", "implement"), ("crea una tabla", "implement"),
    ("thanks", "other"), ("ok", "other"), ("", "other"),
])  # fmt: skip
def test_what_a_prompt_asks_for(text: str, expected: str) -> None:
    assert phrases.prompt_class(text) == expected


def test_a_command_and_the_mode_of_planning_go_first() -> None:
    assert phrases.prompt_class("fix the parser", is_command=True, permission="plan") == "command"
    assert phrases.prompt_class("fix the parser", permission="plan") == "plan"
    assert phrases.prompt_class("fix the parser", permission="acceptEdits") == "debug"


@pytest.mark.parametrize(("before", "after", "is_seen"), [
    (0, 10_000, True), (3990, 10_000, True), (10_000, 0, True), (10_000, 3980, True), (5000, 5000, False),
])  # fmt: skip
def test_the_ends_of_a_long_prompt_are_looked_at(before: int, after: int, is_seen: bool) -> None:
    text = "x" * before + " wtf " + "x" * after
    assert phrases.is_correction(text) == is_seen


def test_short_prompts_are_looked_at_whole() -> None:
    assert phrases.is_correction("x" * 3990 + " wtf " + "x" * 3990)


def test_the_lists_have_a_version() -> None:
    assert phrases.version() >= 1
