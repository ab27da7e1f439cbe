"""One model of what happened in a session, whatever agent wrote the log.

Readers turn log files into `Session`s and know nothing about metrics; everything later is computed from these events
alone.  Texts are here only as long as a session is being read: features keep numbers, never words.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

AgentName = Literal["claude_code", "codex", "gemini", "opencode"]
ToolKind = Literal["read", "search", "list", "edit", "write", "shell", "web", "agent", "other"]
PromptOrigin = Literal["typed", "command", "scripted", "injected"]
"""Typed by a person; a slash command; sent by a program; put there by the agent itself (never a turn)."""


@dataclass(slots=True)
class Usage:
    """Tokens of one API message, each the largest that any line of it says."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0
    cache_write_hour: int = 0
    """The part of `cache_write` that is kept for an hour."""
    reasoning: int = 0
    """The part of `output` that is reasoning, where the log says it."""

    def raise_to(self, other: Usage) -> None:
        """Take the larger of each count."""
        self.input = max(self.input, other.input)
        self.output = max(self.output, other.output)
        self.cache_read = max(self.cache_read, other.cache_read)
        self.cache_write = max(self.cache_write, other.cache_write)
        self.cache_write_hour = max(self.cache_write_hour, other.cache_write_hour)
        self.reasoning = max(self.reasoning, other.reasoning)


@dataclass(slots=True)
class Prompt:
    """What was asked: `at` is seconds since 1970 in UTC, 0.0 when the log does not say."""

    at: float
    text: str
    origin: PromptOrigin = "typed"
    permission: str = ""


@dataclass(slots=True)
class ApiMessage:
    """One answer of the model: all lines of the log with the same key (message id and request id)."""

    key: str
    at: float
    model: str = ""
    version: str = ""
    """Of the agent's program."""
    effort: str = ""
    usage: Usage = field(default_factory=Usage)
    first_usage: Usage = field(default_factory=Usage)
    """What the first line said: what tools that count the first line would report."""
    text: str = ""
    """Visible text, blocks joined by line ends."""
    thinking_blocks: int = 0
    thinking_characters: int = 0
    """Of thinking whose text is in the log."""
    signatures: list[int] = field(default_factory=list)
    """Lengths of the signatures of thinking blocks, in characters."""
    is_error: bool = False
    """A message that the program made up for an error of the API."""


@dataclass(slots=True)
class ToolCall:
    """One use of a tool; `path` is what it reads or changes, as far as the call says; `command` a shell's."""

    id: str
    at: float
    name: str
    kind: ToolKind
    path: str = ""
    command: str = ""


@dataclass(slots=True)
class ToolResult:
    """What came back; `size` in characters."""

    call_id: str
    at: float
    is_error: bool = False
    size: int = 0
    is_denied: bool = False
    """The user refused the call."""


@dataclass(slots=True)
class Interrupt:
    """The user stopped the agent."""

    at: float


@dataclass(slots=True)
class Note:
    """Anything else that is counted: `compact`, `stop_hook_block`, `api_error`, `turn_duration` (value in seconds)."""

    at: float
    name: str
    value: float = 0.0


Event = Prompt | ApiMessage | ToolCall | ToolResult | Interrupt | Note


@dataclass(slots=True)
class Health:
    """How well a file could be read."""

    bytes: int = 0
    lines: int = 0
    bad_lines: int = 0
    """Lines that are no JSON object, but for a last one without an end, which is being written."""
    worst_share: float = 1.0
    """The smallest share of good lines among any 50 lines in a row."""
    long_lines: int = 0
    wrong_fields: int = 0
    """Fields of a type that no version writes; they are taken as absent."""
    clock_jumps: int = 0
    """Times that go back by more than a minute."""
    unfinished: bool = False
    """The last line has no end."""
    unknown: dict[str, int] = field(default_factory=dict)
    """Types of lines that are not known, with their number."""
    other_sessions: int = 0
    """Lines that belong to another session."""

    @property
    def is_good(self) -> bool:
        """Whether the file may be counted: at least 0.9 of any 50 lines in a row are good."""
        return self.worst_share >= 0.9


@dataclass(slots=True)
class Session:
    """One session of one agent, its events in the order of the log."""

    agent: AgentName
    id: str
    events: list[Event] = field(default_factory=list)
    cwd: str = ""
    branch: str = ""
    entrypoint: str = ""
    """How the agent was started: `cli`, `sdk-py`, `codex_exec`, … ; empty when the log does not say."""
    parent: str = ""
    """The session that started this one, for a sub-agent's; empty for a session of a person."""
    tools: frozenset[str] = frozenset()
    """Tools, skills and servers that the log lists as available, or else those that were used."""
    fields: frozenset[str] = frozenset()
    """Which of the fields that metrics depend on this log has: its format signature."""
    nested: list[ApiMessage] = field(default_factory=list)
    """Answers of sub-agents that old versions wrote into the session's own file."""
    health: Health = field(default_factory=Health)
