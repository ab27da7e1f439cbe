"""How long a schema of 2,000 tables takes to read, fingerprint and compare, beside `pg_dump --schema-only` of the same.

    python -m bench.db_catalog --tables 2000 --runs 5 --json bench/results/db_catalog.json

Each table has 8 columns, a primary key, an index, a unique, a check and a foreign key constraint.  The server is the
newest that is installed, over a socket, on its first connection's warm catalog as after any work.  `read` is the
catalog as objects, `whole` a read, its fingerprint and the difference to an earlier state.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[1]
if not __package__:  # run as a file, not with -m
    sys.path.insert(0, str(REPOSITORY))

from bench.agents_start import summary, table  # noqa: E402

_TABLE = """
CREATE TABLE public.table_{n} (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, email text NOT NULL UNIQUE,
    name varchar(200) DEFAULT 'x', amount numeric(12, 2) CHECK (amount >= 0), data jsonb,
    created timestamptz NOT NULL DEFAULT now(), other bigint REFERENCES public.table_{previous},
    active boolean NOT NULL DEFAULT true);
CREATE INDEX ON public.table_{n} (created);
"""
_AT_ONCE = 100
_CHANGED = 20


def make_tables(connection: Any, tables: int) -> None:
    """Make the tables, each transaction some, so that the server's locks suffice."""
    for first in range(0, tables, _AT_ONCE):
        numbers = range(first, min(tables, first + _AT_ONCE))
        connection.execute("\n".join(_TABLE.format(n=n, previous=max(n - 1, 0)) for n in numbers))


def _measure(folder: Path, tables: int, runs: int) -> tuple[dict[str, dict[str, float]], dict[str, Any]]:
    from seatrial.database.catalog import diff, read
    from seatrial.database.postgres import Cluster, choose
    from seatrial.database.postgres.cluster import create
    from seatrial.database.postgres.connection import PINNED

    seen: dict[str, list[float]] = {}

    def note(key: str, work: Callable[[], Any]) -> Any:
        begin = time.perf_counter()
        result = work()
        seen.setdefault(key, []).append(time.perf_counter() - begin)
        sys.stderr.write(f"{key}: {seen[key][-1]:.3f} s\n")
        return result

    made = create(folder / "server", choose())
    settings = {"max_locks_per_transaction": "1024", "fsync": "off", "jit": "off"}
    cluster = Cluster(made.folder, made.installation, made.password, settings)
    cluster.start()
    try:
        with cluster.connect("postgres", pinned=PINNED) as connection:
            make_tables(connection, tables)
            earlier = read(connection)
            for number in range(_CHANGED):
                connection.execute(f"ALTER TABLE table_{number} ADD added int, ALTER name SET DEFAULT 'y'")
            dump = [str(made.installation.programs / "pg_dump"), "--schema-only", "--dbname", cluster.dsn("postgres")]
            for _ in range(runs):
                begin = time.perf_counter()
                later = note("read", lambda: read(connection))
                note("fingerprint", partial(getattr, later, "fingerprint"))
                changes = note("diff", partial(diff, earlier, later))
                seen.setdefault("whole", []).append(time.perf_counter() - begin)
                note("pg_dump --schema-only", lambda: subprocess.run(dump, check=True, capture_output=True))
            if len(changes) != 2 * _CHANGED:
                raise SystemExit(f"{len(changes)} changes were found, not {2 * _CHANGED}")
            facts = {"postgres": made.installation.major, "tables": tables, "objects": len(later.objects)}
    finally:
        cluster.stop(immediate=True)
    return {key: summary(values, 3) for key, values in seen.items()}, facts


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--tables", type=int, default=2000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    from bench import machine

    with tempfile.TemporaryDirectory(prefix="seatrial-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        os.environ["SEATRIAL_HOME"] = f"{name}/home"
        rows, facts = _measure(folder, options.tables, options.runs)
    facts["pg_dump / whole"] = round(rows["pg_dump --schema-only"]["median"] / rows["whole"]["median"], 2)
    sys.stdout.write(table(rows, "s", 3) + f"pg_dump / whole: {facts['pg_dump / whole']}\n")
    if options.json:
        found = {"machine": machine.describe(), "runs": options.runs, **facts, "seconds": rows}
        options.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
