"""The reverse proxy: requests to model APIs, with the real key, within the budget, recorded or replayed."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import urlsplit

from seatrial.agents.gateway.budget import Exceeded, Meter
from seatrial.agents.gateway.calls import Call, offers_tools, read_call
from seatrial.agents.gateway.decoding import Decoder
from seatrial.agents.gateway.dialects import CREDENTIAL_HEADERS, DIALECTS, GENERATE, refusal
from seatrial.agents.gateway.exchange import Progress
from seatrial.agents.gateway.http import BadRequest, Headers, Request, ServerConnection, end_to_end
from seatrial.agents.gateway.recording import Recorder
from seatrial.agents.gateway.records import GatewayPolicy, Provider
from seatrial.agents.gateway.redaction import RedactingStream, Redactor
from seatrial.agents.gateway.replay import Replay
from seatrial.agents.gateway.upstream import Link, Origin, Pool, UpstreamFault
from seatrial.agents.gateway.usage import BYTES_PER_TOKEN
from seatrial.errors import RecordingError
from seatrial.prices import Prices

_NOT_SENT = CREDENTIAL_HEADERS | {"host", "content-length", "accept-encoding", "expect", "cookie", "forwarded"}
# Without its length an answer ends where the gateway says so, which it does once the exchange is durable.
_NOT_RETURNED = frozenset(
    {"set-cookie", "location", "alt-svc", "content-encoding", "content-length", "www-authenticate"}
)
_JSON = ("content-type", "application/json")
_EVENT_END = re.compile(rb"(?<=\n\n)|(?<=\n\r\n)")
_STOP = [("x-should-retry", "false")]


class ModelProxy:
    """Answers requests to `/PROVIDER/…`.

    The key goes to the provider's own origin and nowhere else: redirects are not followed, and are answered as an
    error.  What this does not protect: an answer's content is the provider's; and whoever controls `base_url` gets
    the key, which is why only the user's settings name it.
    """

    def __init__(
        self,
        policy: GatewayPolicy,
        meter: Meter,
        pool: Pool,
        prices: Prices,
        emit: Callable[[str, dict[str, Any]], None],
        recorder: Recorder | None,
        replay: Replay | None,
    ) -> None:
        self._policy = policy
        self._meter = meter
        self._pool = pool
        self._prices = prices
        self._emit = emit
        self._recorder = recorder
        self._replay = replay
        self._redactor = Redactor(provider.key for provider in policy.providers)
        self._providers = {provider.name: provider for provider in policy.providers}
        self._origins = {provider.name: _origin(provider) for provider in policy.providers}

    @property
    def names(self) -> list[str]:
        """The names of the providers."""
        return list(self._providers)

    def provider(self, target: str) -> tuple[Provider, str] | None:
        """Return the provider that `target` is for, and the rest of the target."""
        name, slash, rest = target.removeprefix("/").partition("/")
        provider = self._providers.get(name)
        return (provider, slash + rest) if provider is not None and slash else None

    async def handle(self, connection: ServerConnection, request: Request, provider: Provider, target: str) -> None:
        """Answer `request` for `target`, a path and query below the provider's name."""
        dialect = DIALECTS[provider.dialect]
        kind = dialect.kind(request.method, target.partition("?")[0])
        if "websocket" in request.header("upgrade").lower():
            message = "WebSockets are not available through Seatrial's gateway; use plain HTTP with streaming."
            return await self._refuse(connection, provider, "upgrade", message)
        if kind is None:
            path = self._redactor.text(target.partition("?")[0])[:200]
            message = f"{request.method} {path} is not let through by Seatrial's gateway: only paths for talking are."
            self._emit("denied", {"host": provider.name, "reason": message})
            return await self._refuse(connection, provider, "denied", message)
        if request.header("content-encoding") not in ("", "identity"):
            return await self._refuse(connection, provider, "encoding", "Send the request's body uncompressed.")
        try:
            call = read_call(provider, kind, request.method, target, await connection.body(self._policy.largest_body))
        except BadRequest as problem:
            if problem.status != 413:
                raise
            return await self._refuse(connection, provider, "too_large", problem.message)
        except ValueError as problem:
            return await self._refuse(connection, provider, "request", str(problem))
        await self._admit(connection, request, call)

    async def _admit(self, connection: ServerConnection, request: Request, call: Call) -> None:
        number: int | None = None
        if call.kind == GENERATE:
            tokens = len(call.body) // BYTES_PER_TOKEN
            price = self._prices.find(call.model)
            if price is None and self._meter.budget.usd is not None and self._replay is None:
                message = (
                    f"Seatrial: the price of {call.model[:100]} is not known, and a budget in USD is set. "
                    "Ask the user to name a price table that has it, or to use a budget of tokens."
                )
                facts = {"which": "usd", "limit": self._meter.budget.usd, "spent": None, "reason": message}
                self._emit("budget_exceeded", facts)
                return await self._refuse(connection, call.provider, "budget", message)
            admitted = await self._meter.admit(tokens, price.input * tokens / 1e6 if price else 0.0)
            if isinstance(admitted, Exceeded):
                facts = {"which": admitted.which, "limit": admitted.limit, "spent": admitted.spent}
                self._emit("budget_exceeded", facts)
                return await self._refuse(connection, call.provider, "budget", admitted.message)
            number = admitted
            offers = offers_tools(call.value)
            self._emit("request", {"provider": call.provider.name, "model": call.model, "offers_tools": offers})
        await self._run(connection, request, call, number)

    async def _run(self, connection: ServerConnection, request: Request, call: Call, number: int | None) -> None:
        progress = Progress(call, self._prices, self._redactor, self._recorder)
        try:
            if self._replay is not None:
                await self._from_recording(connection, call, progress, self._replay)
            else:
                await self._from_upstream(connection, request, call, progress)
        except UpstreamFault as fault:
            await self._fault(connection, progress, fault)
        except (ConnectionError, asyncio.CancelledError):
            progress.left = True
            progress.error = progress.error or "The agent left before the end of the answer."
            raise
        finally:
            await _to_its_end(self._settle(progress, number))
        if connection.answered and progress.whole:
            # The end of the answer is held back until the exchange is durable: what the agent saw end was counted.
            await connection.finish()
        else:
            connection.channel.abort()

    async def _settle(self, progress: Progress, number: int | None) -> None:
        facts: dict[str, Any] = {"id": progress.id, "stop": "error", "tools": (), "error": "not kept"}
        try:
            exchange = await progress.close()
            facts = {**vars(exchange), "usage": vars(exchange.usage)}
            self._meter.settle(number, exchange)
        except BaseException:
            self._meter.settle(number, None)
            raise
        finally:
            # Each `request` has its `response`, whatever happens: who counts what is under way relies on it.
            offers = offers_tools(progress.call.value)
            self._emit("response" if progress.call.kind == GENERATE else "lookup", {**facts, "offers_tools": offers})

    async def _from_upstream(
        self, connection: ServerConnection, request: Request, call: Call, progress: Progress
    ) -> None:
        origin, prefix = self._origins[call.provider.name]
        link = await self._pool.take(origin)
        try:
            progress.sent = True
            await link.request(call.method, prefix + call.target, self._headers(request, call, origin), call.body)
            await self._answer(connection, link, progress)
        except BaseException:
            link.channel.abort()
            raise
        self._pool.give(link)

    async def _answer(self, connection: ServerConnection, link: Link, progress: Progress) -> None:
        status, given = await link.response()
        headers = end_to_end(given)
        try:
            decoder = Decoder(next((value for key, value in headers if key == "content-encoding"), ""))
        except ValueError as problem:
            raise UpstreamFault(str(problem)) from problem
        if 300 <= status < 400 and status != 304:
            raise UpstreamFault(f"{link.origin.host} answered with a redirect ({status}), which is not followed.")
        headers = [(key, value) for key, value in headers if key not in _NOT_RETURNED]
        clean = self._redactor.headers(headers)
        echoed = clean is not headers
        progress.answer(status, clean)
        await connection.start(status, clean)
        stream = self._redactor.stream()
        try:
            while (piece := await link.piece()) is not None:
                for plain in decoder.feed(piece):
                    await self._pass(connection, progress, stream.feed(plain))
        except ValueError as problem:
            raise UpstreamFault(str(problem)) from problem
        await self._pass(connection, progress, stream.flush())
        progress.whole = True
        self._report_echo(progress, echoed, stream)

    def _report_echo(self, progress: Progress, echoed: bool, stream: RedactingStream) -> None:
        if echoed or stream.found:
            self._emit("key_echoed", {"provider": progress.call.provider.name, "path": progress.call.path})

    async def _pass(self, connection: ServerConnection, progress: Progress, piece: bytes) -> None:
        if not piece:
            return
        first = progress.first_byte is None
        try:
            await connection.send(piece)
        finally:
            # Counted even when the agent has just left: the model has said it.
            progress.feed(piece)
        if first and progress.call.kind == GENERATE:
            self._emit("first_byte", {"provider": progress.call.provider.name, "model": progress.call.model})

    async def _from_recording(
        self, connection: ServerConnection, call: Call, progress: Progress, replay: Replay
    ) -> None:
        try:
            entry, body, how = replay.answer(call)
        except RecordingError as problem:
            self._emit("replay_missing", {"provider": call.provider.name, "reason": problem.message})
            status, body = refusal(call.provider.dialect, "replay", f"Seatrial: {problem.message}")
            progress.error = problem.message
            return await self._give(connection, progress, status, [_JSON, *_STOP], body)
        self._emit("replayed", {"id": entry.id, "how": how})
        progress.replayed = entry.usage
        await self._give(connection, progress, entry.status, list(entry.headers), body)
        progress.whole = entry.complete

    async def _fault(self, connection: ServerConnection, progress: Progress, fault: UpstreamFault) -> None:
        message = self._redactor.text(fault.message)
        self._emit("upstream_error", {"provider": progress.call.provider.name, "reason": message})
        progress.error = message
        if connection.answered:
            return  # half an answer: the connection is cut, so that nobody takes it for a whole one
        reason = "timeout" if fault.late else "upstream"
        status, body = refusal(progress.call.provider.dialect, reason, f"Seatrial: {message}")
        await self._give(connection, progress, status, [_JSON], body)

    async def _give(
        self, connection: ServerConnection, progress: Progress, status: int, headers: Headers, body: bytes
    ) -> None:
        """Send an answer that is at hand; events one by one, as a model would."""
        progress.answer(status, headers)
        await connection.start(status, headers)
        for piece in _EVENT_END.split(body):
            await self._pass(connection, progress, piece)
        progress.whole = True

    def _headers(self, request: Request, call: Call, origin: Origin) -> Headers:
        given = end_to_end(request.headers)
        headers = [("host", origin.authority)]
        added = {key.lower() for key, _ in call.provider.headers}
        for key, value in given:
            if key not in _NOT_SENT and key not in added and not key.startswith("x-forwarded"):
                headers.append((key, value))
        headers += call.provider.headers
        headers.append(("accept-encoding", "identity"))
        if call.provider.key is not None:
            name, prefix = DIALECTS[call.provider.dialect].credential
            headers.append((name, prefix + call.provider.key.reveal()))
        if call.body or call.method == "POST":
            headers.append(("content-length", str(len(call.body))))
        return headers

    async def _refuse(self, connection: ServerConnection, provider: Provider, reason: str, message: str) -> None:
        status, body = refusal(provider.dialect, reason, message)
        await connection.respond(status, body, _STOP)


def _origin(provider: Provider) -> tuple[Origin, str]:
    """Return where a provider is, and what its paths begin with."""
    base = urlsplit(provider.base_url)
    usual = 443 if base.scheme == "https" else 80
    return Origin(base.scheme, base.hostname or "", base.port or usual), base.path.rstrip("/")


async def _to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Wait for `work` although this task is cancelled meanwhile: an agent that leaves must not keep its bill open."""
    task, cancelled = asyncio.ensure_future(work), False
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            cancelled = True
    if cancelled:
        task.exception()
        raise asyncio.CancelledError
    task.result()
