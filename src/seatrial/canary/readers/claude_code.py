"""Claude Code: `projects/<folder>/<session>.jsonl`, all versions from 1.0.

One answer of the model is written as several lines, one for each block, and the counts of tokens on the first of them
may be those of the beginning: each count is the largest that any line of the same message says.
"""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import Any

import orjson

from seatrial.canary import tools
from seatrial.canary.events import ApiMessage, Interrupt, Note, Prompt, PromptOrigin, Session, ToolResult, Usage
from seatrial.canary.readers.lines import Lines, Stream
from seatrial.canary.readers.values import Clock, anthropic_usage, items, mapping, text

SYNTHETIC = "<synthetic>"
"""The model of answers that the program makes up, e.g. for an error of the API."""
_KNOWN = frozenset(
    "summary file-history-snapshot file-history-delta progress queue-operation attachment last-prompt ai-title"
    " custom-title agent-name mode permission-mode bridge-session pr-link frame-link started result relocated"
    " worktree-state atis-latch".split()
)
_SKIPPED = (b'{"type":"file-history', b'{"type": "file-history')
_PROGRESS = re.compile(rb'"type": ?"progress"')
_HEAD = 2000
"""Bytes at the beginning of a line in which its type is looked for."""
_USER, _COPY, _AFTER_COPY = b'"type":"user"', b',"toolUseResult":', b',"sourceToolAssistantUUID":"'
_TAIL = 2000
"""Bytes at the end of a line in which the keys after the copy of a tool's result are looked for."""
_NEEDED = frozenset({"message", "uuid", "timestamp", "sessionId", "parentUuid", "sourceToolAssistantUUID"})
_NOTIFICATION = "task-notification"
_INTERRUPT = "[Request interrupted by user"
_COMMAND = re.compile(r"<command-name>\s*(/?[^<\s]+)")
_MADE_UP = ("<", "Caveat:", "This session is being continued")
_DENIED = ("The user doesn't want to proceed", "The user doesn't want to take this action")


def _without_copy(line: bytes) -> dict[str, Any] | None:
    """Return the entry of a tool's result without the second, structured copy of it, which is most of the line.

    None where the line has not that form.  Each result has another parent, so that a line which ends as a different one
    than it began, two lines that have run into each other, is found.
    """
    if line.find(_USER, 0, _HEAD) < 0:
        return None
    begin = line.find(_COPY)
    end = line.rfind(_AFTER_COPY, max(begin, len(line) - _TAIL)) if begin > 0 else -1
    if end < 0 or line.find(b"\0", begin, end) >= 0:
        return None
    try:
        entry: dict[str, Any] = orjson.loads(line[:begin] + line[end:])
    except orjson.JSONDecodeError:
        return None
    is_whole = entry.keys() >= _NEEDED and entry["parentUuid"] == entry["sourceToolAssistantUUID"]
    return entry if is_whole else None


def read(stream: Stream, name: str) -> Session:
    """Return the session of a log file; `name` is the file's path, by which sub-agents' files are known.

    Nothing is raised for bad content: `Session.health` says what could not be read.
    """
    return _Reader(name).read(stream)


class _Reader:
    def __init__(self, name: str) -> None:
        path = PurePath(name)
        self.session = Session("claude_code", path.stem)
        if path.parent.name == "subagents" or path.stem.startswith("agent-"):
            self.session.parent = path.parent.parent.name if path.parent.name == "subagents" else "?"
        self.health = self.session.health
        self.clock = Clock(self.health)
        self.messages: dict[str, ApiMessage] = {}
        self.nested: dict[str, ApiMessage] = {}
        self.calls: set[str] = set()
        self.results: set[str] = set()
        self.lines: set[str] = set()
        self.fields: set[str] = set()
        self.used: set[str] = set()
        self.ids: dict[str, int] = {}
        self.last: ApiMessage | None = None
        self.last_counts: dict[str, Any] = {}
        """Those of the last line of `last`: most lines of a message repeat them."""

    def read(self, stream: Stream) -> Session:
        lines = Lines(stream, self.health)
        for line in lines:
            if line.startswith(_SKIPPED):
                continue
            if line.find(b'"progress"', 0, _HEAD) >= 0 and _PROGRESS.search(line, 0, _HEAD) and b'"usage"' not in line:
                continue
            entry = _without_copy(line) or lines.decode(line)
            if entry is not None:
                self._entry(entry)
        session = self.session
        if self.ids and session.id not in self.ids and not session.parent:
            session.id = max(self.ids, key=lambda found: self.ids[found])
        self.health.other_sessions = sum(number for found, number in self.ids.items() if found != session.id)
        session.nested = list(self.nested.values())
        session.fields = frozenset(self.fields)
        session.tools = frozenset(self.used)
        return session

    def _entry(self, entry: dict[str, Any]) -> None:
        kind = text(entry.get("type"), self.health)
        if kind not in ("assistant", "user", "system"):
            if kind == "progress":
                self._progress(entry)
            elif kind not in _KNOWN:
                self.health.unknown[kind] = self.health.unknown.get(kind, 0) + 1
            return
        if self._is_repeated(entry, kind):
            return
        at = self.clock.read(entry.get("timestamp"))
        self._envelope(entry)
        if entry.get("isSidechain") is True and not self.session.parent:
            if kind == "assistant":
                self._answer(entry, at, self.nested)
            return
        if kind == "assistant":
            self._answer(entry, at, self.messages)
        elif kind == "user":
            self._user(entry, at)
        else:
            self._system(entry, at)

    def _is_repeated(self, entry: dict[str, Any], kind: str) -> bool:
        """Whether a line was there before; of an answer's, counts that are larger are taken all the same."""
        unique = text(entry.get("uuid"), self.health)
        if unique not in self.lines:
            if unique:
                self.lines.add(unique)
            return False
        if kind == "assistant":
            message = mapping(entry.get("message"), self.health)
            key = self._key(entry, message)
            known = self.messages.get(key) or self.nested.get(key)
            if known is not None:
                known.usage.raise_to(self._usage(mapping(message.get("usage"), self.health)))
        return True

    def _envelope(self, entry: dict[str, Any]) -> None:
        session = self.session
        found = text(entry.get("sessionId"), self.health)
        if found:
            self.ids[found] = self.ids.get(found, 0) + 1
        if not session.cwd:
            session.cwd = text(entry.get("cwd"), self.health)
        if not session.branch:
            session.branch = text(entry.get("gitBranch"), self.health)
        if not session.entrypoint and "entrypoint" in entry:
            session.entrypoint = text(entry["entrypoint"], self.health)

    def _answer(self, entry: dict[str, Any], at: float, into: dict[str, ApiMessage]) -> None:
        health = self.health
        message = mapping(entry.get("message"), health)
        model = text(message.get("model"), health)
        key = self._key(entry, message)
        counts = mapping(message.get("usage"), health)
        known = into.get(key)
        if known is None:
            usage = self._usage(counts)
            known = ApiMessage(key, at, model, text(entry.get("version"), health), "", usage)
            known.is_error = model == SYNTHETIC or entry.get("isApiErrorMessage") is True
            known.first_usage.raise_to(usage)
            into[key] = known
            if into is self.messages:
                self.session.events.append(known)
        elif known is not self.last or counts != self.last_counts:
            known.usage.raise_to(self._usage(counts))
        self.last, self.last_counts = known, counts
        if "effort" in entry:
            known.effort = known.effort or text(entry["effort"], health)
            if known.effort:
                self.fields.add("effort")
        content = message.get("content")
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else items(content, health)
        for block in blocks:
            self._block(mapping(block, health), known, at, into is self.messages)

    def _key(self, entry: dict[str, Any], message: dict[str, Any]) -> str:
        key = text(message.get("id"), self.health) or text(entry.get("uuid"), self.health)
        request = text(entry.get("requestId"), self.health)
        return f"{key}:{request}" if request else key

    def _usage(self, counts: dict[str, Any]) -> Usage:
        if "cache_read_input_tokens" in counts:
            self.fields.add("cache")
        return anthropic_usage(counts, self.health)

    def _block(self, block: dict[str, Any], message: ApiMessage, at: float, is_own: bool) -> None:
        kind = block.get("type")
        if kind == "text":
            said = text(block.get("text"), self.health)
            message.text = f"{message.text}\n{said}" if message.text else said
        elif kind in ("thinking", "redacted_thinking"):
            thought = text(block.get("thinking"), self.health)
            signature = text(block.get("signature"), self.health)
            message.thinking_blocks += 1
            message.thinking_characters += len(thought)
            self.fields.add("thinking")
            if thought:
                self.fields.add("thinking_text")
            if signature:
                message.signatures.append(len(signature))
                self.fields.add("signature")
        elif kind in ("tool_use", "server_tool_use") and is_own:
            self._call(block, at)

    def _call(self, block: dict[str, Any], at: float) -> None:
        identity = text(block.get("id"), self.health)
        if identity and identity in self.calls:
            return
        self.calls.add(identity)
        name = text(block.get("name"), self.health)
        self.used.add(name)
        self.fields.add("tools")
        self.session.events.append(tools.call(identity, at, name, mapping(block.get("input"), self.health)))

    def _user(self, entry: dict[str, Any], at: float) -> None:
        content = mapping(entry.get("message"), self.health).get("content")
        if isinstance(content, str):
            self._prompt(entry, content, at)
            return
        words = []
        for block in items(content, self.health):
            block = mapping(block, self.health)
            if block.get("type") == "tool_result":
                self._result(block, at)
            elif block.get("type") == "text":
                words.append(text(block.get("text"), self.health))
        if words:
            self._prompt(entry, "\n".join(words), at)

    def _prompt(self, entry: dict[str, Any], words: str, at: float) -> None:
        if words.startswith(_INTERRUPT):
            self.session.events.append(Interrupt(at))
            return
        if entry.get("isCompactSummary") is True:
            self.session.events.append(Note(at, "compact"))
            return
        origin: PromptOrigin = "typed"
        command = _COMMAND.search(words) if words.lstrip().startswith("<command-") else None
        source = mapping(entry.get("origin"), self.health).get("kind")
        if entry.get("isMeta") is True or entry.get("isVisibleInTranscriptOnly") is True or source == _NOTIFICATION:
            origin = "injected"
        elif command:
            origin, words = "command", command.group(1)
        elif entry.get("promptSource") == "sdk" or self.session.entrypoint.startswith("sdk"):
            origin = "scripted"
        elif words.lstrip().startswith(_MADE_UP):
            origin = "injected"
        if "promptSource" in entry:
            self.fields.add("prompt_source")
        self.session.events.append(Prompt(at, words, origin, text(entry.get("permissionMode"), self.health)))

    def _result(self, block: dict[str, Any], at: float) -> None:
        identity = text(block.get("tool_use_id"), self.health)
        if identity in self.results:
            return
        self.results.add(identity)
        content = block.get("content")
        parts = [content] if isinstance(content, str) else [
            text(mapping(part, self.health).get("text"), self.health) for part in items(content, self.health)
        ]  # fmt: skip
        if "is_error" in block:
            self.fields.add("is_error")
        is_denied = bool(parts) and parts[0].startswith(_DENIED)
        size = sum(map(len, parts))
        self.session.events.append(ToolResult(identity, at, block.get("is_error") is True, size, is_denied))

    def _system(self, entry: dict[str, Any], at: float) -> None:
        subtype = text(entry.get("subtype"), self.health)
        if subtype == "turn_duration":
            duration = entry.get("durationMs")
            if isinstance(duration, (int, float)) and not isinstance(duration, bool) and duration >= 0:
                self.fields.add("turn_duration")
                self.session.events.append(Note(at, "turn_duration", duration / 1000))
        elif subtype == "compact_boundary":
            self.fields.add("compact_boundary")
        elif subtype == "stop_hook_summary" and entry.get("preventedContinuation") is True:
            self.session.events.append(Note(at, "stop_hook_block"))
        elif subtype == "api_error":
            self.session.events.append(Note(at, "api_error"))

    def _progress(self, entry: dict[str, Any]) -> None:
        inner = mapping(mapping(entry.get("data"), self.health).get("message"), self.health)
        if inner.get("type") == "assistant":
            self._answer(inner, self.clock.read(inner.get("timestamp")), self.nested)
