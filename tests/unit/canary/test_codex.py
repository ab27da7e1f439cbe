"""Codex's logs: tokens out of running totals, prompts told once, a parent's lines left out."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seatrial.canary import tools
from seatrial.canary.events import ApiMessage, Interrupt, Note, Prompt, Session, ToolCall, ToolResult
from seatrial.canary.readers.codex import read
from tests.unit.canary.codex_lines import (
    BEGIN,
    THREAD,
    context,
    counted,
    event,
    item,
    line,
    meta,
    output,
    said,
    session_of,
    shell,
    typed,
    usage,
    uuid7,
)

DATA = Path(__file__).parents[4] / "shared" / "data" / "canary" / "other" / "codex"
THOUGHT = {"summary": [{"type": "summary_text", "text": "hm hm"}], "encrypted_content": "x" * 40}


def only(session: Session, kind: type) -> list[Any]:
    return [found for found in session.events if isinstance(found, kind)]


def test_tokens_that_come_after_the_lines_of_an_answer() -> None:
    session = session_of(
        meta(),
        event(1, "task_started", turn_id=uuid7(BEGIN + 1)),
        *typed(1, "list the files"),
        context(1),
        item(2, "reasoning", **THOUGHT),
        shell(2, "call_a", "bash", "-lc", "ls"),
        output(3, "call_a"),
        counted(3, usage(100, 60, 10, 4)),
        said(4, "There are two.", "assistant"),
        counted(5, usage(300, 220, 25, 4)),
        event(6, "task_complete", duration_ms=5000),
    )
    first, second = only(session, ApiMessage)
    assert (first.usage.input, first.usage.cache_read, first.usage.output, first.usage.reasoning) == (40, 60, 10, 4)
    assert (second.usage.input, second.usage.cache_read, second.usage.output) == (40, 160, 15)
    assert (first.thinking_blocks, first.thinking_characters, first.signatures) == (1, 5, [40])
    assert (second.text, second.model, second.effort, second.version) == (
        "There are two.",
        "gpt-5.5",
        "high",
        "0.125.0",
    )
    assert [(call.kind, call.command) for call in only(session, ToolCall)] == [("shell", "ls")]
    assert [(found.is_error, found.size) for found in only(session, ToolResult)] == [(False, 2)]
    assert [(note.name, note.value) for note in only(session, Note)] == [("turn_duration", 5.0)]
    assert (session.id, session.cwd, session.branch) == (THREAD, "/home/me/work", "main")
    assert {"usage", "cache", "effort", "thinking", "thinking_text", "signature", "is_error"} <= session.fields


def test_tokens_that_come_before_the_lines_of_an_answer() -> None:
    """As to about 0.60: thought as an event, tokens, then all lines; several calls each with their output."""
    session = session_of(
        meta(cli_version="0.40.0"),
        said(0, "<environment_context>\n<cwd>/home/me/work</cwd>"),
        *typed(1, "look around"),
        context(1),
        event(2, "agent_reasoning", text="hm hm"),
        counted(2, usage(100, 0, 10)),
        item(2, "reasoning", **THOUGHT),
        shell(2, "call_a", "ls"),
        output(2, "call_a"),
        shell(2, "call_b", "cat", "a.py"),
        output(2, "call_b", code=1),
        context(2, effort="low"),
        counted(4, usage(220, 100, 13)),
        said(4, "Done.", "assistant"),
    )
    first, second = only(session, ApiMessage)
    assert (first.usage.output, first.thinking_blocks, first.text) == (10, 1, "")
    assert (second.usage.output, second.text, second.effort) == (3, "Done.", "low")
    assert [(prompt.origin, prompt.permission) for prompt in only(session, Prompt)] == [
        ("injected", "on-request"),
        ("typed", "on-request"),
    ]
    assert [found.is_error for found in only(session, ToolResult)] == [False, True]


def test_the_same_total_again_is_nothing_and_a_smaller_one_is_a_new_count() -> None:
    session = session_of(
        meta(),
        context(1),
        said(2, "one", "assistant"),
        counted(2, usage(100, 0, 10)),
        counted(3, usage(100, 0, 10)),
        event(3, "token_count", info=None, rate_limits={"primary": {}}),
        line("compacted", 4, message="", replacement_history=[]),
        context(4),
        said(5, "two", "assistant"),
        counted(5, usage(30, 0, 4), usage(20, 0, 3)),
        said(6, "three", "assistant"),
        counted(6, usage(80, 0, 9)),
    )
    assert [(m.text, m.usage.output) for m in only(session, ApiMessage)] == [("one", 10), ("two", 3), ("three", 5)]
    assert [note.name for note in only(session, Note)] == ["compact"]


def test_a_record_of_usage_and_its_total_count_once() -> None:
    def record(number: float, total: dict[str, int], alone: dict[str, int], thread: str = THREAD) -> dict[str, Any]:
        return line("token_usage_record", number, thread_id=thread, usage=alone, thread_token_usage=total)

    session = session_of(
        meta(),
        context(1),
        said(2, "one", "assistant"),
        record(2, usage(100, 0, 10), usage(100, 0, 10)),
        counted(2, usage(100, 0, 10), usage(100, 0, 10)),
        record(3, usage(900, 0, 90), usage(900, 0, 90), thread="of-a-sub-agent"),
        said(4, "two", "assistant"),
        record(4, usage(200, 0, 15), usage(100, 0, 5)),
        counted(4, usage(200, 0, 15), usage(100, 0, 5)),
    )
    assert [m.usage.output for m in only(session, ApiMessage)] == [10, 5]


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 9), st.integers(1, 3)), min_size=1, max_size=9), st.data())
def test_answers_add_up_to_the_last_total(steps: list[tuple[int, int, int]], data: st.DataObject) -> None:
    lines, given_tokens, made = [meta(), context(1)], 0, 0
    for number, (more, new, repeats) in enumerate(steps):
        given_tokens, made = given_tokens + more + 1, made + new
        before = data.draw(st.booleans())
        counts = [counted(number + 2, usage(given_tokens, 0, made))] * repeats
        lines += (
            [*counts, said(number + 2, "x", "assistant")] if before else [said(number + 2, "x", "assistant"), *counts]
        )
        lines += [context(number + 2)] if before or data.draw(st.booleans()) else []
    messages = only(session_of(*lines), ApiMessage)
    assert sum(m.usage.output for m in messages) == made
    assert sum(m.usage.input for m in messages) == given_tokens
    assert len(messages) == len(steps)
    assert len({m.key for m in messages}) == len(messages)


def test_who_said_it() -> None:
    session = session_of(
        meta(),
        said(0, "# AGENTS.md instructions for /home/me/work"),
        said(0, "## Something new that the program sends"),
        *typed(1, "# Context from my IDE setup:\n\n## Open tabs:\n- a.py\n\n## My request for Codex:\nfix it"),
        context(1),
        said(2, "Fixed.", "assistant"),
        *typed(3, "continue"),
        *reversed(typed(4, "continue")),
        said(5, "<turn_aborted>\nThe user interrupted"),
        *typed(6, "<b> is wrong here"),
        event(7, "turn_aborted", reason="interrupted"),
        event(8, "turn_aborted", reason="replaced"),
        event(9, "entered_review_mode", target={}),
        said(10, "steered without an event"),
    )
    found = [(prompt.origin, prompt.text[:12]) for prompt in only(session, Prompt)]
    assert found == [
        ("injected", "# AGENTS.md "),
        ("injected", "## Something"),
        ("typed", "fix it"),
        ("typed", "continue"),
        ("typed", "continue"),
        ("injected", "<turn_aborte"),
        ("typed", "<b> is wrong"),
        ("command", "/review"),
        ("typed", "steered with"),
    ]
    assert len(only(session, Interrupt)) == 1


@pytest.mark.parametrize("more", [{"originator": "codex_exec"}, {"originator": "", "source": "exec"}])
def test_prompts_of_programs_are_scripted(more: dict[str, Any]) -> None:
    session = session_of(meta(**more), *typed(1, "do it"))
    assert [prompt.origin for prompt in only(session, Prompt)] == ["scripted"]
    assert session.entrypoint in ("codex_exec", "exec")


PATCH = "*** Begin Patch\n*** Update File: a.py\n@@\n-x\n+y\n*** Add File: b.py\n+z\n*** End Patch"


@pytest.mark.parametrize(
    "call",
    [
        item(2, "custom_tool_call", name="apply_patch", call_id="c", input=PATCH),
        item(2, "function_call", name="apply_patch", call_id="c", arguments=json.dumps({"input": PATCH})),
        shell(2, "c", "apply_patch", PATCH),
        shell(2, "c", "bash", "-lc", f"apply_patch <<'EOF'\n{PATCH}\nEOF\n"),
    ],
)
def test_every_way_to_patch(call: dict[str, Any]) -> None:
    made = only(session_of(meta(), context(1), call), ToolCall)
    assert [(effect.action, effect.path) for effect in tools.effects(made[0])] == [("edit", "a.py"), ("write", "b.py")]


@pytest.mark.parametrize(
    ("given_output", "is_error", "is_denied"),
    [
        ('{"output":"no","metadata":{"exit_code":2}}', True, False),
        ("Exit code: 1\nWall time: 0.1 seconds\nOutput:\nno", True, False),
        ("Chunk ID: a\nProcess exited with code 0\nOutput:\nyes", False, False),
        ([{"type": "input_text", "text": "two"}], False, False),
        ({"content": "failed to open", "success": False}, True, False),
        ("exec command rejected by user", True, True),
    ],
)
def test_how_a_call_ended(given_output: Any, is_error: bool, is_denied: bool) -> None:
    ended = item(3, "function_call_output", call_id="c", output=given_output)
    session = session_of(meta(), context(1), shell(2, "c", "ls"), ended, ended)
    assert [(found.is_error, found.is_denied) for found in only(session, ToolResult)] == [(is_error, is_denied)]


@pytest.mark.parametrize("early", [True, False])
def test_the_exit_code_of_a_command_is_that_of_its_end(early: bool) -> None:
    ended = event(3, "exec_command_end", call_id="c", exit_code=3, duration={"secs": 1, "nanos": 0})
    told = item(3, "function_call_output", call_id="c", output="…")
    session = session_of(meta(), context(1), shell(2, "c", "ls"), *([ended, told] if early else [told, ended]))
    assert [found.is_error for found in only(session, ToolResult)] == [True]
    assert "is_error" in session.fields


def script(source: str) -> dict[str, Any]:
    return item(2, "custom_tool_call", name="exec", call_id="c", input=source)


def test_tools_that_a_program_of_the_model_ran_are_told_apart() -> None:
    ran = {"type": "CommandExecution", "id": "r1", "command": ["bash", "-lc", "cat a.py"], "exit_code": 1}
    changed = {"type": "FileChange", "id": "r2", "changes": {"b.py": {"type": "add"}}, "status": "completed"}
    session = session_of(
        meta(),
        context(1),
        script('const r = await tools.exec_command({"cmd":"cat a.py"})'),
        event(3, "item_completed", item=ran),
        event(3, "item_completed", item=changed),
        event(3, "item_completed", item={"type": "AgentMessage", "id": "m", "content": []}),
        item(4, "custom_tool_call_output", call_id="c", output=[{"type": "input_text", "text": "…"}]),
    )
    effects = [effect for call in only(session, ToolCall) for effect in tools.effects(call)]
    assert [(effect.action, effect.path) for effect in effects] == [("read", "a.py"), ("write", "b.py")]
    assert [found.is_error for found in only(session, ToolResult)] == [True, False]


@pytest.mark.parametrize(
    ("source", "kinds"),
    [
        ('await tools.exec_command({"cmd":"cat a.py"}); await tools.exec_command({cmd: "ls"})', ["shell", "shell"]),
        ('await tools.apply_patch("*** Begin Patch\\n*** Update File: a.py\\n*** End Patch")', ["edit"]),
        ("return 1 + 1", ["other"]),
    ],
)
def test_a_program_whose_tools_are_not_told(source: str, kinds: list[str]) -> None:
    session = session_of(meta(), context(1), script(source))
    assert [call.kind for call in only(session, ToolCall)] == kinds


def parent_lines(number: float, turn: str) -> list[dict[str, Any]]:
    """What a parent did 100 seconds before, with the times of the copy."""
    return [
        event(number, "task_started", turn_id=turn, started_at=BEGIN - 100),
        *typed(number, "earlier"),
        context(number, turn_id=turn),
        item(number, "reasoning", **THOUGHT),
        shell(number, "call_of_the_parent_0001", "ls"),
        output(number, "call_of_the_parent_0001"),
        counted(number, usage(5000, 0, 500), usage(5000, 0, 500)),
    ]


def own_lines(number: float, turn: str, total: dict[str, int]) -> list[dict[str, Any]]:
    return [
        *([event(number, "task_started", turn_id=turn, started_at=BEGIN)] if turn else []),
        *typed(number, "now"),
        context(number, **({"turn_id": turn} if turn else {})),
        said(number + 1, "Done.", "assistant"),
        counted(number + 1, total, usage(40, 0, 4)),
    ]


OTHER = meta(0, id="the-parent", cli_version="0.1.0", cwd="/elsewhere")


@pytest.mark.parametrize("turn", [uuid7(BEGIN - 100), "b0b0b0b0-0000-4000-8000-000000000000"])
@pytest.mark.parametrize("own_turn", [uuid7(BEGIN), uuid7(BEGIN + 5)])
def test_what_a_fork_repeats_of_its_parent_is_left_out(turn: str, own_turn: str) -> None:
    session = session_of(
        meta(forked_from_id="the-parent"),
        OTHER,
        *parent_lines(0.05, turn),
        *own_lines(6, own_turn, usage(5040, 0, 504)),
    )
    assert [(m.usage.input, m.usage.output, m.text) for m in only(session, ApiMessage)] == [(40, 4, "Done.")]
    assert [prompt.text for prompt in only(session, Prompt)] == ["now"]
    assert only(session, ToolCall) == []
    assert (session.id, session.cwd, session.parent) == (THREAD, "/home/me/work", "")
    assert session.health.other_sessions > 5
    assert only(session, ApiMessage)[0].version == "0.125.0"


def test_a_fork_of_a_version_whose_turns_have_no_identifiers() -> None:
    repeated = [one for one in parent_lines(0.05, "") if one["payload"].get("type") != "task_started"]
    for one in repeated:
        one["payload"].pop("turn_id", None)
    session = session_of(meta(forked_from_id="p"), OTHER, *repeated, *own_lines(6, "", usage(5040, 0, 504)))
    assert [m.usage.output for m in only(session, ApiMessage)] == [4]
    assert [prompt.text for prompt in only(session, Prompt)] == ["now"]


SPAWNED = {"subagent": {"thread_spawn": {"parent_thread_id": "the-parent", "depth": 1}}}


@pytest.mark.parametrize("copies", [True, False])
def test_a_sub_agent_with_and_without_its_parents_lines(copies: bool) -> None:
    total = usage(5040, 0, 504) if copies else usage(40, 0, 4)
    session = session_of(
        meta(source=SPAWNED, session_id="the-parent"),
        OTHER,
        *(parent_lines(0.05, uuid7(BEGIN - 100)) if copies else []),
        *own_lines(0.1, uuid7(BEGIN), total),
    )
    assert [m.usage.output for m in only(session, ApiMessage)] == [4]
    assert session.parent == "the-parent"
    assert [prompt.origin for prompt in only(session, Prompt)] == ["scripted"]


def test_logs_without_envelopes() -> None:
    session = session_of(
        {"id": THREAD, "timestamp": "2025-06-01T10:00:00Z", "instructions": None, "git": {"branch": "dev"}},
        {"record_type": "state"},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "<environment_context>\n"
          "Current working directory: /home/me/old\n"}]},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hello"}]},
        {"type": "reasoning", "summary": [], "encrypted_content": None},
        {"type": "function_call", "name": "shell", "arguments": '{"command":["ls"]}', "call_id": "c"},
        {"type": "function_call_output", "call_id": "c", "output": '{"output":"a","metadata":{"exit_code":0}}'},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hi."}]},
    )  # fmt: skip
    assert (session.id, session.branch, session.cwd) == (THREAD, "dev", "/home/me/old")
    assert [prompt.origin for prompt in only(session, Prompt)] == ["injected", "typed"]
    assert [m.text for m in only(session, ApiMessage)] == ["", "Hi."]
    assert {found.at for found in session.events} == {1748772000.0}


def test_what_is_not_known_is_said() -> None:
    session = session_of(meta(), line("from_the_future", 1), event(1, "new_event"), item(1, "new_item"))
    assert session.health.unknown == {"from_the_future": 1, "event_msg new_event": 1, "response_item new_item": 1}


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=4), lambda s: st.lists(s, max_size=3)))
def test_a_field_of_any_type_breaks_nothing(value: Any) -> None:
    whole = [
        meta(source=SPAWNED),
        OTHER,
        *typed(1, "hello"),
        context(1, turn_id=uuid7(BEGIN + 1)),
        item(2, "reasoning", **THOUGHT),
        script("…"),
        event(2, "item_completed", item={"type": "FileChange", "id": "r", "changes": {"a": {"type": "add"}}}),
        output(3, "c"),
        event(3, "exec_command_end", call_id="c", exit_code=1),
        counted(3, usage(10, 0, 1), usage(10, 0, 1)),
    ]
    last = said(9, "the end", "assistant")
    for place, one in enumerate(whole):
        for key in one:
            session_of(*whole[:place], {**one, key: value}, *whole[place + 1 :], last)
        for key in one["payload"]:
            damaged = [*whole[:place], {**one, "payload": {**one["payload"], key: value}}, *whole[place + 1 :], last]
            assert only(session_of(*damaged), ApiMessage)[-1].text.endswith("the end")


FIXTURES = {"small": (118, 81), "large": (20, 182), "codex_053_rate_limit": (5, 182), "schema_drift": (5, 0)}


@pytest.mark.parametrize("name", FIXTURES)
def test_fixtures(name: str) -> None:
    file = DATA / f"{name}.jsonl"
    if not file.exists():
        pytest.skip("the sample logs are not there")
    session = read(io.BytesIO(file.read_bytes()), str(file))
    assert session.health.is_good
    assert (session.health.lines, sum(m.usage.output for m in only(session, ApiMessage))) == FIXTURES[name]
