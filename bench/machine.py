"""The machine that is measured on: its name, and what it can do at most, found in the same run."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

_SOURCE = Path(__file__).with_name("peak.cpp")


def describe() -> dict[str, Any]:
    """Return processor, threads, load and date."""
    return {
        "cpu": _cpu_name(),
        "threads": len(os.sched_getaffinity(0)),
        "load": os.getloadavg()[0],
        "date": time.strftime("%Y-%m-%d"),
    }


def measure_peak() -> dict[str, Any]:
    """Return the ceilings of all threads: GFLOP/s of bf16, GOP/s of int8 (from registers), GB/s read from memory.

    `unit` names the instructions; empty where there is no compiler to find out with.
    """
    compiler = shutil.which("c++") or shutil.which("g++")
    if compiler is None:
        return {}
    with tempfile.TemporaryDirectory() as folder:
        program = f"{folder}/peak"
        flags = ["-O3", "-march=native", "-std=c++20", "-pthread"]
        subprocess.run([compiler, *flags, "-o", program, str(_SOURCE)], check=True, capture_output=True)
        done = subprocess.run([program, str(len(os.sched_getaffinity(0)))], check=True, capture_output=True, text=True)
    peak: dict[str, Any] = json.loads(done.stdout)
    return peak


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
