"""A policy guessed from names and types, to begin with: keys are kept, what is doubtful is masked, with the reason."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from seatrial.database.masking.columns import Column, Table
from seatrial.database.masking.transform import Spec, problem_of

_TEXTS = ("text", "varchar", "bpchar", "citext")
_NUMBERS = ("int2", "int4", "int8", "numeric", "float4", "float8")
_MOMENTS = ("date", "timestamp", "timestamptz")
_NAMES: Sequence[tuple[str, str, str]] = (
    (r"e_?mail", "email", "named like an e-mail address"),
    (r"phone|mobile|(^|_)(fax|tel|msisdn)($|_)", "phone", "named like a telephone number"),
    (r"passw|pwd|secret|token|salt|api_?key|(^|_)(otp|pin|cvv|cvc|hash)($|_)", "secret", "named like a secret"),
    (r"iban|ssn|passport|licen[cs]e|tax|(^|_)(vat|card|account|zip|post_?code|plate)", "code", "named like a number"),
    (r"user_?name|login|handle|nick", "code", "named like a user's name"),
    (r"(^|_)(status|state|kind|type|currency|country|locale|language|lang|unit|role|level|plan)$", "keep", "a choice"),
    (r"name$|surname|(^|_)(author|contact|customer|person|owner|recipient)$", "name", "named like somebody's name"),
    (r"address|street|city|town|location|region", "text", "named like an address"),
)
_WHEN = re.compile(r"(^|_)(created|updated|modified|deleted|inserted|changed)($|_)")
_MIGRATIONS = re.compile(r"migrations?\b|alembic_version|schema_history")


@dataclass(frozen=True)
class Guess:
    """What a column is proposed to be, and why."""

    spec: Spec
    reason: str


def propose(tables: Iterable[Table], listed: Mapping[tuple[str, str], str]) -> str:
    """Return a policy as TOML; `listed` names, for (table, column), the constraint that lists the column's values."""
    known = {table.identity: table for table in tables if not table.root}
    guesses = {
        (table.identity, column.name): _guess(table, column, listed.get((table.identity, column.name), ""))
        for table in known.values()
        for column in table.columns
        if not column.generated
    }
    for table in (*known.values(), *known.values()):  # twice: a key may refer to one that refers
        for reference in table.references:
            for here, there in reference.columns:
                other = guesses.get((reference.target, there))
                if other and (table.identity, here) in guesses:
                    guesses[table.identity, here] = Guess(other.spec, f"as {reference.target}, which it refers to")
    lines = [
        "# Proposed from names and types: look at every line.  Values were not read.",
        "version = 1",
    ]
    for table in known.values():
        lines += ["", f"[tables.{_quoted(table.identity)}]"]
        for column in table.columns:
            if (table.identity, column.name) in guesses:
                guess = guesses[table.identity, column.name]
                lines.append(f"{_key(column)} = {_written(guess.spec)}  # {column.type}: {guess.reason}")
    return "\n".join(lines) + "\n"


def _guess(table: Table, column: Column, constraint: str) -> Guess:
    if _MIGRATIONS.search(table.identity):
        return Guess(Spec("keep"), "what migrations were run")
    if constraint:
        return Guess(Spec("keep"), f"its values are listed by {constraint}")
    if column.partition_key:
        return Guess(Spec("keep"), "it says which partition a row is in")
    if column.enum or column.scalar == "bool":
        return Guess(Spec("keep"), "a choice")
    for guess in _candidates(column):
        if not problem_of(guess.spec, column):
            return guess
    if not column.not_null:
        return Guess(Spec("null"), "nothing masks this type")
    value = "empty" if column.scalar.endswith("range") else ""
    return Guess(Spec("fixed", (("value", value),)), "nothing masks this type, and it is NOT NULL")


def _candidates(column: Column) -> list[Guess]:
    """Return guesses, the best first; those that the column's type or uniqueness forbids are passed over."""
    name, scalar = column.name.lower(), column.scalar
    if scalar in _TEXTS:
        return _of_text(name, column)
    if scalar in ("int2", "int4", "int8", "uuid") and (column.unique or re.search(r"(^|_)u?u?id$", name)):
        return [Guess(Spec("keep"), "a key")]
    if scalar in _NUMBERS:
        return [Guess(Spec("number", (("percent", 10),)), "an amount"), Guess(Spec("key"), "unique numbers")]
    if scalar in _MOMENTS:
        if _WHEN.search(name):
            return [Guess(Spec("keep"), "when the row was written")]
        return [Guess(Spec("date", (("days", 30),)), "a date of somebody's")]
    if scalar in ("interval", "time", "timetz"):
        return [Guess(Spec("keep"), "a length or a time of day")]
    if scalar in ("json", "jsonb"):
        return [
            Guess(
                Spec("json", (("paths", {}), ("rest", "null"))), "name the paths that are needed; the rest is left out"
            )
        ]
    return [
        Guess(Spec("uuid"), "an identity of something"),
        Guess(Spec("ip"), "an address in a network"),
        Guess(Spec("null"), "bytes of any kind"),
        Guess(Spec("bytes"), "bytes of any kind"),
    ]


def _of_text(name: str, column: Column) -> list[Guess]:
    found = []
    for pattern, transformer, reason in _NAMES:
        if re.search(pattern, name):
            if transformer == "secret":
                found += [Guess(Spec("null"), reason), Guess(Spec("code"), reason)]
            else:
                found.append(Guess(Spec(transformer), reason))
            break
    return [*found, Guess(Spec("text"), "any text"), Guess(Spec("code"), "any text, but unique")]


def _key(column: Column) -> str:
    return _quoted('"rows"') if column.name == "rows" else _quoted(column.name, bare=True)


def _quoted(text: str, *, bare: bool = False) -> str:
    return text if bare and re.fullmatch(r"[A-Za-z0-9_-]+", text) else json.dumps(text)


def _written(spec: Spec) -> str:
    if not spec.options:
        return json.dumps(spec.name)
    options = [f"{key} = {'{}' if value == {} else json.dumps(value)}" for key, value in spec.options]
    return f"{{ with = {json.dumps(spec.name)}, {', '.join(options)} }}"
