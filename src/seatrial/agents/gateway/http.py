"""The gateway's side of a client's HTTP/1.1 connection: requests in, answers out.

h11 judges the syntax; this adds what h11 leaves to servers: time for a head, sizes, one framing only.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterable
from dataclasses import dataclass

import h11

from seatrial.agents.gateway.channel import Channel
from seatrial.agents.gateway.records import Limits

Headers = list[tuple[str, str]]

# Small pieces are copied into one write; large ones are not worth the copy.
_JOINED = 32 * 1024
_LINGER_SECONDS = 2.0

HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-connection",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)


class BadRequest(Exception):
    """What the client sent cannot be answered; `status` says why.  The connection is closed after it."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@dataclass(frozen=True)
class Request:
    """A request's head.  Header names are in lower case."""

    method: str
    target: str
    headers: Headers

    def header(self, name: str) -> str:
        """Return the first header called `name`, or an empty text."""
        return next((value for key, value in self.headers if key == name), "")


def end_to_end(headers: Iterable[tuple[str, str]]) -> Headers:
    """Return `headers` without those that belong to one connection, `Connection: NAME` ones included."""
    headers = list(headers)
    named = {word.strip().lower() for key, value in headers if key == "connection" for word in value.split(",")}
    return [(key, value) for key, value in headers if key not in HOP_BY_HOP and key not in named]


class ServerConnection:
    """One client's connection."""

    def __init__(self, channel: Channel, limits: Limits) -> None:
        self.channel = channel
        self._limits = limits
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=limits.head_bytes)
        self._fresh = True
        self._head = b""
        self.answered = False

    async def next_request(self) -> Request | None:
        """Return the next request's head, or None when the client has left or keeps quiet.

        Raises BadRequest for what is not HTTP, too large or too slow.
        """
        if not self._fresh:
            if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
                return None
            self._http.start_next_cycle()
        self._fresh = False
        self.answered = False
        if not self._http.trailing_data[0]:
            try:
                async with asyncio.timeout(self._limits.keep):
                    piece = await self.channel.read()
            except TimeoutError:
                return None
            if not piece:
                return None
            self._http.receive_data(piece)
        event = await self._event(self._limits.head, "head")
        if not isinstance(event, h11.Request):
            return None
        request = Request(
            event.method.decode("ascii"),
            event.target.decode("ascii", "replace"),
            [(key.decode("ascii"), value.decode("latin-1")) for key, value in event.headers],
        )
        names = [key for key, _ in request.headers]
        if "transfer-encoding" in names and "content-length" in names:
            raise BadRequest(400, "A request must not have both Content-Length and Transfer-Encoding.")
        return request

    async def body(self, largest: int) -> bytes:
        """Return the request's whole body.  Raises BadRequest (413) when it is larger than `largest` bytes."""
        pieces: list[bytes] = []
        length = 0
        while (piece := await self.piece()) is not None:
            length += len(piece)
            if length > largest:
                raise BadRequest(413, f"The body of the request is larger than {largest} bytes.")
            pieces.append(piece)
        return b"".join(pieces)

    async def piece(self) -> bytes | None:
        """Return the next piece of the request's body; None at its end.  Raises BadRequest when it breaks off."""
        if self._http.they_are_waiting_for_100_continue:
            self.channel.write(self._send(h11.InformationalResponse(status_code=100, headers=[])))
        event = await self._event(self._limits.idle, "body")
        if isinstance(event, h11.Data):
            return bytes(event.data)
        if isinstance(event, h11.EndOfMessage):
            return None
        raise BadRequest(400, "The body of the request broke off.")

    async def start(self, status: int, headers: Headers) -> None:
        """Send the head of an answer whose body follows by `send`."""
        self.answered = True
        head = h11.Response(status_code=status, headers=[(k.encode(), v.encode("latin-1")) for k, v in headers])
        # Goes out with the first piece when that is at hand, else as soon as the loop turns.
        self._head = self._send(head)
        asyncio.get_running_loop().call_soon(self._flush_head)

    async def send(self, piece: bytes) -> None:
        """Send a piece of the body.  Raises ConnectionResetError when the client has gone."""
        try:
            parts = self._http.send_with_data_passthrough(h11.Data(data=piece)) or []
        except h11.LocalProtocolError as problem:
            raise ConnectionResetError(str(problem)) from problem
        head, self._head = self._head, b""
        if len(piece) <= _JOINED:
            self.channel.write(b"".join([head, *parts]))
        else:
            for part in [head, *parts] if head else parts:
                self.channel.write(part)
        await self.channel.drain(self._limits.idle)

    async def finish(self) -> None:
        """End the answer."""
        head, self._head = self._head, b""
        self.channel.write(head + self._send(h11.EndOfMessage()))
        await self.channel.drain(self._limits.idle)

    def _flush_head(self) -> None:
        if self._head:
            head, self._head = self._head, b""
            self.channel.write(head)

    async def respond(self, status: int, body: bytes, headers: Headers | None = None) -> None:
        """Send a whole answer.  What the client still sends of its body is not waited for."""
        kind = [] if any(key == "content-type" for key, _ in headers or []) else [("content-type", "application/json")]
        closing = [] if self._http.their_state in (h11.DONE, h11.MUST_CLOSE, h11.CLOSED) else [("connection", "close")]
        await self.start(status, [*kind, *(headers or []), ("content-length", str(len(body))), *closing])
        if body:
            await self.send(body)
        await self.finish()

    async def refuse(self, problem: BadRequest) -> None:
        """Answer what is not a proper request, as far as HTTP still allows it."""
        if self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE) and not self.answered:
            await self.respond(problem.status, note(problem.message), [("connection", "close")])

    async def linger(self) -> None:
        """Take what a refused client still sends: closing at once would take the refusal from it again."""
        if self.answered and self._http.their_state in (h11.SEND_BODY, h11.ERROR) and not self.channel.lost:
            self.channel.finish_writing()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LINGER_SECONDS):
                    while await self.channel.read():
                        pass

    async def tunnel(self) -> None:
        """Answer CONNECT; from now on the channel carries raw bytes."""
        self.answered = True
        self.channel.write(self._send(h11.Response(status_code=200, headers=[], reason=b"Connection established")))
        self.channel.unread(self._http.trailing_data[0])
        await self.channel.drain(self._limits.idle)

    def _send(self, event: h11.Event) -> bytes:
        try:
            return self._http.send(event) or b""
        except h11.LocalProtocolError as problem:
            raise ConnectionResetError(str(problem)) from problem

    async def _event(self, seconds: float, part: str) -> h11.Event | type[h11.PAUSED]:
        try:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                async with asyncio.timeout(seconds):
                    while (event := self._http.next_event()) is h11.NEED_DATA:
                        self._http.receive_data(await self.channel.read())
        except TimeoutError:
            raise BadRequest(408, f"The {part} of the request took too long.") from None
        except h11.RemoteProtocolError as problem:
            status = problem.error_status_hint
            raise BadRequest(status, f"This is not proper HTTP: {problem}.") from problem
        return event  # type: ignore[return-value]


def note(message: str) -> bytes:
    """Return the one-sentence JSON of answers that are no model API's."""
    return json.dumps({"error": {"message": message, "by": "seatrial"}}).encode()
