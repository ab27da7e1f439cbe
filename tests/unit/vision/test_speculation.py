from __future__ import annotations

from seatrial.vision.speculation import PromptLookup


def test_what_followed_before_is_guessed() -> None:
    assert PromptLookup().propose([1, 2, 3, 4, 5, 6, 7, 1, 2]) == [3, 4, 5, 6]
    assert PromptLookup().propose([1, 2, 3, 9, 1, 2, 4, 8, 1, 2]) == [4, 8, 1, 2]  # the latest place
    assert PromptLookup().propose([5, 1, 2, 7, 7, 6, 1, 2, 8, 8, 5, 1, 2]) == [7, 7, 6, 1]  # the longest match


def test_nothing_known_is_no_guess() -> None:
    for tokens in ([], [1], [1, 2], [1, 2, 3, 4], [1, 2, 3, 1]):
        assert PromptLookup().propose(tokens) == []


def test_right_guesses_grow_and_wrong_ones_rest() -> None:
    tokens = [1, 2, *range(10, 30), 1, 2]
    lookup = PromptLookup()
    lookup.judge(4, 4)
    assert len(lookup.propose(tokens)) == 8
    lookup.judge(8, 3)
    assert len(lookup.propose(tokens)) == 8
    rests = []
    for _ in range(6):
        lookup.judge(4, 0)
        rest = 0
        while not lookup.propose(tokens):
            rest += 1
        rests.append(rest)
    assert rests == [4, 8, 16, 32, 64, 64]
    lookup.judge(4, 4)
    lookup.judge(4, 0)
    assert lookup.propose(tokens) == []


def test_a_run_of_one_token_is_guessed_on() -> None:
    assert PromptLookup().propose([3, 7, 7, 7, 7]) == [7]
