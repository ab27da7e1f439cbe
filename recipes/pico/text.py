"""Names, companies, goods, addresses, dates and amounts, with a disjoint held-out side.

Half of what training shows is built from syllables, so that the model has to read letters and cannot get
by with a list of names it knows. The held-out lists share no entry with the training lists.
"""

from __future__ import annotations

import random
import tomllib
from dataclasses import dataclass
from pathlib import Path


def _read() -> dict[str, dict[str, list[str]]]:
    tables = tomllib.loads((Path(__file__).parent / "vocabulary.toml").read_text(encoding="utf-8"))
    return {side: {name: _entries(text) for name, text in lists.items()} for side, lists in tables.items()}


def _entries(text: str) -> list[str]:
    return [" ".join(entry.split()) for entry in text.split("|")] if "|" in text else text.split()


VOCABULARY = _read()
MONTHS = VOCABULARY["both"]["months"]
_BOTH = VOCABULARY["both"]


def _followers() -> dict[str, list[str]]:
    """The letters that follow each pair of letters in the training words; "^" begins and "$" ends a word."""
    table: dict[str, list[str]] = {}
    for name in ("first", "last", "goods", "streets", "cities", "words"):
        for word in VOCABULARY["train"][name]:
            padded = f"^^{word.lower()}$"
            for i in range(len(padded) - 2):
                table.setdefault(padded[i : i + 2], []).append(padded[i + 2])
    return table


_FOLLOWERS = _followers()
_UNSEEN = {part.lower() for names in VOCABULARY["held_out"].values() for name in names for part in name.split()}


def _blend(rng: random.Random) -> str:
    """A word of four to ten letters in which every three letters in a row occur in a training word."""
    word = ""
    for _ in range(20):
        word = "^^"
        while word[-1] != "$" and len(word) < 12:
            word += rng.choice(_FOLLOWERS[word[-2:]])
        if word[-1] == "$" and len(word) > 6 and word.strip("^$") not in _UNSEEN:
            break
    return word.strip("^$").capitalize()


@dataclass(frozen=True)
class Writer:
    """Draws words from one side of the split."""

    rng: random.Random
    held_out: bool = False

    def _pick(self, name: str) -> str:
        return self.rng.choice(VOCABULARY["held_out" if self.held_out else "train"][name])

    def invented(self, least: int = 2, most: int = 3) -> str:
        """A made-up word, capitalised: half are syllables, half follow the letter statistics of real words."""
        rng = self.rng
        if rng.random() < 0.5:
            return _blend(rng)
        syllables = [rng.choice(_BOTH["onsets"]) + rng.choice(_BOTH["vowels"]) for _ in range(rng.randint(least, most))]
        return ("".join(syllables) + (rng.choice(_BOTH["codas"]) if rng.random() < 0.6 else "")).capitalize()

    def _mixed(self, name: str, invent: float = 0.35) -> str:
        # Held-out pages use real words only: invented ones cannot be shown to be unseen.
        if not self.held_out and self.rng.random() < invent:
            return self.invented()
        return self._pick(name)

    def first(self) -> str:
        """A first name."""
        return self._mixed("first")

    def last(self) -> str:
        """A family name."""
        return self._mixed("last")

    def person(self) -> str:
        """First and family name."""
        return f"{self.first()} {self.last()}"

    def goods(self) -> str:
        """Something sold, one or two words."""
        thing = self._mixed("goods", 0.25)
        return f"{self._pick('adjectives')} {thing}" if self.rng.random() < 0.35 else thing

    def distinct_goods(self, count: int) -> list[str]:
        """``count`` different goods."""
        found: dict[str, None] = {}
        while len(found) < count:
            found[self.goods()] = None
        return list(found)

    def shop(self) -> str:
        """The name of a shop."""
        if not self.held_out and self.rng.random() < 0.5:
            return f"{self.invented()} {self.rng.choice(_BOTH['trades'])}"
        return self._pick("shops")

    def company(self) -> str:
        """The name of a firm."""
        return f"{self._mixed('last', 0.6)} {self.rng.choice(_BOTH['suffixes'])}"

    def street(self) -> str:
        """House number and street."""
        return f"{self.rng.randint(1, 999)} {self._mixed('streets', 0.25)} {self.rng.choice(_BOTH['roads'])}"

    def city(self) -> str:
        """A town."""
        return self._mixed("cities", 0.25)

    def postcode(self) -> str:
        """Five digits."""
        return f"{self.rng.randint(0, 99999):05d}"

    def phone(self) -> str:
        """A telephone number."""
        r = self.rng.randint
        return self.rng.choice(
            (
                f"{r(200, 999)}-{r(0, 9999):04d}",
                f"({r(200, 999)}) {r(100, 999)}-{r(0, 9999):04d}",
                f"0{r(10, 99)} {r(100, 999)} {r(0, 9999):04d}",
            )
        )

    def email(self) -> str:
        """An address with an invented domain."""
        host = self.last().lower()
        return f"{self.first().lower()}@{host}.{self.rng.choice(('com', 'org', 'net', 'de', 'io'))}"

    def date(self) -> str:
        """A day of 2018 to 2027 in one of seven notations."""
        y, m, d = self.rng.randint(2018, 2027), self.rng.randint(1, 12), self.rng.randint(1, 28)
        name = MONTHS[m - 1]
        return self.rng.choice(
            (
                f"{y}-{m:02d}-{d:02d}",
                f"{y}-{m:02d}-{d:02d}",
                f"{d:02d}/{m:02d}/{y}",
                f"{d:02d}.{m:02d}.{y}",
                f"{name[:3]} {d}, {y}",
                f"{d} {name} {y}",
                f"{d} {name[:3]} {y}",
            )
        )

    def clock(self) -> str:
        """Hours and minutes."""
        return f"{self.rng.randint(0, 23):02d}:{self.rng.randint(0, 59):02d}"

    def reference(self) -> str:
        """An invoice, order or receipt number."""
        r = self.rng
        letters = "".join(r.choice("ABCDEFGHJKLMNPRSTUVWXYZ") for _ in range(r.randint(1, 3)))
        return r.choice(
            (
                f"{r.randint(1000, 999999)}",
                f"{letters}-{r.randint(100, 99999)}",
                f"{letters}{r.randint(1000, 99999)}",
                f"{r.randint(2019, 2027)}-{r.randint(1, 9999):04d}",
            )
        )

    def word(self) -> str:
        """A lower-case word of running text."""
        if not self.held_out and self.rng.random() < 0.25:
            return self.invented(1, 3).lower()
        if self.held_out and self.rng.random() < 0.5:
            return self.rng.choice(VOCABULARY["held_out"]["words"])
        return self.rng.choice(VOCABULARY["train"]["words"])

    def sentence(self, least: int = 4, most: int = 9) -> str:
        """Words with a capital and a full stop."""
        words = [self.word() for _ in range(self.rng.randint(least, most))]
        return " ".join(words).capitalize() + "."

    def title(self) -> str:
        """Two or three capitalised words."""
        return " ".join(self.word().capitalize() for _ in range(self.rng.randint(2, 3)))
