"""Codex: `sessions/YYYY/MM/DD/rollout-<time>-<id>.jsonl`, with or without an envelope around each line.

Versions before 0.40 write a header and bare items of the conversation; later ones `{timestamp, type, payload}` with
running totals of tokens; from 0.140 on, programs that the model writes run the tools, and the tools are told apart.
"""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import Any

from seatrial.canary import tools
from seatrial.canary.events import Interrupt, Note, Prompt, Session, ToolResult
from seatrial.canary.readers import codex_values as values
from seatrial.canary.readers.codex_answers import Answers
from seatrial.canary.readers.codex_prompts import Channel, Prompts
from seatrial.canary.readers.codex_replay import Replay, parent_of
from seatrial.canary.readers.codex_script import Script, ran
from seatrial.canary.readers.lines import Lines, Stream
from seatrial.canary.readers.values import Clock, count, items, mapping, text

_ENVELOPES = frozenset({"session_meta", "turn_context", "response_item", "event_msg", "compacted"})
_IGNORED = frozenset({"world_state", "inter_agent_communication_metadata", "retained_context", "turn_item"})
_OUTPUTS = frozenset(
    {"function_call_output", "custom_tool_call_output", "local_shell_call_output", "tool_result", "function_result"}
)
_CALLS = frozenset(
    "function_call custom_tool_call local_shell_call web_search_call tool_search_call image_generation_call"
    " tool_call".split()
)
_ITEMS = frozenset({"message", "reasoning"}) | _CALLS | _OUTPUTS
_IGNORED_ITEMS = frozenset(
    {"tool_search_output", "ghost_snapshot", "compaction", "agent_message", "compaction_summary"}
)
_IGNORED_EVENTS = frozenset(
    "agent_message agent_reasoning agent_reasoning_raw_content agent_reasoning_section_break"
    " exec_command_begin exec_command_output_delta patch_apply_begin mcp_tool_call_begin web_search_begin"
    " web_search_end context_compacted exited_review_mode plan_update turn_diff"
    " background_event thread_goal_updated thread_name_updated thread_rolled_back sub_agent_activity item_started"
    " image_generation_end view_image_tool_call warning undo_completed undo_started raw_response_item"
    " collab_agent_spawn_begin collab_agent_spawn_end collab_waiting_begin collab_waiting_end"
    " collab_agent_interaction_begin collab_agent_interaction_end collab_close_begin collab_close_end"
    " exec_approval_request apply_patch_approval_request dynamic_tool_call_request dynamic_tool_call_response"
    " guardian_assessment hook_started hook_completed terminal_interaction session_configured shutdown_complete"
    " turn_started".split()
)
_ENDS = frozenset({"exec_command_end", "patch_apply_end", "mcp_tool_call_end"})
_SKIPPED = re.compile(rb'"type": ?"(?:world_state|exec_command_output_delta)"')
_NAMED = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
_BY_PROGRAM = ("codex_exec", "codex_sdk", "codex_mcp", "exec", "mcp")


def read(stream: Stream, name: str) -> Session:
    """Return the session of a log file; `name` is the file's path, which names the session if the log does not.

    Nothing is raised for bad content: `Session.health` says what could not be read.
    """
    return _Reader(name).read(stream)


class _Reader:
    def __init__(self, name: str) -> None:
        stem = PurePath(name).stem
        named = _NAMED.search(stem)
        self.session = Session("codex", named.group(0) if named else stem)
        self.health = self.session.health
        self.clock = Clock(self.health)
        self.at = 0.0
        self.answers = Answers(self.session)
        self.prompts = Prompts(self.session)
        self.totals = values.Totals()
        self.replay: Replay | None = None
        self.script: Script | None = None
        self.has_scripts = False
        self.calls: dict[str, ToolResult | None] = {}
        self.codes: dict[str, int] = {}
        self.told: set[int] = set()
        self.fields: set[str] = set()
        self.used: set[str] = set()
        self._events = {
            "user_message": self._asked,
            "token_count": self._counted,
            "turn_aborted": self._aborted,
            "task_started": self._started,
            "task_complete": self._complete,
            "turn_complete": self._complete,
            "error": self._failed,
            "stream_error": self._failed,
            "entered_review_mode": self._reviewing,
            "thread_settings_applied": self._applied,
            "item_completed": self._completed,
        }

    def read(self, stream: Stream) -> Session:
        lines = Lines(stream, self.health)
        for line in lines:
            if _SKIPPED.search(line, 0, 200):
                continue
            entry = lines.decode(line)
            if entry is not None:
                self._entry(entry)
        self._end_script()
        self.session.fields = frozenset(self.fields)
        self.session.tools = frozenset(self.used)
        return self.session

    def _entry(self, entry: dict[str, Any]) -> None:
        kind = text(entry.get("type"), self.health)
        payload = mapping(entry.get("payload"), self.health) if "payload" in entry else entry
        if "payload" not in entry and kind in _ITEMS:
            kind = "response_item"
        elif not kind and isinstance(entry.get("id"), str) and "timestamp" in entry:
            kind = "session_meta"
        if kind == "session_meta":
            self._meta(payload, entry)
            return
        if self.replay is None or not self.replay.is_on:
            self._own(entry, kind, payload)
            return
        own = self.replay.own(entry, kind, payload)
        if not own:
            self._skip(payload)
        for one in own:
            self._own(one, text(one.get("type"), self.health), mapping(one.get("payload"), self.health))

    def _skip(self, payload: dict[str, Any]) -> None:
        self.health.other_sessions += 1
        if payload.get("type") == "token_count":
            total = mapping(payload.get("info"), self.health).get("total_token_usage")
            if isinstance(total, dict):
                self.totals.skip(total, self.health)

    def _own(self, entry: dict[str, Any], kind: str, payload: dict[str, Any]) -> None:
        if "timestamp" in entry:
            self.at = self.clock.read(entry["timestamp"]) or self.at
        if kind == "response_item":
            self._item(payload, entry)
        elif kind == "event_msg":
            self._event(payload)
        elif kind == "turn_context":
            self._context(payload)
        elif kind == "token_usage_record":
            if payload.get("thread_id") in (self.session.id, None):
                self._tokens(payload.get("thread_token_usage"), payload.get("usage"))
        elif kind == "compacted":
            self.session.events.append(Note(self.at, "compact"))
            self.answers.end()
        elif kind not in _IGNORED and "record_type" not in entry:
            self._unknown(kind)

    def _unknown(self, kind: str) -> None:
        self.health.unknown[kind] = self.health.unknown.get(kind, 0) + 1

    def _meta(self, payload: dict[str, Any], entry: dict[str, Any]) -> None:
        session, health = self.session, self.health
        identity = text(payload.get("id"), health)
        if self.replay is not None and identity != session.id:
            # The header of a parent, in front of what is repeated of it.
            self.replay.header()
            health.other_sessions += 1
            return
        self.at = self.clock.read(entry.get("timestamp")) or self.at
        self.answers.version = text(payload.get("cli_version"), health) or self.answers.version
        if self.replay is not None:
            return
        session.id = identity or session.id
        session.cwd = text(payload.get("cwd"), health)
        session.branch = text(mapping(payload.get("git"), health).get("branch"), health)
        source = payload.get("source")
        session.entrypoint = text(payload.get("originator"), health) or (source if isinstance(source, str) else "")
        session.parent = parent_of(payload)
        self.replay = Replay(payload)
        self.totals.is_continued = self.replay.may_come
        if session.parent or session.entrypoint.startswith(_BY_PROGRAM) or source in ("exec", "mcp"):
            self.prompts.origin = "scripted"

    def _context(self, payload: dict[str, Any]) -> None:
        health = self.health
        settings = mapping(mapping(payload.get("collaboration_mode"), health).get("settings"), health)
        self._settings(payload.get("model"), payload.get("effort") or settings.get("reasoning_effort"))
        policy = payload.get("approval_policy")
        self.prompts.context(next(iter(policy), "") if isinstance(policy, dict) else text(policy, health))
        self.session.cwd = self.session.cwd or text(payload.get("cwd"), health)
        self.answers.end()

    def _settings(self, model: Any, effort: Any) -> None:
        self.answers.model = text(model, self.health) or self.answers.model
        self.answers.effort = text(effort, self.health)
        if self.answers.effort:
            self.fields.add("effort")

    def _item(self, payload: dict[str, Any], entry: dict[str, Any]) -> None:
        kind = text(payload.get("type"), self.health)
        if kind == "message":
            self._message(payload, entry)
        elif kind == "reasoning":
            self._reasoning(payload)
        elif kind in _CALLS:
            self._call(kind, payload)
        elif kind in _OUTPUTS:
            self._output(payload)
        elif kind not in _IGNORED_ITEMS:
            self._unknown(f"response_item {kind}")

    def _message(self, payload: dict[str, Any], entry: dict[str, Any]) -> None:
        role = text(payload.get("role"), self.health)
        if role not in ("user", "assistant"):
            return
        words = values.content_text(payload.get("content"), self.health)
        if "timestamp" in entry and "payload" in entry:
            # The same line again, with the same time to the millisecond, is a copy.
            unique = hash((str(entry["timestamp"]), str(payload.get("id")), role, words))
            if unique in self.told:
                return
            self.told.add(unique)
        if role == "user":
            self.session.cwd = self.session.cwd or values.folder_in(words)
            self._prompt(words, "message")
            return
        self.prompts.answered()
        answer = self.answers.line(self.at, text(payload.get("id"), self.health))
        answer.text = f"{answer.text}\n{words}" if answer.text else words

    def _reasoning(self, payload: dict[str, Any]) -> None:
        self.prompts.answered()
        answer = self.answers.line(self.at, text(payload.get("id"), self.health))
        parts = [*items(payload.get("summary"), self.health), *items(payload.get("content"), self.health)]
        thought = sum(len(text(mapping(part, self.health).get("text"), self.health)) for part in parts)
        sealed = len(text(payload.get("encrypted_content"), self.health))
        answer.thinking_blocks += 1
        answer.thinking_characters += thought
        self.fields.add("thinking")
        if thought:
            self.fields.add("thinking_text")
        if sealed:
            answer.signatures.append(sealed)
            self.fields.add("signature")

    def _call(self, kind: str, payload: dict[str, Any]) -> None:
        health = self.health
        identity = text(payload.get("call_id"), health) or text(payload.get("id"), health)
        if identity and identity in self.calls:
            return
        self.calls[identity] = None
        self.prompts.answered()
        self.answers.line(self.at, identity)
        self._end_script()
        self.fields.add("tools")
        name = text(payload.get("name") or mapping(payload.get("function"), health).get("name"), health)
        name = name or kind.removesuffix("_call")
        given = payload.get("arguments", payload.get("input", payload.get("action")))
        arguments = values.decoded(given, health)
        if kind == "custom_tool_call" and name == "exec" and set(arguments) == {"input"}:
            self.has_scripts = True
            self.script = Script(identity, self.at, str(arguments["input"]))
            return
        self.used.add(name)
        self.session.events.append(tools.call(identity, self.at, name, arguments))

    def _end_script(self) -> None:
        script, self.script = self.script, None
        if script is not None:
            for made in script.unseen():
                self.used.add(made.name)
                self.session.events.append(made)

    def _output(self, payload: dict[str, Any]) -> None:
        health = self.health
        identity = text(payload.get("call_id"), health) or text(payload.get("id"), health)
        self.answers.output()
        told = self.script is not None and self.script.id == identity and self.script.count > 0
        if told or self.calls.get(identity) is not None:
            return
        self._end_script()
        size, code, is_denied = values.result(payload.get("output", payload.get("result")), health)
        self._result(identity, size, self.codes.get(identity, code), is_denied)

    def _result(self, identity: str, size: int, code: int | None, is_denied: bool = False) -> None:
        if code is not None:
            self.fields.add("is_error")
        made = ToolResult(identity, self.at, is_denied or code not in (None, 0), size, is_denied)
        self.calls[identity] = made
        self.session.events.append(made)

    def _event(self, payload: dict[str, Any]) -> None:
        kind = text(payload.get("type"), self.health)
        if kind in _ENDS:
            self._ended(payload)
        elif kind in self._events:
            self._events[kind](payload)
        elif kind not in _IGNORED_EVENTS:
            self._unknown(f"event_msg {kind}")

    def _asked(self, payload: dict[str, Any]) -> None:
        words = text(payload.get("message"), self.health)
        is_own = payload.get("kind") in ("environment_context", "user_instructions")
        self._prompt(words, "message" if is_own else "event")

    def _prompt(self, words: str, channel: Channel) -> None:
        self.answers.interrupted()
        self.prompts.add(words, self.at, channel)

    def _counted(self, payload: dict[str, Any]) -> None:
        info = mapping(payload.get("info"), self.health)
        self._tokens(info.get("total_token_usage"), info.get("last_token_usage"))

    def _aborted(self, payload: dict[str, Any]) -> None:
        if payload.get("reason") == "interrupted":
            self.session.events.append(Interrupt(self.at))

    def _failed(self, _: dict[str, Any]) -> None:
        self.session.events.append(Note(self.at, "api_error"))

    def _started(self, _: dict[str, Any]) -> None:
        self.answers.end()

    def _reviewing(self, _: dict[str, Any]) -> None:
        origin = "command" if self.prompts.origin == "typed" else self.prompts.origin
        self.session.events.append(Prompt(self.at, "/review", origin, self.prompts.permission))

    def _applied(self, payload: dict[str, Any]) -> None:
        applied = mapping(payload.get("thread_settings"), self.health)
        self._settings(applied.get("model"), applied.get("reasoning_effort"))

    def _complete(self, payload: dict[str, Any]) -> None:
        duration = count(payload.get("duration_ms"), self.health)
        if duration:
            self.fields.add("turn_duration")
            self.session.events.append(Note(self.at, "turn_duration", duration / 1000))

    def _completed(self, payload: dict[str, Any]) -> None:
        item = mapping(payload.get("item"), self.health)
        if item.get("type") == "UserMessage":
            self._prompt(values.content_text(item.get("content"), self.health), "event")
        else:
            self._ended(item)

    def _ended(self, item: dict[str, Any]) -> None:
        """Take what a tool did: the outcome of a call that is known, or a call that a program of the model made."""
        health = self.health
        identity = text(item.get("call_id"), health) or text(item.get("id"), health)
        code = item.get("exit_code")
        if not isinstance(code, int):
            failed = item.get("success") is False or item.get("status") == "failed"
            code = 1 if failed else 0 if item.get("success") is True or item.get("status") == "completed" else None
        if identity in self.calls:
            known = self.calls[identity]
            if code is not None:
                self.codes[identity] = code
                self.fields.add("is_error")
                if known is not None:
                    known.is_error = known.is_denied or code != 0
            return
        made = ran(item, identity, self.at, health) if self.has_scripts else None
        if made is None or item.get("source") in ("user_shell", "userShell"):
            return
        if self.script is not None:
            self.script.count += 1
        self.used.add(made.name)
        self.session.events.append(made)
        self._result(identity, len(text(item.get("aggregated_output"), health)), code)

    def _tokens(self, total: Any, latest: Any) -> None:
        health = self.health
        if not isinstance(total, dict):
            return
        self.fields.add("usage")
        if "cached_input_tokens" in total:
            self.fields.add("cache")
        used = self.totals.difference(total, mapping(latest, health), health)
        if used is not None:
            self.prompts.answered()
            self.answers.tokens(used, self.at)
