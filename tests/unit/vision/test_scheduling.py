from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from seatrial.errors import BusyError, CapacityError, ComputeError
from seatrial.vision.checkpoint import Model, load_model
from seatrial.vision.engine import Engine, Reply
from seatrial.vision.kv import PagePool
from seatrial.vision.ops.protocol import PAGE_POSITIONS
from seatrial.vision.prefixes import PrefixCache
from seatrial.vision.sampling import Decoding
from seatrial.vision.scheduling import Scheduler
from tests.golden.cases import picture

DECODING = Decoding(max_new_tokens=10)


@pytest.fixture
def model(checkpoints: dict[str, Path]) -> Model:
    return load_model(checkpoints["like-256m"], "f32", prefixes=PrefixCache(1 << 26))


def test_200_at_once_are_answered_or_refused(model: Model) -> None:
    """The queue has a bound, what is over it is refused at once, and nothing is held afterwards."""
    engine = Engine(model, Scheduler(model, max_active=4, max_waiting=20))
    expected = engine.ask([], "Question 0?", decoding=DECODING).tokens
    gate = threading.Barrier(200)

    def ask(number: int) -> Reply | BusyError:
        gate.wait()
        try:
            return engine.ask([], f"Question {number % 2}?", decoding=DECODING)
        except BusyError as busy:
            return busy

    with ThreadPoolExecutor(200) as threads:
        results = list(threads.map(ask, range(200)))
    answered = [result for result in results if isinstance(result, Reply)]
    assert len(answered) >= 20
    assert all(r.tokens == expected for n, r in enumerate(results) if isinstance(r, Reply) and n % 2 == 0)
    refused = [result for result in results if isinstance(result, BusyError)]
    assert refused, "200 threads, 24 places"
    assert "20 requests are waiting" in refused[0].message
    while model.prefixes.give_up():
        pass
    assert model.pool.free == model.pool.pages


def test_a_stream_that_is_dropped_frees_its_place(model: Model) -> None:
    scheduler = Scheduler(model, max_active=1)
    engine = Engine(model, scheduler)
    stream = engine.stream(picture(40, 30), "What is this?", decoding=Decoding(max_new_tokens=200, temperature=5.0))
    next(stream)
    stream.close()
    while model.prefixes.give_up():
        pass
    assert model.pool.free == model.pool.pages
    assert engine.ask([], "Still there?", decoding=DECODING).tokens


def test_waiting_requests_can_be_taken_back(model: Model) -> None:
    scheduler = Scheduler(model, max_active=1, max_waiting=2)
    prompt = model.processor.question([], "Hello")
    first, second = (scheduler.submit(prompt, DECODING) for _ in range(2))
    with pytest.raises(BusyError):
        scheduler.submit(prompt, DECODING)
    scheduler.pieces(second).close()  # never begun: nothing to do
    for _ in scheduler.pieces(first):
        pass
    assert first.finish_reason in ("stop", "length")


def test_answers_go_on_while_a_long_prompt_is_read(model: Model) -> None:
    """Between the tiles of the second request the first gets tokens."""
    scheduler = Scheduler(model)
    long = Decoding(max_new_tokens=60, temperature=5.0, seed=1, speculate=False)
    first = scheduler.submit(model.processor.question([], "Tell me"), long)
    steps = scheduler.pieces(first)
    next(steps)
    made: list[int] = []
    second = scheduler.submit(
        model.processor.question(picture(40, 30), "What?"),
        DECODING,
        progress=lambda _done, _total: made.append(len(first.tokens)),
    )
    for _ in scheduler.pieces(second):
        pass
    assert made == sorted(made)
    assert made[-1] > made[0]
    steps.close()


def test_requests_wait_for_room_instead_of_failing(model: Model) -> None:
    """Twelve prompts in a pool that holds two of them at a time."""
    prompts = [model.processor.question([], f"Tell me about boat number {n}") for n in range(12)]
    expected = [reply.tokens for reply in Engine(model).answer(prompts, DECODING)]
    needed = -(-(len(prompts[0].ids) + 12) // PAGE_POSITIONS)
    pool = PagePool(model.decoder.config, model.ops, "f32", 2 * needed * PAGE_POSITIONS)
    tight = replace(model, pool=pool, prefixes=PrefixCache(0))
    assert [reply.tokens for reply in Engine(tight).answer(prompts, DECODING)] == expected
    with pytest.raises(CapacityError, match=r"need 2,0\d\d positions; there is room for"):
        Engine(tight).ask([], "Hello", decoding=Decoding(max_new_tokens=2000))


def test_kept_pages_make_way(model: Model) -> None:
    pool = PagePool(model.decoder.config, model.ops, "f32", 4 * PAGE_POSITIONS)
    tight = replace(model, pool=pool)
    pool.make_room = tight.prefixes.give_up
    for number in range(6):
        Engine(tight).ask([], f"{number} is a number; is it prime?", decoding=DECODING)
    assert pool.free < 4


def test_values_that_are_none_are_named_and_hurt_nobody_else(model: Model) -> None:
    norm = model.decoder.layers[1].norm2.copy()
    norm[3] = np.nan
    layers = (model.decoder.layers[0], replace(model.decoder.layers[1], norm2=norm), *model.decoder.layers[2:])
    broken = replace(model, decoder=replace(model.decoder, layers=layers))
    with pytest.raises(ComputeError, match=r"come out of text\.layers\.1\."):
        Engine(broken).ask([], "Hi")
    assert model.pool.free == model.pool.pages


# ---- speculation -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [0.0, 0.3, 1.0])
def test_guesses_change_nothing(model: Model, temperature: float) -> None:
    """Random weights repeat themselves when greedy, so that guesses are right, and seldom when sampled."""
    engine = Engine(model)
    decoding = Decoding(max_new_tokens=60, temperature=temperature, seed=7, logprobs=True)
    guessed = [engine.ask([], f"Say it again {n}", decoding=decoding) for n in range(4)]
    plain = [engine.ask([], f"Say it again {n}", decoding=replace(decoding, speculate=False)) for n in range(4)]
    assert [reply.tokens for reply in guessed] == [reply.tokens for reply in plain]
    for one, other in zip(guessed, plain, strict=True):
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)
    assert all(reply.drafted_tokens == 0 for reply in plain)
    if temperature == 0:
        assert sum(reply.drafted_tokens for reply in guessed) > 20


def test_stop_strings_end_guesses_too(model: Model) -> None:
    engine = Engine(model)
    whole = engine.ask([], "Say it again", decoding=Decoding(max_new_tokens=60, speculate=False)).text
    stop = whole[len(whole) // 2 :][:3]
    decoding = Decoding(max_new_tokens=60, stop=(stop,))
    assert engine.ask([], "Say it again", decoding=decoding).text == whole[: whole.index(stop)]


def test_batches_of_guessers_and_others(model: Model) -> None:
    prompts = [model.processor.question([], f"Say it again {n}") for n in range(5)]
    plain = Decoding(max_new_tokens=30, speculate=False)
    expected = [reply.tokens for reply in Engine(model).answer(prompts, plain)]
    assert [r.tokens for r in Engine(model).answer(prompts, replace(plain, speculate=True))] == expected


def test_time_in_the_queue_is_told(model: Model) -> None:
    scheduler = Scheduler(model, max_active=1)
    state = scheduler.submit(model.processor.question([], "Hello"), DECODING)
    time.sleep(0.05)
    for _ in scheduler.pieces(state):
        pass
    assert state.timings.waiting >= 0.05
