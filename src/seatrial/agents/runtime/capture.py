"""Reading what a command inside prints, within limits of size and time."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from typing import BinaryIO

from seatrial.agents.runtime.base import Completed
from seatrial.errors import SandboxError

_PIECE = 1 << 16
_MOST_ERRORS = 1 << 20


class Joined:
    """A command in a sandbox that was joined, with the parts of `subprocess.Popen` that are needed here."""

    def __init__(self, pid: int, stdin: int, stdout: int, stderr: int) -> None:
        self.pid, self.returncode = pid, 0
        self.stdin, self.stdout, self.stderr = os.fdopen(stdin, "wb"), os.fdopen(stdout, "rb"), os.fdopen(stderr, "rb")

    def kill(self) -> None:
        """End the command."""
        os.kill(self.pid, signal.SIGTERM)  # the process here ends the one inside with it

    def __enter__(self) -> Joined:
        return self

    def __exit__(self, *_: object) -> None:
        for stream in (self.stdout, self.stderr, self.stdin):
            with contextlib.suppress(BrokenPipeError):
                stream.close()
        self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def captured(
    process: subprocess.Popen[bytes] | Joined, stdin: bytes, into: BinaryIO | None, most: int, seconds: float
) -> Completed:
    """Feed `stdin`, collect both outputs and wait; the process is killed when it passes a limit.

    `most` limits standard output in bytes; standard error keeps its first MiB.  Raises SandboxError past a limit.
    """
    assert process.stdin and process.stdout and process.stderr
    output = _Output(into, most)
    end, pending = time.monotonic() + seconds, memoryview(stdin)
    with process, selectors.DefaultSelector() as ready:
        for stream, mode in (
            (process.stdout, selectors.EVENT_READ),
            (process.stderr, selectors.EVENT_READ),
            (process.stdin, selectors.EVENT_WRITE),
        ):
            os.set_blocking(stream.fileno(), False)
            ready.register(stream, mode)
        try:
            while ready.get_map():
                events = ready.select(max(0.0, end - time.monotonic()))
                if not events:
                    raise SandboxError(f"A command in the sandbox took longer than {seconds:.0f} seconds.")
                for key, _ in events:
                    if key.fileobj is process.stdin:
                        pending = _feed(key.fd, pending)
                        done = not pending
                    else:
                        done = not output.take(os.read(key.fd, _PIECE), key.fileobj is process.stderr)
                    if done:
                        ready.unregister(key.fileobj)
                        if key.fileobj is process.stdin:
                            process.stdin.close()
        except SandboxError:
            process.kill()
            raise
    return Completed(process.returncode, bytes(output.kept), bytes(output.errors))


class _Output:
    def __init__(self, into: BinaryIO | None, most: int) -> None:
        self.kept, self.errors = bytearray(), bytearray()
        self._into, self._most, self._seen = into, most, 0

    def take(self, piece: bytes, error: bool) -> bool:
        if error:
            self.errors += piece[: max(0, _MOST_ERRORS - len(self.errors))]
            return bool(piece)
        self._seen += len(piece)
        if self._seen > self._most:
            raise SandboxError(f"A command in the sandbox printed more than {self._most} bytes.")
        if self._into is None:
            self.kept += piece
        else:
            self._into.write(piece)
        return bool(piece)


def _feed(descriptor: int, pending: memoryview) -> memoryview:
    try:
        return pending[os.write(descriptor, pending[:_PIECE]) :]
    except BrokenPipeError:
        return memoryview(b"")
