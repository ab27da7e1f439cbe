"""The forward proxy: what an agent may reach, and the tricks by which it might try for more."""

from __future__ import annotations

import contextlib
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seatrial.agents.gateway import GatewayPolicy, Provider
from seatrial.agents.gateway.tls import Incomplete, NotTls, server_name
from seatrial.agents.scripted import script
from seatrial.agents.scripted.model import ScriptedModel
from seatrial.settings import Secret
from tests.unit.agents.gateway import yard

PUBLIC = "93.184.216.34"
NAMES = {
    "listed.example": [PUBLIC],
    "rebound.example": ["169.254.169.254"],
    "mixed.example": [PUBLIC, "127.0.0.1"],
    "other.example": [PUBLIC],
}
POLICY = GatewayPolicy(
    hosts=("listed.example", "rebound.example", "mixed.example", "gone.example", "listed.example:8080")
)
needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificates")


def hello(name: str | None) -> bytes:
    """A real ClientHello for `name`."""
    context = ssl.create_default_context()
    context.check_hostname = False
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname=name)
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def echo(client: socket.socket) -> None:
    while data := client.recv(65536):
        client.sendall(data)


def connect(port: int, target: str) -> tuple[socket.socket, bytes]:
    client = socket.create_connection(("127.0.0.1", port), timeout=30)
    client.sendall(f"CONNECT {target} HTTP/1.1\r\nhost: {target}\r\n\r\n".encode())
    head = b""
    while b"\r\n\r\n" not in head:
        piece = client.recv(1)
        if not piece:
            break
        head += piece
    return client, head


@contextlib.contextmanager
def proxy(upstream: int = 0, policy: GatewayPolicy = POLICY, **options: object) -> Iterator[yard.Running]:
    ports = {(PUBLIC, port): upstream for port in (80, 443, 8080)} if upstream else {}
    with yard.gateway(policy, network=yard.network(NAMES, ports), limits=yard.quick(), **options) as running:
        yield running


@pytest.mark.parametrize(
    "target",
    [
        "other.example:443", "listed.example:22", "rebound.example:443", "mixed.example:443", "127.0.0.1:443",
        "localhost:443", "[::1]:443", "169.254.169.254:80", "metadata.google.internal:80", "2130706433:80", "0x7f.1:80",
        "017700000001:80", "[::ffff:127.0.0.1]:443", "listed.example", "listed.example:443:443", "listed.example@x:443",
        "user@listed.example:443", "listed.example:+443", "93.184.216.34:443", "[64:ff9b::7f00:1]:443",
        "listed.example.evil.example:443", "0.0.0.0:443", "LISTED.example..:443", "listed.example%00.x:443",
    ],
)  # fmt: skip
def test_tunnels_that_are_refused(target: str) -> None:
    with yard.Upstream(echo) as upstream, proxy(upstream.port) as running:
        client, head = connect(running.port, target)
        client.close()
        running.until(lambda: "denied" in running.kinds())
    assert head.startswith(b"HTTP/1.1 403")
    assert upstream.connections == 0


@pytest.mark.parametrize(
    ("target", "host", "status"),
    [
        ("http://other.example/", "other.example", 403),
        ("http://rebound.example/latest/meta-data/", "rebound.example", 403),
        ("http://169.254.169.254/latest/meta-data/", "169.254.169.254", 403),
        ("http://127.0.0.1:5432/", "127.0.0.1:5432", 403),
        ("http://2852039166/", "2852039166", 403),
        ("http://listed.example@127.0.0.1/", "127.0.0.1", 403),
        ("http://listed.example:22/", "listed.example:22", 403),
        ("https://listed.example/", "listed.example", 403),
        ("ftp://listed.example/", "listed.example", 403),
        ("http://listed.example/", "other.example", 403),
        ("http://listed.example/", "listed.example:8080", 403),
        ("http:///etc/passwd", "x", 403),
        ("http://gone.example/", "gone.example", 502),
        ("*", "listed.example", 403),
    ],
)
def test_plain_requests_that_are_refused(target: str, host: str, status: int) -> None:
    with yard.Upstream(echo) as upstream, proxy(upstream.port) as running:
        got = yard.raw(running.port, f"GET {target} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n".encode())
    assert got.startswith(f"HTTP/1.1 {status} ".encode())
    assert upstream.connections == 0


def test_a_plain_request_goes_on_without_what_is_the_connections_own() -> None:
    seen: list[bytes] = []

    def answer(client: socket.socket) -> None:
        while data := yard.read_request(client):
            seen.append(data)
            client.sendall(
                b"HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\nconnection: x-gone, keep-alive\r\n"
            )
            client.sendall(b"x-gone: 1\r\nset-cookie: a=b\r\ncontent-length: 5\r\n\r\nhello")

    ask = (
        b"POST http://LISTED.example/a/../b?c=d HTTP/1.1\r\nhost: listed.example\r\nproxy-authorization: Basic eA==\r\n"
        b"proxy-connection: keep-alive\r\nconnection: x-mine\r\nx-mine: 1\r\nx-kept: 2\r\n"
        b"transfer-encoding: chunked\r\n"
        b"te: trailers\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    )
    with yard.Upstream(answer) as upstream, proxy(upstream.port) as running:
        got = yard.raw(running.port, ask + ask.replace(b"connection: x-mine", b"connection: x-mine, close"))
        assert running.gateway._pool.opened == 1
    assert got.count(b"HTTP/1.1 302") == 2 and got.endswith(b"hello") and b"set-cookie: a=b" in got
    assert b"location: http://169.254.169.254/" in got and b"x-gone" not in got
    head = seen[0].split(b"\r\n\r\n")[0].lower()
    assert head.startswith(b"post /a/../b?c=d http/1.1\r\nhost: listed.example\r\n") and b"x-kept: 2" in head
    for gone in (b"proxy-", b"x-mine", b"te:", b"keep-alive"):
        assert gone not in head


def test_the_target_of_a_redirect_is_judged_like_any_other() -> None:
    found = yard.fixed(b"HTTP/1.1 302 Found\r\nlocation: http://rebound.example/\r\ncontent-length: 0\r\n\r\n")
    with yard.Upstream(found) as upstream, proxy(upstream.port) as running:
        ask = "GET http://{0}/ HTTP/1.1\r\nhost: {0}\r\n{1}\r\n"
        first = ask.format("listed.example", "")
        got = yard.raw(running.port, (first + ask.format("rebound.example", "connection: close\r\n")).encode())
    assert got.startswith(b"HTTP/1.1 302") and b"HTTP/1.1 403" in got and b"169.254.169.254" in got
    assert upstream.connections == 1


@pytest.mark.parametrize("kind", ["connect", "plain"])
def test_a_name_is_looked_up_once(kind: str) -> None:
    """DNS rebinding: the second answer would be the metadata service."""
    answers = [[PUBLIC], ["169.254.169.254"]]
    asked: list[str] = []
    reached: list[str] = []
    inner = yard.network({}, {})

    def resolve(host: str) -> list[str]:
        asked.append(host)
        return answers[min(len(asked), 2) - 1]

    with yard.Upstream(yard.fixed(yard.plain(b"{}"))) as upstream:

        async def reach(address: str, port: int) -> socket.socket:
            reached.append(address)
            return await inner.connect("127.0.0.1", upstream.port)

        network = type(inner)(resolve, reach)
        with yard.gateway(POLICY, network=network, limits=yard.quick()) as running:
            if kind == "connect":
                client, head = connect(running.port, "listed.example:443")
                assert head.startswith(b"HTTP/1.1 200")
                client.close()
                client, head = connect(running.port, "listed.example:443")
                client.close()
                assert head.startswith(b"HTTP/1.1 403")
            else:
                ask = b"GET http://listed.example/ HTTP/1.1\r\nhost: listed.example\r\nconnection: close\r\n\r\n"
                assert yard.raw(running.port, ask).startswith(b"HTTP/1.1 200")
                assert yard.raw(running.port, ask).startswith(b"HTTP/1.1 403")
    assert reached == [PUBLIC] and len(asked) == 2


@pytest.mark.parametrize(
    "inside",
    [
        hello("other.example"),
        hello(None),
        b"GET / HTTP/1.1\r\nhost: listed.example\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"\x16\x03\x01\xff\xff" + b"x" * 100,
        b"\x16\x03\x01\x00\x04\x02\x00\x00\x00",
        b"",
    ],
)
def test_a_tunnel_holds_tls_for_the_host_it_was_opened_for(inside: bytes) -> None:
    got: list[bytes] = []
    with yard.Upstream(lambda client: got.append(yard.receive(client))) as upstream, proxy(upstream.port) as running:
        client, head = connect(running.port, "listed.example:443")
        assert head.startswith(b"HTTP/1.1 200")
        client.sendall(inside)
        assert yard.receive(client) == bytes([21, 3, 1, 0, 2, 2, 112])
        client.close()
        running.until(lambda: "denied" in running.kinds() and bool(got))
    assert got == [b""]


@pytest.mark.parametrize("step", [1, 50, 10_000])
def test_a_tunnel_passes_bytes_both_ways(step: int) -> None:
    begin = hello("LISTED.example")
    with yard.Upstream(echo) as upstream, proxy(upstream.port) as running:
        client, _ = connect(running.port, "listed.example:443")
        for at in range(0, len(begin), step):
            client.sendall(begin[at : at + step])
        payload = bytes(range(256)) * 20_000
        sender = threading.Thread(target=lambda: (client.sendall(payload), client.shutdown(socket.SHUT_WR)))
        sender.start()
        assert yard.receive(client) == begin + payload
        sender.join()
        client.close()


def test_a_quiet_tunnel_is_closed() -> None:
    with yard.Upstream(echo) as upstream, proxy(upstream.port) as running:
        client, _ = connect(running.port, "listed.example:443")
        begin = hello("listed.example")
        client.sendall(begin)
        assert yard.receive(client) == begin
        client.close()
        running.until(lambda: not running.gateway._tasks)


@pytest.mark.parametrize("who", ["client", "upstream"])
def test_a_tunnel_ends_when_either_side_does(who: str) -> None:
    ended = threading.Event()

    def answer(client: socket.socket) -> None:
        client.recv(65536)
        if who == "client":
            yard.receive(client)
        ended.set()

    with yard.Upstream(answer) as upstream, proxy(upstream.port) as running:
        client, _ = connect(running.port, "listed.example:443")
        client.sendall(hello("listed.example"))
        if who == "upstream":
            assert yard.receive(client) == b""
        client.close()
        running.until(ended.is_set)
        running.until(lambda: not running.gateway._tasks)


def test_plain_http_in_a_tunnel_is_judged_request_by_request() -> None:
    """Some clients open tunnels for plain HTTP, too."""
    with yard.Upstream(yard.fixed(yard.plain(b"{}"))) as upstream, proxy(upstream.port) as running:
        client, head = connect(running.port, "listed.example:80")
        assert head.startswith(b"HTTP/1.1 200")
        client.sendall(b"GET /a HTTP/1.1\r\nhost: listed.example\r\n\r\n")
        client.sendall(b"GET /a HTTP/1.1\r\nhost: other.example\r\nconnection: close\r\n\r\n")
        got = yard.receive(client)
        client.close()
    assert got.startswith(b"HTTP/1.1 200") and b"HTTP/1.1 403" in got


def test_named_services_of_the_host_and_no_others() -> None:
    with yard.Upstream(echo) as service, yard.Upstream(echo) as other:
        policy = GatewayPolicy(local_services=(f"127.0.0.1:{service.port}",))
        with proxy(policy=policy) as running:
            client, head = connect(running.port, f"127.0.0.1:{service.port}")
            assert head.startswith(b"HTTP/1.1 200")
            client.sendall(b"any protocol")
            assert client.recv(100) == b"any protocol"
            client.close()
            for target in (f"127.0.0.1:{other.port}", f"[::1]:{service.port}", f"127.0.0.2:{service.port}"):
                client, head = connect(running.port, target)
                client.close()
                assert head.startswith(b"HTTP/1.1 403")
    assert other.connections == 0


def test_uploads_are_limited() -> None:
    policy = GatewayPolicy(hosts=("listed.example",), largest_body=1000)
    with yard.Upstream(echo) as upstream, proxy(upstream.port, policy) as running:
        ask = b"POST http://listed.example/ HTTP/1.1\r\nhost: listed.example\r\ntransfer-encoding: chunked\r\n\r\n"
        got = yard.raw(running.port, ask + (b"400\r\n" + b"x" * 1024 + b"\r\n") * 2)
    assert got.startswith(b"HTTP/1.1 413")


@given(st.binary(max_size=600), st.integers(0, 600))
def test_the_reader_of_client_hellos_takes_anything(noise: bytes, at: int) -> None:
    real = hello("listed.example")
    for data in (noise, real[:at], real[:at] + noise + real[at + len(noise) :]):
        with contextlib.suppress(NotTls, Incomplete):
            server_name(data)


def test_a_hello_in_several_records_is_put_together() -> None:
    body = hello("listed.example")[5:]
    records = b"".join(b"\x16\x03\x01" + len(part).to_bytes(2) + part for part in (body[:3], body[3:40], body[40:]))
    assert server_name(records) == "listed.example"
    with pytest.raises(Incomplete):
        server_name(records[:-1])


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    command = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=api.example -addext subjectAltName=DNS:api.example"
    files = ["-keyout", folder / "key.pem", "-out", folder / "cert.pem"]
    subprocess.run(["openssl", *command.split(), *files], check=True, capture_output=True)
    return folder


def over_tls(folder: Path, answer: Callable[[socket.socket], None]) -> Callable[[socket.socket], None]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")

    def wrapped(client: socket.socket) -> None:
        with context.wrap_socket(client, server_side=True, suppress_ragged_eofs=True) as encrypted:
            answer(encrypted)

    return wrapped


@needs_openssl
@pytest.mark.parametrize("trusted", [True, False])
def test_providers_are_reached_by_checked_tls(certificate: Path, trusted: bool) -> None:
    key = Secret(yard.KEY)
    tls = ssl.create_default_context(cafile=str(certificate / "cert.pem") if trusted else None)
    seen: list[bytes] = []

    def answer(client: socket.socket) -> None:
        while data := yard.read_request(client):
            seen.append(data)
            client.sendall(yard.plain(b'{"model": "m"}'))

    with yard.Upstream(over_tls(certificate, answer)) as upstream:
        network = yard.network({"api.example": [PUBLIC]}, {(PUBLIC, 443): upstream.port})
        policy = GatewayPolicy((Provider("anthropic", "anthropic", "https://api.example", key),))
        with yard.gateway(policy, network=network, tls=tls, limits=yard.quick(connect=5)) as running:
            path, body = yard.request("anthropic", "go", False)
            statuses = [yard.post(running.port, f"/anthropic{path}", body)[0] for _ in range(3)]
    assert statuses == ([200] * 3 if trusted else [502] * 3)
    assert len(seen) == (3 if trusted else 0) and upstream.connections == (1 if trusted else 3)


def test_a_provider_is_no_host_of_the_forward_proxy() -> None:
    """The key is added to requests below /NAME/ only; the same server by its own address is out of reach."""
    with ScriptedModel(script.parse({})).serve() as model, yard.gateway(yard.policy(model.url)) as running:
        host = f"127.0.0.1:{model.server_port}"
        ask = f"GET http://{host}/v1/models HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"
        assert yard.raw(running.port, ask.encode()).startswith(b"HTTP/1.1 403") and model.seen == []
