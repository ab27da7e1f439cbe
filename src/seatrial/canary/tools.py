"""What a tool call does to files: by the tool's name, else by its arguments.

A tool that is renamed keeps its kind, because an unknown name is guessed from the keys of its input.
"""

from __future__ import annotations

import shlex
from typing import Any

from seatrial.canary.commands import PATCHED, Action, Effect, patched_files, shell_effects
from seatrial.canary.events import ToolCall, ToolKind

KINDS: dict[str, ToolKind] = {
    # Claude Code
    "read": "read", "notebookread": "read", "edit": "edit", "multiedit": "edit", "notebookedit": "edit",
    "write": "write", "grep": "search", "glob": "search", "ls": "list", "bash": "shell", "powershell": "shell",
    "webfetch": "web", "websearch": "web", "task": "agent", "agent": "agent", "bashoutput": "other",
    "killshell": "other", "taskoutput": "other", "taskstop": "other", "todowrite": "other", "taskcreate": "other",
    "taskupdate": "other", "tasklist": "other", "taskget": "other", "enterplanmode": "other", "exitplanmode": "other",
    "askuserquestion": "other", "skill": "other", "slashcommand": "other", "toolsearch": "other",
    # Codex
    "shell": "shell", "exec_command": "shell", "local_shell": "shell", "container.exec": "shell", "exec": "shell",
    "shell_command": "shell", "write_stdin": "other", "apply_patch": "edit", "update_plan": "other",
    "view_image": "read", "read_file": "read", "list_dir": "list", "grep_files": "search", "web_search": "web",
    "spawn_agent": "agent", "tool_search": "other",
    # Gemini
    "read_many_files": "read", "read_files": "read", "list_directory": "list", "search_file_content": "search",
    "grep_search": "search", "find_files": "search", "replace": "edit", "write_file": "write",
    "run_shell_command": "shell", "google_web_search": "web", "web_fetch": "web", "save_memory": "other",
    "write_todos": "other",
    # OpenCode
    "patch": "edit", "list": "list", "codesearch": "search", "invalid": "other", "question": "other",
}  # fmt: skip
"""Kinds by name in lower case; the names of all four agents do not contradict each other."""

_PATH_KEYS = ("file_path", "filePath", "notebook_path", "absolute_path", "path", "dir_path", "filename", "file")
_COMMAND_KEYS = ("command", "cmd", "script")
_OLD_KEYS = frozenset({"old_string", "oldString", "old_str", "edits", "new_source", "patch", "patchText", "diff"})
_NEW_KEYS = frozenset({"content", "contents", "file_text", "text"})
_SEARCH_KEYS = frozenset({"pattern", "regex", "glob"})


def kind_of(name: str, arguments: dict[str, Any]) -> ToolKind:
    """Return the kind of the tool `name`, guessed from the keys of its arguments if the name is not known."""
    known = KINDS.get(name) or KINDS.get(name.lower())
    if known:
        return known
    keys = arguments.keys()
    has_path = any(isinstance(arguments.get(key), str) for key in _PATH_KEYS)
    kind: ToolKind = "other"
    if name.startswith("mcp__") and not has_path:
        return kind
    if "subagent_type" in keys:
        kind = "agent"
    elif any(key in keys for key in _COMMAND_KEYS):
        kind = "shell"
    elif keys & _OLD_KEYS:
        kind = "edit"
    elif has_path and keys & _NEW_KEYS:
        kind = "write"
    elif keys & _SEARCH_KEYS:
        kind = "search"
    elif has_path:
        kind = "list" if "list" in name.lower() else "read"
    elif "url" in keys or "urls" in keys:
        kind = "web"
    return kind


def is_known(name: str) -> bool:
    """Whether the tool's name is one whose meaning is known, so that nothing is guessed."""
    return name.lower() in KINDS or name.startswith("mcp__")


def call(identity: str, at: float, name: str, arguments: dict[str, Any]) -> ToolCall:
    """Return the event of one use of a tool."""
    made = ToolCall(identity, at, name, kind_of(name, arguments))
    for key in _PATH_KEYS:
        path = arguments.get(key)
        if isinstance(path, str):
            made.path = path
            break
    if made.kind == "shell":
        made.command = _command(arguments)
    elif made.kind == "edit" and not made.path:
        made.command = _patch(arguments)
    return made


def _command(arguments: dict[str, Any]) -> str:
    for key in _COMMAND_KEYS:
        value = arguments.get(key)
        if isinstance(value, str):
            return value
        if isinstance(value, list) and value and all(isinstance(part, str) for part in value):
            # ["bash", "-lc", "…"] is the command in its last part.
            return value[-1] if len(value) == 3 and value[1] in ("-c", "-lc", "-Command") else shlex.join(value)
    return ""


def _patch(arguments: dict[str, Any]) -> str:
    for key in ("input", "patch", "patchText", "diff"):
        value = arguments.get(key)
        if isinstance(value, str):
            return "apply_patch\n" + "\n".join(match.group(0) for match in PATCHED.finditer(value))
    return ""


def path_key(path: str) -> str:
    """Return the last two parts of a path, by which files are known again."""
    parts = [part for part in path.replace("\\", "/").split("/") if part not in ("", ".")]
    return "/".join(parts[-2:])


_DIRECT: dict[str, Action] = {
    "read": "read", "search": "search", "list": "list", "edit": "edit", "write": "write", "web": "web",
}  # fmt: skip


def effects(made: ToolCall) -> list[Effect]:
    """Return what a call does; empty for one that touches no file and looks nothing up."""
    if made.kind == "shell":
        return shell_effects(made.command)
    if made.kind == "edit" and made.command:
        return patched_files(made.command, by_shell=False)
    action = _DIRECT.get(made.kind)
    return [Effect(action, made.path)] if action else []
