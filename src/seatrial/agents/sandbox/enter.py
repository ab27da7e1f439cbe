"""Joining a sandbox that runs: commands in it, listeners and connections on its own loopback.

A joined process is bound like those inside: same namespaces, no capabilities, no new privileges, the same system call
filter, the same control group.  It is forked from a process that may hold secrets, so it makes itself unreadable
(`PR_SET_DUMPABLE`) before it can be seen inside and keeps nothing but standard streams when the command begins.
"""

from __future__ import annotations

import array
import contextlib
import ctypes
import fcntl
import os
import resource
import signal
import socket
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from seatrial.agents.sandbox import seccomp
from seatrial.errors import SandboxError

_NEW_NET, _NEW_USER = 0x40000000, 0x10000000
# In the order in which they can be joined: the owner's user namespace gives the right to the others, and the one that
# the processes live in comes last (bubblewrap nests the two).
_NAMESPACES = (("owner", _NEW_USER), ("cgroup", 0x02000000), ("ipc", 0x08000000), ("uts", 0x04000000),
               ("net", _NEW_NET), ("pid", 0x20000000), ("mnt", 0x00020000), ("user", _NEW_USER))  # fmt: skip
_OWNER_OF = 0xB701  # NS_GET_USERNS of linux/nsfs.h
_SET_DUMPABLE, _SET_SECCOMP, _DROP_BOUNDING, _SET_NO_NEW_PRIVS, _SET_DEATH_SIGNAL = 4, 22, 24, 38, 1
_FILTER_MODE = 2
_CAPABILITIES = 0x20080522


@dataclass(frozen=True)
class Inhabitant:
    """Who is joined: a process of the sandbox, and what bounds those that join.

    `pid` as seen from here; `uid` as seen inside; `entrances` are files of control groups; `bounds` are resource limits
    (`resource.RLIMIT_…`, value).
    """

    pid: int
    uid: int
    entrances: tuple[str, ...] = ()
    bounds: tuple[tuple[int, int], ...] = ()


def run_inside(
    who: Inhabitant,
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    folder: str,
    streams: tuple[int, int, int] = (0, 1, 2),
    session: bool = True,
) -> int:
    """Start `command` in the sandbox and return the id of a process here that ends as the command does.

    `streams` are descriptors for its standard input, output and error.  The process exits with the command's code, 127
    when there is no such command, 125 when the sandbox could not be joined.  `session` gives it a session of its own.
    Raises SandboxError when the sandbox is gone.
    """
    namespaces = _open_namespaces(who.pid, ["cgroup", "ipc", "uts", "net", "pid", "mnt", "user"])
    library = ctypes.CDLL(None, use_errno=True)
    pid = os.fork()
    if pid:
        for descriptor in namespaces.values():
            os.close(descriptor)
        return pid
    try:
        _join(library, who, namespaces)
        _wait_for_child(lambda: _become(library, who, command, environment, folder, streams, session))
    except OSError as problem:
        os.write(streams[2], f"seatrial: the sandbox could not be joined: {problem}\n".encode())
    finally:
        os._exit(125)


def _join(library: ctypes.CDLL, who: Inhabitant, namespaces: Mapping[str, int]) -> None:
    _forget_signals()
    _checked(library.prctl(_SET_DUMPABLE, 0, 0, 0, 0))
    for entrance in who.entrances:
        with contextlib.suppress(OSError):
            Path(entrance).write_text(str(os.getpid()))
    if os.getuid() == 0:
        os.setgroups([])
    for name, kind in _NAMESPACES:
        if name in namespaces:
            _checked(library.setns(namespaces[name], kind))


def _wait_for_child(become: Callable[[], NoReturn]) -> NoReturn:
    inner = os.fork()  # only children are in the joined process namespace
    if not inner:
        become()
    os.closerange(0, 3)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda _number, _frame: os.kill(inner, signal.SIGKILL))
    _, status = os.waitpid(inner, 0)
    code = os.waitstatus_to_exitcode(status)
    os._exit(code if code >= 0 else 128 - code)


def _become(
    library: ctypes.CDLL,
    who: Inhabitant,
    command: Sequence[str],
    environment: Mapping[str, str],
    folder: str,
    streams: tuple[int, int, int],
    session: bool,
) -> NoReturn:
    try:
        _checked(library.prctl(_SET_DUMPABLE, 0, 0, 0, 0))
        _checked(library.prctl(_SET_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0))
        if session:
            os.setsid()
        for target, source in enumerate([fcntl.fcntl(stream, fcntl.F_DUPFD, 10) for stream in streams]):
            os.dup2(source, target)
        os.closerange(3, 1 << 16)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        for kind, most in who.bounds:
            resource.setrlimit(kind, (most, most))
        os.chdir(folder)
        _give_up_privileges(library, who.uid)
        os.execvpe(command[0], list(command), dict(environment))
    except FileNotFoundError as problem:
        os.write(2, f"seatrial: {problem.filename or command[0]}: not there in the sandbox\n".encode())
        os._exit(127)
    except OSError as problem:
        os.write(2, f"seatrial: the command could not be run in the sandbox: {problem}\n".encode())
    finally:
        os._exit(125)


def _give_up_privileges(library: ctypes.CDLL, uid: int) -> None:
    # First what needs privileges: where root has no user namespace to leave, they end with the change of user.
    for capability in range(64):
        if library.prctl(_DROP_BOUNDING, capability, 0, 0, 0) != 0:
            break
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    _checked(library.prctl(_SET_DUMPABLE, 0, 0, 0, 0))
    header = ctypes.create_string_buffer(struct.pack("=Ii", _CAPABILITIES, 0))
    _checked(library.capset(header, ctypes.create_string_buffer(24)))
    _checked(library.prctl(_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    code = ctypes.create_string_buffer(seccomp.program())
    length = (len(code) - 1) // 8
    filter_ = ctypes.create_string_buffer(struct.pack("=H6xQ", length, ctypes.addressof(code)))
    _checked(library.prctl(_SET_SECCOMP, _FILTER_MODE, filter_, 0, 0))


def listener_inside(who: Inhabitant, port: int) -> socket.socket:
    """Return a socket that listens on 127.0.0.1:`port` (0: any) of the sandbox, usable from here.

    Raises SandboxError when the sandbox is gone or the port is taken.
    """

    def make() -> socket.socket:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(512)
        return listener

    return _made_inside(who, make, f"listen on port {port}")


def connection_inside(who: Inhabitant, port: int) -> socket.socket:
    """Return a connection to 127.0.0.1:`port` of the sandbox; SandboxError when nothing listens there."""
    return _made_inside(who, lambda: socket.create_connection(("127.0.0.1", port), 10), f"connect to port {port}")


def _made_inside(who: Inhabitant, make: Callable[[], socket.socket], what: str) -> socket.socket:
    """Call `make` in a child that has joined the network namespace, and take over the socket that it makes."""
    namespaces = _open_namespaces(who.pid, ["net"])
    ours, theirs = socket.socketpair()
    library = ctypes.CDLL(None, use_errno=True)
    pid = os.fork()
    if pid == 0:
        try:
            _forget_signals()
            library.prctl(_SET_DUMPABLE, 0, 0, 0, 0)
            if "owner" in namespaces:
                _checked(library.setns(namespaces["owner"], _NEW_USER))
            _checked(library.setns(namespaces["net"], _NEW_NET))
            made = make()
            descriptors = array.array("i", [made.fileno()])
            theirs.sendmsg([b"+"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)])
        except OSError as problem:
            theirs.send(str(problem).encode() or b"failed")
        finally:
            os._exit(0)
    theirs.close()
    for descriptor in namespaces.values():
        os.close(descriptor)
    with ours:
        message, received, _, _ = socket.recv_fds(ours, 1024, 1)
    os.waitpid(pid, 0)
    if not received:
        raise SandboxError(f"Cannot {what} in the sandbox: {message.decode(errors='replace') or 'it is gone'}.")
    return socket.socket(fileno=received[0])


def _open_namespaces(pid: int, names: Sequence[str]) -> dict[str, int]:
    """Open those namespaces of `pid` that are not ours (joining one's own is an error), and the owner's of users."""
    opened: dict[str, int] = {}
    try:
        ours = Path("/proc/self/ns/user").stat().st_ino
        for name in names:
            theirs = Path(f"/proc/{pid}/ns/{name}")
            if theirs.stat().st_ino != Path(f"/proc/self/ns/{name}").stat().st_ino:
                opened[name] = os.open(theirs, os.O_RDONLY | os.O_CLOEXEC)
        if "net" in opened:
            owner = fcntl.ioctl(opened["net"], _OWNER_OF)
            if os.fstat(owner).st_ino == ours:
                os.close(owner)
            else:
                opened["owner"] = owner
                if "user" in opened and os.fstat(opened["user"]).st_ino == os.fstat(owner).st_ino:
                    os.close(opened.pop("user"))  # containers have one for both, and none can be joined twice
    except OSError as problem:
        for descriptor in opened.values():
            os.close(descriptor)
        raise SandboxError(f"The sandbox cannot be joined: {problem.strerror or problem}.") from problem
    if "net" not in opened:
        for descriptor in opened.values():
            os.close(descriptor)
        raise SandboxError("The sandbox cannot be joined: it has no network namespace of its own.")
    return opened


def _forget_signals() -> None:
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)


def _checked(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
