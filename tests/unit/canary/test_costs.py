"""Tokens and USD: by what they are summed, two ways of counting, prices that are not known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seatrial.canary.costs import CostRow, costs, total
from seatrial.canary.features import DayUsage, Features
from seatrial.errors import SettingError
from seatrial.prices import Prices

OPUS = "claude-opus-4-6"


def session(*usage: DayUsage, name: str = "s", project: str = "p", version: str = "2.1.9") -> Features:
    made = Features("claude_code", name, "", project, 1.0, 2.0, usage=list(usage))
    made.spread["version"] = {version: sum(row.messages for row in usage)}
    return made


def usage(day: str = "2026-02-01", model: str = OPUS, **numbers: Any) -> DayUsage:
    numbers = {"messages": 1, "output": 100, "first_output": 100, **numbers}
    return DayUsage(day, model, **numbers)


def test_usd_by_every_rate() -> None:
    [row] = costs([session(usage(input=1000, output=200, first_output=200, cache_read=10_000, cache_write=300,
                                 cache_write_hour=100))])  # fmt: skip
    assert row.usd == pytest.approx((1000 * 5 + 200 * 25 + 10_000 * 0.5 + 200 * 6.25 + 100 * 10) / 1e6)
    assert row.tokens == 11_500
    assert (row.differs, row.versions, row.unpriced, row.is_least) == (False, (), (), False)


def test_days_projects_and_models_with_sub_agents_apart() -> None:
    sessions = [
        session(usage(), usage("2026-02-02"), usage("2026-02-02", is_subagent=True), name="a", project="p"),
        session(usage("2026-02-02", "claude-haiku-4-5-20251001"), name="b", project="q"),
    ]
    days = costs(sessions, "day")
    assert [(row.key, row.is_subagent, row.sessions, row.messages) for row in days] == [
        ("2026-02-01", False, 1, 1),
        ("2026-02-02", False, 2, 2),
        ("2026-02-02", True, 1, 1),
    ]
    assert [(row.key, row.is_subagent) for row in costs(sessions, "project")] == [
        ("p", False),
        ("p", True),
        ("q", False),
    ]
    assert [row.key for row in costs(sessions, "model")] == [OPUS, OPUS, "claude-haiku-4-5-20251001"]
    assert {round(total(costs(sessions, by)).usd, 9) for by in ("day", "project", "model")} == {0.008}  # type: ignore[arg-type]


def test_both_ways_of_counting_are_shown_where_they_differ_and_name_versions() -> None:
    rows = costs(
        [
            session(usage(output=1000, first_output=200), name="a", version="2.1.9"),
            session(usage(output=1000, first_output=100), name="b", version="2.0.64"),
            session(usage(output=1000, first_output=1000), name="c", version="2.1.119"),
            session(usage("2026-02-02", output=1000, first_output=960), name="d", version="2.1.32"),
        ]
    )
    assert [(row.differs, row.versions) for row in rows] == [(True, ("2.0.64", "2.1.9")), (False, ())]
    assert rows[0].usd == pytest.approx(3000 * 25 / 1e6)
    assert rows[0].usd_first == pytest.approx(1300 * 25 / 1e6)
    assert rows[0].as_dict()["differs"] is True


def test_models_without_a_price_are_counted_and_named() -> None:
    [row] = costs([session(usage(), usage(model="my-model", messages=3), usage(model=""))])
    assert row.usd == pytest.approx(100 * 25 / 1e6)
    assert (row.unpriced_messages, row.unpriced, row.messages, row.output) == (4, ("", "my-model"), 5, 300)


def test_a_days_sum_is_not_taken_for_one_long_request() -> None:
    [row] = costs([session(usage(model="gemini-2.5-pro", messages=50, input=1_000_000, output=0, first_output=0))])
    assert row.usd == pytest.approx(1.25)
    assert row.is_least


def test_a_table_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text('as_of = "2026-01-01"\n[[model]]\nmatch = ["m*"]\ninput = 1\noutput = 10\n')
    [row] = costs([session(usage(model="mine"))], prices=Prices(tmp_path / "p.toml"))
    assert row.usd == pytest.approx(0.001)


def test_another_sum_is_refused() -> None:
    with pytest.raises(SettingError, match="by 'week'"):
        costs([], "week")  # type: ignore[arg-type]
    assert costs([]) == []
    assert total([]) == CostRow("total")


NUMBER = st.integers(0, 10**9)
USAGES = st.builds(
    DayUsage,
    st.sampled_from(["2026-01-01", "2026-01-02", ""]),
    st.sampled_from([OPUS, "unknown", "gpt-5"]),
    *[NUMBER] * 8,
    st.booleans(),
)


@given(st.lists(st.tuples(st.lists(USAGES, max_size=4), st.sampled_from("pq")), max_size=6))
def test_every_sum_holds_every_token_once(drawn: list[tuple[list[DayUsage], str]]) -> None:
    sessions = [session(*rows, name=str(i), project=project) for i, (rows, project) in enumerate(drawn)]
    whole = [total(costs(sessions, by)) for by in ("day", "project", "model")]  # type: ignore[arg-type]
    for found in whole:
        for name in ("messages", "input", "output", "cache_read", "cache_write", "first_output", "reasoning"):
            assert getattr(found, name) == sum(getattr(row, name) for rows, _ in drawn for row in rows)
        assert found.usd == pytest.approx(whole[0].usd)
        assert found.usd >= 0
