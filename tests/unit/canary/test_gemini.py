"""Gemini CLI's logs: the last state of each message, whichever of the two forms it is in."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seatrial.canary.events import ApiMessage, Interrupt, Note, Prompt, Session, ToolCall, ToolResult
from seatrial.canary.readers import gemini
from seatrial.canary.readers.gemini import read

DATA = Path(__file__).parents[4] / "shared" / "data" / "canary" / "other" / "gemini"
NAME = "/home/me/.gemini/tmp/work/chats/session-2026-05-01T10-00-0a1b2c3d.jsonl"
HEADER = {"sessionId": "0a1b2c3d-0000-4000-8000-000000000001", "projectHash": "ab" * 32, "kind": "main"}


def message(number: int, kind: str, content: Any, **more: Any) -> dict[str, Any]:
    at = f"2026-05-01T10:{number // 60:02}:{number % 60:02}.000Z"
    return {"id": f"message-with-a-long-name-{number}", "timestamp": at, "type": kind, "content": content, **more}


def answer(number: int, words: str, output: int = 5, **more: Any) -> dict[str, Any]:
    tokens = {"input": 100, "output": output, "cached": 60, "thoughts": 7, "tool": 3, "total": 115}
    return message(number, "gemini", words, model="gemini-3-pro", tokens=tokens, **more)


def call(name: str, status: str = "success", response: Any = None, **arguments: Any) -> dict[str, Any]:
    result = [{"functionResponse": {"id": f"{name}-1", "name": name, "response": response or {"output": "four"}}}]
    return {"id": f"{name}-1", "name": name, "args": arguments, "status": status, "result": result}


def session_of(*entries: dict[str, Any], name: str = NAME, whole: bool = False) -> Session:
    if whole:
        content = json.dumps({**HEADER, "messages": list(entries)}, indent=2).encode()
    else:
        content = b"".join(json.dumps(one).encode() + b"\n" for one in (HEADER, *entries))
    return read(io.BytesIO(content), name)


def only(session: Session, kind: type) -> list[Any]:
    return [found for found in session.events if isinstance(found, kind)]


@pytest.mark.parametrize("whole", [True, False])
def test_what_is_counted(whole: bool) -> None:
    thought = {"subject": "Plan", "description": "Look first."}
    session = session_of(
        message(1, "user", [{"text": "list the files"}]),
        answer(2, "", thoughts=[thought], toolCalls=[call("run_shell_command", command="ls")]),
        answer(3, "Two files.", output=20),
        message(4, "info", "Request cancelled."),
        message(5, "error", "quota"),
        message(6, "user", "/compress now"),
        message(7, "user", [{"functionResponse": {"name": "x"}}]),
        whole=whole,
    )
    first, second = only(session, ApiMessage)
    used = first.usage
    assert (used.input, used.cache_read, used.output, used.reasoning) == (43, 60, 12, 7)
    assert (second.usage.output, second.text, second.version, second.model) == (27, "Two files.", "", "gemini-3-pro")
    assert (first.thinking_blocks, first.thinking_characters) == (1, 15)
    assert [(c.kind, c.command) for c in only(session, ToolCall)] == [("shell", "ls")]
    assert [(r.is_error, r.size) for r in only(session, ToolResult)] == [(False, 4)]
    assert [(p.origin, p.text) for p in only(session, Prompt)] == [
        ("typed", "list the files"),
        ("command", "/compress"),
    ]
    assert len(only(session, Interrupt)) == 1
    assert [note.name for note in only(session, Note)] == ["api_error"]
    assert (session.id, session.cwd, session.parent) == (HEADER["sessionId"], "work", "")
    assert {"usage", "cache", "thinking", "tools", "is_error"} <= session.fields


def test_the_last_state_of_a_message_counts() -> None:
    session = session_of(
        message(1, "user", "go"),
        answer(2, "", toolCalls=[{**call("read_file"), "status": "executing"}]),
        {"$set": {"lastUpdated": "2026-05-01T10:00:02Z", "directories": ["/home/me/work"]}},
        answer(2, "done", output=9, toolCalls=[call("read_file", file_path="a.py")]),
    )
    assert [(m.text, m.usage.output) for m in only(session, ApiMessage)] == [("done", 16)]
    assert [c.path for c in only(session, ToolCall)] == ["a.py"]
    assert len(only(session, ToolResult)) == 1
    assert session.cwd == "/home/me/work"


def test_what_was_rewound_is_away_and_a_place_that_is_not_there_changes_nothing() -> None:
    first, wrong, again = message(1, "user", "first"), message(3, "user", "wrong"), message(5, "user", "again")
    rewound = {"$rewindTo": wrong["id"]}
    session = session_of(first, answer(2, "one"), wrong, answer(4, "two"), rewound, again, {"$rewindTo": "nowhere"})
    assert [prompt.text for prompt in only(session, Prompt)] == ["first", "again"]
    assert [m.text for m in only(session, ApiMessage)] == ["one"]
    assert session.health.wrong_fields == 1


def test_a_history_that_was_shortened_for_the_model_still_happened() -> None:
    first, last = message(1, "user", "first"), message(3, "user", "last")
    summary = message(4, "user", "<state_snapshot> what was before")
    session = session_of(first, answer(2, "one"), last, {"$set": {"messages": [summary, last]}}, answer(5, "two"))
    assert [(p.text[:5], p.origin) for p in only(session, Prompt)] == [
        ("first", "typed"),
        ("last", "typed"),
        ("<stat", "injected"),
    ]
    assert [m.text for m in only(session, ApiMessage)] == ["one", "two"]
    assert [note.name for note in only(session, Note)] == ["compact"]


@pytest.mark.parametrize(
    ("made", "is_error", "is_denied"),
    [
        (call("x", "error", {"error": "no such file"}), True, False),
        (call("x", "success", {"error": "no such file"}), True, False),
        (call("x", "success", {"output": "Output: (empty)\nExit Code: 2\nSignal: 0"}), True, False),
        (call("x", "cancelled"), True, True),
        (call("x"), False, False),
    ],
)
def test_how_a_call_ended(made: dict[str, Any], is_error: bool, is_denied: bool) -> None:
    session = session_of(answer(1, "", toolCalls=[made]))
    assert [(r.is_error, r.is_denied) for r in only(session, ToolResult)] == [(is_error, is_denied)]


def test_sub_agents_are_known_by_their_folder() -> None:
    session = session_of(message(1, "user", "look"), name="/h/.gemini/tmp/work/chats/the-parent/0a1b.jsonl")
    assert session.parent == "the-parent"
    assert [prompt.origin for prompt in only(session, Prompt)] == ["scripted"]


@pytest.mark.parametrize("content", [b'{\n "sessionId": "a",\n "messages": [', b"nonsense\nmore", b"\0\0\0"])
def test_a_damaged_object_is_counted_as_unreadable(content: bytes) -> None:
    session = read(io.BytesIO(content), NAME)
    assert session.events == []
    assert not session.health.is_good
    assert session.health.bytes == len(content)


def test_an_object_that_is_too_large_is_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gemini, "WHOLE_LIMIT", 5000)
    content = json.dumps({**HEADER, "messages": [message(1, "user", "x" * 9000)]}, indent=2).encode()
    session = read(io.BytesIO(content), NAME)
    assert (session.events, session.health.long_lines, session.health.is_good) == ([], 1, False)
    assert read(io.BytesIO(b""), NAME).health.is_good


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=4), lambda s: st.lists(s, max_size=3)))
def test_a_field_of_any_type_breaks_nothing(value: Any) -> None:
    whole = [
        message(1, "user", "go"),
        {"$set": {"messages": [message(1, "user", "go")]}},
        {"$rewindTo": "nowhere"},
        answer(2, "", thoughts=[{"subject": "x"}], toolCalls=[call("x")]),
    ]
    last = answer(9, "the end")
    for place, one in enumerate(whole):
        for key in one:
            session = session_of(*whole[:place], {**one, key: value}, *whole[place + 1 :], last)
            assert only(session, ApiMessage)[-1].text == "the end"
    damaged = {**call("x"), "result": [value, {"functionResponse": value}], "args": value}
    session_of({**answer(2, ""), "toolCalls": [damaged, value], "tokens": value, "thoughts": [value]})


FIXTURES = {"small.json": (1, 1, 5), "large.json": (2, 4, 10), "jsonl_v040.jsonl": (1, 2, 228)}


@pytest.mark.parametrize("name", FIXTURES)
def test_fixtures(name: str) -> None:
    file = DATA / name
    if not file.exists():
        pytest.skip("the sample logs are not there")
    with file.open("rb") as stream:
        session = read(stream, str(file))
    messages = only(session, ApiMessage)
    found = (len(only(session, Prompt)), len(messages), sum(m.usage.output for m in messages))
    assert found == FIXTURES[name]
    assert session.health.is_good
    assert session.health.unknown == {}
