"""The allow-list of hosts: patterns, presets, and what is too broad to be allowed."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from seatrial.agents.gateway.addresses import METADATA_NAMES, ForbiddenTarget, literal, refusal_of
from seatrial.errors import PolicyError

_DATA = Path(__file__).with_name("presets.toml")
_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})*")
DEFAULT_PORTS = frozenset({443, 80})


@cache
def _data() -> dict[str, dict[str, list[str]]]:
    return tomllib.loads(_DATA.read_text(encoding="utf-8"))


def presets() -> dict[str, tuple[str, ...]]:
    """Return the hosts of each named preset."""
    return {name: tuple(entry["hosts"]) for name, entry in _data().items() if name != "shared"}


def canonical(host: str) -> str:
    """Return `host` in lower case, IDNA-encoded, without the root dot.  Raises ValueError for what is no host."""
    host = host.lower().removesuffix(".")
    if host.startswith("["):
        return host
    if not host.isascii():
        host = host.encode("idna").decode("ascii")
    if not _NAME.fullmatch(host) or len(host) > 253:
        raise ValueError(f"{host!r} is not a host name")
    return host


@dataclass(frozen=True)
class HostPattern:
    """One entry: `name` exactly, or, with `below`, every name under it; on `ports`."""

    name: str
    below: bool
    ports: frozenset[int]

    def matches(self, host: str, port: int) -> bool:
        """Whether `host` (canonical) on `port` is allowed."""
        if port not in self.ports:
            return False
        return host.endswith(f".{self.name}") if self.below else host == self.name


class AllowList:
    """The hosts an agent may reach through the forward proxy.

    Raises PolicyError for patterns that are malformed, too broad, or never reachable.  Does not protect against
    what an allowed host does for others: many sites behind one name, or a content network that serves another
    site for a Host header inside TLS (domain fronting), are one host here.
    """

    def __init__(self, hosts: tuple[str, ...]) -> None:
        self.patterns = tuple(pattern for entry in hosts for pattern in _expand(entry))

    def allows(self, host: str, port: int) -> bool:
        """Whether `host` (canonical) on `port` is on the list."""
        return any(pattern.matches(host, port) for pattern in self.patterns)


def _expand(entry: str) -> list[HostPattern]:
    if not entry.startswith("preset:"):
        return [_pattern(entry)]
    known = presets()
    name = entry.removeprefix("preset:")
    if name not in known:
        raise PolicyError(f"hosts: there is no preset {name}.", hint=f"Known: {', '.join(sorted(known))}.")
    return [_pattern(host) for host in known[name]]


def _pattern(entry: str) -> HostPattern:
    host, ports = _split(entry)
    below = host.startswith("*.")
    try:
        name = canonical(host.removeprefix("*."))
        spelled = literal(name)
    except (ValueError, ForbiddenTarget) as problem:
        raise PolicyError(
            f"hosts: {entry!r} is not a host.", hint="Write pypi.org, *.npmjs.org, or host:8443.", entry=entry
        ) from problem
    if spelled is not None:
        why = refusal_of(spelled)
        if why or below:
            raise PolicyError(
                f"hosts: {entry} is never reachable: {why or 'a wildcard'}.",
                hint="A service of this host is named under local_services.",
            )
    elif name in METADATA_NAMES or name == "localhost" or name.endswith((".localhost", ".internal", ".local")):
        raise PolicyError(f"hosts: {entry} is never reachable.", hint="Services of this host go under local_services.")
    elif "." not in name:
        raise PolicyError(f"hosts: {entry} is not a full host name.", hint="Write pypi.org or *.npmjs.org.")
    if below and name in _data()["shared"]["hosts"]:
        raise PolicyError(
            f"hosts: {entry} is too broad: anyone can have a name under {name}.", hint="Name the host itself."
        )
    return HostPattern(name, below, ports)


def _split(entry: str) -> tuple[str, frozenset[int]]:
    host, colon, port = entry.rpartition(":")
    if not colon or entry.endswith("]"):
        return entry, DEFAULT_PORTS
    if not port.isdigit() or not 0 < int(port) < 65536:
        raise PolicyError(f"hosts: {entry!r} has no proper port.", hint="Write host:8443.")
    return host, frozenset({int(port)})


def local_services(entries: tuple[str, ...]) -> frozenset[tuple[str, int]]:
    """Return (address, port) of services on the host's loopback.  Raises PolicyError for anything else."""
    found = set()
    for entry in entries:
        host, _, port = entry.rpartition(":")
        if host not in ("127.0.0.1", "localhost", "[::1]") or not port.isdigit() or not 0 < int(port) < 65536:
            raise PolicyError(f"local_services: {entry!r} is not a service of this host.", hint="Write 127.0.0.1:5432.")
        found.add(("::1" if host == "[::1]" else "127.0.0.1", int(port)))
    return frozenset(found)
