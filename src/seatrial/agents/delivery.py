"""Putting messages before an agent when it can take them, and again until it has."""

from __future__ import annotations

import asyncio
import re
import time

from seatrial.agents import mailbox
from seatrial.agents.harness import Harness
from seatrial.agents.project import Project
from seatrial.agents.terminal import Terminal
from seatrial.errors import SandboxError

_AGAIN_SECONDS = 10.0
_MOST_ATTEMPTS = 3


class Delivery:
    """Delivers one agent's messages through its terminal.

    A message is taken when the agent calls its model after it was pasted; a harness that calls none is taken at its
    word.  What is not taken is submitted again, then pasted again: at least once, so the number in it tells repeats.
    """

    def __init__(self, project: Project, name: str, harness: Harness, terminal: Terminal) -> None:
        self._project, self._name, self._harness, self._terminal = project, name, harness, terminal
        self._last = 0.0
        self.seen_model = False

    async def deliver(self, takes_messages: bool) -> bool:
        """Deliver what waits, all at once and in order; returns whether the agent was given a text."""
        messages = mailbox.waiting(self._project, self._name)
        await self._type_raw([m for m in messages if m.kind == "raw"])
        messages = [m for m in messages if m.kind != "raw"]
        if not messages or self._harness.delivery != "paste":
            return False
        fresh = [m for m in messages if m.delivered is None]
        if not fresh:  # it has called no model since, so it is not at work, whatever it seems to be at
            await self._again(messages)
            return False
        if not takes_messages or not self._shows_prompt():
            return False
        self._terminal.paste("\n\n".join(message.shown() for message in fresh))
        await self._submit()
        self._delivered(fresh)
        return True

    def taken(self) -> None:
        """The agent has called its model: what was delivered has been read."""
        self.seen_model = True
        mailbox.acknowledge(self._project, self._name)

    async def interrupt(self) -> bool:
        """Press the interrupt keys if an interrupting message has just come; returns whether they were pressed."""
        fresh = [m for m in mailbox.waiting(self._project, self._name) if m.kind == "interrupt" and not m.delivered]
        if not fresh:
            return False
        for key in self._harness.interrupt:
            self._terminal.press(key)
            await asyncio.sleep(0.1)
        await asyncio.sleep(0.2)
        return True

    async def _type_raw(self, messages: list[mailbox.Message]) -> None:
        for message in messages:
            self._terminal.type(message.text)
            mailbox.mark_delivered(self._project, [message])
            mailbox.acknowledge(self._project, self._name, message.id)

    async def _again(self, messages: list[mailbox.Message]) -> None:
        if time.monotonic() - self._last < _AGAIN_SECONDS or messages[0].attempts >= _MOST_ATTEMPTS:
            return
        if messages[0].attempts > 1:
            self._terminal.paste("\n\n".join(message.shown() for message in messages))
        await self._submit()
        self._delivered(messages)

    async def _submit(self) -> None:
        if self._harness.settle:
            await asyncio.sleep(self._harness.settle)
        self._terminal.press(*self._harness.submit)

    def _delivered(self, messages: list[mailbox.Message]) -> None:
        self._last = time.monotonic()
        mailbox.mark_delivered(self._project, messages)
        if not self._harness.provider:
            mailbox.acknowledge(self._project, self._name)

    def _shows_prompt(self) -> bool:
        if self.seen_model or not self._harness.ready:
            return True
        try:
            return re.search(self._harness.ready, self._terminal.screen()) is not None
        except SandboxError:
            return False
