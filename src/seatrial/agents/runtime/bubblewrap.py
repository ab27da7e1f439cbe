"""Sandboxes of bubblewrap: namespaces without a daemon, for an ordinary user and for root.

An ordinary user's sandbox is made in a user namespace.  When Seatrial runs as root, the agent's processes get an
unprivileged user id first (`plan.owner`), so that a fault in a namespace does not leave them root; places that this id
could not reach are staged in a private mount namespace.

Holds: files, processes, network, devices, as `policy.py` says.  Does not hold against faults in the kernel itself, and
does not hide how busy the machine is.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

from seatrial.agents.runtime import filesystem
from seatrial.agents.runtime.base import Completed, Finding
from seatrial.agents.runtime.bounds import bounds_of
from seatrial.agents.runtime.capture import captured
from seatrial.agents.runtime.plan import USER, SandboxPlan, SandboxState
from seatrial.agents.runtime.running import lives, processes_of
from seatrial.agents.sandbox import cgroup, seccomp
from seatrial.agents.sandbox.enter import Inhabitant
from seatrial.errors import SandboxError

_POLL_SECONDS = 0.002
# Keys such as C-c go to all that share the terminal.  Bubblewrap itself is told to ignore them, and ignored signals are
# inherited, so the command starts by taking them back.
_KEYBOARD = ("/usr/bin/env", "--default-signal=INT,QUIT,TSTP")
_DOCTOR = "seatrial agent doctor"


class Bubblewrap:
    """The default runtime."""

    name = "bubblewrap"

    def check(self) -> list[Finding]:
        """Say whether bubblewrap, user namespaces and limits work here, by making a sandbox."""
        if shutil.which("bwrap") is None:
            return [Finding("bubblewrap", False, "bwrap is not installed", "apt-get install bubblewrap")]
        version = subprocess.run(["bwrap", "--version"], capture_output=True, text=True).stdout.strip()
        probe = ["bwrap", "--unshare-all", "--unshare-user", "--ro-bind", "/", "/", "true"]
        if os.geteuid() == 0:
            probe = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *probe]
        done = subprocess.run(probe, capture_output=True, text=True)
        hint = None if done.returncode == 0 else "Allow user namespaces: sysctl kernel.unprivileged_userns_clone=1"
        found = [Finding("bubblewrap", done.returncode == 0, done.stderr.strip() or f"{version} makes sandboxes", hint)]
        from seatrial.agents.policy import Limits

        group = cgroup.create("doctor", Limits())
        if group is None:
            found.append(Finding("limits", True, "no control groups: limits hold for each process, with a watchdog"))
        else:
            what = "memory, processes, processor time" if group.limits_processors else "memory, processes"
            group.remove()
            found.append(Finding("limits", True, f"control groups limit {what}"))
        return found

    def prepare(self, plan: SandboxPlan) -> tuple[str, ...]:
        """Write what bubblewrap reads into `plan.folder`; SandboxError when it is not installed."""
        if shutil.which("bwrap") is None:
            raise SandboxError("bubblewrap is not installed.", hint="apt-get install bubblewrap")
        plan.folder.mkdir(parents=True, exist_ok=True)
        for name in ("status.json", "go"):
            (plan.folder / name).unlink(missing_ok=True)
        os.mkfifo(plan.folder / "go", 0o600)
        (plan.folder / "status.json").touch()
        self._write(plan, cgroup.create(plan.identity, plan.policy.limits))
        return ("/bin/sh", str(plan.folder / "launch.sh"), "run", *_KEYBOARD, *plan.command)

    def await_ready(self, plan: SandboxPlan, seconds: float, ended: Callable[[], str | None]) -> Inhabitant:
        """Wait for bubblewrap to say that the sandbox exists."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with contextlib.suppress(SandboxError, OSError):
                who = self.inhabitant(plan)
                # The process is reported before its file system is in place.
                root = Path(f"/proc/{who.pid}/root")
                if not root.samefile("/") and Path(f"{root}{plan.folder_inside}").is_dir():
                    return who
            if (words := ended()) is not None:
                raise SandboxError(f"The sandbox did not start: {words or 'no reason given'}.", hint=_DOCTOR)
            time.sleep(_POLL_SECONDS)
        raise SandboxError(f"The sandbox did not start within {seconds:.0f} seconds.", hint=_DOCTOR)

    def release(self, plan: SandboxPlan) -> None:
        """Write the byte that bubblewrap waits for."""
        try:
            descriptor = os.open(plan.folder / "go", os.O_WRONLY | os.O_NONBLOCK)
        except OSError as problem:
            raise SandboxError("The sandbox ended before its command began.") from problem
        os.write(descriptor, b"\n")
        os.close(descriptor)

    def state(self, plan: SandboxPlan) -> SandboxState:
        """Read what bubblewrap reported, and see whether that process is still the one it was."""
        reported = _status(plan.folder / "status.json")
        pid = reported.get("child-pid", 0)
        if lives(pid, reported.get("pid-namespace", 0)):
            return SandboxState(True, pid)
        return SandboxState(False, 0, reported.get("exit-code"))

    def inhabitant(self, plan: SandboxPlan) -> Inhabitant:
        """Return bubblewrap's child."""
        state = self.state(plan)
        if not state.running:
            raise SandboxError("The sandbox does not run.", hint="seatrial agent resume NAME")
        group = cgroup.find(plan.identity)
        return Inhabitant(
            state.pid, USER, tuple(group.entrances if group else ()), bounds_of(plan.policy.limits, group is not None)
        )

    def run_once(
        self,
        plan: SandboxPlan,
        command: Sequence[str],
        stdin: bytes = b"",
        into: BinaryIO | None = None,
        most: int = 64 << 20,
        seconds: float = 120,
    ) -> Completed:
        """Start bubblewrap on the same plan, with no network but its own loopback."""
        plan.folder.mkdir(parents=True, exist_ok=True)
        group = cgroup.create(plan.identity, plan.policy.limits)
        self._write(plan, group)
        argv = ["/bin/sh", str(plan.folder / "launch.sh"), "once", *command]
        try:
            process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            return captured(process, stdin, into, most, seconds)
        finally:
            if group:
                group.kill()

    def usage(self, plan: SandboxPlan) -> dict[str, int]:
        """Read the control group; empty without one."""
        group = cgroup.find(plan.identity)
        return group.usage() if group else {}

    def pids(self, plan: SandboxPlan) -> list[int]:
        """Return those in the process namespace of bubblewrap's child, and below it."""
        state = self.state(plan)
        return processes_of(state.pid) if state.running else []

    def kill(self, plan: SandboxPlan) -> None:
        """Kill the first process, with which the kernel ends all others, then whatever is left in the group."""
        state = self.state(plan)
        if state.running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(state.pid, signal.SIGKILL)
        if group := cgroup.find(plan.identity):
            group.kill()

    def remove(self, plan: SandboxPlan) -> None:
        """Remove the control group."""
        if group := cgroup.find(plan.identity):
            group.remove()

    def _write(self, plan: SandboxPlan, group: cgroup.ControlGroup | None) -> None:
        layout = filesystem.arrange(plan)
        arguments = [*_namespaces(plan), *layout.arguments, *_environment(plan)]
        (plan.folder / "arguments").write_bytes(b"".join(os.fsencode(a) + b"\0" for a in arguments))
        (plan.folder / "filter.bpf").write_bytes(seccomp.program())
        (plan.folder / "fstab").write_text(layout.fstab)
        (plan.folder / "launch.sh").write_text(_script(plan, group, bool(layout.fstab)))


def _namespaces(plan: SandboxPlan) -> list[str]:
    return [
        "--unshare-all", "--unshare-user", "--uid", str(USER), "--gid", str(USER), "--hostname", plan.hostname,
        "--cap-drop", "ALL", "--die-with-parent",
    ]  # fmt: skip


def _environment(plan: SandboxPlan) -> list[str]:
    values = [part for name, value in plan.environment.items() for part in ("--setenv", name, value)]
    return ["--clearenv", *values, "--chdir", plan.folder_inside]


def _script(plan: SandboxPlan, group: cgroup.ControlGroup | None, mounts: bool) -> str:
    """Return the start as a shell script: nothing of ours is in memory once bubblewrap runs."""
    folder, limits = shlex.quote(str(plan.folder)), plan.policy.limits
    bounds = ["ulimit -c 0", f"ulimit -n {limits.open_files}"]
    bounds += [f"ulimit -f {limits.disk >> 9}"] if limits.disk else []
    bounds += [f"ulimit -v {limits.memory >> 10}"] if limits.memory and group is None else []
    # Shells disagree on how to limit processes.
    counted = ["prlimit", f"--nproc={limits.pids}"] if limits.pids and group is None else []
    identity = ["setpriv", f"--reuid={plan.owner}", f"--regid={plan.owner}", "--clear-groups"] if plan.owner else []
    clock = ["timeout", "--foreground", "-s", "KILL", str(plan.seconds)] if plan.seconds else []
    inner = f'exec {shlex.join([*counted, *identity, *clock, "bwrap", "--args", "3", "--seccomp", "4"])} "$@"'
    if mounts:
        rights = ["--mount"] if os.geteuid() == 0 else ["--user", "--map-root-user", "--mount"]
        unshare = shlex.join(["unshare", *rights, "--propagation", "private", "/bin/sh", "-c"])
        inner = f'exec {unshare} {shlex.quote(f"mount -a -T {folder}/fstab || exit 125; " + inner)} sh "$@"'
    lines = [
        "#!/bin/sh",
        "# Made by seatrial; runs bubblewrap inside the agent's limits.",
        *(f"echo $$ > {shlex.quote(entrance)} || exit 125" for entrance in (group.entrances if group else ())),
        *(f"{bound} || exit 125" for bound in bounds),
        "mode=$1; shift",
        f"exec 3<{folder}/arguments 4<{folder}/filter.bpf || exit 125",
        'if [ "$mode" = run ]; then',
        "  trap '' INT QUIT TSTP",
        f"  exec 5>>{folder}/status.json 6<>{folder}/go || exit 125",
        '  set -- --json-status-fd 5 --block-fd 6 -- "$@"',
        "else",
        '  set -- -- "$@"',
        "fi",
        inner,
    ]
    return "\n".join(lines) + "\n"


def _status(file: Path) -> dict[str, int]:
    """Return all that bubblewrap has reported; a torn last line is not there yet."""
    found: dict[str, int] = {}
    with contextlib.suppress(OSError):
        for line in file.read_text().splitlines():
            with contextlib.suppress(json.JSONDecodeError):
                found.update(json.loads(line))
    return found
