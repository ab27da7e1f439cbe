"""The gateway of one agent, made from what was decided about it; keys come from the keyring and go no further."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from seatrial.agents.gateway import Budget, Exchange, Gateway, GatewayPolicy, Provider, Usage, keys
from seatrial.agents.project import AgentFolder
from seatrial.agents.records import Records
from seatrial.agents.specification import AgentSpec
from seatrial.errors import SecretKeyError
from seatrial.settings import Secret


class RecordedLedger:
    """What an agent and those that share its budget have used, in the project's records."""

    def __init__(self, records: Records, name: str) -> None:
        self._records, self._name = records, name
        self._family: list[str] = []
        self.budget = Budget()
        self.reload()

    def reload(self) -> None:
        """Read the budget again: it is the one of the agent that all of the family descend from."""
        self._family = self._records.family(self._name)
        self.budget = budget_of(self._records.agent(self._family[0]).spec.get("budget", {}))

    def spent(self) -> Usage:
        """Return the use of the whole family."""
        return self._records.spent(*self._family)

    def started(self) -> float:
        """Return when the clock of `Budget.seconds` began, earlier runs counted in (Unix)."""
        record = self._records.agent(self._name)
        return record.started - record.seconds

    def add(self, exchange: Exchange) -> None:
        """Write down one call; it is on the disk when this returns."""
        self._records.add_exchange(self._name, exchange)


def budget_of(values: Mapping[str, float]) -> Budget:
    """Return a budget from what was written; 0 is no limit."""
    tokens, requests = (int(values[key]) if values.get(key) else None for key in ("tokens", "requests"))
    usd, seconds = (float(values[key]) if values.get(key) else None for key in ("usd", "seconds"))
    return Budget(tokens, usd, requests, seconds)


def gateway_for(
    spec: AgentSpec, folder: AgentFolder, run: int, ledger: RecordedLedger, see: Callable[[str, dict[str, Any]], None]
) -> Gateway:
    """Return an agent's gateway.  Raises SecretKeyError when a key is needed and there is none."""
    network = spec.rules.network
    policy = GatewayPolicy(
        providers=tuple(_provider(name, values, spec) for name, values in spec.providers.items()),
        hosts=tuple(network.hosts),
        local_services=tuple(network.local_services),
        budget=ledger.budget,
    )
    replay = Path(spec.replay) if spec.replay else None
    table = next((Path(p["prices"]).expanduser() for p in spec.providers.values() if p.get("prices")), None)
    recording = folder.recording / f"run-{run + 1}"
    return Gateway(policy, ledger, see, recording=recording, replay=replay, prices=table)


def _provider(name: str, values: Mapping[str, Any], spec: AgentSpec) -> Provider:
    key: Secret | None = None
    if spec.keys and not spec.replay and values["key"]:
        key = keys.get_key(str(values["key"]))
        if key is None:
            raise SecretKeyError(
                f"There is no key for {values['key']}.", hint=f"seatrial agent keys set {values['key']}, or --no-keys"
            )
    return Provider(name=name, dialect=values["dialect"], base_url=values["base_url"], key=key)
