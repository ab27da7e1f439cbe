"""Copies of data folders: the strategy is tried, links are refused, removal never leaves its folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from seatrial.database import copying
from seatrial.database.postgres import Cluster
from seatrial.database.postgres.connection import PINNED
from seatrial.errors import BranchError


def test_a_copy_of_a_stopped_cluster_is_a_cluster(server: Cluster, database_folder: Path) -> None:
    from seatrial.database.postgres.cluster import create

    original = create(database_folder / f"original-{server.installation.major}", server.installation)
    original.start()
    with original.connect(pinned=PINNED) as connection:
        connection.execute("CREATE TABLE kept AS SELECT generate_series(1, 100) AS a")
    original.stop()
    copy = Cluster(database_folder / f"copy-{server.installation.major}", server.installation, original.password)
    copy.folder.mkdir(mode=0o711)
    done = copying.copy_data(original.data, copy.data, copying.probe(database_folder))
    assert done.files > 500
    copy.start()
    try:
        with copy.connect(pinned=PINNED) as connection:
            assert connection.execute("SELECT count(*) FROM kept").fetchone() == (100,)
    finally:
        copy.stop()


def test_an_impossible_strategy_is_refused_with_the_reason(database_folder: Path) -> None:
    if copying.probe(database_folder) == copying.CLONE:
        pytest.skip("this file system can share blocks")
    with pytest.raises(BranchError, match="cannot share blocks"):
        copying.check("clone", database_folder)
    with pytest.raises(BranchError, match="no strategy overlay"):
        copying.check("overlay", database_folder)


def test_links_are_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("kept")
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "planted").symlink_to(outside)
    with pytest.raises(BranchError, match="is a link"):
        copying.copy_data(folder, tmp_path / "copy", copying.COPY)
    copying.remove(folder)
    assert not folder.exists()
    assert (outside / "precious").read_text() == "kept"


def test_a_removal_that_was_interrupted_is_finished(tmp_path: Path) -> None:
    half = tmp_path / ".gone-000000000000"
    (half / "base").mkdir(parents=True)
    assert copying.remove_doomed(tmp_path) == 1
    assert list(tmp_path.iterdir()) == []
