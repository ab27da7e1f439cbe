"""Supervisors are forked from a process that has everything imported: an interpreter of its own for each would cost a
third of a second and three times the memory, most of which forked ones share.

The process is started when it is first needed and ends when nobody has needed it for a while; it holds no agent and no
secret, and may be killed at any time.  There is one for each user, installation and version of the code.  Whoever may
connect to its socket is the same user, and could start such a process anyway.

    python -m seatrial.agents.nursery DESCRIPTOR_OF_LISTENER
"""

from __future__ import annotations

import ctypes
import fcntl
import gc
import hashlib
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from seatrial.agents.sandbox import cgroup
from seatrial.errors import AgentError

_IDLE_SECONDS, _ANSWER_SECONDS, _MOST_BYTES = 300.0, 30.0, 1 << 20
_SET_DUMPABLE = 4
_ROOM = "-" * 400  # for the command lines of those that are forked


def private_folder() -> Path:
    """Return a folder for sockets, whose paths must be short; AgentError when it is not private."""
    base = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()) / f"seatrial-{os.geteuid()}"
    base.mkdir(mode=0o700, exist_ok=True)
    about = base.lstat()
    if about.st_uid != os.geteuid() or about.st_mode & 0o077 or base.is_symlink():
        raise AgentError(f"{base} is not a private folder of yours.", hint=f"Remove {base}.")
    return base


def start_supervisor(words: Sequence[str], log: int, report: int) -> None:
    """Start `python -m seatrial.agents.supervise WORDS… REPORT`; the descriptors are its errors' and its report's.

    Falls back on an interpreter of its own where forking one does not work.
    """
    request = json.dumps({"words": list(words), "environment": dict(os.environ), "umask": _umask()}).encode()
    for _ in range(2):  # the first time it may just be ending
        with suppress(OSError), _connected() as channel:
            channel.settimeout(_ANSWER_SECONDS)
            socket.send_fds(channel, [len(request).to_bytes(4, "big")], [log, report])
            channel.sendall(request)
            if channel.recv(1) == b"+":
                return
    command = [sys.executable, "-m", "seatrial.agents.supervise", *words, str(report)]
    process = subprocess.Popen(
        command, start_new_session=True, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=(report,), cwd="/"
    )
    process.returncode = 0  # it lives on by itself; without this the interpreter warns about a child that still runs


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _connected() -> socket.socket:
    """Connect, starting the process if it is not there; OSError when that fails."""
    place = private_folder() / f"nursery-{_version()}"
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with suppress(OSError):
            channel.connect(str(place))
            return channel
        with place.with_suffix(".lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with suppress(OSError):  # another one was faster
                channel.connect(str(place))
                return channel
            place.unlink(missing_ok=True)
            _begin(place)
            channel.connect(str(place))
            return channel
    except BaseException:
        channel.close()
        raise


def _begin(place: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(place))
        listener.listen(64)
        command = [sys.executable, "-m", "seatrial.agents.nursery", str(listener.fileno()), _ROOM]
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "PYTHONPATH") if name in os.environ}
        process = subprocess.Popen(
            command, start_new_session=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, pass_fds=(listener.fileno(),), cwd="/", env=kept,
        )  # fmt: skip
    process.returncode = 0  # as above


def _version() -> str:
    """Return a name for this interpreter and this state of the code, which may be changed under a process that runs."""
    newest = max(file.stat().st_mtime_ns for file in Path(__file__).parents[1].glob("agents/**/*.py"))
    spaces = [Path(f"/proc/self/ns/{name}").stat().st_ino for name in ("mnt", "net", "pid", "user")]
    # Those who are forked stay in its control group, and what they may limit depends on that.
    about = (sys.executable, __file__, newest, spaces, cgroup.delegated())
    return hashlib.sha256(repr(about).encode()).hexdigest()[:12]


def main() -> None:
    """Fork supervisors until nobody has asked for one for a while."""
    for name in ("supervise", "runtime.bubblewrap"):  # so that those who are forked need not
        importlib.import_module(f"seatrial.agents.{name}")
    ctypes.CDLL(None).prctl(_SET_DUMPABLE, 0, 0, 0, 0)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the children
    listener = socket.socket(fileno=int(sys.argv[1]))
    listener.settimeout(_IDLE_SECONDS)
    gc.collect()
    gc.freeze()  # what is shared is not written to by the collector
    while True:
        try:
            channel, _ = listener.accept()
        except TimeoutError:
            # Unlinked first: whoever has connected meanwhile sees the end of its connection, and begins anew.
            Path(listener.getsockname()).unlink(missing_ok=True)
            return
        with channel, suppress(OSError, ValueError, KeyError):
            _serve(listener, channel)


def _serve(listener: socket.socket, channel: socket.socket) -> None:
    channel.settimeout(_ANSWER_SECONDS)
    head, descriptors, _, _ = socket.recv_fds(channel, 4, 2)
    try:
        size, data = int.from_bytes(head, "big"), b""
        while len(data) < size <= _MOST_BYTES and (piece := channel.recv(size - len(data))):
            data += piece
        request = json.loads(data)
        if len(descriptors) == 2 and os.fork() == 0:
            listener.close()
            channel.close()
            _become(request, *descriptors)
        channel.sendall(b"+")
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def _become(request: dict[str, object], log: int, report: int) -> NoReturn:
    """Be a supervisor as if started by `python -m`."""
    code = 1
    try:
        os.setsid()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.close(log)
        os.environ.clear()
        os.environ.update(request["environment"])  # type: ignore[call-overload]
        os.umask(int(request["umask"]))  # type: ignore[call-overload]
        words = [str(word) for word in request["words"]]  # type: ignore[attr-defined]
        sys.argv = ["seatrial.agents.supervise", *words, str(report)]
        _show_as([sys.executable, "-m", *sys.argv])
        from seatrial.agents import supervise

        supervise.main()
        code = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stderr.flush()
        os._exit(code)


def _show_as(words: Sequence[str]) -> None:
    """Let `ps` show this command line instead of the one that the process was started with."""
    numbers = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    start, end = int(numbers[45]), int(numbers[46])
    text = b"\0".join(os.fsencode(word) for word in words)[: end - start - 1]
    ctypes.memset(start, 0, end - start)
    ctypes.memmove(start, text, len(text))


if __name__ == "__main__":
    main()
