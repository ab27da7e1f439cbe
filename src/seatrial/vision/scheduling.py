"""Many requests through one model: whoever waits for an answer computes for all.

Requests wait in a bounded queue, first come, first served.  One at a time is begun (its pictures are looked
at, its prompt goes through the text tower in chunks); between tiles and between chunks every answer already
begun gets its next token.  There is no thread of our own: the lock goes to one of the callers that wait, it
makes a step, and pieces of text go to the answers they belong to.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence

import numpy as np

from seatrial.errors import BusyError, CapacityError, ComputeError
from seatrial.vision import decoder as text_tower
from seatrial.vision.answers import AnswerState
from seatrial.vision.checkpoint import Model
from seatrial.vision.generation import first_bad_seam, prompt_embeddings, start_answer
from seatrial.vision.kv import pages_for
from seatrial.vision.ops.protocol import Array
from seatrial.vision.prefixes import signature_of
from seatrial.vision.prompt import Prompt
from seatrial.vision.sampling import Decoding
from seatrial.vision.speculation import Draft
from seatrial.vision.tower import Observe, Progress

MAX_ACTIVE = 32
MAX_WAITING = 64
_CHUNK = 256
"""Rows of a prompt between two tokens of the others."""


class Scheduler:
    """Answers requests on `model`: at most `max_active` at a time, at most `max_waiting` more in the queue."""

    def __init__(self, model: Model, *, max_active: int = MAX_ACTIVE, max_waiting: int = MAX_WAITING) -> None:
        self._model = model
        self._max_active = max_active
        self._max_waiting = max_waiting
        self._waiting: deque[AnswerState] = deque()
        self._active: list[AnswerState] = []
        self._compute = threading.Lock()
        self._queue = threading.Lock()

    def submit(
        self,
        prompt: Prompt,
        decoding: Decoding,
        *,
        index: int = 0,
        observe: Observe | None = None,
        progress: Progress | None = None,
        draft: Draft | None = None,
    ) -> AnswerState:
        """Queue a request.  Raises BusyError when the queue is full, and what `start_answer` raises."""
        state = start_answer(
            self._model, prompt, decoding, index=index, observe=observe, progress=progress, draft=draft
        )
        with self._queue:
            if len(self._waiting) >= self._max_waiting:
                raise BusyError(
                    f"{len(self._waiting)} requests are waiting, which is the most that are kept.",
                    hint="Try again when some are answered.",
                    waiting=len(self._waiting),
                )
            self._waiting.append(state)
        return state

    def pieces(self, state: AnswerState) -> Iterator[str]:
        """Yield the texts of `state` as they are made, one per token; its error is raised where it happened.

        A reader that stops early takes the request back.
        """
        try:
            while True:
                while state.pieces:
                    yield state.pieces.pop(0)
                if state.error:
                    raise state.error
                if state.is_over:
                    return
                with self._compute:
                    if not (state.pieces or state.is_over):
                        self._step()
        finally:
            self._withdraw(state)

    def batch(self, prompts: Sequence[Prompt], decoding: Decoding) -> list[AnswerState]:
        """Answer `prompts` together and return them finished.  The batch counts as one request in the queue."""
        states: list[AnswerState] = []
        try:
            for index, prompt in enumerate(prompts):
                while states and len(self._waiting) >= self._max_waiting:
                    with self._compute:
                        self._step()
                states.append(self.submit(prompt, decoding, index=index))
            for state in states:
                for _ in self.pieces(state):
                    pass
        finally:
            for state in states:
                self._withdraw(state)
        return states

    def _withdraw(self, state: AnswerState) -> None:
        """Take back a request that is not over."""
        with self._queue:
            if state in self._waiting:
                self._waiting.remove(state)
        if not state.is_over:
            with self._compute:
                if not state.is_over:
                    state.finish_reason = "cancelled"
                    self._retire()

    # ---- under the compute lock ------------------------------------------------------------------------------

    def _step(self) -> None:
        """Begin the next request if there is room, then make a token of every answer begun."""
        state = self._admit()
        if state is not None:
            try:
                self._begin(state)
            except Exception as problem:
                state.error = problem
            except BaseException:  # the user's interrupt ends this request, not the others
                state.finish_reason = "cancelled"
                raise
            finally:
                self._retire()
        self._decode()

    def _admit(self) -> AnswerState | None:
        with self._queue:
            if not self._waiting or len(self._active) >= self._max_active:
                return None
            state = self._waiting[0]
            held = {page for other in self._active for page in other.cache.pages}
            promised = sum(_pages_of(other) - len(other.cache.pages) for other in self._active)
            if self._active and len(held) + promised + _pages_of(state) > self._model.pool.pages:
                return None
            return self._waiting.popleft()

    def _begin(self, state: AnswerState) -> None:
        """Look at the pictures and run the prompt; make the first token."""
        model, config = self._model, self._model.processor.config
        began = time.perf_counter()
        state.timings.waiting = began - state.submitted
        if model.prefixes.memory_limit and not state.observe:
            state.signature = signature_of(state.prompt, config.image_token_id, config.tokens_per_tile)
            known = model.prefixes.start(state.signature, model.pool)
            if known:
                state.cache, state.cached_tokens = known, known.length
        self._active.append(state)

        def between(done: int, total: int) -> None:
            if state.progress:
                state.progress(done, total)
            self._decode(but=state)

        x_SC, state.cached_tiles = prompt_embeddings(model, state.prompt, state.cached_tokens, state.observe, between)
        seen = time.perf_counter()
        scores = self._prefill(state, x_SC)
        done = time.perf_counter()
        state.timings.vision, state.timings.prefill = seen - began, done - seen
        state.timings.first_token = done - began
        self._accept(state, scores)
        if state.error is None:
            self._keep(state)  # the next prompt may begin the same

    def _prefill(self, state: AnswerState, x_SC: Array) -> Array:
        """Run the prompt's rows, in chunks while others are being answered; return the scores after the last."""
        model = self._model
        most = model.plan.prefill_rows if model.plan else len(x_SC)
        start = 0
        while start < len(x_SC):
            alone = not any(not other.is_over for other in self._active if other is not state)
            part = x_SC[start : start + (most if alone else _CHUNK)]
            hidden = text_tower.forward(model.decoder, part, [(state.cache, len(part))], model.ops, state.observe)
            start += len(part)
            if start < len(x_SC):
                self._decode(but=state)
        scores: Array = text_tower.logits(model.decoder, np.ascontiguousarray(hidden[-1:]), model.ops)[0]
        return scores

    def _decode(self, but: AnswerState | None = None) -> None:
        """Make the next token of every answer begun (more where guesses are right), in one pass."""
        # Neighbours that share pages have them read once.
        active = sorted(
            (state for state in self._active if state is not but and not state.is_over),
            key=lambda state: state.cache.pages[0],
        )
        if not active:
            return
        began = time.perf_counter()
        guesses = [_guess(state) for state in active]
        drafted = time.perf_counter()
        rows = [[state.tokens[-1], *guess] for state, guess in zip(active, guesses, strict=True)]
        x_RC = text_tower.embed(self._model.decoder, [token for row in rows for token in row])
        sequences = [(state.cache, len(row)) for state, row in zip(active, rows, strict=True)]
        hidden = text_tower.forward(self._model.decoder, x_RC, sequences, self._model.ops)
        scores = text_tower.logits(self._model.decoder, hidden, self._model.ops)
        passed = time.perf_counter() - drafted
        start = 0
        for state, guess in zip(active, guesses, strict=True):
            accepted = self._check(state, guess, scores[start : start + 1 + len(guess)])
            start += 1 + len(guess)
            if guess and state.draft:
                state.draft.judge(len(guess), accepted, passed)
        spent = time.perf_counter() - began
        for state in active:
            state.timings.decode += spent
            state.timings.decode_tokens_per_second = (len(state.tokens) - 1) / state.timings.decode
        self._retire()

    def _check(self, state: AnswerState, guess: list[int], scores: Array) -> int:
        """Choose tokens by `scores` [1 + guessed, vocabulary] as long as the guess was right; return how long."""
        accepted = 0
        for row, guessed in zip(scores, [*guess, None], strict=True):
            token = self._accept(state, row)
            if state.is_over or token != guessed:
                break
            accepted += 1
        state.drafted_tokens += accepted
        state.cache.cut(len(state.prompt.ids) + max(len(state.tokens) - 1, 0))
        return accepted

    def _accept(self, state: AnswerState, scores: Array) -> int | None:
        try:
            return state.accept(self._model, scores)
        except ComputeError as problem:
            where = first_bad_seam(self._model, state.prompt)
            state.error = ComputeError(
                f"The model's scores are not numbers; the first values that are none come out of {where}."
                if where
                else problem.message,
                hint=problem.hint,
            )
            return None

    def _retire(self) -> None:
        """Give back what finished answers hold; later prompts that begin like them may use it."""
        for state in [state for state in self._active if state.is_over]:
            self._active.remove(state)
            if state.error is None:
                self._keep(state)
            state.cache.release()
            if state.draft:
                state.draft.close()

    def _keep(self, state: AnswerState) -> None:
        if state.signature is not None and state.cache.length:
            whole = np.concatenate([state.signature, np.asarray(state.tokens, np.int64)])
            self._model.prefixes.keep(whole[: state.cache.length], state.cache)


def _pages_of(state: AnswerState) -> int:
    """Pages that the whole answer may need."""
    return pages_for(len(state.prompt.ids) + state.limit)


def _guess(state: AnswerState) -> list[int]:
    """Return the next tokens that the draft expects, no more than may still come."""
    room = state.limit - len(state.tokens) - 1
    if state.draft is None or room < 1:
        return []
    try:
        return state.draft.propose(state.prompt.ids + state.tokens)[:room]
    except CapacityError:  # the draft model has no room; a guess is never a reason to fail
        state.draft.close()
        state.draft = None
        return []
