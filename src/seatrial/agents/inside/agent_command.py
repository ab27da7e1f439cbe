#!/usr/bin/env python3
"""The command `seatrial-agent`, inside of a sandbox: messages and status, through the control socket and nothing else.

One file of Python's standard library; a request is one line of JSON, and so is the answer.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
import uuid
from typing import Any


def call(verb: str, **values: Any) -> dict[str, Any]:
    """Send one request to the supervisor and return its answer; exit with its error."""
    line = json.dumps({"verb": verb, **values}).encode() + b"\n"
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as control:
            control.settimeout(values.get("seconds", 0) + 60)
            control.connect(os.environ.get("SEATRIAL_CONTROL", "/run/seatrial/control.sock"))
            control.sendall(line)
            answer = control.makefile("rb").readline()
        said: dict[str, Any] = json.loads(answer)
    except (OSError, ValueError) as problem:
        sys.exit(f"seatrial-agent: the control socket does not answer: {problem}")
    if not said.get("ok"):
        sys.exit(f"seatrial-agent: {said.get('error', 'refused')}")
    return said


def text_of(words: list[str]) -> str:
    """Return the words as text; none or `-` reads standard input."""
    return sys.stdin.read() if not words or words == ["-"] else " ".join(words)


def show(messages: list[dict[str, Any]]) -> None:
    """Print messages, each line of a text marked."""
    for message in messages:
        print(f"{message['id']} from {message['sender']} ({message['created']})")
        for line in message["text"].splitlines():
            print(f"> {line}")


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    top = argparse.ArgumentParser(prog="seatrial-agent", description="Talk to the yard outside of this sandbox.")
    verbs = top.add_subparsers(dest="verb", required=True)
    send = verbs.add_parser("message", help="send TEXT to an agent, to user, or to all")
    send.add_argument("to")
    send.add_argument("text", nargs="*")
    inbox = verbs.add_parser("inbox", help="show messages that were not taken yet, and take them")
    inbox.add_argument("--wait", type=float, default=0, metavar="SECONDS", help="wait for one")
    inbox.add_argument("--keep", action="store_true", help="do not take them")
    for name, about in (
        ("ask", "say that an answer of the user is needed to go on"),
        ("blocked", "say what is in the way"),
        ("done", "say that the task is finished"),
        ("status", "say what is being done"),
    ):
        verbs.add_parser(name, help=about).add_argument("text", nargs="*")
    hook = verbs.add_parser("hook", help="report an event of the harness; reads its JSON from standard input")
    hook.add_argument("event")
    spawn = verbs.add_parser("spawn", help="start another agent, where the policy allows it")
    spawn.add_argument("name")
    spawn.add_argument("task", nargs="*")
    verbs.add_parser("who", help="say who this agent is, and the other agents")
    return top


def main() -> None:
    """Run one verb."""
    options = parser().parse_args()
    verb = options.verb
    if verb == "message":
        said = call("message", to=options.to, text=text_of(options.text), nonce=uuid.uuid4().hex)
        print(f"stored as {', '.join(str(number) for number in said['ids'])}")
    elif verb == "inbox":
        show(call("inbox", seconds=options.wait, keep=options.keep)["messages"])
    elif verb == "hook":
        raw = "" if sys.stdin.isatty() else sys.stdin.read(1 << 20)
        call("hook", event=options.event, raw=raw)
    elif verb == "spawn":
        print(call("spawn", name=options.name, task=text_of(options.task))["name"])
    elif verb == "who":
        print(json.dumps(call("who")["who"], indent=1))
    else:
        call(verb, text=text_of(options.text))


if __name__ == "__main__":
    main()
