"""Codex: telling a thread's own lines from those of its parent, which a fork's file repeats.

A forked thread's file begins with the parent's header and history, with new times.  Identifiers of turns keep the time
at which they were made, so the first turn that is as young as the thread itself is the first of its own.
"""

from __future__ import annotations

from typing import Any

from seatrial.canary.readers.codex_values import made_at, started
from seatrial.canary.readers.values import seconds

_WRITTEN_AT_ONCE = 2.0
"""Seconds in which a history is repeated, for versions whose turns have no such identifiers."""


def parent_of(meta: dict[str, Any]) -> str:
    """Return the thread that started this one as a sub-agent; `?` when it is not named, empty when there is none."""
    source = meta.get("source")
    spawned = source.get("subagent") if isinstance(source, dict) else None
    if not spawned and meta.get("thread_source") != "subagent":
        return ""
    detail = spawned.get("thread_spawn") if isinstance(spawned, dict) else None
    named = detail.get("parent_thread_id") if isinstance(detail, dict) else None
    for value in (meta.get("parent_thread_id"), named, meta.get("forked_from_id"), meta.get("session_id")):
        if isinstance(value, str) and value and value != meta.get("id"):
            return value
    return "?"


class Replay:
    """Whether the lines that are read now are the parent's."""

    def __init__(self, meta: dict[str, Any]) -> None:
        self._started = started(meta)
        self._knows_turns = False
        self.is_on = isinstance(meta.get("forked_from_id"), str)
        self.may_come = self.is_on or bool(parent_of(meta))
        self._held: list[dict[str, Any]] = []

    def header(self) -> None:
        """Take note of another thread's header: what follows is that thread's."""
        self.is_on = self.is_on or self.may_come

    def own(self, entry: dict[str, Any], kind: str, payload: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the lines that are the thread's own, now that `entry` was read: none, it, or those held before too."""
        if not self.is_on:
            return [entry]
        if not self._is_first(entry, kind, payload):
            is_prompt = payload.get("role") == "user" or payload.get("type") == "user_message"
            self._held = [*self._held, entry] if is_prompt else []
            return []
        self.is_on = self.may_come = False
        # A turn that says its beginning has its prompt after that; one that does not has it before its context.
        held, self._held = self._held, []
        return [entry] if payload.get("type") == "task_started" else [*held, entry]

    def _is_first(self, entry: dict[str, Any], kind: str, payload: dict[str, Any]) -> bool:
        turn = payload.get("turn_id")
        for key in ("internal_chat_message_metadata_passthrough", "metadata"):
            inner = payload.get(key)
            turn = turn or (inner.get("turn_id") if isinstance(inner, dict) else None)
        at = made_at(turn) if isinstance(turn, str) else 0.0
        begun = seconds(payload.get("started_at")) if payload.get("type") == "task_started" else 0.0
        if at or begun:
            self._knows_turns = True
            # A beginning is said in whole seconds.
            return at >= self._started if at else begun >= int(self._started)
        written = seconds(entry.get("timestamp"))
        return not self._knows_turns and self._started > 0 and written > self._started + _WRITTEN_AT_ONCE
