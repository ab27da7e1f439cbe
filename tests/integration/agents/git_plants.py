"""Plants: ways to make git run a command of one's choice, if one can write the repository that git is used in.

`CANARY` in a plant stands for a program that leaves a mark; `naive` are commands of a host that trusts the tree.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

MERGE = ("sh", "-c", "git -c user.name=h -c user.email=h@h merge -q --no-ff -m m side")
COMMIT = ("git", "-c", "user.name=h", "-c", "user.email=h@h", "commit", "-q", "--allow-empty", "-m", "x")
STATUS = ("git", "status")
DIFF = ("git", "diff")
FETCH = ("git", "fetch", "origin")
PUSH = ("git", "push", "{scratch}", "HEAD:refs/heads/x")


@dataclass(frozen=True)
class Plant:
    """One trap: settings, attributes and files of a clone, and the naive command that springs it (None: needs more)."""

    name: str
    config: str = ""
    attributes: str = ""
    files: dict[str, str] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    moved: bool = False
    naive: tuple[str, ...] | None = None

    def put(self, tree: Path, canary: str) -> None:
        """Write the plant into a clone, as the agent could."""
        git = tree / ".git"
        if self.moved:
            git = git.rename(tree / ".evil")
        with (git / "config").open("a") as file:
            file.write(self.config.replace("CANARY", canary).replace("TREE", str(tree)))
        if self.attributes:
            (tree / ".gitattributes").write_text(self.attributes)
        for name, text in self.files.items():
            path = tree / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text.replace("CANARY", canary).replace("TREE", str(tree)))
            path.chmod(0o755)
        for name, target in self.links.items():
            (tree / name).symlink_to(target)


def _hook(name: str, naive: tuple[str, ...]) -> Plant:
    return Plant(f"hook {name}", files={f".git/hooks/{name}": "#!/bin/sh\nexec CANARY\n"}, naive=naive)


def _setting(name: str, section: str, line: str, naive: tuple[str, ...] | None, more: str = "") -> Plant:
    return Plant(name, config=f"[{section}]\n\t{line}\n{more}", naive=naive)


PLANTS = (
    _hook("pre-commit", COMMIT),
    _hook("prepare-commit-msg", COMMIT),
    _hook("commit-msg", COMMIT),
    _hook("post-commit", COMMIT),
    _hook("post-checkout", ("git", "checkout", "-q", "-b", "x")),
    _hook("post-merge", MERGE),
    _hook("pre-merge-commit", MERGE),
    _hook("post-index-change", ("git", "add", "-A")),
    _hook("reference-transaction", ("git", "update-ref", "refs/heads/y", "HEAD")),
    _hook("pre-push", PUSH),
    _hook("pre-rebase", ("git", "rebase", "side")),
    Plant(
        "hook fsmonitor-watchman",
        config="[core]\n\tfsmonitor = .git/hooks/fsmonitor-watchman\n",
        files={".git/hooks/fsmonitor-watchman": "#!/bin/sh\nexec CANARY\n"},
        naive=STATUS,
    ),
    Plant(
        "hook post-rewrite", files={".git/hooks/post-rewrite": "#!/bin/sh\nexec CANARY\n"}, naive=(*COMMIT, "--amend")
    ),
    _setting("core.fsmonitor", "core", "fsmonitor = CANARY", STATUS),
    Plant(
        "core.hooksPath",
        config="[core]\n\thooksPath = TREE/tools\n",
        files={"tools/post-commit": "#!/bin/sh\nexec CANARY\n"},
        naive=COMMIT,
    ),
    _setting("core.sshCommand", "core", "sshCommand = CANARY", ("git", "fetch", "ssh://host.invalid/x")),
    _setting("core.gitProxy", "core", "gitProxy = CANARY", ("git", "fetch", "git://host.invalid/x")),
    _setting("core.pager", "core", "pager = CANARY", ("script", "-qec", "git -p log", "/dev/null")),
    _setting("pager.diff", "pager", "diff = CANARY", ("script", "-qec", "git diff", "/dev/null")),
    _setting("core.editor", "core", "editor = CANARY", COMMIT[:-2]),
    _setting("sequence.editor", "sequence", "editor = CANARY", ("git", "rebase", "-i", "HEAD~0")),
    _setting(
        "core.askPass", "core", "askPass = CANARY", ("sh", "-c", "echo url=https://h.invalid | git credential fill")
    ),
    _setting(
        "credential.helper",
        "credential",
        'helper = "!CANARY"',
        ("sh", "-c", "echo url=https://h.invalid | git credential fill"),
    ),
    _setting("core.alternateRefsCommand", "core", "alternateRefsCommand = CANARY", None),
    Plant("filter clean", '[filter "x"]\n\tclean = CANARY\n', "* filter=x\n", naive=("git", "add", "-A")),
    Plant(
        "filter smudge",
        '[filter "x"]\n\tsmudge = CANARY\n',
        "* filter=x\n",
        naive=("sh", "-c", "rm b.txt; git checkout b.txt"),
    ),
    Plant("filter process", '[filter "x"]\n\tprocess = CANARY\n', "* filter=x\n", naive=("git", "add", "-A")),
    _setting("diff.external", "diff", "external = CANARY", DIFF),
    Plant("diff driver command", '[diff "x"]\n\tcommand = CANARY\n', "* diff=x\n", naive=DIFF),
    Plant("diff driver textconv", '[diff "x"]\n\ttextconv = CANARY\n', "* diff=x\n", naive=DIFF),
    Plant(
        "diff driver by info/attributes",
        '[diff "x"]\n\ttextconv = CANARY\n',
        files={".git/info/attributes": "* diff=x\n"},
        naive=DIFF,
    ),
    Plant("merge driver", '[merge "x"]\n\tdriver = CANARY\n', "* merge=x\n", naive=MERGE),
    _setting("gpg.program", "gpg", "program = CANARY", COMMIT, "[commit]\n\tgpgSign = true\n"),
    Plant(
        "gpg.ssh.program",
        '[gpg]\n\tformat = ssh\n[gpg "ssh"]\n\tprogram = CANARY\n[commit]\n\tgpgSign = true\n'
        "[user]\n\tsigningKey = k\n",
        naive=COMMIT,
    ),
    Plant(
        "gpg.ssh.defaultKeyCommand",
        '[gpg]\n\tformat = ssh\n[gpg "ssh"]\n\tdefaultKeyCommand = CANARY\n[commit]\n\tgpgSign = true\n',
        naive=COMMIT,
    ),
    _setting("alias", "alias", 'st = "!CANARY"', ("git", "st")),
    Plant(
        "include.path",
        "[include]\n\tpath = TREE/more\n",
        files={"more": "[core]\n\tfsmonitor = CANARY\n"},
        naive=STATUS,
    ),
    Plant(
        "includeIf.gitdir",
        '[includeIf "gitdir:TREE/"]\n\tpath = TREE/more\n',
        files={"more": "[core]\n\tfsmonitor = CANARY\n"},
        naive=STATUS,
    ),
    Plant(
        "worktree config",
        "[core]\n\trepositoryformatversion = 1\n[extensions]\n\tworktreeConfig = true\n",
        files={".git/config.worktree": "[core]\n\tfsmonitor = CANARY\n"},
        naive=STATUS,
    ),
    Plant(
        "submodule update command",
        '[submodule "s"]\n\turl = TREE\n\tupdate = "!CANARY"\n\tactive = true\n',
        files={".gitmodules": '[submodule "s"]\n\tpath = s\n\turl = ./s\n\tupdate = checkout\n'},
    ),
    Plant(
        "submodule by ext::",
        '[protocol "ext"]\n\tallow = always\n',
        files={".gitmodules": '[submodule "s"]\n\tpath = s\n\turl = ext::CANARY\n'},
    ),
    _setting("remote uploadpack", 'remote "origin"', "url = .\n\tuploadpack = CANARY", FETCH),
    _setting(
        "remote receivepack", 'remote "origin"', "url = .\n\treceivepack = CANARY", ("git", "push", "origin", "HEAD:q")
    ),
    _setting("remote ext::", 'remote "origin"', "url = ext::CANARY", FETCH, '[protocol "ext"]\n\tallow = always\n'),
    _setting(
        "url insteadOf ext::",
        'url "ext::CANARY "',
        "insteadOf = https://",
        ("git", "fetch", "https://host.invalid/x"),
        '[protocol "ext"]\n\tallow = always\n',
    ),
    _setting(
        "remote vcs", 'remote "origin"', "vcs = ext\n\turl = CANARY", FETCH, '[protocol "ext"]\n\tallow = always\n'
    ),
    _setting("uploadpack.packObjectsHook", "uploadpack", "packObjectsHook = CANARY", None),
    _setting(
        "trailer command", 'trailer "x"', "command = CANARY", ("git", "interpret-trailers", "--trailer", "x=1", "b.txt")
    ),
    _setting("init.templateDir", "init", "templateDir = TREE/template", None),
    _setting("difftool", 'difftool "x"', "cmd = CANARY", ("git", "difftool", "-y", "-t", "x")),
    _setting("archive format", 'tar "x"', "command = CANARY", ("git", "archive", "--format=x", "HEAD")),
    _setting("interactive.diffFilter", "interactive", "diffFilter = CANARY", ("sh", "-c", "echo q | git add -p")),
    Plant("gitdir file", "[core]\n\tfsmonitor = CANARY\n", moved=True, files={".git": "gitdir: .evil\n"}, naive=STATUS),
    Plant("symbolic link .git", "[core]\n\tfsmonitor = CANARY\n", moved=True, links={".git": ".evil"}, naive=STATUS),
    Plant("bundle-uri", "[fetch]\n\tbundleURI = ext::CANARY\n[transfer]\n\tbundleURI = true\n"),
)
