"""What the files of a repository that came from elsewhere try, before any agent of it runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from seatrial.agents.terminal import Terminal
from tests.acceptance.agents.conftest import Yard

HARNESS = 'name = "generic"\nstart = ["sleep", "1000"]\ninstructions = "RULES.md"\nskills = "skills"\n'


def write(yard: Yard, **files: str) -> Path:
    folder = yard.repository / ".seatrial"
    for name, text in files.items():
        file = folder / name.replace("__", "/").replace("_", ".")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return folder


def refused(yard: Yard, *options: str) -> str:
    done = yard.run("create", "ada", *options, "-H", "generic", "--", "true")
    assert done.returncode != 0 and not yard.json("list")["agents"], done
    return str(done.stderr)


@pytest.mark.parametrize(
    "opening",
    [
        '[policy.files]\nread = ["/opt"]\n',
        '[policy.network]\nhosts = ["example.org"]\n',
        '[policy.environment]\ntake = ["EDITOR"]\n',
        "[policy.limits]\npids = 0\n",
        "[budget]\nusd = 100\n",
    ],
)
def test_what_opens_the_sandbox_needs_trust_in_each_file(yard: Yard, opening: str) -> None:
    yard.configure("[budget]\nusd = 5\n")
    folder = write(yard, templates__default__template_toml=opening)
    assert "--trust" in refused(yard)
    (folder / "templates" / "default" / "template.toml").unlink()
    write(yard, agents_toml=opening)
    assert "--trust" in refused(yard)
    yard.ok("init", "--trust")
    yard.ok("create", "ada", "-H", "generic", "--", "true")


def test_what_only_narrows_needs_no_trust(yard: Yard) -> None:
    yard.configure("[budget]\nusd = 5\n")
    write(yard, agents_toml="[budget]\nusd = 1\n[policy.limits]\npids = 99\n")
    yard.ok("create", "ada", "-H", "generic", "--", "true")


def test_a_projects_harness_needs_trust_and_trust_is_in_all_files(yard: Yard) -> None:
    write(yard, harnesses__generic_toml=HARNESS)
    assert "--trust" in refused(yard)
    yard.ok("init", "--trust")
    yard.ok("create", "ada", "-H", "generic", "--", "true")
    yard.ok("delete", "ada")
    write(yard, harnesses__generic_toml=HARNESS + 'program = "sh"\n')
    assert "--trust" in refused(yard)


def test_a_link_is_never_trusted(yard: Yard) -> None:
    folder = write(yard, agents_toml="[budget]\nusd = 1\n")
    (folder / "harnesses").symlink_to(yard.folder)
    assert yard.run("init", "--trust").returncode != 0


@pytest.mark.parametrize("name", ["home", "skills", "instructions.md", "system-prompt.md", "home/RULES.md"])
def test_templates_lead_nowhere(yard: Yard, name: str) -> None:
    """A link would copy the host's files inside, or have the instructions written over one of them."""
    secret = yard.folder / "private" / "secret"
    secret.parent.mkdir()
    secret.write_text("host secret\n")
    folder = (
        write(yard, templates__default__template_toml="", harnesses__generic_toml=HARNESS) / "templates" / "default"
    )
    yard.ok("init", "--trust")
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).symlink_to(secret if name.endswith(".md") else secret.parent)
    assert "is a link" in refused(yard)
    assert secret.read_text() == "host secret\n"


def test_a_projects_templates_cannot_be_somewhere_else(yard: Yard) -> None:
    (yard.folder / "elsewhere" / "default").mkdir(parents=True)
    (yard.folder / "elsewhere" / "default" / "template.toml").write_text("")
    write(yard, agents_toml="")
    (yard.repository / ".seatrial" / "templates").symlink_to(yard.folder / "elsewhere")
    assert "is a link" in refused(yard)


def test_harness_files_and_skills_stay_in_the_home_folder(yard: Yard) -> None:
    folder = write(yard, templates__default__template_toml="", templates__default__skills__x="planted")
    for place in (str(yard.folder / "outside"), "../../outside"):
        for key in ("skills", "instructions"):
            base = 'name = "generic"\nstart = ["true"]\n'
            write(yard, harnesses__generic_toml=f'{base}{key} = "{place}"\n')
            yard.ok("init", "--trust")
            assert "is not a path below" in refused(yard)
    assert folder.is_dir() and not list(yard.folder.rglob("outside"))


@pytest.mark.parametrize("name", ["/opt", "../../../outside", "a/b", ""])
def test_shared_folders_are_no_paths(yard: Yard, name: str) -> None:
    write(yard, agents_toml=f'[shared."{name}"]\n', templates__default__template_toml=f'shared = ["{name}"]\n')
    assert "shared folder" in refused(yard)


def test_included_files_are_not_written_through_links(yard: Yard) -> None:
    outside = yard.folder / "outside"
    outside.mkdir()
    (yard.repository / "config").symlink_to(outside)
    yard.git("add", "config")
    yard.git("commit", "-qm", "A link")
    yard.git("branch", "linked")
    yard.git("rm", "-q", "config")
    yard.git("commit", "-qm", "No link")
    (yard.repository / "config").mkdir()
    (yard.repository / "config" / ".env").write_text("planted\n")
    assert "is not a path below" in refused(yard, "--base", "linked", "--include", "config/.env")
    assert not list(outside.iterdir())


def test_the_folders_name_is_no_command_of_the_terminal(tmp_path: Path) -> None:
    terminal, marker = Terminal(tmp_path / "tmux"), tmp_path / "sprung"
    title = f'x"; run-shell "touch {marker}"; set -g status-left "#(touch {marker})'
    terminal.start(("sleep", "1000"), title=title, log=tmp_path / "log")
    assert terminal.is_open()
    terminal.close()
    assert not marker.exists()
