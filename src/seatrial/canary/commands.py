"""What a shell command does to files: one that reads, searches, lists or writes counts as that."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import Literal

Action = Literal["read", "search", "list", "edit", "write", "web"]


@dataclass(frozen=True, slots=True)
class Effect:
    """One thing that a call does; `path` is empty when the call does not say it."""

    action: Action
    path: str = ""
    by_shell: bool = False


PATCHED = re.compile(r"^\*\*\* (Update|Add|Delete) File: (.+)$", re.MULTILINE)
"""The lines of a patch that name files."""


def patched_files(text: str, *, by_shell: bool) -> list[Effect]:
    """Return what a patch in the format of `apply_patch` does; an edit of something when it names no file."""
    found = [
        Effect("write" if match.group(1) == "Add" else "edit", match.group(2).strip(), by_shell)
        for match in PATCHED.finditer(text)
    ]
    return found or [Effect("edit", "", by_shell)]


_INTERESTING = re.compile(
    r"\b(?:cat|bat|nl|less|more|head|tail|sed|awk|rg|grep|egrep|fgrep|ag|ack|find|fd|ls|tree|git|tee|perl|patch"
    r"|apply_patch|wc|xxd|strings|diff|curl|wget|Get-Content|Set-Content|Select-String|Get-ChildItem)\b|>"
)
_READERS = frozenset({"cat", "bat", "nl", "less", "more", "head", "tail", "xxd", "strings", "diff", "get-content"})
_SEARCHERS = frozenset({"rg", "grep", "egrep", "fgrep", "ag", "ack", "find", "fd", "select-string"})
_LISTERS = frozenset({"ls", "tree", "get-childitem"})
_GIT: dict[str, Action] = {
    "show": "read", "diff": "read", "blame": "read", "log": "read", "grep": "search", "ls-files": "list",
    "ls-tree": "list", "apply": "edit",
}  # fmt: skip
_ORDER: tuple[Action, ...] = ("edit", "write", "read", "search", "list", "web")
_SCRATCH = ("/dev/", "/tmp/", "/private/tmp/", "/var/tmp/", "/var/folders/", "$TMPDIR", "${TMPDIR", "$tmp", "&")
_HEREDOC = re.compile(r"<<-?\s*(['\"]?)(\w+)\1([^\n]*)\n.*?^\s*\2\s*$", re.DOTALL | re.MULTILINE)
_PREFIXES = frozenset({"sudo", "command", "time", "nice", "env", "nohup", "xargs"})


def shell_effects(command: str) -> list[Effect]:
    """Return what a shell command does to files: at most one read, search, list or web look-up, and each write.

    What follows a pipe reads what came before, no file, unless it names one.  Files in the folders of temporary files
    are no changes.
    """
    if not _INTERESTING.search(command):
        return []
    if "apply_patch" in command and "*** Begin Patch" in command:
        return patched_files(command, by_shell=True)
    changes: list[Effect] = []
    looks: list[Effect] = []
    for words, is_piped in _simple_commands(_HEREDOC.sub(r"<<\2\3", command)):
        changes += _redirected(words)
        effect = _of_command(words, is_piped)
        if effect and effect.action in ("edit", "write"):
            changes.append(effect)
        elif effect:
            looks.append(effect)
    looks.sort(key=lambda effect: _ORDER.index(effect.action))
    if changes and changes[0].action == "write":
        # `cat > file` shows nothing.
        looks = [effect for effect in looks if effect.path]
    return changes + looks[:1]


def _simple_commands(command: str) -> list[tuple[list[str], bool]]:
    lexer = shlex.shlex(command, posix=True, punctuation_chars=";|&<>\n()")
    lexer.whitespace = " \t\r"
    lexer.whitespace_split = True
    lexer.commenters = ""
    try:
        tokens = list(lexer)
    except ValueError:
        tokens = re.findall(r"[;|&<>\n]+|[^\s;|&<>]+", command)
    found: list[tuple[list[str], bool]] = []
    words: list[str] = []
    is_piped = False
    for token in tokens:
        if token.strip(";|&\n()") == "" and token not in ("&",):
            found.append((words, is_piped))
            words, is_piped = [], "|" in token and "||" not in token
        else:
            words.append(token)
    found.append((words, is_piped))
    return [(words, is_piped) for words, is_piped in found if words]


def _redirected(words: list[str]) -> list[Effect]:
    found: list[Effect] = []
    for index, word in enumerate(words[:-1]):
        if word in (">", ">>", ">|"):
            target = words[index + 1]
            if not target.startswith(_SCRATCH):
                found.append(Effect("write" if word != ">>" else "edit", target, by_shell=True))
    return found


def _of_command(words: list[str], is_piped: bool) -> Effect | None:
    words = _without_redirections(words)
    while words and (words[0] in _PREFIXES or re.fullmatch(r"\w+=\S*", words[0])):
        is_piped = is_piped and words[0] != "xargs"
        words = words[1:]
    if not words:
        return None
    name = words[0].rsplit("/", 1)[-1].lower()
    rest = words[1:]
    plain = [word for word in rest if not word.startswith("-")]
    flags = [word for word in rest if word.startswith("-")]
    if name == "git":
        return _of_git(plain)
    if name in ("sed", "perl", "awk"):
        return _of_filter(name, plain, flags, is_piped)
    if name in ("tee", "set-content") and plain and not plain[0].startswith(_SCRATCH):
        return Effect("edit" if "-a" in flags else "write", plain[0], by_shell=True)
    if name == "patch":
        return Effect("edit", "", by_shell=True)
    files = [word for word in plain if not word.isdigit()]
    if name in _READERS:
        return Effect("read", files[-1] if files else "", by_shell=True) if files or not is_piped else None
    if name in _SEARCHERS:
        return Effect("search", files[-1] if len(files) > 1 else "", by_shell=True) if not is_piped else None
    if name in _LISTERS:
        return Effect("list", files[-1] if files else "", by_shell=True)
    return Effect("web", "", by_shell=True) if name in ("curl", "wget") and "localhost" not in " ".join(plain) else None


def _without_redirections(words: list[str]) -> list[str]:
    kept: list[str] = []
    skip = False
    for word in words:
        if skip:
            skip = False
        elif word.strip("<>&|") == "":
            skip = True
            if kept and kept[-1].isdigit():
                kept.pop()
        else:
            kept.append(word)
    return kept


def _of_git(plain: list[str]) -> Effect | None:
    # `git -C folder show …`: the first word that is a verb we know.
    for index, word in enumerate(plain[:3]):
        if word in _GIT:
            files = [part for part in plain[index + 1 :] if "/" in part or "." in part]
            return Effect(_GIT[word], files[-1] if files else "", by_shell=True)
    return None


def _of_filter(name: str, plain: list[str], flags: list[str], is_piped: bool) -> Effect | None:
    path = plain[-1] if len(plain) > 1 else ""
    if name != "awk" and any(re.fullmatch(r"-[a-zA-Z]*i.*|--in-place.*", flag) for flag in flags):
        return Effect("edit", path, by_shell=True)
    if name == "perl" or is_piped or not path:
        return None
    return Effect("read", path, by_shell=True)
