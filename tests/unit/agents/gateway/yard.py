"""Real gateways, real upstream servers and real clients for these tests, all on the loopback."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from seatrial.agents.gateway import Budget, Exchange, Gateway, GatewayPolicy, Limits, Provider, Usage
from seatrial.agents.gateway.addresses import Network
from seatrial.settings import Secret

KEY = "sk-ant-real-0123456789-abcdefghijklmnop-QRSTUVWXYZ"
DIALECTS = ("anthropic", "openai", "gemini")


class MemoryLedger:
    """A ledger in memory, as the protocol says."""

    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []
        self.begun = time.time()

    def spent(self) -> Usage:
        total = Usage()
        for exchange in self.exchanges:
            total += exchange.usage
        return total

    def started(self) -> float:
        return self.begun

    def add(self, exchange: Exchange) -> None:
        self.exchanges.append(exchange)


@dataclass
class Running:
    port: int
    ledger: MemoryLedger
    gateway: Gateway
    loop: asyncio.AbstractEventLoop
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def kinds(self) -> list[str]:
        return [kind for kind, _ in self.events]

    def facts(self, kind: str) -> dict[str, Any]:
        return next(facts for found, facts in self.events if found == kind)

    def until(self, ready: Callable[[], bool]) -> None:
        """Wait for something that happens in the gateway's own thread."""
        for _ in range(1000):
            if ready():
                return
            time.sleep(0.01)
        raise AssertionError(f"never happened; events: {self.events}")


@contextmanager
def gateway(policy: GatewayPolicy, ledger: MemoryLedger | None = None, **options: Any) -> Iterator[Running]:
    """A gateway in a thread of its own, listening on the loopback."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    events: list[tuple[str, dict[str, Any]]] = []
    ledger = ledger or MemoryLedger()
    try:
        made = Gateway(policy, ledger, lambda kind, facts: events.append((kind, facts)), **options)
    except BaseException:
        loop.close()
        raise
    listener = socket.create_server(("127.0.0.1", 0))
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(made.serve(listener), loop).result(10)
        yield Running(listener.getsockname()[1], ledger, made, loop, events)
    finally:
        asyncio.run_coroutine_threadsafe(made.close(), loop).result(10)
        asyncio.run_coroutine_threadsafe(loop.shutdown_default_executor(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
        listener.close()


def policy(url: str, budget: Budget | None = None, key: str | None = KEY, **more: Any) -> GatewayPolicy:
    """Every dialect at `url`."""
    secret = Secret(key) if key else None
    providers = tuple(Provider(name, name, url, secret) for name in DIALECTS)
    return GatewayPolicy(providers, budget=budget or Budget(), **more)


def quick(**more: float) -> Limits:
    return Limits(**{"connect": 0.5, "idle": 0.5, "head": 0.5, **more})  # type: ignore[arg-type]


def request(dialect: str, text: str, streamed: bool, api: str = "") -> tuple[str, dict[str, Any]]:
    """Path (below the provider's name) and body of a request."""
    tool = {
        "name": "bash",
        "description": "Run.",
        "parameters": {"type": "object", "properties": {"command": {"type": "string"}}},
    }
    if dialect == "anthropic":
        schema = {"name": "bash", "description": "Run.", "input_schema": tool["parameters"]}
        body: dict[str, Any] = {"model": "claude-sonnet-4-5", "max_tokens": 100, "tools": [schema], "stream": streamed}
        return "/v1/messages", {**body, "messages": [{"role": "user", "content": text}]}
    if dialect == "gemini":
        method = "streamGenerateContent?alt=sse" if streamed else "generateContent"
        tools = [{"functionDeclarations": [tool]}]
        return f"/v1beta/models/gemini-2.5-pro:{method}", {
            "contents": [{"role": "user", "parts": [{"text": text}]}],
            "tools": tools,
        }
    body = {"model": "gpt-5", "stream": streamed}
    if api == "chat":
        messages = [{"role": "user", "content": text}]
        return "/v1/chat/completions", {**body, "tools": [{"type": "function", "function": tool}], "messages": messages}
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
    return "/v1/responses", {**body, "tools": [{"type": "function", **tool}], "input": [item]}


CREDENTIALS = {"x-api-key": "inside", "authorization": "Bearer inside", "x-goog-api-key": "inside"}


def post(port: int, path: str, body: Any, headers: dict[str, str] | None = None) -> tuple[int, dict[str, str], bytes]:
    """One request over a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    try:
        connection.request("POST", path, data, {"content-type": "application/json", **CREDENTIALS, **(headers or {})})
        response = connection.getresponse()
        return response.status, {key.lower(): value for key, value in response.getheaders()}, response.read()
    finally:
        connection.close()


def raw(port: int, data: bytes, finish: bool = False) -> bytes:
    """Send bytes and return all that comes back until the connection ends."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        client.sendall(data)
        if finish:
            client.shutdown(socket.SHUT_WR)
        return receive(client)


def receive(client: socket.socket) -> bytes:
    pieces = []
    try:
        while piece := client.recv(65536):
            pieces.append(piece)
    except ConnectionResetError:
        pass
    return b"".join(pieces)


class Upstream:
    """A server that answers each connection with `answer(socket)`, in a thread of its own."""

    def __init__(self, answer: Callable[[socket.socket], None]) -> None:
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.connections = 0
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(client)
            threading.Thread(target=self._one, args=(client,), daemon=True).start()

    def _one(self, client: socket.socket) -> None:
        with client:
            try:
                self._answer(client)
            except OSError:
                pass

    def __enter__(self) -> Upstream:
        return self

    def __exit__(self, *details: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for client in self._open:
            try:
                client.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


def read_request(client: socket.socket) -> bytes:
    """Head and body of one request; empty when the client has left."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = client.recv(65536)
        if not piece:
            return b""
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    length = next(
        (int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
    )
    chunked = b"transfer-encoding: chunked" in head.lower()
    while len(body) < length or (chunked and not body.endswith(b"0\r\n\r\n")):
        body += client.recv(65536)
    return head + b"\r\n\r\n" + body


def fixed(*pieces: bytes, pause: float = 0.0) -> Callable[[socket.socket], None]:
    """An upstream that answers every request with the same bytes, piece by piece."""

    def answer(client: socket.socket) -> None:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while read_request(client):
            for piece in pieces:
                client.sendall(piece)
                if pause:
                    time.sleep(pause)

    return answer


def plain(body: bytes, headers: str = "content-type: application/json") -> bytes:
    return f"HTTP/1.1 200 OK\r\n{headers}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


def network(names: dict[str, list[str]], ports: dict[tuple[str, int], int]) -> Network:
    """Names as given; public addresses are reached at servers of this test."""

    def resolve(host: str) -> list[str]:
        if host not in names:
            raise OSError(f"no such name: {host}")
        return names[host]

    async def connect(address: str, port: int) -> socket.socket:
        there = ports.get((address, port))
        if there is None and address != "127.0.0.1":
            raise OSError(f"nothing at {address}:{port}")
        connection = socket.socket()
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", there or port))
        return connection

    return Network(resolve, connect)
