"""What models cost: a dated table, as data.

Not covered: priority, batch and regional rates, tools that the provider runs and bills apart, discounts.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Protocol

from seatrial.errors import GatewayError

_TABLE = Path(__file__).with_name("prices.toml")
_RATES = ("input", "output", "cache_read", "cache_write", "cache_write_hour")


class TokenCounts(Protocol):
    """What is priced; each token is in one of these."""

    @property
    def input_tokens(self) -> int:
        """Tokens read that were not in a cache."""

    @property
    def output_tokens(self) -> int:
        """Tokens written."""

    @property
    def cache_read_tokens(self) -> int:
        """Tokens read from a cache."""

    @property
    def cache_write_tokens(self) -> int:
        """Tokens written to a cache."""


@dataclass(frozen=True)
class Price:
    """USD per million tokens; `long` holds above `over` tokens read by one request, `as_of` is a date."""

    input: float
    output: float
    cache_read: float
    cache_write: float
    cache_write_hour: float
    over: int = 0
    long: Price | None = None
    as_of: str = ""

    def of(self, usage: TokenCounts, hour: int = 0) -> float:
        """Return USD for `usage`, `hour` of whose cache writes are kept for an hour."""
        read = usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens
        if self.long is not None and read > self.over:
            return self.long.of(usage, hour)
        hour = min(hour, usage.cache_write_tokens)
        total = (
            usage.input_tokens * self.input
            + usage.output_tokens * self.output
            + usage.cache_read_tokens * self.cache_read
            + (usage.cache_write_tokens - hour) * self.cache_write
            + hour * self.cache_write_hour
        )
        return total / 1e6


class Prices:
    """The table in `file` (default: the one that comes along).  Raises GatewayError when it cannot be read."""

    def __init__(self, file: Path | None = None) -> None:
        file = file or _TABLE
        self._models: list[tuple[tuple[str, ...], Price]] = []
        try:
            table = tomllib.loads(file.read_text(encoding="utf-8"))
            self.as_of = str(table["as_of"])
            for entry in table.get("model", []):
                price = replace(_price(entry), as_of=str(entry.get("as_of", self.as_of)))
                self._models.append((tuple(entry["match"]), price))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as problem:
            raise GatewayError(f"The price table {file} cannot be read: {problem}.", path=file) from problem
        except (KeyError, TypeError, ValueError, AttributeError) as problem:
            raise GatewayError(
                f"The price table {file} is malformed: {problem!r}.",
                hint='It needs as_of = "DATE" and entries [[model]] with match = ["NAME"], input and output.',
                path=file,
            ) from problem

    def find(self, model: str) -> Price | None:
        """Return the price of `model`, or None when it is not known."""
        name = model.removeprefix("models/")
        for patterns, price in self._models:
            if any(fnmatchcase(name, pattern) for pattern in patterns):
                return price
        return None


def _price(entry: dict[str, Any]) -> Price:
    if isinstance(entry["match"], str):
        raise TypeError("match must be a list")
    # Without a rate of their own, cached tokens cost what others cost: rather too much than too little.
    rates = {name: float(entry.get(name, entry["output" if name == "output" else "input"])) for name in _RATES}
    if min(rates.values()) < 0:
        raise ValueError("a rate is negative")
    price = Price(**rates)  # type: ignore[arg-type]
    long = entry.get("long")
    return price if long is None else replace(price, over=int(long["over"]), long=_price({"match": [], **long}))
