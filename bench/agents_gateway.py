"""What an agent's gateway costs: time to the first streamed byte, throughput, memory.

    python -m bench.agents_gateway --requests 2000 --megabytes 512 --json bench/results/agents_gateway.json

A server in a process of its own is asked directly and through a gateway, in turn, in the same run, over connections
that stay open.  A tunnel to the same server shows what a bare hop costs on this machine.  The gateway has a key to
redact, a budget and (one row) a recording.  Throughput is of one answer: as a model's answer, and as a tunnel.
Memory is of a process that holds one gateway and has loaded all its parts, the authorities of TLS included.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[1]
if not __package__:  # run as a file, not with -m
    sys.path.insert(0, str(REPOSITORY))

_EVENT = (
    b'data: {"type":"message_start","message":{"model":"claude-sonnet-4-5","usage":{"input_tokens":9,'
    b'"output_tokens":1}}}\n\n'
)
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_BODY = json.dumps(
    {"model": "claude-sonnet-4-5", "stream": True, "messages": [{"role": "user", "content": "words " * 3000}]}
).encode()
_PIECE = b"x" * 1024 * 1024


class _Upstream(asyncio.Protocol):
    """Answers a POST with one event, a GET /N with N MiB, and anything else (a tunnel) likewise by its digits."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self._data = b""
        self._left = 0

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, ending, body = self._data.partition(b"\r\n\r\n")
        if not ending or len(body) < int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0] or b"0"):
            return
        self._data = b""
        if head.startswith(b"POST /v1/messages"):
            chunk = b"%x\r\n%b\r\n" % (len(_EVENT), _EVENT)
            self._transport.write(_HEAD + chunk + b"0\r\n\r\n")
            return
        self._left = int(head.split(b"/models/")[1].split()[0])
        self._transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (self._left * len(_PIECE)))
        self._more()

    def resume_writing(self) -> None:
        self._more()

    def _more(self) -> None:
        while self._left and self._transport.get_write_buffer_size() < 2 * len(_PIECE):
            self._left -= 1
            self._transport.write(_PIECE)


class _Ledger:
    def __init__(self) -> None:
        from seatrial.agents.gateway import Usage

        self._spent = Usage()

    def spent(self) -> Any:
        return self._spent

    def started(self) -> float:
        return 0.0

    def add(self, exchange: Any) -> None:
        self._spent += exchange.usage


async def _serve_upstream() -> None:
    server = await asyncio.get_running_loop().create_server(_Upstream, "127.0.0.1", 0)
    _tell(server.sockets[0].getsockname()[1])
    await server.serve_forever()


async def _serve_gateway(upstream: int, recording: str) -> None:
    from seatrial.agents.gateway import Budget, Gateway, GatewayPolicy, Provider
    from seatrial.agents.gateway.upstream import trust
    from seatrial.settings import Secret

    policy = GatewayPolicy(
        (Provider("anthropic", "anthropic", f"http://127.0.0.1:{upstream}", Secret("sk-ant-api03-" + "Ab3dE9" * 15)),),
        hosts=("preset:pypi",),
        local_services=(f"127.0.0.1:{upstream}",),
        budget=Budget(tokens=10**12),
    )
    gateway = Gateway(policy, _Ledger(), lambda kind, facts: None, Path(recording) if recording else None)
    listener = socket.create_server(("127.0.0.1", 0))
    await gateway.serve(listener)
    authorities = trust()
    _tell(listener.getsockname()[1])
    loop = asyncio.get_running_loop()
    while await loop.run_in_executor(None, sys.stdin.readline):
        _tell({"pss_mib": _memory("Pss:"), "private_mib": _memory("Private"), "rss_mib": _memory("Rss")})
    assert authorities


def _memory(kind: str) -> float:
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return round(sum(int(line.split()[1]) for line in lines if line.startswith(kind)) / 1024, 1)


def _tell(value: Any) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


class _Process:
    def __init__(self, *role: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.agents_gateway", "--role", *role],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY,
        )  # fmt: skip
        self.port = int(self._line())

    def ask(self) -> dict[str, float]:
        assert self._process.stdin
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        answer: dict[str, float] = self._line()
        return answer

    def stop(self) -> None:
        self._process.kill()
        self._process.communicate()

    def _line(self) -> Any:
        assert self._process.stdout
        return json.loads(self._process.stdout.readline())


def _connect(port: int) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port))
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client


def _tunnel(port: int, target: str) -> socket.socket:
    client = _connect(port)
    client.sendall(f"CONNECT {target} HTTP/1.1\r\nhost: {target}\r\n\r\n".encode())
    assert b" 200 " in client.recv(65536)
    return client


def _first_byte(client: socket.socket, path: str) -> float:
    """Milliseconds until the first event of an answer has arrived; the rest is read, too."""
    ask = (
        f"POST {path} HTTP/1.1\r\nhost: x\r\nx-api-key: inside\r\ncontent-length: {len(_BODY)}\r\n\r\n".encode() + _BODY
    )
    begin = time.perf_counter()
    client.sendall(ask)
    data = b""
    while _EVENT not in data:
        data += client.recv(65536)
    seconds = time.perf_counter() - begin
    while not data.endswith(b"0\r\n\r\n"):
        data += client.recv(65536)
    return seconds * 1000


def _throughput(port: int, path: str, megabytes: int, tunnel: str = "") -> float:
    """MB/s of one answer of `megabytes` MiB."""
    with _tunnel(port, tunnel) if tunnel else _connect(port) as client:
        begin = time.perf_counter()
        client.sendall(f"GET {path}/v1/models/{megabytes} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
        room = bytearray(1024 * 1024)
        left = megabytes * len(_PIECE)
        while left > 0 and (count := client.recv_into(room)):
            left -= count
        return megabytes * len(_PIECE) / 1e6 / (time.perf_counter() - begin)


def _measure(requests: int, megabytes: int, runs: int) -> dict[str, Any]:
    upstream = _Process("upstream")
    with tempfile.TemporaryDirectory() as folder:
        gateways = {"gateway": _Process("gateway", str(upstream.port)),
                    "gateway, recording": _Process("gateway", str(upstream.port), folder)}  # fmt: skip
        before = gateways["gateway"].ask()
        clients = {"direct": (_connect(upstream.port), "/v1/messages")}
        clients |= {name: (_connect(process.port), "/anthropic/v1/messages") for name, process in gateways.items()}
        clients["tunnel"] = (_tunnel(gateways["gateway"].port, f"127.0.0.1:{upstream.port}"), "/v1/messages")
        samples: dict[str, list[float]] = {name: [] for name in clients}
        for _ in range(requests):
            for name, (client, path) in clients.items():
                samples[name].append(_first_byte(client, path))
        for client, _ in clients.values():
            client.close()
        first = {name: round(statistics.median(values), 3) for name, values in samples.items()}
        port, host = gateways["gateway"].port, f"127.0.0.1:{upstream.port}"
        rates: dict[str, list[float]] = {"direct": [], "model answer": [], "tunnel": []}
        for _ in range(runs):
            rates["direct"].append(_throughput(upstream.port, "", megabytes))
            rates["model answer"].append(_throughput(port, "/anthropic", megabytes))
            rates["tunnel"].append(_throughput(port, "", megabytes, host))
        after = gateways["gateway"].ask()
        for process in (*gateways.values(), upstream):
            process.stop()
    return {
        "first_byte_ms": first,
        "overhead_ms": {name: round(first[name] - first["direct"], 3) for name in first if name != "direct"},
        "throughput_mb_s": {name: round(statistics.median(values)) for name, values in rates.items()},
        "memory_started": before,
        "memory_after": after,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--megabytes", type=int, default=512)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--role", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.role:
        kind, *rest = options.role
        serve = _serve_upstream() if kind == "upstream" else _serve_gateway(int(rest[0]), "".join(rest[1:]))
        asyncio.run(serve)
        return
    from bench import machine

    found = {"machine": machine.describe(), **_measure(options.requests, options.megabytes, options.runs)}
    text = json.dumps(found, indent=2)
    sys.stdout.write(text + "\n")
    if options.json:
        options.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
