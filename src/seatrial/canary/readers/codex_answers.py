"""Codex: which lines are one answer of the model.

A log has no identifier that all lines of an answer carry, and versions differ in whether an answer's tokens come before
its lines (to about 0.60) or after them.  One rule does for both:

- a line of the model (thought, text, call of a tool) belongs to the open answer, or opens one;
- tokens close an answer that has lines and no tokens yet; otherwise they open an answer, whose lines follow;
- after an answer's tokens, or after a tool's output, the next line of the model opens a new answer, unless the answer
  was opened by its tokens: then only the next tokens or the next turn end it.
"""

from __future__ import annotations

from seatrial.canary.events import ApiMessage, Session, Usage

_MINTED = 20
"""Characters of identifiers that are unique everywhere; shorter ones are only so within a log."""


class Answers:
    """The answers of a session, in order; `model`, `version` and `effort` are those of the next one."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._open: ApiMessage | None = None
        self._has_tokens = False
        self._began_with_tokens = False
        self._has_output = False
        self._is_named = False
        self._number = 0
        self.model = ""
        self.version = ""
        self.effort = ""

    def line(self, at: float, identity: str = "") -> ApiMessage:
        """Return the answer that a line of the model belongs to; `identity` is the line's own identifier."""
        ended = (self._has_tokens or self._has_output) and not self._began_with_tokens
        answer = self._begin(at) if self._open is None or ended else self._open
        if len(identity) >= _MINTED and not self._is_named:
            # Copies of the log name the same line.
            answer.key = identity
            self._is_named = True
        return answer

    def output(self) -> None:
        """Take note of a tool's output."""
        self._has_output = True

    def interrupted(self) -> None:
        """Take note of a prompt: what the model says next is another answer."""
        self._has_output = True
        self._began_with_tokens = False

    def tokens(self, used: Usage, at: float) -> None:
        """Add what an answer used."""
        if self._open is None or self._has_tokens:
            self._begin(at)
            self._began_with_tokens = True
        assert self._open is not None
        self._open.usage.raise_to(used)
        self._open.first_usage.raise_to(used)
        self._has_tokens = True

    def end(self) -> None:
        """Take note of a new turn: no line or count that follows belongs to what came before."""
        self._open = None

    def _begin(self, at: float) -> ApiMessage:
        self._number += 1
        answer = ApiMessage(f"{self._session.id}:{self._number}", at, self.model, self.version, self.effort)
        self._session.events.append(answer)
        self._open = answer
        self._has_tokens = self._began_with_tokens = self._has_output = self._is_named = False
        return answer
