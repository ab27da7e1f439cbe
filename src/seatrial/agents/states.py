"""What an agent is doing, as a function of what was seen.  Pure: facts in, state out.

The phase is the life of the sandbox; the activity is what the agent does while it runs.  Facts come from the gateway
and from processes first, which an agent cannot forge to its advantage, and from its own words second (`seatrial-agent`,
hooks).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from seatrial.errors import AgentError

Phase = Literal["provisioning", "created", "starting", "running", "stopping", "stopped", "error", "deleting"]
Activity = Literal[
    "", "idle", "thinking", "executing", "waiting_for_input", "blocked", "completed", "budget_exceeded", "stalled",
    "offline",
]  # fmt: skip
STALLED_SECONDS = 300.0
_TAKES_MESSAGES = ("idle", "waiting_for_input", "blocked", "completed")
# A turn that was said to be finished stays so until someone asks for more.  A question gives way to the work that goes
# on after it, and comes back at the end of the turn, until someone has answered.
_KEPT_UNTIL_ASKED = ("completed", "budget_exceeded")
_OPEN = ("waiting_for_input", "blocked")


@dataclass(frozen=True)
class State:
    """Activity and what is known about it.

    `in_flight` counts calls of the model that are under way; `open` is what the agent asked, or what blocks it, and
    nobody has answered yet.  Calls without tools (titles, summaries) are none of the agent's work and change nothing.
    """

    phase: Phase = "created"
    activity: Activity = ""
    detail: str = ""
    in_flight: int = 0
    turns: int = 0
    open: tuple[Activity, str] | None = None

    def __post_init__(self) -> None:
        if self.phase not in get_args(Phase) or self.activity not in get_args(Activity):
            raise AgentError(f"{self.phase}/{self.activity} is not a state.")
        if self.activity and self.phase != "running":
            raise AgentError(f"An agent that is {self.phase} has no activity {self.activity}.")

    @property
    def takes_messages(self) -> bool:
        """Whether text can be given to the agent now."""
        return self.phase == "running" and self.in_flight == 0 and self.activity in _TAKES_MESSAGES


def begin(phase: Phase, detail: str = "") -> State:
    """Return the state of a new phase; a running agent begins idle."""
    return State(phase, "idle" if phase == "running" else "", detail)


def after(state: State, kind: str, facts: dict[str, Any]) -> State:
    """Return the state after one fact.

    `kind` is an event of the gateway (`request`, `response`, `upstream_error`, `budget_exceeded`), of the agent's own
    (`asks`, `blocked`, `done`, `status`, `hook`, `inbox`: it took its messages), or of this side (`prompt`: text was
    given to it, `budget_raised`).
    """
    if state.phase != "running":
        return state
    act = _ACTS.get(kind)
    return act(state, facts) if act else state


def _request(state: State, facts: dict[str, Any]) -> State:
    if not facts.get("offers_tools", True):
        return state
    state = replace(state, in_flight=state.in_flight + 1)
    return state if state.activity in _KEPT_UNTIL_ASKED else replace(state, activity="thinking", detail="")


def _response(state: State, facts: dict[str, Any]) -> State:
    if not facts.get("offers_tools", True):
        return state
    state = replace(state, in_flight=max(0, state.in_flight - 1))
    if state.activity in (*_KEPT_UNTIL_ASKED, *_OPEN) or state.in_flight:
        return state
    if facts.get("stop") == "tool_use":
        return replace(state, activity="executing", detail=", ".join(facts.get("tools") or ()))
    turns = state.turns + (facts.get("stop") == "end")
    return _rests(replace(state, turns=turns), str(facts.get("error") or ""))


def _rests(state: State, detail: str = "") -> State:
    """Return the state at the end of a turn."""
    if state.open:
        return replace(state, activity=state.open[0], detail=state.open[1])
    return replace(state, activity="idle", detail=detail)


def _prompt(state: State, facts: dict[str, Any]) -> State:
    return replace(state, activity="thinking", detail="", open=None)


def _inbox(state: State, facts: dict[str, Any]) -> State:
    state = replace(state, open=None)
    return replace(state, activity="executing", detail="") if state.activity in _OPEN else state


def _budget_exceeded(state: State, facts: dict[str, Any]) -> State:
    return replace(state, activity="budget_exceeded", detail=str(facts.get("reason") or facts.get("which", "")))


def _budget_raised(state: State, facts: dict[str, Any]) -> State:
    return replace(state, activity="idle", detail="") if state.activity == "budget_exceeded" else state


def _says(activity: Activity) -> Any:
    def say(state: State, facts: dict[str, Any]) -> State:
        if state.activity == "budget_exceeded":  # what the gateway saw is not talked over
            return state
        text = str(facts.get("text", ""))[:500]
        return replace(state, activity=activity, detail=text, open=(activity, text) if activity in _OPEN else None)

    return say


def _hook(state: State, facts: dict[str, Any]) -> State:
    event = facts.get("event")
    if event in ("notification", "asks") and state.activity not in _KEPT_UNTIL_ASKED:
        return replace(state, activity="waiting_for_input", detail=str(facts.get("text", ""))[:500])
    if event == "stop" and state.activity not in (*_KEPT_UNTIL_ASKED, *_OPEN) and not state.in_flight:
        return _rests(state)
    return state


def _stalled(state: State, facts: dict[str, Any]) -> State:
    return replace(state, activity="stalled") if state.activity in ("thinking", "executing") else state


def _interrupted(state: State, facts: dict[str, Any]) -> State:
    return replace(state, activity="idle", detail="", in_flight=0, open=None)


def _quiet(state: State, facts: dict[str, Any]) -> State:
    return _rests(state) if state.activity == "thinking" and not state.in_flight else state


_ACTS = {
    "request": _request,
    "response": _response,
    "prompt": _prompt,
    "budget_exceeded": _budget_exceeded,
    "budget_raised": _budget_raised,
    "asks": _says("waiting_for_input"),
    "blocked": _says("blocked"),
    "done": _says("completed"),
    "hook": _hook,
    "inbox": _inbox,
    "stalled": _stalled,
    "quiet": _quiet,
    "interrupted": _interrupted,
}
