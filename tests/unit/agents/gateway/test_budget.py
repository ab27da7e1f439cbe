"""Budgets hold before each request, also when many arrive at once."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from seatrial.agents.gateway import Budget, Exchange, Usage
from seatrial.agents.scripted import script
from seatrial.agents.scripted.model import ScriptedModel
from seatrial.errors import GatewayError
from tests.unit.agents.gateway import yard

SLOW = script.parse({"turn": [{"text": "Hello.", "delay_s": 0.2, "usage": {"input": 90, "output": 10}}]})
QUICK = script.parse({"turn": [{"text": "Hello.", "usage": {"input": 90, "output": 10}}]})


def ask(port: int, dialect: str = "anthropic", **more: Any) -> tuple[int, bytes]:
    path, body = yard.request(dialect, "go", True)
    status, _, answer = yard.post(port, f"/{dialect}{path}", {**body, **more})
    return status, answer


@pytest.mark.parametrize(
    ("dialect", "shape"),
    [
        ("anthropic", lambda body: (body["type"], body["error"]["type"]) == ("error", "billing_error")),
        ("openai", lambda body: body["error"]["code"] == "insufficient_quota"),
        ("gemini", lambda body: (body["error"]["code"], body["error"]["status"]) == (400, "FAILED_PRECONDITION")),
    ],
)
def test_a_spent_budget_is_refused_in_the_shape_of_the_api(dialect: str, shape: Any) -> None:
    with ScriptedModel(QUICK).serve() as model, yard.gateway(yard.policy(model.url, Budget(tokens=100))) as running:
        assert ask(running.port, dialect)[0] == 200
        path, body = yard.request(dialect, "go", True)
        status, headers, answer = yard.post(running.port, f"/{dialect}{path}", body)
    # No SDK repeats a 400, and those that read the header do not either.
    assert (status, headers["x-should-retry"]) == (400, "false")
    assert shape(json.loads(answer)) and "budget of tokens" in json.loads(answer)["error"]["message"]
    assert running.facts("budget_exceeded") == {"which": "tokens", "limit": 100, "spent": 100}
    assert len(running.ledger.exchanges) == 1


@pytest.mark.parametrize(
    ("budget", "which", "most"),
    [
        (Budget(requests=3), "requests", 3),
        # What is set aside is the question's length, here some 60 of 100 tokens: five are admitted at once.
        (Budget(tokens=250), "tokens", 5),
        (Budget(usd=0.0009), "usd", 5),  # one answer is 90 × $3 + 10 × $15 per million: $0.00042
    ],
)
def test_twenty_at_once_do_not_pass_the_budget(budget: Budget, which: str, most: int) -> None:
    with (
        ScriptedModel(SLOW).serve() as model,
        yard.gateway(yard.policy(model.url, budget)) as running,
        ThreadPoolExecutor(20) as threads,
    ):
        statuses = [status for status, _ in threads.map(lambda _: ask(running.port), range(20))]
    assert statuses.count(200) <= most and set(statuses) == {200, 400}
    assert len(model.seen) == statuses.count(200)
    assert running.facts("budget_exceeded")["which"] == which


def test_time_is_a_budget() -> None:
    ledger = yard.MemoryLedger()
    ledger.begun = time.time() - 100
    with (
        ScriptedModel(QUICK).serve() as model,
        yard.gateway(yard.policy(model.url, Budget(seconds=99)), ledger) as running,
    ):
        status, answer = ask(running.port)
    assert status == 400 and b"budget of seconds" in answer and model.seen == []


def test_what_earlier_processes_spent_counts() -> None:
    ledger = yard.MemoryLedger()
    ledger.add(Exchange("a", "", "", "anthropic", "m", "/", 200, Usage(500, 500, usd=0.0, requests=1)))
    with (
        ScriptedModel(QUICK).serve() as model,
        yard.gateway(yard.policy(model.url, Budget(tokens=1000)), ledger) as running,
    ):
        assert ask(running.port)[0] == 400


def test_an_unknown_price_is_refused_when_money_is_counted(tmp_path: Path) -> None:
    table = tmp_path / "prices.toml"
    table.write_text('as_of = "2026-01-01"\n[[model]]\nmatch = ["my-model"]\ninput = 1\noutput = 1\n')
    with ScriptedModel(QUICK).serve() as model:
        with yard.gateway(yard.policy(model.url, Budget(usd=1.0))) as running:
            status, answer = ask(running.port, model="my-model")
            assert status == 400 and b"price of my-model is not known" in answer and model.seen == []
        with yard.gateway(yard.policy(model.url, Budget(usd=1.0)), prices=table) as running:
            assert ask(running.port, model="my-model")[0] == 200
            assert running.ledger.spent().usd == pytest.approx(100e-6)
        with yard.gateway(yard.policy(model.url)) as running:
            assert ask(running.port, model="my-model")[0] == 200
            assert running.ledger.spent().usd is None


@pytest.mark.parametrize("text", ["", "as_of = 1\nmodel = [1]", 'as_of = "x"\n[[model]]\nmatch = "a"\ninput = 1', "?"])
def test_bad_price_tables(tmp_path: Path, text: str) -> None:
    table = tmp_path / "prices.toml"
    table.write_text(text)
    with (
        pytest.raises(GatewayError, match="price table"),
        yard.gateway(yard.policy("http://127.0.0.1:1"), prices=table),
    ):
        pass


def test_failed_requests_count_as_requests_and_cost_nothing() -> None:
    broken = script.parse({"turn": [{"text": "x", "fault": "500", "fault_times": 0}]})
    with ScriptedModel(broken).serve() as model, yard.gateway(yard.policy(model.url, Budget(requests=2))) as running:
        assert [ask(running.port)[0] for _ in range(3)] == [500, 500, 400]
    assert running.ledger.spent() == Usage(requests=2)
    assert running.ledger.exchanges[0].stop == "error" and "scripted fault" in running.ledger.exchanges[0].error


def test_a_ledger_that_cannot_write_cuts_the_answer_off_and_still_counts() -> None:
    class Full(yard.MemoryLedger):
        def add(self, exchange: Exchange) -> None:
            raise OSError(28, "No space left on device")

    with (
        ScriptedModel(QUICK).serve() as model,
        yard.gateway(yard.policy(model.url, Budget(tokens=100)), Full()) as running,
    ):
        path, body = yard.request("anthropic", "go", True)
        answer = yard.raw(running.port, _written(path, body))
        assert not answer.endswith(b"0\r\n\r\n")
        running.until(lambda: "internal_error" in running.kinds())
        assert running.kinds().count("request") == running.kinds().count("response") == 1
        assert ask(running.port)[0] == 400


def test_a_budget_is_raised_while_the_gateway_runs() -> None:
    with ScriptedModel(QUICK).serve() as model, yard.gateway(yard.policy(model.url, Budget(requests=1))) as running:
        assert [ask(running.port)[0] for _ in range(2)] == [200, 400]
        running.loop.call_soon_threadsafe(running.gateway.set_budget, Budget(requests=2))
        assert [ask(running.port)[0] for _ in range(2)] == [200, 400]


def test_a_waiting_request_goes_on_when_another_ends() -> None:
    """What is set aside is an estimate: it may delay a request, but never refuses one."""
    with ScriptedModel(SLOW).serve() as model, yard.gateway(yard.policy(model.url, Budget(tokens=201))) as running:
        found: list[int] = []
        threads = [threading.Thread(target=lambda: found.append(ask(running.port)[0])) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(found) == [200, 200, 200]


def _written(path: str, body: dict[str, Any]) -> bytes:
    data = json.dumps(body).encode()
    return f"POST /anthropic{path} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(data)}\r\n\r\n".encode() + data
