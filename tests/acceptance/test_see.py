from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from seatrial.vision.ops import available
from tests.acceptance.bad_inputs import BAD_FILES, BAD_MODELS
from tests.acceptance.conftest import Run
from tests.conftest import REPOSITORY
from tests.golden.cases import picture
from tests.unit.vision.test_documents import pdf
from tests.unit.vision.test_video import encoded

EXAMPLES = REPOSITORY / "examples"


@pytest.fixture
def model(checkpoints: dict[str, Path]) -> Path:
    return checkpoints["like-256m"]


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    picture(64, 48).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_ask(as_json: Any, model: Path, photo: Path) -> None:
    answer = as_json("see", "ask", photo, "What is it?", "--model", model, "--precision", "f32", "--max-new-tokens", 5)
    assert answer["ok"] is True
    assert {"text", "tokens", "prompt_tokens", "grids", "timings"} <= set(answer)
    assert answer["grids"] == [[3, 4]]
    assert len(answer["tokens"]) <= 5


def test_document_and_clip_in_one_question(as_json: Any, model: Path, tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(pdf())
    (tmp_path / "b.mp4").write_bytes(encoded(30))
    answer = as_json("see", "ask", "a.pdf", "b.mp4", "?", "--model", model, "--pages", "1,3", "--max-new-tokens", 3)
    assert answer["grids"] == [[2, 4], [2, 4], [3, 1]]
    assert answer["tiles"] == 9 + 9 + 3


@pytest.mark.parametrize("operations", available())
def test_every_implementation_gives_the_same_answer(as_json: Any, model: Path, photo: Path, operations: str) -> None:
    ask = ("see", "ask", photo, "What is it?", "--model", model, "--precision", "f32", "--max-new-tokens", 8)
    assert as_json(*ask, SEATRIAL_OPS=operations)["tokens"] == as_json(*ask, SEATRIAL_OPS="reference")["tokens"]


def test_plain_output_is_the_answer_alone(run: Run, model: Path, photo: Path) -> None:
    done = run("see", "ask", photo, "What?", "--model", model, "--timings", "--max-new-tokens", 4)
    assert done.returncode == 0
    assert done.stdout.endswith("\n")
    assert "first token" in done.stderr
    assert "first token" not in done.stdout


def test_standard_input_is_a_file(model: Path, photo: Path) -> None:
    command = [Path(sys.executable).with_name("seatrial"), "see", "prompt", "-", "What?", "--model", model, "--json"]
    done = subprocess.run(command, input=photo.read_bytes(), capture_output=True, check=True)
    assert json.loads(done.stdout)["media"][0]["size"] == [64, 48]


def test_prompt_shows_without_running(as_json: Any, run: Run, model: Path, photo: Path) -> None:
    shown = as_json("see", "prompt", photo, "What?", "--model", model)
    assert shown["prompt_tokens"] == len(shown["ids"])
    assert shown["media"] == [{"kind": "picture", "rows": 3, "cols": 4, "tiles": 13, "size": [64, 48]}]
    assert "<image>×4" in run("see", "prompt", photo, "What?", "--model", model).stdout


def test_sheet_shows_every_tile(run: Run, model: Path, photo: Path, tmp_path: Path) -> None:
    (tmp_path / "b.mp4").write_bytes(encoded(30))
    done = run("see", "prompt", photo, "b.mp4", "What?", "--model", model, "--sheet", "tiles.png")
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "tiles.png") as sheet:
        assert sheet.size == (5 * 164 + 32, 3 * 164 + 164 + 48)
    assert run("see", "prompt", "What?", "--model", model, "--sheet", "tiles.png").returncode == 2
    assert run("see", "prompt", photo, "?", "--model", model, "--sheet", "no/tiles.png").returncode == 2


def test_info(as_json: Any, run: Run, model: Path) -> None:
    facts = as_json("see", "info", model)
    parts = facts["parameters"]
    assert parts["total"] == sum(count for part, count in parts.items() if part != "total")
    assert facts["memory"]["f32"] > facts["memory"]["bf16"]
    assert "context 8,192" in run("see", "info", model).stdout


def test_convert_and_ask(as_json: Any, run: Run, model: Path, photo: Path) -> None:
    made = as_json("see", "convert", model, "gguf", "--type", "bf16")
    assert (made["ok"], made["form"], made["type"]) == (True, "gguf", "bf16")
    assert made["files"] == ["like-256m-BF16.gguf", "mmproj-like-256m-BF16.gguf"]
    ask = ("see", "ask", photo, "What is it?", "--precision", "f32", "--max-new-tokens", 5, "--no-cache")
    tokens = as_json(*ask, "--model", model)["tokens"]
    assert as_json(*ask, "--model", "gguf")["tokens"] == tokens
    assert as_json(*ask, "--model", "gguf/like-256m-BF16.gguf")["tokens"] == tokens
    apart = (photo.parent / "gguf" / "mmproj-like-256m-BF16.gguf").rename(photo.parent / "apart.gguf")
    assert as_json(*ask, "--model", "gguf", "--mmproj", apart)["tokens"] == tokens
    done = run("see", "convert", "gguf/like-256m-BF16.gguf", "back", "--mmproj", apart)
    assert done.returncode == 0
    assert re.fullmatch(r"\d+ tensors, bf16, [\d.]+ MB in back\n", done.stdout)
    assert as_json(*ask, "--model", "back")["tokens"] == tokens
    again = run("see", "convert", model, "back")
    assert (again.returncode, again.stderr.splitlines()[0]) == (1, "error: back is in use.")


def test_pull_offline_is_one_sentence(run: Run) -> None:
    done = run("see", "pull", "HuggingFaceTB/SmolVLM2-256M-Video-Instruct", HF_ENDPOINT="http://127.0.0.1:9")
    assert done.returncode == 1
    assert done.stderr.startswith("error: The hub cannot be reached")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", sorted(BAD_FILES))
def test_bad_files(run: Run, as_json: Any, model: Path, tmp_path: Path, name: str) -> None:
    """One line, exit code 1, the same sentence as JSON."""
    make, complaint, options = BAD_FILES[name]
    file = make(tmp_path)
    arguments = ["see", "ask", file, "What?", "--model", model, *options]
    done = run(*arguments)
    assert done.returncode == 1
    assert complaint in done.stderr
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) <= 2
    assert done.stdout == ""
    assert complaint in as_json(*arguments)["error"]["message"]


@pytest.mark.parametrize("name", sorted(BAD_MODELS))
def test_bad_models(run: Run, broken: Any, photo: Path, name: str) -> None:
    damage, complaint = BAD_MODELS[name]
    done = run("see", "ask", photo, "What?", "--model", broken(damage))
    assert (done.returncode, done.stdout) == (1, "")
    assert complaint in done.stderr
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) <= 2


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["see", "ask"], "Missing argument"),
        (["see", "ask", "x", "--precision", "f64"], "Invalid value for '--precision'"),
        (["see", "ask", "x", "--temperature", "-1"], "temperature"),
        (["see", "ask", "x", "--nope"], "No such option"),
        (["nope"], "No such command"),
    ],
)
def test_wrong_usage_is_exit_code_2(run: Run, as_json: Any, arguments: list[str], complaint: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert complaint in done.stderr
    assert as_json(*arguments)["ok"] is False


def test_debug_shows_the_traceback(run: Run) -> None:
    done = run("see", "info", "nowhere", SEATRIAL_DEBUG="1")
    assert done.stderr.startswith("error: There is no model nowhere.")
    assert "Traceback" in done.stderr


def test_home_that_cannot_be_written(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = run("evidence", "list", SEATRIAL_HOME=str(tmp_path / "file" / "home"))
    assert done.returncode == 1
    assert "Cannot write in" in done.stderr


def start(*arguments: object) -> subprocess.Popen[bytes]:
    """Start the command on the slow operations, so that it is still working after its first word."""
    command = [Path(sys.executable).with_name("seatrial"), *map(str, arguments)]
    environment = {**os.environ, "SEATRIAL_OPS": "reference", "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)


ENDLESS = ("--temperature", 5, "--seed", 1, "--max-new-tokens", 8000)


def test_interrupt_is_exit_code_130(model: Path) -> None:
    with start("see", "ask", "Go on", "--model", model, *ENDLESS) as process:
        assert process.stdout and process.stderr
        process.stdout.read(1)  # the answer has begun
        process.send_signal(signal.SIGINT)
        errors = process.stderr.read()
        assert process.wait() == 130
    assert errors.decode().strip() == "error: Interrupted."


@pytest.mark.parametrize("package", ["numpy", "av", "tokenizers"])
def test_missing_extra_names_the_command(package: str) -> None:
    code = f"import sys; sys.modules[{package!r}] = None; from seatrial.cli import main; main(['see', 'ask', 'x'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert f"needs the Python package '{package}'" in done.stderr
    assert "pip install 'seatrial[vision]'" in done.stderr


def test_answers_stream(model: Path) -> None:
    """The first word comes while the model is still working, not at the end."""
    with start("see", "ask", "Go on", "--model", model, *ENDLESS) as process:
        assert process.stdout
        assert process.stdout.read(1)
        assert process.poll() is None
        process.kill()


def test_reader_that_goes_away(model: Path) -> None:
    command = f"{Path(sys.executable).with_name('seatrial')} see prompt --model {model} hello | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert "Traceback" not in done.stderr


def test_doctor(as_json: Any) -> None:
    facts = as_json("doctor")
    vision = next(check for check in facts["checks"] if check["name"] == "vision")
    assert vision["facts"]["instruction_set"] in [*available(), "numpy"]


def test_doctor_names_a_forced_choice(as_json: Any) -> None:
    facts = as_json("doctor", SEATRIAL_OPS="reference")
    vision = next(check for check in facts["checks"] if check["name"] == "vision")
    assert vision["facts"]["implementation"] == "reference"


@pytest.mark.parametrize("entry", json.loads((EXAMPLES / "questions.json").read_text()), ids=lambda e: e["question"])
def test_the_bundled_model_answers_about_the_examples(as_json: Any, entry: dict[str, Any]) -> None:
    pages = ["--pages", entry["page"]] if "page" in entry else []
    answer = as_json("see", "ask", EXAMPLES / entry["file"], entry["question"], *pages)
    assert answer["text"] == entry["answer"]
