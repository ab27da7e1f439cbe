"""One Postgres cluster: a data folder, and the server that runs on it.

The server listens on one Unix socket in a private folder, asks everyone for a password (no `trust`, no `peer`), and
takes its settings from the command line, so that nothing inside the data folder can loosen them.
"""

from __future__ import annotations

import os
import re
import secrets
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo

from seatrial import paths
from seatrial.database import place
from seatrial.database.postgres.connection import OWN_NAMES, connect
from seatrial.database.postgres.installation import Installation, runnable
from seatrial.errors import PostgresError

SUPERUSER = "seatrial"
PORT = 5432
SMALL: Mapping[str, str] = {
    "shared_buffers": "16MB",
    "max_connections": "40",
    "wal_level": "replica",
    "max_wal_senders": "0",
    "max_replication_slots": "2",
    "max_logical_replication_workers": "0",
    "archive_mode": "off",
    "min_wal_size": "8MB",
    "max_wal_size": "256MB",
    "jit": "off",
}
"""Settings of a server that may be one of fifty: little memory, no replication, no archiving."""
_QUIET: Mapping[str, str] = {
    # Values of rows and passwords must not reach the log: no DETAIL lines, no statement texts.
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
    "log_statement": "none",
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "password_encryption": "scram-sha-256",
    "logging_collector": "off",
    "log_timezone": "UTC",
    "timezone": "UTC",
    # Nothing is preloaded: schedulers and background workers of the source must not wake up in a branch.
    "shared_preload_libraries": "",
    "session_preload_libraries": "",
    "local_preload_libraries": "",
    "ssl": "off",
}
_HBA = "# Written by Seatrial.\nlocal all all scram-sha-256\n"
_WAL_SEGMENTS = "--wal-segsize=4"
"""MiB: a new server writes into a segment of its own at once, and fifty branches do so."""
_START_SECONDS, _STOP_SECONDS, _GONE_SECONDS, _POLL_SECONDS = 120.0, 60.0, 5.0, 0.002


@dataclass(frozen=True)
class Cluster:
    """A cluster in `folder` (`data/`, `server.log`); `password` is the superuser's."""

    folder: Path
    installation: Installation
    password: str
    settings: Mapping[str, str] | None = None

    @property
    def data(self) -> Path:
        """The data folder."""
        return self.folder / "data"

    @property
    def log(self) -> Path:
        """What the server printed."""
        return self.folder / "server.log"

    def pid(self) -> int | None:
        """Return the process id of the running server, or None."""
        try:
            pid = int((self.data / "postmaster.pid").read_text().split("\n", 1)[0])
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (OSError, ValueError):
            return None
        # The file may be older than a restart of the machine: the number can be anybody's by now.
        return pid if str(self.data).encode() in command.split(b"\0") else None

    @property
    def is_ready(self) -> bool:
        """Whether the server takes connections."""
        try:
            return (self.data / "postmaster.pid").read_text().splitlines()[7].strip() == "ready"
        except (OSError, IndexError):
            return False

    def start(self) -> bool:
        """Start the server and wait until it takes connections; False when it was running already.

        Raises PostgresError with the last line of the log when it ends instead.
        """
        with paths.locked(self.folder.with_name(f".{self.folder.name}.lock")):
            if self.pid():
                return False
            self._prepare()
            self._let_go()
            with self.log.open("ab") as log:
                # By way of a shell that ends at once: as nobody's child, a server that is killed leaves no process
                # that its parent would have to take note of before another can be started.
                launched = subprocess.run(
                    ["/bin/sh", "-c", '"$@" >&2 & echo $!', "sh", *self._command()],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    env={"LC_ALL": "C", "TZ": "UTC", "PATH": "/usr/bin:/bin"},
                    cwd="/",
                    start_new_session=True,
                    check=True,
                    **as_account(),
                )
            self._wait_until_ready(int(launched.stdout))
            return True

    def stop(self, *, immediate: bool = False) -> bool:
        """Stop the server (open transactions are rolled back); False when it was not running.

        Raises PostgresError when it does not end.
        """
        with paths.locked(self.folder.with_name(f".{self.folder.name}.lock")):
            pid = self.pid()
            if pid is None:
                return False
            os.kill(pid, signal.SIGQUIT if immediate else signal.SIGINT)
            end = time.monotonic() + _STOP_SECONDS
            while _state(pid) not in ("", "Z"):
                if time.monotonic() > end:
                    raise PostgresError(f"The server of {self.folder} does not stop (process {pid}).")
                time.sleep(_POLL_SECONDS)
            return True

    def dsn(self, database: str = "postgres", user: str = SUPERUSER, password: str | None = None) -> str:
        """Return the connection string over the private socket."""
        return make_conninfo(
            host=str(place.sockets(self.folder)),
            port=PORT,
            dbname=database,
            user=user,
            password=self.password if password is None else password,
        )

    def connect(self, database: str = "postgres", **options: Any) -> psycopg.Connection[Any]:
        """Connect as the superuser.

        Names mean the server's own alone: in a branch others have planted functions and operators that would fit
        better, and a superuser that runs one of them makes its owner superuser (J1).
        """
        return connect(self.dsn(database), **{"pinned": OWN_NAMES, **options})

    def _prepare(self) -> None:
        write_as_account(self.data / "pg_hba.conf", _HBA)
        write_as_account(self.data / "pg_ident.conf", "")
        write_as_account(self.data / "postgresql.conf", "# Settings are given on the command line.\n")
        write_as_account(self.data / "postgresql.auto.conf", "")
        self.log.touch(mode=0o600)

    def _let_go(self) -> None:
        """Wait until a server that was killed is gone: until its parent notices, Postgres sees it as alive."""
        try:
            pid = int((self.data / "postmaster.pid").read_text().split("\n", 1)[0])
        except (OSError, ValueError):
            return
        end = time.monotonic() + _GONE_SECONDS
        while _is_ending(pid) and time.monotonic() < end:
            time.sleep(_POLL_SECONDS)

    def _command(self) -> list[str]:
        installation = runnable(self.installation, self.folder.parent)
        settings = {**SMALL, **_QUIET, **(self.settings or {})}
        if self.installation.major >= 18:
            # Workers for reading ahead cost memory in each of fifty servers.
            settings = {"io_method": "sync", **settings}
        settings["unix_socket_directories"] = str(place.sockets(self.folder))
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return [installation.program("postgres"), "-D", str(self.data), "-p", str(PORT), *options]

    def _wait_until_ready(self, pid: int) -> None:
        end = time.monotonic() + _START_SECONDS
        while not (self.is_ready and self.pid() == pid):
            late = time.monotonic() > end
            if late or not _state(pid):
                if late and _state(pid):
                    os.kill(pid, signal.SIGKILL)
                raise PostgresError(f"Postgres does not start on {self.data}: {self._last_complaint()}")
            time.sleep(_POLL_SECONDS)

    def _last_complaint(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()
        told = [line for line in lines if "FATAL" in line or "PANIC" in line or "ERROR" in line]
        return (told or lines or ["it says nothing"])[-1].strip()


def create(folder: Path, installation: Installation) -> Cluster:
    """Make an empty cluster in `folder`, which must not exist; its superuser's password is new.

    Raises PostgresError when `initdb` refuses.
    """
    password = secrets.token_urlsafe(24)
    place.server_folder(folder)
    usable = runnable(installation, folder.parent)
    cluster = Cluster(folder, installation, password)
    maker = _account_with_a_name()
    cluster.data.mkdir(mode=0o700)
    secret = folder / "password"
    try:
        secret.write_text(password)
        if maker is not None:
            os.chown(cluster.data, maker, maker)
            os.chown(secret, maker, maker)
        secret.chmod(0o600)
        arguments = ["-D", str(cluster.data), "-U", SUPERUSER, "--auth=scram-sha-256", "--pwfile", str(secret)]
        locale = ["--locale-provider=builtin", "--locale=C.UTF-8"] if usable.major >= 17 else ["--locale=C.UTF-8"]
        made = subprocess.run(
            [
                usable.program("initdb"),
                *arguments,
                "-E",
                "UTF8",
                *locale,
                "--no-sync",
                "--data-checksums",
                _WAL_SEGMENTS,
            ],
            capture_output=True,
            text=True,
            env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"},
            cwd="/",
            check=False,
            **as_account(maker),
        )
    finally:
        secret.unlink(missing_ok=True)
    if made.returncode:
        raise PostgresError(f"initdb refuses {folder}: {(made.stderr.strip().splitlines() or ['no reason'])[-1]}")
    for root, _, files in os.walk(cluster.data):
        place.own(Path(root))
        for name in files:
            place.own(Path(root, name))
    return cluster


def trim_wal(cluster: Cluster) -> None:
    """Remove from a cluster that was stopped cleanly all WAL but the segment that it starts from.

    Raises PostgresError when the server's own program cannot read the cluster's state.
    """
    program = runnable(cluster.installation, cluster.folder.parent).program("pg_controldata")
    told = subprocess.run(
        [program, "-D", str(cluster.data)], capture_output=True, text=True, env={"LC_ALL": "C"}, check=False
    )
    state = dict(re.findall(r"^(.+?):\s+(.+)$", told.stdout, re.MULTILINE))
    if state.get("Database cluster state") != "shut down":
        raise PostgresError(
            f"{cluster.data} was not stopped cleanly: {state.get('Database cluster state', 'unknown')}."
        )
    for file in (cluster.data / "pg_wal").iterdir():
        if re.fullmatch("[0-9A-F]{24}", file.name) and file.name != state["Latest checkpoint's REDO WAL file"]:
            file.unlink()


def as_account(user: int | None = None) -> dict[str, Any]:
    """Return the arguments of `subprocess` that run a program as the servers' account."""
    user = place.account() if user is None else user
    return {} if user is None else {"user": user, "group": user, "extra_groups": []}


def write_as_account(file: Path, text: str) -> None:
    """Write a small file of a data folder, without following a link that somebody planted there."""
    file.unlink(missing_ok=True)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(text)
    place.own(file)


def _account_with_a_name() -> int | None:
    # initdb looks its user up in the list of accounts; `nobody` is in every one.
    return None if place.account() is None else 65534


def _is_ending(pid: int) -> bool:
    """Whether a process is there, but has given up its memory already."""
    try:
        return not Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def _state(pid: int) -> str:
    """Return the state of a process as the kernel names it (Z is ended, but not noticed by its parent), or nothing."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""
