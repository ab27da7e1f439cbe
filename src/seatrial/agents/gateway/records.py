"""What goes in and out of the gateway: providers, policy, budget, usage, exchanges, and the ledger's protocol."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import urlsplit

from seatrial.errors import PolicyError
from seatrial.settings import Secret

PLACEHOLDER_KEY = "seatrial-placeholder-key-not-a-secret"
"""What a harness inside the sandbox sees as its key.  The gateway takes it off and adds the real one."""

DIALECT_NAMES = ("anthropic", "openai", "gemini")


@dataclass(frozen=True)
class Provider:
    """One model API.  Raises PolicyError for a field that is malformed, and for a key that would go unencrypted.

    `base_url` may be `http://127.0.0.1:PORT`: it is the user's own setting, never the agent's, so the
    address checks of the forward proxy do not apply to it.  `headers` are added to each request.
    """

    name: str
    dialect: str
    base_url: str
    key: Secret | None = None
    headers: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if self.dialect not in DIALECT_NAMES:
            raise PolicyError(
                f"Provider {self.name}: unknown dialect {self.dialect}.", hint=f"Known: {', '.join(DIALECT_NAMES)}."
            )
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", self.name):
            raise PolicyError(f"{self.name!r} is not a provider name.", hint="Letters, digits, - and _.")
        self._check_url()
        for name, value in self.headers:
            if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", name) or not re.fullmatch(r"[ -~]*", value):
                raise PolicyError(f"Provider {self.name}: the header {name!r} is malformed.")
        if self.key is not None and not re.fullmatch(r"[!-~]+", self.key.reveal()):
            raise PolicyError(f"Provider {self.name}: the key is malformed.", hint="Store it again.")

    def _check_url(self) -> None:
        try:
            url = urlsplit(self.base_url)
            fine = url.scheme in ("https", "http") and url.hostname and (url.port is None or url.port > 0)
        except ValueError:
            fine = False
        if not fine or url.username is not None or url.query or url.fragment or not self.base_url.isascii():
            raise PolicyError(
                f"Provider {self.name}: {self.base_url!r} is not a base URL.", hint="Write https://api.example.com."
            )
        if url.scheme == "http" and self.key is not None and url.hostname not in ("127.0.0.1", "localhost", "::1"):
            raise PolicyError(
                f"Provider {self.name}: {self.base_url} would send the key unencrypted.", hint="Use an https URL."
            )


@dataclass(frozen=True)
class Budget:
    """The most an agent may use; None is no limit.  `seconds` count from `Ledger.started()`."""

    tokens: int | None = None
    usd: float | None = None
    requests: int | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Usage:
    """Tokens, money and requests.  `input_tokens` leaves out what was read from or written to a cache.

    `usd` is None when the price of any part is unknown: a sum with an unknown part is unknown.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    usd: float | None = 0.0
    requests: int = 0

    @property
    def tokens(self) -> int:
        """All tokens, cached ones included: what `Budget.tokens` limits."""
        return self.input_tokens + self.output_tokens + self.cache_read_tokens + self.cache_write_tokens

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cache_read_tokens + other.cache_read_tokens,
            self.cache_write_tokens + other.cache_write_tokens,
            None if self.usd is None or other.usd is None else self.usd + other.usd,
            self.requests + other.requests,
        )


@dataclass(frozen=True)
class Exchange:
    """One request to a model and its answer.  Times are ISO 8601 in UTC.

    `stop` is `tool_use`, `end`, `length`, `refusal`, `error` or empty (not known: the stream broke off).
    `tools` are the names of the tools that the answer calls.  `error` is empty when the exchange went well.
    `recorded` is the sha256 name of the recording's entry, or empty.
    """

    id: str
    started: str
    finished: str
    provider: str
    model: str
    path: str
    status: int
    usage: Usage
    streamed: bool = False
    stop: str = ""
    tools: tuple[str, ...] = ()
    error: str = ""
    recorded: str = ""


class Ledger(Protocol):
    """Where exchanges are kept, by whoever owns the gateway."""

    def spent(self) -> Usage:
        """Return the sum of all exchanges so far, of earlier processes too."""

    def started(self) -> float:
        """Return the unix time (seconds) from which `Budget.seconds` counts."""

    def add(self, exchange: Exchange) -> None:
        """Keep `exchange`; durable when this returns."""


@dataclass(frozen=True)
class GatewayPolicy:
    """What an agent may reach.

    `hosts` are names (`pypi.org`), wildcards (`*.npmjs.org`), `host:port`, or `preset:NAME`; ports 443 and 80
    unless named.  `local_services` are `127.0.0.1:PORT` of the host.  `largest_body` is in bytes.
    """

    providers: tuple[Provider, ...] = ()
    hosts: tuple[str, ...] = ()
    local_services: tuple[str, ...] = ()
    budget: Budget = field(default_factory=Budget)
    largest_body: int = 32 * 2**20


@dataclass(frozen=True)
class Limits:
    """Times in seconds, sizes in bytes.

    `connect` until an upstream is connected, `idle` between two pieces from an upstream or in a tunnel, `head` for
    a whole request head, `keep` for a client connection without a request, `spare` for an unused upstream connection.
    """

    connect: float = 10.0
    idle: float = 300.0
    head: float = 30.0
    keep: float = 120.0
    spare: float = 30.0
    head_bytes: int = 64 * 1024
    connections: int = 256
