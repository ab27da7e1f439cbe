"""What kinds of statements there are: their names, which are refused and why, which refuse a transaction.

Every pattern is matched at the beginning of a statement's first tokens, joined by single spaces: keywords in upper
case, names as written, literals as `''`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from seatrial.database.statements import lexer


@dataclass(frozen=True)
class Refusal:
    """A kind of statement that is not taken; `reason` ends the sentence "… is refused because"."""

    pattern: re.Pattern[str]
    reason: str
    hint: str


def _refusal(pattern: str, reason: str, hint: str) -> Refusal:
    return Refusal(re.compile(rf"(?:{pattern})(?= |$)"), reason, hint)


_LEAVE_OUT = "Leave it out."
_BY_HAND = "Do this by hand, outside of the gate."
REFUSED: tuple[Refusal, ...] = (
    _refusal(
        "BEGIN|START TRANSACTION|COMMIT|END|ROLLBACK|ABORT|SAVEPOINT|RELEASE|PREPARE TRANSACTION"
        "|SET (?:LOCAL |SESSION )?TRANSACTION|SET SESSION CHARACTERISTICS",
        "the plan decides where transactions begin and end",
        "Leave it out: statements that can be one transaction are made one.",
    ),
    _refusal(
        "(?:SET|RESET) (?:LOCAL |SESSION )?(?:ROLE|SESSION AUTHORIZATION)",
        "it changes the role that the rest of the plan runs as",
        "Leave it out: the whole plan runs as the deployer's role.",
    ),
    _refusal(
        "SET (?:LOCAL |SESSION )?(?:LOCK_TIMEOUT|STATEMENT_TIMEOUT)",
        "the plan sets timeouts itself, and shows the reviewer which",
        "Leave it out and choose the timeouts when proposing.",
    ),
    _refusal(
        "SET(?! CONSTRAINTS)|RESET",
        "a setting outlives the statement and changes what the next ones mean",
        "Leave it out: write names with their schema, and settings of a function in its definition (SET … in it).",
    ),
    _refusal(
        "DISCARD|DEALLOCATE|PREPARE|EXECUTE|DECLARE|FETCH|MOVE|CLOSE",
        "it only changes or uses the state of the session",
        "Write the statement itself.",
    ),
    _refusal("LISTEN|UNLISTEN|NOTIFY", "it speaks to other sessions", _LEAVE_OUT),
    _refusal("COPY", "it moves data from or to a client, a program or a file of the server", "Use INSERT statements."),
    _refusal("LOAD", "it loads a library into the server", _BY_HAND),
    _refusal("CHECKPOINT", "it is a matter of the server, not of the schema", _LEAVE_OUT),
    _refusal("ALTER SYSTEM", "it changes the settings of the whole server", _BY_HAND),
    _refusal(
        "(?:CREATE|ALTER|DROP) (?:DATABASE|TABLESPACE)",
        "it changes the server outside of this database",
        _BY_HAND,
    ),
    _refusal(
        "(?:CREATE|ALTER|DROP) (?:ROLE|GROUP|USER(?! MAPPING))",
        "roles belong to the whole server and not to a branch",
        _BY_HAND,
    ),
    _refusal(
        "(?:REASSIGN|DROP) OWNED",
        "it reaches everything that a role owns, in other databases too",
        "Name the objects: ALTER … OWNER TO, DROP ….",
    ),
    _refusal(
        "(?:CREATE|ALTER|DROP) SUBSCRIPTION",
        "it connects this server to another one, which a branch must not do",
        _BY_HAND,
    ),
    _refusal("SECURITY LABEL", "labels are the business of a security module of the server", _BY_HAND),
)
MEMBERSHIP = Refusal(
    re.compile("GRANT|REVOKE"), "memberships of roles belong to the whole server and not to a branch", _BY_HAND
)
"""For a GRANT or REVOKE without ON."""
SET_CONFIG = Refusal(
    re.compile(r".*(?:SET_CONFIG|\"set_config\") \("),
    "set_config changes a setting of the session, and so what the next statements mean",
    "Leave it out (pg_dump writes it at the top of its files) and write names with their schema.",
)

_ANY_REFUSED = re.compile("|".join(refusal.pattern.pattern for refusal in (*REFUSED, SET_CONFIG)))
_NOT_TRANSACTIONAL = re.compile(
    r"VACUUM(?= |$)"
    r"|CREATE (?:UNIQUE )?INDEX CONCURRENTLY"
    r"|DROP INDEX CONCURRENTLY"
    r"|REINDEX (?:\( .*?\) )?(?:SCHEMA|DATABASE|SYSTEM)"
    r"|REINDEX (?:\( .*?\) )?(?:INDEX|TABLE) CONCURRENTLY"
    r"|REINDEX \( (?:[^)]* , |VERBOSE )?CONCURRENTLY (?:TRUE |ON |1 |'' )?[,)]"
    r"|ALTER TABLE .*DETACH PARTITION .*CONCURRENTLY$"
    r"|CLUSTER(?: VERBOSE| \( .*?\))?$"
)
_SOMETIMES_ALONE = frozenset("VACUUM CREATE DROP REINDEX ALTER CLUSTER".split())
_NEW_ENUM_VALUE = re.compile(r"ALTER TYPE \S+ (?:\. \S+ )*ADD VALUE(?= |$)")

_MODIFIERS = frozenset(
    "OR REPLACE TEMP TEMPORARY UNLOGGED GLOBAL LOCAL UNIQUE RECURSIVE TRUSTED PROCEDURAL CONSTRAINT".split()
)
_SECOND_WORDS = {
    "MATERIALIZED": ("VIEW",),
    "FOREIGN": ("TABLE", "DATA", "SCHEMA"),
    "EVENT": ("TRIGGER",),
    "TEXT": ("SEARCH",),
    "ACCESS": ("METHOD",),
    "OPERATOR": ("CLASS", "FAMILY"),
    "USER": ("MAPPING",),
    "DEFAULT": ("PRIVILEGES",),
    "LARGE": ("OBJECT",),
}
_THIRD_WORDS = {
    ("FOREIGN", "DATA"): ("WRAPPER",),
    ("TEXT", "SEARCH"): ("CONFIGURATION", "DICTIONARY", "PARSER", "TEMPLATE"),
}
_WITH_OBJECT = frozenset(("CREATE", "ALTER", "DROP", "REFRESH", "IMPORT"))


def kind_of(head: Sequence[str]) -> str:
    """Return the leading keywords that say what a statement is: `CREATE INDEX`, `INSERT`."""
    words = [token for token in head if token != "("]
    if not words:
        return "("
    if words[0] not in _WITH_OBJECT:
        return words[0]
    rest = [word for word in words[1:7] if word not in _MODIFIERS][:3] or [""]
    kind = [words[0], rest[0]]
    if rest[1:] and rest[1] in _SECOND_WORDS.get(rest[0], ()):
        kind.append(rest[1])
        if rest[2:] and rest[2] in _THIRD_WORDS.get((rest[0], rest[1]), ()):
            kind.append(rest[2])
    return " ".join(kind).strip()


def refusal_of(head: Sequence[str], text: str) -> Refusal | None:
    """Return why the statement `text` that begins with `head` is not taken, or None."""
    joined = " ".join(head)
    # Privileges are granted ON something, however long the list before that is; a role is granted to a role.
    if head[0] in ("GRANT", "REVOKE") and "ON" not in lexer.tokens(text):
        return MEMBERSHIP
    if not _ANY_REFUSED.match(joined):
        return None
    for refusal in (*REFUSED, SET_CONFIG):
        if refusal.pattern.match(joined):
            return refusal
    return None


def is_transactional(head: Sequence[str], is_whole: bool) -> bool:
    """Whether the server takes the statement inside a transaction; `is_whole`: `head` is all of it.

    What depends on the object is not seen: REINDEX and CLUSTER of a partitioned table are taken for transactional, and
    the server then says otherwise.
    """
    if head[0] not in _SOMETIMES_ALONE:
        return True
    joined = " ".join(head) + ("" if is_whole else " …")
    return _NOT_TRANSACTIONAL.match(joined) is None


def adds_enum_value(head: Sequence[str]) -> bool:
    """Whether this is ALTER TYPE … ADD VALUE, whose value cannot be used before the transaction has ended."""
    return head[0] == "ALTER" and _NEW_ENUM_VALUE.match(" ".join(head)) is not None
