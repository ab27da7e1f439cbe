#!/usr/bin/env python3
"""A coding agent in one file, with nothing but Python's standard library: the harness `mini`.

    python3 agent.py "TASK"             works on TASK; on a terminal it then asks for more
    python3 agent.py --continue [TASK]  goes on with the conversation that was left
    python3 agent.py -                  asks for the first task, too; lines of standard input are messages

It talks to $ANTHROPIC_BASE_URL with $ANTHROPIC_API_KEY (model: $ANTHROPIC_MODEL), offers one tool, `bash`, and ends
a turn when the model calls it no more.  Every step is saved to ~/.mini-agent/conversation.json before the next one.
It runs whatever the model says, without asking: it belongs into a sandbox.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

SYSTEM = (
    "You are a coding agent. You work in the current folder with the bash tool. Do what the user asks, check that it "
    "works, and then say in a sentence or two what you did."
)
TOOL = {
    "name": "bash",
    "description": "Run a command with bash in the current folder; returns its output and exit code.",
    "input_schema": {
        "type": "object",
        "properties": {
            "command": {"type": "string", "description": "The command."},
            "timeout_s": {"type": "number", "description": "Most seconds it may take; 600 unless given."},
        },
        "required": ["command"],
    },
}
MOST_OUTPUT = 30_000
MOST_TOKENS = 8192
TRIES = 5
PASTE_BEGINS, PASTE_ENDS = b"\x1b[200~", b"\x1b[201~"
Message = dict[str, Any]


class ModelError(Exception):
    """The model gave no answer; `lasting` says that asking again is of no use."""

    def __init__(self, message: str, lasting: bool) -> None:
        super().__init__(message)
        self.lasting = lasting


def say(text: str) -> None:
    """Write to the terminal at once."""
    sys.stdout.write(text)
    sys.stdout.flush()


class Conversation:
    """The messages so far, kept in a file."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.messages: list[Message] = []

    def load(self) -> None:
        """Read what was kept; calls that were under way are answered as interrupted."""
        with contextlib.suppress(OSError, ValueError):
            self.messages = json.loads(self._file.read_text(encoding="utf-8"))
        calls = tool_calls(self.messages[-1]) if self.messages else []
        if calls and self.messages[-1]["role"] == "assistant":
            self.add("user", [result(call["id"], "Interrupted: the agent was stopped.", True) for call in calls])

    def add(self, role: str, content: list[Message]) -> None:
        """Append content, to the last message if it is of the same role, and save."""
        if self.messages and self.messages[-1]["role"] == role:
            self.messages[-1]["content"] += content
        else:
            self.messages.append({"role": role, "content": content})
        self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        partial = self._file.with_suffix(".partial")
        with partial.open("w", encoding="utf-8") as stream:
            json.dump(self.messages, stream)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(self._file)

    @property
    def waiting(self) -> bool:
        """Whether it is the model's turn."""
        return bool(self.messages) and self.messages[-1]["role"] == "user"


def tool_calls(message: Message) -> list[Message]:
    """Return the calls in a message."""
    return [block for block in message["content"] if block["type"] == "tool_use"]


def result(call: str, text: str, failed: bool) -> Message:
    """Return the block that answers a call."""
    return {"type": "tool_result", "tool_use_id": call, "content": text, "is_error": failed}


def ask(messages: list[Message]) -> list[Message]:
    """Return the content of the model's answer; text is shown as it comes.  Raises ModelError."""
    base = urlsplit(os.environ.get("ANTHROPIC_BASE_URL", "https://api.anthropic.com"))
    body = {
        "model": os.environ.get("ANTHROPIC_MODEL", "claude-sonnet-4-5"),
        "max_tokens": MOST_TOKENS,
        "system": SYSTEM,
        "tools": [TOOL],
        "messages": messages,
        "stream": True,
    }
    headers = {
        "content-type": "application/json",
        "anthropic-version": "2023-06-01",
        "x-api-key": os.environ.get("ANTHROPIC_API_KEY", ""),
    }
    connect = http.client.HTTPSConnection if base.scheme == "https" else http.client.HTTPConnection
    connection = connect(base.hostname or "", base.port, timeout=600)
    try:
        connection.request("POST", f"{base.path.rstrip('/')}/v1/messages", json.dumps(body), headers)
        response = connection.getresponse()
        if response.status != 200:
            text = response.read().decode("utf-8", "replace")
            with contextlib.suppress(ValueError, KeyError, TypeError):
                text = json.loads(text)["error"]["message"]
            raise ModelError(f"{response.status}: {text}", response.status < 500 and response.status != 429)
        return collect(events(response))
    except (OSError, http.client.HTTPException) as problem:
        raise ModelError(f"no connection: {problem!r}", False) from problem
    finally:
        connection.close()


def events(response: http.client.HTTPResponse) -> Iterator[Message]:
    """Yield the data of server-sent events."""
    while line := response.readline():
        if line.startswith(b"data:"):
            yield json.loads(line[5:])


def collect(stream: Iterator[Message]) -> list[Message]:
    """Return the content blocks of a stream.  Raises ModelError when it breaks off."""
    blocks: list[Message] = []
    arguments = ""
    for event in stream:
        kind = event["type"]
        if kind == "content_block_start":
            blocks.append(dict(event["content_block"]))
            arguments = ""
        elif kind == "content_block_delta":
            delta = event["delta"]
            if delta["type"] == "text_delta":
                blocks[-1]["text"] += delta["text"]
                say(delta["text"])
            elif delta["type"] == "input_json_delta":
                arguments += delta["partial_json"]
        elif kind == "content_block_stop":
            if blocks[-1]["type"] == "tool_use":
                blocks[-1]["input"] = json.loads(arguments or "{}")
            else:
                say("\n")
        elif kind == "error":
            raise ModelError(event["error"]["message"], False)
        elif kind == "message_stop":
            return [block for block in blocks if block["type"] == "tool_use" or block.get("text")]
    raise ModelError("the answer broke off", False)


def run(command: str, timeout: float) -> tuple[str, bool]:
    """Run a command; return its output (the middle left out when it is long) and whether it failed."""
    # A file and not a pipe: what the command leaves running in the background may keep it open.
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            ["bash", "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        ending = ""
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            ending, code = f"\n[stopped after {timeout:g} s]", 124
            stop(process)
        except KeyboardInterrupt:
            stop(process)
            raise
        size = output.seek(0, os.SEEK_END)
        output.seek(0)
        if size <= MOST_OUTPUT:
            text = output.read()
        else:
            text = output.read(MOST_OUTPUT // 2)
            output.seek(size - MOST_OUTPUT // 2)
            text += b"\n[%d bytes left out]\n" % (size - MOST_OUTPUT) + output.read()
    if code:
        ending += f"\n[exit code {code}]"
    return text.decode("utf-8", "replace") + ending or "[no output]", code != 0


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a command and what it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def work(conversation: Conversation) -> bool:
    """Let the model work until it calls no tool; False when it gave no answer."""
    while True:
        content = answer(conversation)
        if content is None:
            return False
        conversation.add("assistant", content or [{"type": "text", "text": "(no answer)"}])
        calls = tool_calls(conversation.messages[-1])
        if not calls:
            return True
        results: list[Message] = []
        try:
            for call in calls:
                results.append(execute(call))
        except KeyboardInterrupt:
            say("\n[interrupted]\n")
            left = calls[len(results) :]
            results += [result(call["id"], "Interrupted by the user.", True) for call in left]
            conversation.add("user", results)
            return True
        conversation.add("user", results)


def execute(call: Message) -> Message:
    """Run one call and return the block that answers it."""
    given = call["input"] if isinstance(call["input"], dict) else {}
    command, timeout = given.get("command"), given.get("timeout_s", 600)
    if call["name"] != "bash" or not isinstance(command, str) or not isinstance(timeout, int | float):
        return result(call["id"], "The only tool is bash, with a command.", True)
    say(f"$ {command}\n")
    text, failed = run(command, timeout)
    say(text if text.endswith("\n") else f"{text}\n")
    return result(call["id"], text, failed)


def answer(conversation: Conversation) -> list[Message] | None:
    """Ask, and ask again while that may help."""
    pause = float(os.environ.get("MINI_AGENT_RETRY_S", "1"))
    for attempt in range(TRIES):
        try:
            return ask(conversation.messages)
        except ModelError as problem:
            say(f"\n[model: {problem}]\n")
            if problem.lasting or attempt == TRIES - 1:
                return None
            time.sleep(pause * 2**attempt)
        except KeyboardInterrupt:
            say("\n[interrupted]\n")
            return None
    return None


class Prompt:
    """Reads messages: a line, or a paste of several lines between the markers of bracketed paste."""

    def __init__(self) -> None:
        self._descriptor = sys.stdin.fileno()
        self._terminal = os.isatty(self._descriptor)
        self._data = b""

    def read(self) -> str | None:
        """Return the next message; None at the end of input."""
        with self._characters():
            # After the terminal is set up: what is typed at once would else be read by the rules of before.
            say("\x1b[?2004h> " if self._terminal else "> ")
            message = bytearray()
            pasting = False
            while True:
                if not self._data or (self._data[:1] == b"\x1b" and len(self._data) < len(PASTE_BEGINS)):
                    more = os.read(self._descriptor, 65536)
                    if not more and not self._data:
                        return message.decode("utf-8", "replace") if message.strip() else None
                    self._data += more
                if self._data.startswith((PASTE_BEGINS, PASTE_ENDS)):
                    pasting = self._data.startswith(PASTE_BEGINS)
                    self._data = self._data[len(PASTE_BEGINS) :]
                    continue
                byte, self._data = self._data[:1], self._data[1:]
                if byte in (b"\r", b"\n") and not pasting:
                    self._echo(b"\r\n")
                    if message.strip():
                        return message.decode("utf-8", "replace")
                    message.clear()
                elif byte == b"\x04" and not message and self._terminal:
                    return None
                elif byte in (b"\x7f", b"\x08") and self._terminal:
                    self._erase(message)
                elif byte != b"\x1b" or not self._terminal:
                    message += b"\n" if byte == b"\r" else byte
                    self._echo(b"\r\n" if byte in (b"\r", b"\n") else byte)

    def _erase(self, message: bytearray) -> None:
        while message and message.pop() & 0xC0 == 0x80:
            pass
        self._echo(b"\b \b")

    def _echo(self, data: bytes) -> None:
        if self._terminal:
            os.write(sys.stdout.fileno(), data)

    @contextlib.contextmanager
    def _characters(self) -> Iterator[None]:
        """Take single characters from a terminal: a line of its own editing holds 4095 bytes and no more."""
        if not self._terminal:
            yield
            return
        import termios
        import tty

        before = termios.tcgetattr(self._descriptor)
        tty.setcbreak(self._descriptor, termios.TCSANOW)
        try:
            yield
        finally:
            termios.tcsetattr(self._descriptor, termios.TCSANOW, before)
            say("\x1b[?2004l")


def main(arguments: list[str] | None = None) -> int:
    """Work on the task, then on what is typed; returns the exit code."""
    parser = argparse.ArgumentParser(prog="mini", description="A coding agent in one file.")
    parser.add_argument("task", nargs="?", help="what to do; - asks for it")
    parser.add_argument("--continue", dest="resume", action="store_true", help="go on with the last conversation")
    parser.add_argument("-p", "--print", dest="once", action="store_true", help="end when the task is done")
    options = parser.parse_args(arguments)
    conversation = Conversation(Path.home() / ".mini-agent" / "conversation.json")
    if options.resume:
        conversation.load()
    if options.task not in (None, "-"):
        conversation.add("user", [{"type": "text", "text": options.task}])
    fine = work(conversation) if conversation.waiting else True
    asked = options.task == "-" or sys.stdin.isatty() or (options.task is None and not options.resume)
    if options.once or not asked:
        return 0 if fine else 1
    prompt = Prompt()
    while True:
        try:
            message = prompt.read()
        except KeyboardInterrupt:
            say("\n")
            continue
        if message is None:
            return 0 if fine else 1
        conversation.add("user", [{"type": "text", "text": message}])
        fine = work(conversation)


if __name__ == "__main__":
    sys.exit(main())
