"""Following git: each git branch has a database branch of its name, made when the first client connects.

A hook runs after every checkout and writes the URL into `.seatrial/database.env`, which frameworks and shells read.  On
the git branches that are named in `MAIN`, the URL is production's.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from seatrial import paths
from seatrial.database import access, branches, production
from seatrial.database.project import Project
from seatrial.errors import BranchError

MAIN = ("main", "master", "trunk")
_MARK = "# Written by Seatrial: the database follows the git branch."
_HOOK = f"""#!/bin/sh
{_MARK}
# $3 is 1 for a checkout of a branch, 0 for one of files.
[ "$3" = 1 ] && seatrial db follow now >/dev/null
exit 0
"""


def install(project: Project) -> Path:
    """Put the hook into the git repository and follow at once; return the hook.

    Raises BranchError outside of a git repository, or when there is another hook already.
    """
    hook = _hook(project)
    if hook.exists() and _MARK not in hook.read_text(errors="replace"):
        raise BranchError(f"{hook} is not Seatrial's.", hint="Add to it: seatrial db follow now")
    with paths.atomic_write(hook) as stream:
        stream.write(_HOOK.encode())
        os.fchmod(stream.fileno(), 0o755)
    now(project)
    return hook


def remove(project: Project) -> bool:
    """Take the hook and the file with the URL out again; say whether there was a hook.  Branches stay."""
    hook = _hook(project)
    ours = hook.exists() and _MARK in hook.read_text(errors="replace")
    if ours:
        hook.unlink()
    _environment(project).unlink(missing_ok=True)
    return ours


def now(project: Project) -> str:
    """Make the database follow the git branch that is checked out; return the name of the database branch.

    Raises BranchError when no branch is checked out.
    """
    checked_out = _git(project, "symbolic-ref", "--short", "-q", "HEAD")
    if not checked_out:
        raise BranchError("No git branch is checked out.", hint="git switch BRANCH")
    name = production.EMBEDDED
    if checked_out not in MAIN:
        name = re.sub(r"[^A-Za-z0-9._/-]", "-", checked_out)[:100]
        if not any(branch.name == name for branch in branches.all_branches(project)):
            branches.create(project, branches.Wish(name, git_branch=checked_out, lazy=True))
    file = _environment(project)
    with paths.atomic_write(file) as stream:
        stream.write(f"DATABASE_URL={access.url(project, '' if name == production.EMBEDDED else name)}\n".encode())
    _keep_out_of_git(file.with_name(".gitignore"), file.name)
    return name


def _environment(project: Project) -> Path:
    return project.root / ".seatrial" / "database.env"


def _keep_out_of_git(file: Path, name: str) -> None:
    known = file.read_text().splitlines() if file.exists() else []
    if name not in known:
        file.write_text("\n".join([*known, name]) + "\n")


def _hook(project: Project) -> Path:
    folder = _git(project, "rev-parse", "--git-path", "hooks")
    if not folder:
        raise BranchError(f"{project.root} is not a git repository.", hint="git init")
    return (project.root / folder / "post-checkout").resolve()


def _git(project: Project, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=project.root, capture_output=True, text=True, check=False)
    return done.stdout.strip()
