"""The engine: ask questions about pictures, documents and clips."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from seatrial.vision import hub
from seatrial.vision.answers import AnswerState, FinishReason, Timings
from seatrial.vision.checkpoint import Model, load_model
from seatrial.vision.drafting import ModelDraft, check_draft
from seatrial.vision.features import FeatureCache
from seatrial.vision.inspection import count_parameters
from seatrial.vision.memory import MemoryPlan, available_memory, parse_bytes, plan_memory
from seatrial.vision.ops import select
from seatrial.vision.ops.protocol import KvPrecision
from seatrial.vision.packed import PackedCache
from seatrial.vision.pictures import Source
from seatrial.vision.precision import resolve_precision
from seatrial.vision.prefixes import PrefixCache
from seatrial.vision.processor import Processor, Reading
from seatrial.vision.prompt import Prompt
from seatrial.vision.sampling import Decoding
from seatrial.vision.scheduling import Scheduler
from seatrial.vision.tower import Progress

SURE = 0.5
"""Probability that every token of an answer must have for a coarse look to be enough; see docs/experiments.md."""


@dataclass(frozen=True)
class Reply:
    """An answer.

    `tokens` are the ids made, the end token included; `grids` (rows, cols) per picture, (0, 0) for one
    tile, (frames, 1) for a clip; `tiles` how many the prompt holds, `cached_tiles` how many of them cost no
    vision (seen before, or twice in this prompt); `cached_tokens` how many positions of the prompt were
    taken from an earlier one that began the same; `drafted_tokens` how many tokens of the answer had been
    guessed right; `coarse_tiles` how many tiles were looked at before, with detail "auto", when the model was not
    sure; `logprobs` natural logarithms per token, when asked for; `finish_reason` is "stop" or "length".
    """

    text: str
    tokens: list[int]
    prompt_tokens: int
    grids: list[tuple[int, int]]
    tiles: int
    finish_reason: FinishReason
    timings: Timings
    cached_tiles: int = 0
    cached_tokens: int = 0
    drafted_tokens: int = 0
    coarse_tiles: int = 0
    logprobs: list[float] | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the reply ready for JSON; times are seconds."""
        return asdict(self)


class Engine:
    """A loaded model; make one with `seatrial.vision.open`.

    Threads may share it: their requests are answered together.  Beside the errors named below, every request
    may meet BusyError, when too many are waiting.
    """

    def __init__(self, model: Model, scheduler: Scheduler | None = None, draft: Engine | None = None) -> None:
        """Answer on `model`; `draft` is a smaller model of the family that guesses tokens for `ask` and `stream`.

        Raises SettingError when the two have different vocabularies.
        """
        if draft:
            check_draft(model, draft.model)
        self.model: Model = model
        self._scheduler = scheduler or Scheduler(model)
        self._draft = draft

    @classmethod
    def load(
        cls,
        processor: Processor,
        precision: str = "auto",
        features: FeatureCache | None = None,
        prefixes: PrefixCache | None = None,
        packed: PackedCache | None = None,
        memory: int | None = None,
        positions: int = 2048,
        kv: KvPrecision = "same",
    ) -> Engine:
        """Load the weights that belong to `processor`; ModelError and its children when they are damaged.

        `features` keeps what the tower saw (default: 256 MiB in memory, nothing on disk), `prefixes` keys
        and values of prompts (default: 512 MiB), `packed` packed weights (default: 16 GiB in the cache folder).
        `memory` is how many bytes the process may use: precision ("auto" only), caches and room for keys and
        values are chosen to fit.  Raises CapacityError, before anything is loaded, when `positions` (of a prompt
        and its answer) cannot be served within `memory`, or within what the machine or cgroup has left.
        `kv` "int8" keeps keys and values in half of bfloat16's memory.
        """
        plan = _fit(processor, precision, memory, positions, kv)
        features = features or FeatureCache(memory_limit=1 << 28, disk_limit=0)
        if memory is not None:
            features.memory_limit = min(features.memory_limit, plan.features)
        model = load_model(
            processor,
            precision,
            features=features,
            prefixes=prefixes or PrefixCache(memory_limit=1 << 29),
            packed=packed or PackedCache(),
            plan=None if memory is None else plan,
            kv=kv,
        )
        return cls(model)

    def ask(
        self,
        sources: Source | Sequence[Source],
        question: str,
        *,
        system: str | None = None,
        decoding: Decoding | None = None,
    ) -> Reply:
        """Answer `question` about `sources`: paths, file URLs, bytes, PIL images, uint8 arrays; in order.

        With detail "auto" the pictures are looked at again in "high" where the model was not sure of a token.
        Raises InputFileError and its children for files, ContextOverflowError when they are too many.
        """
        processor, decoding = self.model.processor, decoding or Decoding()
        prompt = processor.question(sources, question, system=system)
        if self._draft:
            pieces = self.stream_prompt(
                prompt, decoding, draft=self._draft.model.processor.question(sources, question, system=system)
            )
            return _last(pieces)
        if processor.reading.detail != "auto":
            return self.answer([prompt], decoding)[0]
        finer = processor.question(sources, question, system=system, detail="high")
        return self.answer_by_need(prompt, finer, decoding)

    def stream(
        self,
        sources: Source | Sequence[Source],
        question: str,
        *,
        system: str | None = None,
        decoding: Decoding | None = None,
    ) -> Iterator[str]:
        """Yield the answer as it is made, never half a character.  Same errors as `ask`."""
        own = self.model.processor.question(sources, question, system=system)
        draft = self._draft.model.processor.question(sources, question, system=system) if self._draft else None
        yield from self.stream_prompt(own, decoding, draft=draft)

    def chat(self, messages: Sequence[Mapping[str, Any]], *, decoding: Decoding | None = None) -> Reply:
        """Answer OpenAI-style `messages`; see `Processor.chat` for the parts they may have."""
        return self.answer([self.model.processor.chat(messages)], decoding)[0]

    def ask_many(
        self, sources: Source | Sequence[Source], questions: Sequence[str], *, decoding: Decoding | None = None
    ) -> list[Reply]:
        """Answer several `questions` about the same `sources`: they are read and looked at once.

        The answers are made as one batch and are those that `ask` would give one by one.
        """
        return self.answer(self.model.processor.questions(sources, questions), decoding)

    def answer_by_need(self, prompt: Prompt, finer: Prompt, decoding: Decoding) -> Reply:
        """Answer `prompt`; where a token of it had less than SURE probability, answer `finer` instead."""
        if len(finer.tiles) <= len(prompt.tiles):
            return self.answer([prompt], decoding)[0]
        reply = self.answer([prompt], replace(decoding, logprobs=True))[0]
        if min(reply.logprobs or [0.0]) < math.log(SURE):
            return replace(self.answer([finer], decoding)[0], coarse_tiles=reply.tiles)
        return reply if decoding.logprobs else replace(reply, logprobs=None)

    def answer(self, prompts: Sequence[Prompt], decoding: Decoding | None = None) -> list[Reply]:
        """Answer several prepared prompts as one batch; the replies are in their order."""
        return [reply_of(state) for state in self._scheduler.batch(prompts, decoding or Decoding())]

    def stream_prompt(
        self,
        prompt: Prompt,
        decoding: Decoding | None = None,
        progress: Progress | None = None,
        *,
        draft: Prompt | None = None,
    ) -> Generator[str, None, Reply]:
        """Yield the answer to one prepared prompt piece by piece; the generator's value is the whole reply.

        `progress` is called with (tiles done, tiles in all) while the pictures are looked at; `draft` is the prompt
        of the same question for the draft model.
        """
        guesser = ModelDraft(self._draft.model, draft, len(prompt.ids)) if self._draft and draft else None
        state = self._scheduler.submit(prompt, decoding or Decoding(), progress=progress, draft=guesser)
        for piece in self._scheduler.pieces(state):
            if piece:
                yield piece
        return reply_of(state)


def _last(pieces: Generator[str, None, Reply]) -> Reply:
    """Run `pieces` to the end and return the reply."""
    while True:
        try:
            next(pieces)
        except StopIteration as finished:
            reply: Reply = finished.value
            return reply


def reply_of(state: AnswerState) -> Reply:
    """Return the finished answer in `state`."""
    assert state.finish_reason is not None
    return Reply(
        text=state.text.shown,
        tokens=state.tokens,
        prompt_tokens=len(state.prompt.ids),
        grids=state.prompt.grids,
        tiles=len(state.prompt.tiles),
        finish_reason=state.finish_reason,
        timings=state.timings,
        cached_tiles=state.cached_tiles,
        cached_tokens=state.cached_tokens,
        drafted_tokens=state.drafted_tokens,
        logprobs=state.logprobs or None,
    )


def open_engine(
    name: str | Path = "pico",
    *,
    precision: str = "auto",
    reading: Reading | None = None,
    features: FeatureCache | None = None,
    prefixes: PrefixCache | None = None,
    packed: PackedCache | None = None,
    memory: int | str | None = None,
    kv: KvPrecision = "same",
    mmproj: str | Path | None = None,
) -> Engine:
    """Load a model: `pico` (bundled), a folder, a GGUF file, or a hub id that was pulled.

    The caches, `kv` and `memory` (bytes, or text as "700MB") are as in `Engine.load`; `mmproj` names the picture
    tower's file of a GGUF model when it does not lie beside the text file.  Raises ModelError and its children when it
    is missing or damaged.
    """
    processor = Processor(hub.find(name), reading, mmproj=Path(mmproj) if mmproj else None)
    limit = parse_bytes(memory) if isinstance(memory, str) else memory
    return Engine.load(processor, precision, features, prefixes, packed, limit, kv=kv)


def _fit(processor: Processor, precision: str, memory: int | None, positions: int, kv: KvPrecision) -> MemoryPlan:
    """Return how the model fits into `memory`, or into what there is; CapacityError when it does not."""
    best = resolve_precision(precision, select())
    left = available_memory()
    limit = memory if memory is not None else left if left is not None else 2**63
    parameters = count_parameters(processor.files.weights())
    forced = precision != "auto" or memory is None
    positions = min(positions, processor.config.text.max_positions)
    return plan_memory(processor.config, parameters, limit, best=best, forced=forced, positions=positions, kv=kv)
