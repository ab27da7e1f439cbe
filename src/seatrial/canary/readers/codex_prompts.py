"""Codex: what was asked, told once although the log says it twice.

A prompt is written as a message to the model and as an event; the program's own messages to the model are not.
"""

from __future__ import annotations

from typing import Literal

from seatrial.canary.events import Prompt, PromptOrigin, Session
from seatrial.canary.readers.codex_values import asked, is_marked, is_tagged

Channel = Literal["event", "message"]


class Prompts:
    """The prompts of a session; `permission` and `origin` are those of the next one."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._told: dict[int, dict[Channel, int]] = {}
        self._last: dict[int, Prompt] = {}
        self._before: list[Prompt] = []
        """Messages that no event has told yet, before the first event."""
        self._seen_event = False
        self._of_turn: list[Prompt] = []
        self.permission = ""
        self.origin: PromptOrigin = "typed"

    def add(self, words: str, at: float, channel: Channel) -> None:
        """Add a user message unless the other channel told it before."""
        if not words:
            return
        marked = is_marked(words)
        words = asked(words)
        key = hash(" ".join(words.split()))
        told = self._told.setdefault(key, {"event": 0, "message": 0})
        most = max(told.values())
        told[channel] += 1
        if channel == "event" and not marked:
            self._event(key)
        if told[channel] <= most:
            return
        injected = marked or (channel == "message" and is_tagged(words))
        prompt = Prompt(at, words, "injected" if injected else self.origin, self.permission)
        self._session.events.append(prompt)
        self._last[key] = prompt
        self._of_turn.append(prompt)
        if channel == "message" and not self._seen_event:
            self._before.append(prompt)

    def _event(self, key: int) -> None:
        confirmed = self._last.get(key)
        if confirmed is not None:
            confirmed.origin = self.origin
        for prompt in self._before:
            # What the program sent before anything was typed is its own.
            if prompt is not confirmed:
                prompt.origin = "injected"
        self._before.clear()
        self._seen_event = True

    def context(self, permission: str) -> None:
        """Take the permission of a turn, also for its prompts that came before it was said."""
        self.permission = permission
        for prompt in self._of_turn:
            prompt.permission = permission

    def answered(self) -> None:
        """Take note that the model answers: what is said next is of another prompt."""
        self._of_turn.clear()
