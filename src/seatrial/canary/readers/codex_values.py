"""Values of Codex's log lines: tokens, texts, results of tools, and which user messages nobody typed."""

from __future__ import annotations

import re
from typing import Any

import orjson

from seatrial.canary.events import Health, Usage
from seatrial.canary.readers.values import count, items, mapping, seconds, text

_MARKED = (
    "<environment_context", "<user_instructions", "<INSTRUCTIONS>", "# AGENTS.md instructions", "<turn_aborted",
    "<user_shell_command", "<skill", "<subagent_notification", "<permissions", "<collaboration_mode", "<model_switch",
    "<personality", "<plugins", "<apps_", "<hook_prompt", "Another language model started to solve this problem",
)  # fmt: skip
_TAGGED = re.compile(r"<[A-Za-z][\w-]*>")
_REQUEST = re.compile(r"^## My request for Codex:\s*", re.MULTILINE)
_FOLDER = re.compile(r"<cwd>([^<]+)</cwd>|^Current working directory: (.+)$", re.MULTILINE)
_PICTURE = re.compile(r"</?image[^>]*>")
_EXIT = re.compile(r"(?:Exit code:|exited with code) (-?\d+)")
_REFUSED = ("rejected by user", "denied by user", "rejected by the user", "user rejected")
_UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-", re.IGNORECASE)


def token_counts(value: dict[str, Any], health: Health) -> tuple[int, int, int, int, int]:
    """Return input, cached input, written to the cache, output and reasoning tokens as the log says them."""
    return (
        count(value.get("input_tokens"), health),
        count(value.get("cached_input_tokens"), health),
        count(value.get("cache_write_input_tokens"), health),
        count(value.get("output_tokens"), health),
        count(value.get("reasoning_output_tokens"), health),
    )


class Totals:
    """The running total of a thread, of which each answer is the difference to the one before."""

    def __init__(self) -> None:
        self.last: tuple[int, int, int, int, int] = (0, 0, 0, 0, 0)
        self.is_continued = False
        """The first total holds what a parent used."""

    def skip(self, total: dict[str, Any], health: Health) -> None:
        """Take a total that belongs to somebody else as what is counted from."""
        self.last = token_counts(total, health)
        self.is_continued = False

    def difference(self, total: dict[str, Any], latest: dict[str, Any], health: Health) -> Usage | None:
        """Return what was used since the last total; None when nothing was.

        A total that is smaller than the last belongs to a new count: then `latest`, what the last answer alone used,
        is taken, and the total where the log does not say that.
        """
        now, before = token_counts(total, health), self.last
        if now == before:
            return None
        self.last = now
        size, alone = now[0] + now[3], token_counts(latest, health)
        is_new = size < before[0] + before[3]
        if is_new or (self.is_continued and 0 < alone[0] + alone[3] < size):
            used = alone if alone[0] + alone[3] > 0 else now
        else:
            used = tuple(max(0, new - old) for new, old in zip(now, before, strict=True))  # type: ignore[assignment]
        self.is_continued = False
        given, cached, written, output, reasoning = used
        fresh = max(0, given - cached - written)
        return Usage(fresh, output, cached, written, 0, min(reasoning, output))


def content_text(value: Any, health: Health) -> str:
    """Return the text of a message's content: a string, or a list of parts."""
    if isinstance(value, str):
        return value
    found = (text(mapping(part, health).get("text"), health) for part in items(value, health))
    return "\n".join(part for part in found if part and not _PICTURE.fullmatch(part.strip()))


def asked(words: str) -> str:
    """Return what was typed out of what an editor's extension sends with it."""
    start = _REQUEST.search(words) if words.startswith("# Context from my IDE setup:") else None
    return (words[start.end() :] if start else words).strip()


def is_marked(words: str) -> bool:
    """Whether a user message is one that the program writes itself."""
    return words.startswith(_MARKED)


def is_tagged(words: str) -> bool:
    """Whether a message begins as those of the program do, though a person may have pasted it."""
    return _TAGGED.match(words) is not None


def folder_in(words: str) -> str:
    """Return the folder that the program's own first message names; empty when it names none."""
    found = _FOLDER.search(words)
    return (found.group(1) or found.group(2)).strip() if found else ""


def decoded(value: Any, health: Health) -> dict[str, Any]:
    """Return the arguments of a call: an object, or one written as a string; what is no JSON is the key `input`."""
    if not isinstance(value, str):
        return mapping(value, health)
    try:
        found = orjson.loads(value)
    except orjson.JSONDecodeError:
        return {"input": value}
    return found if isinstance(found, dict) else {"input": value}


def result(value: Any, health: Health) -> tuple[int, int | None, bool]:
    """Return size in characters, exit code (None when it is not said) and whether the user refused, of an output."""
    failed: int | None = None
    if isinstance(value, str) and value.startswith('{"'):
        inner = decoded(value, health)
        if "metadata" in inner or "output" in inner:
            value = inner
    if isinstance(value, dict):
        code = value.get("exit_code", mapping(value.get("metadata"), health).get("exit_code"))
        if value.get("success") is False or value.get("status") == "failed":
            failed = 1
        if isinstance(code, int) and not isinstance(code, bool):
            failed = code
        value = value.get("output", value.get("content", value.get("text")))
    if isinstance(value, dict):
        value = value.get("text")
    words = content_text(value, health)
    said = _EXIT.search(words, 0, 300)
    if failed is None and said:
        failed = int(said.group(1))
    is_denied = len(words) < 500 and any(phrase in words for phrase in _REFUSED)
    return len(words), failed, is_denied


def made_at(identity: str) -> float:
    """Return the seconds since 1970 that are in an identifier with a time (UUID version 7); 0.0 in others."""
    return int(identity[:8] + identity[9:13], 16) / 1000 if _UUID7.match(identity) else 0.0


def started(payload: dict[str, Any]) -> float:
    """Return when a thread was made, from its identifier or else from its header; 0.0 when neither says it."""
    identity = payload.get("id")
    return (made_at(identity) if isinstance(identity, str) else 0.0) or seconds(payload.get("timestamp"))
