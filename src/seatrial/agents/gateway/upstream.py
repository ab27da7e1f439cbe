"""Connections to model APIs and to allowed hosts, kept open between requests."""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import h11

from seatrial.agents.gateway.addresses import Network, UnknownName
from seatrial.agents.gateway.channel import Channel
from seatrial.agents.gateway.http import Headers
from seatrial.agents.gateway.records import Limits

_MOST_SPARE = 8
_CERTIFICATES = ("/etc/ssl/certs", "/etc/pki/tls/certs")


class UpstreamFault(Exception):
    """The upstream could not be reached, or broke off.  `late` says that it was too slow."""

    def __init__(self, message: str, late: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.late = late


@dataclass(frozen=True)
class Origin:
    """Where a connection goes: `host` is a name or an address, `addresses` where to find it when already judged."""

    scheme: str
    host: str
    port: int
    addresses: tuple[str, ...] = ()

    @property
    def authority(self) -> str:
        """The Host header."""
        usual = 443 if self.scheme == "https" else 80
        return self.host if self.port == usual else f"{self.host}:{self.port}"


def trust() -> ssl.SSLContext:
    """Return the host's trusted authorities.

    From a folder of hashed names, where there is one, each authority is read when it is needed: reading the whole
    bundle costs every agent's gateway several megabytes.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if "SSL_CERT_FILE" not in os.environ and "SSL_CERT_DIR" not in os.environ:
        for folder in _CERTIFICATES:
            if next(Path(folder).glob("*.0"), None) is not None:
                context.load_verify_locations(capath=folder)
                return context
    context.load_default_certs()
    return context


class Link:
    """One upstream connection."""

    def __init__(self, origin: Origin, channel: Channel, idle: float) -> None:
        self.origin = origin
        self.channel = channel
        self._idle = idle
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=256 * 1024)
        self.spare_since = 0.0

    async def request(
        self, method: str, target: str, headers: Headers, body: bytes | Callable[[], Awaitable[bytes | None]]
    ) -> None:
        """Send a request.  Raises UpstreamFault when the connection is lost."""
        head = h11.Request(
            method=method, target=target, headers=[(k.encode(), v.encode("latin-1")) for k, v in headers]
        )
        sent = self._http.send(head) or b""
        try:
            if isinstance(body, bytes):
                whole = self._http.send(h11.Data(data=body)) or b"" if body else b""
                self.channel.write(sent + whole + (self._http.send(h11.EndOfMessage()) or b""))
                await self.channel.drain(self._idle)
                return
            while (piece := await body()) is not None:
                self.channel.write(sent + (self._http.send(h11.Data(data=piece)) or b""))
                sent = b""
                await self.channel.drain(self._idle)
            self.channel.write(sent + (self._http.send(h11.EndOfMessage()) or b""))
        except (ConnectionError, h11.LocalProtocolError) as problem:
            raise UpstreamFault(f"{self.origin.host} closed the connection.") from problem

    async def response(self) -> tuple[int, Headers]:
        """Return status and headers (names in lower case) of the answer.  Raises UpstreamFault."""
        while True:
            event = await self._event()
            if isinstance(event, h11.Response):
                headers = [(key.decode("ascii"), value.decode("latin-1")) for key, value in event.headers]
                return event.status_code, headers
            if not isinstance(event, h11.InformationalResponse):
                raise UpstreamFault(f"{self.origin.host} closed the connection without an answer.")

    async def piece(self) -> bytes | None:
        """Return the next piece of the answer's body; None at its end.  Raises UpstreamFault."""
        event = await self._event()
        if isinstance(event, h11.Data):
            return event.data  # a bytearray of its own, which need not be copied to be read
        if isinstance(event, h11.EndOfMessage):
            return None
        raise UpstreamFault(f"{self.origin.host} closed the connection in the middle of an answer.")

    async def _event(self) -> object:
        try:
            while (event := self._http.next_event()) is h11.NEED_DATA:
                async with asyncio.timeout(self._idle):
                    self._http.receive_data(await self.channel.read())
        except TimeoutError:
            raise UpstreamFault(f"{self.origin.host} sent nothing for {self._idle:g} seconds.", late=True) from None
        except h11.RemoteProtocolError as problem:
            broken = "closed the connection in the middle of an answer" if self.channel.ended else "sent improper HTTP"
            raise UpstreamFault(f"{self.origin.host} {broken}.") from problem
        return event

    def renew(self) -> bool:
        """Make ready for the next request; False when this connection cannot carry one."""
        done = self._http.our_state is h11.DONE and self._http.their_state is h11.DONE
        if not done or self._http.trailing_data[0] or not self.channel.usable:
            return False
        self._http.start_next_cycle()
        return True


class Pool:
    """Upstream connections, reused while they are whole.

    A request is never sent twice: an unused connection that the other side has closed is noticed before the first
    byte and replaced; once a byte is out, its failure is the client's to judge.
    """

    def __init__(self, network: Network, limits: Limits, tls: ssl.SSLContext | None) -> None:
        self._network = network
        self._limits = limits
        self._tls = tls
        self._spare: list[Link] = []
        self.opened = 0

    async def take(self, origin: Origin) -> Link:
        """Return a connection to `origin`.  Raises UpstreamFault when there is none to be had."""
        self._drop_old()
        for link in reversed(self._spare):
            if link.origin == origin:
                self._spare.remove(link)
                return link
        try:
            async with asyncio.timeout(self._limits.connect):
                return await self._open(origin)
        except TimeoutError:
            raise UpstreamFault(
                f"{origin.host} could not be connected to within {self._limits.connect:g} seconds.", late=True
            ) from None
        except UnknownName as problem:
            raise UpstreamFault(str(problem)) from problem
        except (OSError, ssl.SSLError) as problem:
            raise UpstreamFault(f"{origin.host} could not be connected to: {problem}.") from problem

    def give(self, link: Link) -> None:
        """Take `link` back after an answer was read to its end; closed when it cannot be used again."""
        self._drop_old()
        if len(self._spare) < _MOST_SPARE and link.renew():
            link.spare_since = time.monotonic()
            self._spare.append(link)
        else:
            link.channel.close()

    def close(self) -> None:
        """Close what is unused."""
        for link in self._spare:
            link.channel.close()
        self._spare.clear()

    async def _open(self, origin: Origin) -> Link:
        addresses: Sequence[str] = origin.addresses or await self._network.addresses(origin.host)
        connection = await self._network.open(addresses, origin.port)
        try:
            encryption = self._context() if origin.scheme == "https" else None
            _, channel = await asyncio.get_running_loop().create_connection(
                Channel, sock=connection, ssl=encryption, server_hostname=origin.host if encryption else None
            )
        except BaseException:
            connection.close()
            raise
        self.opened += 1
        return Link(origin, channel, self._limits.idle)

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = trust()
        return self._tls

    def _drop_old(self) -> None:
        oldest = time.monotonic() - self._limits.spare
        for link in [link for link in self._spare if link.spare_since < oldest or not link.channel.usable]:
            self._spare.remove(link)
            link.channel.close()
