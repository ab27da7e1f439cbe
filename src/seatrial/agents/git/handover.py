"""The two scripts that run *inside* the sandbox, with the agent's own git, configuration and rights.

Nothing they print is believed: the host takes ids of commits from the first and a pack from the second.
"""

from __future__ import annotations

SNAPSHOT = r"""
set -eu
export GIT_TERMINAL_PROMPT=0 GIT_EDITOR=false LC_ALL=C
cd "$(git rev-parse --show-toplevel)"
own=$(git rev-parse --absolute-git-dir)
head=$(git rev-parse --verify --quiet "refs/heads/$1^{commit}" || true)
now=$(git rev-parse --verify --quiet "HEAD^{commit}" || true)
parent=${now:-$head}
if [ -z "$parent" ]; then echo "neither HEAD nor $1 is a commit" >&2; exit 1; fi
: "${head:=$parent}"
index="$own/seatrial-index.$$"
trap 'rm -f "$index" "$index.lock"' EXIT
if [ -e "$own/index" ]; then cp -p "$own/index" "$index"; fi
export GIT_INDEX_FILE="$index"
git -c core.fsmonitor=false -c core.safecrlf=false add --all --ignore-errors >/dev/null 2>&1 || echo partly
tree=$(git write-tree)
work=$parent
if [ "$tree" != "$(git rev-parse "$parent^{tree}")" ]; then
  # The date is the parent's, so that the same files give the same commit again.
  date="@$(git show --no-patch --format=%ct "$parent") +0000"
  work=$(printf 'Uncommitted work\n' | GIT_AUTHOR_DATE=$date GIT_COMMITTER_DATE=$date \
    git -c commit.gpgSign=false -c user.useConfigOnly=false commit-tree "$tree" -p "$parent")
fi
echo "head $head"
echo "work $work"
git for-each-ref --count=60 --format='other %(objectname)' refs/heads refs/stash
"""
"""Makes a commit of all files but ignored ones, on no branch and by an index of its own.

The argument is the branch.  Prints `head ID`, `work ID` (the same if HEAD is the branch and nothing is uncommitted),
`other ID` for further branches, and `partly` if some file could not be read.
"""

PACK = r"""
set -u
{
  while [ "$1" != -- ]; do echo "$1"; shift; done
  shift
  for have; do if git cat-file -e "$have^{commit}" 2>/dev/null; then echo "^$have"; fi; done
} >"${TMPDIR:-/tmp}/seatrial-revs.$$"
git pack-objects --revs --stdout --thin --delta-base-offset --quiet <"${TMPDIR:-/tmp}/seatrial-revs.$$"
status=$?
rm -f "${TMPDIR:-/tmp}/seatrial-revs.$$"
exit $status
"""
"""Writes a pack of what the wanted commits have beyond those the relay has.  Arguments: WANTED… -- HAVE…"""
