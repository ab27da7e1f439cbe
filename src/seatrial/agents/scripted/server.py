"""HTTP around the scripted model: which path is which API, streaming, faults."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from types import ModuleType
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from seatrial.agents.scripted import anthropic, gemini, openai
from seatrial.agents.scripted.shapes import Answer, Ask, Events

if TYPE_CHECKING:
    from seatrial.agents.scripted.model import Server

_MODELS: dict[ModuleType, dict[str, Any]] = {
    anthropic: {"data": [{"type": "model", "id": "scripted", "display_name": "Scripted"}], "has_more": False},
    openai: {"object": "list", "data": [{"id": "scripted", "object": "model", "owned_by": "seatrial"}]},
    gemini: {"models": [{"name": "models/scripted", "supportedGenerationMethods": ["generateContent"]}]},
}


@dataclass(frozen=True)
class _Form:
    """How one API's answers are written."""

    module: ModuleType
    ask: Ask
    whole: Callable[[Ask, Answer], dict[str, Any]]
    events: Callable[[Ask, Answer], Events]
    kind: str = "text/event-stream"


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: Server
    disable_nagle_algorithm = True

    def log_message(self, format: str, *details: object) -> None:
        """Say nothing: the client's terminal is not ours."""

    def do_HEAD(self) -> None:
        """Answer a reachability check."""
        self._json(200, {})

    def do_GET(self) -> None:
        """List models."""
        self._see(b"")
        module = self._module()
        if "/models" in self.path:
            self._json(200, _MODELS[module])
        else:
            self._json(404, module.error(404, "There is no such path."))

    def do_POST(self) -> None:
        """Answer a conversation."""
        data = self._body()
        self._see(data)
        module = self._module()
        key = self.server.model.key
        if key is not None and self._credential() != key:
            return self._json(401, module.error(401, "The key is not the right one."))
        try:
            body = json.loads(data)
            form = self._form(body)
        except (ValueError, KeyError, TypeError, AttributeError) as problem:
            return self._json(400, module.error(400, f"The request is malformed: {problem!r}."))
        if form is not None:
            return self._converse(form, len(data))
        path = urlsplit(self.path).path
        if path.endswith(("/count_tokens", "/input_tokens")):
            return self._json(200, {"input_tokens": max(len(data) // 4, 1)})
        if path.endswith(":countTokens"):
            return self._json(200, {"totalTokens": max(len(data) // 4, 1)})
        self._json(404, module.error(404, "There is no such path."))

    def _form(self, body: dict[str, Any]) -> _Form | None:
        url = urlsplit(self.path)
        if url.path.endswith("/messages"):
            return _Form(anthropic, anthropic.read(body), anthropic.whole, anthropic.events)
        if url.path.endswith("/responses"):
            return _Form(openai, openai.read_responses(body), openai.whole_response, openai.response_events)
        if url.path.endswith("/chat/completions"):
            return _Form(openai, openai.read_chat(body), openai.whole_chat, openai.chat_events)
        model, _, method = url.path.partition("/models/")[2].partition(":")
        if method in ("generateContent", "streamGenerateContent"):
            sse = parse_qs(url.query).get("alt") == ["sse"]
            ask = gemini.read(body, model, method == "streamGenerateContent", sse)
            return _Form(gemini, ask, gemini.whole, gemini.events, "text/event-stream" if sse else "application/json")
        return None

    def _converse(self, form: _Form, size: int) -> None:
        turn, fault = self.server.model.turn(form.ask)
        if turn.delay_s:
            time.sleep(turn.delay_s)
        if fault in ("500", "429"):
            return self._json(int(fault), form.module.error(int(fault), "A scripted fault."))
        answer = self.server.model.answer(form.ask, turn, size, self._credential())
        if form.ask.streamed:
            pieces = list(form.events(form.ask, answer))
            self._stream(form.kind, pieces, fault)
        elif fault == "hang":
            self._hang()
        elif fault == "cut":
            data = json.dumps(form.whole(form.ask, answer)).encode()
            self._head(200, "application/json", len(data))
            self.wfile.write(data[: len(data) // 2])
            self._cut()
        else:
            self._json(200, form.whole(form.ask, answer))

    def _stream(self, kind: str, pieces: Iterable[bytes], fault: str) -> None:
        pieces = list(pieces)
        self._head(200, kind, None)
        for number, piece in enumerate(pieces):
            if fault in ("hang", "cut") and number >= len(pieces) // 2:
                return self._hang() if fault == "hang" else self._cut()
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")

    def _hang(self) -> None:
        self.server.stopping.wait()
        self.close_connection = True

    def _cut(self) -> None:
        self.wfile.flush()
        self.close_connection = True

    def _head(self, status: int, kind: str, length: int | None) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("request-id", "req_scripted")
        if length is None:
            self.send_header("transfer-encoding", "chunked")
        else:
            self.send_header("content-length", str(length))
        self.end_headers()

    def _json(self, status: int, value: dict[str, Any]) -> None:
        data = json.dumps(value).encode()
        self._head(status, "application/json", len(data))
        if self.command != "HEAD":
            self.wfile.write(data)

    def _body(self) -> bytes:
        if self.headers.get("transfer-encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("content-length") or 0))
        pieces = []
        while length := int(self.rfile.readline().split(b";")[0], 16):
            pieces.append(self.rfile.read(length))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(pieces)

    def _see(self, body: bytes) -> None:
        headers = {key.lower(): value for key, value in self.headers.items()}
        self.server.seen.append((self.command, self.path, headers, body))

    def _module(self) -> ModuleType:
        path = urlsplit(self.path).path
        if self.headers.get("anthropic-version") or "/messages" in path:
            return anthropic
        return gemini if "/v1beta" in path or self.headers.get("x-goog-api-key") else openai

    def _credential(self) -> str:
        headers = self.headers
        bearer = headers.get("authorization", "").removeprefix("Bearer ")
        return headers.get("x-api-key") or headers.get("x-goog-api-key") or bearer
