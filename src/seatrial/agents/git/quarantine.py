"""Where a pack of an agent lies while it is checked; outside of the relay's objects until it is found sound."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from seatrial.agents.git.command import ChildLimits, alternate, first_line, host_git
from seatrial.agents.git.inside import Completed
from seatrial.agents.git.pack import Limits, take_census
from seatrial.agents.git.trees import tree_sizes
from seatrial.errors import GitError, RelayError

# Git calls these informative at most; in what an agent hands over they have no honest reason.
_ERRORS = ("gitattributesSymlink", "gitmodulesParse", "gitmodulesSymlink", "hasDotgit", "hasDot", "hasDotdot",
           "fullPathname", "emptyName", "nullSha1", "gitmodulesUrl", "gitmodulesPath", "gitmodulesUpdate",
           "gitmodulesName", "gitmodulesMissing", "gitmodulesBlob")  # fmt: skip


@dataclass(frozen=True)
class Quarantine:
    """A folder of objects beside the relay's."""

    relay: Path
    folder: Path
    object_format: str
    limits: Limits

    @property
    def pack(self) -> Path:
        """The pack as it came in."""
        return self.folder / "incoming"

    @staticmethod
    def sweep(relay: Path, name: str) -> None:
        """Remove what killed processes left of one agent's hand-overs; call under the agent's lock."""
        for left in (relay / "seatrial" / "quarantine").glob(f"{name}@*"):  # names of agents have no '@'
            shutil.rmtree(left, ignore_errors=True)

    @classmethod
    @contextmanager
    def open(cls, relay: Path, name: str, object_format: str, limits: Limits) -> Iterator[Quarantine]:
        """Make a quarantine for one agent's hand-over; gone at the end, whatever happens."""
        shelf = relay / "seatrial" / "quarantine"
        folder = shelf / f"{name}@{secrets.token_hex(4)}"
        (folder / "pack").mkdir(parents=True)
        try:
            yield cls(relay, folder, object_format, limits)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def check(self, tips: Sequence[str], known: Sequence[str], base: str) -> int:
        """Check the pack and return how many objects it has; RelayError says what is wrong with it.

        Checked: sizes, each object's form (strictly), that nothing is missing up to `known`, number of commits, and
        files, depth and path lengths of every tree.  Does not check contents of files.
        """
        hash_bytes = {"sha1": 20, "sha256": 32}[self.object_format]
        census = take_census(self.pack, hash_bytes, self.limits)
        strict = "--strict=" + ",".join(f"{kind}=error" for kind in _ERRORS)
        with self.pack.open("rb") as file:
            self._git("index-pack", "--stdin", "--fix-thin", strict, "--threads=1", stdin=file, refused="is not sound")
        self.pack.unlink()
        kinds = self._git("cat-file", "--batch-check=%(objecttype)", stdin="".join(f"{t}\n" for t in tips).encode())
        if any(kind != b"commit" for kind in kinds.stdout.split()):
            raise RelayError("The agent named something as its work that is not a commit or did not come along.")
        borders = [f"^{commit}" for commit in known]
        wanted = "".join(f"{line}\n" for line in (*tips, *borders)).encode()
        self._git("rev-list", "--objects", "--stdin", "--quiet", stdin=wanted, refused="is incomplete")
        new = self._git("rev-list", "--stdin", f"--max-count={self.limits.commits + 1}", stdin=wanted).stdout.split()
        if len(new) > self.limits.commits:
            raise RelayError(f"The agent hands over more than {self.limits.commits} new commits.")
        self._measure([commit.decode() for commit in new], base, hash_bytes)
        return census.objects

    def accept(self) -> None:
        """Move the checked objects into the relay; the index last, for a pack without it does not exist to git."""
        target = self.relay / "objects" / "pack"
        target.mkdir(exist_ok=True)
        files = sorted((self.folder / "pack").iterdir(), key=lambda file: file.suffix == ".idx")
        for file in files:
            if file.suffix in (".pack", ".rev", ".idx"):
                file.replace(target / file.name)

    def _measure(self, commits: list[str], base: str, hash_bytes: int) -> None:
        asked = "".join(f"{commit}^{{tree}}\n" for commit in (base, *commits)).encode()
        roots = self._git("cat-file", "--batch-check=%(objectname)", stdin=asked).stdout.decode().splitlines()

        def cat_file(names: bytes, output: BinaryIO) -> None:
            self._git("cat-file", "--batch", stdin=names, stdout=output)
            output.seek(0, 2)

        sizes = tree_sizes(roots, cat_file, hash_bytes, self.limits)
        allowed = sizes[roots[0]].files + self.limits.new_files
        for root in roots[1:]:
            if sizes[root].files > allowed:
                raise RelayError(f"The agent's work has {sizes[root].files} files; {allowed} are allowed.")
            if sizes[root].path_bytes > max(self.limits.path_bytes, sizes[roots[0]].path_bytes):
                raise RelayError(f"The agent's work has a path of {sizes[root].path_bytes} bytes.")

    def _git(
        self,
        *arguments: str,
        stdin: bytes | BinaryIO,
        stdout: BinaryIO | None = None,
        refused: str = "cannot be read",
    ) -> Completed:
        variables = {"GIT_OBJECT_DIRECTORY": str(self.folder), **alternate(self.relay / "objects")}
        settings = ("-c", "core.packedGitWindowSize=32m", "-c", "core.packedGitLimit=512m", "-c", "pack.threads=1")
        child = ChildLimits(int(self.limits.seconds), self.limits.memory_bytes, 4 * self.limits.pack_bytes)
        try:
            done = host_git(self.relay, *settings, *arguments, stdin=stdin, stdout=stdout, check=False,
                            variables=variables, limits=child, seconds=self.limits.seconds)  # fmt: skip
        except GitError as error:
            raise RelayError(f"What the agent handed over takes too long to check: {error.message}") from error
        if done.returncode < 0:
            raise RelayError(f"What the agent handed over broke a limit of git {arguments[0]}.")
        if done.returncode:
            raise RelayError(f"What the agent handed over {refused}: {first_line(done.stderr)}")
        return done
