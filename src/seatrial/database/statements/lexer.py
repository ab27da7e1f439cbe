"""Where statements begin and end, by the lexical rules of PostgreSQL.

Strings (plain, with escapes, continued on the next line), dollar quotes, quoted names, nested comments, parentheses and
`BEGIN ATOMIC` bodies are skipped as the server skips them.  Nothing is parsed: whether a statement makes sense is for
the server to say, and because each one is sent alone through the extended protocol, a piece that were more than one
statement for the server would be refused there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from seatrial.errors import StatementError

SPACE = " \t\n\r\f\v"
"""What the server takes as space; every character above 127 is a letter to it, also the exotic spaces."""
_HEAD, _SHORT_HEAD = 24, 8  # tokens: enough to tell what a statement is
_LONG = frozenset(("CREATE", "ALTER", "DROP", "REINDEX", "CLUSTER", "GRANT", "REVOKE"))
_NEVER_ALONE = frozenset("'\"\\")
_NESTING_WORDS = frozenset(("ATOMIC", "CASE", "END"))
_LETTER = r"A-Za-z_\x80-\U0010ffff"
_TOKEN = re.compile(
    rf"""
    (?: [\ \t\n\r\f\v]+ | --[^\n\r]* )*+
    (?: (?P<escape>[eE]')
      | (?P<word>[{_LETTER}][{_LETTER}0-9$]*)
      | (?P<string>'[^']*')
      | (?P<quoted>"[^"]*(?:""[^"]*)*")
      | (?P<dollar>\$(?:[{_LETTER}][{_LETTER}0-9]*)?\$)
      | (?P<comment>/\*)
      | (?P<other>[0-9]+|.)
    )?
    """,
    re.VERBOSE | re.DOTALL,
)
# What cannot end a statement, in one go; 'it''s' is two strings side by side, which makes no difference here.
_DULL_PIECE = (
    rf"""(?:[ \t\n\r\f\v]+|--[^\n\r]*|(?![eE]')[{_LETTER}][{_LETTER}0-9$]*|'[^']*'|"[^"]*"|[^{_LETTER}\s'"$;()\\/-]+"""
    r"|-(?!-)|/(?!\*)|\$(?=[0-9]))"
)
_DULL = re.compile(rf"(?:{_DULL_PIECE}|\({_DULL_PIECE}*+\))*+")
_ESCAPED = re.compile(r"(?:[^'\\]+|''|\\.)*+'", re.DOTALL)
# A string goes on after a line break, with the rules of its first part.
_CONTINUED = re.compile(r"(?:[ \t\f\v]|--[^\n\r]*)*+[\n\r](?:[ \t\n\r\f\v]+|--[^\n\r]*[\n\r])*+'")
_COMMENT_EDGE = re.compile(r"/\*|\*/")
_ROUTINE = re.compile(r"CREATE (?:OR REPLACE )?(?:FUNCTION|PROCEDURE)\b")


@dataclass(frozen=True)
class Piece:
    """One statement as `text[start:end]`; `head` are its first tokens, keywords in upper case, literals as `''`.

    `first` is where the first token begins, after comments.
    """

    start: int
    first: int
    end: int
    head: tuple[str, ...]

    @property
    def is_whole(self) -> bool:
        """Whether `head` is all of it."""
        return len(self.head) < (_HEAD if self.head[0] in _LONG else _SHORT_HEAD)


def cut(text: str, name: str) -> Iterator[Piece]:
    """Return the pieces of `text` that are more than comments, one after the other.

    Raises StatementError, with `name` and the line, at something that never ends and at a backslash between tokens.
    """
    start, scan = 0, _Scan(text, name)
    while start < len(text):
        first, end, head = scan.statement(start)
        if head:
            yield Piece(start, first, end, tuple(head))
        start = end + 1


def tokens(text: str) -> Iterator[str]:
    """Return all tokens of one statement in the form of `Piece.head`; StatementError as `cut`."""
    scan, position = _Scan(text, "SQL"), 0
    while position < len(text):
        token, position = scan.token(position)
        if token:
            yield token


def line_of(text: str, position: int) -> int:
    """Return the line, from 1, of a position in `text`."""
    return text.count("\n", 0, position) + 1


class _Scan:
    def __init__(self, text: str, name: str) -> None:
        self.text, self.name = text, name
        self.began = 0

    def statement(self, start: int) -> tuple[int, int, list[str]]:
        """Return where the statement behind `start` begins and ends, and its head, which is empty if there is none."""
        length, position, first = len(self.text), start, start
        head: list[str] = []
        nesting = _Nesting()
        most, routine = _HEAD, False
        while position < length:
            if len(head) == most and not routine:
                position = self._dull_end(position)
            token, position = self.token(position)
            if not token:
                continue
            if token == ";" and nesting.ends():
                return first, position - 1, head
            if len(head) < most:
                if not head:
                    first = self.began
                    if token not in _LONG:
                        most = _SHORT_HEAD
                head.append(token)
                if len(head) == 4:
                    routine = _ROUTINE.match(" ".join(head)) is not None
            if routine or token == "(" or token == ")":
                nesting.take(token)
        return first, length, head

    def token(self, position: int) -> tuple[str, int]:
        """Return the next token, empty for a comment or the end, and where it ends; `began` is where it begins."""
        match = _TOKEN.match(self.text, position)
        assert match is not None
        kind, after = match.lastgroup, match.end()
        if kind is None:
            return "", after
        token, self.began = match[kind], match.start(kind)
        if kind == "word":
            # Only ASCII letters fold: to the server, a word with a long s is no keyword.
            return (token.upper() if token.isascii() else token), after
        if kind == "other":
            if token in _NEVER_ALONE:
                raise self._alone(token)
            return token, after
        if kind == "string":
            return "''", after
        if kind == "quoted":
            return token, after
        return self._long(kind, token, after)

    def _long(self, kind: str, token: str, after: int) -> tuple[str, int]:
        if kind == "comment":
            return "", self._comment_end(self.began)
        if kind == "escape":
            return "''", self._escaped_end(self.began)
        end = self.text.find(token, after)
        if end < 0:
            raise self._refuse(self.began, f"the text that {token} begins never ends", f"Close it with {token}.")
        return "''", end + len(token)

    def _dull_end(self, position: int) -> int:
        match = _DULL.match(self.text, position)
        assert match is not None  # it can be empty
        return match.end()

    def _comment_end(self, start: int) -> int:
        depth, position = 0, start
        while match := _COMMENT_EDGE.search(self.text, position):
            position = match.end()
            depth += 1 if match.group() == "/*" else -1
            if depth == 0:
                return position
        raise self._refuse(start, "a comment is never closed", "Close it with */; comments can be nested.")

    def _escaped_end(self, start: int) -> int:
        position = start + 1
        while True:
            match = _ESCAPED.match(self.text, position + 1)
            if match is None:
                raise self._refuse(start, "a quoted text is never closed", "Close it with '.")
            more = _CONTINUED.match(self.text, match.end())
            if more is None:
                return match.end()
            position = more.end() - 1

    def _alone(self, token: str) -> StatementError:
        if token == "'":
            return self._refuse(self.began, "a quoted text is never closed", "Close it with '.")
        if token == '"':
            return self._refuse(self.began, "a quoted name is never closed", 'Close it with ".')
        return self._refuse(
            self.began,
            "a backslash stands outside of any text",
            "Commands of psql (\\i, \\connect, \\copy, \\gexec) are not SQL: leave them out.",
        )

    def _refuse(self, position: int, what: str, hint: str) -> StatementError:
        line = line_of(self.text, position)
        return StatementError(f"{self.name}, line {line}: {what}.", hint=hint, line=line)


class _Nesting:
    """What is open: parentheses everywhere, and `BEGIN ATOMIC … END` with its `CASE … END` in routines."""

    def __init__(self) -> None:
        self._open: list[str] = []
        self._previous = ""

    def take(self, token: str) -> None:
        """Note one token."""
        if token == "(":
            self._open.append(token)
        elif token == ")":
            self._close_cases()
            if self._open and self._open[-1] == "(":
                self._open.pop()
        elif token in _NESTING_WORDS:
            self._take_word(token)
        self._previous = token

    def ends(self) -> bool:
        """Whether a semicolon here ends the statement."""
        self._close_cases()  # a CASE holds no semicolon: it was the name of a column
        return not self._open

    def _take_word(self, token: str) -> None:
        if self._previous in ("AS", "."):
            return  # a name
        top = self._open[-1] if self._open else ""
        if token == "ATOMIC" and self._previous == "BEGIN" and top in ("", "BEGIN"):
            self._open.append("BEGIN")
        elif token == "CASE" and "BEGIN" in self._open:
            self._open.append(token)
        elif token == "END" and (top == "CASE" or (top == "BEGIN" and self._previous in (";", "ATOMIC"))):
            self._open.pop()

    def _close_cases(self) -> None:
        while self._open and self._open[-1] == "CASE":
            self._open.pop()
