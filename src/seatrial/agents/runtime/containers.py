"""Sandboxes of Podman and Docker, with the same strict default as bubblewrap's.

The host's toolchain is shown in an empty root file system, as bubblewrap shows it; `files.root` may name an image of
the engine instead.  The engine's client runs in the agent's terminal; when it is gone, the container counts as ended.

Differs from bubblewrap: as root, and with Docker, there is no user namespace; the agent has `plan.owner` as its user id
inside, too.  Images need /bin/sh and env.  Docker's daemon is root whatever the policy says: whoever may talk to it is
root, too.  Does not hold against faults in the kernel.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import shlex
import shutil
import signal
import subprocess
import tarfile
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from seatrial.agents import images
from seatrial.agents.runtime import filesystem
from seatrial.agents.runtime.base import Completed, Finding
from seatrial.agents.runtime.bounds import bounds_of
from seatrial.agents.runtime.capture import captured
from seatrial.agents.runtime.container_options import GATE, at_most, empty_root, options, write_gate
from seatrial.agents.runtime.plan import USER, SandboxPlan, SandboxState
from seatrial.agents.runtime.running import lives, namespace_of, processes_of
from seatrial.agents.sandbox import cgroup
from seatrial.agents.sandbox.enter import Inhabitant
from seatrial.errors import SandboxError

_POLL_SECONDS, _RELEASE_SECONDS, _END_SECONDS, _CLIENT_SECONDS = 0.005, 10.0, 3.0, 60.0
# What the client reads from its environment; the terminal has none of it.
_TAKEN = (
    "HOME", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "DBUS_SESSION_BUS_ADDRESS", "CONTAINERS_CONF",
    "CONTAINERS_STORAGE_CONF", "DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG",
)  # fmt: skip


class _Engine:
    """What both have in common."""

    name = ""
    package = ""

    def check(self) -> list[Finding]:
        """Say whether the engine is there and answers, by asking it."""
        if shutil.which(self.name) is None:
            return [Finding(self.name, False, f"{self.name} is not installed", f"apt-get install {self.package}")]
        try:
            self._refuse_remote()
            version = self._client("version", "--format", "{{.Client.Version}}").strip()
            self._client("ps", "--quiet", "--last", "1")
        except SandboxError as problem:
            return [Finding(self.name, False, problem.message, problem.hint)]
        found = [Finding(self.name, True, f"{self.name} {version} answers")]
        if not self._limits_together():
            found.append(Finding("limits", True, "no control groups: limits hold for each process, with a watchdog"))
        return found

    def prepare(self, plan: SandboxPlan) -> tuple[str, ...]:
        """Write the start as a script; SandboxError when the engine or the image is not there."""
        if shutil.which(self.name) is None:
            raise SandboxError(f"{self.name} is not installed.", hint=f"apt-get install {self.package}")
        self._refuse_remote()
        if (plan.folder / "front").exists():  # of an earlier run that may not have ended well
            self.remove(plan)
        self._write(plan)
        return ("/bin/sh", str(plan.folder / "launch.sh"), "run", *plan.command)

    def await_ready(self, plan: SandboxPlan, seconds: float, ended: Callable[[], str | None]) -> Inhabitant:
        """Ask the engine until it names the first process."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with contextlib.suppress(SandboxError, ValueError, OSError):
                if pid := self._first_process(plan):
                    group = cgroup.of_process(pid)
                    status = {"pid": pid, "namespace": namespace_of(pid),
                              "groups": [str(folder) for folder in group.folders] if group else []}  # fmt: skip
                    (plan.folder / "status.json").write_text(json.dumps(status))
                    return self.inhabitant(plan)
            if (words := ended()) is not None:
                raise SandboxError(f"The container did not start: {words or 'no reason given'}.", hint=self._hint())
            time.sleep(_POLL_SECONDS)
        raise SandboxError(f"The container did not start within {seconds:.0f} seconds.", hint=self._hint())

    def release(self, plan: SandboxPlan) -> None:
        """Write the line that the script inside waits for; SandboxError when it does not come to wait."""
        end = time.monotonic() + _RELEASE_SECONDS
        while True:
            try:
                descriptor = os.open(plan.folder / "gate" / "go", os.O_WRONLY | os.O_NONBLOCK)
                break
            except OSError as problem:
                if time.monotonic() > end or not self.state(plan).running:
                    raise SandboxError("The container ended before its command began.") from problem
            time.sleep(_POLL_SECONDS)
        os.write(descriptor, b"\n")
        os.close(descriptor)

    def state(self, plan: SandboxPlan) -> SandboxState:
        """Running while its first process lives and its client does, as the agent's terminal is the client's."""
        status = _read(plan.folder / "status.json")
        if status and lives(status["pid"], status["namespace"]) and _front_lives(plan):
            return SandboxState(True, status["pid"])
        with contextlib.suppress(OSError, ValueError):
            return SandboxState(False, 0, int((plan.folder / "exit-code").read_text()))
        return SandboxState(False)

    def inhabitant(self, plan: SandboxPlan) -> Inhabitant:
        """Return the container's first process."""
        state = self.state(plan)
        if not state.running:
            raise SandboxError("The container does not run.", hint="seatrial agent resume NAME")
        group = cgroup.of_process(state.pid)
        return Inhabitant(
            state.pid,
            self._uid(plan),
            tuple(group.entrances if group else ()),
            bounds_of(plan.policy.limits, group is not None),
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
        """Start another container on the same plan, removed at its end."""
        self._refuse_remote()
        self._write(plan)
        name = f"seatrial-{plan.identity}-{uuid.uuid4().hex[:8]}"
        argv = ["/bin/sh", str(plan.folder / "launch.sh"), name, *command]
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            return captured(process, stdin, into, most, seconds)
        except BaseException:
            self._forget(name)  # ending the client does not end the container
            raise
        finally:
            _tidy(plan)

    def usage(self, plan: SandboxPlan) -> dict[str, int]:
        """Read the control groups that the engine made; empty without one, and once they are gone."""
        groups = _read(plan.folder / "status.json").get("groups", ())
        return cgroup.ControlGroup(tuple(Path(group) for group in groups)).usage()

    def pids(self, plan: SandboxPlan) -> list[int]:
        """Return those in the process namespace of the container's first process."""
        state = self.state(plan)
        return processes_of(state.pid) if state.running else []

    def kill(self, plan: SandboxPlan) -> None:
        """Kill the first process, with which the kernel ends all others, and wait for the client to notice."""
        status = _read(plan.folder / "status.json")
        if not status or not lives(status["pid"], status["namespace"]):
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(status["pid"], signal.SIGKILL)
        end = time.monotonic() + _END_SECONDS
        while _front_lives(plan) and time.monotonic() < end:
            time.sleep(_POLL_SECONDS)

    def remove(self, plan: SandboxPlan) -> None:
        """Make sure that the engine has no container of this plan left; one that ended well removed itself."""
        code = self.state(plan).exit_code
        if (code is None or code >= 125) and (plan.folder / "launch.sh").exists():
            self._forget(_name(plan))
        for name in ("status.json", "front"):
            (plan.folder / name).unlink(missing_ok=True)
        _tidy(plan)

    def _write(self, plan: SandboxPlan) -> None:
        plan.folder.mkdir(parents=True, exist_ok=True)
        for name in ("status.json", "front", "exit-code", "pid"):
            (plan.folder / name).unlink(missing_ok=True)
        write_gate(plan, together=self._limits_together())
        common = options(plan, self._uid(plan), self.name, together=self._limits_together())
        given = [*self._identity(plan), *self._own_options(plan), *common]
        command = [*self._program(), "run", "--rm", "--interactive", "--entrypoint=/bin/sh", *given]
        (plan.folder / "launch.sh").write_text(_script(plan, command, self._program(), self._root(plan)))

    def _uid(self, plan: SandboxPlan) -> int:
        return os.geteuid() if plan.owner is None else plan.owner

    def _identity(self, plan: SandboxPlan) -> list[str]:
        uid = self._uid(plan)
        return [f"--user={uid}:{uid if plan.owner is not None else os.getegid()}"]

    def _own_options(self, plan: SandboxPlan) -> list[str]:
        return []

    def _limits_together(self) -> bool:
        return True

    def _root(self, plan: SandboxPlan) -> list[str]:
        raise NotImplementedError

    def _refuse_remote(self) -> None:
        address = os.environ.get(f"{'CONTAINER' if self.name == 'podman' else 'DOCKER'}_HOST", "unix://")
        if not address.startswith("unix://"):
            raise SandboxError(f"{self.name} is on another machine ({address}); agents need one on this machine.")

    def _first_process(self, plan: SandboxPlan) -> int:
        return int(self._client("inspect", "--format", "{{.State.Pid}}", _name(plan)))

    def _program(self) -> list[str]:
        return [self.name]

    def _hint(self) -> str:
        return "seatrial agent doctor"

    def _forget(self, name: str) -> None:
        with contextlib.suppress(SandboxError):
            self._client("rm", "--force", "--volumes", name)

    def _client(self, *words: str, stdin: bytes = b"") -> str:
        try:
            done = subprocess.run([*self._program(), *words], input=stdin, capture_output=True, timeout=_CLIENT_SECONDS)
        except (OSError, subprocess.TimeoutExpired) as problem:
            raise SandboxError(f"{self.name} does not answer: {problem}.", hint=self._hint()) from problem
        if done.returncode:
            said = (done.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"])[-1][:300]
            raise SandboxError(f"{self.name} cannot do this: {said}", hint=self._hint())
        return done.stdout.decode(errors="replace")


class Podman(_Engine):
    """Podman, of an ordinary user or root."""

    name, package = "podman", "podman"

    def _program(self) -> list[str]:
        return [self.name, *_for_hybrid()]

    def _uid(self, plan: SandboxPlan) -> int:
        return USER if plan.owner is None else plan.owner

    def _identity(self, plan: SandboxPlan) -> list[str]:
        if plan.owner is not None:
            return super()._identity(plan)
        return [f"--userns=keep-id:uid={USER},gid={USER}", f"--user={USER}:{USER}"]

    def _own_options(self, plan: SandboxPlan) -> list[str]:
        # Podman lowers its own limit to the kernel's; its default for containers may lie above what it may set then.
        most = int(Path("/proc/sys/kernel/pid_max").read_text())
        if not self._limits_together():
            most = plan.policy.limits.pids or most
        return [
            "--replace",
            "--read-only-tmpfs=false",
            "--no-hosts",
            f"--ulimit=nproc={at_most(resource.RLIMIT_NPROC, most)}",
        ]

    def _limits_together(self) -> bool:
        return os.geteuid() == 0 or Path("/sys/fs/cgroup/cgroup.controllers").is_file()

    def _root(self, plan: SandboxPlan) -> list[str]:
        root = plan.policy.files.root
        if not root:
            return ["--rootfs", str(empty_root(plan, self._uid(plan)))]
        if root.startswith("/") or images.is_image(root):
            return ["--rootfs", f"{images.root_of(root)}:O"]
        if subprocess.run([*self._program(), "image", "exists", root], capture_output=True).returncode:
            raise SandboxError(f"podman has no image {root}.", hint=f"podman pull {root}")
        return [root]


class Docker(_Engine):
    """Docker with its daemon."""

    name, package = "docker", "docker.io"

    def _root(self, plan: SandboxPlan) -> list[str]:
        root = plan.policy.files.root
        if root.startswith("/") or (root and images.is_image(root)):
            raise SandboxError(
                f"docker cannot use the unpacked root file system {root}.",
                hint="Name an image that docker has, or use another runtime.",
            )
        if root and not self._has(root):
            raise SandboxError(f"docker has no image {root}.", hint=f"docker pull {root}")
        return [root or self._empty_image()]

    def _has(self, image: str) -> bool:
        return bool(self._client("images", "--quiet", image).strip())

    def _empty_image(self) -> str:
        """Return an image of nothing but links, made here if it is not there: the rest is mounted."""
        links, made = filesystem.host_links(), io.BytesIO()
        image = f"seatrial/host:{len(links)}-links"
        if not self._has(image):
            with tarfile.open(fileobj=made, mode="w") as archive:
                for target, link in links:
                    entry = tarfile.TarInfo(target.lstrip("/"))
                    entry.type, entry.linkname = tarfile.SYMTYPE, link
                    archive.addfile(entry)
            self._client("import", "-", image, stdin=made.getvalue())
        return image


def _script(plan: SandboxPlan, command: list[str], engine: list[str], root: list[str]) -> str:
    """Return the start: `run` in the agent's terminal, with the name of the plan, or once, with a name given."""
    folder, start = shlex.quote(str(plan.folder)), shlex.join([*root, f"{GATE}/start"])
    clock = shlex.join(["timeout", "--foreground", "-s", "KILL", str(plan.seconds)]) + " " if plan.seconds else ""
    taken = [f"export {name}={shlex.quote(os.environ[name])}" for name in _TAKEN if name in os.environ]
    lines = [
        "#!/bin/sh",
        "# Made by seatrial; runs the engine's client.",
        *taken,
        "mode=$1; shift",
        'if [ "$mode" != run ]; then',
        f'  exec {shlex.join(command)} --name "$mode" {start} once "$@"',
        "fi",
        f"echo $$ > {folder}/front",
        f'{clock}{shlex.join([*command, "--tty", "--name", _name(plan)])} {start} run "$@"',
        "code=$?",
        f"[ $code -lt 125 ] || {shlex.join([*engine, 'rm', '--force', '--volumes', _name(plan)])} > /dev/null 2>&1",
        f"echo $code > {folder}/exit-code.new && mv {folder}/exit-code.new {folder}/exit-code",
        "exit $code",
    ]
    return "\n".join(lines) + "\n"


def _tidy(plan: SandboxPlan) -> None:
    """Remove what the kernel made beside layers: it belongs to a user id of Podman's, and would stop a deletion."""
    for work in [*(layer.work for layer in plan.overlays), *(plan.folder.parent / "caches").glob("*/work")]:
        with contextlib.suppress(OSError):
            (work / "work").rmdir()


def _name(plan: SandboxPlan) -> str:
    return f"seatrial-{plan.identity}"


def _read(file: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return found


def _front_lives(plan: SandboxPlan) -> bool:
    try:
        pid = int((plan.folder / "front").read_text())
        return str(plan.folder / "launch.sh").encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (OSError, ValueError):
        return False


def _for_hybrid() -> list[str]:
    """Return options for machines with control groups of both versions at once, which crun refuses."""
    both = Path("/sys/fs/cgroup/unified/cgroup.procs").is_file() and Path("/sys/fs/cgroup/memory").is_dir()
    return ["--runtime", "runc"] if both and shutil.which("runc") else []
