"""Sessions as their events, made by hand."""

from __future__ import annotations

from typing import Any

from seatrial.canary import extraction, tools
from seatrial.canary.events import ApiMessage, Event, Prompt, PromptOrigin, Session, ToolResult, Usage
from seatrial.canary.features import Features

from .histories import MONDAY

HOUR = 3600.0


class Talk:
    """Events of a session, each ten seconds after the one before."""

    def __init__(self, at: float = MONDAY + 9 * HOUR) -> None:
        self.events: list[Event] = []
        self.at = at

    def wait(self, seconds: float) -> None:
        self.at += seconds - 10

    def _next(self) -> float:
        self.at += 10
        return self.at

    def prompt(self, text: str = "add a parser", origin: PromptOrigin = "typed", permission: str = "") -> None:
        self.events.append(Prompt(self._next(), text, origin, permission))

    def answer(self, text: str = "", **more: Any) -> None:
        usage = more.pop("usage", None) or Usage(output=500)
        key = f"m{len(self.events)}"
        self.events.append(ApiMessage(key, self._next(), text=text, usage=usage, **more))

    def call(self, name: str, **arguments: Any) -> None:
        self.events.append(tools.call(f"c{len(self.events)}", self._next(), name, arguments))

    def calls(self, number: int) -> None:
        for _ in range(number):
            self.call("TodoWrite")

    def result(self, call: str = "c0", **more: Any) -> None:
        self.events.append(ToolResult(call, self._next(), **more))

    def session(self, **more: Any) -> Session:
        return Session("claude_code", "s1", self.events, cwd="/home/ann/shop", **more)

    def features(self, **more: Any) -> Features:
        return extraction.of_session(self.session(**more))
