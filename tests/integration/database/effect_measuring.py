"""What the tests of effects share: a shop to change, and measuring a change of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from seatrial.database.effect import EffectReport, Query, Timeouts, measure
from seatrial.database.effect.report import StatementEffect
from seatrial.database.statements import split

USERS, ORDERS = 400, 1_000
SHOP = f"""
CREATE TABLE users (
    id int PRIMARY KEY, name text, email varchar(50), created timestamptz DEFAULT pg_catalog.now()
);
INSERT INTO users SELECT g, 'name ' || g, 'somebody-with-a-long-address-' || g || '@example.org'
  FROM generate_series(1, {USERS}) g;
CREATE TABLE orders (id serial PRIMARY KEY, user_id int, amount int);
INSERT INTO orders (user_id, amount) SELECT g % {USERS} + 1, g FROM generate_series(1, {ORDERS}) g;
CREATE TABLE old_stuff (id int PRIMARY KEY);
INSERT INTO old_stuff VALUES (1), (2), (3);
CREATE VIEW v_old AS SELECT id FROM old_stuff;
ANALYZE users, orders, old_stuff;
"""


def prepare(database: Any, *more: str) -> None:
    """Make the shop, and what else is given, as the owner."""
    with database.connect() as connection:
        for text in (SHOP, *more):
            connection.execute(text)


def effect_on(
    database: Any, sql: str, *, queries: Sequence[Query] = (), timeouts: Timeouts | None = None
) -> EffectReport:
    """Measure a change; the report survives JSON."""
    report = measure(database.connect, split(sql), timeouts=timeouts, queries=queries)
    assert EffectReport.from_dict(json.loads(json.dumps(report.as_dict()))) == report
    return report


def only(report: EffectReport) -> StatementEffect:
    """Return the one statement of a change that worked."""
    assert report.outcome == "ok", report.failure
    (effect,) = report.statements
    return effect


def dropped(report: EffectReport) -> set[tuple[str, str]]:
    return {(entry.kind, entry.name) for effect in report.statements for entry in effect.dropped}
