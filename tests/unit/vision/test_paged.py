"""Attention over pages: every implementation against the definition in NumPy, in steps that share pages."""

from __future__ import annotations

import numpy as np
import pytest

from seatrial.errors import CapacityError
from seatrial.vision.checkpoint import Model
from seatrial.vision.kv import KvCache, PagePool
from seatrial.vision.ops import available, select
from seatrial.vision.ops.protocol import PAGE_POSITIONS, AttentionPrecision, KvPrecision, Ops, PageTables

SHAPES = [(9, 3, 64), (4, 4, 64), (2, 1, 72), (6, 2, 16), (3, 3, 8), (15, 5, 64)]
"""Heads, groups, channels of a head."""
STEPS: list[tuple[list[int], list[int]]] = [
    ([128, 0, 0, 0], [0, 0, 0, 0]),
    ([1, 3, 70, 200], [128, 128, 128, 0]),
    ([1, 1, 1, 1], [129, 131, 198, 200]),
    ([0, 2, 1, 0], [130, 132, 199, 201]),
    ([5, 0, 0, 61], [130, 134, 200, 201]),
]
"""New rows of each of four sequences, and how long each was; the first three share two pages."""
TABLES = np.array([[0, 1, 2, 3, 4], [0, 1, 5, 6, 7], [0, 1, 8, 9, 10], [11, 12, 13, 14, 15]], np.int32)


@pytest.fixture(params=[name for name in available() if name != "reference"])
def ops(request: pytest.FixtureRequest) -> Ops:
    return select(request.param)


def run(
    both: list[Ops],
    pools: list[np.ndarray],
    shape: tuple[int, int, int],
    step: int,
    precision: AttentionPrecision,
    kv: KvPrecision = "same",
) -> list[np.ndarray]:
    """Run a step on all `both`; returns their results."""
    counts, lengths = (np.array(values, np.int32) for values in STEPS[step])
    heads, groups, size = shape
    random = np.random.default_rng(step)
    rows = int(counts.sum())
    q, k, v = (random.standard_normal((rows, n, size), dtype=np.float32) for n in (heads, groups, groups))
    angles = random.standard_normal((rows, size // 2), dtype=np.float32)
    where = PageTables(TABLES, lengths, counts)
    return [
        ops.paged_attention(q, k, v, np.cos(angles), np.sin(angles), pool, 1, where, precision, kv)
        for ops, pool in zip(both, pools, strict=True)
    ]


@pytest.mark.parametrize("kv", ["same", "int8"])
@pytest.mark.parametrize("precision", ["f32", "bf16"])
@pytest.mark.parametrize("shape", SHAPES)
def test_equals_the_definition(
    ops: Ops, shape: tuple[int, int, int], precision: AttentionPrecision, kv: KvPrecision
) -> None:
    """Bounds: f32 5e-6; bf16 2^-6, as weights are rounded before they are normalised or after.

    int8 adds what a value halfway between two whole numbers moves when the rotation differs in its last bit.
    """
    both = [select("reference"), ops]
    pools = [np.zeros((16, 2, shape[1], o.page_bytes(shape[2], precision, kv)), np.uint8) for o in both]
    for step in range(len(STEPS)):
        wanted, got = run(both, pools, shape, step, precision, kv)
        assert np.abs(got - wanted).max() < (5e-6 if precision == "f32" else 2**-6)
    assert not pools[1][:, 0].any()  # the other layer is left alone


@pytest.mark.parametrize("kv", ["same", "int8"])
def test_what_lay_in_a_page_before_does_not_matter(ops: Ops, kv: KvPrecision) -> None:
    """Not even numbers that are none."""
    both, size = [ops, ops], (16, 2, 3, ops.page_bytes(64, "f32", kv))
    pools = [np.zeros(size, np.uint8), np.full(size, 255, np.uint8)]
    for step in range(len(STEPS)):
        clean, used = run(both, pools, (9, 3, 64), step, "f32", kv)
        assert np.array_equal(clean, used)


def test_pages_of_others_are_left_alone(ops: Ops) -> None:
    pool = np.full((16, 2, 3, ops.page_bytes(64, "f32")), 7, np.uint8)
    pool[[0, 1]] = 0
    run([ops], [pool], (9, 3, 64), 0, "f32")
    assert (pool[2:] == 7).all()


@pytest.mark.parametrize(
    ("tables", "lengths", "counts"),
    [
        ([[0, 99]], [64], [1]),  # no such page
        ([[0, -1]], [64], [1]),
        ([[0]], [64], [1]),  # no page for the position
        ([[0]], [0], [2]),  # fewer rows than said
        ([[0]], [-5], [1]),
    ],
)
def test_wrong_tables_are_refused(ops: Ops, tables: list[list[int]], lengths: list[int], counts: list[int]) -> None:
    pool = np.zeros((4, 1, 1, ops.page_bytes(8, "f32")), np.uint8)
    x = np.zeros((1, 1, 8), np.float32)
    turn = np.ones((1, 4), np.float32)
    where = PageTables(*(np.array(values, np.int32) for values in (tables, lengths, counts)))
    with pytest.raises(ValueError, match=r"page|rows"):
        ops.paged_attention(x, x, x, turn, turn, pool, 0, where, "f32")


# ---- pages and who holds them ----------------------------------------------------------------------------------


@pytest.fixture
def pool(small: Model) -> PagePool:
    return PagePool(small.decoder.config, small.ops, "f32", 4 * PAGE_POSITIONS)


def filled(pool: PagePool, positions: int) -> KvCache:
    cache = KvCache(pool)
    cache.reserve(positions)
    cache.advance(positions)
    return cache


def test_a_fork_shares_whole_pages_and_copies_the_last(pool: PagePool) -> None:
    cache = filled(pool, PAGE_POSITIONS + 5)
    pool.array[cache.pages[1]] = 3
    twin = cache.fork(PAGE_POSITIONS + 2)
    assert twin.pages[0] == cache.pages[0]
    assert twin.pages[1] != cache.pages[1]
    assert (pool.array[twin.pages[1]] == 3).all()
    cache.release()
    assert pool.free == 2
    twin.release()
    assert pool.free == 4


def test_cutting_gives_pages_back(pool: PagePool) -> None:
    cache = filled(pool, 3 * PAGE_POSITIONS)
    cache.cut(PAGE_POSITIONS + 1)
    assert (len(cache.pages), pool.free) == (2, 2)


def test_a_full_pool_says_so(pool: PagePool) -> None:
    filled(pool, 4 * PAGE_POSITIONS)
    with pytest.raises(CapacityError, match="All 256 positions"):
        pool.take()
