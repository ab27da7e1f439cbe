from __future__ import annotations

import os
import tempfile
from pathlib import Path

from seatrial.agents.watchdog import DiskWatch, disk_usage, unlinked


def test_folders_deeper_than_a_path_can_be_long_are_counted(tmp_path: Path) -> None:
    here = os.open(".", os.O_RDONLY)
    try:
        os.chdir(tmp_path)
        for _ in range(25):
            Path("d" * 250).mkdir()
            os.chdir("d" * 250)
        Path("big").write_bytes(os.urandom(1 << 20))
    finally:
        os.fchdir(here)
        os.close(here)
    assert disk_usage(tmp_path) >= 1 << 20


def test_open_files_that_are_in_no_folder_are_counted(tmp_path: Path) -> None:
    with tempfile.TemporaryFile(dir=tmp_path) as hidden:
        hidden.write(os.urandom(1 << 20))
        hidden.flush()
        assert unlinked([os.getpid()], tmp_path.stat().st_dev) >= 1 << 20
        assert DiskWatch((tmp_path,), 1 << 19, lambda: [os.getpid()]).exceeded()
        assert not DiskWatch((tmp_path,), 1 << 19).exceeded()
