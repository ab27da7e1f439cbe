"""From a session's events to its features: what every metric counts, in one pass."""

from __future__ import annotations

import hashlib
import itertools
import re
import statistics
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from math import log1p
from pathlib import PurePath

from seatrial.canary import phrases
from seatrial.canary.counting import Turns
from seatrial.canary.events import ApiMessage, Event, Prompt, Session, ToolCall, ToolResult
from seatrial.canary.features import MIXED, PROMPT_CLASSES, DayUsage, Features

SITTING_SECONDS = 8 * 3600.0
_PAUSE_SECONDS = 600.0
_LABEL_SHARE = 0.8
_FEWEST_CALLS = 5
_NAMED_FILE = re.compile(r"[\w-]+\.([A-Za-z]{1,5})\b")
_LANGUAGES = frozenset(
    "py ts tsx js jsx go rs java kt swift c h cc cpp hpp cs rb php scala clj ex exs hs ml sql sh md html css vue svelte"
    " dart lua r jl zig toml yaml yml json tf ipynb".split()
)


def of_session(session: Session, *, place: str = "", is_owned: Callable[[str], bool] = lambda _key: False) -> Features:
    """Return the features of `session`.

    `is_owned` says of a message's key whether an earlier session has it; what was copied from there is left out.
    """
    events, copied = _own_events(session.events, is_owned)
    turns = Turns()
    for event in events:
        turns.add(event)
    cells = turns.cells()
    messages = [event for event in events if isinstance(event, ApiMessage) and not event.is_error]
    calls = sum(isinstance(event, ToolCall) for event in events)
    prompts = [event for event in events if isinstance(event, Prompt) and event.origin in ("typed", "command")]
    start, end = _span(events)
    made = Features(
        agent=session.agent,
        session=session.id,
        place=place,
        project=PurePath(session.cwd.replace("\\", "/")).name,
        start=start,
        end=end,
        parent=session.parent,
        prompts=len(prompts),
        calls=calls,
        messages=len(messages),
        active_seconds=_active(events),
        fields=tuple(sorted(session.fields | turns.fields)),
        cells=cells if calls >= _FEWEST_CALLS else _without_tools(cells),
        covariates=_covariates(prompts, turns),
        language=_language(prompts),
        usage=_usage(messages, session.nested, is_subagent=bool(session.parent), is_owned=is_owned),
        copied=copied,
        wordings=phrases.version(),
    )
    _label(made, session, messages, prompts)
    made.population = _population(session, events)
    made.excluded = _exclusion(made, session)
    return made


def _own_events(events: list[Event], is_owned: Callable[[str], bool]) -> tuple[list[Event], int]:
    """Return the events without those up to the last one that another session has: a continued one starts with them."""
    owned = [i for i, event in enumerate(events) if isinstance(event, ApiMessage) and is_owned(event.key)]
    if not owned:
        return events, 0
    rest = events[owned[-1] + 1 :]
    # Calls of the last copied message, and their results, follow it.
    while rest and isinstance(rest[0], ToolCall):
        rest = rest[1:]
    calls = {event.id for event in rest if isinstance(event, ToolCall)}
    return [event for event in rest if not isinstance(event, ToolResult) or event.call_id in calls], len(owned)


def _span(events: Iterable[Event]) -> tuple[float, float]:
    """Return the start of the sitting with the most model calls, and the last time."""
    best, best_calls, start, calls, last = 0.0, -1, 0.0, 0, 0.0
    for event in events:
        if event.at <= 0:
            continue
        if not start or event.at - last > SITTING_SECONDS:
            if calls > best_calls and start:
                best, best_calls = start, calls
            start, calls = event.at, 0
        calls += isinstance(event, ApiMessage)
        last = max(last, event.at)
    return (start if calls > best_calls else best), last


def _active(events: Iterable[Event]) -> float:
    times = [event.at for event in events if event.at > 0]
    gaps = (later - earlier for earlier, later in itertools.pairwise(times))
    return sum(gap for gap in gaps if 0 < gap <= _PAUSE_SECONDS)


_OF_TOOLS = frozenset(
    "reads_per_edit research_per_change blind_edits errors rewrites text_per_tool_call shell_reads loops admissions"
    " early_stops dodging permission_seeking known_limits length_excuses".split()
)


def _without_tools(cells: dict[str, dict[str, tuple[float, float]]]) -> dict[str, dict[str, tuple[float, float]]]:
    return {
        name: {metric: pair for metric, pair in cell.items() if metric not in _OF_TOOLS} for name, cell in cells.items()
    }


def _covariates(prompts: list[Prompt], turns: Turns) -> dict[str, float]:
    typed = [len(prompt.text) for prompt in prompts if prompt.origin == "typed"]
    found: dict[str, float] = {}
    if prompts:
        found["log_prompt_characters"] = log1p(statistics.median(typed)) if typed else 0.0
        found["slash_share"] = 1 - len(typed) / len(prompts)
        for name in PROMPT_CLASSES:
            found[f"class_{name}"] = turns.classes[name] / max(1, turns.classes.total())
    if typed:
        found["prompt_characters"] = float(statistics.median(typed))
    times = [prompt.at for prompt in prompts if prompt.at > 0]
    gaps = [b - a for a, b in itertools.pairwise(times) if 0 < b - a < SITTING_SECONDS]
    if gaps:
        found["seconds_between_prompts"] = statistics.median(gaps)
    found["partial_usage_share"] = turns.partial_share
    if turns.result_sizes:
        found["result_characters"] = float(statistics.median(turns.result_sizes))
    return found


def _language(prompts: list[Prompt]) -> str:
    named = Counter(
        match.lower() for prompt in prompts for match in _NAMED_FILE.findall(prompt.text) if match.lower() in _LANGUAGES
    )
    return named.most_common(1)[0][0] if named else ""


def _usage(
    messages: list[ApiMessage], nested: list[ApiMessage], *, is_subagent: bool, is_owned: Callable[[str], bool]
) -> list[DayUsage]:
    rows: dict[tuple[str, str, bool], DayUsage] = {}
    groups = ((messages, is_subagent), ([answer for answer in nested if not is_owned(answer.key)], True))
    for group, is_sub in groups:
        for message in group:
            day = datetime.fromtimestamp(message.at, UTC).date().isoformat() if message.at > 0 else ""
            row = rows.setdefault((day, message.model, is_sub), DayUsage(day, message.model, is_subagent=is_sub))
            row.messages += 1
            for name in ("input", "output", "cache_read", "cache_write", "cache_write_hour", "reasoning"):
                setattr(row, name, getattr(row, name) + getattr(message.usage, name))
            row.first_output += message.first_usage.output
    return [rows[key] for key in sorted(rows)]


def _label(made: Features, session: Session, messages: list[ApiMessage], prompts: list[Prompt]) -> None:
    for name in ("model", "version", "effort"):
        values = Counter(getattr(message, name) for message in messages)
        made.labels[name] = _dominant(values)
        made.spread[name] = dict(values)
    made.labels["entrypoint"] = session.entrypoint
    made.labels["permission"] = _dominant(Counter(prompt.permission for prompt in prompts))
    servers = sorted({name.split("__")[1] for name in session.tools if name.startswith("mcp__") and "__" in name[5:]})
    made.labels["tools"] = hashlib.blake2b("\n".join(servers).encode(), digest_size=6).hexdigest() if servers else ""
    made.labels["format"] = " ".join(made.fields)


def _dominant(values: Counter[str]) -> str:
    if not values:
        return ""
    value, number = values.most_common(1)[0]
    return value if number >= _LABEL_SHARE * values.total() else MIXED


def _population(session: Session, events: list[Event]) -> str:
    if session.parent:
        return "subagent"
    origins = {event.origin for event in events if isinstance(event, Prompt)}
    is_scripted = "scripted" in origins and not origins & {"typed"}
    return "scripted" if is_scripted or session.entrypoint.startswith(("sdk", "codex_exec")) else "person"


def _exclusion(made: Features, session: Session) -> str:
    """Return why a session is not judged, or nothing."""
    if not session.health.is_good:
        return "unreadable"
    if made.population != "person":
        return "sub-agent" if made.population == "subagent" else "scripted"
    if not made.messages:
        return "copy of another session" if made.copied else "no answer"
    if not made.prompts:
        return "no typed prompt"
    return "" if made.start > 0 else "no times"
