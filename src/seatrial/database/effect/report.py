"""What was measured, as data: frozen, comparable, and the same after a round trip through JSON.

Durations are milliseconds on the copy, sizes bytes, and names of objects written as SQL would need them
(`public.users`).  Statements are numbered from 1 in the order in which they run.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from typing import Any, Union, get_args, get_origin, get_type_hints

from seatrial.errors import ProposalError


@dataclass(frozen=True)
class Timeouts:
    """How long a statement may wait for a lock, and how long it may take; milliseconds.

    Raises ProposalError when the first is not below the second: it would never fire.
    """

    lock_ms: int = 2_000
    statement_ms: int = 600_000

    def __post_init__(self) -> None:
        if not 0 < self.lock_ms < self.statement_ms:
            raise ProposalError(
                f"The lock timeout ({self.lock_ms} ms) must be above 0 and below that of the statement "
                f"({self.statement_ms} ms).",
                hint="A statement that waits for a lock longer than it may take at all never gets to the lock timeout.",
            )


@dataclass(frozen=True)
class Query:
    """One query whose plan must not get worse; `text` may have parameters ($1) when it comes from statistics."""

    name: str
    text: str


@dataclass(frozen=True)
class Lock:
    """The strongest lock newly taken on one relation.

    `held_ms` is from the statement that took it to the end of the commit.  `is_measured` is false where the server
    gives a lock up before anyone can look (statements outside of transactions): there it is the documented one.
    `is_new`: the relation was made by this very change, so nobody can be waiting for it.
    """

    relation: str
    mode: str
    held_ms: float
    is_measured: bool = True
    is_new: bool = False


@dataclass(frozen=True)
class Named:
    """An object by kind (`table`, `view`, `function`, `column` …) and name."""

    kind: str
    name: str


@dataclass(frozen=True)
class Rows:
    """Rows of one table that one statement inserted, updated and deleted, its triggers' doing included."""

    table: str
    inserted: int
    updated: int
    deleted: int


@dataclass(frozen=True)
class Loss:
    """Data that are gone: `what` is `rows`, `truncated rows`, `values` (of a column) or `changed values`.

    `count` is None where the table was too large to count; `is_exact` is false for the planner's estimate.
    """

    what: str
    object: str
    count: int | None
    is_exact: bool = True


@dataclass(frozen=True)
class Scan:
    """A table that was read from beginning to end; `rows` is how many were read."""

    table: str
    rows: int
    is_new: bool = False


@dataclass(frozen=True)
class Failure:
    """Where the change failed: the server's own words.  `line` counts in the file the statement came from."""

    statement: int
    message: str
    sqlstate: str = ""
    hint: str = ""
    line: int = 0
    at_commit: bool = False


@dataclass(frozen=True)
class StatementEffect:
    """What one statement did.  `group` numbers the transactions from 1."""

    number: int
    text: str
    line: int
    kind: str
    group: int
    transactional: bool
    duration_ms: float = 0.0
    wal_bytes: int = 0
    locks: tuple[Lock, ...] = ()
    rewritten: tuple[str, ...] = ()
    truncated: tuple[str, ...] = ()
    created: tuple[Named, ...] = ()
    dropped: tuple[Named, ...] = ()
    rows: tuple[Rows, ...] = ()
    losses: tuple[Loss, ...] = ()
    scans: tuple[Scan, ...] = ()
    indexes_built: tuple[str, ...] = ()
    hidden_code: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Size:
    """How large a touched table was on the copy: bytes with indexes, and rows (None where nobody ever counted)."""

    table: str
    bytes: int
    rows: int | None


@dataclass(frozen=True)
class Rewriting:
    """A safer way to the same end, in steps; each step is a change of its own, proposed and applied by itself.

    `keeps_schema`: the schema ends exactly as with the original statement.  A step in `repeated` (from 1) is run again
    until it changes no row.
    """

    title: str
    steps: tuple[str, ...]
    keeps_schema: bool
    note: str = ""
    repeated: tuple[int, ...] = ()


@dataclass(frozen=True)
class Place:
    """Where a hazard was found: the statement (0 is the change as a whole), the objects, and why it matters."""

    statement: int
    objects: tuple[str, ...]
    why: str


@dataclass(frozen=True)
class Hazard:
    """A named danger; a reviewer has to repeat the name to approve.  `severity` is `high`, `medium` or `low`."""

    name: str
    severity: str
    places: tuple[Place, ...]


@dataclass(frozen=True)
class Finding:
    """What a rule has to say about a statement that measuring on an idle copy does not show."""

    rule: str
    statement: int
    line: int
    message: str
    advice: str = ""


@dataclass(frozen=True)
class Offer:
    """A safer rewriting for one statement."""

    statement: int
    rewriting: Rewriting


@dataclass(frozen=True)
class PlanSummary:
    """A query's plan: cost in the planner's units, shared blocks touched (-1: not executed), and its shape."""

    cost: float
    blocks: int
    shape: tuple[str, ...]
    scanned: tuple[str, ...]
    indexes: tuple[str, ...]


@dataclass(frozen=True)
class PlanChange:
    """A query before and after; what has no plan has the server's reason in `problem`."""

    name: str
    text: str
    before: PlanSummary | None
    after: PlanSummary | None
    findings: tuple[str, ...]
    problem: str = ""
    breaks: bool = False


@dataclass(frozen=True)
class Facet:
    """One property of an object before and after the change."""

    name: str
    before: str
    after: str


@dataclass(frozen=True)
class ObjectChange:
    """One object of the schema diff; `action` is `added`, `removed`, `changed` or `renamed`."""

    action: str
    kind: str
    identity: str
    sentence: str
    facets: tuple[Facet, ...]


@dataclass(frozen=True)
class Undo:
    """A script back.  `is_exact` was tried: run on the copy, it gave the first fingerprint, and was rolled back.

    `reasons` say what no script can bring back, or why there is none.
    """

    sql: str
    is_exact: bool
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class EffectReport:
    """The measured effect of a change.  `outcome` is `ok` or `failed` (then `failure` says how)."""

    outcome: str
    server: str
    timeouts: Timeouts
    statements: tuple[StatementEffect, ...]
    hazards: tuple[Hazard, ...]
    findings: tuple[Finding, ...]
    offers: tuple[Offer, ...]
    changes: tuple[ObjectChange, ...]
    base_fingerprint: str
    result_fingerprint: str
    sizes: tuple[Size, ...]
    plans: tuple[PlanChange, ...]
    undo: Undo
    invalid_indexes: tuple[str, ...]
    unchecked_constraints: tuple[str, ...]
    notes: tuple[str, ...]
    failure: Failure | None = None

    @property
    def hazard_names(self) -> tuple[str, ...]:
        """The names that an approval has to repeat, in alphabetical order."""
        return tuple(sorted(hazard.name for hazard in self.hazards))

    @property
    def duration_ms(self) -> float:
        """What the statements took together."""
        return sum(effect.duration_ms for effect in self.statements)

    def as_dict(self) -> dict[str, Any]:
        """Return the report as data for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> EffectReport:
        """Return the report that `as_dict` (or JSON of it) describes.

        Raises ProposalError when it is not one.
        """
        try:
            built = _build(cls, data)
        except (TypeError, KeyError, ValueError, AttributeError) as problem:
            raise ProposalError(f"This is no effect report: {problem}.", hint="Measure the change again.") from problem
        assert isinstance(built, cls)
        return built


def _build(wanted: Any, value: Any) -> Any:
    if is_dataclass(wanted) and isinstance(wanted, type):
        unknown = set(value) - {field.name for field in fields(wanted)}
        if unknown:
            raise ValueError(f"{wanted.__name__} has no {', '.join(sorted(unknown))}")
        hints = get_type_hints(wanted)
        return wanted(**{name: _build(hints[name], entry) for name, entry in value.items()})
    if get_origin(wanted) is tuple:
        return tuple(_build(get_args(wanted)[0], entry) for entry in value)
    if get_origin(wanted) in (Union, types.UnionType):
        inner = next(entry for entry in get_args(wanted) if entry is not type(None))
        return None if value is None else _build(inner, value)
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
        raise TypeError(f"{value!r} is not {wanted.__name__}")
    return value
