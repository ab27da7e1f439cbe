"""The filter, read back by a small interpreter of the program, so that every path of it is seen."""

from __future__ import annotations

import errno
import struct

import pytest

from seatrial.agents.sandbox import seccomp
from seatrial.errors import SandboxError

ALLOW, KILL, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}


def decide(machine: str, number: int, *arguments: int, architecture: int | None = None) -> int:
    code = [
        struct.unpack_from("=HBBI", seccomp.program(machine), at) for at in range(0, len(seccomp.program(machine)), 8)
    ]
    data = struct.pack(
        "=IIQ6Q", number, architecture or ARCHITECTURES[machine], 0, *arguments, *[0] * (6 - len(arguments))
    )
    at = value = 0
    while True:
        operation, if_true, if_false, constant = code[at]
        at += 1
        if operation == 0x20:
            value = struct.unpack_from("=I", data, constant)[0]
        elif operation == 0x06:
            return int(constant)
        else:
            hit = {0x15: value == constant, 0x35: value >= constant, 0x45: bool(value & constant)}[operation]
            at += if_true if hit else if_false


@pytest.mark.parametrize("machine", ARCHITECTURES)
def test_every_listed_call_is_refused_and_others_pass(machine: str) -> None:
    column = list(ARCHITECTURES).index(machine)
    for name, numbers in seccomp.REFUSED.items():
        if numbers[column] >= 0:
            assert decide(machine, numbers[column]) == ERRNO | errno.EPERM, name
    refused = {numbers[column] for numbers in seccomp.REFUSED.values()}
    for number in range(460):
        if number not in refused and decide(machine, number) != ALLOW:
            assert number in (56, 435, 41, 135) if machine == "x86_64" else number in (220, 435, 198, 92, 29), number


def test_clone_with_namespaces_is_refused_and_clone3_is_not_there() -> None:
    assert decide("x86_64", 56, 17) == ALLOW
    for flag in (0x10000000, 0x40000000, 0x20000, 0x80, 0x02000000):
        assert decide("x86_64", 56, flag | 17) == ERRNO | errno.EPERM
    assert decide("x86_64", 435) == ERRNO | errno.ENOSYS


def test_terminal_input_and_strange_sockets_are_refused() -> None:
    assert decide("x86_64", 16, 0, 0x5412) == ERRNO | errno.EPERM
    assert decide("x86_64", 16, 0, 0x5412 | 1 << 40) == ERRNO | errno.EPERM  # the kernel looks at 32 bits
    assert decide("x86_64", 16, 0, 0x5413) == ALLOW
    assert [decide("x86_64", 41, family) == ALLOW for family in (1, 2, 10, 16, 17, 38, 40)] == [True] * 4 + [False] * 3


def test_other_architectures_and_x32_end_the_process() -> None:
    assert decide("x86_64", 1, architecture=0x40000003) == KILL
    assert decide("x86_64", 0x40000001) == KILL


def test_an_unknown_machine_is_an_error() -> None:
    with pytest.raises(SandboxError, match="riscv64"):
        seccomp.program("riscv64")
