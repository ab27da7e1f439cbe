"""Transformers: the same gives the same, different stays different, forms and limits hold; whatever the values are."""

from __future__ import annotations

import datetime
import json
import re
import string
import uuid
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("psycopg", reason="install with: pip install 'seatrial[database]'")

from seatrial.database.masking import literals
from seatrial.database.masking.columns import Column
from seatrial.database.masking.coverage import Masked
from seatrial.database.masking.documents import masker
from seatrial.database.masking.keyed import Keyed
from seatrial.database.masking.transform import Change, Spec, change_of, problem_of
from seatrial.errors import MaskingError

SALT = b"salt of the tests"
KEYED = Keyed(SALT)
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=90)


def change(
    name: str, type_: str = "text", *, limit: int | None = None, salt: bytes = SALT, **options: object
) -> Change:
    spec = Spec(name, tuple(options.items()))
    column = Column("c", "c", type_, type_, limit=limit)
    assert problem_of(spec, column) == ""
    return change_of(spec, column, KEYED if salt == SALT else Keyed(salt))


def masked(name: str, value: str, type_: str = "text", **options: object) -> str:
    made = change(name, type_, **options)(value.encode())  # type: ignore[arg-type]
    assert made is not None
    return made.decode()


@given(TEXTS)
def test_a_field_is_what_it_was_when_it_is_read_back(value: str) -> None:
    field = literals.escape(value.encode())
    assert literals.unescape(field) == value.encode()
    assert not set(field) & set(b"\t\n\r")


@given(st.sampled_from(["email", "name", "text", "phone", "code"]), TEXTS)
def test_texts_are_the_same_for_the_same_salt_alone(name: str, value: str) -> None:
    assert (
        masked(name, value)
        == change_of(Spec(name), Column("o", "o", "text", "text"), Keyed(SALT))(value.encode()).decode()
    )  # type: ignore[union-attr]
    if len(value) > 20 and name in ("email", "name", "text"):
        assert masked(name, value) != masked(name, value, salt=b"another")


@given(st.sampled_from(["email", "name", "text", "phone", "code"]), TEXTS, st.integers(1, 40))
def test_texts_fit_their_column(name: str, value: str, limit: int) -> None:
    value = value[:limit]
    assert len(masked(name, value, "varchar", limit=limit)) <= limit


@given(st.sets(st.text(string.ascii_letters + string.digits + "-_. ", min_size=1, max_size=30), max_size=40))
def test_codes_keep_their_form_and_stay_different(values: set[str]) -> None:
    made = {value: masked("code", value) for value in values}
    assert len(set(made.values())) == len(values)
    for value, code in made.items():
        for pattern in ("[0-9]", "[a-z]", "[A-Z]"):
            assert [bool(re.match(pattern, c)) for c in value] == [bool(re.match(pattern, c)) for c in code]


@given(st.sets(st.from_regex(r"\+?[1-9][0-9]{6,17}", fullmatch=True), max_size=50))
def test_telephone_numbers_stay_different(values: set[str]) -> None:
    made = {value: masked("phone", value) for value in values}
    assert len(set(made.values())) == len(values)
    assert all(len(value) == len(number) and value[0] == number[0] for value, number in made.items())


def test_a_telephone_number_is_one_number_however_it_is_written() -> None:
    digits = {
        re.sub(r"\D", "", masked("phone", text)) for text in ("+49 30 1234567", "+49301234567", "(49) 30-1234567")
    }
    assert len(digits) == 1
    assert masked("phone", "+49 30 1234567")[3] == " "


@given(st.sets(st.integers(-(2**63), 2**63 - 1), max_size=60))
def test_keys_stay_different_and_in_their_range(values: set[int]) -> None:
    made = {value: int(masked("key", str(value), "int8")) for value in values}
    assert len(set(made.values())) == len(values)
    for value, key in made.items():
        for bits in (15, 31, 63):
            assert (-(2**bits) <= value < 2**bits) == (-(2**bits) <= key < 2**bits)
        assert (value < 0) == (key < 0)
        if -(2**31) <= value < 2**31:  # whatever the width of the column
            assert masked("key", str(value), "int4") == str(key)


def test_all_small_keys_are_exchanged_among_themselves() -> None:
    numbers = [str(n) for n in range(2**15)]
    made = [masked("key", number, "int2") for number in numbers[:2000]]
    assert len(set(made)) == 2000
    assert sum(a != b for a, b in zip(numbers, made, strict=False)) > 1990


@given(st.sets(st.dates(datetime.date(1, 3, 1), datetime.date(9990, 1, 1)), max_size=60), st.integers(2, 400))
def test_dates_stay_near_and_different(values: set[datetime.date], days: int) -> None:
    made = {
        value: datetime.date.fromisoformat(masked("date", value.isoformat(), "date", days=days)) for value in values
    }
    assert len(set(made.values())) == len(values)
    assert all(abs((value - moved).days) < days for value, moved in made.items() if value.year > 2)


@given(st.sets(st.datetimes(datetime.datetime(1900, 1, 1), datetime.datetime(2200, 1, 1)), max_size=40))
def test_moments_stay_different(values: set[datetime.datetime]) -> None:
    made = {masked("date", value.isoformat(" ") + "+00", "timestamptz") for value in values}
    assert len(made) == len(values)
    assert all(datetime.datetime.fromisoformat(text) for text in made)


def test_a_date_out_of_range_is_an_error_without_the_value() -> None:
    fields = Masked(change("date", "date"), "public.t", "born", plain=True)
    with pytest.raises(MaskingError, match=r"public\.t\.born cannot be masked") as caught:
        fields[b"0044-03-15 BC"]
    assert "0044" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    assert fields[b"infinity"] == b"infinity"


@given(st.decimals(-(10**8) + 1, 10**8 - 1, places=2), st.integers(1, 100))
def test_amounts_stay_near_and_fit(value: Decimal, percent: int) -> None:
    column = Column("c", "c", "numeric(10,2)", "numeric", digits=(10, 2))
    made = change_of(Spec("number", (("percent", percent),)), column, KEYED)(str(value).encode())
    assert made is not None
    found = Decimal(made.decode())
    assert abs(found - value) <= abs(value) * percent / 100 + Decimal("0.01")
    assert abs(found) < 10**8
    assert found.as_tuple().exponent == -2


@pytest.mark.parametrize(("type_", "value"), [("int2", "32767"), ("int4", "-2147483648"), ("float8", "1e308")])
def test_amounts_do_not_leave_their_type(type_: str, value: str) -> None:
    for percent in (1, 50, 100):
        made = float(masked("number", value, type_, percent=percent))
        assert abs(made) <= abs(float(value)) * 2.01
        if type_ != "float8":
            assert -(2**31) <= made < 2**31


@given(st.uuids(version=4))
def test_identities_keep_their_version(value: uuid.UUID) -> None:
    made = uuid.UUID(masked("uuid", str(value), "uuid"))
    assert made != value
    assert made.version == 4
    assert made.variant == value.variant


@pytest.mark.parametrize("value", ["192.0.2.7", "192.0.2.0/24", "2001:db8::1", "::1/128"])
def test_network_addresses_are_private_ones(value: str) -> None:
    made = masked("ip", value, "inet")
    assert made.startswith("10." if "." in value else "fd")
    assert made.partition("/")[2] == value.partition("/")[2]


@given(st.lists(st.one_of(st.none(), TEXTS), max_size=6))
def test_each_element_of_an_array_is_masked(values: list[str | None]) -> None:
    literal = "{" + ",".join("NULL" if v is None else '"' + re.sub(r'(["\\])', r"\\\1", v) + '"' for v in values) + "}"
    seen: list[str] = []

    def note(value: str) -> str:
        seen.append(value)
        return value

    assert literals.map_array(literal, note) == literal
    assert seen == [value for value in values if value is not None]


@pytest.mark.parametrize("literal", ["{{1,2},{3,NULL}}", "[0:1]={1,2}", "{}"])
def test_dimensions_and_bounds_stay(literal: str) -> None:
    assert literals.map_array(literal, lambda value: value).replace('"', "") == literal


@pytest.mark.parametrize("literal", ["", "1,2", "x{1}", '{"a}'])
def test_what_is_no_array_is_refused(literal: str) -> None:
    with pytest.raises(ValueError, match="no array"):
        literals.map_array(literal, lambda value: value)


def test_paths_of_documents() -> None:
    paths = {"$.people[*].email": str.upper, '$["odd key"]': lambda _value: "changed", "$.plan": lambda value: value}
    document = {"people": [{"email": "a", "age": 3}], "odd key": "b", "plan": {"kept": True}, "a@b.example": 1}
    strict = json.loads(masker(paths, keep_rest=False)(json.dumps(document)))
    assert strict == {"people": [{"email": "A"}], "odd key": "changed", "plan": {"kept": True}}
    loose = json.loads(masker(paths, keep_rest=True)(json.dumps(document)))
    assert loose["people"] == [{"email": "A", "age": 3}]
    assert loose["a@b.example"] == 1
    for path in ("email", "$email", "$.a[0]", "$.a..b", '$["a'):
        with pytest.raises(MaskingError, match="is not a path"):
            masker({path: str}, keep_rest=False)


def test_documents_mask_numbers_lists_and_objects() -> None:
    text = json.dumps({"n": 10, "e": ["a@b.c", None, {"x": 1}], "t": "2024-01-01", "f": True})
    paths = {"$.n": "number", "$.e": "email", "$.t": "date", "$.f": "name"}
    made = json.loads(masked("json", text, "jsonb", paths=paths, rest="keep"))
    assert made["e"][0] == masked("email", "a@b.c")
    assert made["e"][1:] == [None, None]
    assert 9 <= made["n"] <= 11
    assert made["f"] is None
    assert made["t"] != "2024-01-01"


def test_case_and_padding_do_not_matter_where_the_type_ignores_them() -> None:
    assert masked("email", "Ann@X.de", "citext") == masked("email", "ann@x.de", "citext")
    assert masked("email", "Ann@X.de") != masked("email", "ann@x.de")
    assert masked("code", "AB1   ", "bpchar", limit=6) == masked("code", "AB1")
