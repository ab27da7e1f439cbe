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
_NOT_OF_IMAGES = ("dev", "home", "proc", "run", "sys", "tmp", "workspace", "var/run", "var/tmp", "etc/hostname",
                  "etc/hosts", "etc/nsswitch.conf", "etc/resolv.conf", "etc/passwd", "etc/group")  # fmt: skip
_OPENED_OF_IMAGES = ("etc", "var")
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
        "--dev", "/dev", "--perms", "1777", "--size", str(_within(plan, _SHARED_MEMORY)), "--tmpfs", "/dev/shm",
        *(part for device in plan.policy.devices.allow for part in ("--dev-bind", device, device)),
        "--remount-ro", "/dev",
        "--perms", "1777", "--size", str(_within(plan, plan.policy.limits.tmp)), "--tmpfs", "/tmp",
        "--perms", "1777", "--size", str(_within(plan, 1 << 26)), "--tmpfs", "/var/tmp",
        *(part for mount in plan.mounts for part in _place(mount, stage)),
        *(part for overlay in plan.overlays for part in ("--bind", stage.layered(overlay), overlay.target)),
        "--remount-ro", "/",
    ]  # fmt: skip
    return Layout(mounts, stage.fstab())


def _within(plan: SandboxPlan, size: int) -> int:
    """Return the size of a folder that is kept in memory: a full one must not end the agent."""
    quarter = plan.policy.limits.memory // 4
    return min(size or quarter or 1 << 40, quarter or size or 1 << 40)


def _place(mount: Mount, stage: _Stage) -> tuple[str, str, str]:
    if mount.kind == "cache":
        return "--bind", stage.layered(cache_layers(stage.plan, mount)), mount.target
    return ("--bind" if mount.kind == "write" else "--ro-bind"), stage.reachable(mount.source), mount.target


def cache_layers(plan: SandboxPlan, mount: Mount) -> Overlay:
    """Return the layers of a cache, making the agent's own one if it is not there."""
    private = plan.folder.parent / "caches" / mount.target.strip("/").replace("/", "-")
    layer = Overlay(mount.source, private / "upper", private / "work", mount.target)
    for folder in (layer.upper, layer.work):
        folder.mkdir(parents=True, exist_ok=True)
        if plan.owner:
            os.chown(folder, plan.owner, plan.owner)
    return layer


class _Stage:
    """Makes places reachable for the agent's user id, and mounts layers, in a private mount namespace."""

    def __init__(self, plan: SandboxPlan) -> None:
        self.plan = plan
        self._lines: list[str] = []

    def reachable(self, source: Path) -> str:
        """Return where `source` can be taken from by `plan.owner`."""
        if self.plan.owner is None or not source.is_dir() or _open_to_all(source):
            return str(source)
        return self._add(source, "none", "bind")

    def layered(self, overlay: Overlay) -> str:
        """Return where the two layers are one."""
        layers = (
            f"lowerdir={_escaped(overlay.lower)},upperdir={_escaped(overlay.upper)},workdir={_escaped(overlay.work)}"
        )
        return self._add(None, "overlay", layers if os.geteuid() == 0 else f"{layers},userxattr")

    def fstab(self) -> str:
        """Return the table."""
        return "\n".join([*self._lines, ""])

    def _add(self, source: Path | None, kind: str, options: str) -> str:
        # Root's places are the same for all agents, as each mounts in a namespace of its own; the way to them is open.
        base = _STAGE if os.geteuid() == 0 else self.plan.folder / "layers"
        target = base / str(len(self._lines))
        target.mkdir(mode=0o755, parents=True, exist_ok=True)
        self._lines.append(f"{_octal(str(source or 'overlay'))} {_octal(str(target))} {kind} {_octal(options)}")
        return str(target)


def _open_to_all(source: Path) -> bool:
    return all(place.stat().st_mode & 0o001 for place in (source, *source.parents))


def _escaped(path: Path) -> str:
    return str(path).replace("\\", "\\\\").replace(",", "\\,").replace(":", "\\:")


def _octal(text: str) -> str:
    return "".join(f"\\{ord(c):03o}" if c in " \t\n\\#" else c for c in text)


def _system(plan: SandboxPlan, stage: _Stage) -> Iterator[str]:
    if plan.policy.files.root:
        from seatrial.agents import images  # slow to import, and seldom needed

        yield from _unpacked(images.root_of(plan.policy.files.root), stage)
        return
    for source, target in host_places():
        yield from ("--ro-bind", stage.reachable(source), target)
    for target, link in host_links():
        yield from ("--symlink", link, target)


def _unpacked(root: Path, stage: _Stage) -> Iterator[str]:
    """Show what is in a root file system piece by piece: mounts of our own need room beside the pieces."""
    reachable = Path(stage.reachable(root))
    for place in sorted(root.iterdir()):
        if place.name in _NOT_OF_IMAGES:
            continue
        opened = place.name in _OPENED_OF_IMAGES and place.is_dir() and not place.is_symlink()
        for piece in sorted(place.iterdir()) if opened else [place]:
            inside = piece.relative_to(root)
            if str(inside) in _NOT_OF_IMAGES:
                continue
            if piece.is_symlink():
                yield from ("--symlink", str(piece.readlink()), f"/{inside}")
            else:
                yield from ("--ro-bind", str(reachable / inside), f"/{inside}")


def host_places() -> list[tuple[Path, str]]:
    """Return the folders of the host's toolchain and where they are inside."""
    found = [(Path("/usr"), "/usr")]
    found += [(place, str(place)) for name in _SYSTEM if (place := Path("/", name)).is_dir() and not place.is_symlink()]
    prefix = Path(sys.base_prefix)  # the interpreter of the `seatrial-agent` command
    return found if prefix.is_relative_to("/usr") else [*found, (prefix, str(prefix))]


def host_links() -> list[tuple[str, str]]:
    """Return the links at the top of the host's file system that lead into its toolchain."""
    places = [Path("/", name) for name in _SYSTEM]
    return [(str(place), str(place.readlink())) for place in places if place.is_symlink()]


def _etc(plan: SandboxPlan, stage: _Stage) -> Iterator[str]:
    for place in () if plan.policy.files.root else host_etc():
        yield from ("--ro-bind", str(place), str(place))
    folder, names = write_etc(plan, USER)
    reachable = stage.reachable(folder)
    for name in names:
        yield from ("--ro-bind", f"{reachable}/{name}", f"/etc/{name}")


def host_etc() -> list[Path]:
    """Return what is shown of the host's /etc."""
    return [place for name in _SHARED_ETC if (place := Path("/etc", name)).exists()]


def write_etc(plan: SandboxPlan, uid: int) -> tuple[Path, list[str]]:
    """Make the files of /etc that are a sandbox's own, the agent being user `uid`; return their folder and names."""
    made = {
        "passwd": f"root:x:0:0:root:/root:/usr/sbin/nologin\nagent:x:{uid}:{uid}:agent:{HOME}:/bin/bash\n"
        "nobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n",
        "group": f"root:x:0:\nagent:x:{uid}:\nnogroup:x:65534:\n",
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
    return folder, list(made)


def _masks() -> Iterator[str]:
    for name in _HIDDEN_PROC:
        if Path("/proc", name).exists():
            yield from ("--ro-bind", "/dev/null", f"/proc/{name}")
