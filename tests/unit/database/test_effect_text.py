"""The report as text, and as data."""

from __future__ import annotations

import dataclasses
import json

import pytest

from seatrial.database.effect import phrases
from seatrial.database.effect.report import EffectReport, Failure, Lock, Loss, Timeouts
from seatrial.database.effect.text import render_text
from seatrial.errors import ProposalError
from tests.unit.database.effect_example import example


def test_the_text_fits_a_screen_and_tells_everything() -> None:
    text = render_text(example())
    assert max(map(len, text.splitlines())) <= 100
    for wanted in (
        "Approval must name: BUILDS_INDEX, CHANGES_PLAN, DROPS_DATA",
        "AccessExclusive lock on public.users, public.users_pkey, held 15.9 s",
        "100,000 rows of public.orders lost",
        "1 row of public.old_stuff lost",
        "drops view public.v_old",
        "~ Column public.users.id: type integer → bigint.",
        "The deleted rows cannot come back.",
        "\n  Times are of this copy,",
    ):
        assert wanted in text
    assert phrases.COPY_NOTE in " ".join(text.split())
    assert text.index("DROPS_DATA ") < text.index("BUILDS_INDEX  ")  # the worst first


def test_the_columns_of_statements_are_aligned() -> None:
    lines = render_text(example()).splitlines()
    start = lines.index("STATEMENTS") + 1
    at = lines[start].index("what")
    for word in ("ALTER TABLE users", "DELETE FROM", "DROP TABLE", "CREATE INDEX"):
        assert next(line for line in lines[start:] if word in line).index(word) == at


def test_a_failure_stands_first_with_what_the_server_said() -> None:
    failure = Failure(2, 'column "nope" does not exist', "42703", "Perhaps you meant nape.", 9)
    text = render_text(example(outcome="failed", failure=failure))
    assert text.startswith('Failed at statement 2 (line 9): column "nope" does not exist.\n')
    assert "SQLSTATE 42703. Perhaps you meant nape." in text
    at_commit = dataclasses.replace(failure, at_commit=True)
    assert "the commit after statement 2" in render_text(example(outcome="failed", failure=at_commit))


def test_names_cannot_steer_the_terminal() -> None:
    effect = dataclasses.replace(
        example().statements[0],
        locks=(Lock("public.\x1b[31mred\u202e", "ShareLock", 1.0),),
        text="SELECT '\x1b]0;x\x07'",
    )
    text = render_text(example(statements=(effect,)))
    assert "\x1b" not in text and "\u202e" not in text and "\x07" not in text
    assert "public.\\x1b[31mred\\u202e" in text


@pytest.mark.parametrize(
    ("loss", "wanted"),
    [
        (Loss("rows", "public.t", 12), "12 rows of public.t lost"),
        (Loss("truncated rows", "public.t", 1), "1 row of public.t truncated"),
        (Loss("values", "public.t.c", 2_000_000, False), "about 2,000,000 values of public.t.c lost"),
        (Loss("changed values", "public.t.c", None, False), "an unknown number of values of public.t.c changed"),
    ],
)
def test_losses_in_words(loss: Loss, wanted: str) -> None:
    assert phrases.loss_phrase(loss) == wanted


@pytest.mark.parametrize(
    ("milliseconds", "wanted"),
    [(0.04, "0.0 ms"), (9.96, "10.0 ms"), (13, "13 ms"), (1_500, "1.5 s"), (250_000, "4 min 10 s")],
)
def test_times_in_words(milliseconds: float, wanted: str) -> None:
    assert phrases.time_of(milliseconds) == wanted


@pytest.mark.parametrize(
    ("bytes_", "wanted"),
    [(0, "0 B"), (1023, "1023 B"), (2048, "2.0 KiB"), (23_261_000, "22.2 MiB"), (5 << 40, "5.0 TiB")],
)
def test_sizes_in_words(bytes_: int, wanted: str) -> None:
    assert phrases.amount(bytes_) == wanted


def test_a_report_survives_json() -> None:
    report = example(failure=Failure(1, "no"))
    assert EffectReport.from_dict(json.loads(json.dumps(report.as_dict()))) == report


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data.pop("hazards"),
        lambda data: data.update(extra=1),
        lambda data: data["statements"][0].update(number="1"),
        lambda data: data["statements"][0].update(transactional=1),
        lambda data: data["statements"][0]["locks"][0].pop("mode"),
        lambda data: data.update(timeouts={"lock_ms": 5, "statement_ms": 5}),
        lambda data: data.update(statements=3),
        lambda data: data.update(undo=None),
    ],
)
def test_what_is_no_report_is_refused(spoil: object) -> None:
    data = json.loads(json.dumps(example().as_dict()))
    spoil(data)  # type: ignore[operator]
    with pytest.raises(ProposalError):
        EffectReport.from_dict(data)


def test_a_lock_timeout_that_cannot_fire_is_refused() -> None:
    with pytest.raises(ProposalError, match="below that of the statement"):
        Timeouts(lock_ms=1000, statement_ms=1000)
