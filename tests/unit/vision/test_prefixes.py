from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from seatrial.vision.checkpoint import Model, load_model
from seatrial.vision.engine import Engine
from seatrial.vision.kv import KvCache
from seatrial.vision.ops import available, select
from seatrial.vision.prefixes import PrefixCache, signature_of
from seatrial.vision.sampling import Decoding
from seatrial.vision.scheduling import Scheduler
from tests.golden.cases import picture

DECODING = Decoding(max_new_tokens=12, logprobs=True)
QUESTIONS = ["What is it?", "What is it made of?", "", "What is it?", "Who wrote this, and when was it written?"]


@pytest.fixture(params=available())
def pair(request: pytest.FixtureRequest, checkpoints: dict[str, Path]) -> tuple[Engine, Engine]:
    """The same model without and with memory."""
    folder, ops = checkpoints["like-256m"], select(request.param)
    fresh = load_model(folder, "f32", ops=ops)
    keeping = load_model(folder, "f32", ops=ops, prefixes=PrefixCache(1 << 28))
    return Engine(fresh), Engine(keeping)


def test_a_second_question_gives_the_same_answer(pair: tuple[Engine, Engine]) -> None:
    fresh, keeping = pair
    for question in QUESTIONS:
        expected = fresh.ask(picture(50, 40), question, decoding=DECODING)
        reply = keeping.ask(picture(50, 40), question, decoding=DECODING)
        assert reply.tokens == expected.tokens
        assert np.allclose(reply.logprobs, expected.logprobs, atol=1e-4)
    assert reply.cached_tokens > 50
    assert reply.cached_tiles == reply.tiles


def test_many_questions_are_those_asked_one_by_one(pair: tuple[Engine, Engine]) -> None:
    fresh, keeping = pair
    expected = [fresh.ask(picture(50, 40), question, decoding=DECODING).tokens for question in QUESTIONS]
    replies = keeping.ask_many(picture(50, 40), QUESTIONS, decoding=DECODING)
    assert [reply.tokens for reply in replies] == expected
    assert [reply.cached_tokens > 0 for reply in replies] == [False, True, True, True, True]


def test_a_next_turn_goes_on_from_the_last(pair: tuple[Engine, Engine]) -> None:
    fresh, keeping = pair
    talk = [{"role": "user", "content": [{"type": "image", "image": picture(50, 40)}, {"type": "text", "text": "Hm?"}]}]
    first = keeping.chat(talk, decoding=DECODING)
    talk += [{"role": "assistant", "content": f" {first.text}"}, {"role": "user", "content": "Why?"}]
    reply, expected = keeping.chat(talk, decoding=DECODING), fresh.chat(talk, decoding=DECODING)
    assert reply.tokens == expected.tokens
    assert reply.cached_tokens >= first.prompt_tokens - 1


def test_other_pictures_share_only_what_comes_before(small: Model) -> None:
    config = small.processor.config
    one, other = (small.processor.question(picture(50, 40, seed), "?") for seed in (1, 2))
    assert one.ids == other.ids
    signatures = [signature_of(p, config.image_token_id, config.tokens_per_tile) for p in (one, other)]
    first_picture_token = one.ids.index(config.image_token_id)
    assert int(np.flatnonzero(signatures[0] != signatures[1])[0]) == first_picture_token


def test_a_prefix_may_end_inside_a_tile(checkpoints: dict[str, Path]) -> None:
    """Half of the keys and values are taken over; the rest equals a fresh run."""
    model = load_model(checkpoints["like-2.2b"], "f32", prefixes=PrefixCache(1 << 28))
    prompt = model.processor.question(picture(50, 40), "Well?")
    config = model.processor.config
    signature = signature_of(prompt, config.image_token_id, config.tokens_per_tile)
    (expected,) = Engine(load_model(checkpoints["like-2.2b"], "f32")).answer([prompt], DECODING)
    Engine(model).answer([prompt], DECODING)
    signature = np.concatenate([signature[:200], signature[:5]])
    ((_, held),) = model.prefixes._entries.values()
    shorter = held.hold(200)
    model.prefixes.give_up()
    model.prefixes.keep(signature[:200], shorter)
    (reply,) = Engine(model).answer([prompt], DECODING)
    assert reply.cached_tokens == 200
    assert reply.tokens == expected.tokens


def test_memory_limit(small: Model) -> None:
    def sequence(positions: int) -> KvCache:
        cache = KvCache(small.pool)
        cache.reserve(positions)
        cache.advance(positions)
        return cache

    prefixes, free = PrefixCache(4 * small.pool.page_nbytes), small.pool.free
    for start in range(4):
        cache = sequence(100)
        prefixes.keep(np.arange(start * 1000, start * 1000 + 100), cache)
        cache.release()
    assert len(prefixes._entries) == 2
    assert small.pool.free == free - 4
    large = sequence(1000)
    prefixes.keep(np.arange(5000, 6000), large)  # more than the limit: not kept
    assert prefixes.nbytes <= prefixes.memory_limit
    large.release()
    while prefixes.give_up():
        pass
    assert small.pool.free == free


def test_a_reader_that_stops_listening_leaves_a_usable_prefix(checkpoints: dict[str, Path]) -> None:
    model = load_model(checkpoints["like-256m"], "f32", prefixes=PrefixCache(1 << 28))
    prompt = model.processor.question([], "Tell me a long story about ships")
    scheduler = Scheduler(model)
    pieces = scheduler.pieces(scheduler.submit(prompt, DECODING))
    next(pieces)
    pieces.close()
    (reply,) = Engine(model).answer([prompt], DECODING)
    (expected,) = Engine(load_model(checkpoints["like-256m"], "f32")).answer([prompt], DECODING)
    assert reply.cached_tokens == len(prompt.ids) - 1
    assert reply.tokens == expected.tokens
