"""Files that may run something on the user's machine, or hide what runs, once they are landed: where to look first."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from seatrial.agents.git.inside import printable

RULES: tuple[tuple[str, str], ...] = (
    (r"(^|/)(\.husky|\.?git-?hooks|\.?hooks)/", "hooks of git, once a tool installs them"),
    (r"(^|/)\.pre-commit-(config|hooks)\.ya?ml$", "commands that run at each commit"),
    (r"(^|/)(lefthook|\.lefthook)\.(ya?ml|toml|json)$", "commands that run at each commit"),
    (r"(^|/)\.gitattributes$", "which filters and merge drivers run, and what diffs show"),
    (r"(^|/)\.gitmodules$", "what a recursive clone fetches"),
    (r"(^|/)\.gitconfig$", "configuration of git, where it is included"),
    (r"(^|/)\.vscode/(tasks|launch|settings|extensions)\.json$", "tasks and programs of the editor"),
    (r"\.code-workspace$", "tasks and programs of the editor"),
    (r"(^|/)\.(idea|fleet|zed)/", "run configurations of the editor"),
    (r"(^|/)\.(vimrc|exrc|nvimrc|nvim\.lua|dir-locals\.el|editorconfig)$", "settings that an editor follows"),
    (r"(^|/)\.devcontainer(/|\.json$)", "commands that run when the container is made"),
    (r"(^|/)(\.envrc|\.env(\.[^/]*)?|\.tool-versions|mise\.toml|\.mise\.toml)$", "the shell's environment"),
    (r"(^|/)\.(github|gitea|forgejo)/(workflows|actions)/", "what runs in CI with its secrets"),
    (r"(^|/)(\.gitlab-ci\.yml|azure-pipelines\.yml|Jenkinsfile|\.travis\.yml|bitbucket-pipelines\.yml)$", "CI"),
    (r"(^|/)\.(circleci|buildkite|drone|woodpecker)([./]|$)", "CI"),
    (r"(^|/)(package\.json|\.npmrc|\.yarnrc(\.yml)?|\.pnpmfile\.cjs|bunfig\.toml)$", "scripts that run at install"),
    (
        r"(^|/)(package-lock\.json|yarn\.lock|pnpm-lock\.yaml|uv\.lock|poetry\.lock|Cargo\.lock|go\.sum)$",
        "dependencies",
    ),
    (r"(^|/)(setup\.py|setup\.cfg|pyproject\.toml|requirements[^/]*\.txt|tox\.ini|noxfile\.py)$", "install or build"),
    (r"(^|/)(conftest|sitecustomize|usercustomize)\.py$|\.pth$", "code that Python runs by itself"),
    (r"(^|/)(build\.rs|\.cargo/config(\.toml)?|rust-toolchain(\.toml)?)$", "code that cargo runs when it builds"),
    (r"(^|/)(GNUmakefile|[Mm]akefile|CMakeLists\.txt|configure|[Jj]ustfile|Rakefile|Taskfile\.ya?ml)$", "the build"),
    (r"\.(gradle|gradle\.kts|mk|cmake)$|(^|/)(gradlew|mvnw|pom\.xml)$", "the build"),
    (r"(^|/)(Dockerfile|Containerfile|docker-compose[^/]*|compose)(\.[^/]*)?$", "containers"),
    (r"(^|/)(CLAUDE|AGENTS|GEMINI)\.md$|(^|/)\.(claude|codex|gemini|cursor|opencode)(/|rules$)", "orders to agents"),
    (r"(^|/)\.mcp\.json$", "programs that agents start"),
    (r"^\.seatrial(/|$)", "what agents of this project may do"),
    (r"(^|/)CODEOWNERS$", "who must review"),
    (r"\.(sh|bash|zsh|fish|ps1|bat|cmd)$", "a script"),
)
"""Pattern over the path, and what such a file governs."""

_COMPILED = tuple((re.compile(pattern, re.IGNORECASE), reason) for pattern, reason in RULES)


@dataclass(frozen=True)
class Attention:
    """A changed file to look at before landing: printable path, and what it governs."""

    path: str
    reason: str


def attention(changes: Iterable[tuple[bytes, str, str]]) -> tuple[Attention, ...]:
    """Return what deserves a look among changes (path, old mode, new mode as git writes them, e.g. `100755`).

    Does not protect: any file can harm when it is run; these are the ones that run without being asked for.
    """
    found = []
    for path, old, new in changes:
        if new == "000000":
            continue
        text = path.decode("utf-8", "surrogateescape")
        reasons = [reason for pattern, reason in _COMPILED if pattern.search(text)][:1]
        if new == "120000" and old != new:
            reasons.append("a symbolic link")
        if new == "160000":
            reasons.append("a submodule")
        if new == "100755" and old != new:
            reasons.append("becomes a program")
        if printable(text) != text:
            reasons.append("control characters in the name")
        found += [Attention(printable(text), reason) for reason in reasons]
    return tuple(found)
