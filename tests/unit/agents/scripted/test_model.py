"""The scripted model: scripts, conversations, shell tools of real clients, faults."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from seatrial.agents.scripted import script
from seatrial.agents.scripted.model import SIDE_ANSWER, ScriptedModel, Server
from seatrial.agents.scripted.shapes import required, shell_call
from seatrial.errors import HarnessError

CODEX = {
    "type": "object",
    "properties": {"command": {"type": "array", "items": {"type": "string"}}, "workdir": {"type": "string"}},
    "required": ["command", "workdir"],
}
CLAUDE = {
    "type": "object",
    "properties": {"command": {"type": "string"}, "timeout": {"type": "number"}, "description": {"type": "string"}},
    "required": ["command", "description"],
}
EXEC = {"type": "object", "properties": {"cmd": {"type": "string"}}, "required": ["cmd"]}
GEMINI = {"type": "OBJECT", "properties": {"command": {"type": "STRING"}}, "required": ["command"]}


JAVASCRIPT = 'const done = await tools.exec_command({cmd: "ls"});\ntext(done);\n'


def anthropic(server: Server, messages: list[dict[str, Any]], tools: bool = True) -> dict[str, Any]:
    body: dict[str, Any] = {"model": "m", "max_tokens": 9, "messages": messages}
    if tools:
        body["tools"] = [{"name": "Bash", "input_schema": CLAUDE}]
    return post(server, "/v1/messages", body)[1]


def post(server: Server, path: str, body: dict[str, Any]) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=30)
    try:
        connection.request("POST", path, json.dumps(body), {"x-api-key": "k"})
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def model(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


@pytest.mark.parametrize(
    ("tools", "call"),
    [
        ({"Read": {}, "Bash": CLAUDE}, ("Bash", {"description": "Scripted description.", "command": "ls"})),
        ({"shell": CODEX}, ("shell", {"workdir": "Scripted workdir.", "command": ["bash", "-lc", "ls"]})),
        ({"exec_command": EXEC}, ("exec_command", {"cmd": "ls"})),
        ({"run_shell_command": GEMINI}, ("run_shell_command", {"command": "ls"})),
        ({"local_shell": {}}, ("local_shell", {"command": ["bash", "-lc", "ls"]})),
        ({"my_terminal": EXEC}, ("my_terminal", {"cmd": "ls"})),
        ({"exec": {"freeform": "await tools.exec_command(...)"}}, ("exec", {"input": JAVASCRIPT})),
        ({"Read": {"properties": {"path": {}}}}, None),
    ],
)
def test_a_command_runs_by_whichever_tool_there_is(tools: dict[str, Any], call: Any) -> None:
    assert shell_call(tools, "ls") == call


def test_required_fields_are_filled_by_their_kind() -> None:
    kinds = {
        "a": {"type": "integer"}, "b": {"type": ["string", "null"]}, "c": {"enum": ["x", "y"]}, "d": {"type": "ARRAY"},
        "e": {"type": "object", "properties": {"f": {"type": "boolean"}}, "required": ["f"]},
        "g": {"anyOf": [{"type": "number"}]},
    }  # fmt: skip
    schema = {"properties": kinds, "required": list(kinds)}
    assert required(schema) == {"a": 1, "b": "Scripted b.", "c": "x", "d": [], "e": {"f": False}, "g": 1}


def test_turns_are_counted_from_the_request_and_conversations_begin_where_a_text_matches() -> None:
    written = {
        "turn": [{"text": "one"}, {"text": "two"}],
        "conversation": {"fix": {"when": "fix", "turn": [{"text": "fix one"}, {"text": "fix two", "when": "tests"}]}},
    }
    with ScriptedModel(script.parse(written)).serve() as server:

        def says(*messages: dict[str, Any]) -> str:
            return str(anthropic(server, list(messages))["content"][0]["text"])

        assert says(user("go")) == "one"
        assert says(user("go"), model("one"), user("on")) == "two"
        assert says(user("go"), model("one"), user("on"), model("two"), user("x")) == "The script has no more turns."
        assert says(user("go"), model("one"), user("please fix")) == "fix one"
        assert says(user("go"), model("one"), user("please fix"), model("fix one"), user("tests")) == "fix two"
        assert "expected /tests/" in says(user("fix"), model("fix one"), user("else"))
        assert says(user("go")) == "one"


def test_requests_without_tools_are_side_calls() -> None:
    with ScriptedModel(script.parse({"turn": [{"text": "one"}]})).serve() as server:
        assert anthropic(server, [user("title?")], tools=False)["content"][0]["text"] == SIDE_ANSWER
        schema = {"type": "object", "properties": {"title": {"type": "string"}}, "required": ["title"]}
        form = {"type": "json_schema", "json_schema": {"schema": schema}}
        _, answer = post(server, "/v1/chat/completions", {"model": "m", "messages": [], "response_format": form})
        assert json.loads(answer["choices"][0]["message"]["content"]) == {"title": "Scripted title."}
        assert post(server, "/v1/messages/count_tokens", {"model": "m"})[1]["input_tokens"] > 0
        assert post(server, "/v1beta/models/m:countTokens", {"contents": []})[1]["totalTokens"] > 0
    with ScriptedModel(script.parse({"turn": [{"text": "one"}], "without_tools": "script"})).serve() as server:
        assert anthropic(server, [user("hello")], tools=False)["content"][0]["text"] == "one"


def test_codex_puts_its_tools_into_the_conversation_and_takes_text() -> None:
    custom = {"type": "custom", "name": "exec", "description": "await tools.exec_command(...)"}
    space = {"type": "namespace", "name": "functions", "tools": [custom]}
    asked = [{"type": "additional_tools", "tools": [space]}, {"type": "message", "role": "user", "content": "go"}]
    with ScriptedModel(script.parse({"turn": [{"run": "ls"}, {"text": "done"}]})).serve() as server:
        _, answer = post(server, "/v1/responses", {"model": "m", "input": asked})
        call = answer["output"][0]
        assert (call["type"], call["name"], call["input"]) == ("custom_tool_call", "exec", JAVASCRIPT)
        asked += [call, {"type": "custom_tool_call_output", "call_id": call["call_id"], "output": "a"}]
        _, answer = post(server, "/v1/responses", {"model": "m", "input": asked})
        assert answer["output"][0]["content"][0]["text"] == "done"
        form = {"format": {"type": "json_schema", "schema": {"properties": {"title": {}}, "required": ["title"]}}}
        _, answer = post(server, "/v1/responses", {"model": "m", "input": asked[:2], "text": form})
        assert json.loads(answer["output"][0]["content"][0]["text"]) == {"title": "Scripted title."}


def test_faults_happen_as_often_as_they_should() -> None:
    turns = [{"text": "fine", "fault": "429", "fault_times": 2}]
    with ScriptedModel(script.parse({"turn": turns})).serve() as server:
        body = {"model": "m", "messages": [user("x")], "tools": [{"name": "Bash", "input_schema": CLAUDE}]}
        assert [post(server, "/v1/messages", body)[0] for _ in range(4)] == [429, 429, 200, 200]


def test_another_key_is_refused() -> None:
    with ScriptedModel(script.parse({}), key="real").serve() as server:
        assert post(server, "/v1/messages", {"messages": []})[0] == 401


@pytest.mark.parametrize(
    "written",
    [
        {"turns": []},
        {"turn": [{"txt": "x"}]},
        {"turn": [{"fault": "fire"}]},
        {"turn": [{"stop": "x"}]},
        {"turn": [{"when": "("}]},
        {"turn": [{"tools": [{"input": {}}]}]},
        {"conversation": {"a": {"when": "("}}},
        {"without_tools": "never"},
    ],
)
def test_bad_scripts(written: dict[str, Any]) -> None:
    with pytest.raises(HarnessError):
        script.parse(written)


def test_the_command(tmp_path: Path) -> None:
    file = tmp_path / "script.toml"
    file.write_text('[[turn]]\ntext = "hello"\n')
    port_file = tmp_path / "port"
    command = [sys.executable, "-m", "seatrial.agents.scripted.model"]
    process = subprocess.Popen([*command, str(file), "--port-file", str(port_file)], stdout=subprocess.PIPE)
    try:
        for _ in range(1000):
            if port_file.exists():
                break
            time.sleep(0.01)
        connection = http.client.HTTPConnection("127.0.0.1", int(port_file.read_text()), timeout=30)
        connection.request("GET", "/v1/models")
        assert json.loads(connection.getresponse().read())["data"][0]["id"] == "scripted"
        connection.close()
    finally:
        process.kill()
        process.communicate()
    bad = subprocess.run([*command, str(tmp_path / "none.toml")], capture_output=True, text=True, check=False)
    assert bad.returncode == 1 and bad.stderr.startswith("error: ") and "Traceback" not in bad.stderr
