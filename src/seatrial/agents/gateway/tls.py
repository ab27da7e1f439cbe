"""Reads the server name out of a TLS ClientHello, without taking part in TLS.

Lets the proxy refuse a tunnel whose inside is for another host than was asked for.  What this does not protect:
with Encrypted ClientHello the outer name is what is seen here, and the Host header within TLS may name any other
site that the same server has (domain fronting).
"""

from __future__ import annotations

LONGEST_HELLO = 64 * 1024
UNRECOGNIZED_NAME = bytes([21, 3, 1, 0, 2, 2, 112])
"""A fatal TLS alert: the client's error then says what was refused."""


class NotTls(ValueError):
    """The bytes are not the beginning of TLS."""


class Incomplete(Exception):
    """More bytes are needed."""


def server_name(data: bytes) -> str | None:
    """Return the host that the ClientHello in `data` asks for, in lower case; None when it names none.

    Raises Incomplete when more is needed and NotTls when this is not a well-formed ClientHello.
    """
    hello = _handshake(data)
    at = 4 + 2 + 32  # type and length; version; random
    at += 1 + _byte(hello, at)  # session
    at += 2 + _short(hello, at)  # ciphers
    at += 1 + _byte(hello, at)  # compression
    if at == len(hello):
        return None
    end = at + 2 + _short(hello, at)
    at += 2
    if end != len(hello):
        raise NotTls("the extensions do not fill the hello")
    names: list[str] = []
    while at < end:
        kind, length = _short(hello, at), _short(hello, at + 2)
        if at + 4 + length > end:
            raise NotTls("an extension is too long")
        if kind == 0:
            names.append(_name(hello[at + 4 : at + 4 + length]))
        at += 4 + length
    if len(names) > 1:
        raise NotTls("two server names")
    return names[0] if names else None


def _handshake(data: bytes) -> bytes:
    """Return the first handshake message, put together from as many records as it takes."""
    hello, at = b"", 0
    while True:
        head = data[at : at + 5]
        if (head and head[0] != 22) or (len(head) > 1 and head[1] != 3):
            raise NotTls("not a handshake record")
        if len(head) < 5:
            raise Incomplete
        length = int.from_bytes(head[3:5])
        if not 0 < length <= 16384 + 256:
            raise NotTls("a record of impossible length")
        hello += data[at + 5 : at + 5 + length]
        if hello[:1] not in (b"", b"\x01"):
            raise NotTls("not a ClientHello")
        if len(hello) >= 4:
            whole = 4 + int.from_bytes(hello[1:4])
            if whole > LONGEST_HELLO:
                raise NotTls("too long")
            if len(hello) >= whole:
                return hello[:whole]
        if len(data) < at + 5 + length:
            raise Incomplete
        at += 5 + length


def _name(data: bytes) -> str:
    length = _short(data, 3)
    if _short(data, 0) != len(data) - 2 or _byte(data, 2) != 0 or len(data) != 5 + length:
        raise NotTls("a malformed server name")
    try:
        return data[5:].decode("ascii").lower()
    except UnicodeDecodeError:
        raise NotTls("a server name that is not ASCII") from None


def _byte(data: bytes, at: int) -> int:
    if at + 1 > len(data):
        raise NotTls("too short")
    return data[at]


def _short(data: bytes, at: int) -> int:
    if at + 2 > len(data):
        raise NotTls("too short")
    return int.from_bytes(data[at : at + 2])
