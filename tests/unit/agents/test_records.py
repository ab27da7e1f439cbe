from __future__ import annotations

from pathlib import Path

import pytest

from seatrial.agents.gateway import Exchange, Usage
from seatrial.agents.records import Records
from seatrial.errors import AgentError, UnknownAgentError


def exchange(identity: str, usd: float | None = 0.5) -> Exchange:
    return Exchange(identity, "s", "f", "anthropic", "m", "/v1/messages", 200, Usage(10, 5, 2, 1, usd, 1))


def test_agents_events_and_use(tmp_path: Path) -> None:
    records = Records(tmp_path / "r.db")
    records.add_agent("ada", {"budget": {}})
    with pytest.raises(AgentError, match="already"):
        records.add_agent("ada", {})
    records.add_agent("bob", {"parent": "ada"})
    records.add_agent("eve", {"parent": "bob"})
    assert records.family("eve") == ["ada", "bob", "eve"]
    records.note("ada", "running", {"x": 1}, phase="running", activity="idle")
    assert (records.agent("ada").phase, records.agent("ada").activity) == ("running", "idle")
    for name in ("ada", "bob"):
        records.add_exchange(name, exchange(f"1-{name}"))
        records.add_exchange(name, exchange(f"1-{name}"))  # the same one again counts once
    assert records.spent("ada").tokens == 18
    assert records.spent("ada", "bob") == Usage(20, 10, 4, 2, 1.0, 2)
    assert [event.kind for event in records.events("ada")] == ["running"]
    first = records.events()[0].id
    records.add_event("bob", "later")
    assert [event.kind for event in records.events(after=first)] == ["later"]
    with pytest.raises(UnknownAgentError):
        records.agent("nobody")


def test_two_processes_may_write(tmp_path: Path) -> None:
    one, two = Records(tmp_path / "r.db"), Records(tmp_path / "r.db")
    for number in range(50):
        (one, two)[number % 2].add_event("ada", "x", n=number)
    assert len(one.events("ada")) == 50


def test_a_newer_file_is_refused(tmp_path: Path) -> None:
    records = Records(tmp_path / "r.db")
    with records.write() as db:
        db.execute("PRAGMA user_version=99")
    with pytest.raises(AgentError, match="newer"):
        Records(tmp_path / "r.db")
