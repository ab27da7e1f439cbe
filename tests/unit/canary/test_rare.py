"""Exact tests against direct enumeration and known values."""

from __future__ import annotations

import math

import pytest

from seatrial.canary.rare import binomial_p, can_be_tested, compare_rare, false_discoveries, fisher_p


def test_binomial_by_hand() -> None:
    assert binomial_p(8, 8, 0.5) == pytest.approx(2 / 256)
    assert binomial_p(4, 8, 0.5) == pytest.approx(1.0)
    assert binomial_p(3, 3, 0.25) == pytest.approx(0.25**3)


def test_fisher_is_the_lady_tasting_tea() -> None:
    assert fisher_p(4, 4, 0, 4) == pytest.approx(2 / 70)
    assert fisher_p(3, 4, 1, 4) == pytest.approx(34 / 70)


def test_fisher_equals_enumeration() -> None:
    for with_a in range(4):
        for with_b in range(6):
            total = with_a + with_b
            chances = {
                k: math.comb(3, k) * math.comb(5, total - k) / math.comb(8, total)
                for k in range(max(0, total - 5), min(3, total) + 1)
            }
            expected = sum(p for p in chances.values() if p <= chances[with_a] * (1 + 1e-9))
            assert fisher_p(with_a, 3, with_b, 5) == pytest.approx(expected)


def test_one_session_with_many_events_is_no_evidence() -> None:
    events = [0.0] * 10 + [12.0] + [0.0] * 9
    found = compare_rare(events, [50.0] * 20, [False] * 10 + [True] * 10)
    assert binomial_p(12, 12, 0.5) < 0.001
    assert found.p == pytest.approx(1.0)


def test_many_sessions_with_an_event_are_evidence() -> None:
    found = compare_rare([0.0] * 12 + [2.0] * 12, [50.0] * 24, [False] * 12 + [True] * 12)
    assert found.p < 0.001
    assert found.least_p <= found.p


def test_nothing_seen_says_nothing() -> None:
    assert compare_rare([0.0] * 4, [1.0] * 4, [False, False, True, True]).least_p == 1.0


def test_tarone_leaves_out_what_cannot_be_significant() -> None:
    assert can_be_tested([0.5, 0.001, 0.02, 1.0]) == [False, True, True, False]
    assert can_be_tested([0.5, 1.0]) == [False, False]
    assert can_be_tested([]) == []


def test_false_discoveries() -> None:
    assert false_discoveries([0.01, 0.04, 0.03, 0.5]) == pytest.approx([0.04, 0.04 * 4 / 3, 0.04 * 4 / 3, 0.5])
    assert false_discoveries([]) == []
