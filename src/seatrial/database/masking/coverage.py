"""A policy against the tables that are there: what it does not cover, and the functions that mask each column."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence

from seatrial.database.masking import literals
from seatrial.database.masking.columns import Column, Reference, Table
from seatrial.database.masking.keyed import Keyed
from seatrial.database.masking.policy import Policy
from seatrial.database.masking.transform import Change, change_of, fail, is_plain, problem_of
from seatrial.errors import MaskingError

_SHOWN = 5


def problems(policy: Policy, tables: Iterable[Table]) -> list[str]:
    """Return a sentence for everything that the policy leaves open or that cannot be as it says."""
    known = {table.identity: table for table in tables}
    found = [f"{name} is in the policy, but not in the database." for name in policy.tables if name not in known]
    for table in known.values():
        if table.root and table.identity not in policy.tables:
            continue  # a partition goes with its table
        if table.identity not in policy.tables:
            found.append(f"{table.identity} is not in the policy.")
            continue
        if table.root:
            found.append(f"{table.identity} is a partition; the policy names {table.root}.")
            continue
        found += _of_columns(policy, table)
    for table in known.values():
        for reference in table.references:
            found += _of_reference(policy, reference, known)
    return found


def check(policy: Policy, tables: Iterable[Table]) -> None:
    """Raise MaskingError, naming what is not covered, unless the policy fits."""
    found = problems(policy, tables)
    if found:
        more = f" And {len(found) - _SHOWN} more." if len(found) > _SHOWN else ""
        raise MaskingError(
            f"{policy.file} does not fit the database: {' '.join(found[:_SHOWN])}{more}",
            hint="seatrial db mask check lists everything; seatrial db mask propose makes a new policy.",
            problems=found,
        )


def _of_columns(policy: Policy, table: Table) -> Iterator[str]:
    wanted = policy.tables[table.identity]
    columns = {column.name: column for column in table.columns}
    for name in wanted.columns:
        if name not in columns:
            yield f"{table.identity}.{name} is in the policy, but not in the database."
        elif columns[name].generated and wanted.columns[name].name != "keep":
            yield f"{table.identity}.{name} is generated from other columns; it says nothing to mask it, write keep."
    for column in table.columns:
        if column.generated:
            continue
        if column.name in wanted.columns:
            wrong = problem_of(wanted.columns[column.name], column)
            if wrong:
                yield f"{table.identity}.{column.name}: {wrong}."
        elif wanted.share:
            yield f"{table.identity}.{column.name} is not in the policy."


def _of_reference(policy: Policy, reference: Reference, known: dict[str, Table]) -> Iterator[str]:
    here = policy.tables.get(known[reference.table].policy_name)
    there = policy.tables.get(known[reference.target].policy_name)
    if here is None or there is None or not here.share:
        return
    pairs = [(here.columns.get(a), there.columns.get(b), a, b) for a, b in reference.columns]
    if any(one is not None and one.name == "null" for one, _, _, _ in pairs):
        return  # nothing refers to anything
    if there.share < 1 and reference.table != reference.target:
        yield (f"{reference.table} refers to {reference.target} ({reference.name}), of which not all rows are copied.")
    for one, other, a, b in pairs:
        if one is not None and other is not None and one != other:
            yield (
                f"{reference.table}.{a} ({one.name}) refers to {reference.target}.{b} ({other.name}) by"
                f" {reference.name}; both must be masked alike."
            )


class Masked(dict[bytes, bytes]):
    """The fields of one column, masked when first met and then remembered; keys and values as COPY has them."""

    _MOST = 8192

    def __init__(self, change: Change, table: str, column: str, *, plain: bool) -> None:
        super().__init__()
        self._change, self._table, self._column, self._plain = change, table, column, plain

    def __missing__(self, field: bytes) -> bytes:
        if field == literals.NULL:
            return field
        plain = b"\\" not in field
        try:
            value = self._change(field if plain else literals.unescape(field))
        except (ValueError, ArithmeticError, KeyError, RecursionError) as problem:
            # Without the cause, which holds the value.
            why = "its form is not that of its type" if not isinstance(problem, MaskingError) else str(problem)
            raise fail(self._table, self._column, why) from None
        made = literals.NULL if value is None else value if plain and self._plain else literals.escape(value)
        if len(self) >= self._MOST:
            self.clear()
        self[field] = made
        return made


def fields(policy: Policy, table: Table, columns: Sequence[Column], keyed: Keyed) -> tuple[tuple[int, Masked], ...]:
    """Return (place, fields) for those of `columns`, in the order they are copied, that are masked."""
    wanted = policy.tables[table.policy_name].columns
    found = []
    same: dict[str, Change] = {}
    for place, column in enumerate(columns):
        spec = wanted[column.name]
        if spec.name != "keep":
            key = json.dumps([spec.name, spec.options, column.scalar, column.limit, column.element], default=str)
            change = same.setdefault(key, change_of(spec, column, keyed))
            found.append((place, Masked(change, table.identity, column.name, plain=is_plain(spec, column))))
    return tuple(found)
