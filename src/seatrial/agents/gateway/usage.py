"""Reads usage, model, stop reason and tool names from answers as they pass.

It stands beside the stream and never breaks it: what it does not understand it leaves out.  Tokens are those the
provider reports; when an answer ends without a report (client gone, stream cut, server that reports nothing) they
are estimated from its length, so that breaking off does not make an answer free.
"""

from __future__ import annotations

import json
import re
from typing import Any

from seatrial.agents.gateway.records import Usage

BYTES_PER_TOKEN = 4
_LONGEST_LINE = 4 * 2**20
_TEXT = re.compile(
    rb'"(?:text|thinking|partial_json|delta|content|arguments|reasoning_content)":\s?"((?:[^"\\]|\\.)*)"'
)
_STOPS = {
    "tool_use": "tool_use",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "end_turn": "end",
    "stop_sequence": "end",
    "stop": "end",
    "completed": "end",
    "STOP": "end",
    "pause_turn": "end",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "max_output_tokens": "length",
    "length": "length",
    "MAX_TOKENS": "length",
    "incomplete": "length",
    "refusal": "refusal",
    "content_filter": "refusal",
    "SAFETY": "refusal",
    "RECITATION": "refusal",
    "BLOCKLIST": "refusal",
    "PROHIBITED_CONTENT": "refusal",
    "SPII": "refusal",
    "failed": "error",
    "MALFORMED_FUNCTION_CALL": "error",
    "OTHER": "error",
}


class AnswerReader:
    """The facts of one answer.  `feed` pieces of the body, then `close`."""

    def __init__(self, dialect: str, events: bool) -> None:
        self._read = {"anthropic": self._anthropic, "openai": self._openai, "gemini": self._gemini}[dialect]
        self._dialect = dialect
        self._events = events
        self._pending: list[bytes] = []
        self._pending_length = 0
        self._text_bytes = 0
        self._bytes = 0
        self.model = ""
        self.stop = ""
        self.error = ""
        self.tools: list[str] = []
        self.reported = False
        self.input = self.output = self.cache_read = self.cache_write = self.cache_write_hour = 0

    def feed(self, piece: bytes) -> None:
        """Take the next piece of the body."""
        self._bytes += len(piece)
        if not self._events:
            if self._pending_length <= _LONGEST_LINE:
                self._keep(piece)
            return
        if b"\n" not in piece:
            self._keep(piece)
            return
        *lines, rest = (b"".join([*self._pending, piece]) if self._pending else piece).split(b"\n")
        self._pending, self._pending_length = [], 0
        self._keep(rest)
        for line in lines:
            if line.startswith(b"data:"):
                self._event(line[5:])

    def close(self) -> None:
        """Take the end of the body."""
        data = b"".join(self._pending)
        self._pending = []
        if self._events:
            if data.startswith(b"data:"):
                self._event(data[5:])
        elif data:
            self._object(data)
        if self.tools and self.stop in ("", "end"):
            self.stop = "tool_use"

    def usage(self, request_bytes: int, finished: bool) -> Usage:
        """Return tokens of the answer; estimated where the provider did not say."""
        seen = (self._text_bytes if self._events else self._bytes) // BYTES_PER_TOKEN
        read, output = self.input, self.output
        if not self.reported:
            read, output = request_bytes // BYTES_PER_TOKEN, seen
        elif not finished:
            output = max(output, seen)
        return Usage(read, output, self.cache_read, self.cache_write, None, 1)

    def _keep(self, piece: bytes) -> None:
        if piece and self._pending_length <= _LONGEST_LINE:
            self._pending.append(piece)
            self._pending_length += len(piece)

    def _event(self, data: bytes) -> None:
        head = data[:120]
        if b"content_block_delta" in head or b'.delta"' in head:
            self._text_bytes += sum(len(found.group(1)) for found in _TEXT.finditer(data))
            return
        if self._dialect != "anthropic" and b'"type":"response.' not in head and b'"type": "response.' not in head:
            self._text_bytes += sum(len(found.group(1)) for found in _TEXT.finditer(data))
        self._object(data)

    def _object(self, data: bytes) -> None:
        try:
            value = json.loads(data)
            for entry in value if isinstance(value, list) else [value]:
                if isinstance(entry, dict):
                    self._read(entry)
        except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
            # `[DONE]`, a truncated object, or a shape of a later version of the API.
            return

    def _failed(self, error: Any) -> None:
        if error:
            self.error = str(error.get("message", error) if isinstance(error, dict) else error)[:500]
            self.stop = "error"

    def _named(self, model: Any) -> None:
        if isinstance(model, str) and model:
            self.model = model

    def _tool(self, name: Any) -> None:
        if isinstance(name, str) and name:
            self.tools.append(name)

    def _stopped(self, reason: Any) -> None:
        if isinstance(reason, str):
            self.stop = _STOPS.get(reason, "end")

    def _anthropic(self, value: dict[str, Any]) -> None:
        self._failed(value.get("error"))
        message = value.get("message") if value.get("type") == "message_start" else value
        message = message if isinstance(message, dict) else value
        self._named(message.get("model"))
        blocks = [value["content_block"]] if "content_block" in value else message.get("content") or []
        for block in blocks if isinstance(blocks, list) else []:
            if block.get("type") == "tool_use":
                self._tool(block.get("name"))
        self._stopped(message.get("stop_reason") or (value.get("delta") or {}).get("stop_reason"))
        usage = message.get("usage") or value.get("usage")
        if isinstance(usage, dict):
            self.reported = True
            self.input = _count(usage, "input_tokens") or self.input
            self.output = _count(usage, "output_tokens") or self.output
            self.cache_read = _count(usage, "cache_read_input_tokens") or self.cache_read
            self.cache_write = _count(usage, "cache_creation_input_tokens") or self.cache_write
            hour = _count(usage.get("cache_creation"), "ephemeral_1h_input_tokens")
            self.cache_write_hour = hour or self.cache_write_hour

    def _openai(self, value: dict[str, Any]) -> None:
        if str(value.get("type", "")).startswith("response."):
            item = value.get("item")
            if value["type"] == "response.output_item.done" and isinstance(item, dict):
                self._called(item)
            response = value.get("response")
            if isinstance(response, dict):
                self._responses(response, tools=False)
        elif value.get("object") == "response" or "output" in value:
            self._responses(value, tools=True)
        else:
            self._chat(value)

    def _called(self, item: dict[str, Any]) -> None:
        if item.get("type") in ("function_call", "custom_tool_call"):
            self._tool(item.get("name"))
        elif item.get("type") == "local_shell_call":
            self._tool("local_shell")

    def _responses(self, response: dict[str, Any], tools: bool) -> None:
        self._named(response.get("model"))
        self._failed(response.get("error"))
        for item in response.get("output") or [] if tools else []:
            self._called(item)
        status = response.get("status")
        if status in ("completed", "incomplete", "failed"):
            self._stopped((response.get("incomplete_details") or {}).get("reason") or status)
        self._openai_usage(response.get("usage"), "input_tokens", "output_tokens")

    def _chat(self, value: dict[str, Any]) -> None:
        self._failed(value.get("error"))
        self._named(value.get("model"))
        for choice in value.get("choices") or []:
            for call in (choice.get("delta") or choice.get("message") or {}).get("tool_calls") or []:
                self._tool((call.get("function") or {}).get("name"))
            self._stopped(choice.get("finish_reason"))
        self._openai_usage(value.get("usage"), "prompt_tokens", "completion_tokens")

    def _openai_usage(self, usage: Any, read: str, written: str) -> None:
        if isinstance(usage, dict):
            self.reported = True
            self.cache_read = _count(usage.get(f"{read}_details"), "cached_tokens")
            self.input = max(_count(usage, read) - self.cache_read, 0)
            self.output = _count(usage, written)

    def _gemini(self, value: dict[str, Any]) -> None:
        self._failed(value.get("error"))
        self._named(value.get("modelVersion"))
        for candidate in value.get("candidates") or []:
            for part in (candidate.get("content") or {}).get("parts") or []:
                if "functionCall" in part:
                    self._tool(part["functionCall"].get("name"))
            self._stopped(candidate.get("finishReason"))
        if (value.get("promptFeedback") or {}).get("blockReason"):
            self.stop = "refusal"
        usage = value.get("usageMetadata")
        if isinstance(usage, dict):
            self.reported = True
            self.cache_read = _count(usage, "cachedContentTokenCount")
            prompt = _count(usage, "promptTokenCount") + _count(usage, "toolUsePromptTokenCount")
            self.input = max(prompt - self.cache_read, 0)
            # Thoughts are billed as output, but reported beside it.
            self.output = _count(usage, "candidatesTokenCount") + _count(usage, "thoughtsTokenCount")


def _count(usage: Any, name: str) -> int:
    number = usage.get(name) if isinstance(usage, dict) else None
    return max(number, 0) if isinstance(number, int) and not isinstance(number, bool) else 0
