"""Rows of a branch: the difference by key, and bringing chosen ones to production (behaviour 16)."""

from __future__ import annotations

import psycopg
import pytest

from seatrial import database
from seatrial.database.project import Project
from seatrial.errors import ApplyError, BranchError, ProposalError

CHANGES = """
INSERT INTO users (email, name) VALUES ('new@example.com', 'O''Neil $seatrial$ %');
INSERT INTO orders (user_id, total) SELECT max(id), 7 FROM users;
UPDATE orders SET total = total + 1 WHERE id IN (1, 2);
DELETE FROM orders WHERE id = 3;
CREATE TABLE heap (a int);
"""


@pytest.fixture
def changed(shop: Project) -> Project:
    if "rita" not in database.reviewers(shop):
        database.add_reviewer(shop, "rita")
    database.create_branch(shop, database.Wish("rows"))
    with psycopg.connect(database.url(shop, "rows")) as connection:
        connection.execute(CHANGES)
    return shop


def apply(project: Project, proposal: database.Proposal) -> None:
    database.approve(project, proposal.id, approver="rita", hazards=proposal.opened().hazards)
    database.apply(project, proposal.id)


def production(project: Project, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(database.url(project)) as connection:
        return connection.execute(query).fetchall()


def test_every_difference_is_found(changed: Project) -> None:
    found = database.diff_rows(changed, "rows")
    assert found.counts() == {
        "public.orders": {"added": 1, "changed": 2, "deleted": 1},
        "public.users": {"added": 1, "changed": 0, "deleted": 0},
    }
    assert found.not_compared == {"public.heap": "it is new on the branch: propose its schema first"}
    one = next(change for change in found.changes if change.action == "changed")
    assert one.changed == ["total"]
    assert database.diff_rows(changed, "rows", tables=["users"]).counts().keys() == {"public.users"}
    with pytest.raises(BranchError, match="no table nowhere"):
        database.diff_rows(changed, "rows", tables=["nowhere"])


def test_rows_reach_production_in_the_order_of_keys(changed: Project) -> None:
    before = production(changed, "SELECT count(*), sum(total) FROM orders")[0]
    apply(changed, database.promote_rows(changed, "rows", author="ann"))
    after = production(changed, "SELECT count(*), sum(total) FROM orders")[0]
    assert (after[0], after[1]) == (before[0], before[1] + 2 - 3 + 7)  # type: ignore[operator]
    assert production(changed, "SELECT name FROM users WHERE email = 'new@example.com'") == [("O'Neil $seatrial$ %",)]
    with psycopg.connect(database.url(changed)) as connection:
        connection.execute("INSERT INTO users (email) VALUES ('next@example.com')")  # its id is free
    with pytest.raises(ProposalError, match="fails on the branch"):
        database.promote_rows(changed, "rows", author="ann")


def test_a_row_that_production_changed_since_is_a_conflict(shop: Project) -> None:
    if "rita" not in database.reviewers(shop):
        database.add_reviewer(shop, "rita")
    database.create_branch(shop, database.Wish("conflict"))
    with psycopg.connect(database.url(shop, "conflict")) as connection:
        connection.execute("UPDATE orders SET total = 1 WHERE id = 50; DELETE FROM orders WHERE id = 60")
    proposal = database.promote_rows(shop, "conflict", author="ann", keys=["orders:50"])
    assert len(proposal.opened().statements) == 1
    with psycopg.connect(database.url(shop)) as connection:
        connection.execute("UPDATE orders SET total = 99 WHERE id = 50")
    with pytest.raises(ApplyError, match=r"another row of public.orders where id = 50"):
        apply(shop, proposal)
    assert production(shop, "SELECT total::text FROM orders WHERE id = 50") == [("99.00",)]
    with pytest.raises(ProposalError, match="No row"):
        database.promote_rows(shop, "conflict", author="ann", keys=["orders:51"])
