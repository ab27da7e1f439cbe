"""A plan as options of `podman run` and `docker run`, which read most of them alike."""

from __future__ import annotations

import json
import os
import resource
import shlex
import shutil
from pathlib import Path

from seatrial.agents.policy import Limits
from seatrial.agents.runtime import filesystem
from seatrial.agents.runtime.plan import Mount, Overlay, SandboxPlan
from seatrial.agents.sandbox import seccomp
from seatrial.errors import SandboxError

GATE = "/run/seatrial-gate"
"""Where the script that begins the command is inside, and the pipe that it waits at."""
_ALWAYS = (
    "--network=none", "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--cgroupns=private",
    "--ipc=private", "--log-driver=none", "--pull=never",
    # The host's folders have labels of their own, and are not to be labelled anew.
    "--security-opt=label=disable",
)  # fmt: skip
_SHARED_MEMORY, _VAR_TMP = 512 << 20, 1 << 26


def options(plan: SandboxPlan, uid: int, engine: str, *, together: bool) -> list[str]:
    """Return the options for isolation, limits and files; writes the files that they name into `plan.folder`.

    `together`: the engine can limit all processes together.
    """
    (plan.folder / "seccomp.json").write_text(json.dumps(seccomp.profile()))
    limits = plan.policy.limits
    given = [
        *_ALWAYS, f"--security-opt=seccomp={plan.folder}/seccomp.json", f"--hostname={plan.hostname}",
        f"--workdir={plan.folder_inside}", f"--shm-size={_SHARED_MEMORY}",
        *_tmpfs("/tmp", limits.tmp), *_tmpfs("/var/tmp", _VAR_TMP),
        # The machine's hardware and control groups are nobody's business inside.
        "--tmpfs=/sys:ro,size=4k,mode=555,nosuid,nodev,noexec",
        f"--ulimit=nofile={at_most(resource.RLIMIT_NOFILE, limits.open_files)}", "--ulimit=core=0:0",
        *([f"--ulimit=fsize={limits.disk}:{limits.disk}"] if limits.disk else []),
        *(_together(limits) if together else []),
        *(f"--device={device}" for device in plan.policy.devices.allow),
    ]  # fmt: skip
    places = mounts(plan, uid)
    layers = [filesystem.cache_layers(plan, mount) for mount in places if mount.kind == "cache"]
    given += [_bind(mount) for mount in places if mount.kind != "cache"]
    given += [_layered(layer, engine) for layer in (*layers, *plan.overlays)]
    return given


def _together(limits: Limits) -> list[str]:
    return [
        *([f"--memory={limits.memory}b", f"--memory-swap={limits.memory}b"] if limits.memory else []),
        f"--pids-limit={limits.pids or -1}",
        *([f"--cpus={limits.cpus}"] if limits.cpus else []),
    ]


def mounts(plan: SandboxPlan, uid: int) -> list[Mount]:
    """Return all that is mounted in a container, in order."""
    return [*_system(plan, uid), Mount(plan.folder / "gate", GATE), *plan.mounts]


def empty_root(plan: SandboxPlan, uid: int) -> Path:
    """Return a root file system of nothing but links and places to mount on.

    An engine would make those places itself, as a user whose files we could not remove again.
    """
    root = plan.folder / "root"
    shutil.rmtree(root, ignore_errors=True)
    for target, link in [*filesystem.host_links(), ("/etc/mtab", "/proc/mounts")]:
        place = root / target.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(link)
    folders = ["/proc", "/sys", "/dev", "/tmp", "/var/tmp", *(layer.target for layer in plan.overlays)]
    files = ["/run/.containerenv"]
    for mount in mounts(plan, uid):
        (folders if mount.source.is_dir() else files).append(mount.target)
    for target in folders:
        (root / target.lstrip("/")).mkdir(parents=True, exist_ok=True)
    for target in ("tmp", "var/tmp"):
        (root / target).chmod(0o1777)  # runc gives what is mounted the mode of the place, whatever the options say
    for target in files:
        place = root / target.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
    return root


def _system(plan: SandboxPlan, uid: int) -> list[Mount]:
    folder, names = filesystem.write_etc(plan, uid)
    ours = [Mount(folder / name, f"/etc/{name}") for name in names]
    if plan.policy.files.root:
        return ours
    return [
        *(Mount(source, target) for source, target in filesystem.host_places()),
        *(Mount(place, str(place)) for place in filesystem.host_etc()),
        *ours,
    ]


def _tmpfs(target: str, size: int) -> list[str]:
    return [f"--tmpfs={target}:rw,exec,nosuid,nodev,mode=1777{f',size={size}' if size else ''}"]


def _bind(mount: Mount) -> str:
    source = mount.source.resolve()
    _check(source, mount.target)
    return f"--mount=type=bind,src={source},dst={mount.target}{',readonly' if mount.kind == 'read' else ''}"


def _layered(layer: Overlay, engine: str) -> str:
    _check(layer.lower, layer.upper, layer.work, layer.target)
    if engine == "podman":
        return f"--volume={layer.lower}:{layer.target}:O,upperdir={layer.upper},workdir={layer.work}"
    layers = f"lowerdir={layer.lower},upperdir={layer.upper},workdir={layer.work}"
    kind = "volume-driver=local,volume-opt=type=overlay,volume-opt=device=overlay"
    return f'--mount=type=volume,dst={layer.target},{kind},"volume-opt=o={layers}"'


def _check(*places: Path | str) -> None:
    for place in places:
        if any(character in str(place) for character in ',:"\n'):
            raise SandboxError(
                f"A container cannot be shown {str(place)!r}: its name has a comma, colon, quote or line break.",
                hint="Use the bubblewrap runtime.",
            )


def at_most(kind: int, wanted: int) -> str:
    """Return a limit of kind `kind` that may be set here."""
    hard = resource.getrlimit(kind)[1]
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    return f"{most}:{most}"


def write_gate(plan: SandboxPlan, *, together: bool) -> None:
    """Write what the container begins with: it waits, then runs its words with the plan's environment and no other.

    It limits the memory of each process where the engine cannot limit that of all `together`.
    """
    folder, limits = plan.folder / "gate", plan.policy.limits
    folder.mkdir(exist_ok=True)
    folder.chmod(0o755)
    (folder / "go").unlink(missing_ok=True)
    os.mkfifo(folder / "go")
    (folder / "go").chmod(0o644)
    values = shlex.join(f"{name}={value}" for name, value in plan.environment.items())
    lines = [
        "#!/bin/sh",
        f'[ "$1" = once ] || read -r _ < {GATE}/go || exit 125',
        "shift",
        *([f"ulimit -v {limits.memory >> 10}"] if limits.memory and not together else []),
        # No exec: the first process of a container ignores signals that it has not asked for, and owns orphans.
        f'env -i {values} "$@"',
        "exit $?",
    ]
    (folder / "start").write_text("\n".join(lines) + "\n")
    (folder / "start").chmod(0o755)
