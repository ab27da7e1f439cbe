"""Reading the few forms of a statement that rules and safer rewritings know; everything else is left alone."""

from __future__ import annotations

import re
from dataclasses import dataclass

from seatrial.database.statements.lexer import tokens

NAME = r'(?:"(?:[^"]|"")+"|[A-Za-z_\x80-\U0010ffff][\w$]*)'
QUALIFIED = rf"{NAME}(?:\s*\.\s*{NAME})?"
_LEADING = re.compile(r"\A(?:\s+|--[^\n]*(?:\n|\Z)|/\*(?:[^*]|\*(?!/))*\*/)+")
_ALTER_TABLE = re.compile(
    rf"ALTER\s+TABLE\s+(?:IF\s+EXISTS\s+)?(?P<only>ONLY\s+)?(?P<table>{QUALIFIED})\s*(?:\*\s*)?(?P<action>.+)\Z",
    re.IGNORECASE | re.DOTALL,
)
_ACTIONS = {
    "foreign key": rf"ADD\s+(?:CONSTRAINT\s+(?P<name>{NAME})\s+)?(?P<rest>FOREIGN\s+KEY\b.+)",
    "check": rf"ADD\s+(?:CONSTRAINT\s+(?P<name>{NAME})\s+)?(?P<rest>CHECK\s*\(.+)",
    "unique": rf"ADD\s+(?:CONSTRAINT\s+(?P<name>{NAME})\s+)?(?P<rest>UNIQUE\s*\((?P<columns>[^()]+)\))\s*",
    "primary key": rf"ADD\s+(?:CONSTRAINT\s+(?P<name>{NAME})\s+)?(?P<rest>PRIMARY\s+KEY\s*\((?P<columns>[^()]+)\))\s*",
    "set not null": rf"ALTER\s+(?:COLUMN\s+)?(?P<name>{NAME})\s+SET\s+NOT\s+NULL\s*",
    "type": rf"ALTER\s+(?:COLUMN\s+)?(?P<name>{NAME})\s+(?:SET\s+DATA\s+)?TYPE\s+(?P<rest>.+)",
    "drop column": rf"DROP\s+(?:COLUMN\s+)?(?!CONSTRAINT\b)(?:IF\s+EXISTS\s+)?(?P<name>{NAME})"
    r"(?P<rest>\s+CASCADE|\s+RESTRICT)?\s*",
    "rename column": rf"RENAME\s+(?:COLUMN\s+)?(?!TO\b|CONSTRAINT\b)(?P<name>{NAME})\s+TO\s+(?P<rest>{NAME})\s*",
    "rename table": rf"RENAME\s+TO\s+(?P<name>{NAME})\s*",
    "detach": rf"DETACH\s+PARTITION\s+(?P<name>{QUALIFIED})\s*",
    "add column": rf"ADD\s+(?:COLUMN\s+)?(?!CONSTRAINT\b|FOREIGN\b|CHECK\b|UNIQUE\b|PRIMARY\b|EXCLUDE\b)"
    rf"(?:IF\s+NOT\s+EXISTS\s+)?(?P<name>{NAME})\s+(?P<rest>.+)",
}
_COMPILED = {kind: re.compile(pattern, re.IGNORECASE | re.DOTALL) for kind, pattern in _ACTIONS.items()}


@dataclass(frozen=True)
class Action:
    """The one action of an ALTER TABLE; `kind` is a key of the forms above, the rest as written."""

    kind: str
    table: str
    only: str
    name: str
    rest: str
    columns: str = ""


def bare(text: str) -> str:
    """Return a statement without the comments and space in front of it."""
    return _LEADING.sub("", text)


def action(text: str) -> Action | None:
    """Return the action of an ALTER TABLE that has exactly one, in a form that is known, else None."""
    match = _ALTER_TABLE.fullmatch(bare(text).rstrip())
    if not match or _has_many(match["action"]) or "--" in match["action"] or "/*" in match["action"]:
        return None
    for kind, pattern in _COMPILED.items():
        found = pattern.fullmatch(match["action"])
        if found:
            parts = found.groupdict()
            return Action(
                kind,
                match["table"],
                match["only"] or "",
                parts.get("name") or "",
                (parts.get("rest") or "").strip(),
                (parts.get("columns") or "").strip(),
            )
    return None


def unquoted(name: str) -> str:
    """Return the name that the server makes of a written one."""
    return name[1:-1].replace('""', '"') if name.startswith('"') else name.lower()


def words(text: str) -> list[str]:
    """Return the tokens of a statement: words in upper case, literals as `''`."""
    return list(tokens(text))


def _has_many(text: str) -> bool:
    depth = 0
    for token in tokens(text):
        depth += (token == "(") - (token == ")")
        if token == "," and depth == 0:
            return True
    return False
