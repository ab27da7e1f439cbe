"""Exports: the same numbers in both formats, nothing but numbers and labels, and files that are whole."""

from __future__ import annotations

import csv
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from seatrial.canary.export import export, table
from seatrial.canary.features import DayUsage, Features
from seatrial.canary.metrics import METRICS
from seatrial.errors import MissingExtraError, SettingError, StorageError
from tests.unit.canary.histories import history


def sessions() -> list[Features]:
    made = history(6, 3)
    made[0].covariates["slash_share"] = 0.25
    made[1].usage = [DayUsage("2026-01-01", "m", 2, 10, 20), DayUsage("2026-01-01", "m", 1, 1, 2, is_subagent=True)]
    made[2].place = "home/ann/claude"
    made[3].project = 'comma, "quote"\nline \udcff'
    return made


def test_a_row_holds_what_is_known_of_a_session(tmp_path: Path) -> None:
    assert export(sessions(), tmp_path / "out.csv") == 6
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["session"] for row in rows] == [f"{number:05d}" for number in range(6)]
    for row, session in zip(rows, sessions(), strict=True):
        for metric in METRICS:
            pair = float(row[f"{metric.name}_numerator"]), float(row[f"{metric.name}_exposure"])
            assert pair == session.total(metric.name)
        assert datetime.fromisoformat(row["start"]) == datetime.fromtimestamp(session.start, UTC)
        assert row["label_model"] == "one"
    assert [row["covariate_slash_share"] for row in rows] == ["0.25", "", "", "", "", ""]
    assert (rows[1]["tokens_input"], rows[1]["tokens_output"]) == ("11", "22")
    assert rows[2]["place"] == "claude"
    assert rows[3]["project"] == 'comma, "quote"\nline \\udcff'


def test_parquet_holds_the_same(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    given = [session for session in sessions() if session.project.isascii()]
    export(given, tmp_path / "out.parquet")
    read = parquet.read_table(tmp_path / "out.parquet")
    assert read.to_pydict() == table(given)
    kinds = {name: str(read.schema.field(name).type) for name in ("start", "prompts", "project", "errors_exposure")}
    assert kinds == {
        "start": "timestamp[us, tz=UTC]",
        "prompts": "int64",
        "project": "string",
        "errors_exposure": "double",
    }


@pytest.mark.parametrize("name", ["out.csv", "out.parquet"])
def test_no_sessions_give_a_header(tmp_path: Path, name: str) -> None:
    pytest.importorskip("pyarrow")
    assert export([], tmp_path / name) == 0
    assert (tmp_path / name).stat().st_size > 100


def test_what_cannot_be_written_is_said_and_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SettingError, match=r"out\.xls has no ending"):
        export([], tmp_path / "out.xls")
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="Cannot write"):
        export([], tmp_path / "file" / "out.csv")
    (tmp_path / "out.parquet").write_text("old")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError) as caught:
        export([], tmp_path / "out.parquet")
    assert caught.value.hint == "pip install 'seatrial[parquet]'"
    assert (tmp_path / "out.parquet").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "out.parquet"]
