"""What the sessions took: tokens and USD of each day, project or model, sub-agents apart.

Counted is the largest usage that a message's lines report.  Some versions of the agents write partial numbers on the
first line of a message; where counting those would give more than 5 % fewer tokens written, both are shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, get_args

from seatrial.canary.features import DayUsage, Features
from seatrial.errors import SettingError
from seatrial.prices import Price, Prices

By = Literal["day", "project", "model"]
DIFFERS = 0.05
_COUNTS = (
    "messages", "input", "output", "cache_read", "cache_write", "cache_write_hour", "reasoning", "first_output",
)  # fmt: skip


@dataclass(slots=True)
class CostRow:
    """Tokens and USD of one day (UTC), project or model.

    `usd` is of the models whose price is known, by the largest usage of each message; `usd_first` counts first lines.
    `cache_write_hour` is part of `cache_write`, `reasoning` of `output`.
    """

    key: str
    is_subagent: bool = False
    by: str = ""
    """What `key` is: `day`, `project` or `model`."""
    sessions: int = 0
    messages: int = 0
    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0
    cache_write_hour: int = 0
    reasoning: int = 0
    first_output: int = 0
    usd: float = 0.0
    usd_first: float = 0.0
    is_least: bool = False
    """`usd` is the least it can be: some logs hold no final counts, some models cost more in long requests."""
    unpriced_messages: int = 0
    unpriced: tuple[str, ...] = ()
    """Models whose price is not known."""
    versions: tuple[str, ...] = ()
    """Versions of agents in whose sessions the two ways of counting differ."""

    @property
    def tokens(self) -> int:
        """All tokens that were read or written."""
        return self.input + self.output + self.cache_read + self.cache_write

    @property
    def differs(self) -> bool:
        """Whether counting first lines gives more than 5 % fewer or more tokens written."""
        return abs(self.output - self.first_output) > DIFFERS * max(self.output, 1)

    def as_dict(self) -> dict[str, Any]:
        """Return everything as values of JSON."""
        return {**asdict(self), "tokens": self.tokens, "differs": self.differs}


@dataclass(frozen=True, slots=True)
class _Counts:
    """A day's usage as the price table wants it."""

    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int


def costs(sessions: Iterable[Features], by: By = "day", prices: Prices | None = None) -> list[CostRow]:
    """Return the costs of all sessions, scripted ones too: days in their order, else the dearest first.

    Raises SettingError for another `by`, GatewayError when the price table cannot be read.
    """
    if by not in get_args(By):
        raise SettingError(f"Costs cannot be summed by {by!r}.", hint=f"By {', '.join(get_args(By))}.")
    sums = _Sums(prices or Prices())
    for session in sessions:
        sums.add(session, by)
    rows = sums.rows.values()
    if by == "day":
        return sorted(rows, key=lambda row: (row.key, row.is_subagent))
    dearest: dict[str, float] = {}
    for row in rows:
        dearest[row.key] = dearest.get(row.key, 0.0) + row.usd
    return sorted(rows, key=lambda row: (-dearest[row.key], row.key, row.is_subagent))


def total(rows: Sequence[CostRow]) -> CostRow:
    """Return the sum of rows; its `sessions` counts a session once for each row that it is in."""
    found = CostRow("total")
    for row in rows:
        for name in (*_COUNTS, "sessions", "usd", "usd_first", "unpriced_messages"):
            setattr(found, name, getattr(found, name) + getattr(row, name))
        found.is_least |= row.is_least
    found.unpriced = tuple(sorted({name for row in rows for name in row.unpriced}))
    found.versions = tuple(sorted({name for row in rows for name in row.versions}, key=_version))
    return found


@dataclass
class _Sums:
    prices: Prices
    rows: dict[tuple[str, bool], CostRow] = field(default_factory=dict)
    known: dict[str, Price | None] = field(default_factory=dict)

    def add(self, session: Features, by: By) -> None:
        touched: dict[tuple[str, bool], tuple[int, int]] = {}
        for usage in session.usage:
            key = {"day": usage.day, "project": session.project, "model": usage.model}[by], usage.is_subagent
            row = self.rows.setdefault(key, CostRow(*key, by))
            self._count(row, usage)
            output, first = touched.get(key, (0, 0))
            touched[key] = output + usage.output, first + usage.first_output
        for key, (output, first) in touched.items():
            row = self.rows[key]
            row.sessions += 1
            row.is_least |= session.has_partial_usage
            if abs(output - first) > DIFFERS * max(output, 1):
                versions = {name for name in session.spread.get("version", {}) if name}
                row.versions = tuple(sorted({*row.versions, *versions}, key=_version))

    def _count(self, row: CostRow, usage: DayUsage) -> None:
        for name in _COUNTS:
            setattr(row, name, getattr(row, name) + getattr(usage, name))
        price = self._price(usage.model)
        if price is None:
            row.unpriced_messages += usage.messages
            row.unpriced = tuple(sorted({*row.unpriced, usage.model}))
            return
        row.is_least |= price.long is not None
        # A day's sum is no request: the rates of long requests do not go by it.
        price = replace(price, long=None)
        counts = _Counts(usage.input, usage.output, usage.cache_read, usage.cache_write)
        row.usd += price.of(counts, usage.cache_write_hour)
        row.usd_first += price.of(replace(counts, output_tokens=usage.first_output), usage.cache_write_hour)

    def _price(self, model: str) -> Price | None:
        if model not in self.known:
            self.known[model] = self.prices.find(model)
        return self.known[model]


def _version(name: str) -> tuple[tuple[int, str], ...]:
    """Return what orders versions by their numbers."""
    return tuple((int(part), "") if part.isdecimal() else (-1, part) for part in name.split("."))
