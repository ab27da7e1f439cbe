"""Gemini's generateContent and streamGenerateContent, as their clients read them."""

from __future__ import annotations

import json
from typing import Any

from seatrial.agents.scripted.shapes import Answer, Ask, Events, Rounds

_FINISH = {"end": "STOP", "tool_use": "STOP", "length": "MAX_TOKENS", "refusal": "SAFETY"}


def read(body: dict[str, Any], model: str, streamed: bool, sse: bool) -> Ask:
    """Return what a request asks; `sse` is whether its stream is of server-sent events, not a JSON array."""
    rounds = Rounds()
    for content in body.get("contents") or []:
        parts = content.get("parts") or []
        if content.get("role") == "model":
            rounds.model()
            continue
        for part in parts:
            if "functionResponse" in part:
                rounds.result(json.dumps(part["functionResponse"].get("response")))
        text = "\n".join(part["text"] for part in parts if part.get("text"))
        if text:
            rounds.user(text)
    tools = {}
    for tool in body.get("tools") or []:
        for entry in tool.get("functionDeclarations") or []:
            tools[str(entry.get("name"))] = entry.get("parametersJsonSchema") or entry.get("parameters") or {}
    config = body.get("generationConfig") or {}
    schema = config.get("responseJsonSchema") or config.get("responseSchema")
    return Ask(model, streamed, rounds.all(), rounds.last, tools, schema, {"sse": sse})


def _chunk(answer: Answer, parts: list[dict[str, Any]], last: bool) -> dict[str, Any]:
    usage = answer.usage
    read = usage["input"] + usage["cache_read"]
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": parts}, "index": 0}
    if last:
        candidate["finishReason"] = _FINISH[answer.stop]
    counted = {"promptTokenCount": read, "totalTokenCount": read}
    if last:
        counted = {
            "promptTokenCount": read,
            "candidatesTokenCount": usage["output"],
            "cachedContentTokenCount": usage["cache_read"],
            "totalTokenCount": read + usage["output"],
        }
    return {
        "candidates": [candidate],
        "usageMetadata": counted,
        "modelVersion": answer.model,
        "responseId": answer.id,
    }


def _calls(answer: Answer) -> list[dict[str, Any]]:
    return [{"functionCall": {"id": key, "name": name, "args": given}} for key, name, given in answer.tools]


def whole(ask: Ask, answer: Answer) -> dict[str, Any]:
    """Return the answer as one object."""
    parts: list[dict[str, Any]] = [{"text": answer.text}] if answer.pieces else []
    return _chunk(answer, parts + _calls(answer), last=True)


def events(ask: Ask, answer: Answer) -> Events:
    """Yield the answer in pieces: server-sent events, or parts of a JSON array."""
    chunks = [_chunk(answer, [{"text": piece}], last=False) for piece in answer.pieces]
    chunks.append(_chunk(answer, _calls(answer) or [{"text": ""}], last=True))
    for number, chunk in enumerate(chunks):
        written = json.dumps(chunk)
        if ask.options["sse"]:
            yield f"data: {written}\r\n\r\n".encode()
        else:
            yield (("[" if number == 0 else ",\r\n") + written).encode()
    if not ask.options["sse"]:
        yield b"]"


def error(status: int, message: str) -> dict[str, Any]:
    """Return an error's body."""
    kinds = {401: "UNAUTHENTICATED", 404: "NOT_FOUND", 429: "RESOURCE_EXHAUSTED", 500: "INTERNAL"}
    return {"error": {"code": status, "message": message, "status": kinds.get(status, "INVALID_ARGUMENT")}}
