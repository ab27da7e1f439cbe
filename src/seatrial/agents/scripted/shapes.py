"""What the dialects have in common: a request as the script sees it, an answer before it is written down."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

SHELLS = ("Bash", "bash", "shell", "exec_command", "shell_command", "local_shell", "run_shell_command", "execute")


@dataclass(frozen=True)
class Ask:
    """A request.  `rounds` are user texts with the turns the model has had since; `last` is what it answers now.

    `tools` are name to JSON schema (`freeform`: the description of one that takes text); `schema` is the JSON schema
    that the answer's text must have, if any.
    """

    model: str
    streamed: bool
    rounds: list[tuple[str, int]]
    last: str
    tools: dict[str, dict[str, Any]]
    schema: dict[str, Any] | None = None
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """What the model says.  `pieces` is the text as it is streamed; tools are (id, name, input)."""

    id: str
    model: str
    pieces: tuple[str, ...]
    tools: tuple[tuple[str, str, dict[str, Any]], ...]
    stop: str
    usage: dict[str, int]

    @property
    def text(self) -> str:
        """The whole text."""
        return "".join(self.pieces)


class Rounds:
    """Collects user texts, and counts the model's turns after each; parts that follow each other are one turn."""

    def __init__(self) -> None:
        self._rounds: list[tuple[str, int]] = []
        self._speaking = False
        self.last = ""

    def user(self, text: str) -> None:
        """Take a text of the user."""
        self._speaking = False
        if text:
            self._rounds.append((text, 0))
            self.last = text

    def result(self, text: str) -> None:
        """Take the result of a tool."""
        self._speaking = False
        self.last = text

    def model(self) -> None:
        """Take a part of what the model said."""
        if not self._speaking:
            self._rounds = [(text, spoken + 1) for text, spoken in self._rounds]
        self._speaking = True

    def all(self) -> list[tuple[str, int]]:
        """Return each user text with the number of turns since."""
        return self._rounds


def cut(text: str) -> tuple[str, ...]:
    """Return `text` in pieces of some characters, as models stream it."""
    return tuple(text[at : at + 12] for at in range(0, len(text), 12))


def plain(content: Any) -> str:
    """Return the text in a message's content: a string, or a list of parts."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "\n".join(text for part in content if (text := plain(part)))
    if isinstance(content, dict):
        return str(content.get("text") or plain(content.get("content")) or plain(content.get("output")) or "")
    return ""


def shell_call(tools: dict[str, dict[str, Any]], command: str) -> tuple[str, dict[str, Any]] | None:
    """Return name and input of the call that runs `command` with whichever shell tool is offered."""
    for name in (*SHELLS, *tools):
        schema = tools.get(name)
        if schema is None:
            continue
        if "tools.exec_command(" in schema.get("freeform", ""):  # Codex: a tool that takes JavaScript
            script = f"const done = await tools.exec_command({{cmd: {json.dumps(command)}}});\ntext(done);\n"
            return name, {"input": script}
        properties = schema.get("properties") or {}
        if name == "local_shell" and not properties:
            return name, {"command": ["bash", "-lc", command]}
        for key in ("command", "cmd"):
            if key in properties:
                kinds = properties[key].get("type")
                listed = str(kinds).lower() == "array" or (isinstance(kinds, list) and "string" not in kinds)
                given: Any = ["bash", "-lc", command] if listed else command
                return name, {**required(schema, leave=key), key: given}
    return None


def required(schema: dict[str, Any], leave: str = "") -> dict[str, Any]:
    """Return the least object that `schema` takes, without the key `leave`."""
    properties = schema.get("properties") or {}
    return {key: _least(properties.get(key) or {}, key) for key in schema.get("required") or [] if key != leave}


def _least(schema: dict[str, Any], key: str) -> Any:
    if schema.get("enum"):
        return schema["enum"][0]
    kind = schema.get("type") or next((part.get("type") for part in schema.get("anyOf") or []), "string")
    kind = (kind[0] if isinstance(kind, list) and kind else str(kind)).lower()
    values: dict[str, Any] = {"integer": 1, "number": 1, "boolean": False, "array": [], "null": None}
    if kind == "object":
        return required(schema)
    return values.get(kind, f"Scripted {key}.")


def event(data: dict[str, Any], name: str = "") -> bytes:
    """Return a server-sent event."""
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(data)}\n\n".encode()


Events = Iterator[bytes]
