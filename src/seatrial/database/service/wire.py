"""The first messages of the PostgreSQL protocol, version 3 (as its documentation describes them)."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

SSL_REQUEST, GSS_REQUEST, CANCEL_REQUEST = 80877103, 80877104, 80877102
LONGEST_STARTUP = 10_000
"""Bytes; as the server limits it."""
_VERSION_3 = 3


class WireError(Exception):
    """A client does not speak the protocol."""


@dataclass(frozen=True)
class Startup:
    """What a client says first: user, database and settings; `raw` are all its bytes."""

    parameters: Mapping[str, str]
    raw: bytes


def parse_startup(raw: bytes) -> Startup:
    """Read a start-up message, its length included; WireError when it is malformed."""
    (version,) = struct.unpack_from("!I", raw, 4)
    if version >> 16 != _VERSION_3:
        raise WireError(f"protocol version {version >> 16} is not supported")
    words = raw[8:].split(b"\0")
    if len(words) < 2 or words[-1] or words[-2]:
        raise WireError("the start-up message is malformed")
    try:
        texts = [word.decode() for word in words[:-2]]
    except UnicodeDecodeError as problem:
        raise WireError("the start-up message is not UTF-8") from problem
    return Startup(dict(zip(texts[::2], texts[1::2], strict=False)), raw)


def error(message: str, hint: str = "", sqlstate: str = "08004") -> bytes:
    """Return the message by which a server refuses a connection."""
    fields = {"S": "FATAL", "V": "FATAL", "C": sqlstate, "M": message, **({"H": hint} if hint else {})}
    body = b"".join(key.encode() + value.replace("\0", "").encode() + b"\0" for key, value in fields.items()) + b"\0"
    return b"E" + struct.pack("!I", len(body) + 4) + body


class KeyWatch:
    """Looks into what a server sends until it is ready, for the key by which its queries are cancelled."""

    def __init__(self) -> None:
        self._buffer = b""
        self.key = b""
        """Process id and secret, as a cancel request carries them."""
        self.is_done = False

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the server."""
        self._buffer += data
        while not self.is_done and len(self._buffer) >= 5:
            kind, length = self._buffer[:1], struct.unpack_from("!I", self._buffer, 1)[0]
            if len(self._buffer) < length + 1:
                return
            if kind == b"K":
                self.key = self._buffer[5 : length + 1]
            self.is_done = kind in (b"Z", b"E")
            self._buffer = self._buffer[length + 1 :]
        if self.is_done:
            self._buffer = b""
