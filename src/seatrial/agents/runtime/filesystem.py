"""The file system that an agent sees, as arguments for bubblewrap and a mount table for what needs one first."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from seatrial.agents.runtime.plan import HOME, USER, Mount, Overlay, SandboxPlan

_STAGE = Path("/run/seatrial-stage")
_SYSTEM = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
# Of /etc only what programs need and nobody hides; the rest is made here.
_SHARED_ETC = (
    "alternatives", "ca-certificates", "ca-certificates.conf", "fonts", "ld.so.cache", "ld.so.conf", "ld.so.conf.d",
    "localtime", "mime.types", "protocols", "services", "ssl/certs", "ssl/openssl.cnf", "pki/tls/certs",
    "pki/ca-trust", "chromium.d", "java-17-openjdk", "java-21-openjdk", "perl", "python3", "python3.11", "magic",
    "terminfo", "timezone", "debian_version", "os-release", "inputrc",
)  # fmt: skip
_HIDDEN_PROC = ("kcore", "keys", "key-users", "timer_list", "sched_debug", "kallsyms", "kmsg")
_SHARED_MEMORY = 512 << 20


@dataclass
class Layout:
    """`arguments` for bubblewrap; `fstab` is mounted before it, in a mount namespace of its own."""

    arguments: list[str] = field(default_factory=list)
    fstab: str = ""


def arrange(plan: SandboxPlan) -> Layout:
    """Return how the plan's file system is made; writes the files of /etc into `plan.folder`."""
    stage = _Stage(plan)
    mounts = [
        *_system(plan, stage),
        *_etc(plan, stage),
        "--proc", "/proc", *_masks(),
        "--dev", "/dev", "--perms", "1777", "--size", str(_SHARED_MEMORY), "--tmpfs", "/dev/shm",
        *(part for device in plan.policy.devices.allow for part in ("--dev-bind", device, device)),
        "--remount-ro", "/dev",
        "--perms", "1777", "--size", str(plan.policy.limits.tmp or 1 << 40), "--tmpfs", "/tmp",
        "--perms", "1777", "--size", str(1 << 26), "--tmpfs", "/var/tmp",
        *(part for mount in plan.mounts for part in _place(mount, stage)),
        *(part for overlay in plan.overlays for part in ("--bind", stage.layered(overlay), overlay.target)),
        "--remount-ro", "/",
    ]  # fmt: skip
    return Layout(mounts, stage.fstab())


def _place(mount: Mount, stage: _Stage) -> tuple[str, str, str]:
    if mount.kind == "cache":
        private = Path(stage.plan.folder).parent / "caches" / mount.target.strip("/").replace("/", "-")
        layer = Overlay(mount.source, private / "upper", private / "work", mount.target)
        for folder in (layer.upper, layer.work):
            folder.mkdir(parents=True, exist_ok=True)
            if stage.plan.owner:
                os.chown(folder, stage.plan.owner, stage.plan.owner)
        return "--bind", stage.layered(layer), mount.target
    return ("--bind" if mount.kind == "write" else "--ro-bind"), stage.reachable(mount.source), mount.target


class _Stage:
    """Makes places reachable for the agent's user id, and mounts layers, in a private mount namespace."""

    def __init__(self, plan: SandboxPlan) -> None:
        self.plan = plan
        self._lines: list[str] = []

    def reachable(self, source: Path) -> str:
        """Return where `source` can be taken from by `plan.owner`."""
        if self.plan.owner is None or not source.is_dir() or _open_to_all(source):
            return str(source)
        return self._add(source, "none", "bind,x-mount.mkdir")

    def layered(self, overlay: Overlay) -> str:
        """Return where the two layers are one."""
        layers = (
            f"lowerdir={_escaped(overlay.lower)},upperdir={_escaped(overlay.upper)},workdir={_escaped(overlay.work)}"
        )
        extra = "x-mount.mkdir" if os.geteuid() == 0 else "userxattr"
        return self._add(None, "overlay", f"{layers},{extra}")

    def fstab(self) -> str:
        """Return the table; the place where things are staged comes first."""
        if not self._lines:
            return ""
        if os.geteuid() == 0:
            _STAGE.mkdir(mode=0o755, exist_ok=True)
            return "\n".join([f"tmpfs {_STAGE} tmpfs mode=755", *self._lines]) + "\n"
        return "\n".join(self._lines) + "\n"

    def _add(self, source: Path | None, kind: str, options: str) -> str:
        if os.geteuid() == 0:
            target = _STAGE / str(len(self._lines))
        else:
            target = self.plan.folder / "layers" / str(len(self._lines))
            target.mkdir(parents=True, exist_ok=True)
        self._lines.append(f"{_octal(str(source or 'overlay'))} {_octal(str(target))} {kind} {_octal(options)}")
        return str(target)


def _open_to_all(source: Path) -> bool:
    return all(place.stat().st_mode & 0o001 for place in (source, *source.parents))


def _escaped(path: Path) -> str:
    return str(path).replace("\\", "\\\\").replace(",", "\\,").replace(":", "\\:")


def _octal(text: str) -> str:
    return "".join(f"\\{ord(c):03o}" if c in " \t\n\\#" else c for c in text)


def _system(plan: SandboxPlan, stage: _Stage) -> Iterator[str]:
    root = Path(plan.policy.files.root) if plan.policy.files.root else None
    if root is not None:
        yield from ("--ro-bind", stage.reachable(root), "/")
        return
    yield from ("--ro-bind", "/usr", "/usr")
    for name in _SYSTEM:
        place = Path("/") / name
        if place.is_symlink():
            yield from ("--symlink", str(place.readlink()), str(place))
        elif place.is_dir():
            yield from ("--ro-bind", str(place), str(place))
    prefix = Path(sys.base_prefix)
    if not prefix.is_relative_to("/usr"):  # the interpreter of the `seatrial-agent` command
        yield from ("--ro-bind", stage.reachable(prefix), str(prefix))


def _etc(plan: SandboxPlan, stage: _Stage) -> Iterator[str]:
    made = {
        "passwd": f"root:x:0:0:root:/root:/usr/sbin/nologin\nagent:x:{USER}:{USER}:agent:{HOME}:/bin/bash\n"
        "nobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n",
        "group": f"root:x:0:\nagent:x:{USER}:\nnogroup:x:65534:\n",
        "hosts": f"127.0.0.1 localhost {plan.hostname}\n::1 localhost\n",
        "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
        "resolv.conf": "# There is no name service inside: names are looked up by the gateway.\n",
        "hostname": f"{plan.hostname}\n",
    }
    folder = plan.folder / "etc"
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    for name, text in made.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o644)
    if plan.policy.files.root:
        return
    for name in _SHARED_ETC:
        place = Path("/etc") / name
        if place.exists():
            yield from ("--ro-bind", str(place), str(place))
    reachable = stage.reachable(folder)
    for name in made:
        yield from ("--ro-bind", f"{reachable}/{name}", f"/etc/{name}")


def _masks() -> Iterator[str]:
    for name in _HIDDEN_PROC:
        if Path("/proc", name).exists():
            yield from ("--ro-bind", "/dev/null", f"/proc/{name}")
