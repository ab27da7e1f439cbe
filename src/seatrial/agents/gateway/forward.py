"""The forward proxy: hosts on the allow-list, by CONNECT or as plain HTTP, and named services of this host.

Each request is judged anew, so a redirect leads nowhere that could not be asked for directly.  What this does not
protect: what an allowed host is told.  A host that takes uploads (a code forge, a package registry) is a way out
for data; keep the list short.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from seatrial.agents.gateway.addresses import ForbiddenTarget, Network, UnknownName, literal
from seatrial.agents.gateway.channel import Channel
from seatrial.agents.gateway.hosts import AllowList, canonical, local_services
from seatrial.agents.gateway.http import BadRequest, Headers, Request, ServerConnection, end_to_end, note
from seatrial.agents.gateway.records import GatewayPolicy, Limits
from seatrial.agents.gateway.tls import LONGEST_HELLO, UNRECOGNIZED_NAME, Incomplete, NotTls, server_name
from seatrial.agents.gateway.upstream import Link, Origin, Pool, UpstreamFault

_LOOPBACK = {"127.0.0.1": "127.0.0.1", "localhost": "127.0.0.1", "[::1]": "::1"}


class ForwardProxy:
    """Judges targets, and carries what is allowed."""

    def __init__(
        self,
        policy: GatewayPolicy,
        network: Network,
        pool: Pool,
        limits: Limits,
        emit: Callable[[str, dict[str, Any]], None],
    ) -> None:
        self._allowed = AllowList(policy.hosts)
        self._services = local_services(policy.local_services)
        self._largest = policy.largest_body
        self._network = network
        self._pool = pool
        self._limits = limits
        self._emit = emit

    async def plain(self, connection: ServerConnection, request: Request) -> None:
        """Answer a request in absolute form, `GET http://host/…`."""
        try:
            host, port, target = _split(request.target)
            if _authority(request.header("host"), 80) != (host, port):
                raise ForbiddenTarget("The Host header names another host than the request.")
            addresses = await self._judge(host, port)
        except (ForbiddenTarget, ValueError) as problem:
            return await self._deny(connection, request.target, problem)
        except UnknownName as problem:
            return await connection.respond(502, note(str(problem)))
        origin = Origin("http", host, port, tuple(addresses))
        try:
            link = await self._pool.take(origin)
        except UpstreamFault as fault:
            return await self._fault(connection, host, fault)
        try:
            await self._carry(connection, request, link, target)
        except UpstreamFault as fault:
            link.channel.abort()
            if connection.answered:
                return connection.channel.abort()
            return await self._fault(connection, host, fault)
        except BaseException:
            link.channel.abort()
            raise
        self._pool.give(link)

    async def connect(self, connection: ServerConnection, request: Request, own: set[tuple[str, int]]) -> Tunnel | None:
        """Answer CONNECT.  Returns what is left to serve as plain HTTP, or None when the tunnel has ended.

        `own` are the gateway's own addresses: a client may send even its requests to model APIs through the proxy.
        """
        try:
            host, port = _authority(request.target, None)
            if (host, port) in own:
                await connection.tunnel()
                return Tunnel(host, port, itself=True)
            addresses = await self._judge(host, port)
        except (ForbiddenTarget, ValueError) as problem:
            await self._deny(connection, request.target, problem)
            return None
        except UnknownName as problem:
            await connection.respond(502, note(str(problem)))
            return None
        return await self._tunnel(connection, host, port, addresses)

    async def _tunnel(self, connection: ServerConnection, host: str, port: int, addresses: list[str]) -> Tunnel | None:
        service = host in _LOOPBACK
        upstream: Channel | None = None
        if service or port == 443:
            # Connected to before the answer, while a failure can still be told.
            try:
                upstream = await self._reach(addresses, port)
            except OSError as problem:
                await self._fault(connection, host, UpstreamFault(f"{host} could not be connected to: {problem}."))
                return None
        await connection.tunnel()
        try:
            if not service and not await self._inside(connection.channel, host, port):
                return Tunnel(host, port, itself=False)
            upstream = upstream or await self._reach(addresses, port)
            connection.channel.on_gone = None
            await connection.channel.relay(upstream, self._limits.idle)
        except ForbiddenTarget as problem:
            self._emit("denied", {"host": f"{host}:{port}", "reason": str(problem)})
            connection.channel.write(UNRECOGNIZED_NAME)
        except OSError as problem:
            self._emit("upstream_error", {"provider": host, "reason": str(problem)})
        finally:
            if upstream is not None:
                upstream.close()
        return None

    async def _judge(self, host: str, port: int) -> list[str]:
        service = (_LOOPBACK.get(host, ""), port)
        if service in self._services:
            return [service[0]]
        literal(host)
        if not self._allowed.allows(host, port):
            raise ForbiddenTarget(f"{host}:{port} is not on the list of allowed hosts.")
        try:
            async with asyncio.timeout(self._limits.connect):
                return await self._network.public_addresses(host)
        except TimeoutError:
            raise UnknownName(f"{host} was not found within {self._limits.connect:g} seconds.") from None

    async def _inside(self, channel: Channel, host: str, port: int) -> bool:
        """Whether the tunnel holds TLS for `host`; False: plain HTTP.  Raises ForbiddenTarget for anything else."""
        data = b""
        try:
            async with asyncio.timeout(self._limits.head):
                while True:
                    piece = await channel.read()
                    data += piece
                    if not piece:
                        raise ForbiddenTarget("The tunnel ended before it said what it is for.")
                    if port != 443 and data[:1].isalpha():
                        channel.unread(data)
                        return False
                    try:
                        name = server_name(data)
                        break
                    except Incomplete:
                        if len(data) > LONGEST_HELLO:
                            raise NotTls("too long") from None
        except TimeoutError:
            raise ForbiddenTarget("The tunnel did not say in time what it is for.") from None
        except NotTls as problem:
            raise ForbiddenTarget(f"What the tunnel holds is not TLS: {problem}.") from None
        if (name is None and literal(host) is None) or (name is not None and name.removesuffix(".") != host):
            raise ForbiddenTarget(f"The tunnel is for {host}, but the TLS within asks for {name or 'no host'}.")
        channel.unread(data)
        return True

    async def _reach(self, addresses: list[str], port: int) -> Channel:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._limits.connect):
                connection = await self._network.open(addresses, port)
        except TimeoutError:
            raise OSError(f"no connection within {self._limits.connect:g} seconds") from None
        _, channel = await loop.create_connection(Channel, sock=connection)
        return channel

    async def _carry(self, connection: ServerConnection, request: Request, link: Link, target: str) -> None:
        headers = [("host", link.origin.authority)]
        headers += [(key, value) for key, value in end_to_end(request.headers) if key not in ("host", "expect")]
        if request.header("transfer-encoding"):
            headers.append(("transfer-encoding", "chunked"))
        await link.request(request.method, target, headers, _Upload(connection, self._largest).piece)
        status, given = await link.response()
        answer: Headers = end_to_end(given)
        await connection.start(status, answer)
        while (piece := await link.piece()) is not None:
            await connection.send(piece)
        await connection.finish()

    async def _deny(self, connection: ServerConnection, target: str, problem: Exception) -> None:
        reason = str(problem)
        self._emit("denied", {"host": target[:300], "reason": reason})
        await connection.respond(403, note(f"Seatrial: {reason}"))

    async def _fault(self, connection: ServerConnection, host: str, fault: UpstreamFault) -> None:
        self._emit("upstream_error", {"provider": host, "reason": fault.message})
        await connection.respond(504 if fault.late else 502, note(f"Seatrial: {fault.message}"))


class Tunnel:
    """A tunnel that holds plain HTTP for `host`:`port`; `itself` when that is the gateway."""

    def __init__(self, host: str, port: int, itself: bool) -> None:
        self.host = host
        self.port = port
        self.itself = itself

    def inner(self, request: Request) -> Request:
        """Return a request from within the tunnel in absolute form, to be judged as any other."""
        if not request.target.startswith("/"):
            return request
        return Request(request.method, f"http://{self.host}:{self.port}{request.target}", request.headers)


class _Upload:
    def __init__(self, connection: ServerConnection, largest: int) -> None:
        self._connection = connection
        self._left = largest

    async def piece(self) -> bytes | None:
        piece = await self._connection.piece()
        self._left -= len(piece or b"")
        if self._left < 0:
            raise BadRequest(413, "The body of the request is too large.")
        return piece


def _split(target: str) -> tuple[str, int, str]:
    """Return host, port and origin-form target of an absolute URL.  Raises ForbiddenTarget and ValueError."""
    parts = urlsplit(target)
    if parts.scheme != "http":
        raise ForbiddenTarget(f"{parts.scheme or 'This'} is not carried as a plain request; use CONNECT.")
    host, port = _authority(parts.netloc, 80)
    path = target[target.index("://") + 3 + len(parts.netloc) :].partition("#")[0]
    return host, port, path if path.startswith("/") else f"/{path}"


def _authority(text: str, usual: int | None) -> tuple[str, int]:
    """Return canonical host and port of `host[:port]`.  Raises ForbiddenTarget when it is no such thing."""
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        host, port = text, "" if usual is None else str(usual)
    if "@" in text or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise ForbiddenTarget(f"{text[:200]!r} is not a host and port.")
    try:
        return canonical(host), int(port)
    except (ValueError, UnicodeError) as problem:
        raise ForbiddenTarget(f"{host[:200]!r} is not a host.") from problem
