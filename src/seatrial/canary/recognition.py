"""Whose log a file is, by its first bytes, and which machine or person it came from, by its path."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from seatrial.canary.events import AgentName
from seatrial.canary.readers.values import seconds

HEAD = 16 << 10
"""First bytes of a file that are looked at."""
_CODEX = re.compile(
    rb'"type": ?"(?:session_meta|response_item|event_msg|turn_context)"|"record_type": ?"'
    rb'|^\{"id": ?"[^"]+", ?"timestamp":'
)
_GEMINI = re.compile(rb'"projectHash": ?"')
_CLAUDE = re.compile(
    rb'"parentUuid": ?|"leafUuid": ?"|"messageId": ?"[^"]+", ?"snapshot"|"type": ?"(?:user|assistant|system|summary'
    rb"|queue-operation|progress|attachment|file-history-snapshot|mode|permission-mode|last-prompt|ai-title"
    rb')"(?=.{0,4000}"sessionId")|"sessionId": ?"[^"]+".{0,4000}"type": ?"(?:user|assistant|system)"',
    re.DOTALL,
)
_TIME = re.compile(rb'"(?:timestamp|startTime|created)": ?(?:"([^"]{10,40})"|(\d{10,13})\b)')
_CHECKPOINT = re.compile(r"^(.*?)/?[0-9a-f]{2}/[0-9a-f]+/\d+$")


def recognised(head: bytes) -> AgentName | None:
    """Return whose log begins with `head`; None when it is none that is known."""
    if _CODEX.search(head):
        return "codex"
    if _GEMINI.search(head):
        return "gemini"
    return "claude_code" if _CLAUDE.search(head) else None


def first_time(head: bytes) -> float:
    """Return the first time that `head` says, in seconds since 1970; 0.0 when it says none."""
    for match in _TIME.finditer(head):
        text, number = match.groups()
        at = seconds(text.decode("ascii", "replace") if text else int(number))
        if at:
            return at
    return 0.0


def place_of(agent: AgentName, inside: str) -> str:
    """Return the place of a log: what of its path `inside` a tree stands before the agent's own folders."""
    folders = list(PurePosixPath(inside).parent.parts)
    checkpoint = _CHECKPOINT.match("/".join(folders)) if inside.endswith("/full.jsonl") else None
    if checkpoint:
        # A repository that keeps copies of logs, of whichever agent, beside its commits.
        return checkpoint.group(1)
    if agent == "claude_code":
        if "subagents" in folders:
            # <project>/<session>/subagents/…
            folders = folders[: max(0, folders.index("subagents") - 1)]
        return _without(folders[:-1], "projects", ".claude")
    if agent == "codex":
        for name in ("sessions", "archived_sessions"):
            if name in folders:
                return _without(folders[: folders.index(name)], ".codex")
    elif agent == "gemini" and "chats" in folders:
        return _without(folders[: max(0, folders.index("chats") - 1)], "tmp", ".gemini")
    elif agent == "opencode" and inside:
        if "session" in folders:
            folders = folders[: max(0, folders.index("session") - 1)]
        return _without(folders, "opencode", "share", ".local")
    return "/".join(folders)


def _without(folders: list[str], *ends: str) -> str:
    for end in ends:
        if folders and folders[-1] == end:
            folders = folders[:-1]
    return "/".join(folders)
