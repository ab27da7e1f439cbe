"""One byte stream: reads in large pieces without joining them, writes with back-pressure, relays raw bytes.

asyncio's own streams copy each piece twice and stop at 64 KiB; what goes through here is large.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable
from typing import cast

_HIGH_WATER = 512 * 1024


class Channel(asyncio.Protocol):
    """A connection.  `on_gone` is called once when the other side ended or the connection was lost."""

    def __init__(self, on_made: Callable[[Channel], None] | None = None) -> None:
        self._on_made = on_made
        self.on_gone: Callable[[], None] | None = None
        self._transport: asyncio.Transport | None = None
        self._pieces: deque[bytes] = deque()
        self._held = 0
        self._ended = False
        self._lost = False
        self._reading_paused = False
        self._reader: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None
        self._writing_paused = False
        self._peer: Channel | None = None
        self._done: asyncio.Future[None] | None = None
        self.moved = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Part of asyncio's protocol."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=_HIGH_WATER)
        connection = transport.get_extra_info("socket")
        if connection is not None and connection.family in (socket.AF_INET, socket.AF_INET6):
            # asyncio does so itself only for sockets that were made with an explicit protocol number.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._on_made is not None:
            self._on_made(self)

    def data_received(self, data: bytes) -> None:
        """Part of asyncio's protocol."""
        self.moved += len(data)
        peer = self._peer
        if peer is not None:
            peer.write(data)
            if peer._writing_paused:
                self._pause()
            return
        self._pieces.append(data)
        self._held += len(data)
        if self._held > _HIGH_WATER:
            self._pause()
        _wake(self._reader)

    def eof_received(self) -> bool:
        """Part of asyncio's protocol."""
        self._ended = True
        _wake(self._reader)
        self._gone()
        if self._peer is not None:
            self._peer.finish_writing()
            if self._peer._ended:
                self.close()
                self._peer.close()
        # Plain TCP may still be written to after the other side has ended; TLS may not.
        return not self.encrypted

    def connection_lost(self, error: Exception | None) -> None:
        """Part of asyncio's protocol."""
        self._lost = self._ended = True
        _wake(self._reader)
        _wake(self._writer)
        _wake(self._done)
        self._gone()
        if self._peer is not None:
            self._peer.close()

    def pause_writing(self) -> None:
        """Part of asyncio's protocol."""
        self._writing_paused = True

    def resume_writing(self) -> None:
        """Part of asyncio's protocol."""
        self._writing_paused = False
        _wake(self._writer)
        if self._peer is not None:
            self._peer._resume()

    @property
    def encrypted(self) -> bool:
        """Whether this is TLS."""
        return self._transport is not None and self._transport.get_extra_info("sslcontext") is not None

    @property
    def usable(self) -> bool:
        """Whether nothing has ended and no byte waits: what a connection in a pool must be."""
        return not self._ended and not self._pieces and self._transport is not None and not self._transport.is_closing()

    @property
    def lost(self) -> bool:
        """Whether writing is useless."""
        return self._lost

    @property
    def ended(self) -> bool:
        """Whether the other side sends no more."""
        return self._ended

    async def read(self) -> bytes:
        """Return the next piece, as it arrived; empty at the end."""
        while not self._pieces:
            if self._ended:
                return b""
            self._reader = asyncio.get_running_loop().create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        piece = self._pieces.popleft()
        self._held -= len(piece)
        if self._held <= _HIGH_WATER // 2:
            self._resume()
        return piece

    def unread(self, data: bytes) -> None:
        """Put `data` back, to be read next."""
        if data:
            self._pieces.appendleft(data)
            self._held += len(data)

    def write(self, data: bytes) -> None:
        """Send `data`; `drain` waits until there is room for more."""
        if self._transport is not None and not self._lost:
            self._transport.write(data)

    async def drain(self, idle: float) -> None:
        """Wait until what was written has mostly gone out.

        Raises ConnectionResetError when the connection was lost, or the other side took nothing for `idle` seconds.
        """
        if self._lost:
            raise ConnectionResetError("The connection was lost.")
        if self._writing_paused:
            self._writer = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout(idle):
                    await self._writer
            except TimeoutError:
                self.abort()
                raise ConnectionResetError(f"Nothing was taken for {idle:g} seconds.") from None
            finally:
                self._writer = None

    def close(self) -> None:
        """Close after what was written has gone out."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close at once: the other side sees that this was no regular end."""
        if self._transport is not None:
            self._transport.abort()

    async def relay(self, other: Channel, idle: float) -> None:
        """Pass bytes both ways until both sides have ended, or nothing moved for `idle` seconds."""
        loop = asyncio.get_running_loop()
        self._done, other._done = loop.create_future(), loop.create_future()
        self._peer, other._peer = other, self
        for source, target in ((self, other), (other, self)):
            while source._pieces:
                target.write(source._pieces.popleft())
            source._held = 0
            source._resume()
            if source._lost:
                target.close()
            elif source._ended:
                target.finish_writing()
        try:
            waiting = [channel._done for channel in (self, other) if channel._done and not channel._lost]
            before = -1
            while waiting:
                _, pending = await asyncio.wait(waiting, timeout=idle)
                waiting = list(pending)
                if waiting and before == self.moved + other.moved:
                    break
                before = self.moved + other.moved
        finally:
            self.close()
            other.close()

    def finish_writing(self) -> None:
        """Say that nothing more comes; the other side may still send, except over TLS."""
        if self._transport is not None and not self._lost:
            if self._transport.can_write_eof():
                self._transport.write_eof()
            else:
                self._transport.close()

    def _gone(self) -> None:
        if self.on_gone is not None:
            call, self.on_gone = self.on_gone, None
            call()

    def _pause(self) -> None:
        if not self._reading_paused and self._transport is not None and not self._transport.is_closing():
            self._reading_paused = True
            self._transport.pause_reading()

    def _resume(self) -> None:
        if self._reading_paused and self._transport is not None and not self._transport.is_closing():
            self._reading_paused = False
            self._transport.resume_reading()


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)
