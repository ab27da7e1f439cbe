from __future__ import annotations

import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from seatrial import paths
from seatrial.errors import StorageError


def test_folder_is_private(tmp_path: Path) -> None:
    folder = paths.private_folder(tmp_path / "a" / "b")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "made"
    with pytest.raises(RuntimeError), paths.atomic_folder(target) as folder:
        (folder / "a").write_text("half")
        raise RuntimeError
    assert list(tmp_path.glob("*made*")) == []
    with paths.atomic_folder(target) as folder:
        (folder / "a").write_text("whole")
        assert not target.exists()
    assert [file.name for file in target.iterdir()] == ["a"]
    with pytest.raises(StorageError, match="is in use"), paths.atomic_folder(target):
        pass


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="Cannot write"), paths.atomic_folder(tmp_path / "file" / "made"):
        pass


def test_write_is_whole_or_nothing(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_bytes(b"old")
    with pytest.raises(RuntimeError), paths.atomic_write(target) as stream:
        stream.write(b"half")
        raise RuntimeError
    assert target.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir() if entry.name.startswith(".")] == []


def test_written_file_is_private(tmp_path: Path) -> None:
    with paths.atomic_write(tmp_path / "file") as stream:
        stream.write(b"x")
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o600


def test_a_file_in_the_way_is_an_error_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(StorageError, match="Cannot write in"):
        paths.private_folder(tmp_path / "taken" / "folder")


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    place = tmp_path / "tiny"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", place], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a small file system needs root")
    yield place
    subprocess.run(["umount", place], check=True)


def test_full_disk_is_one_sentence_and_leaves_nothing(tiny_disk: Path) -> None:
    (tiny_disk / "file").write_bytes(b"old")
    with pytest.raises(StorageError, match="No space left"), paths.atomic_write(tiny_disk / "file") as stream:
        stream.write(b"x" * 1_000_000)
    assert (tiny_disk / "file").read_bytes() == b"old"
    assert [entry.name for entry in tiny_disk.iterdir()] == ["file"]


def test_cache_follows_the_home(private_home: Path) -> None:
    assert paths.cache() == private_home / "cache"


def test_a_folder_in_which_no_file_can_be_made_is_said() -> None:
    """The folder exists and its permission bits allow it; the file system refuses all the same."""
    with (
        pytest.raises(StorageError, match=r"Cannot write /proc/page\.html: "),
        paths.atomic_write(Path("/proc/page.html")),
    ):
        pytest.fail("nothing can be written there")
