"""Claude Code writes a tool's result twice: the copy is passed over, and nothing else is."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from seatrial.canary.events import Session, ToolResult
from seatrial.canary.readers import claude_code

from .test_claude_code import SESSION, answer, entry, only, said, session_of


def result(number: int, call: str, content: str, copy: Any, **more: Any) -> dict[str, Any]:
    block = {"type": "tool_result", "tool_use_id": call, "content": content}
    made = {"parentUuid": f"parent-{number}", **said(number, [block])}
    return {**made, "toolUseResult": copy, "sourceToolAssistantUUID": f"parent-{number}", **more}


def lines_of(*entries: dict[str, Any]) -> list[bytes]:
    return [json.dumps(one, separators=(",", ":")).encode() for one in entries]


def read(*lines: bytes) -> Session:
    return claude_code.read(io.BytesIO(b"\n".join(lines) + b"\n"), f"p/{SESSION}.jsonl")


def sizes(session: Session) -> list[int]:
    return [found.size for found in only(session, ToolResult)]


COPIES: list[Any] = [
    "text",
    {"stdout": 'a "quoted" \\ word\n', "nested": [{"toolUseResult": {"sourceToolAssistantUUID": "x"}}]},
    [{"type": "user", "message": {"content": "no"}, "uuid": "u9", "toolUseResult": 1, "sourceToolAssistantUUID": "y"}],
    ',"toolUseResult":,"sourceToolAssistantUUID":"',
    None,
]


@pytest.mark.parametrize("copy", COPIES)
@pytest.mark.parametrize("more", [{}, {"cwd": "/home/ann/project", "gitBranch": "main"}])
def test_with_the_copy_and_without_it_a_session_is_the_same(copy: Any, more: dict[str, Any]) -> None:
    whole = [answer(1, "a", 5), result(2, "t1", "four", copy, **more), result(3, "t2", "seven!!", copy)]
    short = [{key: value for key, value in one.items() if key != "toolUseResult"} for one in whole]
    seen, expected = read(*lines_of(*whole)), read(*lines_of(*short))
    assert seen.events == expected.events
    assert (
        (seen.cwd, seen.branch) == (expected.cwd, expected.branch) == (more.get("cwd", ""), more.get("gitBranch", ""))
    )
    assert sizes(seen) == [4, 7]
    # The same with spaces, as other writers of JSON put them.
    assert session_of(*whole).events == expected.events


def test_two_lines_that_have_run_into_each_other_are_bad() -> None:
    first, second, third = lines_of(*(result(n, f"t{n}", "x" * n, {"stdout": "y" * 50}) for n in (1, 2, 3)))
    for cut in range(len(first)):
        session = read(first[:cut] + second, third)
        assert sizes(session) == ([3] if cut else [2, 3])
        assert session.health.bad_lines == (1 if cut else 0)


def test_a_line_that_is_cut_is_bad() -> None:
    first, second = lines_of(*(result(n, f"t{n}", "x" * n, {"stdout": "y" * 50}) for n in (1, 2)))
    for cut in range(1, len(first)):
        session = read(first[:cut], second)
        assert (sizes(session), session.health.bad_lines) == ([2], 1)


def test_zeros_in_the_copy_are_bad() -> None:
    line = lines_of(result(1, "t1", "x", {"stdout": "middle"}))[0].replace(b"middle", b"mid\0\0\0")
    assert read(line).health.bad_lines == 1


def test_what_stands_after_the_copy_is_read() -> None:
    late = result(2, "t1", "four", {"stdout": "four"})
    message = late.pop("message")
    late["message"] = message
    between = {key: value for key, value in late.items() if key != "sourceToolAssistantUUID"}
    between["sourceToolAssistantUUID"] = late["sourceToolAssistantUUID"]
    for one in (late, between):
        assert sizes(read(*lines_of(one))) == [4]


def test_repeated_counts_of_a_message_are_still_the_largest() -> None:
    inner = answer(2, "a", 90)
    session = session_of(
        answer(1, "a", 50),
        entry("progress", 3, data={"type": "agent_progress", "message": inner}),
        answer(4, "a", 90),
        entry("progress", 5, data={"type": "agent_progress", "message": {**answer(6, "a", 120), "uuid": "u6"}}),
        answer(7, "a", 120),
        answer(8, "a", 120),
    )
    assert [message.usage.output for message in session.nested] == [120]
    assert [event.usage.output for event in session.events if hasattr(event, "usage")] == [120]
