"""Money that is moved all the time: in every branch that is made meanwhile the sums are equal (1, 4)."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator

import psycopg
import pytest

from seatrial import database
from seatrial.database import production, roles
from seatrial.database.postgres.connection import run
from seatrial.database.project import Project

BANK = """
CREATE TABLE public.accounts (id int PRIMARY KEY, balance bigint NOT NULL DEFAULT 0);
CREATE TABLE public.tellers (id int PRIMARY KEY, balance bigint NOT NULL DEFAULT 0);
CREATE TABLE public.history (account int, teller int, amount int, made timestamptz DEFAULT now());
INSERT INTO public.accounts SELECT generate_series(1, 10000);
INSERT INTO public.tellers SELECT generate_series(1, 10);
"""
SUMS = """
SELECT (SELECT sum(balance)::bigint FROM public.accounts), (SELECT sum(balance)::bigint FROM public.tellers),
       (SELECT coalesce(sum(amount), 0)::bigint FROM public.history), (SELECT count(*) FROM public.history)
"""


@pytest.fixture
def moving(shop: Project) -> Iterator[Project]:
    """The shop with a bank in it, where money is moved until the test ends."""
    with production.cluster_of(shop).connect("shop") as connection:
        run(connection, "SET ROLE {}", roles.names("shop")["owner"])
        connection.execute(BANK)
    dsn = production.cluster_of(shop).dsn("shop")
    stop, failures = threading.Event(), []

    def move(seed: int) -> None:
        chance = random.Random(seed)
        try:
            with psycopg.connect(dsn) as connection:
                while not stop.is_set():
                    account, teller, amount = chance.randint(1, 10_000), chance.randint(1, 10), chance.randint(-99, 99)
                    with connection.transaction():
                        connection.execute(
                            "UPDATE public.accounts SET balance = balance + %s WHERE id = %s", (amount, account)
                        )
                        connection.execute(
                            "UPDATE public.tellers SET balance = balance + %s WHERE id = %s", (amount, teller)
                        )
                        connection.execute(
                            "INSERT INTO public.history (account, teller, amount) VALUES (%s, %s, %s)",
                            (account, teller, amount),
                        )
        except psycopg.Error as problem:
            failures.append(problem)

    threads = [threading.Thread(target=move, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    yield shop
    stop.set()
    for thread in threads:
        thread.join()
    with production.cluster_of(shop).connect("shop") as connection:
        connection.execute("DROP TABLE public.accounts, public.tellers, public.history")
    assert failures == []


def test_twenty_copies_of_a_bank_that_works(moving: Project) -> None:
    seen = []
    for number in range(20):
        database.refresh(moving)
        database.create_branch(moving, database.Wish(f"copy-{number}"))
        with psycopg.connect(database.url(moving, f"copy-{number}")) as connection:
            row = connection.execute(SUMS).fetchone()
        assert row is not None
        accounts, tellers, history, moves = row
        assert accounts == tellers == history
        seen.append(moves)
        database.delete_branch(moving, f"copy-{number}")
    assert seen == sorted(set(seen)), "each copy is of a later moment"


def test_a_branch_of_a_branch_that_is_written(moving: Project) -> None:
    database.refresh(moving)
    database.create_branch(moving, database.Wish("parent"))
    database.create_branch(moving, database.Wish("child", parent="parent"))
    with psycopg.connect(database.url(moving, "child")) as connection:
        row = connection.execute(SUMS).fetchone()
    assert row is not None
    assert row[0] == row[1] == row[2]
