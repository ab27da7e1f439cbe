"""What tool calls and shell commands do, whatever the tools are called."""

from __future__ import annotations

import pytest

from seatrial.canary.commands import shell_effects
from seatrial.canary.tools import call, effects, is_known, kind_of, path_key

COMMANDS = {
    "cat src/main.py": [("read", "src/main.py")],
    "sed -n '1,40p' src/main.py": [("read", "src/main.py")],
    "cd repo && head -20 README.md": [("read", "README.md")],
    "git diff HEAD~1 -- src/a.py": [("read", "src/a.py")],
    "git -C sub log": [("read", "")],
    "rg TODO src": [("search", "src")],
    "find . -name '*.py'": [("search", "*.py")],
    "ls -la src/": [("list", "src/")],
    "make test 2>&1 | tail -5": [],
    "go test ./... | grep FAIL": [],
    "echo hello": [],
    "echo hello > notes.txt": [("write", "notes.txt")],
    "echo more >> notes.txt": [("edit", "notes.txt")],
    "make > /dev/null 2>&1": [],
    "python x.py > /tmp/out.txt": [],
    "cat > new.py <<'EOF'\nprint(1)\ncat other.py\nEOF": [("write", "new.py")],
    "sed -i 's/a/b/' src/a.py": [("edit", "src/a.py")],
    "git commit -m 'cat > file'": [],
    "curl https://example.com/x": [("web", "")],
    "curl http://localhost:8000/health": [],
    "VAR=1 sudo cat /etc/hosts": [("read", "/etc/hosts")],
    "unclosed 'quote && cat a.py": [("read", "a.py")],
    "": [],
}


@pytest.mark.parametrize(("command", "expected"), COMMANDS.items(), ids=[repr(command) for command in COMMANDS])
def test_shell_commands(command: str, expected: list[tuple[str, str]]) -> None:
    found = shell_effects(command)
    assert [(effect.action, effect.path) for effect in found] == expected
    assert all(effect.by_shell for effect in found)


def test_a_patch_names_its_files() -> None:
    patch = "*** Begin Patch\n*** Update File: a.py\n@@\n-x\n+y\n*** Add File: b/c.py\n+z\n*** End Patch"
    for made in (call("1", 0.0, "apply_patch", {"input": patch}), call("1", 0.0, "shell", {"command": patch})):
        if made.kind == "shell":
            made.command = "apply_patch <<'EOF'\n" + patch + "\nEOF"
        assert [(effect.action, effect.path) for effect in effects(made)] == [("edit", "a.py"), ("write", "b/c.py")]


@pytest.mark.parametrize(
    ("name", "arguments", "kind"),
    [
        ("Read", {"file_path": "a"}, "read"),
        ("OpenFile", {"file_path": "a"}, "read"),
        ("ChangeFile", {"file_path": "a", "old_string": "x", "new_string": "y"}, "edit"),
        ("CreateFile", {"file_path": "a", "content": "x"}, "write"),
        ("Seek", {"pattern": "x", "path": "src"}, "search"),
        ("Terminal", {"command": "ls"}, "shell"),
        ("Helper", {"subagent_type": "x", "prompt": "y"}, "agent"),
        ("Fetch", {"url": "https://example.com"}, "web"),
        ("ListFolder", {"path": "src"}, "list"),
        ("mcp__tickets__search", {"pattern": "x"}, "other"),
        ("Mystery", {}, "other"),
    ],
)
def test_names_that_are_not_known_are_guessed(name: str, arguments: dict[str, str], kind: str) -> None:
    assert kind_of(name, arguments) == kind


def test_known_names() -> None:
    assert is_known("Read")
    assert is_known("read_file")
    assert not is_known("OpenFile")


def test_a_command_that_is_a_list() -> None:
    assert call("1", 0.0, "shell", {"command": ["bash", "-lc", "cat a.py"]}).command == "cat a.py"
    assert call("1", 0.0, "shell", {"command": ["cat", "a b.py"]}).command == "cat 'a b.py'"
    assert call("1", 0.0, "shell", {"command": 7}).command == ""


def test_files_are_known_by_their_last_two_parts() -> None:
    assert path_key("/home/ann/repo/src/a.py") == path_key("./src/a.py") == path_key("repo\\src\\a.py") == "src/a.py"
    assert path_key("a.py") == "a.py"
    assert path_key("") == ""
