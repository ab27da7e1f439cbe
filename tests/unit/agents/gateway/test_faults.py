"""Upstreams that fail, clients that leave or misbehave."""

from __future__ import annotations

import gzip
import json
import socket
import time
import zlib

import pytest

from seatrial.agents.scripted import script
from seatrial.agents.scripted.model import ScriptedModel
from tests.unit.agents.gateway import yard

CHUNKED = b"transfer-encoding: chunked\r\n\r\n"
SSE = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
BEGIN = (
    b'data: {"type":"message_start","message":{"model":"claude-sonnet-4-5","usage":{"input_tokens":70,'
    b'"output_tokens":1}}}\n\n'
)
WORD = b'data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"sixteen letters!"}}\n\n'


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def written(path: str = "/v1/messages", close: bool = True) -> bytes:
    _, body = yard.request("anthropic", "go", True)
    data = json.dumps(body).encode()
    ending = "connection: close\r\n" if close else ""
    return f"POST /anthropic{path} HTTP/1.1\r\nhost: x\r\n{ending}content-length: {len(data)}\r\n\r\n".encode() + data


@pytest.mark.parametrize("dialect", yard.DIALECTS)
def test_an_upstream_that_is_not_there(dialect: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with yard.gateway(yard.policy(f"http://127.0.0.1:{port}")) as running:
        path, body = yard.request(dialect, "go", True)
        status, _, answer = yard.post(running.port, f"/{dialect}{path}", body)
    assert status == 502 and "could not be connected to" in json.loads(answer)["error"]["message"]
    assert running.kinds() == ["request", "upstream_error", "first_byte", "response"]
    assert running.ledger.spent().tokens == 0 and running.ledger.spent().requests == 1


def test_an_upstream_that_says_nothing() -> None:
    with (
        yard.Upstream(lambda client: time.sleep(20)) as upstream,
        yard.gateway(yard.policy(upstream.url), limits=yard.quick()) as running,
    ):
        path, body = yard.request("anthropic", "go", True)
        status, _, answer = yard.post(running.port, f"/anthropic{path}", body)
    assert status == 504 and "sent nothing" in json.loads(answer)["error"]["message"]


@pytest.mark.parametrize("ending", ["cut", "hang"])
def test_half_a_stream_is_never_taken_for_a_whole_one(ending: str) -> None:
    def answer(client: socket.socket) -> None:
        yard.read_request(client)
        client.sendall(SSE + chunk(BEGIN) + chunk(WORD) * 10)
        if ending == "hang":
            time.sleep(20)

    with yard.Upstream(answer) as upstream, yard.gateway(yard.policy(upstream.url), limits=yard.quick()) as running:
        got = yard.raw(running.port, written())
        running.until(lambda: bool(running.ledger.exchanges))
    assert got.count(b"sixteen") == 10 and not got.endswith(b"0\r\n\r\n")
    exchange = running.ledger.exchanges[0]
    assert (exchange.usage.input_tokens, exchange.usage.output_tokens) == (70, 40)
    assert exchange.error and exchange.stop == "error"


@pytest.mark.parametrize(
    "reply", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nx" + b"y" * 300_000]
)
def test_an_upstream_that_does_not_speak_http(reply: bytes) -> None:
    def answer(client: socket.socket) -> None:
        yard.read_request(client)
        client.sendall(reply)

    with yard.Upstream(answer) as upstream, yard.gateway(yard.policy(upstream.url)) as running:
        path, body = yard.request("openai", "go", False)
        status, _, got = yard.post(running.port, f"/openai{path}", body)
    assert status == 502 and json.loads(got)["error"]["type"] == "server_error"


def test_redirects_are_not_followed() -> None:
    with yard.Upstream(lambda client: time.sleep(20)) as other:
        reply = f"HTTP/1.1 307 Moved\r\nlocation: {other.url}/v1/messages\r\ncontent-length: 0\r\n\r\n".encode()
        with yard.Upstream(yard.fixed(reply)) as upstream, yard.gateway(yard.policy(upstream.url)) as running:
            path, body = yard.request("anthropic", "go", False)
            status, headers, answer = yard.post(running.port, f"/anthropic{path}", body)
    assert status == 502 and b"redirect" in answer and "location" not in headers
    assert other.connections == 0


def test_a_client_that_leaves_stops_the_upstream_and_pays_for_what_was_said() -> None:
    left: list[bool] = []

    def answer(client: socket.socket) -> None:
        yard.read_request(client)
        client.sendall(SSE + chunk(BEGIN) + chunk(WORD) * 25)
        left.append(client.recv(10) == b"")

    with yard.Upstream(answer) as upstream, yard.gateway(yard.policy(upstream.url)) as running:
        with socket.create_connection(("127.0.0.1", running.port), timeout=30) as client:
            client.sendall(written())
            got = b""
            while got.count(b"sixteen") < 25:
                got += client.recv(65536)
        running.until(lambda: bool(left) and bool(running.ledger.exchanges))
    usage = running.ledger.exchanges[0].usage
    assert (usage.input_tokens, usage.output_tokens) == (70, 100)
    assert "left" in running.ledger.exchanges[0].error


def test_a_client_that_leaves_before_the_answer_pays_for_its_question() -> None:
    asked: list[bytes] = []

    def answer(client: socket.socket) -> None:
        asked.append(yard.read_request(client))
        yard.receive(client)

    with yard.Upstream(answer) as upstream, yard.gateway(yard.policy(upstream.url)) as running:
        with socket.create_connection(("127.0.0.1", running.port), timeout=30) as client:
            client.sendall(written())
            running.until(lambda: bool(asked))
        running.until(lambda: bool(running.ledger.exchanges))
    assert running.ledger.exchanges[0].usage.input_tokens > 50


def test_a_second_request_after_the_server_closed_its_connection() -> None:
    """The spare connection is noticed to be closed before a byte is sent."""

    def once(client: socket.socket) -> None:
        yard.read_request(client)
        client.sendall(yard.plain(b"{}"))

    with yard.Upstream(once) as upstream, yard.gateway(yard.policy(upstream.url)) as running:
        path, body = yard.request("anthropic", "go", False)
        for _ in range(3):
            assert yard.post(running.port, f"/anthropic{path}", body)[0] == 200
            time.sleep(0.05)
    assert upstream.connections == 3


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_answers_compressed_all_the_same_are_read(encoding: str) -> None:
    text = json.dumps({"model": "m", "usage": {"input_tokens": 7, "output_tokens": 2}, "x": yard.KEY}).encode()
    data = gzip.compress(text) if encoding == "gzip" else zlib.compress(text)
    reply = yard.plain(data, f"content-type: application/json\r\ncontent-encoding: {encoding}")
    with yard.Upstream(yard.fixed(reply)) as upstream, yard.gateway(yard.policy(upstream.url)) as running:
        path, body = yard.request("anthropic", "go", False)
        status, headers, answer = yard.post(running.port, f"/anthropic{path}", body)
    assert status == 200 and "content-encoding" not in headers
    assert b"[key removed" in answer and running.ledger.spent().input_tokens == 7


@pytest.mark.parametrize(
    "reply",
    [
        yard.plain(b"xx", "content-encoding: br"),
        yard.plain(b"not gzip at all", "content-encoding: gzip"),
    ],
)
def test_answers_that_cannot_be_read_are_not_passed_on(reply: bytes) -> None:
    with yard.Upstream(yard.fixed(reply)) as upstream, yard.gateway(yard.policy(upstream.url)) as running:
        got = yard.raw(running.port, written())
        running.until(lambda: "response" in running.kinds())
    assert b"502" in got.split(b"\r\n")[0] or not got.endswith(b"0\r\n\r\n")
    assert running.facts("response")["error"]


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\x16\x03\x01\x00\x05hello\r\n\r\n", 400),
        (b"GET / HTTP/9\r\n\r\n", 400),
        (b"GET /x HTTP/1.1\r\n\r\n", 400),
        (b"POST /anthropic/v1/messages HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n", 400),
        (b"POST /anthropic/v1/messages HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}", 400),
        (b"POST /anthropic/v1/messages HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n" + CHUNKED + b"0\r\n\r\n", 400),
        (b"POST /anthropic/v1/messages HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked, gzip\r\n\r\n", 501),
        (b"POST /anthropic/v1/messages HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"GET /x HTTP/1.1\r\nhost: x\r\nbad header\r\n\r\n", 400),
        (b"GET /x HTTP/1.1\r\nhost: x\r\n" + b"a: " + b"y" * 70_000, 431),
        (b"GET /x HTTP/1.1\r\nhost: x\r\nslow: ", 408),
        (b"POST /anthropic/v1/messages HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n{", 408),
    ],
)
def test_improper_requests(data: bytes, status: int) -> None:
    with yard.gateway(yard.policy("http://127.0.0.1:1"), limits=yard.quick()) as running:
        answer = yard.raw(running.port, data)
    assert answer.startswith(f"HTTP/1.1 {status} ".encode()), answer[:100]
    assert "request" not in running.kinds()


def test_a_smuggled_request_is_not_seen_upstream() -> None:
    inner = b"POST /v1/files HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    _, body = yard.request("anthropic", "go", False)
    data = json.dumps(body).encode()
    head = f"POST /anthropic/v1/messages HTTP/1.1\r\nhost: x\r\ncontent-length: {len(data)}\r\n".encode()
    with ScriptedModel(script.parse({})).serve() as model, yard.gateway(yard.policy(model.url)) as running:
        answer = yard.raw(running.port, head + b"\r\n" + data + inner)
    assert answer.startswith(b"HTTP/1.1 200") and b"404" in answer
    assert [path for _, path, _, _ in model.seen] == ["/v1/messages"]


def test_connections_are_limited() -> None:
    with yard.gateway(yard.policy("http://127.0.0.1:1"), limits=yard.quick(connections=3, keep=30)) as running:
        held = [socket.create_connection(("127.0.0.1", running.port), timeout=30) for _ in range(3)]
        time.sleep(0.1)
        assert yard.raw(running.port, b"").startswith(b"HTTP/1.1 503")
        for client in held:
            client.close()
        time.sleep(0.1)
        assert yard.post(running.port, "/else", {})[0] == 404


def test_a_quiet_connection_is_closed() -> None:
    with yard.gateway(yard.policy("http://127.0.0.1:1"), limits=yard.quick(keep=0.2)) as running:
        assert yard.raw(running.port, b"") == b""


def test_closing_counts_what_was_under_way() -> None:
    def answer(client: socket.socket) -> None:
        yard.read_request(client)
        client.sendall(SSE + chunk(BEGIN) + chunk(WORD) * 4)
        yard.receive(client)

    with (
        yard.Upstream(answer) as upstream,
        socket.socket() as client,
        yard.gateway(yard.policy(upstream.url)) as running,
    ):
        client.settimeout(30)
        client.connect(("127.0.0.1", running.port))
        client.sendall(written())
        got = b""
        while got.count(b"sixteen") < 4:
            got += client.recv(65536)
    assert running.ledger.exchanges[0].usage.output_tokens == 16
