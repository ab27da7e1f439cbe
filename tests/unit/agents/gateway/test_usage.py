"""Usage, stop reasons and tool names out of answers as real APIs write them, and prices."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seatrial.agents.gateway import Usage
from seatrial.agents.gateway.usage import AnswerReader
from seatrial.prices import Prices


def read(dialect: str, data: bytes, events: bool, step: int = 10**9) -> AnswerReader:
    reader = AnswerReader(dialect, events)
    for at in range(0, len(data), step):
        reader.feed(data[at : at + step])
    reader.close()
    return reader


def sse(*values: dict[str, Any] | str) -> bytes:
    texts = [value if isinstance(value, str) else json.dumps(value, separators=(",", ":")) for value in values]
    return "".join(f"event: x\ndata: {text}\n\n" for text in texts).encode()


ANTHROPIC = sse(
    {
        "type": "message_start",
        "message": {
            "model": "claude-opus-4-5-20251101",
            "content": [],
            "stop_reason": None,
            "usage": {
                "input_tokens": 3,
                "cache_creation_input_tokens": 100,
                "cache_read_input_tokens": 2000,
                "cache_creation": {"ephemeral_5m_input_tokens": 60, "ephemeral_1h_input_tokens": 40},
                "output_tokens": 1,
            },
        },
    },
    {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": 'Hm "tool_use" no'}},
    {
        "type": "content_block_start",
        "index": 1,
        "content_block": {"type": "tool_use", "id": "t", "name": "Bash", "input": {}},
    },
    {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": "{}"}},
    {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 250}},
    {"type": "message_stop"},
)


@pytest.mark.parametrize("step", [1, 7, 100, 10**6])
def test_anthropic_events_however_cut(step: int) -> None:
    reader = read("anthropic", ANTHROPIC, True, step)
    usage = reader.usage(10**6, finished=True)
    assert usage == Usage(3, 250, 2000, 100, None, 1)
    assert (reader.model, reader.stop, reader.tools) == ("claude-opus-4-5-20251101", "tool_use", ["Bash"])
    price = Prices().find(reader.model)
    assert price is not None
    dollars = 3 * 5 + 250 * 25 + 2000 * 0.5 + 60 * 6.25 + 40 * 10
    assert price.of(usage, reader.cache_write_hour) == pytest.approx(dollars / 1e6)


def test_an_error_in_the_middle_of_events() -> None:
    reader = read(
        "anthropic", sse({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}), True
    )
    assert (reader.stop, reader.error) == ("error", "Overloaded")


def test_openai_responses_events() -> None:
    response = {
        "id": "r",
        "object": "response",
        "model": "gpt-5-codex",
        "status": "incomplete",
        "incomplete_details": {"reason": "max_output_tokens"},
        "output": [],
        "error": None,
        "usage": {"input_tokens": 900, "input_tokens_details": {"cached_tokens": 800}, "output_tokens": 30},
    }
    item = {"type": "custom_tool_call", "name": "apply_patch", "input": "…"}
    data = sse(
        {"type": "response.created", "response": {**response, "status": "in_progress", "usage": None}},
        {"type": "response.output_item.added", "item": {**item, "input": ""}},
        {"type": "response.output_item.done", "item": item},
        {"type": "response.output_item.done", "item": {"type": "local_shell_call"}},
        {"type": "response.incomplete", "response": response},
    )
    reader = read("openai", data, True)
    assert reader.usage(0, True) == Usage(100, 30, 800, 0, None, 1)
    assert (reader.model, reader.stop, reader.tools) == ("gpt-5-codex", "length", ["apply_patch", "local_shell"])


def test_openai_chat_events() -> None:
    call = {"index": 0, "id": "c", "function": {"name": "bash", "arguments": ""}}
    data = sse(
        {"model": "gpt-4.1", "choices": [{"delta": {"tool_calls": [call]}, "finish_reason": None}]},
        {"model": "gpt-4.1", "choices": [{"delta": {"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]}}]},
        {"model": "gpt-4.1", "choices": [{"delta": {}, "finish_reason": "tool_calls"}], "usage": None},
        {"choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 4, "prompt_tokens_details": None}},
        "[DONE]",
    )
    reader = read("openai", data, True)
    assert reader.usage(0, True) == Usage(10, 4, 0, 0, None, 1)
    assert (reader.stop, reader.tools) == ("tool_use", ["bash"])


@pytest.mark.parametrize("form", ["events", "array", "whole"])
def test_gemini(form: str) -> None:
    first = {"candidates": [{"content": {"parts": [{"text": "a"}]}}], "usageMetadata": {"promptTokenCount": 50}}
    last = {
        "candidates": [{"content": {"parts": [{"functionCall": {"name": "run"}}]}, "finishReason": "STOP"}],
        "usageMetadata": {
            "promptTokenCount": 50,
            "cachedContentTokenCount": 20,
            "candidatesTokenCount": 5,
            "thoughtsTokenCount": 7,
        },
        "modelVersion": "gemini-2.5-flash",
    }
    data = {"events": sse(first, last), "array": json.dumps([first, last]).encode(), "whole": json.dumps(last).encode()}
    reader = read("gemini", data[form], form == "events")
    assert reader.usage(0, True) == Usage(30, 12, 20, 0, None, 1)
    assert (reader.model, reader.stop, reader.tools) == ("gemini-2.5-flash", "tool_use", ["run"])


def test_a_refused_prompt() -> None:
    assert read("gemini", b'{"promptFeedback": {"blockReason": "SAFETY"}}', False).stop == "refusal"


@pytest.mark.parametrize("dialect", ["anthropic", "openai", "gemini"])
def test_answers_that_report_nothing_are_estimated(dialect: str) -> None:
    text = {"anthropic": {"type": "content_block_delta", "delta": {"text": "x" * 400}}}.get(
        dialect, {"type": "response.output_text.delta", "delta": "x" * 400}
    )
    if dialect == "gemini":
        text = {"candidates": [{"content": {"parts": [{"text": "x" * 400}]}}]}
    usage = read(dialect, sse(text), True).usage(4000, finished=True)
    assert (usage.input_tokens, usage.output_tokens) == (1000, 100)


@given(st.sampled_from(["anthropic", "openai", "gemini"]), st.booleans(), st.lists(st.binary(max_size=60)))
def test_nothing_breaks_the_reader(dialect: str, events: bool, pieces: list[bytes]) -> None:
    reader = AnswerReader(dialect, events)
    for piece in pieces:
        reader.feed(b"data: " + piece + b"\n")
    reader.close()
    assert reader.usage(0, False).requests == 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["type", "message", "usage", "content", "delta", "error", "choices", "candidates", "output",
                         "response", "item", "input_tokens", "usageMetadata", "model", "finish_reason"]),
        inner, max_size=4),
)  # fmt: skip


@given(st.sampled_from(["anthropic", "openai", "gemini"]), JSON)
def test_no_shape_breaks_the_reader(dialect: str, value: Any) -> None:
    reader = read(dialect, json.dumps(value).encode(), False)
    usage = reader.usage(0, True)
    assert isinstance(usage.tokens, int) and usage.tokens >= 0
    assert isinstance(reader.model, str)


def test_prices_are_of_whole_names() -> None:
    prices = Prices()
    assert prices.as_of
    for known in ("claude-sonnet-4-5-20250929", "gpt-5", "gpt-5-mini", "gemini-2.5-pro", "models/gemini-2.5-flash"):
        assert prices.find(known)
    for unknown in ("", "claude", "claude-opus-9", "gpt-5-large", "my-gpt-5", "*"):
        assert prices.find(unknown) is None


def test_long_requests_have_their_own_price() -> None:
    price = Prices().find("gemini-2.5-pro")
    assert price is not None
    assert price.of(Usage(input_tokens=200_000)) == pytest.approx(0.25)
    assert price.of(Usage(input_tokens=200_000, cache_read_tokens=1)) == pytest.approx(0.5, rel=1e-4)


def test_a_sum_with_an_unknown_part_is_unknown() -> None:
    assert (Usage(usd=1.0) + Usage(usd=None)).usd is None
    assert Usage(1, 2, 3, 4, 0.5, 1) + Usage(1, 1, 1, 1, 0.25, 2) == Usage(2, 3, 4, 5, 0.75, 3)
