"""The transformers of a policy, by name: what types they take, whether unique values stay so, and what they do."""

from __future__ import annotations

import datetime
import ipaddress
import math
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal, InvalidOperation
from typing import Any

from seatrial.database.masking import documents, literals
from seatrial.database.masking.columns import Column
from seatrial.database.masking.keyed import Keyed
from seatrial.errors import MaskingError

VERSION = 1
"""Part of a policy's hash: raised when a transformer gives other results than before."""
Change = Callable[[bytes], bytes | None]
_TEXTS = frozenset(("text", "varchar", "bpchar", "citext"))
_WHOLE = {"int2": 2**15, "int4": 2**31, "int8": 2**63}
_NUMBERS = frozenset((*_WHOLE, "numeric", "float4", "float8"))
_DATES = frozenset(("date", "timestamp", "timestamptz"))
_JSON = frozenset(("json", "jsonb"))
_MOMENT = re.compile(r"(\d{4}-\d\d-\d\d)(?:([T ])(\d\d):(\d\d):(\d\d)(.*))?", re.DOTALL)
_MORE_THAN_A_NUMBER = re.compile(rb"[A-Za-z\x80-\xff]")
_DAY_SECONDS = 86400


@dataclass(frozen=True)
class Spec:
    """What a policy says of one column: a transformer and its options."""

    name: str
    options: tuple[tuple[str, Any], ...] = ()

    def option(self, name: str, default: Any = None) -> Any:
        """Return one option."""
        return dict(self.options).get(name, default)


@dataclass(frozen=True)
class _Kind:
    types: frozenset[str]
    unique: bool
    make: Callable[[Keyed, Column, Spec], Change]
    options: Mapping[str, tuple[type, ...]] = field(default_factory=dict)


def problem_of(spec: Spec, column: Column) -> str:
    """Return why a column cannot be masked so, in a few words; "" when it can."""
    if spec.name == "keep":
        return _options_problem(spec, {})
    if spec.name == "null":
        wrong = "it is NOT NULL, so `null` cannot be" if column.not_null else ""
        return wrong or _options_problem(spec, {})
    if spec.name == "fixed":
        if column.unique:
            return "`fixed` would make all values the same, but they are unique"
        return _options_problem(spec, {"value": (str,)}) or ("" if spec.options else "`fixed` needs a value")
    kind = _KINDS.get(spec.name)
    if kind is None:
        return f"there is no transformer `{spec.name}` (known: {', '.join(known())})"
    if column.enum or column.scalar not in kind.types:
        return f"`{spec.name}` cannot take {column.type}"
    if column.unique and not kind.unique:
        return f"`{spec.name}` does not keep values unique, and they are"
    if column.partition_key:
        return "rows would leave their partition; keep it"
    return _options_problem(spec, kind.options) or _range_problem(spec)


def known() -> list[str]:
    """Return the names of all transformers."""
    return ["keep", "null", "fixed", *sorted(_KINDS)]


def change_of(spec: Spec, column: Column, keyed: Keyed) -> Change:
    """Return the function of a value (UTF-8, as the server writes its type); `problem_of` has said that it fits.

    The function raises ValueError for a value that it cannot take; the error never holds the value.
    """
    if spec.name == "null":
        return lambda _value: None
    if spec.name == "fixed":
        fixed: bytes = spec.option("value").encode()
        return lambda _value: fixed
    one = _KINDS[spec.name].make(keyed, column, spec)
    if column.element:
        return lambda value: literals.map_array(value.decode(), _of_text(one)).encode()
    return one


def _of_text(change: Change) -> Callable[[str], str | None]:
    def changed(value: str) -> str | None:
        made = change(value.encode())
        return None if made is None else made.decode()

    return changed


def _text_form(change: Callable[[str], str]) -> Change:
    return lambda value: change(value.decode()).encode()


def _options_problem(spec: Spec, known_options: Mapping[str, tuple[type, ...]]) -> str:
    for name, value in spec.options:
        if name not in known_options:
            return f"`{spec.name}` has no option {name}"
        if not isinstance(value, known_options[name]) or isinstance(value, bool):
            return f"the option {name} of `{spec.name}` has a wrong type"
    return ""


def _range_problem(spec: Spec) -> str:
    if spec.name == "date" and not 2 <= spec.option("days", 30) <= 3660:
        return "`days` is a number from 2 to 3660"
    if spec.name == "number" and not 0 < spec.option("percent", 10) <= 100:
        return "`percent` is more than 0 and at most 100"
    if spec.name == "json":
        if spec.option("rest", "null") not in ("null", "keep"):
            return '`rest` is "null" or "keep"'
        for path, name in spec.option("paths", {}).items():
            if name not in ("keep", "null", *_KINDS) or name == "json":
                return f"there is no transformer `{name}` for {path}"
    return ""


def _source(column: Column, change: Callable[[bytes], bytes]) -> Change:
    """Return a change that does the same to what compares equal."""
    if column.scalar == "citext":
        return lambda value: change(value.decode().lower().encode())
    if column.scalar == "bpchar":
        return lambda value: change(value.rstrip(b" "))
    return change


def _email(keyed: Keyed, column: Column, _spec: Spec) -> Change:
    write, limit, domain = keyed.writer(b"email", spaces=False), column.limit or 2**30, b"@example.com"
    length = max(1, min(20, limit - len(domain)))
    domain = domain[: max(0, limit - length)]

    def change(value: bytes) -> bytes:
        return write(value, length) + domain

    return _source(column, change)


def _name(keyed: Keyed, column: Column, _spec: Spec) -> Change:
    spell, length = keyed.speller(b"name"), min(21, column.limit or 21)

    def change(value: bytes) -> bytes:
        made = spell(value, length)
        made[0] -= 32
        if length > 11:
            made[10] = 32
            made[11] -= 32
        return bytes(made)

    return _source(column, change)


def _text(keyed: Keyed, column: Column, _spec: Spec) -> Change:
    write = keyed.writer(b"text", spaces=True)
    return _source(column, lambda value: write(value, len(value) if value.isascii() else len(value.decode())))


def _phone(keyed: Keyed, column: Column, spec: Spec) -> Change:
    code, digits = _code(keyed, column, spec), keyed.digits

    def change(value: bytes) -> bytes | None:
        # What has letters in it, or hardly a digit, is more than a number, or something else.
        if _MORE_THAN_A_NUMBER.search(value):
            return code(value)
        made = digits(value)
        return code(value) if made == value else made

    return change


def _code(keyed: Keyed, column: Column, _spec: Spec) -> Change:
    spell = keyed.speller(b"code")

    def change(value: bytes) -> bytes:
        if value.isascii():
            return keyed.code(value.decode()).encode()
        return bytes(spell(value, len(value.decode())))

    return _source(column, change)


def _key(keyed: Keyed, column: Column, _spec: Spec) -> Change:
    most = _WHOLE.get(column.scalar)

    def change(value: bytes) -> bytes:
        made = keyed.permuted_key(int(value))
        if most and not -most <= made < most:
            raise ValueError("out of range")
        return b"%d" % made

    return change


def _number(keyed: Keyed, column: Column, spec: Spec) -> Change:
    percent = Decimal(str(spec.option("percent", 10)))
    whole, digits, digest = _WHOLE.get(column.scalar), column.digits, keyed.hasher(b"amount")

    def share(value: Decimal) -> Decimal:
        drawn = int.from_bytes(digest(str(value.normalize()).encode())[:8], "big")
        return percent / 100 * (Decimal(drawn) / 2**63 - 1)

    def change(value: str) -> str:
        try:
            amount = Decimal(value)
        except InvalidOperation:
            raise ValueError("no number") from None
        if not amount.is_finite():
            return value
        if column.scalar in ("float4", "float8"):
            made = float(value) * (1 + float(share(amount)))
            return repr(made if math.isfinite(made) else float(value) / 2)
        if whole:
            number = int(amount)
            return str(min(max(number + int(number * share(amount)), -whole), whole - 1))
        unit = Decimal(1).scaleb(int(amount.as_tuple().exponent))
        result = (amount + amount * share(amount)).quantize(unit)
        if digits:
            most = Decimal(10) ** (digits[0] - digits[1]) - unit
            result = min(max(result, -most), most)
        return format(result, "f")

    return _text_form(change)


def _date(keyed: Keyed, _column: Column, spec: Spec) -> Change:
    days = spec.option("days", 30)
    known: dict[str, tuple[str, int]] = {}
    digest = keyed.hasher(b"time")

    def day_of(text: str) -> tuple[str, int]:
        found = known.get(text)
        if found is None:
            ordinal = datetime.date.fromisoformat(text).toordinal()
            later = int.from_bytes(digest(b"%d" % ordinal)[:4], "big") % _DAY_SECONDS
            moved = min(max(keyed.day(ordinal, days), 1), datetime.date.max.toordinal())
            found = known[text] = datetime.date.fromordinal(moved).isoformat(), later
        return found

    def change(value: str) -> str:
        if value in ("infinity", "-infinity"):
            return value
        match = _MOMENT.fullmatch(value)
        if not match or (match[6] or "").endswith("BC"):
            raise ValueError("a date outside of the years 1 to 9999")
        day, later = day_of(match[1])
        if match[2] is None:
            return day
        seconds = (int(match[3]) * 3600 + int(match[4]) * 60 + int(match[5]) + later) % _DAY_SECONDS
        minutes, second = divmod(seconds, 60)
        return f"{day}{match[2]}{minutes // 60:02}:{minutes % 60:02}:{second:02}{match[6]}"

    return _text_form(change)


def _uuid(keyed: Keyed, _column: Column, _spec: Spec) -> Change:
    digest = keyed.hasher(b"uuid")

    def change(value: str) -> str:
        given = uuid.UUID(value).int
        drawn = int.from_bytes(digest(given.to_bytes(16, "big"))[:16], "big")
        kept = 0xF000_C000_0000_0000_0000  # version and variant
        return str(uuid.UUID(int=(drawn & ~kept) | (given & kept)))

    return _text_form(change)


def _ip(keyed: Keyed, _column: Column, _spec: Spec) -> Change:
    digest = keyed.hasher(b"ip")

    def change(value: str) -> str:
        address, slash, bits = value.partition("/")
        given = ipaddress.ip_address(address)
        drawn = digest(given.packed)
        made = b"\x0a" + drawn[:3] if given.version == 4 else b"\xfd" + drawn[:15]
        return str(ipaddress.ip_address(made)) + slash + bits

    return _text_form(change)


def _bytes(keyed: Keyed, _column: Column, _spec: Spec) -> Change:
    digest = keyed.hasher(b"bytes")

    def change(value: str) -> str:
        given = bytes.fromhex(value.removeprefix("\\x"))
        return "\\x" + keyed.stream(digest(given), len(given)).hex()

    return _text_form(change)


def _json(keyed: Keyed, column: Column, spec: Spec) -> Change:
    plain = replace(column, base="text", element="", limit=None)
    places = {path: _json_change(keyed, plain, name) for path, name in spec.option("paths", {}).items()}
    return _text_form(documents.masker(places, keep_rest=spec.option("rest", "null") == "keep"))


def _json_change(keyed: Keyed, plain: Column, name: str) -> Callable[[Any], Any]:
    if name == "keep":
        return lambda value: value
    if name == "null":
        return lambda _value: None
    of_text = _of_text(_KINDS[name].make(keyed, plain, Spec(name)))
    of_numbers = name in ("number", "key")

    def change(value: Any) -> Any:
        if isinstance(value, list):
            return [change(entry) for entry in value]
        if value is None or isinstance(value, bool | dict):
            return None
        try:
            if of_numbers:
                return int(of_text(str(value)) or 0) if isinstance(value, int) else float(of_text(str(value)) or 0)
            return of_text(str(value))
        except (ValueError, OverflowError):
            return None

    return change


_KINDS = {
    "email": _Kind(_TEXTS, True, _email),
    "name": _Kind(_TEXTS, True, _name),
    "text": _Kind(_TEXTS, False, _text),
    "phone": _Kind(_TEXTS, True, _phone),
    "code": _Kind(_TEXTS, True, _code),
    "key": _Kind(frozenset((*_WHOLE, "numeric")), True, _key),
    "number": _Kind(_NUMBERS, False, _number, {"percent": (int, float)}),
    "date": _Kind(_DATES, True, _date, {"days": (int,)}),
    "uuid": _Kind(frozenset(("uuid",)), True, _uuid),
    "ip": _Kind(frozenset(("inet",)), False, _ip),
    "bytes": _Kind(frozenset(("bytea",)), True, _bytes),
    "json": _Kind(_JSON, False, _json, {"paths": (dict,), "rest": (str,)}),
}


def is_plain(spec: Spec, column: Column) -> bool:
    """Say whether values without a backslash, tab or line end become values without."""
    return spec.name in _KINDS and spec.name != "json" and not column.element


def fail(table: str, column: str, why: str) -> MaskingError:
    """Return the error for a value that could not be masked; it never holds the value."""
    return MaskingError(
        f"A value of {table}.{column} cannot be masked: {why}.", hint="Use `null`, `fixed` or another transformer."
    )
