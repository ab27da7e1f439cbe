"""OpenCode's stores: folders and databases give the same events."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from seatrial.canary.events import ApiMessage, Interrupt, Note, Prompt, Session, ToolCall, ToolResult
from seatrial.canary.readers.opencode import Database, folder_state, read_folder
from tests.unit.canary.opencode_stores import (
    BEGIN,
    HEADER,
    SESSION,
    Messages,
    assistant,
    text,
    tokens,
    tool,
    user,
    write_database,
    write_folder,
    write_rows,
)

DATA = Path(__file__).parents[4] / "shared" / "data" / "canary" / "other" / "opencode"
ABORTED = {"name": "MessageAbortedError", "data": {"message": "stop"}}
MESSAGES: Messages = [
    user(1, text("read it"), text("attached by the program", synthetic=True)),
    assistant(
        2,
        {"type": "step-start"},
        {"type": "reasoning", "text": "hm hm", "metadata": {"anthropic": {"signature": "x" * 40}}},
        tool("read"),
        {"type": "step-finish", "tokens": tokens(9)},
        variant="high",
    ),
    assistant(3, tool("bash", exit_code=1, input={"command": "false"}), text("It failed."), tokens=tokens(20, 5)),
    user(4, text("only by the program", synthetic=True)),
    user(5, {"type": "compaction", "auto": True}),
    user(6, {"type": "subtask", "command": "review", "prompt": "…", "agent": "x"}),
    assistant(7, tool("edit", "error", error="The user rejected permission to use this tool"), error=ABORTED),
    assistant(8, {"type": "from-the-future"}, tokens=None, error={"name": "APIError"}),
]


def only(session: Session, kind: type) -> list[Any]:
    return [found for found in session.events if isinstance(found, kind)]


def read(root: Path, how: str, messages: Messages = MESSAGES) -> Session:
    if how == "folder":
        return read_folder(write_folder(root, messages))
    write_database(root / "opencode.db", messages)
    with Database(root / "opencode.db") as database:
        assert list(database.sessions()) == [SESSION]
        return database.read(SESSION)


@pytest.mark.parametrize("how", ["folder", "database"])
def test_what_is_counted(tmp_path: Path, how: str) -> None:
    session = read(tmp_path, how)
    answers = only(session, ApiMessage)
    assert [(m.usage.output, m.usage.input, m.usage.cache_read, m.usage.cache_write) for m in answers[:3]] == [
        (9, 10, 50, 6),
        (20, 10, 50, 6),
        (9, 10, 50, 6),
    ]
    first = answers[0]
    assert (first.model, first.version, first.effort) == ("m-1", "1.3.17", "high")
    assert (first.thinking_blocks, first.thinking_characters, first.signatures) == (1, 5, [40])
    assert [m.is_error for m in answers] == [False, False, False, True]
    assert [(p.origin, p.text, p.permission) for p in only(session, Prompt)] == [
        ("typed", "read it", "build"),
        ("injected", "", "build"),
        ("command", "/review", "build"),
    ]
    assert [(c.kind, c.path, c.command) for c in only(session, ToolCall)] == [
        ("read", "a.py", ""),
        ("shell", "", "false"),
        ("edit", "a.py", ""),
    ]
    ended = [(r.is_error, r.is_denied) for r in only(session, ToolResult)]
    assert ended == [(False, False), (True, False), (True, True)]
    assert len(only(session, Interrupt)) == 1
    assert [note.name for note in only(session, Note)] == ["compact", "api_error"]
    assert session.health.unknown == {"part from-the-future": 1}
    assert (session.id, session.cwd, session.parent) == (SESSION, "/home/me/work", "")
    assert answers[0].at == BEGIN / 1000 + 2


def test_folders_and_databases_say_the_same(tmp_path: Path) -> None:
    assert read(tmp_path, "folder").events == read(tmp_path, "database").events


def test_the_second_generation_of_databases(tmp_path: Path) -> None:
    call = {
        "type": "tool",
        "id": "call_1",
        "name": "bash",
        "time": {"created": BEGIN + 1500},
        "state": {"status": "error", "input": {"command": "ls"}, "error": {"message": "no"}, "content": None},
    }
    rows = [
        ("user", {"text": "go"}),
        ("assistant", {"model": {"id": "m-2", "providerID": "p"}, "tokens": tokens(4, 9), "content": [call]}),
        ("compaction", {"status": "completed"}),
        ("assistant", {"model": {"id": "m-2"}, "content": [text("Done."), {"type": "reasoning", "text": "hm"}]}),
        ("idle", {"outcome": "interrupted"}),
        ("shell", {"command": "ls"}),
        ("new-kind", {}),
    ]
    write_rows(tmp_path / "opencode.db", rows)
    with Database(tmp_path / "opencode.db") as database:
        session = database.read(SESSION)
    first, second = only(session, ApiMessage)
    assert (first.model, first.usage.output, first.usage.reasoning, first.version) == ("m-2", 13, 9, "2.0.21")
    assert (second.text, second.thinking_characters) == ("Done.", 2)
    assert [p.text for p in only(session, Prompt)] == ["go"]
    assert [(r.is_error, r.size) for r in only(session, ToolResult)] == [(True, 2)]
    assert len(only(session, Interrupt)) == 1
    assert [note.name for note in only(session, Note)] == ["compact"]
    assert session.health.unknown == {"new-kind": 1}


@pytest.mark.parametrize(
    ("given", "output", "reasoning"),
    [
        (tokens(20, 5), 20, 5),
        (tokens(20, 5, total=91), 25, 5),
        (tokens(20, 5, total=86), 20, 5),
        (tokens(2, 5), 7, 5),
    ],
)
def test_whether_output_holds_the_reasoning(tmp_path: Path, given: Any, output: int, reasoning: int) -> None:
    used = only(read(tmp_path, "folder", [assistant(1, tokens=given)]), ApiMessage)[0].usage
    assert (used.output, used.reasoning) == (output, reasoning)


def test_a_message_of_several_steps_is_as_many_answers(tmp_path: Path) -> None:
    steps = [
        part
        for n in (3, 4)
        for part in ({"type": "step-start"}, text("x"), {"type": "step-finish", "tokens": tokens(n)})
    ]
    answers = only(read(tmp_path, "folder", [assistant(1, *steps, tokens=tokens(4))]), ApiMessage)
    assert [m.usage.output for m in answers] == [3, 4]
    assert len({m.key for m in answers}) == 2


def test_a_sub_agent_is_known_by_its_parent(tmp_path: Path) -> None:
    header = {**HEADER, "parentID": "ses_parent"}
    write_database(tmp_path / "opencode.db", MESSAGES, header)
    with Database(tmp_path / "opencode.db") as database:
        assert database.read(SESSION).parent == "ses_parent"
    assert read_folder(write_folder(tmp_path, MESSAGES, header)).parent == "ses_parent"


def test_files_that_are_damaged_or_none_are_counted(tmp_path: Path) -> None:
    file = write_folder(tmp_path, MESSAGES)
    folder = tmp_path / "storage" / "message" / SESSION
    names = sorted(folder.iterdir())
    names[0].write_text('{"role": "us')
    names[1].unlink()
    os.mkfifo(names[1])
    session = read_folder(file)
    assert session.health.bad_lines == 2
    assert not session.health.is_good
    assert len(only(session, ApiMessage)) == 3


def test_a_message_that_is_written_again_changes_the_state(tmp_path: Path) -> None:
    file = write_folder(tmp_path, MESSAGES)
    before = folder_state(file)
    assert folder_state(file) == before
    assert before.messages == len(MESSAGES)
    message = sorted((tmp_path / "storage" / "message" / SESSION).iterdir())[-1]
    os.utime(message, ns=(0, before.newest + 1))
    assert folder_state(file) != before


def test_a_database_is_read_while_it_is_written_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "opencode.db"
    write_database(file, MESSAGES[:2])
    with Database(file) as database:
        assert database.sessions()[SESSION].messages == 2
    assert [path.name for path in tmp_path.iterdir()] == ["opencode.db"]
    with closing(sqlite3.connect(file)) as writer:
        writer.execute("PRAGMA journal_mode=WAL")
        writer.execute("INSERT INTO message SELECT 'msg_9', session_id, 1, 9, data FROM message LIMIT 1")
        writer.commit()
        with Database(file) as database:
            assert database.sessions()[SESSION].messages == 3
            assert len(only(database.read(SESSION), Prompt)) == 2
            with pytest.raises(sqlite3.OperationalError, match="readonly"):
                database._connection.execute("DELETE FROM message")


@pytest.mark.parametrize("content", [b"", b"nonsense" * 500])
def test_what_is_no_such_database_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "opencode.db"
    file.write_bytes(content)
    with pytest.raises(sqlite3.DatabaseError), Database(file):
        pass


@pytest.mark.parametrize(("name", "messages", "prompts"), [("legacy", 1, 1), ("v2", 3, 3)])
def test_fixtures(name: str, messages: int, prompts: int) -> None:
    folder = DATA / f"storage_{name}"
    if not folder.exists():
        pytest.skip("the sample logs are not there")
    found = [read_folder(file) for file in sorted(folder.glob("session/*/*.json"))]
    assert sum(len(only(session, ApiMessage)) for session in found) == messages
    assert sum(len(only(session, Prompt)) for session in found) == prompts
    assert all(session.health.is_good and session.health.unknown == {} for session in found)
    assert sum(len(only(session, ToolCall)) for session in found) == (1 if name == "legacy" else 2)
