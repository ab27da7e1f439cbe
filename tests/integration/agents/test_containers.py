"""Every runtime keeps the same plan.  Where an engine is not here or does not answer, its tests are skipped and say so.

No test starts an engine's daemon.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tarfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from seatrial.agents import images
from seatrial.agents.policy import Files, Limits, Policy
from seatrial.agents.runtime import Mount, Overlay, Runtime, SandboxPlan, open_runtime
from seatrial.agents.sandbox import cgroup
from seatrial.agents.sandbox.enter import Inhabitant, listener_inside, run_inside
from seatrial.agents.terminal import Terminal
from seatrial.errors import SandboxError

_OWNER = 61184 if os.geteuid() == 0 else None
_ENGINES = ("podman", "docker")
_VALUES = {"PATH": "/usr/bin:/bin", "HOME": "/home/agent", "TERM": "xterm", "ODD": "a 'b' \"c\" $HOME `id`"}
# Names of calls by number are in the kernel's tables; here by what they give a program of the C library.
_CALLS = """
import ctypes, errno, json, os, platform, sys
library = ctypes.CDLL(None, use_errno=True)
column = 0 if platform.machine() == "x86_64" else 1
calls = {
    "unshare user": ((272, 97), 0x10000000), "mount": ((165, 40), 0, 0, 0, 0, 0), "setns": ((308, 268), -1, 0),
    "ptrace": ((101, 117), 0, 0, 0, 0), "bpf": ((321, 280), 0, 0, 0), "keyctl": ((250, 219), 0, -3, 0),
    "io_uring": ((425, 425), 1, 0), "userfaultfd": ((323, 282), 0), "clone3": ((435, 435), 0, 0),
    "clone": ((56, 220), 0x10000000, 0, 0, 0, 0), "vm_readv": ((310, 270), 0, 0, 0, 0, 0, 0),
    "vsock": ((41, 198), 40, 1, 0), "alg": ((41, 198), 38, 5, 0), "packet": ((41, 198), 17, 3, 0),
    "far family": ((41, 198), 1 << 20, 1, 0), "high bits": ((41, 198), (1 << 40) | 40, 1, 0),
    "inet": ((41, 198), 2, 1, 0), "unix": ((41, 198), 1, 1, 0), "netlink": ((41, 198), 16, 3, 0),
    "personality asked": ((135, 92), 0xFFFFFFFF), "personality linux32": ((135, 92), 0x8),
    "personality exec": ((135, 92), 0x0400000), "personality top": ((135, 92), 0x80000000),
    "sti": ((16, 29), 0, 0x5412, 0), "sti high": ((16, 29), 0, (1 << 40) | 0x5412, 0),
    "size": ((16, 29), -1, 0x5413, 0),
}
seen = {}
for name, (numbers, *arguments) in calls.items():
    ctypes.set_errno(0)
    result = library.syscall(numbers[column], *(ctypes.c_long(value) for value in arguments))
    seen[name] = errno.errorcode.get(ctypes.get_errno(), "ok") if result < 0 else "ok"
print(json.dumps(seen))
"""


@pytest.fixture(params=["bubblewrap", *_ENGINES])
def runtime(request: pytest.FixtureRequest) -> Runtime:
    return _there(request.param)


@pytest.fixture(params=_ENGINES)
def engine(request: pytest.FixtureRequest) -> Runtime:
    return _there(request.param)


def _there(name: str) -> Runtime:
    runtime = open_runtime(name)
    first = runtime.check()[0]
    if not first.ok:
        pytest.skip(f"{name}: {first.finding}")
    return runtime


@pytest.fixture
def plan(tmp_path: Path) -> SandboxPlan:
    places = {name: tmp_path / name for name in ("home", "lower", "upper", "work", "read")}
    for place in places.values():
        place.mkdir()
        if _OWNER:
            os.chown(place, _OWNER, _OWNER)
    (places["lower"] / "below").write_text("lower\n")
    if _OWNER:
        os.chown(places["lower"] / "below", _OWNER, _OWNER)
    (places["read"] / "word").write_text("shown\n")
    return SandboxPlan(
        identity=f"test-{os.getpid()}-{tmp_path.name[-20:]}".replace("_", "-").rstrip("-"),
        hostname="ada",
        folder=tmp_path / "launch",
        policy=Policy(limits=Limits(memory=256 << 20, pids=50, cpus=1.0)),
        mounts=(Mount(places["home"], "/home/agent", "write"), Mount(places["read"], "/shown")),
        environment=_VALUES,
        command=("/bin/sh", "-c", "env > /home/agent/env; echo began; sleep 1000"),
        overlays=(Overlay(places["lower"], places["upper"], places["work"]),),
        owner=_OWNER,
    )


class Started:
    """A sandbox that runs."""

    def __init__(self, runtime: Runtime, plan: SandboxPlan) -> None:
        self.runtime, self.plan = runtime, plan
        self.terminal = Terminal(plan.folder.with_suffix(".tmux"))

    def __enter__(self) -> Started:
        command = self.runtime.prepare(self.plan)
        self.terminal.start(command, title="test", log=self.plan.folder.with_suffix(".log"))
        self.who: Inhabitant = self.runtime.await_ready(self.plan, 60, self.terminal.ended)
        return self

    def __exit__(self, *_: object) -> None:
        self.runtime.kill(self.plan)
        self.terminal.close()
        self.runtime.remove(self.plan)

    def inside(self, *command: str) -> tuple[int, str]:
        reader, writer = os.pipe()
        pid = run_inside(self.who, command, environment=_VALUES, folder="/workspace", streams=(0, writer, writer))
        os.close(writer)
        with os.fdopen(reader) as stream:
            said = stream.read()
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), said

    def until(self, words: str) -> None:
        end = time.monotonic() + 20
        while words not in self.terminal.screen():
            assert time.monotonic() < end, self.terminal.screen()
            time.sleep(0.02)


@pytest.fixture
def started(runtime: Runtime, plan: SandboxPlan) -> Iterator[Started]:
    with Started(runtime, plan) as sandbox:
        yield sandbox


@pytest.fixture
def released(started: Started) -> Started:
    started.runtime.release(started.plan)
    started.until("began")
    return started


def _containers(runtime: Runtime, plan: SandboxPlan) -> str:
    words = [runtime.name, "ps", "--all", "--format", "{{.Names}}"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return "\n".join(line for line in done.stdout.splitlines() if plan.identity in line)


def test_the_command_waits_until_it_is_released(started: Started) -> None:
    time.sleep(0.3)
    assert not (started.plan.mounts[0].source / "env").exists()
    with listener_inside(started.who, 7717) as listener:
        started.runtime.release(started.plan)
        started.until("began")
        code, _ = started.inside("python3", "-c", "import socket; socket.create_connection(('127.0.0.1', 7717))")
        assert code == 0
        listener.accept()[0].close()
    values = dict(line.split("=", 1) for line in (started.plan.mounts[0].source / "env").read_text().splitlines())
    values.pop("PWD")  # the shell's own
    assert values == _VALUES


def test_nothing_is_allowed_that_the_plan_does_not_name(released: Started) -> None:
    status = released.inside("cat", "/proc/self/status")[1]
    for capabilities in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert f"{capabilities}:\t0000000000000000" in status
    assert "NoNewPrivs:\t1" in status
    assert "Seccomp:\t2" in status
    for place in ("/x", "/etc/x", "/usr/x", "/shown/x", "/home/x", "/sys/x", "/dev/x"):
        assert released.inside("sh", "-c", f"echo 1 > {place}")[0] != 0, place
    for place in ("/tmp/x", "/var/tmp/x", "/workspace/x", "/home/agent/x", "/dev/shm/x"):
        assert released.inside("sh", "-c", f"echo 1 > {place}") == (0, ""), place
    assert released.inside("cat", "/shown/word") == (0, "shown\n")
    routes = released.inside("cat", "/proc/net/route")[1].splitlines()
    assert len(routes) <= 1
    assert "ada" in released.inside("cat", "/proc/sys/kernel/hostname")[1]
    assert set(released.inside("ls", "/")[1].split()) <= {
        "bin", "dev", "etc", "home", "lib", "lib32", "lib64", "libx32", "proc", "root", "run", "sbin", "shown", "sys",
        "tmp", "usr", "var", "workspace",
    }  # fmt: skip


def test_the_workspace_has_two_layers(released: Started) -> None:
    assert released.inside("sh", "-c", "cat below; echo upper > below; echo new > new") == (0, "lower\n")
    layers = released.plan.overlays[0]
    assert (layers.lower / "below").read_text() == "lower\n"
    assert (layers.upper / "below").read_text() == "upper\n"
    assert not (layers.lower / "new").exists()


def test_an_engine_refuses_the_calls_that_bubblewrap_refuses(
    engine: Runtime, plan: SandboxPlan, tmp_path: Path
) -> None:
    command = ("python3", "-c", _CALLS)
    expected = json.loads(_there("bubblewrap").run_once(replace(plan, folder=tmp_path / "other"), command).stdout)
    assert expected["clone3"] == "ENOSYS"
    assert expected["sti"] == expected["sti high"] == "EPERM"
    assert expected["inet"] == expected["personality asked"] == "ok"
    done = engine.run_once(plan, command)
    assert json.loads(done.stdout) == expected, done.stderr


def test_limits_hold_for_all_together(released: Started) -> None:
    group = cgroup.of_process(released.who.pid)
    if group is None:
        pytest.skip("no control groups for this user here")
    found = {file.name: file.read_text().strip() for folder in group.folders for file in folder.glob("*.*")
             if file.name in ("memory.limit_in_bytes", "memory.max", "pids.max")}  # fmt: skip
    assert found.pop("pids.max") == "50"
    assert set(found.values()) == {str(256 << 20)}
    joined = released.inside("sh", "-c", "for i in $(seq 200); do sleep 5 & done; echo more")[1]
    assert "fork" in joined.lower() or "more" not in joined
    assert released.runtime.usage(released.plan)["pids"] <= 50


def test_the_end_is_seen_and_leaves_nothing(runtime: Runtime, plan: SandboxPlan) -> None:
    with Started(runtime, replace(plan, command=("/bin/sh", "-c", "exit 7"))) as sandbox:
        runtime.release(plan)
        end = time.monotonic() + 20
        while runtime.state(plan).exit_code is None and time.monotonic() < end:
            time.sleep(0.02)
        assert runtime.state(plan).exit_code == 7
        assert not runtime.state(plan).running
        with pytest.raises(SandboxError):
            runtime.inhabitant(plan)
        assert sandbox.terminal.ended() is not None
    if runtime.name in _ENGINES:
        assert _containers(runtime, plan) == ""


def test_killing_ends_all_at_once(released: Started) -> None:
    pids = released.runtime.pids(released.plan)
    assert len(pids) >= 2
    released.runtime.kill(released.plan)
    end = time.monotonic() + 5
    while released.runtime.state(released.plan).running and time.monotonic() < end:
        time.sleep(0.01)
    assert released.runtime.pids(released.plan) == []


def test_a_container_whose_client_was_killed_counts_as_ended(engine: Runtime, plan: SandboxPlan) -> None:
    with Started(engine, plan) as sandbox:
        engine.release(plan)
        sandbox.until("began")
        os.kill(int((plan.folder / "front").read_text()), signal.SIGKILL)
        time.sleep(0.1)
        assert not engine.state(plan).running
    assert _containers(engine, plan) == ""
    with Started(engine, plan) as again:
        assert engine.state(plan).running
        assert again.inside("true")[0] == 0


def test_one_command_in_a_sandbox_of_its_own(runtime: Runtime, plan: SandboxPlan) -> None:
    done = runtime.run_once(plan, ["sh", "-c", "cat; echo wrong >&2; echo 1 > made; exit 3"], b"fed")
    assert (done.returncode, done.stdout) == (3, b"fed")
    assert b"wrong" in done.stderr
    assert (plan.overlays[0].upper / "made").exists()


def test_one_command_that_takes_too_long_leaves_nothing(engine: Runtime, plan: SandboxPlan) -> None:
    with pytest.raises(SandboxError, match="longer than"):
        engine.run_once(plan, ["sleep", "1000"], seconds=3)
    assert _containers(engine, plan) == ""


def test_the_engine_has_no_such_image(engine: Runtime, plan: SandboxPlan) -> None:
    with pytest.raises(SandboxError, match="no image") as caught:
        engine.prepare(replace(plan, policy=Policy(files=Files(root="seatrial-test/absent:1"))))
    assert f"{engine.name} pull" in (caught.value.hint or "")


def test_an_image_of_the_engine_is_the_root(engine: Runtime, plan: SandboxPlan, tmp_path: Path) -> None:
    image = f"localhost/seatrial-test-{os.getpid()}:1"
    _small_root(tmp_path / "root.tar")
    words = [engine.name, "import", str(tmp_path / "root.tar"), image]
    subprocess.run(words, check=True, capture_output=True)
    try:
        inside = replace(plan, policy=Policy(files=Files(root=image)))
        done = engine.run_once(inside, ["sh", "-c", "while read line; do echo $line; done < /etc/mark; echo $ODD"])
        assert done.stdout.decode() == f"of the image\n{_VALUES['ODD']}\n", done.stderr
    finally:
        subprocess.run([engine.name, "rmi", "--force", image], check=True, capture_output=True)


@pytest.mark.parametrize("name", ["bubblewrap", "podman"])
def test_an_unpacked_image_is_the_root(name: str, plan: SandboxPlan, tmp_path: Path) -> None:
    runtime = _there(name)
    _small_root(tmp_path / "layer.tar")
    (tmp_path / "manifest.json").write_text('[{"Layers": ["layer.tar"]}]')
    with tarfile.open(tmp_path / "image.tar", "w") as archive:
        for part in ("manifest.json", "layer.tar"):
            archive.add(tmp_path / part, part)
    root = images.import_image(tmp_path / "image.tar", "small")
    words = ["sh", "-c", "while read line; do echo $line; done < /etc/mark; echo $ODD; echo 1 > /tmp/x; echo 1 > /x"]
    for named in ("small", str(root)):
        done = runtime.run_once(replace(plan, policy=Policy(files=Files(root=named))), words)
        assert done.stdout.decode() == f"of the image\n{_VALUES['ODD']}\n", done.stderr
        assert b"/x: " in done.stderr
        assert b"/tmp/x" not in done.stderr
    assert not (root / "workspace").exists()
    with pytest.raises(SandboxError, match=r"[nN]o (root|image)"):
        runtime.prepare(replace(plan, policy=Policy(files=Files(root="absent"))))


def test_a_name_that_no_option_can_hold_is_refused(engine: Runtime, plan: SandboxPlan, tmp_path: Path) -> None:
    odd = tmp_path / "a,b"
    odd.mkdir()
    with pytest.raises(SandboxError, match="comma"):
        engine.prepare(replace(plan, mounts=(Mount(odd, "/odd"),)))


def _small_root(target: Path) -> None:
    """Write a root file system of a shell and `env`."""
    programs = [Path(found).resolve() for name in ("dash", "env") if (found := shutil.which(name))]
    said = subprocess.run(["ldd", *programs], capture_output=True, text=True, check=True).stdout
    libraries = {Path(word) for line in said.splitlines() for word in line.split() if word.startswith("/lib")}
    mark = target.with_name("mark")
    mark.write_text("of the image\n")
    with tarfile.open(target, "w") as archive:
        archive.add(programs[0], "bin/sh")
        archive.add(programs[1], "usr/bin/env")
        archive.add(mark, "etc/mark")
        for library in libraries:
            archive.add(library.resolve(), str(library).lstrip("/"))
