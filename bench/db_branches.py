"""How long a branch takes to make, to reset and to wake, and what it costs in disk and memory.

    python -m bench.db_branches --gigabytes 1 --runs 5 --json bench/results/db_branches.json

On a file system that shares blocks: XFS in a file, mounted for the time of the run, which needs root and `mkfs.xfs`;
without them that part is left out.  On the ordinary one (copies), beside `pg_dump | psql` and `pg_basebackup` of the
same data on the same disk.  `make` is from the call until the branch answers a query; `disk` what the file system has
less of right after.  Last, `--many` branches of a source of 100 MB at once: their memory awake and asleep.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[1]
if not __package__:  # run as a file, not with -m
    sys.path.insert(0, str(REPOSITORY))

from bench.agents_start import summary, table  # noqa: E402
from bench.machine import describe  # noqa: E402

_ROWS_OF_A_GIGABYTE = 6_100_000
_FILL = """
CREATE TABLE public.filler_{part} AS
SELECT i AS id, md5(i::text) AS one, md5((-i)::text) AS two, md5((i * 7)::text) AS three, i % 1000 AS bucket
FROM generate_series(1, {rows}) AS i;
ALTER TABLE public.filler_{part} ADD PRIMARY KEY (id);
"""
Seen = dict[str, list[float]]


@contextlib.contextmanager
def xfs(gigabytes: float) -> Iterator[Path | None]:
    """Mount an XFS in a file, or yield None with the reason on standard error."""
    program = shutil.which("mkfs.xfs", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if os.geteuid() or not program:
        sys.stderr.write("without root and mkfs.xfs, file systems that share blocks are left out\n")
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="seatrial-bench-") as folder:
        image, place = Path(folder, "disk"), Path(folder, "mounted")
        with image.open("wb") as stream:
            stream.truncate(int((gigabytes * 3 + 8) * 2**30))
        place.mkdir()
        subprocess.run([program, "-q", "-m", "reflink=1", str(image)], check=True)
        subprocess.run(["mount", "-o", "loop", str(image), str(place)], check=True)
        Path(folder).chmod(0o711)
        place.chmod(0o711)
        try:
            yield place
        finally:
            subprocess.run(["umount", str(place)], check=True)


@contextlib.contextmanager
def project_on(folder: Path, gigabytes: float, **settings: str) -> Iterator[Any]:
    """Yield a project whose clusters lie on `folder`, with a production database of that size."""
    from seatrial import database
    from seatrial.database import production

    root = Path(tempfile.mkdtemp(prefix="bench-", dir=folder))
    root.chmod(0o711)
    os.environ.update({"SEATRIAL_HOME": str(root / "home"), "SEATRIAL_DB_FOLDER": str(root / "clusters"), **settings})
    (root / "shop").mkdir()
    project = database.init(root / "shop", name="bench")
    try:
        with production.cluster_of(project).connect("bench") as connection:
            connection.execute("SET ROLE bench_owner")
            parts = max(1, round(gigabytes))
            rows = int(_ROWS_OF_A_GIGABYTE * gigabytes / parts)
            for part in range(parts):
                connection.execute(_FILL.format(part=part, rows=rows).encode())
        yield project
    finally:
        database.down(project)
        project.records.close()
        shutil.rmtree(root)
        for name in settings:
            del os.environ[name]


def used(folder: Path) -> int:
    """Return the bytes in use on the file system of `folder`, after everything is written."""
    os.sync()
    found = os.statvfs(folder)
    return (found.f_blocks - found.f_bfree) * found.f_frsize


def timed(seen: Seen, key: str, work: Callable[[], Any]) -> Any:
    """Run `work`, note its seconds under `key`, and return its result."""
    begin = time.perf_counter()
    result = work()
    seen.setdefault(key, []).append(time.perf_counter() - begin)
    sys.stderr.write(f"{key}: {seen[key][-1]:.3f} s\n")
    return result


def answer(project: Any, branch: Any) -> None:
    """Ask a branch something, as its owner."""
    from seatrial.database import branches
    from seatrial.database.postgres import connect

    with connect(branches.dsn(project, branch)) as connection:
        connection.execute("SELECT 1")


def measure_branches(project: Any, runs: int, seen: Seen, label: str, disk: dict[str, float]) -> None:
    """Make, reset, wake and delete branches of the project."""
    import psycopg

    from seatrial import database
    from seatrial.database import branches

    timed(seen, f"{label}: golden copy of the running server", lambda: database.refresh(project))

    def make(name: str) -> Any:
        made = database.create_branch(project, database.Wish(name))
        answer(project, made)
        return made

    def reset(made: Any) -> None:
        answer(project, database.reset_branch(project, made.name))

    def visit(address: str) -> None:
        psycopg.connect(address).close()

    taken = []
    for run in range(runs):
        before = used(project.clusters)
        made = timed(seen, f"{label}: make", partial(make, f"bench-{run}"))
        taken.append((used(project.clusters) - before) / 2**20)
        timed(seen, f"{label}: reset", partial(reset, made))
        address = database.url(project, made.name)
        branches.cluster_of(project, made).stop()
        timed(seen, f"{label}: wake on connect", partial(visit, address))
        database.delete_branch(project, made.name)
    disk[f"{label}: disk of a new branch, MB"] = round(sorted(taken)[len(taken) // 2], 1)


def measure_others(project: Any, seen: Seen) -> None:
    """Copy the same data as people do without branches: dump and restore, and a base backup."""
    from seatrial.database import production
    from seatrial.database.postgres import Cluster
    from seatrial.database.postgres.cluster import write_as_account

    programs = project.installation
    blank = production.copy_blank(project, project.branches / "other", "secret")
    blank.start()
    golden = production.cluster_of(project)
    environment = {**os.environ, "PGPASSWORD": golden.password}
    with blank.connect() as connection:
        connection.execute("CREATE DATABASE copy")

    def dump_and_restore() -> None:
        dump = subprocess.Popen(
            [programs.program("pg_dump"), "--no-owner", "--no-acl", golden.dsn("bench")],
            stdout=subprocess.PIPE,
            env=environment,
        )
        subprocess.run(
            [programs.program("psql"), "-q", "-o", os.devnull, blank.dsn("copy")], stdin=dump.stdout, check=True
        )
        dump.wait()

    timed(seen, "copy: pg_dump | psql", dump_and_restore)
    blank.stop()
    shutil.rmtree(blank.folder)
    golden.stop()
    write_as_account(
        golden.folder / "data" / "replication.conf",
        "local all all scram-sha-256\nlocal replication all scram-sha-256\n",
    )
    open_ = Cluster(
        golden.folder,
        golden.installation,
        golden.password,
        {**(golden.settings or {}), "max_wal_senders": "4", "hba_file": str(golden.data / "replication.conf")},
    )
    open_.start()
    target = project.branches / "backup"
    target.mkdir(mode=0o711)

    def base_backup() -> None:
        command = [programs.program("pg_basebackup"), "-d", open_.dsn(), "-D", str(target / "data"), "-c", "fast"]
        subprocess.run([*command, "-X", "stream", "--no-sync"], check=True)
        subprocess.run(["chown", "-R", str(golden.data.stat().st_uid), str(target)], check=True)
        copy = Cluster(target, golden.installation, golden.password)
        copy.start()
        copy.stop()

    timed(seen, "copy: pg_basebackup, and start", base_backup)
    shutil.rmtree(target)
    open_.stop()
    golden.start()


def measure_many(folder: Path, many: int, seen: Seen) -> dict[str, float]:
    """Make many branches of a source of 100 MB, connect to all at once, then let them sleep."""
    import psycopg

    from seatrial import database
    from seatrial.database import branches
    from seatrial.database.service.control import resident_bytes

    settings = {"SEATRIAL_DB_SLEEP_SECONDS": "3", "SEATRIAL_DB_MAX_BRANCHES": str(many + 5)}
    with project_on(folder, 0.1, **settings) as project:
        made = [
            timed(seen, "many: make", partial(database.create_branch, project, database.Wish(f"many-{n}")))
            for n in range(many)
        ]
        clusters = [branches.cluster_of(project, branch) for branch in made]
        clients = [psycopg.connect(database.url(project, branch.name)) for branch in made]
        for client in clients:
            client.execute("SELECT count(*) FROM filler_0 WHERE bucket = 7")
        serving = sum(map(resident_bytes, clusters)) / many / 2**20
        for client in clients:
            client.close()
        time.sleep(1)
        awake = sum(map(resident_bytes, clusters)) / many / 2**20
        end = time.monotonic() + 120
        while any(cluster.pid() for cluster in clusters) and time.monotonic() < end:
            time.sleep(0.5)
        asleep = sum(map(resident_bytes, clusters)) / many / 2**20
        service = database.running(project)
        assert service is not None
        rollup = Path(f"/proc/{service.pid}/smaps_rollup").read_text()
        own = int(next(line for line in rollup.splitlines() if line.startswith("Pss:")).split()[1]) / 1024
    return {
        "branches": many,
        "memory of each while a client asks, MB": round(serving, 1),
        "memory of each, idle, MB": round(awake, 1),
        "memory of each, asleep, MB": round(asleep, 1),
        "memory of the service, MB": round(own, 1),
    }


def main() -> None:
    """Measure, print, and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--gigabytes", type=float, default=1.0, help="size of the source")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--many", type=int, default=50, help="branches at once (0 leaves it out)")
    parser.add_argument("--no-copies", action="store_true", help="leave out the ordinary file system")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    seen: Seen = {}
    facts: dict[str, float] = {}
    with xfs(options.gigabytes) as place:
        if place:
            with project_on(place, options.gigabytes) as project:
                measure_branches(project, options.runs, seen, "clone", facts)
            if options.many:
                facts.update(measure_many(place, options.many, seen))
    if not options.no_copies:
        with tempfile.TemporaryDirectory(prefix="seatrial-bench-", dir="/var/tmp") as folder:
            Path(folder).chmod(0o711)
            with project_on(Path(folder), options.gigabytes) as project:
                measure_branches(project, max(1, options.runs // 2), seen, "copy", facts)
                measure_others(project, seen)
    result = {
        "machine": describe(),
        "gigabytes": options.gigabytes,
        "seconds": {key: summary(v, 3) for key, v in seen.items()},
        "facts": facts,
    }
    print(table({key: summary(v, 3) for key, v in seen.items()}, "seconds", 3))
    for name, value in facts.items():
        print(f"{name}: {value}")
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
