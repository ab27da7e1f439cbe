from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from seatrial import vision
from seatrial.errors import ComputeError, ContextOverflowError
from seatrial.vision import decoder
from seatrial.vision.answers import StopAwareText
from seatrial.vision.checkpoint import Model, load_model
from seatrial.vision.engine import Engine
from seatrial.vision.generation import prompt_embeddings
from seatrial.vision.kv import KvCache
from seatrial.vision.ops import available, select
from seatrial.vision.sampling import Decoding
from tests.golden.cases import picture


@pytest.fixture(scope="module")
def engine(small: Model) -> Engine:
    return Engine(small)


def test_batch_equals_one_by_one(engine: Engine) -> None:
    question = engine.model.processor.question
    prompts = [
        question(picture(40, 30), "What?"),
        question([], "Hello"),
        question([picture(9, 90)] * 2, "Both?"),
    ]
    decoding = Decoding(max_new_tokens=12)
    together = [reply.tokens for reply in engine.answer(prompts, decoding)]
    alone = [engine.answer([prompt], decoding)[0].tokens for prompt in prompts]
    assert together == alone


@pytest.mark.parametrize("name", available())
def test_cache_equals_recomputing(name: str, checkpoints: dict[str, Path]) -> None:
    model = load_model(checkpoints["like-2.2b"], "f32", ops=select(name))
    prompt = model.processor.question([], "Count the boats in the yard")
    x, _ = prompt_embeddings(model, prompt)
    whole = decoder.forward(model.decoder, x, [(KvCache(model.pool), len(x))], model.ops)
    cache = KvCache(model.pool)
    parts = [x[:5], x[5:6], x[6:]]
    stepped = [decoder.forward(model.decoder, part, [(cache, len(part))], model.ops) for part in parts]
    assert np.abs(np.concatenate(stepped) - whole).max() < 1e-4


def test_threads_may_share_an_engine(engine: Engine) -> None:
    decoding = Decoding(max_new_tokens=12)
    questions = [f"Question {number}?" for number in range(8)]
    alone = [engine.ask(picture(40, 30), question, decoding=decoding).tokens for question in questions]
    with ThreadPoolExecutor(4) as pool:
        together = pool.map(lambda q: engine.ask(picture(40, 30), q, decoding=decoding).tokens, questions)
    assert list(together) == alone


def test_stream_joins_to_the_answer(engine: Engine) -> None:
    decoding = Decoding(max_new_tokens=30, temperature=1.5, seed=3)
    reply = engine.ask(picture(40, 30), "What?", decoding=decoding)
    assert "".join(engine.stream(picture(40, 30), "What?", decoding=decoding)) == reply.text


def test_same_seed_same_answer(engine: Engine) -> None:
    answers = {
        engine.ask([], "Hi", decoding=Decoding(max_new_tokens=20, temperature=2.0, seed=seed)).text
        for seed in (1, 1, 1, 2, 3)
    }
    assert len(answers) == 3


def test_characters_are_never_split(small: Model) -> None:
    tokenizer = small.processor.tokenizer
    text = "naïve € 日本語 🙂 done"
    shown = StopAwareText(small, ())
    pieces = [shown.push(token) for token in tokenizer.encode([(text, False)])]
    assert all("\ufffd" not in piece for piece in pieces)
    assert "".join(pieces) + shown.finish() == text


def test_half_a_character_at_the_end_is_marked(small: Model) -> None:
    ids = small.processor.tokenizer.encode([("a🙂", False)])
    shown = StopAwareText(small, ())
    pieces = [shown.push(token) for token in ids[:-1]]
    assert "".join(pieces) == "a"
    assert "\ufffd" in shown.finish()


@pytest.mark.parametrize(
    ("stop", "expected"),
    [
        (("lo w",), "hel"),
        (("zzz",), "hello world"),
        (("world!",), "hello world"),
        (("o", "l"), "he"),
        (("h",), ""),
    ],
)
def test_stop_strings_are_never_shown(small: Model, stop: tuple[str, ...], expected: str) -> None:
    shown = StopAwareText(small, stop)
    out = ""
    for token in small.processor.tokenizer.encode([(" hello world", False)]):
        out += shown.push(token)
        if shown.stopped:
            break
    assert out + shown.finish() == expected
    assert shown.stopped == (expected != "hello world")


def test_length_and_logprobs(engine: Engine) -> None:
    reply = engine.ask([], "Hi", decoding=Decoding(max_new_tokens=3, logprobs=True))
    assert reply.finish_reason in ("length", "stop")
    assert reply.logprobs is not None
    assert len(reply.logprobs) == len(reply.tokens) <= 3
    assert all(value <= 0 for value in reply.logprobs)


def test_too_long_a_prompt_is_refused_with_numbers(small: Model) -> None:
    config = small.processor.config
    processor = small.processor
    original = processor.config
    processor.config = replace(config, text=replace(config.text, max_positions=64))
    try:
        with pytest.raises(ContextOverflowError, match=r"has 1\d\d tokens \(13 tiles\); the model's context holds 64"):
            Engine(small).ask(picture(40, 30), "What?")
    finally:
        processor.config = original


def test_answers_end_at_the_context(small: Model) -> None:
    processor = small.processor
    original = processor.config
    length = len(processor.question([], "Hi").ids)
    processor.config = replace(original, text=replace(original.text, max_positions=length + 2))
    try:
        reply = Engine(small).ask([], "Hi", decoding=Decoding(max_new_tokens=50, temperature=3.0, seed=1))
        assert len(reply.tokens) <= 2
    finally:
        processor.config = original


def test_numbers_that_are_none_are_an_error(small: Model) -> None:
    broken = replace(small, decoder=replace(small.decoder, norm=np.full_like(small.decoder.norm, np.nan)))
    with pytest.raises(ComputeError):
        Engine(broken).ask([], "Hi")


def test_facade(checkpoints: dict[str, Path]) -> None:
    engine = vision.open(checkpoints["odd"], precision="f32")
    reply = engine.chat([{"role": "user", "content": [{"type": "image", "image": picture(30, 30)}]}])
    assert reply.tiles == 17
    assert reply.grids == [(4, 4)]
    assert reply.as_dict()["timings"]["first_token"] > 0
