"""OpenAI's Responses and Chat Completions APIs, as their clients read them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

from seatrial.agents.scripted.shapes import Answer, Ask, Events, Rounds, event, plain

_FINISH = {"end": "stop", "tool_use": "tool_calls", "length": "length", "refusal": "content_filter"}
_SAID = ("function_call", "custom_tool_call", "local_shell_call", "reasoning", "web_search_call")


def _tools(body: dict[str, Any]) -> dict[str, dict[str, Any]]:
    given = body.get("input")
    # Codex puts its tools into the conversation, in groups; a tool with a grammar takes text, not JSON.
    added = [item for item in given if item.get("type") == "additional_tools"] if isinstance(given, list) else []
    tools = {}
    for holder in (body, *added):
        for tool in _flat(holder.get("tools") or []):
            described = tool.get("function") or tool
            name = described.get("name") or tool.get("type")
            about = str(described.get("description") or "")
            free = {"freeform": about} if tool.get("type") == "custom" else None
            tools[str(name)] = free or described.get("parameters") or {}
    return tools


def _flat(tools: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for tool in tools:
        yield from tool.get("tools") or [] if tool.get("type") == "namespace" else [tool]


def read_responses(body: dict[str, Any]) -> Ask:
    """Return what a request to Responses asks."""
    rounds = Rounds()
    given = body.get("input")
    for item in given if isinstance(given, list) else [{"role": "user", "content": given}]:
        kind = str(item.get("type") or "message")
        if kind in _SAID or item.get("role") == "assistant":
            rounds.model()
        elif kind.endswith("_output"):
            rounds.result(plain(item.get("output")))
        elif item.get("role") == "user":
            rounds.user(plain(item.get("content")))
    form = (body.get("text") or {}).get("format") or {}
    schema = form.get("schema") if form.get("type") == "json_schema" else None
    streamed = body.get("stream") is True
    return Ask(str(body.get("model")), streamed, rounds.all(), rounds.last, _tools(body), schema)


def read_chat(body: dict[str, Any]) -> Ask:
    """Return what a request to Chat Completions asks."""
    rounds = Rounds()
    for message in body.get("messages") or []:
        role = message.get("role")
        if role == "assistant":
            rounds.model()
        elif role == "tool":
            rounds.result(plain(message.get("content")))
        elif role == "user":
            rounds.user(plain(message.get("content")))
    schema = ((body.get("response_format") or {}).get("json_schema") or {}).get("schema")
    usage = (body.get("stream_options") or {}).get("include_usage") is True
    streamed = body.get("stream") is True
    options = {"usage": usage}
    return Ask(str(body.get("model")), streamed, rounds.all(), rounds.last, _tools(body), schema, options)


def _items(ask: Ask, answer: Answer) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    if answer.pieces:
        part = {"type": "output_text", "text": answer.text, "annotations": []}
        items.append(
            {"id": f"msg_{answer.id}", "type": "message", "status": "completed", "role": "assistant", "content": [part]}
        )
    for key, name, given in answer.tools:
        if name == "local_shell":
            action = {"type": "exec", "env": {}, **given}
            call = {"type": "local_shell_call", "action": action}
        elif "freeform" in ask.tools.get(name, {}):
            call = {"type": "custom_tool_call", "name": name, "input": given["input"]}
        else:
            call = {"type": "function_call", "name": name, "arguments": json.dumps(given)}
        items.append({"id": f"fc_{key}", "call_id": f"call_{key}", "status": "completed", **call})
    return items


def whole_response(ask: Ask, answer: Answer) -> dict[str, Any]:
    """Return the answer of Responses as one object."""
    usage = answer.usage
    read = usage["input"] + usage["cache_read"]
    why = {"length": "max_output_tokens", "refusal": "content_filter"}.get(answer.stop)
    return {
        "id": f"resp_{answer.id}",
        "object": "response",
        "created_at": int(time.time()),
        "status": "incomplete" if why else "completed",
        "error": None,
        "incomplete_details": {"reason": why} if why else None,
        "model": answer.model,
        "output": _items(ask, answer),
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": {
            "input_tokens": read,
            "input_tokens_details": {"cached_tokens": usage["cache_read"]},
            "output_tokens": usage["output"],
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": read + usage["output"],
        },
    }


def response_events(ask: Ask, answer: Answer) -> Events:
    """Yield the answer of Responses as server-sent events."""
    for number, data in enumerate(_response_events(ask, answer)):
        yield event({**data, "sequence_number": number}, data["type"])


def _response_events(ask: Ask, answer: Answer) -> list[dict[str, Any]]:
    response = whole_response(ask, answer)
    begun = {**response, "status": "in_progress", "output": [], "usage": None, "incomplete_details": None}
    found: list[dict[str, Any]] = [
        {"type": "response.created", "response": begun},
        {"type": "response.in_progress", "response": begun},
    ]
    for index, item in enumerate(response["output"]):
        here = {"output_index": index, "item_id": item["id"]}
        if item["type"] == "message":
            part = item["content"][0]
            text = {**here, "content_index": 0}
            open_item = {**item, "status": "in_progress", "content": []}
            found += [
                {"type": "response.output_item.added", "output_index": index, "item": open_item},
                {"type": "response.content_part.added", **text, "part": {**part, "text": ""}},
                *({"type": "response.output_text.delta", **text, "delta": piece} for piece in answer.pieces),
                {"type": "response.output_text.done", **text, "text": part["text"]},
                {"type": "response.content_part.done", **text, "part": part},
            ]
        elif item["type"] == "function_call":
            open_item = {**item, "status": "in_progress", "arguments": ""}
            arguments = item["arguments"]
            found += [
                {"type": "response.output_item.added", "output_index": index, "item": open_item},
                {"type": "response.function_call_arguments.delta", **here, "delta": arguments},
                {"type": "response.function_call_arguments.done", **here, "arguments": arguments},
            ]
        elif item["type"] == "custom_tool_call":
            text = item["input"]
            found += [
                {"type": "response.output_item.added", "output_index": index, "item": {**item, "input": ""}},
                {"type": "response.custom_tool_call_input.delta", **here, "delta": text},
                {"type": "response.custom_tool_call_input.done", **here, "input": text},
            ]
        else:
            found.append({"type": "response.output_item.added", "output_index": index, "item": item})
        found.append({"type": "response.output_item.done", "output_index": index, "item": item})
    return [*found, {"type": f"response.{response['status']}", "response": response}]


def _chat_usage(answer: Answer) -> dict[str, Any]:
    usage = answer.usage
    read = usage["input"] + usage["cache_read"]
    return {
        "prompt_tokens": read,
        "completion_tokens": usage["output"],
        "total_tokens": read + usage["output"],
        "prompt_tokens_details": {"cached_tokens": usage["cache_read"]},
    }


def _calls(answer: Answer) -> list[dict[str, Any]]:
    return [
        {"id": f"call_{key}", "type": "function", "function": {"name": name, "arguments": json.dumps(given)}}
        for key, name, given in answer.tools
    ]


def whole_chat(ask: Ask, answer: Answer) -> dict[str, Any]:
    """Return the answer of Chat Completions as one object."""
    message: dict[str, Any] = {"role": "assistant", "content": answer.text or None, "refusal": None}
    if answer.tools:
        message["tool_calls"] = _calls(answer)
    return {
        "id": f"chatcmpl-{answer.id}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": answer.model,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": _FINISH[answer.stop]}],
        "usage": _chat_usage(answer),
    }


def chat_events(ask: Ask, answer: Answer) -> Events:
    """Yield the answer of Chat Completions as server-sent events."""
    shared = {
        "id": f"chatcmpl-{answer.id}",
        "object": "chat.completion.chunk",
        "created": int(time.time()),
        "model": answer.model,
    }

    def chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return event({**shared, "choices": [choice]})

    yield chunk({"role": "assistant", "content": ""})
    for piece in answer.pieces:
        yield chunk({"content": piece})
    for index, call in enumerate(_calls(answer)):
        yield chunk({"tool_calls": [{"index": index, **call}]})
    yield chunk({}, _FINISH[answer.stop])
    if ask.options.get("usage"):
        yield event({**shared, "choices": [], "usage": _chat_usage(answer)})
    yield b"data: [DONE]\n\n"


def error(status: int, message: str) -> dict[str, Any]:
    """Return an error's body."""
    kinds = {401: "invalid_api_key", 404: "not_found", 429: "rate_limit_exceeded", 500: "server_error"}
    kind = "server_error" if status >= 500 else "invalid_request_error"
    return {"error": {"message": message, "type": kind, "param": None, "code": kinds.get(status)}}
