"""The user's repository: where it is, what it is, and which folders hold its objects."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from seatrial.agents.git.command import Repository, user_git
from seatrial.agents.git.inside import printable
from seatrial.errors import GitError, ProjectError

_MOST_ALTERNATES = 64


@dataclass(frozen=True)
class Source:
    """The user's repository as seen from one of its work trees.

    `root` is the main work tree (or the bare folder) whichever work tree or subfolder was named; `at` is the repository
    as that work tree sees it (its HEAD); `common` is the folder that all work trees share.
    """

    root: Path
    at: Repository
    common: Path
    object_format: str
    shallow: bool

    @property
    def objects(self) -> Path:
        """The folder of objects that all work trees share."""
        return self.common / "objects"

    def git(self, *arguments: str) -> str:
        """Return what git says in the user's repository, stripped; GitError if it fails."""
        return user_git(self.at, *arguments).stdout.decode("utf-8", "surrogateescape").strip()

    def commit(self, revision: str) -> str:
        """Return the id of a commit; ProjectError if there is none by that name."""
        named = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
        done = user_git(self.at, *named, check=False)
        if done.returncode:
            if revision == "HEAD":
                raise ProjectError(
                    f"{self.root} has no commit yet; an agent starts from a commit.",
                    hint="git commit --allow-empty -m 'Start'",
                )
            raise ProjectError(f"{self.root} has no commit '{printable(revision, limit=80)}'.")
        return done.stdout.decode().strip()

    def branch(self) -> str | None:
        """Return the branch that is checked out here, None if HEAD is detached."""
        done = user_git(self.at, "symbolic-ref", "--quiet", "HEAD", check=False)
        name = done.stdout.decode("utf-8", "surrogateescape").strip()
        return name.removeprefix("refs/heads/") if done.returncode == 0 else None

    def uncommitted(self) -> int:
        """Return how many files of this work tree differ from its commit, untracked ones included; 0 if bare."""
        if self.at.worktree is None:
            return 0
        said = user_git(self.at, "status", "--porcelain", "-z", "--no-renames", "--ignore-submodules=none").stdout
        return said.count(b"\0")


def find_source(path: Path) -> Source:
    """Return the repository that a folder belongs to: a work tree, a linked one, a subfolder, or a bare repository.

    Raises ProjectError outside of any, and for a repository of somebody else: its configuration could run programs as
    you.  As with git, `safe.directory` in your global or the system's configuration lifts that.
    """
    start = path.resolve()
    for folder in (start, *start.parents):
        if (folder / ".git").exists():
            return _describe(Repository(folder / ".git", folder))
        if (folder / "HEAD").is_file() and (folder / "objects").is_dir() and (folder / "refs").is_dir():
            if folder.name == ".git":
                return _describe(Repository(folder, folder.parent))
            return _describe(Repository(folder))
    raise ProjectError(f"{start} is not inside a git repository.", hint="git init && git commit --allow-empty -m Start")


def object_folders(objects: Path, inside: str) -> tuple[tuple[Path, str], ...]:
    """Return every folder that objects come from as (host path, path inside), the first being `objects` at `inside`.

    Folders that the source borrows from itself are found by git inside at the path written in `info/alternates`, so
    they keep that path: absolute ones the host's, relative ones relative to where their borrower is inside.
    GitError if they are more than 64.
    """
    found: dict[str, Path] = {}
    waiting = [(objects.resolve(), inside)]
    while waiting:
        host, within = waiting.pop(0)
        if within in found or not host.is_dir():
            continue
        if len(found) == _MOST_ALTERNATES:
            raise GitError(f"{objects} borrows objects from more than {_MOST_ALTERNATES} folders.")
        found[within] = host
        for line in _alternates(host):
            if line.startswith("/"):
                waiting.append((Path(line), os.path.normpath(line)))
            else:
                waiting.append(((host / line).resolve(), os.path.normpath(f"{within}/{line}")))
    return tuple((host, within) for within, host in found.items())


def _alternates(objects: Path) -> list[str]:
    try:
        text = (objects / "info" / "alternates").read_text(errors="surrogateescape")
    except OSError:
        return []
    return [line for line in text.splitlines() if line and not line.startswith(("#", '"'))]


def _check_owner(at: Repository) -> None:
    mine = {os.geteuid(), *([int(os.environ["SUDO_UID"])] if os.environ.get("SUDO_UID", "").isdigit() else [])}
    places = [place for place in (at.git_dir, at.worktree) if place is not None]
    if all(place.stat().st_uid in mine for place in places):
        return
    shown = str(at.worktree or at.git_dir)
    for scope in ("--global", "--system"):
        listed = user_git(Path(os.devnull), "config", scope, "-z", "--get-all", "safe.directory", check=False).stdout
        if {shown, "*"} & set(listed.decode("utf-8", "surrogateescape").split("\0")):
            return
    raise ProjectError(
        f"{shown} belongs to somebody else, whose configuration git would follow.",
        hint=f"If you trust it: git config --global --add safe.directory {shown}",
    )


def _describe(at: Repository) -> Source:
    _check_owner(at)
    asked = ("--git-common-dir", "--is-bare-repository", "--is-shallow-repository", "--show-object-format")
    try:
        lines = user_git(at, "rev-parse", "--path-format=absolute", *asked).stdout
    except GitError as error:
        raise ProjectError(f"{at.worktree or at.git_dir} is not a usable git repository: {error.message}") from error
    said = lines.decode("utf-8", "surrogateescape").rstrip("\n").split("\n")
    if len(said) != len(asked):
        raise ProjectError(f"{printable(str(at.git_dir))} has a line break in its path.", hint="Rename the folder.")
    common, bare, shallow, object_format = said
    home = Path(common)
    if bare == "true" and at.worktree is not None and home == at.worktree / ".git":
        at = Repository(home)
    root = home.parent if home.name == ".git" and bare != "true" else at.worktree or home
    return Source(root, at, home, object_format, shallow == "true")
