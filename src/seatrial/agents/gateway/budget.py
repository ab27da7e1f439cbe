"""Budgets: checked before each request that costs tokens.

A request that is on its way counts as a request, and the tokens it will at least read are set aside.  When only what
is set aside stands between a request and the limit, it waits until the others have ended.  What this does not
protect: an answer's own length is known only afterwards, so the last request admitted may go beyond the limit.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from seatrial.agents.gateway.records import Budget, Exchange, Ledger, Usage


@dataclass(frozen=True)
class Exceeded:
    """A limit that was reached: `which` is `tokens`, `usd`, `requests` or `seconds`."""

    which: str
    limit: float
    spent: float

    @property
    def message(self) -> str:
        """One sentence for the agent."""
        shown = f"{self.spent:.4f} of {self.limit:.4f}" if self.which == "usd" else f"{self.spent:g} of {self.limit:g}"
        return f"Seatrial: the agent's budget of {self.which} is spent ({shown}). Ask the user to raise it."


@dataclass(frozen=True)
class Reservation:
    """What is set aside for one request on its way."""

    tokens: int
    usd: float


class Meter:
    """Compares what `ledger` says was spent, and what is on its way, with `budget`."""

    def __init__(self, budget: Budget, ledger: Ledger) -> None:
        self.budget = budget
        self._ledger = ledger
        self._reservations: dict[int, Reservation] = {}
        self._number = 0
        self._lost = Usage()
        self._changed: asyncio.Event = asyncio.Event()

    async def admit(self, tokens: int, usd: float) -> int | Exceeded:
        """Return a number for `settle`, or the limit that stands in the way.

        `tokens` and `usd` are the least that the request will cost.
        """
        while True:
            spent = self._ledger.spent() + self._lost
            exceeded = self._exceeded(spent, Reservation(0, 0.0))
            if exceeded is not None:
                return exceeded
            aside = Reservation(
                sum(entry.tokens for entry in self._reservations.values()),
                sum(entry.usd for entry in self._reservations.values()),
            )
            # Between the check and the line that reserves nothing else runs: there is no `await`.
            if self._exceeded(spent, aside) is None:
                self._number += 1
                self._reservations[self._number] = Reservation(tokens, usd)
                return self._number
            self._changed.clear()
            await self._changed.wait()

    def set_budget(self, budget: Budget) -> None:
        """Put another budget in force; requests that wait are judged by it, too."""
        self.budget = budget
        self._changed.set()

    def settle(self, number: int | None, exchange: Exchange | None) -> None:
        """Release what was set aside (`number`, None: nothing).  `exchange` (None: none) is added to the ledger first.

        Raises what the ledger raises; the usage then still counts while this process lives.
        """
        try:
            if exchange is not None:
                self._ledger.add(exchange)
        except BaseException:
            self._lost += exchange.usage if exchange is not None else Usage()
            raise
        finally:
            if number is not None:
                self._reservations.pop(number, None)
            self._changed.set()

    def _exceeded(self, spent: Usage, aside: Reservation) -> Exceeded | None:
        budget = self.budget
        if budget.requests is not None and spent.requests + len(self._reservations) >= budget.requests:
            return Exceeded("requests", budget.requests, spent.requests + len(self._reservations))
        if budget.tokens is not None and spent.tokens + aside.tokens >= budget.tokens:
            return Exceeded("tokens", budget.tokens, spent.tokens)
        # An unknown sum cannot be compared; requests without a price are refused before they come here.
        if budget.usd is not None and (spent.usd is None or spent.usd + aside.usd >= budget.usd):
            return Exceeded("usd", budget.usd, spent.usd if spent.usd is not None else float("nan"))
        elapsed = time.time() - self._ledger.started()
        if budget.seconds is not None and elapsed >= budget.seconds:
            return Exceeded("seconds", budget.seconds, round(elapsed))
        return None
