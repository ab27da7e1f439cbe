"""What older servers print differently in definitions, brought to what newer ones print."""

from __future__ import annotations

import re

_TOKEN = re.compile(
    r"""
    (?P<text>E?'(?:[^'\\]|''|\\.)*'|'(?:[^']|'')*')
    |(?P<name>"(?:[^"]|"")*"|[A-Za-z_\x80-\U0010ffff][\w$\x80-\U0010ffff]*)
    |(?P<number>\d[\w.]*)
    |(?P<space>\s+)
    |(?P<sign>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_ENDS_FROM = {"WHERE", "GROUP", "HAVING", "WINDOW", "ORDER", "LIMIT", "OFFSET", "FETCH", "FOR", "TABLESAMPLE"}
_MORE_THAN_ONE = {"UNION", "INTERSECT", "EXCEPT", "JOIN"}


def outer_names_removed(definition: str) -> str:
    """Return a view's definition without `relation.` before columns where it has only one relation.

    Postgres 16 stopped printing it there, in the outermost query; inside of subqueries it still does.
    """
    tokens = [(m.lastgroup or "", m.group()) for m in _TOKEN.finditer(definition)]
    inner = _in_subquery(tokens)
    outer = [i for i, deep in enumerate(inner) if not deep]
    alias = _only_relation(tokens, outer)
    if alias is None:
        return definition
    kept = []
    skip: set[int] = set()
    for position in outer:
        before = tokens[position - 1][1] if position else ""
        after = tokens[position + 1 : position + 3]
        is_row = after[1:] == [("sign", "*")]  # a whole row keeps its name in every version
        if tokens[position] == ("name", alias) and after[:1] == [("sign", ".")] and before != "." and not is_row:
            skip |= {position, position + 1}
    kept = [text for i, (_, text) in enumerate(tokens) if i not in skip]
    return "".join(kept)


def _in_subquery(tokens: list[tuple[str, str]]) -> list[bool]:
    """Say of each token whether it is inside parentheses that begin with a query."""
    found: list[bool] = []
    opened: list[bool] = []
    for position, (kind, text) in enumerate(tokens):
        if kind == "sign" and text == "(":
            rest = (word for group, word in tokens[position + 1 :] if group != "space" and word != "(")
            opened.append(next(rest, "") in ("SELECT", "WITH", "VALUES"))
        found.append(any(opened))
        if kind == "sign" and text == ")" and opened:
            opened.pop()
    return found


def _only_relation(tokens: list[tuple[str, str]], outer: list[int]) -> str | None:
    """Return the name that columns of the only relation in FROM are printed with; None where there are others."""
    depth, clause, last = 0, False, None
    for position in outer:
        kind, text = tokens[position]
        if text in ("(", ")") and kind == "sign":
            depth += 1 if text == "(" else -1
        elif depth == 0 and kind == "name" and text in _MORE_THAN_ONE:
            return None
        elif depth == 0 and kind == "name" and text == "FROM" and last is None:
            clause = True
        elif clause and depth == 0 and (text in _ENDS_FROM or text in (",", ";")):
            if text == ",":
                return None
            clause = False
        elif clause and depth == 0 and kind == "name" and text != "ONLY":
            last = text
    return last
