"""One row for each session, for other programs: what was counted, labels and covariates; no words, no paths."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from seatrial import paths
from seatrial.canary.features import LABELS, Features
from seatrial.canary.metrics import METRICS
from seatrial.errors import MissingExtraError, SettingError

FORMATS = (".csv", ".parquet")
_PLAIN = (
    "agent", "session", "project", "population", "parent", "excluded", "language", "prompts", "calls", "messages",
    "active_seconds", "copied", "wordings",
)  # fmt: skip
_TOKENS = ("input", "output", "cache_read", "cache_write", "reasoning", "first_output")


def export(sessions: Sequence[Features], path: str | Path) -> int:
    """Write sessions to a file, by its name CSV or Parquet, whole or not at all; return how many.

    Columns: what is known of a session (times in UTC), `label_…`, `covariate_…` (empty where unknown), `tokens_…` with
    those of sub-agents inside the session, and of each metric `…_numerator` and `…_exposure`.

    Raises SettingError for another kind of file, MissingExtraError for Parquet without pyarrow, StorageError when the
    file cannot be written.
    """
    file = Path(path).expanduser().absolute()
    if file.suffix.lower() not in FORMATS:
        raise SettingError(f"{file.name} has no ending that says its format.", hint=f"Known: {', '.join(FORMATS)}.")
    columns = table(sessions)
    write = _write_csv if file.suffix.lower() == ".csv" else _writer_of_parquet()
    with paths.atomic_write(file) as stream:
        write(columns, stream)
    return len(sessions)


def table(sessions: Sequence[Features]) -> dict[str, list[Any]]:
    """Return the columns of an export, each as long as `sessions`."""
    names = sorted({name for session in sessions for name in session.covariates})
    rows = [_row(session, names) for session in sessions]
    header = rows[0] if rows else _row(Features("", "", "", "", 0.0, 0.0), names)
    return {name: [row[name] for row in rows] for name in header}


def _row(session: Features, covariates: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {name: getattr(session, name) for name in _PLAIN}
    # A place is a path below the folder that was read.
    found["place"] = PurePosixPath(session.place).name
    found["start"], found["end"] = _moment(session.start), _moment(session.end)
    found |= {f"label_{name}": session.labels.get(name, "") for name in LABELS}
    found |= {f"covariate_{name}": session.covariates.get(name) for name in covariates}
    found |= {f"tokens_{name}": sum(getattr(usage, name) for usage in session.usage) for name in _TOKENS}
    for metric in METRICS:
        found[f"{metric.name}_numerator"], found[f"{metric.name}_exposure"] = map(float, session.total(metric.name))
    return found


def _moment(seconds: float) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if seconds > 0 else None


def _write_csv(columns: dict[str, list[Any]], stream: BinaryIO) -> None:
    text = io.TextIOWrapper(stream, encoding="utf-8", errors="backslashreplace", newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in zip(*columns.values(), strict=True):
        writer.writerow([value.isoformat() if isinstance(value, datetime) else value for value in row])
    text.detach()


def _writer_of_parquet() -> Any:
    try:
        import pyarrow
        from pyarrow import parquet
    except ModuleNotFoundError as problem:
        raise MissingExtraError("pyarrow", "parquet") from problem

    def write(columns: dict[str, list[Any]], stream: BinaryIO) -> None:
        types = {
            name: _type(pyarrow, name, next((v for v in values if v is not None), None))
            for name, values in columns.items()
        }
        made = {name: pyarrow.array(values, types[name]) for name, values in columns.items()}
        parquet.write_table(pyarrow.table(made), stream)

    return write


def _type(pyarrow: Any, name: str, value: Any) -> Any:
    """Return the type of a column; the name says it where there is no value."""
    if name in ("start", "end"):
        return pyarrow.timestamp("us", "UTC")
    if isinstance(value, float) or name.startswith("covariate_") or name.endswith(("_numerator", "_exposure")):
        return pyarrow.float64()
    return pyarrow.int64() if isinstance(value, int) else pyarrow.string()
