"""One request to a model under way: its answer passes through here on its way to the agent."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import replace
from datetime import UTC, datetime

from seatrial.agents.gateway.calls import Call
from seatrial.agents.gateway.dialects import GENERATE
from seatrial.agents.gateway.http import Headers
from seatrial.agents.gateway.recording import Body, Entry, Recorder
from seatrial.agents.gateway.records import Exchange, Usage
from seatrial.agents.gateway.redaction import Redactor
from seatrial.agents.gateway.usage import BYTES_PER_TOKEN, AnswerReader
from seatrial.prices import Price, Prices


def now() -> str:
    """Return the time as ISO 8601 in UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class Progress:
    """What is known of an exchange so far; `close` makes it an Exchange and records it.

    `sent` says whether the request may have reached the model: from then on it costs tokens, even when the agent
    leaves (`left`) before the answer begins.
    """

    def __init__(self, call: Call, prices: Prices, redactor: Redactor, recorder: Recorder | None) -> None:
        self.id = os.urandom(16).hex()
        self.call = call
        self.started = now()
        self.sent = False
        self.left = False
        self.status = 0
        self.whole = False
        self.error = ""
        self.first_byte: float | None = None
        self.replayed: Usage | None = None
        self._prices = prices
        self._redactor = redactor
        self._recorder = recorder
        self._headers: Headers = []
        self._reader: AnswerReader | None = None
        self._body: Body | None = recorder.body() if recorder else None
        self._broken_recording = ""

    def answer(self, status: int, headers: Headers) -> None:
        """Take the head of the answer, as the agent gets it."""
        self.status, self._headers = status, headers
        if self.call.kind != GENERATE:
            return
        kind = next((value for key, value in headers if key == "content-type"), "")
        self._reader = AnswerReader(self.call.provider.dialect, kind.startswith("text/event-stream"))

    def feed(self, piece: bytes) -> None:
        """Take a piece of the answer's body, as the agent gets it."""
        if self.first_byte is None:
            self.first_byte = time.monotonic()
        if self._reader is not None:
            self._reader.feed(piece)
        if self._body is not None:
            try:
                self._body.feed(piece)
            except OSError as problem:
                self._drop_recording(problem)

    async def close(self) -> Exchange:
        """Return the exchange, recorded where there is a recording.

        A recording that cannot be written (disk full) does not stop the agent: the exchange says so in `error`.
        """
        if self._reader is not None:
            self._reader.close()
        stop = self._reader.stop if self._reader and self.status < 400 else "error"
        error = self.error or (self._reader.error if self._reader else "")
        if not error and self.status >= 400:
            error = f"status {self.status}"
        exchange = Exchange(
            id=self.id,
            started=self.started,
            finished=now(),
            provider=self.call.provider.name,
            model=self._model(),
            path=self.call.path,
            status=self.status,
            usage=self._usage(),
            streamed=self.call.streamed,
            stop="error" if self.error and not stop else stop,
            tools=tuple(self._reader.tools) if self._reader else (),
            error=self._redactor.text(error),
        )
        recorded = ""
        if self._recorder is not None and self._body is not None:
            try:
                recorded = await asyncio.to_thread(self._record, self._recorder, self._body, exchange)
            except OSError as problem:
                self._drop_recording(problem)
        if self._broken_recording:
            exchange = replace(exchange, error=exchange.error or self._broken_recording)
        return replace(exchange, recorded=recorded)

    def _record(self, recorder: Recorder, body: Body, exchange: Exchange) -> str:
        call = self.call
        request = recorder.body()
        request.feed(self._redactor.whole(call.body))
        entry = Entry(
            id=exchange.id,
            started=exchange.started,
            finished=exchange.finished,
            provider=call.provider.name,
            dialect=call.provider.dialect,
            kind=call.kind,
            method=call.method,
            target=self._redactor.text(call.target),
            model=exchange.model,
            streamed=call.streamed,
            exact=call.exact(),
            stable=call.stable(),
            position=call.position(),
            request=request.keep(),
            status=self.status,
            headers=tuple(self._headers),
            response=body.keep(),
            complete=self.whole,
            usage=exchange.usage,
            stop=exchange.stop,
            tools=exchange.tools,
            error=exchange.error,
        )
        return recorder.add(entry)

    def _drop_recording(self, problem: OSError) -> None:
        self._broken_recording = f"not recorded: {problem.strerror or problem}"
        if self._body is not None:
            self._body.drop()
            self._body = None

    def _model(self) -> str:
        return (self._reader.model if self._reader else "") or self.call.model

    def _usage(self) -> Usage:
        if self.call.kind != GENERATE:
            return Usage()
        if self.replayed is not None:
            return replace(self.replayed, usd=0.0)
        if not self.sent or self.status >= 400 or (self.status == 0 and not self.left):
            return Usage(requests=1)
        hour = 0
        if self._reader is None:
            usage = Usage(input_tokens=len(self.call.body) // BYTES_PER_TOKEN, requests=1)
        else:
            usage = self._reader.usage(len(self.call.body), self.whole)
            hour = self._reader.cache_write_hour
        price: Price | None = self._prices.find(self._model()) or self._prices.find(self.call.model)
        return replace(usage, usd=None if price is None else price.of(usage, hour))
