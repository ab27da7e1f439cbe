"""Which network addresses an agent may be connected to, and how names become addresses.

Names are resolved here, on the host, once; every address of the answer is judged; the connection goes to a judged
address itself.  So a name that answers differently the second time (DNS rebinding) gains nothing.  What this does
not protect: a public address that forwards to a private network, and split-horizon DNS that gives an internal
service a public address.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

METADATA_NAMES = frozenset(
    {"metadata.google.internal", "metadata", "metadata.goog", "instance-data", "instance-data.ec2.internal"}
)
_REFUSED = [
    (ipaddress.ip_network(network), why)
    for network, why in [
        ("0.0.0.0/8", "unspecified"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "carrier-grade NAT"),
        ("127.0.0.0/8", "loopback"),
        ("169.254.0.0/16", "link-local or cloud metadata"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "reserved"),
        ("192.0.2.0/24", "documentation"),
        ("192.31.196.0/24", "reserved"),
        ("192.52.193.0/24", "reserved"),
        ("192.88.99.0/24", "6to4 relay"),
        ("192.168.0.0/16", "private"),
        ("192.175.48.0/24", "reserved"),
        ("198.18.0.0/15", "benchmarking"),
        ("198.51.100.0/24", "documentation"),
        ("203.0.113.0/24", "documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
        ("168.63.129.16/32", "cloud metadata"),
        ("100.100.100.200/32", "cloud metadata"),
        ("2002::/16", "6to4"),
        ("2001::/23", "Teredo or reserved"),
        ("2001:db8::/32", "documentation"),
        ("3fff::/20", "documentation"),
    ]
]
_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
_NUMBER = re.compile(r"(0x[0-9a-f]*|[0-9]+)", re.IGNORECASE)


class ForbiddenTarget(Exception):
    """A host or address that is not allowed; the text says why."""


class UnknownName(Exception):
    """A name that has no address now."""


def refusal_of(address: Address) -> str:
    """Return why `address` is refused, or an empty text.

    Of IPv6 only global unicast is let through: that leaves out loopback, link-local, unique local, multicast,
    IPv4-mapped, IPv4-compatible and NAT64 forms altogether; 6to4 and Teredo are named.
    """
    for network, why in _REFUSED:
        if address.version == network.version and address in network:
            return why
    if isinstance(address, ipaddress.IPv6Address) and address not in _GLOBAL_UNICAST:
        return "not a public IPv6 address"
    return ""


def literal(host: str) -> Address | None:
    """Return the address that `host` spells, or None for a name.

    Raises ForbiddenTarget for spellings that some resolvers take as addresses: decimal, octal, hexadecimal, with
    fewer than four parts, or with a zone.
    """
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        return ipaddress.ip_address(bare) if "%" not in bare else _odd(host)
    except ValueError:
        pass
    parts = bare.rstrip(".").split(".")
    if ":" in bare or _NUMBER.fullmatch(parts[-1]):
        return _odd(host)
    return None


def _odd(host: str) -> Address:
    raise ForbiddenTarget(f"{host} is an unusual spelling of an address.")


def system_resolver(host: str) -> Sequence[str]:
    """Return the addresses of `host` as the host's resolver gives them.  Raises OSError when there are none."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


async def system_connector(address: str, port: int) -> socket.socket:
    """Return a socket connected to `address`; raises OSError."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    connection = socket.socket(family, socket.SOCK_STREAM)
    connection.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(connection, (address, port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        connection.close()
        raise
    return connection


@dataclass(frozen=True)
class Network:
    """How names are resolved (a blocking function) and addresses connected to."""

    resolve: Callable[[str], Sequence[str]] = system_resolver
    connect: Callable[[str, int], Awaitable[socket.socket]] = system_connector

    async def public_addresses(self, host: str) -> list[str]:
        """Return the addresses of `host`, all of which are allowed.

        Raises ForbiddenTarget when any of them is not, UnknownName when there is none.
        """
        if host.rstrip(".").lower() in METADATA_NAMES:
            raise ForbiddenTarget(f"{host} is a cloud metadata service.")
        spelled = literal(host)
        names = [str(spelled)] if spelled is not None else await self.addresses(host)
        for name in names:
            try:
                why = refusal_of(ipaddress.ip_address(name.partition("%")[0]))
            except ValueError:
                why = "not an address"
            if why:
                raise ForbiddenTarget(f"{host} is at {name}, which is not allowed: {why}.")
        return names

    async def addresses(self, host: str) -> list[str]:
        """Return the addresses of `host`, whichever they are.  Raises UnknownName."""
        bare = host.strip("[]")
        try:
            return [str(ipaddress.ip_address(bare))]
        except ValueError:
            pass
        try:
            found = list(await asyncio.get_running_loop().run_in_executor(None, self.resolve, bare))
        except (OSError, UnicodeError) as problem:
            raise UnknownName(f"{host} has no address: {problem}.") from problem
        if not found:
            raise UnknownName(f"{host} has no address.")
        return found

    async def open(self, addresses: Sequence[str], port: int) -> socket.socket:
        """Return a socket connected to the first of `addresses` that answers; raises the last OSError."""
        last: OSError | None = None
        for address in addresses:
            try:
                return await self.connect(address, port)
            except OSError as problem:
                last = problem
        raise last or OSError("no address")
