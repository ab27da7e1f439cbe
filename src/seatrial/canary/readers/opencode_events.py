"""OpenCode: from messages and their parts to events."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

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
from seatrial.canary.readers.values import Clock, count, items, mapping, text

_IGNORED = frozenset({"file", "snapshot", "patch", "agent", "retry", "step-start", "step-finish", "subtask"})
_NO_MESSAGE = frozenset(
    {"system", "synthetic", "skill", "shell", "agent-switched", "model-switched", "location-switched"}
)
_ABORTED = ("MessageAbortedError", "AbortError", "aborted", "interrupted")
_REFUSED = ("rejected permission", "rejected this tool", "permission was rejected", "dismissed this question")


@dataclass(slots=True)
class Entry:
    """A message with its parts; `role` is `user`, `assistant`, or what else a row says it is."""

    id: str
    role: str
    message: dict[str, Any]
    parts: list[dict[str, Any]]


def entry_of_row(name: str, kind: str, message: dict[str, Any], health: Health) -> Entry:
    """Return a row of 2.0, which holds its parts, in the form of the versions before."""
    if kind == "compaction":
        return Entry(name, "user", message, [{"type": "compaction"}])
    if kind == "user":
        return Entry(name, "user", message, [{"type": "text", "text": message.get("text")}])
    if kind != "assistant":
        return Entry(name, kind, message, [])
    parts = []
    for one in items(message.get("content"), health):
        part = dict(mapping(one, health))
        if part.get("type") == "tool":
            state = dict(mapping(part.get("state"), health))
            given = state.get("content")
            found = [text(mapping(piece, health).get("text"), health) for piece in items(given, health)]
            state.setdefault("output", "\n".join(found))
            part |= {"callID": part.get("id"), "tool": part.get("name"), "state": state}
        parts.append(part)
    return Entry(name, kind, message, parts)


def session_of(identity: str, header: dict[str, Any], entries: list[Entry], health: Health) -> Session:
    """Return the session of a header and its messages, put in the order of their times."""
    session = Session("opencode", identity, health=health)
    session.cwd = text(header.get("directory"), health)
    session.parent = text(header.get("parentID"), health)
    if health.lines:
        health.worst_share = 1 - (health.bad_lines + health.long_lines) / health.lines
    reader = _Events(session, text(header.get("version"), health))
    entries.sort(key=lambda entry: (reader.created(entry), entry.id))
    seen: set[str] = set()
    for entry in entries:
        if entry.id not in seen:
            seen.add(entry.id)
            reader.add(entry)
    session.fields = frozenset(reader.fields)
    session.tools = frozenset(reader.used)
    return session


class _Events:
    def __init__(self, session: Session, version: str) -> None:
        self.session = session
        self.health = session.health
        self.clock = Clock(self.health)
        self.version = version
        self.fields: set[str] = set()
        self.used: set[str] = set()
        self.calls: set[str] = set()

    def created(self, entry: Entry) -> float:
        given = entry.message.get("time")
        return Clock(Health()).read(given.get("created")) if isinstance(given, dict) else 0.0

    def add(self, entry: Entry) -> None:
        at = self.clock.read(mapping(entry.message.get("time"), self.health).get("created"))
        if entry.role == "user":
            self._user(entry, at)
        elif entry.role == "assistant":
            self._assistant(entry, at)
        elif entry.role == "idle":
            if entry.message.get("outcome") == "interrupted":
                self.session.events.append(Interrupt(at))
        elif entry.role not in _NO_MESSAGE:
            self.health.unknown[entry.role] = self.health.unknown.get(entry.role, 0) + 1

    def _user(self, entry: Entry, at: float) -> None:
        typed, made_up, command = [], False, ""
        for part in entry.parts:
            kind = part.get("type")
            if kind == "compaction":
                self.session.events.append(Note(at, "compact"))
                return
            if kind == "subtask":
                command = text(part.get("command"), self.health)
            elif kind == "text":
                if part.get("synthetic") is True:
                    made_up = True
                else:
                    typed.append(text(part.get("text"), self.health))
        words = "\n".join(word for word in typed if word)
        if not entry.parts:
            words = text(mapping(entry.message.get("summary"), self.health).get("title"), self.health)
        origin: PromptOrigin = "injected" if made_up and not words else "typed"
        if command:
            origin, words = "command", f"/{command}"
        if self.session.parent and origin != "injected":
            origin = "scripted"
        self.session.events.append(Prompt(at, words, origin, text(entry.message.get("agent"), self.health)))

    def _assistant(self, entry: Entry, at: float) -> None:
        message, health = entry.message, self.health
        answers = [self._begin(entry, at, 0)]
        for part in entry.parts:
            kind = text(part.get("type"), health)
            if kind == "step-start" and answers[-1].usage.output:
                # Old versions keep all answers to a prompt in one message.
                answers.append(self._begin(entry, at, len(answers)))
            elif kind == "step-finish":
                self._count(answers[-1], part.get("tokens"))
            elif kind == "compaction":
                self.session.events.append(Note(at, "compact"))
            else:
                self._part(kind, part, answers[-1], at)
        if len(answers) == 1:
            self._count(answers[0], message.get("tokens"))
        error = mapping(message.get("error"), health)
        name = str(error.get("name") or error.get("type") or "")
        if name.startswith(_ABORTED):
            self.session.events.append(Interrupt(at))
        elif error:
            answers[-1].is_error = not answers[-1].usage.output
            self.session.events.append(Note(at, "api_error"))

    def _begin(self, entry: Entry, at: float, number: int) -> ApiMessage:
        message, health = entry.message, self.health
        chosen = mapping(message.get("model"), health)
        model = text(message.get("modelID"), health) or text(chosen.get("modelID", chosen.get("id")), health)
        effort = text(message.get("variant", chosen.get("variant")), health)
        if effort:
            self.fields.add("effort")
        key = entry.id if len(entry.id) >= 20 else f"{self.session.id}:{entry.id}"
        answer = ApiMessage(f"{key}#{number}" if number else key, at, model, self.version, effort)
        self.session.events.append(answer)
        return answer

    def _count(self, answer: ApiMessage, given: Any) -> None:
        tokens = mapping(given, self.health)
        if not tokens:
            return
        used = _usage(tokens, self.health)
        if answer.usage == Usage():
            answer.first_usage.raise_to(used)
        answer.usage.raise_to(used)
        self.fields.add("usage")
        if "cache" in tokens:
            self.fields.add("cache")

    def _part(self, kind: str, part: dict[str, Any], answer: ApiMessage, at: float) -> None:
        health = self.health
        if kind == "text":
            said = "" if part.get("synthetic") is True else text(part.get("text"), health)
            answer.text = f"{answer.text}\n{said}" if answer.text and said else answer.text or said
        elif kind == "reasoning":
            thought = len(text(part.get("text"), health))
            answer.thinking_blocks += 1
            answer.thinking_characters += thought
            answer.signatures += _signatures(part.get("metadata", part.get("native")))
            self.fields |= {"thinking", "thinking_text"} if thought else {"thinking"}
            if answer.signatures:
                self.fields.add("signature")
        elif kind == "tool":
            self._tool(part, at)
        elif kind not in _IGNORED:
            health.unknown[f"part {kind}"] = health.unknown.get(f"part {kind}", 0) + 1

    def _tool(self, part: dict[str, Any], at: float) -> None:
        health = self.health
        identity = text(part.get("callID"), health) or text(part.get("id"), health)
        if identity and identity in self.calls:
            return
        self.calls.add(identity)
        name = text(part.get("tool"), health)
        self.used.add(name)
        self.fields |= {"tools", "is_error"}
        state = mapping(part.get("state"), health)
        time = mapping(state.get("time", part.get("time")), health)
        start = self.clock.read(time.get("start", time.get("created"))) or at
        given = state.get("input")
        self.session.events.append(tools.call(identity, start, name, given if isinstance(given, dict) else {}))
        status = text(state.get("status"), health)
        if status not in ("completed", "success", "error"):
            return
        code = mapping(state.get("metadata"), health).get("exit")
        error = state.get("error")
        words = error if isinstance(error, str) else str(mapping(error, health).get("message") or "")
        output = state.get("output")
        size = len(output) if isinstance(output, str) and output else len(words)
        end = self.clock.read(time.get("end", time.get("completed"))) or start
        failed = status == "error" or (isinstance(code, int) and code != 0)
        is_denied = status == "error" and any(phrase in words for phrase in _REFUSED)
        self.session.events.append(ToolResult(identity, end, failed, size, is_denied))


def _signatures(metadata: Any) -> list[int]:
    def found(value: Any) -> Iterator[int]:
        for key, inner in value.items() if isinstance(value, dict) else ():
            if isinstance(inner, dict):
                yield from found(inner)
            elif key in ("signature", "reasoningEncryptedContent", "encrypted_content") and isinstance(inner, str):
                yield len(inner)

    return list(found(metadata))


def _usage(tokens: dict[str, Any], health: Health) -> Usage:
    """Return the tokens of an answer; whether `output` holds those of the reasoning is told by the total."""
    cache = mapping(tokens.get("cache"), health)
    read, written = count(cache.get("read"), health), count(cache.get("write"), health)
    given, output = count(tokens.get("input"), health), count(tokens.get("output"), health)
    reasoning, total = count(tokens.get("reasoning"), health), count(tokens.get("total"), health)
    if reasoning > output or (total and total == given + output + reasoning + read + written):
        output += reasoning
    return Usage(given, output, read, written, reasoning=min(reasoning, output))
