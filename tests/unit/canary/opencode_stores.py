"""Stores of OpenCode, for tests: made up, as folders and as databases of both generations."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

SESSION = "ses_0a1b2c3d4e5f60718293a4b5c6"
BEGIN = 1_770_000_000_000
"""Milliseconds since 1970."""
HEADER = {"id": SESSION, "version": "1.3.17", "directory": "/home/me/work", "time": {"created": BEGIN}}


def user(number: int, *parts: dict[str, Any], **more: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    return _message(number, "user", parts, agent="build", model={"providerID": "p", "modelID": "m-1"}, **more)


def assistant(number: int, *parts: dict[str, Any], **more: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    return _message(number, "assistant", parts, **{"modelID": "m-1", "providerID": "p", "tokens": tokens(9), **more})


def _message(number: int, role: str, parts: Any, **more: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    name = f"msg_{number:04}_long_enough_to_be_unique"
    message = {"id": name, "sessionID": SESSION, "role": role, "time": {"created": BEGIN + 1000 * number}, **more}
    owned = [{"id": f"prt_{number:04}_{place}", "messageID": name, **part} for place, part in enumerate(parts)]
    return message, owned


def tokens(output: int, reasoning: int = 0, **more: Any) -> dict[str, Any]:
    return {"input": 10, "output": output, "reasoning": reasoning, "cache": {"read": 50, "write": 6}, **more}


def text(words: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": words, **more}


def tool(name: str, status: str = "completed", exit_code: int | None = None, **state: Any) -> dict[str, Any]:
    metadata = {} if exit_code is None else {"exit": exit_code}
    given = {"status": status, "input": {"filePath": "a.py"}, "output": "four", "metadata": metadata, **state}
    return {"type": "tool", "callID": f"call_{name}", "tool": name, "state": given}


Messages = list[tuple[dict[str, Any], list[dict[str, Any]]]]


def write_folder(root: Path, messages: Messages, header: dict[str, Any] = HEADER) -> Path:
    """Write `root/storage` and return the file of the session's header."""
    file = root / "storage" / "session" / "project" / f"{header['id']}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(header))
    for message, parts in messages:
        path = root / "storage" / "message" / header["id"] / f"{message['id']}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(message))
        for part in parts:
            inner = root / "storage" / "part" / message["id"] / f"{part['id']}.json"
            inner.parent.mkdir(parents=True, exist_ok=True)
            inner.write_text(json.dumps(part))
    return file


def write_database(file: Path, messages: Messages, header: dict[str, Any] = HEADER) -> None:
    """Write a database as 1.2 and later do; adds to one that is there."""
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(
            "CREATE TABLE IF NOT EXISTS session (id TEXT PRIMARY KEY, parent_id TEXT, directory TEXT, version TEXT)"
        )
        for table, owner in (("message", ""), ("part", "message_id TEXT, ")):
            connection.execute(
                f"CREATE TABLE IF NOT EXISTS {table} (id TEXT PRIMARY KEY, {owner}session_id TEXT,"
                " time_created INTEGER, time_updated INTEGER, data TEXT)"
            )
        row = (header["id"], header.get("parentID"), header["directory"], header["version"])
        connection.execute("INSERT OR REPLACE INTO session VALUES (?, ?, ?, ?)", row)
        for message, parts in messages:
            at = message["time"]["created"]
            data = json.dumps({key: value for key, value in message.items() if key not in ("id", "sessionID")})
            row = (message["id"], header["id"], at, at, data)
            connection.execute("INSERT OR REPLACE INTO message VALUES (?, ?, ?, ?, ?)", row)
            for part in parts:
                row = (part["id"], message["id"], header["id"], at, at, json.dumps(part))
                connection.execute("INSERT OR REPLACE INTO part VALUES (?, ?, ?, ?, ?, ?)", row)


def write_rows(file: Path, rows: list[tuple[str, dict[str, Any]]]) -> None:
    """Write a database as 2.0 does: one row for each message, with its parts."""
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(
            "CREATE TABLE session_v2 (id TEXT PRIMARY KEY, parent_id TEXT, directory TEXT, version TEXT)"
        )
        connection.execute(
            "CREATE TABLE session_message (id TEXT PRIMARY KEY, session_id TEXT, type TEXT, seq INTEGER,"
            " time_created INTEGER, time_updated INTEGER, data TEXT)"
        )
        connection.execute("INSERT INTO session_v2 VALUES (?, NULL, '/home/me/work', '2.0.21')", (SESSION,))
        for number, (kind, message) in enumerate(rows):
            at = BEGIN + 1000 * number
            data = json.dumps({"time": {"created": at}, **message})
            row = (f"msg_{number:04}_long_enough_to_be_unique", SESSION, kind, number, at, at, data)
            connection.execute("INSERT INTO session_message VALUES (?, ?, ?, ?, ?, ?, ?)", row)
