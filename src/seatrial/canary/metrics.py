"""What is measured of a session: numerator, exposure, which direction is harmful, and on which fields it depends.

A metric is a ratio of a count to an exposure, a share, or a size per exposure; phrase counts are rare events, which are
tested exactly and never searched for dates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Family = Literal["count", "share", "size", "rare"]
Harm = Literal["down", "up", "neutral", "down if the model is the same"]


@dataclass(frozen=True)
class Metric:
    """One metric.

    `family` chooses the null model: `count` (numerator over exposure, overdispersed), `share` (numerator among
    exposure), `size` (a positive number whose logarithm is taken; numerator over exposure), `rare` (a few events).
    `fields` are names in `Session.fields` that must be the same on both sides of a boundary for a comparison.
    """

    name: str
    title: str
    family: Family
    numerator: str
    exposure: str
    harm: Harm
    fields: tuple[str, ...] = ()
    is_headline: bool = True
    unit: str = ""


METRICS: tuple[Metric, ...] = (
    Metric("reads_per_edit", "reads per edit", "count", "files read", "edits", "down", ("known_tools",)),
    Metric(
        "research_per_change", "research per change", "count", "reads and searches", "edits", "down", ("known_tools",)
    ),
    Metric("blind_edits", "blind edits", "share", "edits of files not seen before", "edits", "up", ("known_tools",)),
    Metric("errors", "failed tool calls", "share", "tool results that are errors", "tool results", "up", ("is_error",)),
    Metric("interrupts", "interrupts per prompt", "count", "interrupts", "typed prompts", "up"),
    Metric("corrections", "prompts that correct", "share", "correcting prompts", "prompts after the first", "up"),
    Metric("rewrites", "whole-file writes", "share", "whole-file writes", "edits", "neutral", ("known_tools",)),
    Metric("calls_per_prompt", "model calls per prompt", "count", "model calls", "typed prompts", "neutral"),
    Metric(
        "output_per_prompt", "output tokens per prompt", "size", "output tokens", "typed prompts", "neutral", ("usage",)
    ),
    Metric(
        "thinking_per_call",
        "thinking blocks per model call",
        "share",
        "model calls that think",
        "model calls",
        "down if the model is the same",
        ("thinking",),
    ),
    Metric(
        "signature_length",
        "length of thinking (signature)",
        "size",
        "characters of signatures",
        "thinking blocks",
        "down if the model is the same",
        ("signature",),
        unit="characters",
    ),
    Metric(
        "text_per_tool_call",
        "visible text per tool call",
        "size",
        "characters of text",
        "tool calls",
        "neutral",
        unit="characters",
    ),
    Metric(
        "shell_reads",
        "reads through a shell",
        "share",
        "reads by shell commands",
        "files read",
        "neutral",
        is_headline=False,
    ),
    Metric(
        "turn_seconds",
        "seconds per turn",
        "size",
        "seconds of turns",
        "turns",
        "neutral",
        ("turn_duration",),
        False,
        "s",
    ),
    Metric("loops", "phrases of going in circles", "rare", "phrases", "tool calls", "up", is_headline=False),
    Metric("admissions", "admitted mistakes", "rare", "phrases", "tool calls", "up", is_headline=False),
    Metric("early_stops", "stops before the end", "rare", "phrases", "tool calls", "up", is_headline=False),
    Metric("dodging", "problems called somebody else's", "rare", "phrases", "tool calls", "up", is_headline=False),
    Metric("permission_seeking", "needless asking", "rare", "phrases", "tool calls", "up", is_headline=False),
    Metric("known_limits", "problems called known limits", "rare", "phrases", "tool calls", "up", is_headline=False),
    Metric(
        "length_excuses", "excuses by the session's length", "rare", "phrases", "tool calls", "up", is_headline=False
    ),
    Metric("compactions", "compactions", "rare", "compactions", "typed prompts", "neutral", is_headline=False),
    Metric(
        "stop_hook_blocks", "stops that a hook refused", "rare", "refusals", "typed prompts", "up", is_headline=False
    ),
    Metric(
        "cache_misses_after_idle",
        "cache not used after an idle hour",
        "share",
        "input tokens not from the cache, after an idle hour",
        "input tokens after an idle hour",
        "up",
        ("cache",),
        False,
    ),
    Metric(
        "cache_misses",
        "cache not used otherwise",
        "share",
        "input tokens not from the cache, without an idle hour",
        "input tokens without an idle hour",
        "up",
        ("cache",),
        False,
    ),
)

BY_NAME = {metric.name: metric for metric in METRICS}
CONTROLS: tuple[str, ...] = ("prompt_characters", "seconds_between_prompts", "result_characters")
"""Negative controls, kept as covariates of a session: what a change of the agent cannot move."""
