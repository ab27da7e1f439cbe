"""What this machine offers for branches, and what is amiss."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from seatrial.database import copying, place
from seatrial.database.postgres import installations
from seatrial.database.project import at
from seatrial.errors import SeatrialError


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: `ok` or not, what was found, and what to do."""

    name: str
    ok: bool
    detail: str
    hint: str = ""


def doctor(folder: Path | None = None) -> list[Finding]:
    """Look at the Postgres programs, the account, the file system and the signing program."""
    found = installations()
    findings = [
        Finding(
            "postgres",
            bool(found),
            ", ".join(entry.name for entry in found) or "none found",
            "" if found else "pip install 'seatrial[database]', or install your system's Postgres server",
        )
    ]
    account = place.account()
    findings.append(Finding("account", True, f"servers run as user id {account}" if account else "servers run as you"))
    try:
        project = at((folder or Path.cwd()).resolve())
        clusters = place.server_folder(project.clusters.parent)
        strategy = copying.probe(clusters)
        speed = "branches share blocks" if strategy == copying.CLONE else "branches are full copies"
        hint = (
            "" if strategy == copying.CLONE else "XFS, btrfs, bcachefs or ZFS 2.2 under [db] folder makes them instant"
        )
        findings.append(Finding("copies", True, f"{strategy} in {clusters}: {speed}", hint))
        free = shutil.disk_usage(clusters).free
        findings.append(
            Finding("disk", free > 2**30, f"{free / 2**30:.1f} GiB free", "" if free > 2**30 else "Free some")
        )
    except SeatrialError as problem:
        findings.append(Finding("copies", False, problem.message, problem.hint or ""))
    keygen = shutil.which("ssh-keygen")
    findings.append(
        Finding("signatures", bool(keygen), keygen or "no ssh-keygen", "" if keygen else "install OpenSSH's client")
    )
    return findings
