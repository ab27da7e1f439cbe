"""Recordings are whole, hold no key, survive a kill at any time, and replay byte for byte."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from seatrial.agents.gateway.recording import Recorder, blob, read_blob, read_entries
from seatrial.agents.scripted import script
from seatrial.agents.scripted.model import ScriptedModel
from seatrial.errors import RecordingError
from tests.unit.agents.gateway import yard
from tests.unit.agents.gateway.test_models import CASES

TURNS = [{"text": "First, I look.", "run": "ls"}, {"text": "Then I am done."}]
NOWHERE = "http://127.0.0.1:1"


def conversation(stamp: str, folder: str) -> list[dict[str, Any]]:
    """Two requests of one conversation, with what differs from run to run in them."""
    _, body = yard.request("anthropic", f"It is {stamp}. Your folder is {folder}. Fix the bug.", True)
    call = {"type": "tool_use", "id": f"toolu_{stamp[-8:]}", "name": "bash", "input": {"command": "ls"}}
    answer = {"type": "tool_result", "tool_use_id": call["id"], "content": f"total 8\n{folder}/main.py 0.12 s"}
    more = [{"role": "assistant", "content": [call]}, {"role": "user", "content": [answer]}]
    return [body, {**body, "messages": body["messages"] + more}]


def play(port: int, bodies: list[dict[str, Any]]) -> list[tuple[int, bytes]]:
    return [yard.post(port, "/anthropic/v1/messages", body)[::2] for body in bodies]  # type: ignore[misc]


@pytest.mark.parametrize(("dialect", "api", "streamed"), CASES)
def test_a_replay_gives_the_same_bytes_without_a_key(tmp_path: Path, dialect: str, api: str, streamed: bool) -> None:
    path, body = yard.request(dialect, "go", streamed, api)
    with (
        ScriptedModel(script.parse({"turn": TURNS})).serve() as model,
        yard.gateway(yard.policy(model.url), recording=tmp_path / "r") as running,
    ):
        first = yard.post(running.port, f"/{dialect}{path}", body)
        exchange = running.ledger.exchanges[0]
    with yard.gateway(yard.policy(NOWHERE, key=None), replay=tmp_path / "r") as running:
        again = yard.post(running.port, f"/{dialect}{path}", dict(reversed(body.items())))
        assert running.facts("replayed")["how"] == "exact"
    assert again[::2] == first[::2] and again[1]["content-type"] == first[1]["content-type"]
    replayed = running.ledger.exchanges[0]
    assert (replayed.stop, replayed.tools, replayed.usage.tokens) == (
        exchange.stop,
        exchange.tools,
        exchange.usage.tokens,
    )
    assert replayed.usage.usd == 0.0
    line = (tmp_path / "r" / "exchanges.jsonl").read_bytes()
    assert exchange.recorded == hashlib.sha256(line).hexdigest()


def test_no_file_of_a_recording_holds_a_key(tmp_path: Path) -> None:
    echo = script.parse({"turn": [{"text": "x", "fault": "echo_key"}]})
    with ScriptedModel(echo).serve() as model, yard.gateway(yard.policy(model.url), recording=tmp_path) as running:
        for dialect in yard.DIALECTS:
            path, body = yard.request(dialect, f"my key is {yard.KEY}", True)
            _, _, answer = yard.post(running.port, f"/{dialect}{path}", body)
            assert yard.KEY.encode() not in answer
        assert running.kinds().count("key_echoed") == 3
    for file in tmp_path.rglob("*"):
        if file.is_file():
            assert yard.KEY.encode() not in file.read_bytes() and b"inside" not in file.read_bytes()
            assert file.stat().st_mode & 0o077 == 0


def test_what_differs_from_run_to_run_does_not_matter(tmp_path: Path) -> None:
    with (
        ScriptedModel(script.parse({"turn": TURNS})).serve() as model,
        yard.gateway(yard.policy(model.url), recording=tmp_path) as running,
    ):
        first = play(running.port, conversation("2026-11-27T10:00:00Z", "/tmp/agent-a/work"))
    with yard.gateway(yard.policy(NOWHERE, key=None), replay=tmp_path) as running:
        assert play(running.port, conversation("2027-01-02T03:04:05Z", "/home/u/b")) == first
        assert [facts["how"] for kind, facts in running.events if kind == "replayed"] == ["stable", "stable"]


def test_the_place_in_a_conversation_is_the_last_resort(tmp_path: Path) -> None:
    bodies = conversation("2026-11-27T10:00:00Z", "/tmp/a/b")
    with (
        ScriptedModel(script.parse({"turn": TURNS})).serve() as model,
        yard.gateway(yard.policy(model.url), recording=tmp_path) as running,
    ):
        first = play(running.port, bodies)
    other = json.loads(json.dumps(bodies).replace("total 8", "total 16 and more"))
    with yard.gateway(yard.policy(NOWHERE, key=None), replay=tmp_path) as running:
        assert play(running.port, [other[1]]) == first[1:]
        assert running.facts("replayed")["how"] == "position"
        # It is used up; another tool set is another conversation.
        status, answer = play(running.port, [other[1]])[0]
        assert status == 400 and "The recording holds no answer" in json.loads(answer)["error"]["message"]
        assert play(running.port, [{**bodies[0], "tools": []}])[0][0] == 400
        assert running.kinds().count("replay_missing") == 2


def test_failures_and_repetitions_are_replayed_in_order(tmp_path: Path) -> None:
    turns = [{"text": "At last.", "fault": "500", "fault_times": 2}]
    body = conversation("2026-11-27", "/tmp/a/b")[:1]
    with (
        ScriptedModel(script.parse({"turn": turns})).serve() as model,
        yard.gateway(yard.policy(model.url), recording=tmp_path) as running,
    ):
        first = play(running.port, body * 3)
    assert [status for status, _ in first] == [500, 500, 200]
    with yard.gateway(yard.policy(NOWHERE, key=None), replay=tmp_path) as running:
        assert play(running.port, body * 3) == first
        assert play(running.port, body) == first[2:]


def test_half_a_stream_is_replayed_as_half_a_stream(tmp_path: Path) -> None:
    turns = [{"text": "A long text that is cut in the middle.", "fault": "cut"}]
    _, body = yard.request("anthropic", "go", True)
    data = json.dumps(body).encode()
    whole = f"POST /anthropic/v1/messages HTTP/1.1\r\nhost: x\r\ncontent-length: {len(data)}\r\n\r\n".encode() + data
    with (
        ScriptedModel(script.parse({"turn": turns})).serve() as model,
        yard.gateway(yard.policy(model.url), recording=tmp_path) as running,
    ):
        yard.raw(running.port, whole)
        running.until(lambda: bool(running.ledger.exchanges))
    with yard.gateway(yard.policy(NOWHERE, key=None), replay=tmp_path) as running:
        answer = yard.raw(running.port, whole)
    assert b"message_start" in answer and b"message_stop" not in answer and not answer.endswith(b"0\r\n\r\n")


def test_large_bodies_go_by_way_of_the_disk(tmp_path: Path) -> None:
    text = b'{"model": "m", "text": "' + b"x" * 5_000_000 + b'"}'
    with (
        yard.Upstream(yard.fixed(yard.plain(text))) as upstream,
        yard.gateway(yard.policy(upstream.url), recording=tmp_path) as running,
    ):
        _, body = yard.request("anthropic", "go", False)
        assert yard.post(running.port, "/anthropic/v1/messages", body)[2] == text
    entry = next(read_entries(tmp_path))
    assert read_blob(tmp_path, entry.response) == text and not list((tmp_path / "blobs").glob(".body.*"))


def test_a_torn_last_line_is_cut_off(tmp_path: Path) -> None:
    with ScriptedModel(script.parse({"turn": TURNS})).serve() as model:
        for _ in range(2):
            with yard.gateway(yard.policy(model.url), recording=tmp_path) as running:
                play(running.port, conversation("2026-11-27", "/tmp/a/b")[:1])
            with (tmp_path / "exchanges.jsonl").open("ab") as stream:
                stream.write(b'{"version": 1, "torn' * 9000)
            assert (
                len(list(read_entries(tmp_path))) == len((tmp_path / "exchanges.jsonl").read_bytes().split(b"\n")) - 1
            )
    assert len(list(read_entries(tmp_path))) == 2


@pytest.mark.parametrize("damage", ["line", "blob", "gone", "version", "empty"])
def test_a_damaged_recording_is_said(tmp_path: Path, damage: str) -> None:
    with (
        ScriptedModel(script.parse({"turn": TURNS})).serve() as model,
        yard.gateway(yard.policy(model.url), recording=tmp_path) as running,
    ):
        play(running.port, conversation("2026-11-27", "/tmp/a/b")[:1])
    lines = tmp_path / "exchanges.jsonl"
    body = blob(tmp_path, next(read_entries(tmp_path)).response)
    if damage == "line":
        lines.write_bytes(b"{}\n" + lines.read_bytes())
    elif damage == "version":
        lines.write_bytes(lines.read_bytes().replace(b'"version":1', b'"version":2'))
    elif damage == "empty":
        lines.unlink()
    elif damage == "blob":
        body.write_bytes(b"something else")
    else:
        body.unlink()
    if damage in ("line", "version", "empty"):
        with pytest.raises(RecordingError), yard.gateway(yard.policy(NOWHERE), replay=tmp_path):
            pass
        return
    with yard.gateway(yard.policy(NOWHERE), replay=tmp_path) as running:
        assert play(running.port, conversation("2026-11-27", "/tmp/a/b")[:1])[0][0] == 400


def test_a_recording_that_cannot_be_written_stops_no_agent(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordingError), yard.gateway(yard.policy(NOWHERE), recording=tmp_path / "file"):
        pass
    with (
        ScriptedModel(script.parse({"turn": TURNS})).serve() as model,
        yard.gateway(yard.policy(model.url), recording=tmp_path / "r") as running,
    ):
        (tmp_path / "r" / "blobs").rmdir()
        (tmp_path / "r" / "blobs").write_text("in the way")
        assert play(running.port, conversation("2026-11-27", "/tmp/a/b")[:1])[0][0] == 200
    exchange = running.ledger.exchanges[0]
    assert exchange.recorded == "" and exchange.error.startswith("not recorded") and exchange.usage.tokens


KILLED = """
import os, signal, sys, threading
from pathlib import Path
from seatrial.agents.gateway.recording import Entry, Recorder
from seatrial.agents.gateway.records import Usage

recorder = Recorder(Path(sys.argv[1]))
calls = ["write", "fdatasync", "fsync", "ftruncate"]
left = int(sys.argv[2])
for name in calls:
    def counted(*given, _real=getattr(os, name)):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return _real(*given)
    setattr(os, name, counted)
for number in range(3):
    request, response = recorder.body(), recorder.body()
    request.feed(b"request %d" % number)
    response.feed(b"response %d" % number)
    recorder.add(Entry(str(number), "", "", "p", "anthropic", "generate", "POST", "/", "m", False, "e", "s", "p",
        request.keep(), 200, (), response.keep(), True, Usage(), "end", (), ""))
    print(number, flush=True)
"""


@pytest.mark.parametrize("after", range(1, 14))
def test_a_kill_at_any_step_loses_nothing_that_was_said_to_be_kept(tmp_path: Path, after: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), str(after)], capture_output=True, text=True, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    Recorder(tmp_path).close()
    entries = list(read_entries(tmp_path))
    assert len(entries) >= len(done.stdout.split())
    for entry in entries:
        assert read_blob(tmp_path, entry.response) == f"response {entry.id}".encode()
    assert not list((tmp_path / "blobs").glob(".body.*"))
