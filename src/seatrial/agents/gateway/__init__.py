"""The only way out of a sandbox: model APIs with the real key, allowed hosts, budgets, and a recording.

Inside, `http://127.0.0.1:PORT/NAME/…` is the API of the provider called NAME, and the same address is the proxy for
HTTP and HTTPS.  One gateway serves one agent.
"""

from seatrial.agents.gateway.records import (
    PLACEHOLDER_KEY,
    Budget,
    Exchange,
    GatewayPolicy,
    Ledger,
    Limits,
    Provider,
    Usage,
)
from seatrial.agents.gateway.service import Gateway

__all__ = [
    "PLACEHOLDER_KEY",
    "Budget",
    "Exchange",
    "Gateway",
    "GatewayPolicy",
    "Ledger",
    "Limits",
    "Provider",
    "Usage",
]
