"""Runtimes: one protocol, one plan, several ways to make a sandbox of it."""

from seatrial.agents.runtime.base import RUNTIMES, Completed, Finding, Runtime, open_runtime
from seatrial.agents.runtime.plan import Mount, Overlay, SandboxPlan, SandboxState

__all__ = [
    "RUNTIMES",
    "Completed",
    "Finding",
    "Mount",
    "Overlay",
    "Runtime",
    "SandboxPlan",
    "SandboxState",
    "open_runtime",
]
