"""A report with everything in it, for the tests of text and page."""

from __future__ import annotations

from seatrial.database.effect.report import (
    EffectReport,
    Facet,
    Finding,
    Hazard,
    Lock,
    Loss,
    Named,
    ObjectChange,
    Offer,
    Place,
    PlanChange,
    PlanSummary,
    Rewriting,
    Rows,
    Scan,
    Size,
    StatementEffect,
    Timeouts,
    Undo,
)

STATEMENTS = (
    StatementEffect(
        1,
        "ALTER TABLE users ALTER COLUMN id TYPE bigint",
        1,
        "ALTER TABLE",
        1,
        True,
        duration_ms=13417.2,
        wal_bytes=23_261_000,
        locks=(
            Lock("public.users", "AccessExclusiveLock", 15_900.5),
            Lock("public.users_pkey", "AccessExclusiveLock", 15_900.5),
        ),
        rewritten=("public.users", "public.users_pkey"),
        scans=(Scan("public.users", 200_000),),
    ),
    StatementEffect(
        2,
        "DELETE FROM orders\n WHERE id % 2 = 0",
        3,
        "DELETE",
        1,
        True,
        duration_ms=2482.0,
        wal_bytes=5_617_000,
        locks=(Lock("public.orders", "RowExclusiveLock", 2500.0),),
        rows=(Rows("public.orders", 0, 0, 100_000),),
        losses=(Loss("rows", "public.orders", 100_000),),
        hidden_code=("trigger audit on public.orders runs public.note_change",),
    ),
    StatementEffect(
        3,
        "DROP TABLE old_stuff CASCADE",
        6,
        "DROP TABLE",
        1,
        True,
        duration_ms=2.4,
        wal_bytes=2048,
        locks=(Lock("public.old_stuff", "AccessExclusiveLock", 3.0),),
        dropped=(Named("table", "public.old_stuff"), Named("view", "public.v_old")),
        losses=(Loss("rows", "public.old_stuff", 1),),
        notices=("NOTICE: drop cascades to view v_old",),
    ),
    StatementEffect(
        4,
        "CREATE INDEX CONCURRENTLY users_email ON users (email)",
        7,
        "CREATE INDEX",
        2,
        False,
        duration_ms=5604.0,
        wal_bytes=5_703_000,
        locks=(Lock("public.users", "ShareUpdateExclusiveLock", 5604.0, is_measured=False),),
        created=(Named("index", "public.users_email"),),
        indexes_built=("public.users_email",),
    ),
)
CHANGES = (
    ObjectChange(
        "changed",
        "column",
        "public.users.id",
        "Column public.users.id: type integer → bigint.",
        (Facet("type", "integer", "bigint"),),
    ),
    ObjectChange("removed", "view", "public.v_old", "View public.v_old is removed.", ()),
    ObjectChange(
        "changed",
        "function",
        "public.total(integer)",
        "Function public.total(integer): body changed.",
        (
            Facet(
                "body",
                "BEGIN\n  RETURN (SELECT sum(amount) FROM orders WHERE customer = $1);\nEND",
                "BEGIN\n  -- without cancelled ones\n"
                "  RETURN (SELECT sum(amount) FROM orders WHERE customer = $1 AND NOT cancelled);\nEND",
            ),
        ),
    ),
    ObjectChange(
        "added",
        "index",
        "public.users_email",
        "Index public.users_email is added.",
        (Facet("definition", "", "CREATE INDEX users_email ON public.users USING btree (email)"),),
    ),
)
FIELDS: dict[str, object] = {
    "outcome": "ok",
    "server": "18.4",
    "timeouts": Timeouts(),
    "statements": STATEMENTS,
    "hazards": (
        Hazard("BUILDS_INDEX", "low", (Place(4, ("public.users_email",), "It builds public.users_email."),)),
        Hazard(
            "DROPS_DATA",
            "high",
            (
                Place(2, ("public.orders",), "Lost: 100,000 deleted rows of public.orders."),
                Place(3, ("public.old_stuff",), "Lost: 1 rows of public.old_stuff."),
            ),
        ),
        Hazard("CHANGES_PLAN", "medium", (Place(0, ("open orders",), "open orders: reads all of orders."),)),
    ),
    "findings": (
        Finding("type-change", 1, 1, "Code that reads users.id as integer may overflow.", "Deploy it first."),
    ),
    "offers": (
        Offer(
            1,
            Rewriting(
                "Expand and contract: fill a second column, then exchange the two",
                ("ALTER TABLE users ADD COLUMN id_new bigint", "UPDATE users SET id_new = id"),
                False,
                "The old column is dropped in a later change.",
                (2,),
            ),
        ),
    ),
    "changes": CHANGES,
    "base_fingerprint": "a" * 64,
    "result_fingerprint": "b" * 64,
    "sizes": (Size("public.users", 48_234_496, 200_000), Size("public.orders", 9_437_184, None)),
    "plans": (
        PlanChange(
            "open orders",
            "SELECT * FROM orders WHERE open",
            PlanSummary(12.5, 4, ("Index Scan using orders_open on orders",), (), ("orders_open",)),
            PlanSummary(4123.0, 1200, ("Seq Scan on orders",), ("orders",), ()),
            ("It now reads all of orders.",),
        ),
    ),
    "undo": Undo("ALTER TABLE users ALTER COLUMN id TYPE integer;", False, ("The deleted rows cannot come back.",)),
    "invalid_indexes": (),
    "unchecked_constraints": (),
    "notes": ("The copy has 200,000 users.",),
}


def example(**changes: object) -> EffectReport:
    """Return a report; `changes` replace fields of it."""
    return EffectReport(**{**FIELDS, **changes})  # type: ignore[arg-type]
