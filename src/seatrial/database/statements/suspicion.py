"""What a reviewer's eye would miss in a text: characters that reorder, hide, or look like others."""

from __future__ import annotations

import re
import unicodedata

_BIDIRECTIONAL = set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_WORD = re.compile(r"[^\W\d]\w*")
_SCRIPTS = ("LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE")
"""Scripts whose letters are taken for one another."""


def suspicious(sql: str) -> tuple[str, ...]:
    """Return a sentence for each line with characters that are not what they look like."""
    found = []
    for number, line in enumerate(sql.splitlines(), 1):
        if line.isascii() and line.isprintable():
            continue
        found += [f"Line {number}: {what}." for what in _in_line(line)]
    return tuple(found)


def _in_line(line: str) -> list[str]:
    found = []
    for character in dict.fromkeys(line):
        code = f"U+{ord(character):04X} {unicodedata.name(character, 'unnamed')}"
        if character in _BIDIRECTIONAL:
            found.append(f"{code} changes the order in which the text is shown")
        elif unicodedata.category(character) in ("Cf", "Cc", "Co", "Cn") and character not in "\t\f\v":
            found.append(f"{code} cannot be seen")
        elif character != " " and unicodedata.category(character).startswith("Z"):
            found.append(f"{code} looks like a space and is part of a name")
    for word in _WORD.findall(line):
        scripts = {script for letter in word for script in _SCRIPTS if _is(letter, script)}
        if len(scripts) > 1:
            found.append(f"the word {word} mixes {' and '.join(sorted(s.capitalize() for s in scripts))} letters")
    return found


def _is(letter: str, script: str) -> bool:
    return unicodedata.name(letter, "").startswith(script)
