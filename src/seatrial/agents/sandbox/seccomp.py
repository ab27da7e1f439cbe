"""The system calls that a sandbox is refused, as a BPF program made here.

The program denies by list: what is refused is what reaches other processes, namespaces, mounts, kernel modules,
tracing, keyrings, and the parts of the kernel that escapes have come from.  It does not protect against faults in the
calls that are let through (files, memory, futex, ordinary sockets); a virtual machine is the answer to those.

Numbers are those of the kernel's tables for x86-64 and arm64 (`arch/x86/entry/syscalls/syscall_64.tbl`,
`include/uapi/asm-generic/unistd.h`); the format is that of `linux/filter.h` and `linux/seccomp.h`.
"""

from __future__ import annotations

import errno
import platform
import struct
from typing import Any

from seatrial.errors import SandboxError

_LOAD, _JUMP_EQUAL, _JUMP_GREATER_EQUAL, _JUMP_ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
_X32 = 0x40000000
_AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

# name: (x86-64, arm64); -1 where the architecture has no such call.
REFUSED: dict[str, tuple[int, int]] = {
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "open_tree_attr": (467, 467),
    "unshare": (272, 97),
    "setns": (308, 268),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "pidfd_getfd": (438, 438),
    "kcmp": (312, 272),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "clock_adjtime": (305, 266),
    "adjtimex": (159, 171),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "mknod": (133, -1),
    "mknodat": (259, 33),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "fanotify_init": (300, 262),
    "lookup_dcookie": (212, 18),
    "syslog": (103, 116),
    "vhangup": (153, 58),
    "iopl": (172, -1),
    "ioperm": (173, -1),
    "modify_ldt": (154, -1),
    "uselib": (134, -1),
    "nfsservctl": (180, 42),
    "move_pages": (279, 239),
    "migrate_pages": (256, 238),
    "mbind": (237, 235),
    "set_mempolicy": (238, 237),
    "vmsplice": (278, 75),
    "memfd_secret": (447, 447),
}
_CLONE, _CLONE3, _IOCTL, _SOCKET, _PERSONALITY = (56, 220), (435, 435), (16, 29), (41, 198), (135, 92)
_NEW_NAMESPACES = 0x7E020080  # CLONE_NEW{NS,CGROUP,UTS,IPC,USER,PID,NET,TIME}
_TERMINAL_INPUT = (0x5412, 0x541C, 0x541D)  # TIOCSTI, TIOCLINUX, TIOCCONS
_FAMILIES = (1, 2, 10, 16)  # AF_UNIX, AF_INET, AF_INET6, AF_NETLINK (glibc lists interfaces through it)
_PERSONALITIES = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)
_PERSONALITY_BITS, _TOP, _WORD = 0x20008, 0x80000000, 0xFFFFFFFF


def program(machine: str | None = None) -> bytes:
    """Return the filter for `machine` (default: this one) as an array of `struct sock_filter`.

    Refused calls give EPERM; clone3 gives ENOSYS, so that the C library falls back on clone, whose flags can be seen.
    Other architectures and the x32 calls end the process.  Raises SandboxError for an unknown machine.
    """
    machine = machine or platform.machine()
    if machine not in _AUDIT:
        raise SandboxError(f"There is no system call filter for {machine}.", hint="Use the podman or docker runtime.")
    column = 0 if machine == "x86_64" else 1
    code = [
        _op(_LOAD, _ARCHITECTURE),
        _op(_JUMP_EQUAL, _AUDIT[machine], 1, 0),
        _op(_RETURN, _KILL),
        _op(_LOAD, _NUMBER),
        *([_op(_JUMP_GREATER_EQUAL, _X32, 0, 1), _op(_RETURN, _KILL)] if column == 0 else []),
        *_on(_CLONE3[column], [_op(_RETURN, _ERRNO | errno.ENOSYS)]),
        *_on(
            _CLONE[column],
            [
                _op(_LOAD, _ARGUMENTS),
                _op(_JUMP_ANY_BIT, _NEW_NAMESPACES, 0, 1),
                _op(_RETURN, _ERRNO | errno.EPERM),
                _op(_RETURN, _ALLOW),
            ],
        ),
        *_on(_IOCTL[column], _refuse_values(1, _TERMINAL_INPUT)),
        *_on(_SOCKET[column], _allow_values(0, _FAMILIES, errno.EAFNOSUPPORT)),
        *_on(_PERSONALITY[column], _allow_values(0, _PERSONALITIES, errno.EPERM)),
    ]
    for numbers in REFUSED.values():
        if numbers[column] >= 0:
            code += _on(numbers[column], [_op(_RETURN, _ERRNO | errno.EPERM)])
    code.append(_op(_RETURN, _ALLOW))
    return b"".join(code)


def _op(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)


def _on(number: int, then: list[bytes]) -> list[bytes]:
    """Run `then`, which must return, for the call `number`; the accumulator holds the number and is kept otherwise."""
    return [_op(_JUMP_EQUAL, number, 0, len(then)), *then]


def _refuse_values(argument: int, values: tuple[int, ...]) -> list[bytes]:
    # The kernel reads an ioctl's command from the low 32 bits; so does this.
    refusals = [step for value in values for step in _on(value, [_op(_RETURN, _ERRNO | errno.EPERM)])]
    return [_op(_LOAD, _ARGUMENTS + 8 * argument), *refusals, _op(_RETURN, _ALLOW)]


def _allow_values(argument: int, values: tuple[int, ...], error: int) -> list[bytes]:
    allowed = [step for value in values for step in _on(value, [_op(_RETURN, _ALLOW)])]
    return [_op(_LOAD, _ARGUMENTS + 8 * argument), *allowed, _op(_RETURN, _ERRNO | error)]


def profile() -> dict[str, Any]:
    """Return the same filter as container engines take it, ready for JSON.

    An engine leaves out calls whose names its libseccomp does not know; those stay allowed there.
    """
    rules = [
        {"names": list(REFUSED), "action": "SCMP_ACT_ERRNO", "errnoRet": errno.EPERM},
        {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno.ENOSYS},
        *(_rule("clone", 0, errno.EPERM, bit, bit) for bit in _bits(_NEW_NAMESPACES)),
        *(_rule("ioctl", 1, errno.EPERM, _WORD, value) for value in _TERMINAL_INPUT),
        *(_rule("socket", 0, errno.EAFNOSUPPORT, _WORD, value) for value in range(32) if value not in _FAMILIES),
        *(_rule("socket", 0, errno.EAFNOSUPPORT, bit, bit) for bit in _bits(_WORD & ~31)),
        # Every bit is refused that no allowed personality has; the highest one is set in the question for it alone.
        *(_rule("personality", 0, errno.EPERM, bit | _TOP, bit) for bit in _bits(_WORD & ~(_PERSONALITY_BITS | _TOP))),
        *(_rule("personality", 0, errno.EPERM, bit | _TOP, _TOP) for bit in _bits(_WORD & ~_TOP)),
    ]
    return {
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64" if platform.machine() == "x86_64" else "SCMP_ARCH_AARCH64"],
        "syscalls": rules,
    }


def _rule(name: str, argument: int, error: int, mask: int, value: int) -> dict[str, Any]:
    """Refuse the call when the bits of `mask` in an argument are those of `value`."""
    test = {"index": argument, "op": "SCMP_CMP_MASKED_EQ", "value": mask, "valueTwo": value}
    return {"names": [name], "action": "SCMP_ACT_ERRNO", "errnoRet": error, "args": [test]}


def _bits(mask: int) -> list[int]:
    return [1 << place for place in range(32) if mask >> place & 1]
