"""Runs the installed `seatrial` command as a person would."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Call the command with arguments; returns code, stdout, stderr."""
    command = Path(sys.executable).with_name("seatrial")
    if not command.exists():
        pytest.fail("the seatrial command is not installed beside this Python: make test")

    def call(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [command, *map(str, arguments)],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**os.environ, **environment},
            timeout=300,
        )

    return call


@pytest.fixture
def as_json(run: Run) -> Callable[..., dict[str, Any]]:
    """Call the command with --json; returns the one object it printed."""

    def call(*arguments: object, **environment: str) -> dict[str, Any]:
        done = run(*arguments, "--json", **environment)
        lines = done.stdout.splitlines()
        assert len(lines) == 1, done
        return json.loads(lines[0])

    return call


@pytest.fixture
def broken(checkpoints: dict[str, Path], tmp_path: Path) -> Callable[[Callable[[Path], None]], Path]:
    """Return a maker of damaged copies of a checkpoint."""

    def make(damage: Callable[[Path], None]) -> Path:
        folder = Path(shutil.copytree(checkpoints["odd"], tmp_path / "broken"))
        damage(folder)
        return folder

    return make
