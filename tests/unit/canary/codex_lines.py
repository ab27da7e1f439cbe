"""Lines of Codex's logs, for tests: made up, in the shapes that the program writes."""

from __future__ import annotations

import datetime
import io
import json
import uuid
from typing import Any

from seatrial.canary.events import Session
from seatrial.canary.readers.codex import read

BEGIN = 1_770_000_000
"""Seconds since 1970 at which the threads of the tests are made."""


def uuid7(seconds: float, tail: int = 1) -> str:
    """An identifier with a time."""
    return str(uuid.UUID(int=(int(seconds * 1000) << 80) | (7 << 76) | (2 << 62) | tail))


THREAD = uuid7(BEGIN)


def line(kind: str, number: float, **payload: Any) -> dict[str, Any]:
    """A line `number` seconds after the beginning."""
    at = datetime.datetime.fromtimestamp(BEGIN + number, datetime.UTC).isoformat().replace("+00:00", "Z")
    return {"timestamp": at, "type": kind, "payload": payload}


def meta(number: float = 0, **more: Any) -> dict[str, Any]:
    given = {"id": THREAD, "cwd": "/home/me/work", "originator": "codex_cli_rs", "cli_version": "0.125.0"}
    return line("session_meta", number, **{**given, "git": {"branch": "main"}, **more})


def context(number: float, model: str = "gpt-5.5", effort: str = "high", **more: Any) -> dict[str, Any]:
    return line("turn_context", number, model=model, effort=effort, approval_policy="on-request", **more)


def item(number: float, kind: str, **more: Any) -> dict[str, Any]:
    return line("response_item", number, type=kind, **more)


def event(number: float, kind: str, **more: Any) -> dict[str, Any]:
    return line("event_msg", number, type=kind, **more)


def said(number: float, words: str, role: str = "user") -> dict[str, Any]:
    kind = "output_text" if role == "assistant" else "input_text"
    return item(number, "message", role=role, content=[{"type": kind, "text": words}])


def typed(number: float, words: str) -> list[dict[str, Any]]:
    return [said(number, words), event(number, "user_message", message=words, images=[])]


def shell(number: float, call: str, *command: str) -> dict[str, Any]:
    return item(number, "function_call", name="shell", call_id=call, arguments=json.dumps({"command": list(command)}))


def output(number: float, call: str, words: str = "ok", code: int = 0) -> dict[str, Any]:
    inner = json.dumps({"output": words, "metadata": {"exit_code": code}})
    return item(number, "function_call_output", call_id=call, output=inner)


def usage(given: int, cached: int, made: int, reasoning: int = 0) -> dict[str, int]:
    return {
        "input_tokens": given,
        "cached_input_tokens": cached,
        "output_tokens": made,
        "reasoning_output_tokens": reasoning,
        "total_tokens": given + made,
    }


def counted(number: float, total: dict[str, int], last: dict[str, int] | None = None) -> dict[str, Any]:
    return event(number, "token_count", info={"total_token_usage": total, "last_token_usage": last}, rate_limits=None)


def content(*lines: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(one).encode() + b"\n" for one in lines)


def session_of(*lines: dict[str, Any], name: str = f"rollout-2026-02-02T10-00-00-{THREAD}.jsonl") -> Session:
    return read(io.BytesIO(content(*lines)), name)
