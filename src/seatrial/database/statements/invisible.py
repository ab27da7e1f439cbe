"""Characters that show a reviewer something else than what is executed."""

from __future__ import annotations

import re
import unicodedata
from functools import cache

_MOST_SENTENCES = 20
_BIDIRECTIONAL = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
_ZERO_WIDTH = "\u200b-\u200d\u2060\ufeff"
_INVISIBLE = (
    "\x00-\x08\x0e-\x1f\x7f-\x9f\xa0\xad\u034f\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f\u2000-\u200a\u2028\u2029"
    "\u202f\u205f\u2061-\u2065\u206a-\u206f\u3000\u3164\ufe00-\ufe0f\uffa0\ufff9-\ufffb"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_FOUND = re.compile(
    f"(?P<bidirectional>[{_BIDIRECTIONAL}])|(?P<zero>[{_ZERO_WIDTH}])|(?P<invisible>[{_INVISIBLE}])"
    r"|(?P<word>[A-Za-z0-9_$]*[^\W\x00-\x7f]\w*)"
)
_WHAT = {
    "bidirectional": "changes the direction in which the text is shown",
    "zero": "has no width",
    "invisible": "cannot be seen or looks like a space",
}
# Scripts whose letters can be taken for Latin ones.
_ALIKE = frozenset("CYRILLIC GREEK ARMENIAN CHEROKEE COPTIC LISU FULLWIDTH MATHEMATICAL DESERET GEORGIAN".split())


def suspicious(sql: str | bytes) -> tuple[str, ...]:
    """Return sentences, with line numbers, about what a reviewer cannot see or may take for something else.

    That is controls of the writing direction, characters without width or without ink, and words that mix Latin with
    letters of another script that look like Latin ones.  At most 20 sentences, and one that says how many are left out.
    """
    text = sql.decode(errors="replace") if isinstance(sql, bytes) else sql
    if text.isascii() and text.isprintable():
        return ()
    told: list[str] = []
    line, counted, left_out = 1, 0, 0
    for match in _FOUND.finditer(text):
        sentence = _about_word(match["word"]) if match.lastgroup == "word" else _about(match)
        if not sentence:
            continue
        if len(told) == _MOST_SENTENCES:
            left_out += 1
            continue
        line, counted = line + text.count("\n", counted, match.start()), match.start()
        told.append(f"Line {line}: {sentence}.")
    return (*told, f"And {left_out} more.") if left_out else tuple(told)


def _about(match: re.Match[str]) -> str:
    if match.start() == 0 and match.group() == "\ufeff":
        return ""  # a byte order mark
    character = match.group()
    name = unicodedata.name(character, "no name")
    return f"the character U+{ord(character):04X} ({name.lower()}) {_WHAT[match.lastgroup or '']}"


@cache
def _script(character: str) -> str:
    return unicodedata.name(character, "?").split(" ", 1)[0].split("-", 1)[0]


def _about_word(word: str) -> str:
    letters = [character for character in word if character.isalpha()]
    scripts = {_script(character) for character in letters}
    others = scripts & _ALIKE
    if "LATIN" not in scripts or not others:
        return ""
    strange = next(character for character in letters if _script(character) in others)
    script = _script(strange).capitalize()
    return f"the word “{word[:63]}” mixes Latin and {script} letters (U+{ord(strange):04X})"
