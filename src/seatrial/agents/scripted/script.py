"""Scripts: what the scripted model says at which turn of which conversation.

    without_tools = "side"            # requests that offer no tools, or want JSON, are side calls (titles); or "script"

    [[turn]]                          # turns of any conversation that no other section claims
    text = "I will look first."
    run = "ls"                        # a shell command, by whichever shell tool the client offers
    [[turn]]
    when = "README"                   # regular expression: must be in the last user text or tool result
    text = "Done."

    [conversation.greet]              # starts where a user's text matches; turns count from there
    when = "say hello"
    [[conversation.greet.turn]]
    tools = [{ name = "Write", input = { file_path = "a", content = "b" } }]

A turn's other keys: `stop` (`end`, `tool_use`, `length`, `refusal`), `delay_s`, `usage` (`input`, `output`,
`cache_read`, `cache_write`), `fault` (`hang`, `500`, `429`, `cut`, `echo_key`) which happens `fault_times` times
(default 1; 0: always) before the turn is answered.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from seatrial.errors import HarnessError

FAULTS = ("", "hang", "500", "429", "cut", "echo_key")
STOPS = ("", "end", "tool_use", "length", "refusal")


@dataclass(frozen=True)
class Turn:
    """One answer of the model."""

    text: str = ""
    run: str = ""
    tools: tuple[dict[str, Any], ...] = ()
    stop: str = ""
    when: str = ""
    delay_s: float = 0.0
    fault: str = ""
    fault_times: int = 1
    usage: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Conversation:
    """Turns in order; `when` is looked for in the user's texts."""

    name: str
    when: str
    turns: tuple[Turn, ...]


@dataclass(frozen=True)
class Script:
    """A whole script; `conversations` are tried in order, `turns` are the rest."""

    turns: tuple[Turn, ...] = ()
    conversations: tuple[Conversation, ...] = ()
    without_tools: str = "side"

    def place(self, rounds: list[tuple[str, int]]) -> tuple[Conversation, int]:
        """Return the conversation and the number of the turn that is due.

        `rounds` are the user's texts, each with how many times the model has spoken since that text.
        """
        for text, spoken in reversed(rounds):
            for conversation in self.conversations:
                if re.search(conversation.when, text):
                    return conversation, spoken
        return Conversation("", "", self.turns), rounds[0][1] if rounds else 0


def load(file: Path) -> Script:
    """Read a script.  Raises HarnessError when it is no script."""
    try:
        return parse(tomllib.loads(file.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as problem:
        raise HarnessError(f"The script {file} cannot be read: {problem}.", path=file) from problem


def parse(written: dict[str, Any]) -> Script:
    """Return the script in `written`.  Raises HarnessError for unknown keys and wrong values."""
    _known(written, {"turn", "conversation", "without_tools"}, "The script")
    if written.get("without_tools", "side") not in ("side", "script"):
        raise HarnessError("without_tools is side or script.")
    conversations = []
    for name, section in written.get("conversation", {}).items():
        _known(section, {"when", "turn"}, f"[conversation.{name}]")
        conversations.append(Conversation(name, _regex(section.get("when", "")), _turns(section)))
    return Script(_turns(written), tuple(conversations), written.get("without_tools", "side"))


def _turns(section: dict[str, Any]) -> tuple[Turn, ...]:
    turns = []
    for number, entry in enumerate(section.get("turn", [])):
        _known(entry, set(Turn.__dataclass_fields__), f"Turn {number}")
        turn = Turn(**{**entry, "tools": tuple(entry.get("tools", ()))})
        _regex(turn.when)
        if turn.fault not in FAULTS or turn.stop not in STOPS:
            raise HarnessError(f"Turn {number}: fault is one of {FAULTS}, stop one of {STOPS}.")
        if not all(isinstance(tool, dict) and isinstance(tool.get("name"), str) for tool in turn.tools):
            raise HarnessError(f"Turn {number}: a tool is {{ name = …, input = {{…}} }}.")
        turns.append(turn)
    return tuple(turns)


def _known(section: dict[str, Any], keys: set[str], where: str) -> None:
    unknown = sorted(set(section) - keys)
    if unknown:
        raise HarnessError(f"{where}: unknown key {unknown[0]}.", hint=f"Known: {', '.join(sorted(keys))}.")


def _regex(text: str) -> str:
    try:
        re.compile(text)
    except re.error as problem:
        raise HarnessError(f"{text!r} is not a regular expression: {problem}.") from problem
    return text
