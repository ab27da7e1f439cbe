"""The gateway itself: listens, and hands each request to the proxy that it is for."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

from seatrial.agents.gateway.addresses import Network
from seatrial.agents.gateway.budget import Meter
from seatrial.agents.gateway.channel import Channel
from seatrial.agents.gateway.forward import ForwardProxy, Tunnel
from seatrial.agents.gateway.http import BadRequest, Request, ServerConnection, note
from seatrial.agents.gateway.recording import Recorder
from seatrial.agents.gateway.records import Budget, GatewayPolicy, Ledger, Limits
from seatrial.agents.gateway.replay import Replay
from seatrial.agents.gateway.reverse import ModelProxy
from seatrial.agents.gateway.upstream import Pool
from seatrial.prices import Prices

_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nconnection: close\r\n"
    b'content-length: 47\r\n\r\n{"error":{"message":"Too many connections."}}\r\n'
)


class Gateway:
    """One agent's way out.

    The agent is known by the listening socket alone, which lives in its network namespace: whoever can connect to it
    is that agent.  `on_event(kind, facts)` is called in this event loop, with kinds `request`, `first_byte`,
    `response` (of requests that cost tokens; each `request` has one `response`), `lookup` (counting tokens, listing
    models), `denied`, `budget_exceeded`, `upstream_error`, `key_echoed`, `replayed`, `replay_missing` and
    `internal_error`.  `prices` is a price table to use in place of the shipped one; `tls` the authorities to trust.

    Raises PolicyError for hosts or services that may not be allowed, RecordingError for a recording that cannot be
    written or read, GatewayError for a bad price table.
    """

    def __init__(
        self,
        policy: GatewayPolicy,
        ledger: Ledger,
        on_event: Callable[[str, dict[str, Any]], None],
        recording: Path | None = None,
        replay: Path | None = None,
        *,
        prices: Path | None = None,
        limits: Limits | None = None,
        network: Network | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        limits = limits or Limits()
        network = network or Network()
        self._limits = limits
        self._emit = on_event
        self._pool = Pool(network, limits, tls)
        self._forward = ForwardProxy(policy, network, self._pool, limits, on_event)
        table = Prices(prices)
        played = Replay(replay) if replay is not None else None
        self._recorder = Recorder(recording) if recording is not None else None
        self._meter = Meter(policy.budget, ledger)
        self._models = ModelProxy(policy, self._meter, self._pool, table, on_event, self._recorder, played)
        self._servers: list[asyncio.Server] = []
        self._own: set[tuple[str, int]] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, listener: socket.socket) -> None:
        """Accept connections from `listener`, which is bound; returns once it does.  May be called again."""
        listener.setblocking(False)
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Channel(self._made), sock=listener, backlog=128)
        if listener.family in (socket.AF_INET, socket.AF_INET6):
            port = listener.getsockname()[1]
            self._own |= {(name, port) for name in ("127.0.0.1", "localhost", "[::1]")}
        self._servers.append(server)

    def set_budget(self, budget: Budget) -> None:
        """Put another budget in force, from the next request on."""
        self._meter.set_budget(budget)

    async def close(self) -> None:
        """Stop accepting, break off what is under way (counted and recorded so far), close everything."""
        for server in self._servers:
            server.close()
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)
        self._pool.close()
        if self._recorder is not None:
            self._recorder.close()
            self._recorder = None

    def _made(self, channel: Channel) -> None:
        if len(self._tasks) >= self._limits.connections:
            channel.write(_FULL)
            channel.close()
            return
        task = asyncio.get_running_loop().create_task(self._serve(channel))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, channel: Channel) -> None:
        try:
            tunnel = await self._converse(channel, None)
            if tunnel is not None:
                await self._converse(channel, tunnel)
        except ConnectionError:
            pass
        except Exception as problem:  # one connection's failure must not end the gateway
            self._emit("internal_error", {"reason": repr(problem)})
            channel.abort()
        finally:
            channel.on_gone = None
            channel.close()

    async def _converse(self, channel: Channel, tunnel: Tunnel | None) -> Tunnel | None:
        """Answer requests until the client is done, or opens a tunnel with plain HTTP in it."""
        connection = ServerConnection(channel, self._limits)
        task = asyncio.current_task()

        def leave() -> None:
            if task is not None:
                task.cancel()

        try:
            while (request := await connection.next_request()) is not None:
                # From here on, a client that leaves breaks off what is done for it.
                channel.on_gone = leave
                if request.method == "CONNECT":
                    if tunnel is not None:
                        raise BadRequest(400, "A tunnel within a tunnel is not available.")
                    return await self._forward.connect(connection, request, self._own)
                await self._answer(connection, request, tunnel)
                channel.on_gone = None
        except BadRequest as problem:
            with contextlib.suppress(ConnectionError):
                await connection.refuse(problem)
        channel.on_gone = None
        await connection.linger()
        return None

    async def _answer(self, connection: ServerConnection, request: Request, tunnel: Tunnel | None) -> None:
        if tunnel is not None and not tunnel.itself:
            await self._forward.plain(connection, tunnel.inner(request))
            return
        target = self._own_target(request.target)
        if not target.startswith("/"):
            await self._forward.plain(connection, request)
            return
        found = self._models.provider(target)
        if found is None:
            names = ", ".join(sorted(self._models.names)) or "none"
            message = f"This is Seatrial's gateway; model APIs are below /NAME/ (available: {names})."
            await connection.respond(404, note(message))
            return
        await self._models.handle(connection, request, *found)

    def _own_target(self, target: str) -> str:
        """Return the path of an absolute URL that names the gateway itself; other targets as they are."""
        for host, port in self._own:
            own = f"http://{host}:{port}/"
            if target.startswith(own):
                return target[len(own) - 1 :]
        return target
