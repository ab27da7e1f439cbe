"""Rules about what measuring on an idle copy cannot show: running code, later growth, habits that bite."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from seatrial.database.effect.report import Finding, StatementEffect
from seatrial.database.effect.wording import NAME, action, bare, words


@dataclass(frozen=True)
class Around:
    """What rules may know besides the statement: lists of foreign keys without an index, and invalid indexes."""

    unindexed_keys: Mapping[str, str]
    """From a foreign key (`name on table`) to its columns."""
    invalid_indexes: frozenset[str]


@dataclass(frozen=True)
class _Rule:
    name: str
    look: Callable[[StatementEffect, str, list[str], Around], Iterable[str]]
    advice: str


def check(effects: Iterable[StatementEffect], around: Around) -> tuple[Finding, ...]:
    """Return what the rules have to say about each statement, in order."""
    found = []
    for effect in effects:
        text = bare(effect.text)
        tokens = words(text)
        for rule in RULES:
            for message in dict.fromkeys(rule.look(effect, text, tokens, around)):
                found.append(Finding(rule.name, effect.number, effect.line, message, rule.advice))
    return tuple(found)


def _renames(effect: StatementEffect, text: str, tokens: list[str], around: Around) -> Iterator[str]:
    one = action(text)
    if one and one.kind in ("rename column", "rename table"):
        what = f"column {one.name} of {one.table}" if one.kind == "rename column" else f"table {one.table}"
        yield f"Code that is running reads the {what} by its old name until it is deployed anew."


def _drops_column(effect: StatementEffect, text: str, tokens: list[str], around: Around) -> Iterator[str]:
    for entry in effect.dropped:
        if entry.kind in ("column", "table", "view"):
            yield f"Code that is running may still use the {entry.kind} {entry.name}."


def _unindexed_key(effect: StatementEffect, text: str, tokens: list[str], around: Around) -> Iterator[str]:
    made = [entry.name for entry in effect.created if entry.kind == "constraint"]
    made += [name for name in around.unindexed_keys if name.partition(" on ")[2] in _created_tables(effect)]
    for name in dict.fromkeys(made):
        if name in around.unindexed_keys:
            columns = around.unindexed_keys[name]
            yield f"No index begins with the columns ({columns}) of the foreign key {name}."


def _json(effect: StatementEffect, text: str, tokens: list[str], around: Around) -> Iterator[str]:
    if _defines(tokens) and "JSON" in tokens:
        yield "json has no equality and cannot be indexed well."


def _char(effect: StatementEffect, text: str, tokens: list[str], around: Around) -> Iterator[str]:
    pairs = zip(tokens, [*tokens[1:], ""], strict=True)
    if _defines(tokens) and any(a in ("CHAR", "CHARACTER", "BPCHAR") and b != "VARYING" for a, b in pairs):
        yield "char(n) pads with blanks and compares without them."


def _naive_time(effect: StatementEffect, text: str, tokens: list[str], around: Around) -> Iterator[str]:
    if not _defines(tokens):
        return
    for index, token in enumerate(tokens):
        if token == "TIMESTAMP" and tokens[index + 1 : index + 2] != [".", "."]:
            rest = [word for word in tokens[index + 1 : index + 6] if word not in ("(", ")") and not word.isdigit()]
            if rest[:1] != ["WITH"]:
                yield "timestamp without time zone does not say when something was."


def _serial(effect: StatementEffect, text: str, tokens: list[str], around: Around) -> Iterator[str]:
    if _defines(tokens) and {"SERIAL", "BIGSERIAL", "SMALLSERIAL", "SERIAL4", "SERIAL8"} & set(tokens):
        yield "serial leaves a sequence with its own rights beside the table."


def _small_key(effect: StatementEffect, text: str, tokens: list[str], around: Around) -> Iterator[str]:
    if _defines(tokens) and re.search(
        r"\b(?:int|integer|int4|serial|serial4|smallint|int2)\b[^,]*\bPRIMARY\s+KEY\b", text, re.IGNORECASE
    ):
        yield "A 4-byte key is used up after 2,147,483,647 rows; widening it later rewrites the table."


def _hard_coded(effect: StatementEffect, text: str, tokens: list[str], around: Around) -> Iterator[str]:
    if effect.kind in ("UPDATE", "DELETE", "INSERT", "MERGE", "WITH") and re.search(
        rf"(?:^|[\s(.])(?:id|{NAME}_id|\"id\")\s*(?:=\s*(?:\d+|'[0-9a-f]{{8}}-)|IN\s*\(\s*(?:\d+|'[0-9a-f]{{8}}-))",
        text,
        re.IGNORECASE,
    ):
        yield "It names rows by an id that was read on a copy; production may have given it to another row."


def _every_row(effect: StatementEffect, text: str, tokens: list[str], around: Around) -> Iterator[str]:
    if effect.kind in ("UPDATE", "DELETE") and "WHERE" not in tokens:
        yield f"{effect.kind} without WHERE meets every row."


def _no_key(effect: StatementEffect, text: str, tokens: list[str], around: Around) -> Iterator[str]:
    if effect.kind == "CREATE TABLE" and not {"INHERITS", "PARTITION"} & set(tokens):
        for table in _created_tables(effect):
            if "PRIMARY" not in tokens and not any(
                entry.name.endswith(f"_pkey on {table}") for entry in effect.created
            ):
                yield f"The table {table} has no primary key."


def _if_exists(effect: StatementEffect, text: str, tokens: list[str], around: Around) -> Iterator[str]:
    joined = " ".join(tokens)
    if "INDEX" in joined and "IF NOT EXISTS" in joined and around.invalid_indexes:
        invalid = ", ".join(sorted(around.invalid_indexes))
        yield f"IF NOT EXISTS is satisfied by an invalid index too; invalid now: {invalid}."
    elif "IF NOT EXISTS" in joined and any("already exists, skipping" in notice for notice in effect.notices):
        yield "Something of that name is there already and was skipped, whatever it looks like."
    if "IF EXISTS" in joined and any("does not exist, skipping" in notice for notice in effect.notices):
        yield "There was nothing to drop here, and nobody will be told in production either."


def _not_null(effect: StatementEffect, text: str, tokens: list[str], around: Around) -> Iterator[str]:
    one = action(text)
    if one is None or one.kind != "add column":
        return
    has_value = re.search(r"\b(?:DEFAULT|GENERATED|\w*SERIAL)\b", one.rest, re.IGNORECASE)
    if not has_value and re.search(r"\bNOT\s+NULL\b", one.rest, re.IGNORECASE):
        yield f"{one.name} is NOT NULL without a default: it fails where there are rows, and for code that is running."


def _dynamic(effect: StatementEffect, text: str, tokens: list[str], around: Around) -> Iterator[str]:
    if effect.kind == "DO" and re.search(r"\bEXECUTE\b", text, re.IGNORECASE):
        yield "It puts SQL together when it runs: in production that can be another text than on the copy."


def _cascade(effect: StatementEffect, text: str, tokens: list[str], around: Around) -> Iterator[str]:
    if "CASCADE" in tokens and effect.kind.startswith(("DROP", "TRUNCATE", "ALTER TABLE")) and "DELETE" not in tokens:
        yield "CASCADE takes along what depends on it; in production that may be more than on the copy."


def _temporary(effect: StatementEffect, text: str, tokens: list[str], around: Around) -> Iterator[str]:
    if effect.kind.startswith("CREATE") and {"TEMP", "TEMPORARY"} & set(tokens[:5]):
        yield "Later statements that use this name without a schema meet the temporary object."


def _disables(effect: StatementEffect, text: str, tokens: list[str], around: Around) -> Iterator[str]:
    joined = " ".join(tokens)
    if re.search(r"DISABLE (?:TRIGGER|RULE|ROW LEVEL SECURITY)", joined):
        yield "Something that guards the table is switched off."


def _defines(tokens: list[str]) -> bool:
    return tokens[:1] in (["CREATE"], ["ALTER"]) and ("TABLE" in tokens[:5] or "TYPE" in tokens[:3])


def _created_tables(effect: StatementEffect) -> set[str]:
    return {entry.name for entry in effect.created if entry.kind in ("table", "partitioned table")}


RULES: tuple[_Rule, ...] = (
    _Rule("rename", _renames, "Expand and contract: add the new name, deploy code that knows both, then drop the old."),
    _Rule("still_in_use", _drops_column, "First deploy code that does not use it any more, then drop it."),
    _Rule("foreign_key_without_index", _unindexed_key, "Create one: each delete of a referenced row scans the table."),
    _Rule("json", _json, "Use jsonb."),
    _Rule("char", _char, "Use text, with a CHECK on the length if it matters."),
    _Rule("timestamp_without_zone", _naive_time, "Use timestamptz."),
    _Rule("serial", _serial, "Use bigint GENERATED ALWAYS AS IDENTITY."),
    _Rule("small_key", _small_key, "Use bigint."),
    _Rule("hard_coded_id", _hard_coded, "Find rows by a natural key, or by a query that holds in production."),
    _Rule("every_row", _every_row, "Say which rows; change many in batches of their own."),
    _Rule("no_primary_key", _no_key, "Add one: rows can then be compared, replicated and repaired."),
    _Rule("exists_already", _if_exists, "Say what is to be there, and look at what is there when it differs."),
    _Rule("not_null_without_default", _not_null, "Give it a default, or add it nullable, fill it, then SET NOT NULL."),
    _Rule("dynamic_sql", _dynamic, "Write the statements out."),
    _Rule("cascade", _cascade, "Drop the dependent objects by name."),
    _Rule("temporary", _temporary, "Leave it out, or name its objects with pg_temp."),
    _Rule("disables_guard", _disables, "Enable it again in the same change, or say why not."),
)
"""Every rule: its name, what it looks at, and the advice it gives."""
