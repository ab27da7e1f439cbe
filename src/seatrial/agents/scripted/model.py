"""A model server that follows a script: Anthropic Messages, OpenAI Responses and Chat, Gemini; streamed or whole.

    python -m seatrial.agents.scripted.model SCRIPT.toml --port 0 --port-file port.txt

Real agent programs are pointed at it as their API (`ANTHROPIC_BASE_URL=http://127.0.0.1:PORT` and so on) and then do
as the script says, with no model and no key.  What a script looks like is said in `script.py`.  It keeps no
conversation: which turn is due is counted from the request, so several conversations go on at once, and a restart
changes nothing; only how often a fault has happened is remembered.  It listens on the loopback and nowhere else.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
import threading
import time
from collections import Counter
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

from seatrial.agents.scripted import script as scripts
from seatrial.agents.scripted.script import Script, Turn
from seatrial.agents.scripted.server import Handler
from seatrial.agents.scripted.shapes import Answer, Ask, cut, required, shell_call
from seatrial.errors import SeatrialError

SIDE_ANSWER = "Scripted"


class ScriptedModel:
    """Answers by `script`.  With `key`, requests that carry another credential are refused (401)."""

    def __init__(self, script: Script, key: str | None = None) -> None:
        self.script = script
        self.key = key
        self._faults: Counter[tuple[str, int]] = Counter()
        self._lock = threading.Lock()

    def serve(self, port: int = 0) -> Server:
        """Listen on 127.0.0.1 and answer in threads; returns at once.  Raises OSError when `port` is taken."""
        return Server(self, port)

    def turn(self, ask: Ask) -> tuple[Turn, str]:
        """Return the turn that is due, and the fault that goes with it."""
        if (not ask.tools or ask.schema) and self.script.without_tools == "side":
            text = json.dumps(required(ask.schema)) if ask.schema else SIDE_ANSWER
            return Turn(text=text), ""
        conversation, number = self.script.place(ask.rounds)
        if number >= len(conversation.turns):
            return Turn(text="The script has no more turns."), ""
        turn = conversation.turns[number]
        if turn.when and not re.search(turn.when, ask.last):
            return Turn(text=f"The script expected /{turn.when}/ here, and saw: {ask.last[:300]}"), ""
        return turn, self._fault(conversation.name, number, turn)

    def answer(self, ask: Ask, turn: Turn, size: int, credential: str) -> Answer:
        """Return what `turn` says to a request of `size` bytes."""
        tools = [(tool["name"], tool.get("input", {})) for tool in turn.tools]
        text = turn.text
        if turn.run:
            call = shell_call(ask.tools, turn.run)
            if call is None:
                text += f"\nThe client offers no shell tool; it offers: {', '.join(ask.tools) or 'none'}."
            else:
                tools.append(call)
        pieces = cut(text)
        if turn.fault == "echo_key":
            half = len(credential) // 2
            pieces = (*pieces, "The key is ", credential[:half], f"{credential[half:]}.", f" Again: {credential}.")
        seed = hashlib.sha256(repr((ask.rounds, ask.last, turn)).encode()).hexdigest()
        written = sum(map(len, pieces)) + sum(len(json.dumps(given)) for _, given in tools)
        usage = {"input": max(size // 4, 1), "output": max(written // 4, 1), "cache_read": 0, "cache_write": 0}
        return Answer(
            id=seed[:24],
            model=ask.model,
            pieces=pieces,
            tools=tuple((f"{seed[:16]}{number:02d}", name, given) for number, (name, given) in enumerate(tools)),
            stop=turn.stop or ("tool_use" if tools else "end"),
            usage={**usage, **turn.usage},
        )

    def _fault(self, conversation: str, number: int, turn: Turn) -> str:
        if turn.fault in ("", "echo_key"):
            return turn.fault
        with self._lock:
            self._faults[conversation, number] += 1
            happens = turn.fault_times == 0 or self._faults[conversation, number] <= turn.fault_times
        return turn.fault if happens else ""


class Server(ThreadingHTTPServer):
    """A running model server.  A context manager: leaving it stops the server.

    `seen` holds what was asked: (method, path, headers in lower case, body).
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, model: ScriptedModel, port: int) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.model = model
        self.seen: list[tuple[str, str, dict[str, str], bytes]] = []
        self.stopping = threading.Event()
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_port}"

    def stop(self) -> None:
        """Stop listening; connections that hang are let go."""
        self.stopping.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that left is no error; anything else is shown."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)

    def __exit__(self, *details: object) -> None:
        self.stop()


def main(arguments: list[str] | None = None) -> int:
    """Run the server until it is interrupted."""
    parser = argparse.ArgumentParser(prog="seatrial.agents.scripted.model", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("script", type=Path)
    parser.add_argument("--port", type=int, default=0, help="0: any free port")
    parser.add_argument("--port-file", type=Path, help="where to write the port")
    parser.add_argument("--key", help="refuse requests with another credential")
    options = parser.parse_args(arguments)
    try:
        server = ScriptedModel(scripts.load(options.script), options.key).serve(options.port)
    except (SeatrialError, OSError) as problem:
        sys.stderr.write(f"error: {problem}\n")
        return 1
    if options.port_file:
        partial = options.port_file.with_name(f".{options.port_file.name}")
        partial.write_text(f"{server.server_port}\n")
        partial.replace(options.port_file)  # whoever waits for the file reads a whole number
    sys.stdout.write(f"{server.url}\n")
    sys.stdout.flush()
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        server.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
