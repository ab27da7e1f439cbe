"""What a hostile agent tries against its sandbox.  One agent for all; each probe says what was expected."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.agents.conftest import Yard

KEY = "sk-real-" + "k3y" * 12
LIMITS = ("--memory", "256MiB", "--disk", "200MiB", "--allow", "allowed.example")


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    """Agent `eve`, with a real key at the gateway; agent `bob` beside her."""
    folder = tmp_path_factory.mktemp("attacked")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEATRIAL_HOME", str(folder / "seatrial-home"))
        yard = Yard(folder, folder / "seatrial-home")
        yard.model()
        text = (yard.home / "agents.toml").read_text().replace("key = false", 'key = "anthropic"')
        yard.configure(text)
        yard.ok("keys", "set", "anthropic", stdin=KEY)
        (folder / "secret").write_text("host secret\n")
        yard.ok("start", "eve", "say hello", "-H", "mini", *LIMITS)
        yard.generic("bob")
        yard.ok("wait", "eve")
        yard.inside("bob", "echo private > ~/private")
        yield yard
        yard.close()


def python(yard: Yard, code: str) -> str:
    """Run Python inside and return what it printed, refusals as the error's name."""
    lines = "\n".join(f"    {line}" for line in code.strip().splitlines())
    program = (
        "import ctypes, errno, os, socket, struct, fcntl\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "def call(*a):\n    r = libc.syscall(*a)\n"
        "    return 'done' if r >= 0 else errno.errorcode[ctypes.get_errno()]\n"
        f"try:\n{lines}\nexcept OSError as problem:\n    print(errno.errorcode.get(problem.errno, str(problem)))\n"
    )
    done = yard.run("exec", "eve", "--", "python3", "-c", program)
    return str(done.stdout + done.stderr).strip()


REFUSED_CALLS = {
    "mount": "call(165, b'tmpfs', b'/tmp', b'tmpfs', 0, 0)",
    "umount": "call(166, b'/tmp', 2)",
    "pivot_root": "call(155, b'/tmp', b'/tmp')",
    "chroot": "call(161, b'/tmp')",
    "open_tree": "call(428, -100, b'/', 1)",
    "fsopen": "call(430, b'tmpfs', 0)",
    "unshare user": "call(272, 0x10000000)",
    "unshare net": "call(272, 0x40000000)",
    "clone user": "call(56, 0x10000000 | 17, 0, 0, 0, 0)",
    "setns": "call(308, os.open('/proc/self/ns/net', os.O_RDONLY), 0)",
    "ptrace": "call(101, 16, 1, 0, 0)",
    "process_vm_readv": "call(310, 1, 0, 0, 0, 0, 0)",
    "pidfd_getfd": "call(438, 0, 0, 0)",
    "bpf": "call(321, 0, 0, 0)",
    "perf_event_open": "call(298, 0, 0, -1, -1, 0)",
    "userfaultfd": "call(323, 0)",
    "io_uring_setup": "call(425, 8, 0)",
    "keyctl": "call(250, 0, -3, 0)",
    "add_key": "call(248, b'user', b'x', b'y', 1, -3)",
    "init_module": "call(175, 0, 0, b'')",
    "kexec_load": "call(246, 0, 0, 0, 0)",
    "reboot": "call(169, 0xfee1dead, 672274793, 0x1234567, 0)",
    "swapon": "call(167, b'/tmp/x', 0)",
    "mknod": "call(133, b'/tmp/dev', 0o20666, 0x0103)",
    "mknodat": "call(259, -100, b'/tmp/dev', 0o60666, 0x0800)",
    "name_to_handle_at": "call(303, -100, b'/', 0, 0, 0)",
    "open_by_handle_at": "call(304, 3, 0, 0)",
    "settimeofday": "call(164, 0, 0)",
    "sethostname": "call(170, b'x', 1)",
    "syslog": "call(103, 10, 0, 0)",
    "memfd_secret": "call(447, 0)",
}


@pytest.mark.parametrize("name", REFUSED_CALLS)
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="numbers of system calls are those of x86-64")
def test_system_calls_are_refused(attacked: Yard, name: str) -> None:
    assert python(attacked, f"print({REFUSED_CALLS[name]})") == "EPERM"


OTHERS = {
    "clone3 is not there, so that clone is seen": ("print(call(435, 0, 0))", "ENOSYS"),
    "input into the terminal": ("print(fcntl.ioctl(0, 0x5412, b'x'))", "EPERM"),
    "packet sockets": ("print(socket.socket(17, 3, 0))", "EAFNOSUPPORT"),
    "vsock": ("print(socket.socket(40, 1, 0))", "EAFNOSUPPORT"),
    "kernel crypto sockets": ("print(socket.socket(38, 5, 0))", "EAFNOSUPPORT"),
    "raw sockets": ("print(socket.socket(2, 3, 1))", "EPERM"),
    "signal to the first process": ("print(os.kill(1, 9))", None),
    "signals to processes of the host": (f"print(os.kill({os.getpid()}, 0))", "ESRCH"),
    "a device of the host": ("print(os.listdir('/dev'))", None),
    "becoming root": ("print(os.setuid(0))", "EINVAL"),
    "DNS": ("print(socket.getaddrinfo('example.com', 80))", None),
    "an address outside": ("print(socket.create_connection(('8.8.8.8', 53), 3))", "ENETUNREACH"),
    "metadata": ("print(socket.create_connection(('169.254.169.254', 80), 3))", "ENETUNREACH"),
    "IPv6": ("print(socket.create_connection(('2001:4860:4860::8888', 53), 3))", "ENETUNREACH"),
    "UDP": ("s = socket.socket(2, 2); print(s.sendto(b'x', ('8.8.8.8', 53)))", "ENETUNREACH"),
    "kernel settings": ("print(open('/proc/sys/kernel/core_pattern', 'w'))", None),
    "system files": ("print(open('/usr/bin/pwned', 'w'))", "EROFS"),
    "files of /etc": ("print(open('/etc/passwd', 'a'))", None),
    "the root folder": ("print(open('/pwned', 'w'))", "EROFS"),
    "our own files": ("print(open('/run/seatrial/bin/seatrial-agent', 'a'))", None),
    "borrowed objects": ("print(open('/run/seatrial/objects/pwned', 'w'))", None),
}


@pytest.mark.parametrize("what", OTHERS)
def test_ways_out_are_closed(attacked: Yard, what: str) -> None:
    code, expected = OTHERS[what]
    seen = python(attacked, code)
    if expected is not None:
        assert seen == expected
    elif what == "a device of the host":
        assert not {"sda", "vda", "mem", "kmsg", "kvm", "fuse", "net", "loop0"} & set(eval(seen))
    elif what == "signal to the first process":
        assert attacked.agent("eve")["phase"] == "running"  # the kernel shields the first process of a namespace
    else:
        assert (
            seen in ("EROFS", "EACCES", "EPERM", "ENOENT") or "Name or service" in seen or "Temporary failure" in seen
        )


def test_files_of_the_host_and_of_other_agents_are_not_there(attacked: Yard) -> None:
    for path in (attacked.folder / "secret", attacked.home, attacked.repository / "a.txt", "/etc/shadow", "/root/.ssh"):
        assert attacked.inside("eve", f"cat '{path}' || ls '{path}'").returncode != 0, path
    found = attacked.inside("eve", "cat /home/*/private /proc/*/root/home/*/private 2>/dev/null; ls /home").stdout
    assert found.split() == ["agent"]
    processes = attacked.inside("eve", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '").stdout
    assert "supervise" not in processes and "pytest" not in processes


def test_links_out_of_the_workspace_lead_nowhere(attacked: Yard) -> None:
    secret = attacked.folder / "secret"
    attacked.inside(
        "eve", f"ln -s '{secret}' link; ln -s /proc/1/root/etc/shadow shadow; git add -A; git commit -qm links"
    )
    assert attacked.inside("eve", "cat link shadow").returncode != 0
    shown = attacked.run("diff", "eve").stdout
    assert "host secret" not in shown
    assert attacked.inside("eve", f"ln '{secret}' hard").returncode != 0
    attacked.inside("eve", "git rm -q link shadow; git commit -qm 'no links'")


def test_the_key_is_nowhere_inside(attacked: Yard) -> None:
    search = f"""
import os
key = bytes.fromhex({KEY.encode().hex()!r})[::-1]
needle = key[::-1]
found = []
for pid in filter(str.isdigit, os.listdir("/proc")):
    for name in ("environ", "cmdline"):
        try:
            if needle in open(f"/proc/{{pid}}/{{name}}", "rb").read(): found.append((pid, name))
        except OSError: pass
    if int(pid) == os.getpid(): continue
    try:
        maps = [line.split() for line in open(f"/proc/{{pid}}/maps")]
        memory = open(f"/proc/{{pid}}/mem", "rb", 0)
        for part in maps:
            start, end = (int(x, 16) for x in part[0].split("-"))
            if "r" in part[1] and end - start < 1 << 28:
                try:
                    memory.seek(start)
                    if needle in memory.read(end - start): found.append((pid, part[0]))
                except (OSError, ValueError, OverflowError): pass
    except OSError: pass
for top in ("/home", "/workspace", "/run", "/tmp", "/dev/shm", "/etc"):
    for folder, _, files in os.walk(top):
        for file in files:
            try:
                path = os.path.join(folder, file)
                if needle in open(path, "rb").read(1 << 24): found.append(path)
            except OSError: pass
print(found)
"""
    file = attacked.state("eve") / "home" / "search.py"
    file.write_text(search.replace("key[::-1]\nfound", "key[::-1]\ndel key\nfound"))
    file.chmod(0o644)
    assert attacked.inside("eve", "python3 ~/search.py").stdout.strip().replace("'/home/agent/search.py'", "") == "[]"


def test_the_key_is_in_no_recording_and_no_state(attacked: Yard) -> None:
    for file in attacked.home.rglob("*"):
        if file.is_file() and file.name != "keys.toml":
            assert KEY.encode() not in file.read_bytes(), file
    assert any(attacked.home.glob("agents/*/agents/eve/recording/*/exchanges.jsonl"))


def test_the_gateway_refuses_what_is_not_listed(attacked: Yard) -> None:
    ask = "curl -sS -m 10 -o /dev/null -w '%{http_code} %{http_connect}' "
    for target in (
        "https://example.com/", "http://example.com/", "http://169.254.169.254/latest/", "http://127.0.0.1:22/",
        "http://localhost:5432/", "http://[::1]:80/", "http://2130706433/", "http://0x7f.1/", "http://metadata.google.internal/",
        "http://10.0.0.1/", "http://192.168.1.1/", "https://allowed.example.evil.com/",
    ):  # fmt: skip
        seen = attacked.inside("eve", f"NO_PROXY= no_proxy= {ask} '{target}'").stdout.split()
        assert "403" in seen or "400" in seen, (target, seen)


def test_services_of_the_host_are_out_of_reach(attacked: Yard) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    abstract = socket.socket(socket.AF_UNIX)
    abstract.bind("\0seatrial-attack")
    abstract.listen()
    port = listener.getsockname()[1]
    taken = threading.Event()

    def take() -> None:
        with contextlib.suppress(OSError):  # closed at the end
            listener.accept()
            taken.set()

    threading.Thread(target=take, daemon=True).start()
    assert python(attacked, f"print(socket.create_connection(('127.0.0.1', {port}), 3))") == "ECONNREFUSED"
    assert python(attacked, "s = socket.socket(1); s.connect('\\0seatrial-attack')") == "ECONNREFUSED"
    for path in ("/run/docker.sock", "/var/run/docker.sock", "/run/dbus/system_bus_socket"):
        assert not attacked.inside("eve", f"test -e {path} && echo there").stdout
    attacked.inside("eve", f"NO_PROXY= curl -sS -m 3 http://127.0.0.1:{port}/")
    assert not taken.is_set()
    listener.close()
    abstract.close()


def test_a_fork_bomb_stays_inside(attacked: Yard) -> None:
    bomb = "python3 -c 'import os\nfor _ in range(3000):\n  try:\n    if os.fork() == 0: import time; time.sleep(5); os._exit(0)\n  except OSError: print(\"stopped\"); break'"  # noqa: E501
    assert "stopped" in attacked.inside("eve", bomb).stdout


def test_memory_and_tmp_are_limited(attacked: Yard) -> None:
    done = attacked.inside("eve", "python3 -c 'x = bytearray(600 << 20); print(len(x))'")
    assert done.returncode != 0 and "629145600" not in done.stdout
    assert (
        attacked.inside("eve", "head -c 1500M /dev/zero > /tmp/big; stat -c %s /tmp/big; rm -f /tmp/big").returncode
        == 0
    )
    assert attacked.agent("eve")["phase"] == "running"


def test_status_cannot_be_forged(attacked: Yard) -> None:
    attacked.inside("eve", 'echo \'{"phase": "stopped"}\' > ~/agent-info.json')
    for verb in ("phase", "ended", "running", "budget_raised", "prompt", "request"):
        answer = attacked.inside("eve", _say(f'{{"verb": "{verb}", "text": "x"}}')).stdout
        assert '"ok": false' in answer
    assert attacked.agent("eve")["phase"] == "running"


def test_the_control_socket_takes_no_nonsense(attacked: Yard) -> None:
    for line in ("", "x", "[]", "{}", '{"verb": {}}', "[" * 5000, '{"verb": "message", "to": "../x", "text": 1}'):
        assert '"ok": false' in attacked.inside("eve", _say(line)).stdout
    hooks = ('{"verb": "hook", "event": "\\ud800\\u001b]0;x"}', '{"verb": "inbox", "seconds": 1' + "0" * 400 + "}")
    for line in hooks:
        attacked.inside("eve", _say(line))
    assert attacked.inside("eve", "seatrial-agent who").returncode == 0
    assert "\x1b" not in attacked.ok("events", "eve")


def _say(line: str) -> str:
    return (
        'python3 -c \'import socket; s = socket.socket(1); s.connect("/run/seatrial/control.sock"); '
        f's.sendall(bytes.fromhex("{(line + chr(10)).encode().hex()}")); print(s.recv(4096).decode())\''
    )


def test_a_connection_relayed_inside_is_still_this_agents(attacked: Yard) -> None:
    """A host allowed for one agent is not allowed for another: each has a gateway of its own on its own loopback."""
    seen = attacked.inside(
        "bob", "NO_PROXY= curl -sS -m 5 -o /dev/null -w '%{http_connect}' https://allowed.example/"
    ).stdout
    assert seen == "403"
    allowed = attacked.inside(
        "eve", "NO_PROXY= curl -sS -m 20 -o /dev/null -w '%{http_connect}' https://allowed.example/"
    )
    assert allowed.stdout != "403"  # the name does not resolve here, but it is let through to that


def test_a_git_tree_full_of_traps_is_only_looked_at_inside(attacked: Yard) -> None:
    marker = attacked.folder / "sprung"
    attacked.inside(
        "eve",
        f"git config core.fsmonitor 'touch {marker}'; git config core.pager 'touch {marker}'; "
        f"git config diff.external 'touch {marker}'; git config alias.log '!touch {marker}'; "
        f"printf '#!/bin/sh\\ntouch {marker}\\n' > .git/hooks/post-checkout; chmod +x .git/hooks/post-checkout; "
        "echo trap > trap.txt; git -c core.fsmonitor=false add trap.txt; git -c core.fsmonitor=false commit -qm trap",
    )
    attacked.run("diff", "eve")
    attacked.run("merge", "eve", "--preview")
    attacked.run("conflicts")
    assert not marker.exists()


def test_folders_without_end_can_be_deleted(attacked: Yard) -> None:
    attacked.generic("deep")
    nest = "import os; os.chdir(os.path.expanduser('~'))\nfor _ in range(1500): os.mkdir('d'); os.chdir('d')"
    assert attacked.run("exec", "deep", "--", "python3", "-c", nest).returncode == 0
    attacked.ok("delete", "deep")


def test_forking_does_not_escape_the_pause_of_a_copy(attacked: Yard) -> None:
    """What runs while its folders are copied could change one into a link to the user's files."""
    chain = "import os, time\nwhile True:\n  open('/tmp/now', 'w').write(str(time.time()))\n  if os.fork(): os._exit(0)"
    attacked.generic("hare", "sh", "-c", f'python3 -c "{chain}"; sleep 1000')
    done = attacked.run("fork", "hare", "copy")
    # Refused is fine, too: it cannot be paused, or has taken all the processes that an ordinary user may have.
    left = [agent["name"] for agent in attacked.json("list")["agents"]]
    assert ("copy" in left) if done.returncode == 0 else (done.stderr.startswith("error:") and "copy" not in left)
    attacked.ok("delete", "--discard-work", "hare")


def test_files_in_no_folder_count(attacked: Yard) -> None:
    attacked.generic("hoarder", options=("--disk", "100MiB"))
    write = (
        "import os, time\nfiles = []\nfor i in range(4):\n"
        "  files.append(open(os.path.expanduser(f'~/{i}'), 'wb')); os.unlink(files[-1].name)\n"
        "  files[-1].write(os.urandom(50 << 20)); files[-1].flush()\ntime.sleep(20)"
    )
    attacked.run("exec", "hoarder", "--", "python3", "-c", write)
    attacked.wait_until(lambda: attacked.agent("hoarder")["phase"] in ("stopped", "error"))
    assert "wrote more than 100 MiB" in attacked.agent("hoarder")["detail"]


def test_disk_is_limited_and_the_agent_ended(attacked: Yard) -> None:
    attacked.inside("eve", "for i in 1 2 3 4; do head -c 90M /dev/urandom > big$i; done; sleep 8")
    attacked.wait_until(lambda: attacked.agent("eve")["phase"] in ("stopped", "error"))
    assert "wrote more than 200 MiB" in attacked.agent("eve")["detail"]


def test_every_agent_is_ended_with_its_processes(attacked: Yard) -> None:
    attacked.inside("bob", "setsid -f sleep 4321 >/dev/null 2>&1; (trap '' TERM HUP INT; sleep 4322) >/dev/null 2>&1 &")
    attacked.ok("stop", "bob")
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            assert b"432" not in place.read_bytes() or b"sleep" not in place.read_bytes()
        except OSError:
            continue
