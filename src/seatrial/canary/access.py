"""What commands and programs call: take in logs, and judge what is known."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seatrial import paths, settings
from seatrial.canary import discovery
from seatrial.canary.discovery import Sources
from seatrial.canary.features import Features
from seatrial.canary.history import History
from seatrial.canary.ingest import IngestReport, ingest
from seatrial.canary.judge import Effort, judge
from seatrial.canary.report import Report, Window
from seatrial.canary.verdict import Verdict

if TYPE_CHECKING:
    from seatrial.evidence import Outcome

_OUTCOMES: dict[Verdict, Outcome] = {
    "REGRESSED": "fail",
    "IMPROVED": "pass",
    "HOLDING": "pass",
    "CHANGED": "info",
    "INCONCLUSIVE": "inconclusive",
}
Progress = Callable[[int, int], None]


def open_history(folders: Sequence[str | Path] = ()) -> History:
    """Return this user's history, or for `folders` one of their own, which can be made again.

    Raises StoreError when it cannot be opened.
    """
    if not folders:
        return History.open()
    named = "\n".join(str(Path(folder).expanduser().absolute()) for folder in folders)
    return History.open(paths.cache() / "canary" / f"{blake2b(named.encode(), digest_size=8).hexdigest()}.db")


def take_in(history: History, folders: Sequence[str | Path] = (), progress: Progress | None = None) -> IngestReport:
    """Read what is new in the agents' ordinary places, or in `folders`, into the history.

    Raises InputFileError when a folder cannot be looked at.
    """
    if not folders:
        return ingest(history, discovery.ordinary(), progress)
    found = Sources()
    for folder in folders:
        one = discovery.under(folder)
        found.logs += one.logs
        found.skipped += one.skipped
    return ingest(history, found, progress)


def sessions_of(history: History, window: Window) -> list[Features]:
    """Return the sessions of a window; its days are UTC's, both included."""

    def seconds(day: object, plus: int) -> float | None:
        if day is None:
            return None
        moment = datetime.fromisoformat(str(day)).replace(tzinfo=UTC) + timedelta(days=plus)
        return moment.timestamp()

    return history.sessions(
        since=seconds(window.since, 0),
        until=seconds(window.until, 1),
        agent=window.agent or None,
        project=window.project or None,
    )


def write_page(facts: Mapping[str, Any], file: Path) -> None:
    """Write the page of `Report.as_dict` whole or not at all.  Raises StorageError."""
    from seatrial.canary.page import render_html

    with paths.atomic_write(file.expanduser().absolute()) as stream:
        stream.write(render_html(facts).encode())


def keep_evidence(made: Report, facts: Mapping[str, Any]) -> str:
    """Record a verdict as evidence, with its data as an artefact; return the record's id.

    `facts` are the report's `as_dict`.  Raises StoreError, StorageError.
    """
    # Half a second for who takes logs in every hour, and needs neither.
    from seatrial import evidence
    from seatrial.store import Store

    store = Store.open(settings.load())
    moved = [entry for entry in facts["metrics"] if entry["state"] == "CHANGED" and entry["interval95"]]
    strongest = min(moved, key=lambda entry: entry["p"], default=None)
    name = evidence.keep_artefact(store, json.dumps(facts, ensure_ascii=False, sort_keys=True).encode())
    return evidence.record(
        store,
        evidence.Evidence(
            subject=made.window.project or made.window.agent or "coding agent",
            kind="canary verdict",
            source="seatrial canary report",
            outcome=_OUTCOMES[made.judgement.verdict],
            summary=f"{made.verdict}: {made.judgement.reason}",
            value=1 + strongest["change"] if strongest else None,
            unit=f"times {strongest['title']}" if strongest else "",
            interval=(1 + strongest["interval95"][0], 1 + strongest["interval95"][1]) if strongest else None,
            artefacts=(name,),
        ),
    )


def report(history: History, window: Window | None = None, effort: Effort | None = None) -> Report:
    """Judge the sessions of a window of the history."""
    from seatrial.canary.costs import costs

    window = window or Window()
    sessions = sessions_of(history, window)
    logs = {**history.health(), "lost": history.lost()}
    rows = [row.as_dict() for by in ("day", "model", "project") for row in costs(sessions, by)]
    return Report(judge(sessions, effort), window, sessions, logs, rows)
