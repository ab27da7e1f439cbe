from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from seatrial.errors import SettingError
from seatrial.vision.checkpoint import Model, load_model
from seatrial.vision.drafting import ModelDraft
from seatrial.vision.engine import Engine
from seatrial.vision.kv import PagePool
from seatrial.vision.sampling import Decoding
from seatrial.vision.speculation import PromptLookup
from tests.golden.cases import picture


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
    lookup.judge(4, 4, 1.0)
    assert len(lookup.propose(tokens)) == 8
    lookup.judge(8, 3, 1.0)
    assert len(lookup.propose(tokens)) == 8
    rests = []
    for _ in range(6):
        lookup.judge(4, 0, 1.0)
        rest = 0
        while not lookup.propose(tokens):
            rest += 1
        rests.append(rest)
    assert rests == [4, 8, 16, 32, 64, 64]
    lookup.judge(4, 4, 1.0)
    lookup.judge(4, 0, 1.0)
    assert lookup.propose(tokens) == []


def test_a_run_of_one_token_is_guessed_on() -> None:
    assert PromptLookup().propose([3, 7, 7, 7, 7]) == [7]


# ---- a model as the draft ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def models(checkpoints: dict[str, Path]) -> tuple[Model, Model]:
    """A model, and another of the same vocabulary that cuts pictures otherwise."""
    return load_model(checkpoints["like-2.2b"], "f32"), load_model(checkpoints["like-256m"], "f32")


@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_a_draft_model_changes_nothing(models: tuple[Model, Model], temperature: float) -> None:
    large, small = models
    decoding = Decoding(max_new_tokens=30, temperature=temperature, seed=3)
    expected = Engine(large).ask(picture(50, 40), "What?", decoding=replace(decoding, speculate=False))
    for helper in (small, large):
        engine = Engine(large, draft=Engine(helper))
        reply = engine.ask(picture(50, 40), "What?", decoding=decoding)
        assert reply.tokens == expected.tokens
        assert "".join(engine.stream(picture(50, 40), "What?", decoding=decoding)) == expected.text
    if temperature == 0:
        assert reply.drafted_tokens >= 20, "a model guesses its own greedy answer"
    assert large.pool.free == large.pool.pages
    assert small.pool.free == small.pool.pages


def test_a_draft_that_does_not_pay_is_switched_off(models: tuple[Model, Model]) -> None:
    small = models[1]
    prompt = small.processor.question([], "Hello")
    draft = ModelDraft(small, prompt, len(prompt.ids))
    tokens = [*prompt.ids, 5]
    guesses = 0
    while draft.propose(tokens):
        draft.judge(4, 0, 1e-9)
        guesses += 1
        tokens.append(6)
    assert guesses == 6
    assert small.pool.free == small.pool.pages


def test_another_vocabulary_is_refused(models: tuple[Model, Model], monkeypatch: pytest.MonkeyPatch) -> None:
    large, small = models
    config = small.processor.config
    monkeypatch.setattr(small.processor, "config", replace(config, text=replace(config.text, vocab_size=123)))
    with pytest.raises(SettingError, match="has another vocabulary"):
        Engine(large, draft=Engine(small))


def test_a_draft_without_room_is_left_out(models: tuple[Model, Model]) -> None:
    large, small = models
    tiny = replace(small, pool=PagePool(small.decoder.config, small.ops, "f32", 64))
    decoding = Decoding(max_new_tokens=10)
    reply = Engine(large, draft=Engine(tiny)).ask(picture(50, 40), "What?", decoding=decoding)
    assert reply.tokens == Engine(large).ask(picture(50, 40), "What?", decoding=decoding).tokens
    assert tiny.pool.free == tiny.pool.pages
