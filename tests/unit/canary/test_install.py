"""Installing what keeps the history: everything that was written goes again, and nothing else."""

from __future__ import annotations

import os
import plistlib
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from seatrial.canary import schedules
from seatrial.canary.install import install, uninstall
from seatrial.errors import SettingError, StorageError

FAKE_SYSTEMCTL = """#!/bin/sh
echo "$@" >> "{log}"
wants="$HOME/.config/systemd/user/timers.target.wants"
case "$2" in
  enable) mkdir -p "$wants" && ln -sf ../seatrial-canary.timer "$wants/seatrial-canary.timer" ;;
esac
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A person's home; the state is elsewhere."""
    made = tmp_path / "home of ann"
    made.mkdir()
    monkeypatch.setenv("HOME", str(made))
    for name in ("XDG_CONFIG_HOME", "CLAUDE_CONFIG_DIR", "CODEX_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    # No systemd and no cron of the machine that runs the tests.
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    (tmp_path / "bin").mkdir()
    return made


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b"" for path in folder.rglob("*")}


def test_systemd_files_skill_and_prompt_come_and_go(home: Path) -> None:
    (home / ".claude").mkdir()
    (home / ".codex" / "prompts").mkdir(parents=True)
    (home / ".codex" / "prompts" / "mine.md").write_text("mine")
    before = tree(home)
    made = install("systemd", "90m")
    after = tree(home)
    assert set(after) - set(before) == {
        ".config",
        ".config/systemd",
        ".config/systemd/user",
        ".config/systemd/user/seatrial-canary.service",
        ".config/systemd/user/seatrial-canary.timer",
        ".claude/skills",
        ".claude/skills/seatrial-canary",
        ".claude/skills/seatrial-canary/SKILL.md",
        ".codex/prompts/seatrial-canary.md",
    }
    assert len(made.changed) == 4
    assert made.to_run[-1] == "systemctl --user enable --now seatrial-canary.timer"
    assert b"OnUnitActiveSec=90min" in after[".config/systemd/user/seatrial-canary.timer"]
    assert b"canary report" in after[".claude/skills/seatrial-canary/SKILL.md"]
    assert b"canary report $ARGUMENTS" in after[".codex/prompts/seatrial-canary.md"]
    gone = uninstall()
    assert tree(home) == before
    assert gone.changed == sorted(made.changed) and gone.kept == []
    assert uninstall().changed == []


def test_systemd_takes_the_files(home: Path, monkeypatch: pytest.MonkeyPatch, private_home: Path) -> None:
    analyze = shutil.which("systemd-analyze", path=os.defpath)
    if analyze is None:
        pytest.skip("systemd-analyze is not installed")
    monkeypatch.setenv("SEATRIAL_HOME", str(home / '50% of "it"'))
    install("systemd", skills=False)
    units = sorted((home / ".config" / "systemd" / "user").iterdir())
    environment = {**os.environ, "PATH": os.defpath}
    done = subprocess.run(
        [analyze, "verify", "--user", "--man=no", *map(str, units)], capture_output=True, text=True, env=environment
    )
    assert "seatrial-canary" not in done.stderr, done.stderr
    assert rf'''Environment="SEATRIAL_HOME={home}/50%% of \"it\""''' in units[0].read_text()


def test_installing_twice_changes_nothing(home: Path) -> None:
    (home / ".claude").mkdir()
    install("systemd")
    before, times = tree(home), {path: path.stat().st_mtime_ns for path in home.rglob("*")}
    made = install("systemd")
    assert (made.changed, made.kept, len(made.unchanged)) == ([], [], 3)
    assert tree(home) == before
    assert {path: path.stat().st_mtime_ns for path in home.rglob("*")} == times
    assert [Path(path).name for path in install("systemd", "2h").changed] == ["seatrial-canary.timer"]
    [changed] = install("systemd", "2h", watch=True).changed
    assert '"canary" "watch" "--notify" "desktop"' in Path(changed).read_text()
    uninstall()
    assert set(tree(home)) == {".claude"}


def test_a_file_that_was_changed_is_left_and_named(home: Path) -> None:
    (home / ".claude").mkdir()
    install("systemd")
    skill = home / ".claude" / "skills" / "seatrial-canary" / "SKILL.md"
    skill.write_text("my own words")
    again = install("systemd", "2h")
    assert again.kept == [str(skill)]
    gone = uninstall()
    assert gone.kept == [str(skill)]
    assert skill.read_text() == "my own words"
    assert not (home / ".config").exists()
    # It is not ours any more.
    assert install("none").kept == [str(skill)]
    uninstall()
    assert skill.read_text() == "my own words"


def test_files_of_others_are_never_touched(home: Path) -> None:
    units = home / ".config" / "systemd" / "user"
    units.mkdir(parents=True)
    (units / "seatrial-canary.timer").write_text("theirs")
    (units / "seatrial-canary.service").symlink_to(home / "elsewhere")
    before = tree(home)
    assert len(install("systemd").kept) == 2
    uninstall()
    assert tree(home) == before
    assert (units / "seatrial-canary.service").is_symlink()


def test_a_systemd_that_runs_is_told(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "bin" / "systemctl"
    fake.write_text(FAKE_SYSTEMCTL.format(log=tmp_path / "log"))
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.defpath}")
    made = install("auto")
    assert (made.schedule, made.to_run) == ("systemd", [])
    link = home / ".config/systemd/user/timers.target.wants/seatrial-canary.timer"
    assert link.is_symlink()
    uninstall()
    assert not link.is_symlink()
    told = (tmp_path / "log").read_text().splitlines()
    assert told == [
        "--user show-environment",
        "--user daemon-reload",
        "--user enable --now seatrial-canary.timer",
        "--user disable --now seatrial-canary.timer",
        "--user daemon-reload",
    ]


def test_another_schedule_takes_the_place_of_the_first(home: Path) -> None:
    install("systemd")
    made = install("launchd", "1d")
    assert not (home / ".config").exists()
    plist = home / "Library" / "LaunchAgents" / "dev.seatrial.canary.plist"
    found = plistlib.loads(plist.read_bytes())
    assert found["StartInterval"] == 86_400
    assert found["ProgramArguments"][-2:] == ["canary", "ingest"]
    assert found["EnvironmentVariables"] == {"SEATRIAL_HOME": os.environ["SEATRIAL_HOME"]}
    assert made.to_run and made.to_run[0].startswith("launchctl bootstrap")
    uninstall()
    assert tree(home) == {}


def test_the_configured_folders_of_the_agents(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, variable in (("claude one", "CLAUDE_CONFIG_DIR"), ("codex", "CODEX_HOME")):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(variable, str(tmp_path / name))
    made = install("none")
    assert [Path(path).relative_to(tmp_path).parts[0] for path in made.changed] == ["claude one", "codex"]
    assert install("none", skills=False).changed == []
    uninstall()
    assert tree(tmp_path / "claude one") == {}


@pytest.mark.parametrize("every", ["", "6", "6w", "-1h", "1m", "15d", "6 h", "0h"])
def test_intervals_that_cannot_be(every: str, home: Path) -> None:
    with pytest.raises(SettingError, match="no interval"):
        install("systemd", every)
    assert tree(home) == {}


def test_schedules_that_cannot_be(home: Path) -> None:
    for schedule in ("auto", "windows"):
        with pytest.raises(SettingError, match="no schedule of that kind"):
            install(schedule)
    with pytest.raises(SettingError, match="every 420 minutes"):
        install("cron", "7h")
    with pytest.raises(StorageError, match="cron is not installed"):
        install("cron")
    assert tree(home) == {}


def test_a_damaged_record_is_said(private_home: Path) -> None:
    install("systemd")
    record = private_home / "canary" / "installed.json"
    assert stat.S_IMODE(record.stat().st_mode) == 0o600
    record.write_text("{}")
    with pytest.raises(StorageError, match=r"installed\.json cannot be read"):
        uninstall()


WITH_CRON = """
import subprocess, sys
from seatrial.canary.install import install, uninstall
from seatrial.canary import schedules

def put(text): subprocess.run(["crontab", "-"], input=text, check=True)
def get(): return schedules.read_crontab()
def file():
    # What cron reads, without the header that the command writes with the time of day.
    from pathlib import Path
    [spool] = Path("/var/spool/cron/crontabs").iterdir()
    return [line for line in spool.read_bytes().splitlines(True) if b"installed on" not in line]

assert get() is None
assert install("cron", "6h", skills=False).changed == ["crontab"]
assert b"17 */6 * * * SEATRIAL_HOME=" in get() and b" canary ingest >/dev/null" in get(), get()
assert install("cron", "6h", skills=False).unchanged == ["crontab"]
assert uninstall().changed == ["crontab"] and get() is None

theirs = b"# mine\\n0 1 * * * echo 50\\\\% \\t\\n\\n# caf\\xc3\\xa9 \\xff\\nMAILTO=ann\\n"
put(theirs)
before = file()
install("cron", "6h", skills=False)
install("cron", "30m", skills=False)
assert get().startswith(theirs) and get().count(b"canary ingest") == 1 and b"*/30 * * * *" in get()
put(get() + b"# added later\\n")
assert uninstall().changed == ["crontab"]
assert get() == theirs + b"# added later\\n"
put(theirs)
assert file() == before

install("cron", "6h", skills=False)
put(get().replace(b"*/6", b"*/4"))
changed = get()
assert install("cron", "6h", skills=False).kept == ["crontab"] and get() == changed
assert uninstall().kept == ["crontab"] and get() == changed

put(b"")
install("cron", skills=False)
install("none", skills=False)
assert get() == b""
put(schedules.BEGIN)
try:
    install("cron", skills=False)
except Exception as problem:
    assert "is damaged" in str(problem), problem
else:
    raise AssertionError
print("done")
"""


def test_the_crontab_is_byte_for_byte_what_it_was_but_for_the_block() -> None:
    crontab, unshare = (shutil.which(name, path=os.defpath) for name in ("crontab", "unshare"))
    if crontab is None or unshare is None:
        pytest.skip("cron is not installed")
    # A folder of crontabs of its own, so that the user's is not touched.
    inside = 'mount -t tmpfs tmpfs /var/spool/cron/crontabs || exit 77; exec "$@"'
    rights = [] if os.geteuid() == 0 else ["-r"]
    done = subprocess.run(
        [unshare, "-m", *rights, "sh", "-c", inside, "sh", sys.executable, "-c", WITH_CRON],
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": os.defpath},
    )
    if done.returncode in (1, 77) and "AssertionError" not in done.stderr and "Traceback" not in done.stderr:
        pytest.skip(f"no folder of crontabs of its own can be had: {done.stderr.strip()}")
    assert done.stdout.strip() == "done", done.stderr


def test_what_cron_runs_survives_any_character() -> None:
    command = ["/opt/a b/seatrial", "canary", "ingest"]
    block = schedules.cron_block(command, {"SEATRIAL_HOME": "/x y/50%'s"}, 60)
    line = block.splitlines()[1].decode()
    assert line.startswith("17 */1 * * * ")
    given = line.removeprefix("17 */1 * * * ").removesuffix(" >/dev/null 2>&1").replace("\\%", "%")
    echo = given.replace("'/opt/a b/seatrial' canary ingest", "printenv SEATRIAL_HOME")
    assert subprocess.run(["/bin/sh", "-c", echo], capture_output=True, text=True, env={"PATH": os.defpath}).stdout == (
        "/x y/50%'s\n"
    )
