"""Which implementation of the operations runs, chosen once: `select()`.

`SEATRIAL_OPS` forces it: `auto` (default), `reference`, `native` (its best instruction set), or one of
`amx`, `avx512`, `avx2`, `neon`, `generic`, which then use nothing wider for any operation.
"""

from __future__ import annotations

import importlib.util
import os
import platform
from functools import cache
from typing import Any

from seatrial.errors import SettingError
from seatrial.vision.ops.protocol import Linear, Ops
from seatrial.vision.ops.reference import ReferenceOps

__all__ = ["CHOICES", "Linear", "Ops", "available", "describe", "select"]

VARIABLE = "SEATRIAL_OPS"
INSTRUCTION_SETS = ("amx", "avx512", "avx2", "neon", "generic")
CHOICES = ("auto", "reference", "native", *INSTRUCTION_SETS)


@cache
def _native_levels() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the usable instruction sets, best first, and what failed on the way (one line each)."""
    try:
        from seatrial.vision.ops import _native, native  # noqa: F401  (native compares the ABI)
    except ImportError as error:
        if importlib.util.find_spec(f"{__name__}._native") is None:
            return (), ("native: not part of this installation; with a C++ compiler, reinstall seatrial",)
        return (), (f"native: {error}",)
    compiled, usable = _native.compiled_levels(), _native.available_levels()
    failures = [
        f"{level}: " + ("this machine lacks it" if level in compiled else "not compiled in")
        for level in INSTRUCTION_SETS
        if level not in usable
    ]
    return tuple(level for level in INSTRUCTION_SETS if level in usable), tuple(failures)


def available() -> list[str]:
    """Names that `select` accepts on this machine, best first; `reference` is always last."""
    return [*_native_levels()[0], "reference"]


@cache
def _make(name: str) -> Ops:
    """One instance per implementation and process."""
    if name == "reference":
        return ReferenceOps()
    from seatrial.vision.ops.native import NativeOps

    return NativeOps(name)


def _resolve(choice: str) -> str:
    """Turn a choice into the name of an implementation; raises SettingError when it cannot be had."""
    if choice not in CHOICES:
        raise SettingError(
            f"{VARIABLE}={choice!r} is not an implementation of the operations.",
            hint=f"allowed: {', '.join(CHOICES)}",
        )
    if choice == "auto":
        return available()[0]
    levels, failures = _native_levels()
    wanted = (levels[0] if levels else "native") if choice == "native" else choice
    if wanted not in available():
        raise SettingError(
            f"{VARIABLE}={choice} is not available here ({'; '.join(failures)}).",
            hint=f"available: {', '.join(available())}",
        )
    return wanted


@cache
def _chosen() -> Ops:
    return _make(_resolve(os.environ.get(VARIABLE, "").strip().lower() or "auto"))


def select(name: str | None = None) -> Ops:
    """Return the implementation: `name`, or the process's choice (`SEATRIAL_OPS`, read at first use).

    Raises SettingError when the name is not one of `CHOICES` or cannot run on this machine.
    """
    return _chosen() if name is None else _make(_resolve(name))


def describe() -> dict[str, Any]:
    """Facts for `seatrial doctor`: what runs, on what, and why nothing better does.

    Raises SettingError like `select`.
    """
    ops = select()
    levels, failures = _native_levels()
    features: list[str] = []
    threads = ops.threads
    if levels:
        from seatrial.vision.ops import _native

        features = _native.cpu_features()
    return {
        "implementation": ops.name,
        "instruction_set": ops.instruction_set,
        "threads": threads,
        "forced": os.environ.get(VARIABLE) or None,
        "available": available(),
        "machine": platform.machine(),
        "cpu_features": features,
        "attempts": list(failures),
    }
