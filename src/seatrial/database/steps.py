"""Places where a process may be killed: each step of work that must be finished or undone passes here by name.

With `SEATRIAL_STOP_AT=NAME` in its environment the process kills itself there, as a power cut would.  It is how the
tests prove that nothing is lost or half exposed, and how a user can prove it again.
"""

from __future__ import annotations

import os
import signal


def step(name: str) -> None:
    """Say that the work has come to `name`."""
    if os.environ.get("SEATRIAL_STOP_AT") == name:
        os.kill(os.getpid(), signal.SIGKILL)
