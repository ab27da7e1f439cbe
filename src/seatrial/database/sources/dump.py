"""The schema by the server's own programs: dumped into memory, restored in two halves with the rows in between."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from seatrial.database.postgres import Installation
from seatrial.database.sources import address
from seatrial.errors import SourceError

_LEFT_OUT = ("--exclude-schema=seatrial", "--no-subscriptions", "--no-security-labels", "--no-tablespaces")
_PASSWORDS = re.compile(r"^\d+; \d+ \d+ (USER MAPPING|SUBSCRIPTION) ")
_ERROR = re.compile(r"(?:ERROR|FATAL):\s+(.+)|error: (.+)")


@dataclass(frozen=True)
class Schema:
    """A schema as `pg_dump` archives it; it is never written to a disk."""

    archive: bytes
    installation: Installation

    def restore(self, section: str, url: str, jobs: int = 1) -> None:
        """Restore `pre-data` (tables) or `post-data` (indexes, keys, triggers) into a database, as its superuser.

        Raises SourceError with the first thing that the server refuses, for example a constraint that rows violate.
        """
        with _in_memory(self.archive) as archive, _in_memory(self._contents(archive)) as contents:
            arguments = ["--exit-on-error", f"--section={section}", f"--jobs={jobs}", f"--use-list={contents}"]
            database = address.environment(url)["PGDATABASE"]
            self._run("pg_restore", [*arguments, f"--dbname={database}", archive], url, "The copy is not accepted")

    def _contents(self, archive: str) -> bytes:
        listed = self._run("pg_restore", ["--list", archive], "", "The schema cannot be read")
        # Their options are passwords: these must not even be written to be dropped again.
        return "\n".join(line for line in listed.decode().splitlines() if not _PASSWORDS.match(line)).encode()

    def _run(self, program: str, arguments: list[str], url: str, doing: str) -> bytes:
        return run_program(self.installation, program, arguments, url, doing)


def schema(installation: Installation, url: str, snapshot: str, *, comments: bool) -> Schema:
    """Dump the schema as the exported `snapshot` sees it; SourceError says why it cannot be."""
    arguments = ["--format=custom", "--schema-only", f"--snapshot={snapshot}", *_LEFT_OUT]
    if not comments:
        arguments.append("--no-comments")
    return Schema(run_program(installation, "pg_dump", arguments, url, "The schema cannot be dumped"), installation)


def run_program(installation: Installation, program: str, arguments: list[str], url: str, doing: str) -> bytes:
    """Run a client program with the connection in its environment, and return what it prints; SourceError else."""
    done = subprocess.run(
        [installation.program(program), *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=address.environment(url),
        cwd="/",
        pass_fds=[int(part) for word in arguments for part in re.findall(r"/proc/self/fd/(\d+)$", word)],
        check=False,
    )
    if done.returncode:
        told = done.stderr.decode(errors="replace")
        match = _ERROR.search(told)
        said = ((match[1] or match[2]) if match else (told.strip().splitlines() or ["no reason given"])[-1]).strip()
        raise SourceError(f"{doing}: {said.rstrip('.')}.")
    return done.stdout


@contextmanager
def _in_memory(content: bytes) -> Iterator[str]:
    """Give the name of a file that is in no folder."""
    descriptor = os.memfd_create("seatrial")
    try:
        with os.fdopen(descriptor, "wb", closefd=False) as stream:
            stream.write(content)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
