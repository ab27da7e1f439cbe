"""What a runtime is asked to run: one object, made from policy, harness and workspace, that each runtime renders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from seatrial.agents.policy import Policy

HOME = "/home/agent"
WORKSPACE = "/workspace"
OURS = "/run/seatrial"
"""Where the control socket, the `seatrial-agent` command and borrowed git objects are inside."""
USER = 1000
GATEWAY_PORT = 7717


@dataclass(frozen=True)
class Mount:
    """One place inside: `read` and `write` show `source`, `cache` shows it with a private writable layer."""

    source: Path
    target: str
    kind: Literal["read", "write", "cache"] = "read"


@dataclass(frozen=True)
class Overlay:
    """A workspace of two layers: `lower` is shared and never written, `upper` is the agent's own."""

    lower: Path
    upper: Path
    work: Path
    target: str = WORKSPACE


@dataclass(frozen=True)
class SandboxPlan:
    """All that a runtime needs.

    `identity` is unique on this machine; `folder` is where the runtime keeps its files; `owner` is the user id that
    the agent's processes have here (None: the one that Seatrial runs as); `seconds` is the wall-clock time left.
    """

    identity: str
    hostname: str
    folder: Path
    policy: Policy
    mounts: tuple[Mount, ...]
    environment: Mapping[str, str]
    command: tuple[str, ...]
    overlays: tuple[Overlay, ...] = ()
    owner: int | None = None
    seconds: int = 0
    folder_inside: str = WORKSPACE


@dataclass(frozen=True)
class SandboxState:
    """What is left of a sandbox: `pid` of its first process here while it runs, else `exit_code` if that is known."""

    running: bool
    pid: int = 0
    exit_code: int | None = None
