"""Requests to model APIs: every dialect, streamed and whole; credentials; paths; usage."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from seatrial.agents.gateway import GatewayPolicy, Provider, Usage
from seatrial.agents.scripted import script
from seatrial.agents.scripted.model import ScriptedModel, Server
from seatrial.errors import PolicyError
from seatrial.settings import Secret
from tests.unit.agents.gateway import yard
from tests.unit.agents.gateway.yard import KEY

SCRIPT: dict[str, Any] = {
    "turn": [
        {
            "text": "I will look at the folder first.",
            "run": "ls -la",
            "usage": {"input": 1000, "output": 50, "cache_read": 200},
        }
    ],
    "conversation": {"plain": {"when": "say hello", "turn": [{"text": "Hello there, all is well."}]}},
}
CASES = [
    (dialect, api, streamed)
    for dialect, api in [("anthropic", ""), ("openai", "responses"), ("openai", "chat"), ("gemini", "")]
    for streamed in (False, True)
]


@pytest.fixture
def model() -> Iterator[Server]:
    with ScriptedModel(script.parse(SCRIPT), KEY).serve() as server:
        yield server


@pytest.mark.parametrize(("dialect", "api", "streamed"), CASES)
def test_every_dialect_reaches_its_api_with_the_real_key(model: Server, dialect: str, api: str, streamed: bool) -> None:
    path, body = yard.request(dialect, "go", streamed, api)
    with yard.gateway(yard.policy(model.url)) as running:
        status, headers, answer = yard.post(running.port, f"/{dialect}{path}", body)
        direct = yard.post(
            model.server_port,
            path,
            {**body, "stream_options": {"include_usage": True}} if api == "chat" and streamed else body,
            {"x-api-key": KEY, "authorization": f"Bearer {KEY}", "x-goog-api-key": KEY},
        )
    assert status == 200
    if api != "chat":  # its chunks carry a time
        assert answer == direct[2]
    assert headers["content-type"] == ("text/event-stream" if streamed else "application/json")
    exchange = running.ledger.exchanges[0]
    assert exchange.usage.usd is not None and exchange.usage.usd > 0
    assert (exchange.usage.input_tokens, exchange.usage.output_tokens, exchange.usage.cache_read_tokens) == (
        1000,
        50,
        200,
    )
    assert (exchange.stop, exchange.tools, exchange.streamed) == ("tool_use", ("bash",), streamed)
    assert exchange.model == body.get("model", "gemini-2.5-pro")
    assert running.kinds() == ["request", "first_byte", "response"]
    assert running.facts("request")["offers_tools"] and running.facts("response")["offers_tools"]
    seen = model.seen[0]
    assert "inside" not in str(seen[2]) and "seatrial-placeholder" not in str(seen)
    assert seen[2]["accept-encoding"] == "identity"


@pytest.mark.parametrize(("dialect", "api", "streamed"), CASES)
def test_an_answer_without_tools_ends(model: Server, dialect: str, api: str, streamed: bool) -> None:
    path, body = yard.request(dialect, "say hello", streamed, api)
    with yard.gateway(yard.policy(model.url)) as running:
        status, _, answer = yard.post(running.port, f"/{dialect}{path}", body)
    assert status == 200 and b"Hello there" in answer
    assert (running.ledger.exchanges[0].stop, running.ledger.exchanges[0].tools) == ("end", ())


def test_the_key_in_the_query_is_taken_out(model: Server) -> None:
    path, body = yard.request("gemini", "go", False)
    with yard.gateway(yard.policy(model.url)) as running:
        assert yard.post(running.port, f"/gemini{path}?key=inside&alt=json", body)[0] == 200
    assert model.seen[0][1].endswith(":generateContent?alt=json")


@pytest.mark.parametrize(
    ("dialect", "method", "path"),
    [
        ("anthropic", "GET", "/v1/files"),
        ("anthropic", "POST", "/v1/messages/batches"),
        ("anthropic", "GET", "/v1/organizations/users"),
        ("anthropic", "DELETE", "/v1/messages"),
        ("anthropic", "POST", "/v1/messages/../files"),
        ("anthropic", "POST", "/v1/messages%2f..%2ffiles"),
        ("anthropic", "GET", "/v1/models/../files"),
        ("anthropic", "POST", "//v1/messages"),
        ("openai", "GET", "/v1/files"),
        ("openai", "GET", "/v1/responses/resp_1"),
        ("openai", "POST", "/v1/fine_tuning/jobs"),
        ("openai", "GET", "/v1/organization/admin_api_keys"),
        ("gemini", "POST", "/v1beta/cachedContents"),
        ("gemini", "POST", "/upload/v1beta/files"),
        ("gemini", "POST", "/v1beta/models/x:batchGenerateContent"),
        ("gemini", "POST", "/v1beta/models/x:generateContent/../../files"),
    ],
)
def test_other_paths_of_an_api_are_closed(model: Server, dialect: str, method: str, path: str) -> None:
    with yard.gateway(yard.policy(model.url)) as running:
        head = f"{method} /{dialect}{path} HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{{}}"
        answer = yard.raw(running.port, head.encode())
    assert answer.startswith(b"HTTP/1.1 404") and b"Seatrial" in answer
    assert model.seen == [] and running.kinds() == ["denied"]


def test_lists_and_counts_cost_nothing(model: Server) -> None:
    with yard.gateway(yard.policy(model.url)) as running:
        _, body = yard.request("anthropic", "go", False)
        status, _, answer = yard.post(running.port, "/anthropic/v1/messages/count_tokens", body)
        assert status == 200 and json.loads(answer)["input_tokens"] > 0
        connection = http.client.HTTPConnection("127.0.0.1", running.port)
        connection.request("GET", "/openai/v1/models")
        assert json.loads(connection.getresponse().read())["object"] == "list"
        connection.close()
    assert running.ledger.spent() == Usage() and running.kinds() == ["lookup", "lookup"]


def test_unknown_places_are_one_sentence(model: Server) -> None:
    with yard.gateway(yard.policy(model.url)) as running:
        status, _, answer = yard.post(running.port, "/else/v1/messages", {})
    assert status == 404 and "anthropic, gemini, openai" in json.loads(answer)["error"]["message"]


def test_websockets_are_refused_so_that_clients_fall_back(model: Server) -> None:
    upgrade = {"upgrade": "websocket", "connection": "Upgrade", "sec-websocket-key": "x", "sec-websocket-version": "13"}
    lines = "".join(f"{key}: {value}\r\n" for key, value in upgrade.items())
    with yard.gateway(yard.policy(model.url)) as running:
        answer = yard.raw(
            running.port, f"GET /openai/v1/responses HTTP/1.1\r\nhost: x\r\n{lines}\r\n".encode(), finish=True
        )
    assert answer.startswith(b"HTTP/1.1 426") and b"streaming" in answer


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"{", "not JSON"),
        (b"[]", "not a JSON object"),
        (b"{}", "no model"),
        (b'{"model": "gpt-5", "background": true}', "Background"),
        (b"[" * 100_000, "not JSON"),
    ],
)
def test_bodies_that_cannot_be_counted_are_refused(model: Server, body: bytes, says: str) -> None:
    with yard.gateway(yard.policy(model.url)) as running:
        status, _, answer = yard.post(running.port, "/openai/v1/responses", body)
    assert status == 400 and says in json.loads(answer)["error"]["message"]
    assert model.seen == []


def test_compressed_requests_are_refused(model: Server) -> None:
    with yard.gateway(yard.policy(model.url)) as running:
        status, _, _ = yard.post(running.port, "/openai/v1/responses", b"xx", {"content-encoding": "zstd"})
    assert status == 415


@pytest.mark.parametrize(
    "fields",
    [
        {"dialect": "else"},
        {"name": "a/b"},
        {"name": ""},
        {"base_url": "api.example"},
        {"base_url": "ftp://api.example"},
        {"base_url": "https://api.example:x"},
        {"base_url": "https://user@api.example"},
        {"base_url": "https://api.example?x"},
        {"base_url": "http://api.example"},
        {"headers": (("a b", "c"),)},
        {"headers": (("a", "b\r\nc: d"),)},
        {"key": Secret("a\r\nb: c")},
    ],
)
def test_providers_that_are_refused(fields: dict[str, Any]) -> None:
    whole = {"name": "a", "dialect": "openai", "base_url": "https://api.example", "key": Secret(KEY), **fields}
    with pytest.raises(PolicyError) as refused:
        Provider(**whole)
    assert KEY not in str(refused.value.as_dict())


def test_a_providers_own_path_and_headers(model: Server) -> None:
    provider = Provider("mine", "openai", f"{model.url}/prefix/", Secret(KEY), (("x-title", "ours"),))
    with yard.gateway(GatewayPolicy((provider,))) as running:
        path, body = yard.request("openai", "go", False)
        assert yard.post(running.port, f"/mine{path}", body, {"x-title": "theirs", "x-other": "kept"})[0] == 200
    _, asked, headers, _ = model.seen[0]
    assert asked == "/prefix/v1/responses" and (headers["x-title"], headers["x-other"]) == ("ours", "kept")


def test_a_refusal_reaches_a_client_that_is_still_sending(model: Server) -> None:
    with yard.gateway(yard.policy(model.url, largest_body=1000)) as running:
        assert yard.post(running.port, "/anthropic/v1/messages", b"x" * 20_000_000)[0] == 413
        assert yard.post(running.port, "/anthropic/v1/files", b"x" * 20_000_000)[0] == 404


@pytest.mark.parametrize("chunked", [False, True])
def test_large_bodies_are_refused(model: Server, chunked: bool) -> None:
    with yard.gateway(yard.policy(model.url, largest_body=1000)) as running:
        head = b"POST /anthropic/v1/messages HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"
        if chunked:
            data = head + b"transfer-encoding: chunked\r\n\r\n" + (b"400\r\n" + b"x" * 1024 + b"\r\n") * 2
        else:
            data = head + b"content-length: 2000\r\n\r\n" + b"x" * 2000
        answer = yard.raw(running.port, data)
    assert answer.startswith(b"HTTP/1.1 413") and b"request_too_large" in answer


def test_one_connection_carries_many_requests_also_pipelined(model: Server) -> None:
    path, body = yard.request("anthropic", "say hello", True)
    data = json.dumps(body).encode()
    head = f"POST /anthropic{path} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(data)}\r\n".encode()
    with yard.gateway(yard.policy(model.url)) as running:
        whole = (head + b"\r\n" + data) * 2 + head + b"connection: close\r\n\r\n" + data
        answer = yard.raw(running.port, whole)
        assert answer.count(b"HTTP/1.1 200") == 3 and answer.count(b"message_stop") == 6
        assert running.gateway._pool.opened == 1


def test_expect_continue_is_answered(model: Server) -> None:
    path, body = yard.request("anthropic", "say hello", False)
    data = json.dumps(body).encode()
    head = f"POST /anthropic{path} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(data)}\r\nexpect: 100-continue\r\n"
    with (
        yard.gateway(yard.policy(model.url)) as running,
        socket.create_connection(("127.0.0.1", running.port), timeout=30) as client,
    ):
        client.sendall(head.encode() + b"connection: close\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 100")
        client.sendall(data)
        assert yard.receive(client).startswith(b"HTTP/1.1 200")


def test_the_gateway_is_found_through_itself_as_a_proxy(model: Server) -> None:
    """Clients without NO_PROXY send requests to the gateway through the gateway, in either form."""
    path, body = yard.request("anthropic", "say hello", False)
    with yard.gateway(yard.policy(model.url)) as running:
        assert yard.post(running.port, f"http://127.0.0.1:{running.port}/anthropic{path}", body)[0] == 200
        connection = http.client.HTTPConnection("127.0.0.1", running.port)
        connection.set_tunnel("127.0.0.1", running.port)
        connection.request("POST", f"/anthropic{path}", json.dumps(body))
        assert connection.getresponse().status == 200
        connection.close()
