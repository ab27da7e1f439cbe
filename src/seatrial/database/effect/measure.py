"""Measuring a change: its statements are run on a throw-away copy exactly as applying will run them.

Everything is seen by one connection of the deployer's role, which is no superuser: code that the change plants in the
copy runs with the rights that it would have in production, and with no more.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import psycopg

from seatrial.database import catalog
from seatrial.database.effect import losses, observe, plans
from seatrial.database.effect.assemble import Measured, assemble
from seatrial.database.effect.execute import notices, said, send
from seatrial.database.effect.hidden import hidden_code
from seatrial.database.effect.observe import Snapshot
from seatrial.database.effect.report import EffectReport, Failure, Loss, Query, StatementEffect, Timeouts
from seatrial.database.effect.seen import effect_of, with_locks_held
from seatrial.database.postgres.connection import PINNED, explain
from seatrial.database.statements import Group, Statement, group
from seatrial.errors import RefusedError

_SAVEPOINT = "seatrial_measure"


def measure(
    connect: Callable[[], psycopg.Connection[Any]],
    statements: Sequence[Statement],
    *,
    roles: Mapping[str, str] | None = None,
    timeouts: Timeouts | None = None,
    queries: Sequence[Query] = (),
    after_group: Callable[[psycopg.Connection[Any]], None] | None = None,
) -> EffectReport:
    """Run `statements` on a copy of production and return what they did; the copy is used up.

    `connect` opens an autocommit connection to the copy as the deployer's role.  `roles` are the names to show for
    the copy's roles, as for `catalog.read`, `queries` those whose plans are compared.  A statement that fails is
    reported, not raised.  `after_group` is called with the connection after each transaction.

    Raises PostgresError when the copy cannot be reached, or the connection breaks, and RefusedError when `connect`
    gives a superuser's.
    """
    timeouts = timeouts or Timeouts()
    with closing(connect()) as connection:
        try:
            connection.prepare_threshold = None
            _refuse_superusers(connection)
            _pin(connection, timeouts)
            schema = catalog.read(connection, roles=roles)
            base = observe.look(connection)
            sizes = observe.sizes(connection, base)
            before_plans = plans.explain(connection, queries)
            run = _Run(connection, group(statements), after_group)
            run.all()
            result = catalog.read(connection, roles=roles)
            return assemble(
                connection,
                Measured(
                    tuple(statements),
                    timeouts,
                    tuple(run.effects),
                    run.failure,
                    base,
                    observe.look(connection),
                    sizes,
                    schema,
                    result,
                    plans.compare(queries, before_plans, plans.explain(connection, queries)),
                    roles,
                ),
            )
        except psycopg.Error as problem:
            raise explain(problem, "Measuring the change on the copy failed") from problem


def _refuse_superusers(connection: psycopg.Connection[Any]) -> None:
    row = connection.execute("SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user").fetchone()
    if row is None or row[0]:
        raise RefusedError(
            "A change is not measured as a superuser: code that it plants could do anything.",
            hint="Connect as the role that applies changes.",
        )


def _pin(connection: psycopg.Connection[Any], timeouts: Timeouts) -> None:
    wanted = {
        **PINNED,
        "lock_timeout": str(timeouts.lock_ms),
        "statement_timeout": str(timeouts.statement_ms),
        "idle_in_transaction_session_timeout": "0",
    }
    for name, value in wanted.items():
        connection.execute("SELECT pg_catalog.set_config(%s, %s, false)", (name, value))


@dataclass
class _Outcome:
    """One execution: how long, how much log, and what the server said."""

    milliseconds: float
    wal_bytes: int
    notices: tuple[str, ...]
    failure: Failure | None


class _Run:
    def __init__(
        self,
        connection: psycopg.Connection[Any],
        groups: Sequence[Group],
        after_group: Callable[[psycopg.Connection[Any]], None] | None,
    ) -> None:
        self.connection, self.groups, self.after_group = connection, groups, after_group
        self.effects: list[StatementEffect] = []
        self.failure: Failure | None = None
        self.new: set[int] = set()

    def all(self) -> None:
        """Run the groups in order, until one fails."""
        first = 1
        for number, entry in enumerate(self.groups, 1):
            if entry.transactional:
                self._transaction(entry, number, first)
            else:
                self._alone(entry.statements[0], number, first)
            first += len(entry.statements)
            if self.failure:
                return
            if self.after_group:
                self.after_group(self.connection)

    def _transaction(self, entry: Group, group_number: int, first: int) -> None:
        self.connection.execute("BEGIN")
        before = observe.look(self.connection)
        effects: list[StatementEffect] = []
        for number, statement in enumerate(entry.statements, first):
            is_last = number == first + len(entry.statements) - 1
            effect, before = self._step(statement, number, group_number, before, is_last)
            effects.append(effect)
            if self.failure:
                self.connection.execute("ROLLBACK")
                self.effects += with_locks_held(effects, 0.0)
                return
        begun = time.perf_counter()
        try:
            self.connection.execute("COMMIT")
        except psycopg.Error as problem:
            if self.connection.broken:
                raise
            self.failure = said(problem, entry.statements[-1], first + len(entry.statements) - 1)
        self.effects += with_locks_held(effects, _since(begun))

    def _step(
        self, statement: Statement, number: int, group_number: int, before: Snapshot, is_last: bool
    ) -> tuple[StatementEffect, Snapshot]:
        """Run one statement in the open transaction; return what it did and the state afterwards."""
        self.connection.execute(f"SAVEPOINT {_SAVEPOINT}")
        outcome = self._execute(statement, number, is_last)
        bare = _bare(statement, number, group_number, outcome)
        self.failure = outcome.failure
        if self.failure:
            return bare, before
        after = observe.look(self.connection)
        self.failure = _session_changed(before, after, statement, number)
        if self.failure:
            return bare, after
        code = hidden_code(self.connection, statement, before, after)
        lost, settled = self._count_losses(statement, number, before, after, is_last)
        if self.failure:
            return bare, after
        self.connection.execute(f"RELEASE SAVEPOINT {_SAVEPOINT}")
        effect = effect_of(bare, before, after, lost, self.new)
        self.new |= settled.relations.keys() - before.relations.keys()
        return replace(effect, hidden_code=code), settled

    def _count_losses(
        self, statement: Statement, number: int, before: Snapshot, after: Snapshot, is_last: bool
    ) -> tuple[list[Loss], Snapshot]:
        found = losses.suspects(self.connection, before, after)
        if not found:
            return [], after
        self.connection.execute(f"ROLLBACK TO SAVEPOINT {_SAVEPOINT}")
        lost = losses.count(self.connection, found, statement.text)
        # Once more, so that the locks of counting are given back as well.
        self.connection.execute(f"ROLLBACK TO SAVEPOINT {_SAVEPOINT}")
        self.failure = self._execute(statement, number, is_last).failure
        return lost, after if self.failure else observe.look(self.connection)

    def _alone(self, statement: Statement, group_number: int, number: int) -> None:
        before = observe.look(self.connection)
        outcome = self._execute(statement, number)
        after = observe.look(self.connection)
        self.failure = outcome.failure or _session_changed(before, after, statement, number)
        effect = effect_of(_bare(statement, number, group_number, outcome), before, after, [], self.new)
        self.new |= after.relations.keys() - before.relations.keys()
        self.effects += with_locks_held([effect], 0.0)

    def _execute(self, statement: Statement, number: int, is_last: bool = False) -> _Outcome:
        """Run one statement, and after the last of a transaction what is deferred to its commit, to see that too."""
        with notices(self.connection) as heard:
            position = observe.log_position(self.connection)
            begun = time.perf_counter()
            failure = send(self.connection, statement, number)
            if is_last and not failure:
                failure = self._deferred(statement, number)
            milliseconds = _since(begun)
        written = 0 if failure else observe.log_position(self.connection) - position
        return _Outcome(milliseconds, written, tuple(heard), failure)

    def _deferred(self, statement: Statement, number: int) -> Failure | None:
        try:
            self.connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
        except psycopg.Error as problem:
            if self.connection.broken:
                raise
            return said(problem, statement, number)
        return None


def _since(begun: float) -> float:
    return (time.perf_counter() - begun) * 1000


def _bare(statement: Statement, number: int, group_number: int, outcome: _Outcome) -> StatementEffect:
    return StatementEffect(
        number,
        statement.text,
        statement.line,
        statement.kind,
        group_number,
        statement.transactional,
        duration_ms=round(outcome.milliseconds, 3),
        wal_bytes=outcome.wal_bytes,
        notices=outcome.notices,
    )


def _session_changed(before: Snapshot, after: Snapshot, statement: Statement, number: int) -> Failure | None:
    names = sorted(
        name
        for name in before.session.keys() | after.session.keys()
        if before.session.get(name) != after.session.get(name)
    )
    if not names:
        return None
    return Failure(
        number,
        f"The statement changes the session ({', '.join(names)}), and with it what later statements mean.",
        hint="Give a function its settings in its definition (SET … in CREATE FUNCTION).",
        line=statement.line,
    )
