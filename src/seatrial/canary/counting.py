"""Turns of a session, and what each metric counts in them, by class of the prompt that a turn began with."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict

from seatrial.canary import phrases, tools
from seatrial.canary.commands import Effect
from seatrial.canary.events import ApiMessage, Event, Interrupt, Note, Prompt, ToolCall, ToolResult
from seatrial.canary.features import PARTIAL_SHARE

IDLE_SECONDS = 3600.0
_KNOWN_SHARE = 0.8
_TOKENS = 1000.0
_SPOKEN = 80
"""Characters of visible text from which a message can be too long for its tokens."""
_CHARACTERS_A_TOKEN = 8
"""More than any language's: a message with fewer tokens than its text needs was logged before it was finished."""


class Turns:
    """Counts over the events of one session, which are added in their order."""

    def __init__(self) -> None:
        self.classes: Counter[str] = Counter()
        self.result_sizes: list[int] = []
        self._sums: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(lambda: [0.0, 0.0]))
        self._signatures: dict[str, list[int]] = defaultdict(list)
        self._class = ""
        self._seen_files: set[str] = set()
        self._calls = self._known_calls = 0
        self._last_message = 0.0
        self._was_idle = False
        self._has_tokens = False
        self._spoken = self._partial = 0

    def add(self, event: Event) -> None:
        """Count one event; what comes before the first prompt belongs to no turn."""
        if isinstance(event, Prompt):
            self._prompt(event)
        elif not self._class:
            return
        elif isinstance(event, ApiMessage):
            self._message(event)
        elif isinstance(event, ToolCall):
            self._call(event)
        elif isinstance(event, ToolResult):
            if not event.is_denied:
                self._count("errors", float(event.is_error), 1)
                self.result_sizes.append(event.size)
        elif isinstance(event, Interrupt):
            self._count("interrupts", 1, 0)
        elif isinstance(event, Note):
            self._note(event)

    @property
    def fields(self) -> frozenset[str]:
        """Return what the events show: `usage` if tokens are counted, `known_tools` if 80 % of calls are known."""
        found = {"usage"} if self._has_tokens and self.partial_share <= PARTIAL_SHARE else set()
        if self._calls > 0 and self._known_calls >= _KNOWN_SHARE * self._calls:
            found.add("known_tools")
        return frozenset(found)

    @property
    def partial_share(self) -> float:
        """Return the share of answers with too few tokens for their text: some versions log no final count."""
        return self._partial / self._spoken if self._spoken else 0.0

    def cells(self) -> dict[str, dict[str, tuple[float, float]]]:
        """Return numerator and exposure of each metric by class of prompt."""
        for name, lengths in self._signatures.items():
            self._sums[name]["signature_length"] = [statistics.median(lengths) * len(lengths), float(len(lengths))]
        unusable = "" if "usage" in self.fields else "output_per_prompt"
        return {
            name: {
                metric: (y, exposure)
                for metric, (y, exposure) in cell.items()
                if (y or exposure) and metric != unusable
            }
            for name, cell in self._sums.items()
        }

    def _count(self, metric: str, y: float, exposure: float, prompt_class: str = "") -> None:
        pair = self._sums[prompt_class or self._class][metric]
        pair[0] += y
        pair[1] += exposure

    def _prompt(self, prompt: Prompt) -> None:
        if prompt.origin == "injected":
            return
        if prompt.origin == "typed" and self._class:
            # What is corrected is the turn before.
            self._count("corrections", float(phrases.is_correction(prompt.text)), 1)
        is_command = prompt.origin == "command"
        self._class = phrases.prompt_class(prompt.text, is_command=is_command, permission=prompt.permission)
        self.classes[self._class] += 1
        for metric in ("interrupts", "calls_per_prompt", "output_per_prompt", "compactions", "stop_hook_blocks"):
            self._count(metric, 0, 1)

    def _message(self, message: ApiMessage) -> None:
        if message.is_error:
            return
        self._count("calls_per_prompt", 1, 0)
        self._count("output_per_prompt", message.usage.output, 0)
        self._has_tokens = self._has_tokens or message.usage.output > 0
        if len(message.text) >= _SPOKEN:
            self._spoken += 1
            self._partial += message.usage.output * _CHARACTERS_A_TOKEN < len(message.text)
        self._count("thinking_per_call", float(message.thinking_blocks > 0), 1)
        self._count("text_per_tool_call", len(message.text), 0)
        if message.signatures:
            self._signatures[self._class] += message.signatures
        for name, number in phrases.said(message.text).items():
            self._count(name, number, 0)
        self._cache(message)

    def _cache(self, message: ApiMessage) -> None:
        """Count tokens that the cache did not give, but for the first answer after a pause, which never can."""
        last, self._last_message = self._last_message, message.at or self._last_message
        is_first = not last or (message.at > 0 and message.at - last > IDLE_SECONDS)
        self._was_idle = self._was_idle or (is_first and last > 0)
        if is_first:
            return
        used = message.usage
        missed = used.input + used.cache_write
        name = "cache_misses_after_idle" if self._was_idle else "cache_misses"
        self._count(name, missed / _TOKENS, (missed + used.cache_read) / _TOKENS)

    def _call(self, call: ToolCall) -> None:
        self._calls += 1
        self._known_calls += tools.is_known(call.name)
        for name in ("loops", "admissions", "early_stops", "dodging", "permission_seeking", "known_limits"):
            self._count(name, 0, 1)
        self._count("length_excuses", 0, 1)
        self._count("text_per_tool_call", 0, 1)
        for effect in tools.effects(call):
            self._effect(effect)

    def _effect(self, effect: Effect) -> None:
        key = tools.path_key(effect.path)
        if effect.action in ("edit", "write"):
            self._count("reads_per_edit", 0, 1)
            self._count("research_per_change", 0, 1)
            self._count("rewrites", float(effect.action == "write"), 1)
            if key:
                is_blind = effect.action == "edit" and key not in self._seen_files
                self._count("blind_edits", float(is_blind), 1)
        else:
            self._count("research_per_change", 1, 0)
            if effect.action == "read":
                self._count("reads_per_edit", 1, 0)
                self._count("shell_reads", float(effect.by_shell), 1)
        if key and effect.action in ("read", "edit", "write"):
            self._seen_files.add(key)

    def _note(self, note: Note) -> None:
        if note.name == "turn_duration" and note.value > 0:
            self._count("turn_seconds", note.value, 1)
        elif note.name == "compact":
            self._count("compactions", 1, 0)
        elif note.name == "stop_hook_block":
            self._count("stop_hook_blocks", 1, 0)
