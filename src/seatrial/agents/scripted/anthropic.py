"""Anthropic's Messages API, as its clients read it."""

from __future__ import annotations

import json
from typing import Any

from seatrial.agents.scripted.shapes import Answer, Ask, Events, Rounds, event, plain

_STOPS = {"end": "end_turn", "tool_use": "tool_use", "length": "max_tokens", "refusal": "refusal"}


def read(body: dict[str, Any]) -> Ask:
    """Return what a request asks."""
    rounds = Rounds()
    for message in body.get("messages") or []:
        if message.get("role") == "assistant":
            rounds.model()
            continue
        content = message.get("content")
        blocks = content if isinstance(content, list) else [{"type": "text", "text": content}]
        for block in blocks:
            if block.get("type") == "tool_result":
                rounds.result(plain(block.get("content")))
        texts = [block["text"] for block in blocks if block.get("type") == "text"]
        if texts:
            rounds.user("\n".join(texts))
    tools = {tool["name"]: tool.get("input_schema") or {} for tool in body.get("tools") or [] if "name" in tool}
    form = body.get("output_format") or (body.get("output_config") or {}).get("format") or {}
    return Ask(str(body.get("model")), body.get("stream") is True, rounds.all(), rounds.last, tools, form.get("schema"))


def whole(ask: Ask, answer: Answer) -> dict[str, Any]:
    """Return the answer as one object."""
    content: list[dict[str, Any]] = [{"type": "text", "text": answer.text}] if answer.pieces else []
    content += [
        {"type": "tool_use", "id": f"toolu_{key}", "name": name, "input": given} for key, name, given in answer.tools
    ]
    return {
        "id": f"msg_{answer.id}",
        "type": "message",
        "role": "assistant",
        "model": answer.model,
        "content": content,
        "stop_reason": _STOPS[answer.stop],
        "stop_sequence": None,
        "usage": _usage(answer),
    }


def events(ask: Ask, answer: Answer) -> Events:
    """Yield the answer as server-sent events."""
    message = whole(ask, answer)
    start = {**message, "content": [], "stop_reason": None, "usage": {**message["usage"], "output_tokens": 1}}
    yield event({"type": "message_start", "message": start}, "message_start")
    yield event({"type": "ping"}, "ping")
    for index, block in enumerate(message["content"]):
        text = block["type"] == "text"
        empty = {"type": "text", "text": ""} if text else {**block, "input": {}}
        yield event({"type": "content_block_start", "index": index, "content_block": empty}, "content_block_start")
        if text:
            deltas = [{"type": "text_delta", "text": piece} for piece in answer.pieces]
        else:
            deltas = [{"type": "input_json_delta", "partial_json": json.dumps(block["input"])}]
        for delta in deltas:
            yield event({"type": "content_block_delta", "index": index, "delta": delta}, "content_block_delta")
        yield event({"type": "content_block_stop", "index": index}, "content_block_stop")
    ending = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    usage = {"output_tokens": answer.usage["output"]}
    yield event({"type": "message_delta", "delta": ending, "usage": usage}, "message_delta")
    yield event({"type": "message_stop"}, "message_stop")


def error(status: int, message: str) -> dict[str, Any]:
    """Return an error's body."""
    kinds = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error", 500: "api_error"}
    return {"type": "error", "error": {"type": kinds.get(status, "invalid_request_error"), "message": message}}


def _usage(answer: Answer) -> dict[str, Any]:
    return {
        "input_tokens": answer.usage["input"],
        "cache_creation_input_tokens": answer.usage["cache_write"],
        "cache_read_input_tokens": answer.usage["cache_read"],
        "output_tokens": answer.usage["output"],
        "service_tier": "standard",
    }
