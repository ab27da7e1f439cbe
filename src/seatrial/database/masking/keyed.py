"""Replacements made of a value and the project's salt: the same everywhere, and nothing without the salt tells which.

Words are pronounceable, so that pages look like pages, and whoever reads them sees at once that nobody is called so.
Digits and codes are permuted within their own form, so unique values stay unique.
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Callable
from string import ascii_lowercase, ascii_uppercase, digits
from typing import Any

Hasher = Callable[[bytes], bytes]

_CONSONANTS = bytes(b"bcdfghjklmnpqrstvwxz"[n % 20] for n in range(256))
_VOWELS = bytes(b"aeiou"[n % 5] for n in range(256))
_LETTERS = bytes((b"etaoinshrdlucmfwypvbgk" + b"eettaaooiinnsr")[n % 36] for n in range(256))
_PROSE = bytes(
    (b"etaoinshrdlucmfwypvbgk" + b"eeeeeeetttttaaaaaooooiiiinnnnsss" + b" " * 10)[n % 64] for n in range(256)
)
"""Letters about as frequent as in English, one of six bytes is a space."""
_ROUNDS = 4
_CLASSES = {
    **dict.fromkeys(digits, digits),
    **dict.fromkeys(ascii_lowercase, ascii_lowercase),
    **dict.fromkeys(ascii_uppercase, ascii_uppercase),
}
_DIGITS = re.compile(b"[0-9]+")
_NO_DIGITS = bytes(n for n in range(256) if n not in b"0123456789")
_SHAPE = bytes.maketrans(b"123456789", b"000000000")
_TABLE_BITS = 12
_TIERS = (15, 31, 63)
"""Bits of the whole numbers that stay among themselves, so that a key fits the column that refers to it."""


class Keyed:
    """The functions of one salt; bytes and texts of any length."""

    def __init__(self, salt: bytes) -> None:
        self._base = hashlib.blake2b(key=salt[:64], digest_size=64)
        self._salt = hashlib.blake2b(salt, digest_size=64).digest()
        self._rounds: dict[tuple[int, int, bytes], list[_Round]] = {}
        self._days: dict[tuple[int, int], list[int]] = {}
        self._shapes: dict[bytes, list[tuple[int, int]]] = {}
        self._tables: dict[int, tuple[int, int, list[tuple[int, ...]]]] = {}

    def hash(self, purpose: bytes) -> Any:
        """Return the hash that has met the salt and a purpose; its copies go on with values."""
        base = self._base.copy()
        base.update(purpose + b"\0")
        return base

    def hasher(self, purpose: bytes) -> Hasher:
        """Return the function that makes 64 bytes of a value, other ones for each purpose."""
        copy = self.hash(purpose).copy

        def digest(value: bytes) -> bytes:
            made = copy()
            made.update(value)
            drawn: bytes = made.digest()
            return drawn

        return digest

    def stream(self, digest: bytes, length: int) -> bytes:
        """Return `length` bytes made of a digest."""
        return digest[:length] if length <= 64 else hashlib.shake_256(digest + self._salt).digest(length)

    def speller(self, purpose: bytes) -> Callable[[bytes, int], bytearray]:
        """Return the function that spells so many letters for a value: twenty of them are 66 bits."""
        copy, consonants, vowels = self.hash(purpose).copy, _CONSONANTS, _VOWELS

        def spell(value: bytes, length: int) -> bytearray:
            drawn = copy()
            drawn.update(value)
            letters = drawn.digest()
            if length > 64:
                letters = self.stream(letters, length)
            made = bytearray(length)
            made[0::2] = letters[0:length:2].translate(consonants)
            made[1::2] = letters[1:length:2].translate(vowels)
            return made

        return spell

    def writer(self, purpose: bytes, *, spaces: bool) -> Callable[[bytes, int], bytes]:
        """Return the function that makes so many letters, or letters and `spaces`, of a value: four bits each."""
        copy, stream, prose = self.hash(purpose).copy, self.stream, _PROSE if spaces else _LETTERS

        def write(value: bytes, length: int) -> bytes:
            drawn = copy()
            drawn.update(value)
            letters: bytes = drawn.digest()
            if length < 5:
                return letters[:length].translate(_CONSONANTS)  # it shall not be a space alone
            return (letters[:length] if length <= 64 else stream(letters, length)).translate(prose)

        return write

    def permuted(self, value: int, size: int, purpose: bytes = b"number") -> int:
        """Return another number below `size`, a different one for each; `value` must be below it too."""
        if size < 2:
            return value
        right = 1 << (size.bit_length() // 2)
        left = -(-size // right)
        while True:
            value = self._feistel(value, left, right, purpose)
            if value < size:
                return value

    def permuted_key(self, value: int) -> int:
        """Return another whole number of the same sign and size class, a different one for each."""
        if value < 0:
            return ~self.permuted_key(~value)
        low = 0
        for bits in _TIERS:
            if value < 1 << bits:
                return low + self.permuted(value - low, (1 << bits) - low, b"key %d" % bits)
            low = 1 << bits
        low = 1 << (value.bit_length() - 1)
        return low + self.permuted(value - low, low, b"key")

    def digits(self, text: bytes) -> bytes:
        """Return a text with other digits, but for the first one; what is between them stays where it is.

        The digits alone decide, so a telephone number written in two ways remains one number.
        """
        found = text.translate(None, _NO_DIGITS)
        count = len(found) - 1
        if count < 1:
            return text
        if count > 14:  # halves that tables of two parts do not cover
            half = 10 ** (count // 2)
            mixed = self._feistel(int(found[1:]), half, 10**count // half, b"digits")
        else:
            mixed = self._tabled(int(found[1:]), count)
        made = b"%b%0*d" % (found[:1], count, mixed)
        if count + 1 == len(text):
            return made
        shape = text.translate(_SHAPE)
        known = self._shapes.get(shape)
        if known is None:
            if len(self._shapes) > 1000:
                self._shapes.clear()
            known = self._shapes[shape] = [match.span() for match in _DIGITS.finditer(shape)]
        result, place = bytearray(text), 0
        for start, end in known:
            result[start:end] = made[place : (place := place + end - start)]
        return bytes(result)

    def _tabled(self, value: int, count: int) -> int:
        """Permute the numbers of `count` digits, at most 14, by rounds that look up two tables each."""
        found = self._tables.get(count)
        if found is None:
            size = 1 << _TABLE_BITS
            draw = struct.Struct(f">{size}I").unpack
            names = [b"digits %d %d" % (count, number) for number in range(2 * _ROUNDS)]
            # Thirty bits: Python adds and divides these the fastest.
            tables = [tuple(n >> 2 for n in draw(self.stream(self.hasher(name)(b""), 4 * size))) for name in names]
            found = self._tables[count] = (10 ** (count // 2), 10 ** (count - count // 2), tables)
        left, right, (t0, t1, t2, t3, t4, t5, t6, t7) = found
        a, b = divmod(value, right)
        a = (a + (t0[b & 4095] ^ t1[b >> 12])) % left
        b = (b + (t2[a & 4095] ^ t3[a >> 12])) % right
        a = (a + (t4[b & 4095] ^ t5[b >> 12])) % left
        b = (b + (t6[a & 4095] ^ t7[a >> 12])) % right
        return a * right + b

    def code(self, text: str) -> str:
        """Return a text of the same form: digits for digits, letters for letters of the same case, the rest as it is.

        Different texts of one form have different results.  Letters beyond ASCII stay: not for texts that have any.
        """
        places = [i for i, c in enumerate(text) if c in _CLASSES]
        half = len(places) // 2
        sides = (places[:half], places[half:])
        alphabets = [[_CLASSES[text[i]] for i in side] for side in sides]
        numbers, sizes = [], []
        for side, letters in zip(sides, alphabets, strict=True):
            number, size = 0, 1
            for i, alphabet in zip(side, letters, strict=True):
                number = number * len(alphabet) + alphabet.index(text[i])
                size *= len(alphabet)
            numbers.append(number)
            sizes.append(size)
        mixed = self._feistel(numbers[0] * sizes[1] + numbers[1], sizes[0], sizes[1], b"code")
        result = list(text)
        for side, letters, number in zip(sides, alphabets, divmod(mixed, sizes[1]), strict=True):
            for i, alphabet in zip(reversed(side), reversed(letters), strict=True):
                number, digit = divmod(number, len(alphabet))
                result[i] = alphabet[digit]
        return "".join(result)

    def day(self, ordinal: int, days: int) -> int:
        """Return another day, less than `days` away, a different one for each."""
        block, place = divmod(ordinal, days)
        known = self._days.get((block, days))
        if known is None:
            digest = self.hasher(b"day %d" % days)
            marks = [digest(b"%d %d" % (block, n)) for n in range(days)]
            known = self._days[block, days] = sorted(range(days), key=marks.__getitem__)
        return block * days + known[place]

    def _feistel(self, value: int, left: int, right: int, purpose: bytes) -> int:
        """Permute the numbers below left · right."""
        rounds = self._rounds.get((left, right, purpose))
        if rounds is None:
            sizes = (left, right) * (_ROUNDS // 2)
            names = [b"%s %d %d %d" % (purpose, number, left, right) for number in range(_ROUNDS)]
            rounds = [_Round(self, name, size) for name, size in zip(names, sizes, strict=True)]
            if len(self._rounds) > 1000:
                self._rounds.clear()
            self._rounds[left, right, purpose] = rounds
        first, second, third, fourth = rounds
        a, b = divmod(value, right)
        a = (a + first[b]) % left
        b = (b + second[a]) % right
        a = (a + third[b]) % left
        b = (b + fourth[a]) % right
        return a * right + b


class _Round(dict[int, int]):
    """What one round adds, remembered: halves of a telephone number come again and again."""

    _MOST = 200_000

    def __init__(self, keyed: Keyed, name: bytes, size: int) -> None:
        super().__init__()
        self._digest, self._stream = keyed.hasher(name), keyed.stream
        self._size, self._bytes = size, size.bit_length() // 8 + 9

    def __missing__(self, half: int) -> int:
        made = int.from_bytes(self._stream(self._digest(b"%x" % half), self._bytes), "big") % self._size
        if len(self) >= self._MOST:
            self.clear()
        self[half] = made
        return made
