"""Signatures of approvals: SSH keys, by OpenSSH's own program, so that they can be verified anywhere and offline.

    ssh-keygen -Y verify -f reviewers -I NAME -n seatrial -s approval.sig < approval.json

Reviewers are a file in OpenSSH's format of allowed signers.  This does not protect against somebody who may write that
file: whoever may name the reviewers is trusted.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from pathlib import Path

from seatrial import paths
from seatrial.database.project import Project
from seatrial.errors import RefusedError

NAMESPACE = "seatrial"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_PUBLIC_KEY = re.compile(r"(?:ssh-ed25519|sk-ssh-ed25519@openssh\.com|ecdsa-sha2-\S+|ssh-rsa) [A-Za-z0-9+/=]+")


def reviewers(project: Project) -> dict[str, str]:
    """Return the public key of each reviewer."""
    try:
        lines = _file(project).read_text().splitlines()
    except FileNotFoundError:
        return {}
    return {line.split(" ", 1)[0]: line.split('" ', 1)[1] for line in lines if '" ' in line}


def add_reviewer(project: Project, name: str, public_key: str = "") -> Path | None:
    """Let `name` approve, with a public key; without one a pair is made, and its private half's file returned.

    Raises RefusedError for a bad name or key, or a reviewer that is known by another key.
    """
    if not _NAME.fullmatch(name):
        raise RefusedError(f"{name!r} cannot be a reviewer's name.", hint="Up to 64 of A-Z, a-z, 0-9, . _ @ -.")
    known = reviewers(project)
    if name in known:
        raise RefusedError(f"{name} is a reviewer already.", hint=f"seatrial db reviewer remove {name}")
    made = None
    if not public_key:
        made = paths.private_folder(project.folder / "keys") / name
        _run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(made)])
        public_key = made.with_name(f"{name}.pub").read_text()
    match = _PUBLIC_KEY.match(public_key.strip())
    if not match:
        raise RefusedError("This is not an SSH public key.", hint="Give the .pub file.")
    _write(project, {**known, name: match[0]})
    project.audit.write("reviewer.add", name, key=match[0])
    return made


def remove_reviewer(project: Project, name: str) -> None:
    """Let `name` approve no more; what was approved by it does not count any longer.  RefusedError if unknown."""
    known = reviewers(project)
    if name not in known:
        raise RefusedError(f"{name} is no reviewer.", hint=f"Known: {', '.join(known) or 'none'}.")
    _write(project, {key: value for key, value in known.items() if key != name})
    (project.folder / "keys" / name).unlink(missing_ok=True)
    project.audit.write("reviewer.remove", name)


def sign(project: Project, name: str, statement: str, key: Path | None = None) -> str:
    """Return the signature of `statement` by `name`'s private key (default: the one that was made here).

    Raises RefusedError when the key is not there or not `name`'s.
    """
    key = key or project.folder / "keys" / name
    if not key.is_file():
        raise RefusedError(f"There is no private key of {name} at {key}.", hint="Give it: --key FILE")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "approval.json"
        file.write_text(statement)
        _run(["ssh-keygen", "-q", "-Y", "sign", "-f", str(key), "-n", NAMESPACE, str(file)], interactive=True)
        signature = file.with_name("approval.json.sig").read_text()
    if not verify(project, name, statement, signature):
        raise RefusedError(f"{key} is not the key that {name} is known by.", hint="seatrial db reviewer list")
    return signature


def verify(project: Project, name: str, statement: str, signature: str) -> bool:
    """Say whether `signature` is of `statement`, by the key that `name` is known by."""
    if name not in reviewers(project):
        return False
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "approval.sig"
        file.write_text(signature)
        command = [
            "ssh-keygen",
            "-Y",
            "verify",
            "-f",
            str(_file(project)),
            "-I",
            name,
            "-n",
            NAMESPACE,
            "-s",
            str(file),
        ]
        done = subprocess.run(command, input=statement, capture_output=True, text=True, check=False)
    return done.returncode == 0


def _file(project: Project) -> Path:
    return project.folder / "reviewers"


def _write(project: Project, known: dict[str, str]) -> None:
    with paths.atomic_write(_file(project)) as stream:
        for name, key in sorted(known.items()):
            stream.write(f'{name} namespaces="{NAMESPACE}" {key}\n'.encode())


def _run(command: list[str], *, interactive: bool = False) -> None:
    try:
        done = subprocess.run(
            command,
            stdin=None if interactive else subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "LC_ALL": "C"},
        )
    except FileNotFoundError as problem:
        raise RefusedError("ssh-keygen is not installed.", hint="Install OpenSSH's client programs.") from problem
    if done.returncode:
        raise RefusedError(f"ssh-keygen refuses: {(done.stderr.strip().splitlines() or ['no reason'])[-1]}")
