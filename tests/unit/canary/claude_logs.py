"""Logs of Claude Code, for tests: made up, written as files of a folder `projects`."""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

BEGIN = 1_770_000_000
"""Seconds since 1970."""


def at(seconds: float) -> str:
    moment = datetime.datetime.fromtimestamp(BEGIN + seconds, datetime.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def entry(kind: str, session: str, seconds: float, unique: str, **more: Any) -> dict[str, Any]:
    given = {
        "cwd": "/home/me/work",
        "version": "2.1.42",
        "gitBranch": "main",
        "isSidechain": False,
        "userType": "external",
    }
    return {
        "parentUuid": None,
        **given,
        "sessionId": session,
        "type": kind,
        "uuid": unique,
        "timestamp": at(seconds),
        **more,
    }


def turn(session: str, number: int, *, origin: str = "", output: int = 100, secret: str = "") -> list[dict[str, Any]]:
    """A prompt, an answer that calls a tool, the tool's result, an answer of text: two messages, one call.

    `origin` is the session that it was copied from.
    """
    name, start = f"{origin or session}-{number}", 60.0 * number
    call = {
        "type": "tool_use",
        "id": f"toolu_{name}",
        "name": "Edit",
        "input": {"file_path": "a.py", "old_string": secret},
    }
    result = {"type": "tool_result", "tool_use_id": f"toolu_{name}", "content": f"done {secret}", "is_error": False}

    def answer(place: int, *blocks: dict[str, Any]) -> dict[str, Any]:
        message = {
            "id": f"msg_{name}-{place}",
            "model": "claude-opus-4-6",
            "content": list(blocks),
            "usage": {"input_tokens": 3, "output_tokens": output, "cache_read_input_tokens": 50},
        }
        more = {"requestId": f"req_{name}-{place}", "message": message}
        return entry("assistant", session, start + place, f"{name}-a{place}", **more)

    thought = {"type": "thinking", "thinking": f"hm {secret}", "signature": "x" * 40}
    return [
        entry(
            "user",
            session,
            start,
            f"{name}-p",
            message={"role": "user", "content": f"please fix part {number} {secret}"},
        ),
        answer(1, thought, call),
        entry("user", session, start + 2, f"{name}-r", message={"role": "user", "content": [result]}),
        answer(3, {"type": "text", "text": f"Fixed. {secret}"}),
    ]


def lines(*turns: Sequence[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(one).encode() + b"\n" for turn in turns for one in turn)


def session_lines(session: str, turns: int, first: int = 0, **more: Any) -> bytes:
    return lines(*(turn(session, first + number, **more) for number in range(turns)))


def write(projects: Path, session: str, content: bytes, *, project: str = "-home-me-work", mtime: float = 0) -> Path:
    """Write a log, with a time of change (seconds after the beginning) if one is given."""
    file = projects / project / f"{session}.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    if mtime:
        os.utime(file, (BEGIN + mtime, BEGIN + mtime))
    return file


def name(number: int) -> str:
    """The name of a session."""
    return f"0a1b2c3d-0000-4000-8000-{number:012}"
