"""The matrix of attacks on the newest and the oldest server: every outcome, and production as it was (11, 12, 39)."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from seatrial import database
from tests.integration.database.attacks import ATTACKS, Attack, Stage, state_of_production
from tests.integration.database.conftest import INSTALLATIONS, Home


@pytest.fixture(scope="module")
def stage(shop_home: Home) -> Iterator[Stage]:
    """The attacker's branch, made once for all rows."""
    project = database.find_project(shop_home.root)
    yield Stage(project)
    database.delete_branch(project, "attacker")
    project.records.close()


def test_the_matrix_is_whole() -> None:
    assert len({attack.id for attack in ATTACKS}) == len(ATTACKS) == 59
    assert not [attack for attack in ATTACKS if "ALLOWED" in attack.expected + attack.on_oldest]


@pytest.mark.parametrize("attack", ATTACKS, ids=[attack.id for attack in ATTACKS])
def test_production_is_as_it_was(stage: Stage, attack: Attack) -> None:
    before = state_of_production(stage.project)
    with psycopg.connect(database.url(stage.project)) as honest:
        outcome = attack.attempt(stage)
        assert honest.execute("SELECT count(*) FROM orders").fetchone() == (1000,)
    oldest = len(INSTALLATIONS) > 1 and stage.project.installation.major == INSTALLATIONS[-1].major
    assert outcome == attack.outcome(oldest)
    assert state_of_production(stage.project) == before
