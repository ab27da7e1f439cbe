"""How the implementation of the operations is chosen, and what is said when it cannot be."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from seatrial.errors import SettingError
from seatrial.vision import ops

NATIVE = [name for name in ops.available() if name != "reference"]
needs_native = pytest.mark.skipif(not NATIVE, reason="the extension is not built")


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    variables = {**os.environ, **environment}
    return subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True, timeout=60)


def test_the_reference_is_always_available_and_last() -> None:
    assert ops.available()[-1] == "reference"
    assert ops.available() == [*[s for s in ops.INSTRUCTION_SETS if s in ops.available()], "reference"]


def test_each_name_gives_its_own_instance() -> None:
    for name in NATIVE:
        assert (ops.select(name).name, ops.select(name).instruction_set) == ("native", name)
        assert ops.select(name) is ops.select(name)
    assert ops.select("reference").name == "reference"
    assert ops.select("auto").instruction_set == ops.select(ops.available()[0]).instruction_set


@needs_native
def test_native_means_its_best_instruction_set() -> None:
    assert ops.select("native").instruction_set == NATIVE[0]


def test_an_unknown_name_lists_the_allowed_ones() -> None:
    with pytest.raises(SettingError, match="'sse9'") as raised:
        ops.select("sse9")
    for choice in ops.CHOICES:
        assert choice in str(raised.value.hint)


def test_describe_says_what_runs() -> None:
    facts = ops.describe()
    assert facts["available"] == ops.available()
    assert facts["implementation"] in ("native", "reference")
    assert len(facts["available"]) - 1 + len(facts["attempts"]) >= (len(ops.INSTRUCTION_SETS) if NATIVE else 1)


@pytest.mark.parametrize("name", ops.available())
def test_the_environment_forces_a_choice(name: str) -> None:
    code = "from seatrial.vision import ops; o = ops.select(); print(o.name, o.instruction_set)"
    expected = "reference numpy" if name == "reference" else f"native {name}"
    assert run(code, SEATRIAL_OPS=name).stdout.split("\n")[0] == expected
    assert run(code, SEATRIAL_OPS=name.upper()).stdout.split("\n")[0] == expected


def test_a_wrong_value_in_the_environment_is_refused() -> None:
    code = (
        "from seatrial.vision import ops\n"
        "from seatrial.errors import SettingError\n"
        "try: ops.select()\n"
        "except SettingError as error: print(error.message, error.hint)"
    )
    said = run(code, SEATRIAL_OPS="fastest").stdout
    assert "fastest" in said and "reference" in said and "avx2" in said


BROKEN = (
    "import sys; sys.modules['seatrial.vision.ops._native'] = None\n"
    "from seatrial.vision import ops\n"
    "from seatrial.errors import SettingError\n"
)


def test_without_the_extension_the_reference_runs_and_says_why() -> None:
    result = run(
        BROKEN + "d = ops.describe(); print(d['implementation'], d['available'], d['attempts'])",
        SEATRIAL_OPS="",
    )
    assert result.stdout.startswith("reference ['reference']"), result.stderr
    assert "native: not part of this installation" in result.stdout


@pytest.mark.parametrize("name", ["native", "avx2"])
def test_without_the_extension_native_is_refused(name: str) -> None:
    code = BROKEN + "try: ops.select()\nexcept SettingError as error: print(error.message, '|', error.hint)"
    result = run(code, SEATRIAL_OPS=name)
    assert f"SEATRIAL_OPS={name} is not available here" in result.stdout, result.stderr
    assert "available: reference" in result.stdout


@needs_native
def test_a_set_of_another_architecture_is_refused_in_words() -> None:
    foreign = "avx2" if platform.machine() in ("aarch64", "arm64") else "neon"
    with pytest.raises(SettingError, match=f"SEATRIAL_OPS={foreign} is not .*{foreign}: not compiled in"):
        ops.select(foreign)


@needs_native
def test_the_number_of_threads_can_be_set() -> None:
    code = "from seatrial.vision import ops; print(ops.select('native').threads)"
    assert run(code, SEATRIAL_THREADS="3").stdout.strip() == "3"
    assert int(run(code, SEATRIAL_THREADS="").stdout) <= len(os.sched_getaffinity(0))


@needs_native
def test_more_threads_than_work_and_than_cpus() -> None:
    code = (
        "import numpy as np\n"
        "from seatrial.vision import ops\n"
        "o, r = ops.select('native'), ops.select('reference')\n"
        "rng = np.random.default_rng(0)\n"
        "for m, k, n in [(1, 40, 17), (70, 300, 500)]:\n"
        "    x, w = rng.standard_normal((m, k), np.float32), rng.standard_normal((n, k), np.float32)\n"
        "    for p in ('f32', 'bf16'):\n"
        "        a, b = o.linear(x, o.pack(w, None, p)), r.linear(x, r.pack(w, None, p))\n"
        "        assert np.abs(a - b).max() < 1e-4 * np.abs(b).max()\n"
        "print('fine')"
    )
    for threads in ("1", "7"):
        assert run(code, SEATRIAL_THREADS=threads).stdout.strip() == "fine"


@needs_native
def test_a_forked_child_gets_its_own_pool() -> None:
    code = (
        "import os, numpy as np\n"
        "from seatrial.vision import ops\n"
        "o = ops.select('native')\n"
        "x, w = np.ones((200, 300), np.float32), o.pack(np.ones((400, 300), np.float32), None, 'f32')\n"
        "before = o.linear(x, w)\n"
        "child = os.fork()\n"
        "same = np.array_equal(o.linear(x, w), before)\n"
        "if child == 0: os._exit(0 if same else 1)\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), same)"
    )
    assert run(code, SEATRIAL_THREADS="4", PYTHONWARNINGS="ignore").stdout.strip() == "0 True"
