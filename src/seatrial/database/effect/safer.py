"""Safer ways to the same end, for the forms of statements where one is known."""

from __future__ import annotations

import re
from collections.abc import Iterator

from seatrial.database.effect.report import Rewriting, StatementEffect
from seatrial.database.effect.wording import NAME, QUALIFIED, Action, action, bare, unquoted

BATCH = 10_000
"""Rows that one step of a backfill changes: few enough that their locks are short."""
_INDEX = re.compile(
    r"CREATE\s+(?P<unique>UNIQUE\s+)?INDEX\s+(?!CONCURRENTLY)(?:IF\s+NOT\s+EXISTS\s+)?(?P<rest>.+)\Z", re.I | re.S
)
_DROP_INDEX = re.compile(r"DROP\s+INDEX\s+(?!CONCURRENTLY)(?P<rest>[^,]+?)(?:\s+RESTRICT)?\s*\Z", re.I | re.S)
_REINDEX = re.compile(rf"REINDEX\s+(?P<what>INDEX|TABLE)\s+(?!CONCURRENTLY)(?P<rest>{QUALIFIED})\s*\Z", re.I)
_NOT_VALID = re.compile(r"\bNOT\s+VALID\s*\Z", re.I)
_DEFAULT = re.compile(r"(?P<type>.+?)\s+DEFAULT\s+(?P<value>.+)\Z", re.I | re.S)
_NOT_NULL = re.compile(r"\bNOT\s+NULL\b", re.I)
_USING = re.compile(r"\s+USING\s+(?P<value>.+)\Z", re.I | re.S)
_BATCH_NOTE = "Repeat the backfill until it changes no row; each run is short."


def rewritings(effect: StatementEffect, *, is_busy: bool = True) -> tuple[Rewriting, ...]:
    """Return the safer forms of one measured statement; `is_busy`: it does work on rows that were there before."""
    if not effect.transactional:
        return ()
    return (*_of_indexes(effect), *_of_tables(effect, is_busy))


def _of_indexes(effect: StatementEffect) -> Iterator[Rewriting]:
    text = bare(effect.text).rstrip()
    match = _INDEX.match(text)
    is_partitioned = any(entry.kind == "partitioned index" for entry in effect.created)
    if match and effect.indexes_built and not is_partitioned:
        unique = "UNIQUE " if match["unique"] else ""
        yield Rewriting(
            "Build the index without blocking writes",
            (f"CREATE {unique}INDEX CONCURRENTLY {match['rest']}",),
            True,
            "It takes two passes over the table. If it fails it leaves an invalid index, which has to be dropped.",
        )
    match = _DROP_INDEX.match(text)
    if match and effect.dropped:
        steps = (f"DROP INDEX CONCURRENTLY {match['rest']}",)
        yield Rewriting("Drop the index without waiting behind queries", steps, True)
    match = _REINDEX.match(text)
    if match:
        steps = (f"REINDEX {match['what']} CONCURRENTLY {match['rest']}",)
        yield Rewriting("Rebuild the index without blocking writes", steps, True)


def _of_tables(effect: StatementEffect, is_busy: bool) -> Iterator[Rewriting]:
    one = action(effect.text)
    if one is None:
        return
    table = f"{one.only}{one.table}"
    if one.kind in ("foreign key", "check", "set not null") and is_busy:
        yield from _checked_later(effect, table, one)
    elif one.kind in ("unique", "primary key") and effect.indexes_built:
        yield from _keyed(effect, table, one)
    elif one.kind == "add column" and effect.rewritten:
        yield from _added_column(table, one)
    elif one.kind == "type" and effect.rewritten:
        yield _retyped(one)
    elif one.kind == "drop column":
        yield _contracted(table, one)
    elif one.kind == "detach":
        steps = (f"ALTER TABLE {one.table} DETACH PARTITION {one.name} CONCURRENTLY",)
        note = "It leaves the partition a CHECK of its bounds, with which it can be attached again without a scan."
        yield Rewriting("Detach the partition without blocking queries", steps, False, note)


def _checked_later(effect: StatementEffect, table: str, one: Action) -> Iterator[Rewriting]:
    if one.kind == "set not null":
        yield Rewriting(
            "Prove that no value is missing before taking the lock", tuple(_not_null(table, one.name)), True
        )
        return
    name = one.name or _made_name(effect)
    if name and not _NOT_VALID.search(one.rest):
        yield Rewriting(
            "Add the constraint unchecked, check the rows afterwards",
            (
                f"ALTER TABLE {table} ADD CONSTRAINT {name} {one.rest} NOT VALID",
                f"ALTER TABLE {table} VALIDATE CONSTRAINT {name}",
            ),
            True,
            "New rows are checked at once. Checking the old ones blocks neither reads nor writes.",
        )


def _keyed(effect: StatementEffect, table: str, one: Action) -> Iterator[Rewriting]:
    name = one.name or _made_name(effect)
    if name:
        word = one.kind.upper()
        yield Rewriting(
            "Build the index first, without blocking writes",
            (
                f"CREATE UNIQUE INDEX CONCURRENTLY {name} ON {one.table} ({one.columns})",
                f"ALTER TABLE {table} ADD CONSTRAINT {name} {word} USING INDEX {name}",
            ),
            True,
            "A primary key's columns should be NOT NULL beforehand." if word == "PRIMARY KEY" else "",
        )


def _made_name(effect: StatementEffect) -> str:
    made = [entry.name for entry in effect.created if entry.kind == "constraint"]
    return made[0].rpartition(" on ")[0] if len(made) == 1 else ""


def _not_null(table: str, column: str) -> Iterator[str]:
    check = _derived(column, "is_set")
    yield f"ALTER TABLE {table} ADD CONSTRAINT {check} CHECK ({column} IS NOT NULL) NOT VALID"
    yield f"ALTER TABLE {table} VALIDATE CONSTRAINT {check}"
    yield f"ALTER TABLE {table} ALTER COLUMN {column} SET NOT NULL;\nALTER TABLE {table} DROP CONSTRAINT {check}"


def _added_column(table: str, one: Action) -> Iterator[Rewriting]:
    match = _DEFAULT.match(_NOT_NULL.sub(" ", one.rest).strip())
    if not match or " GENERATED " in f" {one.rest.upper()} ":
        return
    type_, value = " ".join(match["type"].split()), " ".join(match["value"].split())
    steps = [
        f"ALTER TABLE {table} ADD COLUMN {one.name} {type_};\n"
        f"ALTER TABLE {table} ALTER COLUMN {one.name} SET DEFAULT {value}",
        _batch(one.table, f"{one.name} = {value}", f"{one.name} IS NULL"),
    ]
    if _NOT_NULL.search(one.rest):
        steps += _not_null(table, one.name)
    yield Rewriting("Add the column empty, fill it in batches", tuple(steps), True, _BATCH_NOTE, (2,))


def _retyped(one: Action) -> Rewriting:
    using = _USING.search(one.rest)
    type_ = _USING.sub("", one.rest).strip()
    value = using["value"] if using else f"{one.name}::{type_}"
    new, function = _derived(one.name, "new"), _derived(one.name, "copy")
    # Inside the trigger the old column is that of the new row.
    of_row = re.sub(rf"(?<![\w.\"]){re.escape(one.name)}(?![\w\"])", f"NEW.{one.name}", value)
    return Rewriting(
        "Expand and contract: fill a second column, then exchange the two",
        (
            f"ALTER TABLE {one.table} ADD COLUMN {new} {type_};\n"
            f"CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS $$\n"
            f"BEGIN\n  NEW.{new} := {of_row};\n  RETURN NEW;\nEND $$;\n"
            f"CREATE TRIGGER {function} BEFORE INSERT OR UPDATE ON {one.table}\n"
            f"  FOR EACH ROW EXECUTE FUNCTION {function}()",
            _batch(one.table, f"{new} = {value}", f"{new} IS NULL AND {one.name} IS NOT NULL"),
            f"DROP TRIGGER {function} ON {one.table};\nDROP FUNCTION {function}();\n"
            f"ALTER TABLE {one.table} RENAME COLUMN {one.name} TO {_derived(one.name, 'old')};\n"
            f"ALTER TABLE {one.table} RENAME COLUMN {new} TO {one.name}",
        ),
        False,
        f"{_BATCH_NOTE} Indexes, constraints and the default of the column have to be made for the new one as well, "
        "before the exchange; the old column is dropped in a later change.",
        (2,),
    )


def _contracted(table: str, one: Action) -> Rewriting:
    return Rewriting(
        "Contract in two deploys: first nobody uses the column, then it goes",
        (
            f"ALTER TABLE {table} ALTER COLUMN {one.name} DROP NOT NULL",
            f"ALTER TABLE {table} DROP COLUMN {one.name}{' ' + one.rest if one.rest else ''}",
        ),
        True,
        "Between the steps, deploy code that neither reads nor writes the column; keep a copy of the values.",
    )


def _batch(table: str, assignment: str, condition: str) -> str:
    return (
        f"UPDATE {table} SET {assignment}\n"
        f" WHERE ctid = ANY (ARRAY(SELECT ctid FROM {table} WHERE {condition} LIMIT {BATCH})) AND {condition}"
    )


def _derived(name: str, ending: str) -> str:
    plain = f"{unquoted(name)[:50]}_{ending}"
    return plain if re.fullmatch(NAME, plain) and plain == plain.lower() else '"' + plain.replace('"', '""') + '"'
