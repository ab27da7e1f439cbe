"""What an agent may touch: one frozen object that every runtime renders, and that `agent policy show` prints.

Closed by default: no host files but the toolchain, no network but the model gateway, no devices, an environment built
from nothing, limits on everything that can be filled.  Unknown fields are refused.  A policy says what is allowed; that
it holds is the runtime's work (`runtime/`), and each runtime says which parts it cannot keep.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import PurePosixPath
from typing import Any, get_type_hints

from seatrial.errors import PolicyError

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}
_TIMES = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_SECRET_NAMES = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL|AUTH", re.IGNORECASE)
_NEVER = ("/", "/run", "/boot", "/home", "/root", "/etc", "/var")
_OURS = ("/workspace", "/home/agent", "/run/seatrial", "/shared", "/proc", "/sys", "/dev", "/usr", "/tmp")


@dataclass(frozen=True)
class Files:
    """Host paths inside the sandbox, beside the read-only toolchain, a private home and the workspace."""

    read: tuple[str, ...] = ()
    """Visible read-only at the same path; `~` is the user's home.  Everything below is visible, secrets too."""
    write: tuple[str, ...] = ()
    """Visible and writable at the same path."""
    include: tuple[str, ...] = ()
    """Untracked files of the project that are copied into the workspace once (patterns such as `.env`)."""
    caches: tuple[str, ...] = ()
    """Host folders of package caches: read-only below, written to a private layer (`~/.npm`, `~/.cache/pip`)."""
    root: str = ""
    """An image unpacked by `agent image`, a folder, or an image of Podman's or Docker's; empty: the host's tools."""


@dataclass(frozen=True)
class Network:
    """What the gateway lets out.  There is no other way out."""

    hosts: tuple[str, ...] = ()
    """Host names such as `example.org`, `*.example.org`, `host:8443`, or `preset:pypi`."""
    local_services: tuple[str, ...] = ()
    """Services of the host, `127.0.0.1:5432`."""
    providers: tuple[str, ...] = ()
    """Model APIs; empty: the one that the harness names."""


@dataclass(frozen=True)
class Limits:
    """Most that an agent may use; 0 is no limit."""

    memory: int = 4 * 2**30
    """Bytes, of all processes together where cgroups work, else of each."""
    cpus: float = 2.0
    """Processors, counted in processor-seconds per second."""
    pids: int = 512
    """Processes and threads."""
    disk: int = 10 * 2**30
    """Bytes written in workspace and home together; measured every few seconds, so a burst may pass it."""
    tmp: int = 2**30
    """Bytes of /tmp, kept in memory; a quarter of `memory` at most."""
    seconds: int = 0
    """Wall-clock seconds of one run."""
    open_files: int = 4096
    """File descriptors of one process."""


@dataclass(frozen=True)
class Devices:
    """Device nodes beside null, zero, full, random, urandom and tty."""

    allow: tuple[str, ...] = ()
    """Paths such as `/dev/dri/renderD128`; each widens what of the kernel can be reached."""


@dataclass(frozen=True)
class Environment:
    """Variables inside; the environment is built from nothing."""

    set: Mapping[str, str] = field(default_factory=dict)
    """Values."""
    take: tuple[str, ...] = ()
    """Names taken from the user's environment; names that look like secrets are refused."""
    require: tuple[str, ...] = ()
    """Names that must not be empty; else the start is refused."""


@dataclass(frozen=True)
class Policy:
    """Everything an agent may touch.  Raises PolicyError for a value that no agent may have."""

    files: Files = Files()
    network: Network = Network()
    limits: Limits = Limits()
    devices: Devices = Devices()
    environment: Environment = Environment()
    spawn: int = 0
    """Most children that the agent may start; they share its budget."""

    def __post_init__(self) -> None:
        for path in (*self.files.read, *self.files.write, *self.files.caches):
            _check_path(path)
        for device in self.devices.allow:
            if not device.startswith("/dev/") or ".." in PurePosixPath(device).parts:
                raise PolicyError(f"devices.allow: {device!r} is not a path below /dev.")
        for name in self.environment.take:
            if _SECRET_NAMES.search(name):
                raise PolicyError(
                    f"environment.take: {name} looks like a secret, and no secret goes into a sandbox.",
                    hint="Keys for model APIs: seatrial agent keys set PROVIDER.",
                )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], where: str = "policy") -> Policy:
        """Read a policy from a mapping as in TOML or JSON; PolicyError for unknown fields and wrong types."""
        return overlay(cls(), values, where)

    def as_dict(self) -> dict[str, Any]:
        """Return the policy ready for JSON; `from_dict` reads it back."""
        return asdict(self)


WIDENING = (
    "files.read", "files.write", "files.include", "files.caches", "files.root",
    "network.hosts", "network.local_services", "network.providers", "devices", "environment.take", "spawn",
)  # fmt: skip
"""Fields that files of a project may set only after the user has said that they are trusted (`project.py`)."""


def overlay(policy: Policy, values: Mapping[str, Any], where: str) -> Policy:
    """Return `policy` with `values` laid over it: lists and numbers replace, `environment.set` is merged by name.

    Raises PolicyError, naming `where`, for unknown fields and wrong types.
    """
    parts: dict[str, Any] = {}
    sections = {entry.name: entry for entry in fields(Policy)}
    for name, value in values.items():
        if name not in sections:
            raise PolicyError(f"{where}: unknown field {name}.", hint=f"Known: {', '.join(sections)}.")
        if name == "spawn":
            parts[name] = _number(value, f"{where}.spawn")
            continue
        if not isinstance(value, Mapping):
            raise PolicyError(f"{where}.{name} must be a table.")
        parts[name] = _overlay_part(getattr(policy, name), value, f"{where}.{name}")
    return replace(policy, **parts)


def _overlay_part(part: Any, values: Mapping[str, Any], where: str) -> Any:
    kinds = get_type_hints(type(part))
    known = [entry.name for entry in fields(part)]
    read: dict[str, Any] = {}
    for name, value in values.items():
        if name not in known:
            raise PolicyError(f"{where}: unknown field {name}.", hint=f"Known: {', '.join(known)}.")
        kind, place = kinds[name], f"{where}.{name}"
        if kind is int:
            read[name] = parse_seconds(value, place) if name == "seconds" else parse_size(value, place)
        elif kind is float:
            read[name] = _fraction(value, place)
        elif kind is str:
            read[name] = _text(value, place)
        elif name == "set":
            read[name] = {**part.set, **{key: _variable(key, text, place) for key, text in dict(value).items()}}
        else:
            if not isinstance(value, list | tuple):
                raise PolicyError(f"{place} must be a list of texts.")
            read[name] = tuple(_text(item, place) for item in value)
    return replace(part, **read)


def parse_size(value: Any, where: str = "size") -> int:
    """Read bytes: a whole number, or text such as `512MiB`, `4G`; PolicyError for anything else."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]i?)?b?", str(value).strip().lower())
    if not isinstance(value, str) or match is None:
        raise PolicyError(f"{where} must be a number of bytes such as 512MiB, not {value!r}.")
    return int(float(match[1]) * _UNITS[match[2] or ""])


def parse_seconds(value: Any, where: str = "time") -> int:
    """Read seconds: a whole number, or text such as `90s`, `30m`, `2h`; PolicyError for anything else."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd])?", str(value).strip().lower())
    if not isinstance(value, str) or match is None:
        raise PolicyError(f"{where} must be a time such as 30m or 2h, not {value!r}.")
    return int(float(match[1]) * _TIMES[match[2] or ""])


def widening(values: Mapping[str, Any], below: Policy | None = None) -> list[str]:
    """Return which fields of `values` open the sandbox: those of `WIDENING`, and limits above those of `below`."""
    found = []
    for name in WIDENING:
        section, _, key = name.partition(".")
        part = values.get(section)
        if part and (not key or (isinstance(part, Mapping) and part.get(key))):
            found.append(name)
    before = below or Policy()
    after = overlay(before, {"limits": values.get("limits", {})}, "policy")
    for entry in fields(Limits):
        if loosens(getattr(after.limits, entry.name), getattr(before.limits, entry.name)):
            found.append(f"limits.{entry.name}")
    return found


def loosens(value: float, before: float) -> bool:
    """Whether a limit of `value` allows more than one of `before`; 0 is no limit."""
    return bool(before) and (not value or value > before)


def _check_path(path: str) -> None:
    expanded = PurePosixPath(path)
    if not path.startswith(("/", "~/")) or ".." in expanded.parts:
        raise PolicyError(f"files: {path!r} is not an absolute path.", hint="Write /a/path or ~/a/path, without '..'.")
    if str(expanded) in _NEVER or path.rstrip("/") in ("~", ""):
        raise PolicyError(f"files: {path} as a whole cannot be shown to an agent.", hint="Name what it needs below.")
    if any(expanded.is_relative_to(place) for place in _OURS):
        raise PolicyError(f"files: {path} is a place that the sandbox has of its own.", hint="Name another place.")


def _number(value: Any, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise PolicyError(f"{where} must be a whole number, not {value!r}.")
    return value


def _fraction(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise PolicyError(f"{where} must be a number, not {value!r}.")
    return float(value)


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise PolicyError(f"{where} must be text, not {value!r}.")
    return value


def _variable(name: str, value: Any, where: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise PolicyError(f"{where}: {name!r} is not the name of a variable.")
    return _text(value, where)
