"""What one request to a model API says: model, whether the answer is streamed, and what it is recognised by in replay.

A request in a replay is rarely the recorded one byte for byte: dates, ids, temporary paths and durations differ.
`exact` is the hash of the canonical body; `stable` of the body with such parts replaced; `depth` (how many times the
model has spoken), with the names of the tools offered, is its position in the conversation.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode

from seatrial.agents.gateway.dialects import CREDENTIAL_PARAMETERS, GENERATE
from seatrial.agents.gateway.records import Provider

_VOLATILE_KEYS = frozenset(
    {
        "id",
        "call_id",
        "tool_use_id",
        "tool_call_id",
        "signature",
        "thoughtSignature",
        "encrypted_content",
        "cache_control",
        "metadata",
        "client_metadata",
        "user",
        "prompt_cache_key",
        "safety_identifier",
        "session_id",
        "previous_response_id",
    }
)
_VOLATILE_TEXT = [
    (re.compile(pattern, re.IGNORECASE), f"<{name}>")
    for pattern, name in [
        (r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", "id"),
        (r"\b(toolu|call|msg|resp|req|rs|fc|chatcmpl|session|user|item|ses|prt)[_-][A-Za-z0-9_-]{6,}", "id"),
        (r"\b\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?( ?Z|[+-]\d{2}:?\d{2})?)?", "time"),
        (r"\b\d{1,2}/\d{1,2}/\d{2,4}\b", "time"),
        (r"\b((mon|tues?|wed(nes)?|thu(rs)?|fri|sat(ur)?|sun)(day)?,? )?"
         r"(jan|feb|mar|apr|may|june?|july?|aug|sept?|oct|nov|dec)[a-z]* \d{1,2}(,? \d{4})?", "time"),
        (r"\b\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?( ?[ap]m)?\b", "time"),
        (r"(/[\w.@+~-]+){2,}/?", "path"),
        (r"\b(?=[0-9a-f]*\d)[0-9a-f]{7,64}\b", "hex"),
        (r"\b\d+(\.\d+)? ?(ms|s|sec|seconds?|minutes?)\b", "duration"),
        (r"\b\d{6,}\b", "number"),
    ]
]  # fmt: skip


@dataclass(frozen=True)
class Call:
    """One request to a model API.  `query` has no credentials; `body` is what goes upstream."""

    provider: Provider
    kind: str
    method: str
    path: str
    query: str
    body: bytes
    model: str
    streamed: bool
    value: dict[str, Any] = field(repr=False, compare=False, hash=False)

    @property
    def target(self) -> str:
        """Path and query."""
        return f"{self.path}?{self.query}" if self.query else self.path

    def exact(self) -> str:
        """The name of this request, whatever the order of its keys."""
        return self._hash(self.value)

    def stable(self) -> str:
        """The name of this request without what differs from run to run."""
        return self._hash(_steady(self.value))

    def position(self) -> str:
        """Where in which conversation this stands: turns of the model so far, and the tools on offer."""
        turns = self.value.get("messages") or self.value.get("input") or self.value.get("contents") or []
        depth = 0
        for turn in turns if isinstance(turns, list) else []:
            spoke = isinstance(turn, dict) and (turn.get("role") in ("assistant", "model") or _called(turn))
            depth += bool(spoke)
        return self._hash([depth, self.streamed, sorted(tool_names(self.value))])

    def _hash(self, value: Any) -> str:
        parts = [self.provider.name, self.method, self.path, self.query, self.model, value]
        return hashlib.sha256(json.dumps(parts, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def read_call(provider: Provider, kind: str, method: str, target: str, body: bytes) -> Call:
    """Return what `body` asks of `target`.  Raises ValueError, with a sentence for the agent, when that is unclear."""
    path, _, query = target.partition("?")
    pairs = parse_qsl(query, keep_blank_values=True)
    query = urlencode([(key, value) for key, value in pairs if key.lower() not in CREDENTIAL_PARAMETERS])
    value: Any = {}
    model: Any = ""
    if body:
        try:
            value = json.loads(body)
        except (ValueError, RecursionError) as problem:
            raise ValueError("The body is not JSON.") from problem
    if not isinstance(value, dict):
        raise ValueError("The body is not a JSON object.")
    if provider.dialect == "gemini":
        model = path.partition("/models/")[2].partition(":")[0]
        streamed = path.endswith(":streamGenerateContent")
    else:
        model, streamed = value.get("model"), value.get("stream") is True
    if kind == GENERATE:
        if not isinstance(model, str) or not model:
            raise ValueError("The request names no model.")
        if value.get("background"):
            # Its answer is fetched later by another path, which is closed, and its tokens would be counted nowhere.
            raise ValueError("Background responses are not available through Seatrial's gateway.")
        body = _ask_for_usage(path, value, body)
    return Call(provider, kind, method, path, query, body, model if isinstance(model, str) else "", streamed, value)


def tool_names(value: dict[str, Any]) -> list[str]:
    """Return the names of the tools that a request offers, in any dialect."""
    items = value.get("input") if isinstance(value.get("input"), list) else []
    # Codex puts its tools into the conversation, in groups that it calls namespaces.
    added = [item for item in items or [] if isinstance(item, dict) and item.get("type") == "additional_tools"]
    return [name for holder in (value, *added) for name in _names(holder.get("tools"))]


def _names(tools: Any) -> Iterator[str]:
    for tool in tools if isinstance(tools, list) else []:
        if not isinstance(tool, dict):
            continue
        inner = tool.get("functionDeclarations") or (tool.get("tools") if tool.get("type") == "namespace" else None)
        for entry in inner if isinstance(inner, list) else [tool.get("function") or tool]:
            if isinstance(entry, dict):
                yield str(entry.get("name") or entry.get("type") or "")


def offers_tools(value: dict[str, Any]) -> bool:
    """Whether a request belongs to the agent's work: it offers tools, and its answer need not be JSON.

    What does not is a call on the side: a title, a summary, a choice between models.
    """
    text = value.get("text")
    form = text.get("format") if isinstance(text, dict) else None
    on_the_side = isinstance(form, dict) and form.get("type") == "json_schema"
    return bool(tool_names(value)) and not on_the_side


def _ask_for_usage(path: str, value: dict[str, Any], body: bytes) -> bytes:
    """OpenAI's Chat API reports the usage of a stream only when asked to."""
    if not path.endswith("/chat/completions") or value.get("stream") is not True:
        return body
    options = value.get("stream_options")
    options = options if isinstance(options, dict) else {}
    if options.get("include_usage") is True:
        return body
    return json.dumps({**value, "stream_options": {**options, "include_usage": True}}).encode()


def _called(turn: dict[str, Any]) -> bool:
    return turn.get("type") in ("function_call", "custom_tool_call", "local_shell_call")


def _steady(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _steady(part) for key, part in value.items() if key not in _VOLATILE_KEYS}
    if isinstance(value, list):
        return [_steady(part) for part in value]
    if isinstance(value, str):
        for pattern, name in _VOLATILE_TEXT:
            value = pattern.sub(name, value)
    return value
