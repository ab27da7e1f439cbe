"""Which requests are an agent's work: those that offer tools, wherever a client puts them, and want no JSON."""

from __future__ import annotations

from typing import Any

import pytest

from seatrial.agents.gateway.calls import offers_tools, tool_names

SHELL = {"type": "function", "name": "shell", "parameters": {}}
SPACE = {"type": "namespace", "name": "functions", "tools": [{"type": "custom", "name": "exec"}, SHELL]}
CODEX = [{"type": "additional_tools", "role": "developer", "tools": [SPACE]}, {"role": "user", "content": "hi"}]


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ({"tools": [{"name": "Bash", "input_schema": {}}]}, ["Bash"]),
        ({"tools": [{"type": "function", "function": {"name": "bash"}}]}, ["bash"]),
        ({"tools": [{"functionDeclarations": [{"name": "run_shell_command"}, {"name": "glob"}]}]},
         ["run_shell_command", "glob"]),
        ({"tools": [{"type": "web_search"}]}, ["web_search"]),
        ({"input": CODEX}, ["exec", "shell"]),
        ({"input": CODEX, "tools": [{"type": "web_search"}]}, ["web_search", "exec", "shell"]),
        ({"input": "hi", "tools": None}, []),
        ({"input": [1, {"type": "additional_tools", "tools": "x"}], "tools": [1, {"type": "namespace", "tools": 1}]},
         ["namespace"]),
    ],
)  # fmt: skip
def test_tools_are_found_in_every_dialect(value: dict[str, Any], names: list[str]) -> None:
    assert tool_names(value) == names
    assert offers_tools(value) is bool(names)


def test_a_title_is_a_call_on_the_side_although_it_offers_tools() -> None:
    assert not offers_tools({"input": CODEX, "text": {"format": {"type": "json_schema", "schema": {}}}})
    assert offers_tools({"input": CODEX, "text": {"verbosity": "low"}})
    assert offers_tools({"input": CODEX, "text": "x"})
