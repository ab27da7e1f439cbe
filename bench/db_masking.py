"""How long a masked golden copy of a million rows takes, beside the same without masking and a plain dump and restore.

    python -m bench.db_masking --rows 1000000 --json bench/results/db_masking.json

One table (id, email, name, phone, note, created), four of its columns masked, all values different.  In one run:
`masked` and `unmasked` are whole refreshes by dump and restore, from the call to the frozen copy;
`pg_dump | pg_restore` is that pipe alone, into an empty database of a server that runs already; `masking alone` is the
work on the rows without any server, in one process.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[1]
if not __package__:  # run as a file, not with -m
    sys.path.insert(0, str(REPOSITORY))

_SCHEMA = """
CREATE TABLE public.users (id bigint PRIMARY KEY, email text NOT NULL UNIQUE, name text NOT NULL, phone text, note text,
                    created timestamptz NOT NULL);
"""
_FILL = """
INSERT INTO public.users SELECT i, 'person' || i || '@mail' || i % 97 || '.example',
  'First' || i % 5000 || ' Last' || i,
  '+49 ' || 1000000000 + (i * 7919::bigint) % 8999999999,
  'Called about order ' || i || ', wants it by the ' || i % 28 || 'th, speaks ' || md5(i::text),
  timestamptz '2020-01-01' + i * interval '1 minute' FROM generate_series(1, %s) i
"""
_POLICY = """
version = 1
[tables."public.users"]
id = "keep"
email = "email"
name = "name"
phone = "phone"
note = "text"
created = "keep"
"""


@contextmanager
def shop(rows: int) -> Iterator[Any]:
    """Give a project whose production holds the table."""
    folder = Path(tempfile.mkdtemp(prefix="seatrial-bench-"))
    folder.chmod(0o711)
    os.environ.update(SEATRIAL_HOME=str(folder / "state"), SEATRIAL_DB_FOLDER=str(folder / "clusters"))
    from seatrial import database
    from seatrial.database import production

    root = folder / "shop"
    root.mkdir()
    (root / "schema.sql").write_text(_SCHEMA)
    (root / "masking.toml").write_text(_POLICY)
    project = database.init(root, name="shop", load=root / "schema.sql")
    try:
        with production.cluster_of(project).connect("shop", pinned={"search_path": "public"}) as connection:
            connection.execute(_FILL.replace("%s", str(int(rows))).encode())
            connection.execute("VACUUM ANALYZE")
        yield project
    finally:
        database.down(project)
        shutil.rmtree(folder)


def refreshed(project: Any, masking: str) -> float:
    """Seconds of one refresh by dump and restore; the copy is removed again."""
    from seatrial.database import find_project, snapshots
    from seatrial.database.sources import refresh

    os.environ["SEATRIAL_DB_MASKING"] = masking
    project = find_project(project.root)
    begin = time.perf_counter()
    made = refresh.refresh(project) if masking else refresh.refresh_by_dump(project)
    took = time.perf_counter() - begin
    snapshots.delete(project, made)
    return took


def piped(project: Any) -> float:
    """Seconds of pg_dump | pg_restore into another database of the same server."""
    from seatrial.database import production
    from seatrial.database.sources import address

    cluster = production.cluster_of(project)
    with cluster.connect() as connection:
        connection.execute("CREATE DATABASE other")
    environment = address.environment(cluster.dsn("shop"))
    dump, restore = (project.installation.program(name) for name in ("pg_dump", "pg_restore"))
    begin = time.perf_counter()
    with subprocess.Popen([dump, "-Fc", "-Z0"], stdout=subprocess.PIPE, env=environment) as first:
        subprocess.run([restore, "-d", "other"], stdin=first.stdout, env=environment, check=True)
    took = time.perf_counter() - begin
    with cluster.connect() as connection:
        connection.execute("DROP DATABASE other")
    return took


def alone(rows: int) -> float:
    """Seconds of masking as many rows in this process."""
    from seatrial.database.masking import coverage, policy
    from seatrial.database.masking.columns import Column, Table
    from seatrial.database.masking.keyed import Keyed
    from seatrial.database.sources.rows import masked

    names = ("id", "email", "name", "phone", "note", "created")
    columns = tuple(Column(name, name, "text", "text") for name in names)
    table = Table("public.users", False, "", 0, columns)
    masks = coverage.fields(policy.parse(_POLICY), table, columns, Keyed(b"bench"))
    took = 0.0
    for start in range(0, rows, 2000):
        batch = "".join(
            f"{i}\tperson{i}@mail{i % 97}.example\tFirst{i % 5000} Last{i}\t"
            f"+49 {1000000000 + (i * 7919) % 8999999999}\t"
            f"Called about order {i}, wants it by the {i % 28}th, speaks {i:032x}\t2020-01-01 00:00:00+00\n"
            for i in range(start, min(start + 2000, rows))
        ).encode()
        begin = time.perf_counter()
        masked(batch, masks)
        took += time.perf_counter() - begin
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    from bench import machine
    from bench.agents_start import summary, table

    seen: dict[str, list[float]] = {"masked": [], "unmasked": [], "pg_dump | pg_restore": [], "masking alone": []}
    with shop(options.rows) as project:
        for _ in range(options.runs):
            seen["masked"].append(refreshed(project, "masking.toml"))
            seen["unmasked"].append(refreshed(project, ""))
            seen["pg_dump | pg_restore"].append(piped(project))
            seen["masking alone"].append(alone(options.rows))
    rows = {name: summary(values, 2) for name, values in seen.items()}
    sys.stdout.write(table(rows, "s", 2))
    if options.json:
        found = {"machine": machine.describe(), "rows": options.rows, "runs": options.runs, "seconds": rows}
        options.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
