"""The price table: dates, newer models, and models that must not be taken for one another."""

from __future__ import annotations

from pathlib import Path

import pytest

from seatrial.errors import GatewayError
from seatrial.prices import Prices


@pytest.mark.parametrize(
    ("model", "rates"),
    [
        ("claude-opus-4-6", (5, 25, 0.5, 6.25, 10)),
        ("claude-opus-5", (5, 25, 0.5, 6.25, 10)),
        ("claude-opus-5-5", (4, 20, 0.2, 5, 8)),
        ("claude-sonnet-5", (2, 10, 0.2, 2.5, 4)),
        ("claude-sonnet-5-5", (2, 10, 0.1, 2.5, 4)),
        ("claude-fable-5", (10, 50, 1, 12.5, 20)),
        ("claude-fable-5-1", (10, 50, 0.25, 12.5, 20)),
    ],
)
def test_rates_of_models_that_are_called_alike(model: str, rates: tuple[float, ...]) -> None:
    price = Prices().find(model)
    assert price is not None
    found = (price.input, price.output, price.cache_read, price.cache_write, price.cache_write_hour)
    assert found == rates
    assert price.as_of == "2026-10-24"


def test_an_entry_without_a_date_has_that_of_the_table(tmp_path: Path) -> None:
    table = tmp_path / "prices.toml"
    table.write_text(
        'as_of = "2026-01-01"\n[[model]]\nmatch = ["a"]\ninput = 1\noutput = 2\n'
        '[[model]]\nmatch = ["b"]\ninput = 1\noutput = 2\nas_of = "2026-02-02"\n'
    )
    prices = Prices(table)
    assert [found.as_of for name in "ab" if (found := prices.find(name))] == ["2026-01-01", "2026-02-02"]
    assert prices.find("c") is None


def test_a_table_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(GatewayError, match="cannot be read"):
        Prices(tmp_path / "none.toml")
