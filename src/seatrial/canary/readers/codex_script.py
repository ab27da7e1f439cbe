"""Codex: programs that the model writes to use its tools, of which the log tells what they ran, or only the text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import orjson

from seatrial.canary import tools
from seatrial.canary.events import Health, ToolCall
from seatrial.canary.readers.values import mapping, text

_COMMAND = re.compile(r"[\"']?\b(?:cmd|command)[\"']?\s*:\s*(\"(?:[^\"\\]|\\.)*\")")
_PATCH = "*** Begin Patch"
_VERBS = {"add": "Add", "create": "Add", "delete": "Delete", "remove": "Delete"}


class Script:
    """One program; `count` is how many of the tools it used the log has told."""

    def __init__(self, identity: str, at: float, source: str) -> None:
        self.id = identity
        self.at = at
        self.count = 0
        self._source = source

    def unseen(self) -> Iterator[ToolCall]:
        """Yield the calls that its text shows, when the log tells none; the program itself if it shows none."""
        if self.count:
            return
        found = 0
        for match in _COMMAND.finditer(self._source):
            try:
                command = orjson.loads(match.group(1))
            except orjson.JSONDecodeError:
                continue
            found += 1
            yield tools.call(f"{self.id}:{found}", self.at, "exec_command", {"cmd": command})
        if _PATCH in self._source:
            found += 1
            patch = self._source.replace("\\n", "\n")
            yield tools.call(f"{self.id}:{found}", self.at, "apply_patch", {"input": patch})
        if not found:
            yield ToolCall(self.id, self.at, "exec", "other")


def ran(item: dict[str, Any], identity: str, at: float, health: Health) -> ToolCall | None:
    """Return the call that a finished item tells of; None when it is not one of a tool."""
    kind = item.get("type")
    if kind in ("CommandExecution", "exec_command_end"):
        return tools.call(identity, at, "exec_command", {"command": item.get("command")})
    if kind in ("FileChange", "patch_apply_end"):
        lines = [_patched(path, change) for path, change in mapping(item.get("changes"), health).items()]
        return tools.call(identity, at, "apply_patch", {"input": "\n".join(lines)})
    if kind in ("McpToolCall", "mcp_tool_call_end"):
        used = mapping(item.get("invocation", item), health)
        server, name = text(used.get("server"), health), text(used.get("tool"), health)
        return tools.call(identity, at, f"mcp__{server}__{name}", mapping(used.get("arguments"), health))
    if kind == "WebSearch" or (kind == "Extension" and item.get("action") is not None):
        return tools.call(identity, at, "web_search", {})
    return None


def _patched(path: str, change: Any) -> str:
    kind = change.get("type") or change.get("kind") if isinstance(change, dict) else None
    verb = _VERBS.get(kind, "Update") if isinstance(kind, str) else "Update"
    return f"*** {verb} File: {path}"
