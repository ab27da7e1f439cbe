from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seatrial.agents.states import State, after, begin
from seatrial.errors import AgentError

TOOL = {"offers_tools": True, "stop": "tool_use", "tools": ("bash",)}
END = {"offers_tools": True, "stop": "end", "tools": ()}


def run(*facts: tuple[str, dict[str, Any]]) -> State:
    state = begin("running")
    for kind, values in facts:
        state = after(state, kind, values)
    return state


def test_a_turn_goes_from_thinking_over_tools_to_idle() -> None:
    assert run(("request", {})).activity == "thinking"
    assert run(("request", {}), ("response", TOOL)).activity == "executing"
    assert run(("request", {}), ("response", TOOL)).detail == "bash"
    assert run(("request", {}), ("response", TOOL), ("request", {}), ("response", END)).activity == "idle"


def test_calls_at_the_same_time_are_counted() -> None:
    state = run(("request", {}), ("request", {}), ("response", END))
    assert state.activity == "thinking" and not state.takes_messages
    assert after(state, "response", END).activity == "idle"


def test_finished_stays_until_asked() -> None:  # 31
    state = run(("request", {}), ("response", TOOL), ("done", {"text": "green"}))
    assert state.activity == "completed"
    state = after(after(state, "request", {}), "response", END)
    assert (state.activity, state.detail) == ("completed", "green")
    assert after(state, "prompt", {}).activity == "thinking"


def test_a_question_gives_way_to_work() -> None:  # 32
    state = run(("asks", {"text": "which?"}))
    assert state.activity == "waiting_for_input" and state.takes_messages
    assert after(state, "request", {}).activity == "thinking"


def test_a_question_comes_back_at_the_end_of_the_turn_until_it_is_answered() -> None:
    asked = run(("request", {}), ("response", TOOL), ("asks", {"text": "which?"}), ("request", {}))
    assert asked.activity == "thinking"
    ended = after(asked, "response", END)
    assert (ended.activity, ended.detail) == ("waiting_for_input", "which?")
    assert after(ended, "hook", {"event": "stop"}) == ended
    answered = after(ended, "prompt", {})
    assert after(after(answered, "request", {}), "response", END).activity == "idle"
    fetched = after(ended, "inbox", {})
    assert fetched.activity == "executing" and after(after(fetched, "request", {}), "response", END).activity == "idle"


def test_calls_on_the_side_change_nothing() -> None:
    side, state = {"offers_tools": False, "stop": "end"}, run(("prompt", {}))
    assert after(state, "request", side) == state == after(state, "response", side)
    state = run(("request", {}), ("request", side), ("response", side))
    assert state.activity == "thinking" and state.in_flight == 1


def test_a_spent_budget_is_not_talked_over() -> None:  # 34
    state = run(("budget_exceeded", {"which": "usd"}), ("done", {"text": "x"}), ("asks", {"text": "x"}))
    assert (state.activity, state.detail) == ("budget_exceeded", "usd")
    assert after(state, "budget_raised", {}).activity == "idle"


def test_only_a_running_agent_has_an_activity() -> None:  # 33
    with pytest.raises(AgentError):
        State("stopped", "idle")
    assert after(begin("stopped"), "request", {}) == begin("stopped")


def test_silence_is_stalled_only_while_it_works() -> None:
    assert run(("stalled", {})).activity == "idle"
    assert run(("request", {}), ("stalled", {})).activity == "stalled"
    assert run(("request", {}), ("stalled", {}), ("response", END)).activity == "idle"


KINDS = ["request", "response", "prompt", "asks", "blocked", "done", "hook", "stalled", "quiet", "interrupted",
         "budget_exceeded", "budget_raised", "status", "denied", "inbox", "unknown"]  # fmt: skip


@given(st.lists(st.tuples(st.sampled_from(KINDS), st.sampled_from([{}, TOOL, END, {"event": "stop"}, {"text": "x"}]))))
def test_no_sequence_of_facts_leaves_the_table(facts: list[tuple[str, dict[str, Any]]]) -> None:
    state = run(*facts)
    assert state.phase == "running" and state.activity and state.in_flight >= 0
