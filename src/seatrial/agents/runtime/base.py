"""The protocol that runtimes follow, and the table of those there are."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from seatrial.agents.runtime.plan import SandboxPlan, SandboxState
from seatrial.agents.sandbox.enter import Inhabitant
from seatrial.errors import SandboxError

RUNTIMES = {
    "bubblewrap": "seatrial.agents.runtime.bubblewrap:Bubblewrap",
    "podman": "seatrial.agents.runtime.containers:Podman",
    "docker": "seatrial.agents.runtime.containers:Docker",
}


@dataclass(frozen=True)
class Finding:
    """One thing that `agent doctor` looked at."""

    name: str
    ok: bool
    finding: str
    hint: str | None = None


@dataclass(frozen=True)
class Completed:
    """A command that ran inside to its end."""

    returncode: int
    stdout: bytes
    stderr: bytes


class Runtime(Protocol):
    """Makes a sandbox from a plan.  Stateless: all that must outlive a process is in `plan.folder`.

    The order of calls is prepare, (the returned command is run in a terminal), await_ready, release.  Between the last
    two the sandbox exists and its command waits, so that listeners can be put into it first.
    """

    name: str

    def check(self) -> list[Finding]:
        """Say whether this runtime works here."""

    def prepare(self, plan: SandboxPlan) -> tuple[str, ...]:
        """Write what the start needs and return the command for the terminal; SandboxError when that fails."""

    def await_ready(self, plan: SandboxPlan, seconds: float, ended: Callable[[], str | None]) -> Inhabitant:
        """Wait until the sandbox exists; SandboxError when `ended` gives the last words of what ran in the terminal."""

    def release(self, plan: SandboxPlan) -> None:
        """Let the command begin."""

    def state(self, plan: SandboxPlan) -> SandboxState:
        """Say whether the sandbox runs; works for a sandbox that another process started."""

    def inhabitant(self, plan: SandboxPlan) -> Inhabitant:
        """Return whom to join; SandboxError when the sandbox does not run."""

    def run_once(
        self, plan: SandboxPlan, command: Sequence[str], stdin: bytes = b"", into: BinaryIO | None = None,
        most: int = 64 << 20, seconds: float = 120,
    ) -> Completed:  # fmt: skip
        """Run `command` in a sandbox of its own that is like the plan's, without network; for agents that are stopped.

        Standard output goes to `into` where given, at most `most` bytes of it.
        """

    def usage(self, plan: SandboxPlan) -> dict[str, int]:
        """Return what the sandbox uses now: `memory`, `memory_peak` (bytes), `pids`, `killed`."""

    def pids(self, plan: SandboxPlan) -> list[int]:
        """Return the ids here of all processes in the sandbox."""

    def kill(self, plan: SandboxPlan) -> None:
        """End everything in the sandbox, at once; nothing when it does not run."""

    def remove(self, plan: SandboxPlan) -> None:
        """Give back what the kernel or an engine holds for the sandbox; its files stay."""


def open_runtime(name: str) -> Runtime:
    """Return the runtime called `name`; SandboxError for one that does not exist."""
    if name not in RUNTIMES:
        raise SandboxError(f"There is no runtime called {name}.", hint=f"Known: {', '.join(RUNTIMES)}.")
    module, _, attribute = RUNTIMES[name].partition(":")
    runtime: Runtime = getattr(importlib.import_module(module), attribute)()
    return runtime
