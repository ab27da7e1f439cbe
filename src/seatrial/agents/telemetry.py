"""Events and model calls as OpenTelemetry: OTLP over HTTP in JSON, to a collector that the user names.

Spans follow the semantic conventions for generative AI (`gen_ai.*`).  Texts of prompts and answers are not in what is
sent: the records do not hold them, and recordings stay where they are.
"""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Iterable
from typing import Any

from seatrial import __version__
from seatrial.agents.access import events
from seatrial.agents.project import Project
from seatrial.agents.records import Event
from seatrial.errors import AgentError

_SECONDS = 10
_SCOPE = {"name": "seatrial.agents", "version": __version__}
_AT_ONCE = 100


def export_events(project: Project, name: str | None, url: str, *, limit: int = 100, follow: bool = False) -> int:
    """Send events (as logs) and model calls (as spans) to the collector at `url`; returns how many events.

    With `follow` it goes on until interrupted.  Raises AgentError when the collector does not take them.
    """
    sent, pending = 0, []
    for event in events(project, name, limit=limit, follow=follow):
        pending.append(event)
        if follow or len(pending) == _AT_ONCE:
            sent += _send(project, pending, url)
            pending = []
    return sent + _send(project, pending, url)


def _send(project: Project, batch: list[Event], url: str) -> int:
    if not batch:
        return 0
    resource = {"attributes": _attributes({"service.name": "seatrial", "seatrial.project": str(project.root)})}
    logs = {"resource": resource, "scopeLogs": [{"scope": _SCOPE, "logRecords": [_log(event) for event in batch]}]}
    _post(f"{url.rstrip('/')}/v1/logs", {"resourceLogs": [logs]})
    if spans := [_span(event) for event in batch if event.kind == "response"]:
        traces = {"resource": resource, "scopeSpans": [{"scope": _SCOPE, "spans": spans}]}
        _post(f"{url.rstrip('/')}/v1/traces", {"resourceSpans": [traces]})
    return len(batch)


def _log(event: Event) -> dict[str, Any]:
    plain = {key: value for key, value in event.facts.items() if isinstance(value, str | int | float | bool)}
    facts = {"seatrial.agent": event.agent, "event.name": f"seatrial.agent.{event.kind}", **plain}
    return {"timeUnixNano": _nanoseconds(event.time), "body": {"stringValue": event.kind}, "severityNumber": 9,
            "attributes": _attributes(facts)}  # fmt: skip


def _span(event: Event) -> dict[str, Any]:
    facts, usage = event.facts, event.facts.get("usage") or {}
    identity = str(facts.get("id", event.id))
    values = {
        "seatrial.agent": event.agent,
        "gen_ai.system": facts.get("provider", ""),
        "gen_ai.request.model": facts.get("model", ""),
        "gen_ai.usage.input_tokens": usage.get("input_tokens", 0),
        "gen_ai.usage.output_tokens": usage.get("output_tokens", 0),
        "gen_ai.response.finish_reasons": facts.get("stop", ""),
        "http.response.status_code": facts.get("status", 0),
        "seatrial.usd": usage.get("usd") or 0.0,
    }
    return {
        "traceId": hashlib.sha256(f"{event.agent}".encode()).hexdigest()[:32],
        "spanId": hashlib.sha256(identity.encode()).hexdigest()[:16],
        "name": f"chat {facts.get('model', '')}".strip(),
        "kind": 3,
        "startTimeUnixNano": _nanoseconds(str(facts.get("started", event.time))),
        "endTimeUnixNano": _nanoseconds(str(facts.get("finished", event.time))),
        "attributes": _attributes(values),
        "status": {"code": 2 if facts.get("error") else 1, "message": str(facts.get("error", ""))},
    }


def _attributes(values: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(value)} for key, value in values.items()]


def _value(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    return {"doubleValue": value} if isinstance(value, float) else {"stringValue": str(value)}


def _nanoseconds(time: str) -> str:
    return str(int(datetime.datetime.fromisoformat(time).timestamp() * 1e9))


def _post(url: str, body: dict[str, Iterable[Any]]) -> None:
    import urllib.error  # heavy, and needed by few
    import urllib.request

    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as answer:
            answer.read()
    except (urllib.error.URLError, OSError, ValueError) as problem:
        reason = getattr(problem, "reason", problem)
        raise AgentError(f"The collector at {url} does not take events: {reason}.", hint="--otlp URL") from problem
