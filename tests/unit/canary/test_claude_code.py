"""Claude Code's logs: what is counted, and what is not counted twice."""

from __future__ import annotations

import io
import json
import random
import tarfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seatrial.canary.events import ApiMessage, Interrupt, Note, Prompt, Session, ToolCall, ToolResult
from seatrial.canary.readers.claude_code import read

DATA = Path(__file__).parents[4] / "shared" / "data" / "canary"
SESSION = "0a1b2c3d-0000-4000-8000-000000000001"


def entry(kind: str, number: int, **more: Any) -> dict[str, Any]:
    at = f"2026-03-01T10:{number // 60:02}:{number % 60:02}.000Z"
    return {"type": kind, "uuid": f"u{number}", "timestamp": at, "sessionId": SESSION, "version": "2.1.5", **more}


def answer(number: int, message: str, output: int, *blocks: dict[str, Any], **more: Any) -> dict[str, Any]:
    usage = {"input_tokens": 3, "output_tokens": output, "cache_read_input_tokens": 50}
    body = {"id": message, "model": "claude-opus-4-6", "content": list(blocks), "usage": usage}
    return entry("assistant", number, requestId=f"req_{message}", message=body, **more)


def said(number: int, words: Any, **more: Any) -> dict[str, Any]:
    return entry("user", number, message={"role": "user", "content": words}, **more)


def session_of(*entries: dict[str, Any], name: str = f"p/{SESSION}.jsonl") -> Session:
    return read(io.BytesIO(b"".join(json.dumps(one).encode() + b"\n" for one in entries)), name)


def only(session: Session, kind: type) -> list[Any]:
    return [event for event in session.events if isinstance(event, kind)]


def test_the_largest_count_of_a_message_is_taken() -> None:
    session = session_of(
        answer(1, "a", 1, {"type": "thinking", "thinking": "hm", "signature": "x" * 40}),
        answer(2, "a", 300, {"type": "text", "text": "Here."}),
        answer(3, "a", 250, {"type": "tool_use", "id": "t1", "name": "Read", "input": {"file_path": "a.py"}}),
        answer(4, "b", 7, {"type": "text", "text": "Done."}),
    )
    first, second = only(session, ApiMessage)
    assert (first.usage.output, first.first_usage.output, second.usage.output) == (300, 1, 7)
    assert (first.thinking_blocks, first.signatures, first.text) == (1, [40], "Here.")
    assert {"thinking", "thinking_text", "signature", "tools", "cache"} <= session.fields
    assert [(call.name, call.kind, call.path) for call in only(session, ToolCall)] == [("Read", "read", "a.py")]


def test_the_same_tool_call_and_result_are_counted_once() -> None:
    call = {"type": "tool_use", "id": "t1", "name": "Bash", "input": {"command": "ls"}}
    result = {"type": "tool_result", "tool_use_id": "t1", "content": "four", "is_error": True}
    session = session_of(answer(1, "a", 5, call), answer(2, "a", 5, call), said(3, [result]), said(4, [result]))
    assert len(only(session, ToolCall)) == 1
    assert [(found.is_error, found.size) for found in only(session, ToolResult)] == [(True, 4)]


def test_who_said_it() -> None:
    session = session_of(
        said(1, "please fix the test"),
        said(2, "<command-name>/clear</command-name>"),
        said(3, "<local-command-stdout>ok</local-command-stdout>"),
        said(4, "reminder", isMeta=True),
        said(5, "run it", promptSource="sdk"),
        said(6, [{"type": "text", "text": "[Request interrupted by user for tool use]"}]),
        said(7, "summary of what was", isCompactSummary=True),
        said(9, "done", origin={"kind": "task-notification"}),
        said(8, [{"type": "text", "text": "look"}, {"type": "image", "source": {}}]),
    )
    origins = [prompt.origin for prompt in only(session, Prompt)]
    assert origins == ["typed", "command", "injected", "injected", "scripted", "injected", "typed"]
    assert len(only(session, Interrupt)) == 1
    assert [note.name for note in only(session, Note)] == ["compact"]


def test_answers_of_sub_agents_are_apart() -> None:
    inner = answer(2, "inner", 90)
    session = session_of(
        answer(1, "a", 5),
        entry("progress", 3, data={"type": "agent_progress", "message": inner}),
        answer(4, "side", 8, isSidechain=True),
    )
    assert [message.usage.output for message in only(session, ApiMessage)] == [5]
    assert sorted(message.usage.output for message in session.nested) == [8, 90]
    own = session_of(answer(4, "side", 8, isSidechain=True), name=f"p/{SESSION}/subagents/agent-1.jsonl")
    assert own.parent == SESSION
    assert len(only(own, ApiMessage)) == 1


def test_made_up_answers_and_unknown_lines_are_said() -> None:
    failed = answer(1, "a", 0)
    failed["message"]["model"] = "<synthetic>"
    session = session_of(failed, {"type": "from-the-future"}, {"type": "from-the-future"}, {"type": "ai-title"})
    assert only(session, ApiMessage)[0].is_error
    assert session.health.unknown == {"from-the-future": 2}


def test_lines_of_another_session_are_counted() -> None:
    other = said(1, "earlier")
    other["sessionId"] = "another"
    session = session_of(other, said(2, "now"), said(3, "and now"))
    assert session.id == SESSION
    assert session.health.other_sessions == 1


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=4), lambda s: st.lists(s, max_size=3)))
def test_a_field_of_any_type_breaks_nothing(value: Any) -> None:
    whole = [
        answer(1, "a", 5, {"type": "tool_use", "id": "t", "name": "Read", "input": {"file_path": "a"}}),
        said(2, [{"type": "tool_result", "tool_use_id": "t", "content": "x"}]),
        entry("system", 3, subtype="turn_duration", durationMs=5),
        answer(9, "last", 11),
    ]
    for place, one in enumerate(whole[:-1]):
        for key in one:
            damaged = [*whole[:place], {**one, key: value}, *whole[place + 1 :]]
            session = session_of(*damaged)
            assert only(session, ApiMessage)[-1].usage.output == 11
        for key in one.get("message", {}):
            damaged = [*whole[:place], {**one, "message": {**one["message"], key: value}}, *whole[place + 1 :]]
            assert only(session_of(*damaged), ApiMessage)[-1].usage.output == 11


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 500)), min_size=1, max_size=12),
    st.randoms(use_true_random=False),
)
def test_order_and_repetition_of_lines_change_no_total(lines: list[tuple[str, int]], chance: random.Random) -> None:
    entries = [answer(number, message, output) for number, (message, output) in enumerate(lines)]
    moved = entries + chance.choices(entries, k=3)
    chance.shuffle(moved)
    expected = {message: max(output for other, output in lines if other == message) for message, _ in lines}
    for given_lines in (entries, moved):
        found = {m.key.split(":")[0]: m.usage.output for m in only(session_of(*given_lines), ApiMessage)}
        assert found == expected


def independent(content: bytes) -> tuple[int, int]:
    """Output tokens and messages of a log's own thread, counted with a dictionary and nothing else."""
    largest: dict[str, int] = {}
    for line in content.decode(errors="replace").split("\n"):
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if found.get("type") == "assistant" and not found.get("isSidechain"):
            key = found["message"]["id"]
            largest[key] = max(largest.get(key, 0), found["message"]["usage"]["output_tokens"])
    return sum(largest.values()), len(largest)


def test_totals_of_real_logs_equal_an_independent_count() -> None:
    archive = DATA / "claude_code.tar.xz"
    if not archive.exists():
        pytest.skip("the real logs are not there")
    sessions, first, total = 0, 0, 0
    with tarfile.open(archive) as members:
        for member in members:
            stream = members.extractfile(member) if member.name.endswith(".jsonl") else None
            if stream is None:
                continue
            content = stream.read()
            session = read(io.BytesIO(content), member.name)
            messages = only(session, ApiMessage)
            assert (sum(m.usage.output for m in messages), len(messages)) == independent(content), member.name
            assert session.health.unknown == {}
            first += sum(m.first_usage.output for m in messages)
            total += sum(m.usage.output for m in messages)
            sessions += 1
    assert sessions == 159
    # Tools that count the first line of a message see a fraction of these versions' output.
    assert 0.05 < first / total < 0.25


@pytest.mark.parametrize(("name", "prompts"), [("small.jsonl", 0), ("large.jsonl", 1), ("schema_drift.jsonl", 1)])
def test_fixtures(name: str, prompts: int) -> None:
    file = DATA / "other" / "claude" / name
    if not file.exists():
        pytest.skip("the sample logs are not there")
    with file.open("rb") as stream:
        session = read(stream, str(file))
    assert session.health.is_good
    assert session.health.lines == len([line for line in file.read_bytes().split(b"\n") if line.strip()])
    assert sum(prompt.origin == "typed" for prompt in only(session, Prompt)) >= prompts
