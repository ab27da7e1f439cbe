"""Policies: how they are written, what they must cover, and what is proposed for names and types."""

from __future__ import annotations

from dataclasses import replace

import pytest

pytest.importorskip("psycopg", reason="install with: pip install 'seatrial[database]'")

from seatrial.database.masking import coverage, guess, policy
from seatrial.database.masking.columns import Column, Reference, Table
from seatrial.database.masking.transform import Spec
from seatrial.errors import MaskingError


def column(name: str, type_: str = "text", **facts: object) -> Column:
    return Column(name, name, type_, type_, **facts)  # type: ignore[arg-type]


def table(name: str, *columns: Column, **facts: object) -> Table:
    return Table(name, False, "", 0, columns, **facts)  # type: ignore[arg-type]


USERS = table("public.users", column("id", "int8", unique=True), column("email", unique=True), column("rows"))
COVERED = """
version = 1
[tables."public.users"]
id = "keep"
email = "email"
'"rows"' = "text"
"""


def test_a_policy_that_covers_everything() -> None:
    found = policy.parse(COVERED)
    assert coverage.problems(found, [USERS]) == []
    assert found.tables["public.users"].columns["rows"] == Spec("text")
    assert found.tables["public.users"].share == 1


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("version = 1\n[tables", "is not TOML"),
        ("", "must say version = 1"),
        ("version = 1\nsalt = 'x'", "unknown 'salt'"),
        ("version = 1\n[tables]\n'public.t' = 1", "must be a section"),
        ("version = 1\n[tables.'public.t']\na = 1", "names no transformer"),
        ("version = 1\n[tables.'public.t']\na = { days = 3 }", "names no transformer"),
        ("version = 1\n[tables.'public.t']\nrows = 'some'", "`rows` of public.t"),
        ("version = 1\n[tables.'public.t']\nrows = { sample = 2 }", "`rows` of public.t"),
    ],
)
def test_what_is_no_policy(text: str, told: str) -> None:
    with pytest.raises(MaskingError, match=told):
        policy.parse(text)


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("{ with = 'number', percent = 0 }", "`percent` is more than 0"),
        ("{ with = 'number', percent = 'x' }", "wrong type"),
        ("{ with = 'number', percents = 1 }", "has no option percents"),
        ("{ with = 'keep', percent = 1 }", "has no option percent"),
        ("'fixed'", "needs a value"),
        ("'email'", "cannot take int8"),
    ],
)
def test_options_that_cannot_be(spec: str, told: str) -> None:
    found = policy.parse(f"version = 1\n[tables.'public.t']\na = {spec}")
    assert any(told in sentence for sentence in coverage.problems(found, [table("public.t", column("a", "int8"))]))


def test_keys_must_be_masked_alike_and_refer_to_rows_that_are_there() -> None:
    link = Reference("orders_email_fkey", "public.orders", "public.users", (("email", "email"),))
    orders = table("public.orders", column("email"), references=(link,))
    wrong = policy.parse(COVERED + "[tables.'public.orders']\nemail = 'name'")
    assert "both must be masked alike" in coverage.problems(wrong, [USERS, orders])[0]
    alike = policy.parse(COVERED + "[tables.'public.orders']\nemail = 'email'")
    assert coverage.problems(alike, [USERS, orders]) == []
    none = policy.parse(
        "version = 1\n[tables.'public.users']\nrows = 'none'\n[tables.'public.orders']\nemail = 'email'"
    )
    assert "of which not all rows are copied" in coverage.problems(none, [USERS, orders])[0]
    nothing = policy.parse(
        "version = 1\n[tables.'public.users']\nrows = 'none'\n[tables.'public.orders']\nemail = 'null'"
    )
    assert coverage.problems(nothing, [USERS, orders]) == []


def test_the_hash_is_of_the_text() -> None:
    assert policy.parse(COVERED).hash == policy.parse(COVERED).hash != policy.parse(COVERED + "\n# other").hash


def test_many_problems_are_counted() -> None:
    with pytest.raises(MaskingError, match="And 3 more") as caught:
        coverage.check(policy.parse("version = 1"), [table(f"public.t{n}") for n in range(8)])
    assert len(caught.value.facts["problems"]) == 8


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (column("email"), "email"),
        (column("e_mail", "varchar", limit=80), "email"),
        (column("mobile_phone"), "phone"),
        (column("last_name"), "name"),
        (column("shipping_address"), "text"),
        (column("password_hash"), "null"),
        (column("api_token", not_null=True, unique=True), "code"),
        (column("username", unique=True), "code"),
        (column("status"), "keep"),
        (column("whatever"), "text"),
        (column("whatever", unique=True), "code"),
        (column("id", "int8", unique=True), "keep"),
        (column("customer_id", "uuid"), "keep"),
        (column("session", "uuid"), "uuid"),
        (column("amount", "numeric"), "number"),
        (column("number", "int4", unique=True), "keep"),
        (column("born", "date"), "date"),
        (column("created_at", "timestamptz"), "keep"),
        (column("address", "inet"), "ip"),
        (column("profile", "jsonb", not_null=True), "json"),
        (column("search", "tsvector"), "null"),
        (column("search", "tsvector", not_null=True), "fixed"),
        (column("photo", "bytea"), "null"),
        (column("photo", "bytea", not_null=True), "bytes"),
        (column("mood", "mood", enum=True), "keep"),
        (column("tags", "_text", element="text"), "text"),
        (column("day", "date", partition_key=True), "keep"),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{value.name} {value.type}",
)
def test_guesses(wanted: Column, found: str) -> None:
    made = policy.parse(guess.propose([table("public.t", wanted)], {}))
    assert made.tables["public.t"].columns[wanted.name].name == found
    assert coverage.problems(made, [table("public.t", wanted)]) == []


def test_a_guess_follows_references_and_lists_of_values() -> None:
    link = Reference("f", "public.orders", "public.users", (("buyer", "email"),))
    orders = table("public.orders", column("buyer"), column("stage"), column("rows"), references=(link,))
    made = policy.parse(guess.propose([USERS, orders], {("public.orders", "stage"): "stage_check"}))
    columns = made.tables["public.orders"].columns
    assert (columns["buyer"], columns["stage"], columns["rows"]) == (Spec("email"), Spec("keep"), Spec("text"))
    partition = replace(orders, identity="public.orders_1", root="public.orders")
    assert "orders_1" not in guess.propose([USERS, orders, partition], {})
