"""Control groups: where an ordinary user may make them, and that limits hold where this machine has groups for us."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from seatrial.agents.policy import Limits
from seatrial.agents.sandbox import cgroup


def _tree(mount: Path, *folders: str) -> None:
    for folder in folders:
        (mount / folder).mkdir(parents=True, exist_ok=True)
        for name in ("cgroup.procs", "cgroup.controllers"):
            (mount / folder / name).write_text("")


@pytest.mark.skipif(os.geteuid() != 0, reason="files of several users are needed")
def test_the_delegated_part_is_the_highest_that_is_the_users(tmp_path: Path) -> None:
    own = "user.slice/user-1000.slice/user@1000.service/app.slice/terminal.scope"
    parts = [str(part) for part in (Path(own), *Path(own).parents)]
    _tree(tmp_path, *parts)
    for part in parts[:3]:
        for place in (tmp_path / part, *(tmp_path / part).iterdir()):
            os.chown(place, 1000, 1000)
    unit = tmp_path / "user.slice/user-1000.slice/user@1000.service"
    assert cgroup.delegated(tmp_path, 1000, f"0::/{own}\n") == unit
    assert cgroup.delegated(tmp_path, 1001, f"0::/{own}\n") is None
    _tree(tmp_path, "user.slice/user-1000.slice/session-2.scope")
    assert cgroup.delegated(tmp_path, 1000, "0::/user.slice/user-1000.slice/session-2.scope\n") is None
    assert cgroup.delegated(tmp_path, 1000, "4:memory:/x\n") is None
    assert cgroup.delegated(tmp_path, 1000, "0::/../../outside\n") is None
    assert cgroup.delegated(tmp_path, 0, "") == tmp_path


def test_a_tree_that_limits_nothing_gives_no_group(tmp_path: Path) -> None:
    assert cgroup.create("x", Limits(), tmp_path) is None
    _tree(tmp_path, ".")
    assert cgroup.create("x", Limits(), tmp_path) is None
    assert cgroup.find("x", tmp_path) is None


def test_limits_can_shrink_and_grow(tmp_path: Path) -> None:
    identity, limits = f"test-{os.getpid()}", Limits(memory=64 << 20, pids=20, cpus=0.5)
    group = cgroup.create(identity, limits)
    if group is None:
        pytest.skip("no control groups for this user here")
    try:
        for memory in (64 << 20, 32 << 20, 256 << 20):
            again = cgroup.create(identity, replace(limits, memory=memory))
            assert again == group == cgroup.find(identity)
            files = [folder / name for folder in group.folders for name in ("memory.max", "memory.limit_in_bytes")]
            assert {file.read_text().strip() for file in files if file.is_file()} == {str(memory)}
        assert group.usage()["pids"] == 0
    finally:
        group.kill()
        group.remove()
    assert cgroup.find(identity) is None
