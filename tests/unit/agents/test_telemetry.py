from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from seatrial.agents.project import Project
from seatrial.agents.telemetry import export_events
from seatrial.errors import AgentError


def test_events_are_logs_and_calls_are_spans(tmp_path: Path) -> None:
    taken: dict[str, Any] = {}

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            taken[self.path] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    server = HTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    project = Project(tmp_path, tmp_path / "state")
    project.records.add_event("ada", "running")
    usage = {"input_tokens": 7, "output_tokens": 2, "usd": 0.5}
    project.records.add_event("ada", "response", id="x", provider="anthropic", model="m", status=200, usage=usage,
                              started="2026-01-01T00:00:00+00:00", finished="2026-01-01T00:00:02+00:00")  # fmt: skip
    assert export_events(project, "ada", f"http://127.0.0.1:{server.server_port}/") == 2
    server.shutdown()
    server.server_close()
    (span,) = taken["/v1/traces"]["resourceSpans"][0]["scopeSpans"][0]["spans"]
    assert int(span["endTimeUnixNano"]) - int(span["startTimeUnixNano"]) == 2_000_000_000
    assert {"key": "gen_ai.usage.input_tokens", "value": {"intValue": "7"}} in span["attributes"]
    assert len(taken["/v1/logs"]["resourceLogs"][0]["scopeLogs"][0]["logRecords"]) == 2
    with pytest.raises(AgentError, match="collector"):
        export_events(project, "ada", f"http://127.0.0.1:{server.server_port}/")
