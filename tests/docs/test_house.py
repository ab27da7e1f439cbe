"""The rules of the house, as tests (ARCHITECTURE.md says why)."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

SOURCE = REPOSITORY / "src" / "seatrial"
CORE = {"pages", "errors", "paths", "settings", "store", "evidence", "prices"}
AREAS = {"vision", "agents", "database", "canary"}
MAY_IMPORT = {
    **dict.fromkeys(CORE, CORE),
    **{area: CORE | {area} for area in AREAS},
    "trials": CORE | AREAS | {"trials"},
    "cli": CORE | AREAS | {"trials", "cli"},
    "web": CORE | AREAS | {"trials", "web"},
}
HEAVY = ("numpy", "PIL", "torch", "psycopg", "starlette", "jinja2", "tokenizers", "av", "sqlalchemy", "rich", "h11")
MOST_LINES = 400
MOST_FUNCTION_LINES = 60


def python_files(*folders: str) -> list[Path]:
    return [file for folder in folders for file in sorted((REPOSITORY / folder).rglob("*.py"))]


def part_of(file: Path) -> str:
    return file.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names if node.module == "seatrial")


@pytest.mark.parametrize("file", python_files("src/seatrial"), ids=lambda f: str(f.relative_to(SOURCE)))
def test_imports_follow_the_arrows(file: Path) -> None:
    part = part_of(file)
    if part == "__init__":
        return
    for name in imported(ast.parse(file.read_text())):
        pieces = name.split(".")
        if pieces[0] == "seatrial" and len(pieces) > 1 and not pieces[1].startswith("__"):
            assert pieces[1] in MAY_IMPORT[part], f"{part} must not import {name}"


def test_commands_use_only_the_facade_of_an_area() -> None:
    for file in python_files("src/seatrial/cli", "src/seatrial/web"):
        for name in imported(ast.parse(file.read_text())):
            pieces = name.split(".")
            assert not (pieces[0] == "seatrial" and len(pieces) > 2 and pieces[1] in AREAS), f"{file.name}: {name}"


@pytest.mark.parametrize("arguments", [["--help"], ["see", "--help"], ["see", "ask", "--help"], ["version"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = f"import sys; from seatrial.cli import main\ntry: main({arguments!r})\nfinally: print(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules = set(ast.literal_eval(done.stdout.splitlines()[-1]))
    assert not modules & set(HEAVY)


def test_importing_has_no_side_effects(tmp_path: Path) -> None:
    code = "import seatrial.vision, seatrial.evidence, seatrial.cli"
    environment = {**os.environ, "SEATRIAL_HOME": str(tmp_path / "home"), "HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert (done.stdout, done.stderr) == ("", "")
    assert list(tmp_path.iterdir()) == [tmp_path / "seatrial-home"] or list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["cli.md", "settings.md"])
def test_generated_pages_are_current(name: str) -> None:
    from seatrial.cli.reference import PAGES

    assert (REPOSITORY / "docs" / name).read_text() == PAGES[name](), "run: make docs"


def test_every_command_has_help_and_an_example() -> None:
    import click

    from seatrial.cli import seatrial
    from seatrial.cli.reference import walk

    for path, command in walk(seatrial, "seatrial"):
        assert command.help, path
        if not isinstance(command, click.Group):
            assert "Example" in command.help, path
            assert any("--json" in option.opts for option in command.params), path


@pytest.mark.parametrize(
    "file",
    [
        *python_files("src", "tests", "bench", "recipes", "examples"),
        *sorted((REPOSITORY / "native").rglob("*.[ch]*")),
    ],
    ids=lambda f: str(f.relative_to(REPOSITORY)),
)
def test_files_and_functions_are_short(file: Path) -> None:
    text = file.read_text()
    assert len(text.splitlines()) <= MOST_LINES
    if file.suffix == ".py":
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno is not None
                assert node.end_lineno - node.lineno < MOST_FUNCTION_LINES, node.name


@pytest.mark.parametrize("file", python_files("src/seatrial"), ids=lambda f: str(f.relative_to(SOURCE)))
def test_public_docstrings_state_shapes_and_errors(file: Path) -> None:
    for node in ast.parse(file.read_text()).body:
        if not isinstance(node, ast.FunctionDef) or node.name.startswith("_"):
            continue
        about = ast.get_docstring(node) or ""
        signature = ast.unparse(node.args) + ast.unparse(node.returns or ast.Constant(None))
        if re.search(r"\b(Array|NDArray)\b", signature) and node.name not in ("gelu_tanh", "softmax"):
            assert re.search(r"\[.*\]|any shape", about), f"{node.name}: the docstring must give shapes"
        raised = {
            name.id
            for child in ast.walk(node)
            if isinstance(child, ast.Raise) and isinstance(child.exc, ast.Call)
            for name in [child.exc.func]
            if isinstance(name, ast.Name) and name.id.endswith("Error")
        }
        if raised and "cli" not in file.parts:
            assert "Error" in about, f"{node.name} raises {raised}: the docstring must say so"


def test_no_mocks_and_no_vague_names() -> None:
    forbidden = "unittest" + ".mock"
    for file in python_files("src", "tests", "bench", "recipes"):
        assert forbidden not in file.read_text(), file
        assert file.stem not in {"utils", "helpers", "manager", "common"}, file


def test_vision_model_files_name_their_source() -> None:
    for name in ("tower", "decoder", "pictures", "video", "prompt", "config"):
        assert "transformers" in (ast.get_docstring(ast.parse((SOURCE / f"vision/{name}.py").read_text())) or "")


def test_tree_in_architecture_is_true() -> None:
    text = (REPOSITORY / "ARCHITECTURE.md").read_text()
    for name in re.findall(r"^ {2}(\w+\.py)\b", text, flags=re.MULTILINE):
        assert list(SOURCE.rglob(name)), f"ARCHITECTURE.md names {name}"
    described = [SOURCE, *(SOURCE / area for area in ("vision", "agents", "database"))]
    for file in (file for folder in described for file in folder.glob("*.py")):
        if file.name != "__init__.py":
            assert file.name in text, f"ARCHITECTURE.md leaves out {file.name}"


def test_readme_commands_exist() -> None:
    from seatrial.cli import seatrial
    from seatrial.cli.reference import walk

    known = {path for path, _ in walk(seatrial, "seatrial")}
    text = (REPOSITORY / "README.md").read_text()
    for line in re.findall(r"^\$ (seatrial [a-z]+(?: [a-z]+)?)", text, flags=re.MULTILINE):
        assert line in known or line.rsplit(" ", 1)[0] in known, line
