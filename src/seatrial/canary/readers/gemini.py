"""Gemini CLI: `tmp/<project>/chats/session-<time>-<id>`, one JSON object to 0.39, lines of JSON since.

In lines, a message is written again whenever it changes, `$set` changes the header, `$rewindTo` takes a message and
what follows it away.  No version of the program is recorded.
"""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import Any

import orjson

from seatrial.canary import tools
from seatrial.canary.events import (
    ApiMessage,
    Health,
    Interrupt,
    Note,
    Prompt,
    PromptOrigin,
    Session,
    ToolResult,
    Usage,
)
from seatrial.canary.readers.files import FirstBytes
from seatrial.canary.readers.lines import LINE_LIMIT, Lines, Stream
from seatrial.canary.readers.values import Clock, count, items, mapping, text

WHOLE_LIMIT = 64 << 20
"""Bytes of a log that is one JSON object and has to be held whole; larger ones are counted as unreadable."""
_COMMAND = re.compile(r"/[\w:-]+(?=\s|$)")
_CANCELLED = re.compile(r"Request cancelled|cancelled by the user|User cancelled", re.IGNORECASE)
_EXIT = re.compile(r"^Exit Code: (-?\d+)", re.MULTILINE)
_HASH = re.compile(r"[0-9a-f]{64}")


def read(stream: Stream, name: str) -> Session:
    """Return the session of a log file; `name` is the file's path, by which the project and sub-agents are known.

    Nothing is raised for bad content: `Session.health` says what could not be read.
    """
    session = Session("gemini", PurePath(name).stem)
    record = _Record(session.health)
    first = stream.readline(LINE_LIMIT)
    if _is_object(first):
        lines = Lines(FirstBytes(stream, 1 << 62, first), session.health)
        for line in lines:
            entry = lines.decode(line)
            if entry is not None:
                record.line(entry)
    else:
        _read_whole(stream, first, record, session.health)
    _place(session, record, PurePath(name))
    _Events(session).add(record)
    return session


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(orjson.loads(line), dict)
    except orjson.JSONDecodeError:
        return False


def _read_whole(stream: Stream, first: bytes, record: _Record, health: Health) -> None:
    content = bytearray(first)
    while len(content) <= WHOLE_LIMIT and (part := stream.readline(1 << 20)):
        content += part
    health.bytes, health.lines = len(content), content.count(b"\n") + 1
    if len(content) > WHOLE_LIMIT:
        health.long_lines, health.worst_share = 1, 0.0
        return
    try:
        found = orjson.loads(content.strip(b" \t\r\n\0").decode("utf-8", "replace"))
    except orjson.JSONDecodeError:
        found = None
    if isinstance(found, dict):
        record.line(found)
    elif content.strip():
        health.bad_lines, health.worst_share = health.lines, 0.0


class _Record:
    """Header and messages as they are after all lines were applied."""

    def __init__(self, health: Health) -> None:
        self.health = health
        self.header: dict[str, Any] = {}
        self.messages: dict[str, dict[str, Any]] = {}
        self.compacted: list[str] = []
        """Messages before which the history was shortened."""

    def line(self, entry: dict[str, Any]) -> None:
        rewound = entry.get("$rewindTo")
        if isinstance(rewound, str):
            self._rewind(rewound)
        elif isinstance(entry.get("id"), str):
            self.messages[entry["id"]] = entry
        elif isinstance(entry.get("$set"), dict):
            self._set(entry["$set"])
        elif "sessionId" in entry or "messages" in entry:
            self._set(entry)
        else:
            kind = text(entry.get("type"), self.health) or next(iter(entry), "")
            self.health.unknown[kind] = self.health.unknown.get(kind, 0) + 1

    def _rewind(self, identity: str) -> None:
        if identity not in self.messages:
            self.health.wrong_fields += 1
            return
        order = list(self.messages)
        for after in order[order.index(identity) :]:
            del self.messages[after]

    def _set(self, patch: dict[str, Any]) -> None:
        self.header.update({key: value for key, value in patch.items() if key != "messages"})
        given = [mapping(one, self.health) for one in items(patch.get("messages"), self.health)]
        names = [name if isinstance(name := one.get("id"), str) else f"#{place}" for place, one in enumerate(given)]
        # A history without messages that were there was shortened for the model; they happened all the same.
        is_shorter = bool(given) and bool(self.messages.keys() - set(names))
        for name, one in zip(names, given, strict=True):
            if is_shorter and name not in self.messages:
                self.compacted.append(name)
            self.messages[name] = one


def _place(session: Session, record: _Record, path: PurePath) -> None:
    header, health = record.header, session.health
    session.id = text(header.get("sessionId"), health) or session.id
    folders = items(header.get("directories"), health)
    session.cwd = text(folders[0], health) if folders else ""
    parts = path.parts
    if "chats" in parts[:-1]:
        chats = len(parts) - 1 - parts[::-1].index("chats")
        session.cwd = session.cwd or (parts[chats - 1] if chats else "")
        if chats < len(parts) - 2:
            session.parent = parts[chats + 1]
    if header.get("kind") == "subagent":
        session.parent = session.parent or "?"
    session.cwd = session.cwd or text(header.get("projectHash"), health)
    if _HASH.fullmatch(session.cwd):
        session.cwd = session.cwd[:12]


class _Events:
    """Turns a record into events."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.health = session.health
        self.clock = Clock(self.health)
        self.fields: set[str] = set()
        self.used: set[str] = set()
        self.calls: set[str] = set()

    def add(self, record: _Record) -> None:
        shortened = set(record.compacted)
        if shortened:
            self.fields.add("compact_boundary")
        for name, message in record.messages.items():
            at = self.clock.read(message.get("timestamp"))
            if record.compacted and name == record.compacted[0]:
                self.session.events.append(Note(at, "compact"))
            self._message(message, name, at, name in shortened)
        self.session.fields = frozenset(self.fields)
        self.session.tools = frozenset(self.used)

    def _message(self, message: dict[str, Any], name: str, at: float, is_summary: bool) -> None:
        kind = text(message.get("type"), self.health)
        words = _words(message.get("content", message.get("parts")), self.health)
        if kind == "user":
            self._prompt(words, at, is_summary)
        elif kind in ("gemini", "model"):
            if not is_summary:
                self._answer(message, name, words, at)
        elif kind == "info":
            if _CANCELLED.search(words):
                self.session.events.append(Interrupt(at))
        elif kind == "error":
            self.session.events.append(Note(at, "api_error"))
        elif kind != "warning":
            self.health.unknown[kind] = self.health.unknown.get(kind, 0) + 1

    def _prompt(self, words: str, at: float, is_summary: bool) -> None:
        if not words.strip():
            # What tools gave back is written as said by the user.
            return
        command = _COMMAND.match(words)
        origin: PromptOrigin = "injected" if is_summary else "command" if command else "typed"
        origin = "scripted" if self.session.parent and not is_summary else origin
        self.session.events.append(Prompt(at, command.group(0) if command else words, origin))

    def _answer(self, message: dict[str, Any], name: str, words: str, at: float) -> None:
        key = name if len(name) >= 20 else f"{self.session.id}:{name}"
        answer = ApiMessage(key, at, text(message.get("model"), self.health), text=words)
        given = mapping(message.get("tokens"), self.health)
        if given:
            self.fields |= {"usage", "cache"} if "cached" in given else {"usage"}
            answer.usage = _usage(given, self.health)
            answer.first_usage.raise_to(answer.usage)
        thoughts = items(message.get("thoughts"), self.health)
        for thought in thoughts:
            part = mapping(thought, self.health)
            answer.thinking_blocks += 1
            answer.thinking_characters += len(text(part.get("subject"), self.health))
            answer.thinking_characters += len(text(part.get("description"), self.health))
        if thoughts:
            self.fields |= {"thinking", "thinking_text"}
        self.session.events.append(answer)
        for call in items(message.get("toolCalls"), self.health):
            self._call(mapping(call, self.health), at)

    def _call(self, call: dict[str, Any], at: float) -> None:
        health = self.health
        identity = text(call.get("id"), health)
        if identity and identity in self.calls:
            return
        self.calls.add(identity)
        name = text(call.get("name"), health)
        at = self.clock.read(call.get("timestamp")) or at
        self.used.add(name)
        self.fields |= {"tools", "is_error"}
        self.session.events.append(tools.call(identity, at, name, mapping(call.get("args"), health)))
        status = text(call.get("status"), health)
        if status not in ("success", "error", "cancelled"):
            return
        failed, size = status != "success", 0
        results = call.get("result")
        for result in results if isinstance(results, list) else []:
            inner = mapping(mapping(result, health).get("functionResponse"), health)
            response = mapping(inner.get("response"), health)
            output = response.get("output", response.get("error"))
            size += len(output) if isinstance(output, str) else 0
            code = _EXIT.search(output) if isinstance(output, str) else None
            failed = failed or bool(response.get("error")) or (code is not None and code.group(1) != "0")
        self.session.events.append(ToolResult(identity, at, failed, size, status == "cancelled"))


def _usage(given: dict[str, Any], health: Health) -> Usage:
    """Return the tokens of an answer: the log's `input` holds the cached ones, its `output` not the thoughts."""
    cached, thoughts = count(given.get("cached"), health), count(given.get("thoughts"), health)
    fresh = max(0, count(given.get("input"), health) - cached) + count(given.get("tool"), health)
    return Usage(fresh, count(given.get("output"), health) + thoughts, cached, reasoning=thoughts)


def _words(content: Any, health: Health) -> str:
    if isinstance(content, str):
        return content
    parts = [content] if isinstance(content, dict) else items(content, health)
    found = (part if isinstance(part, str) else text(mapping(part, health).get("text"), health) for part in parts)
    return "\n".join(part for part in found if part)
