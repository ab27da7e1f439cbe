"""An agent's terminal: a tmux server of its own, outside of the sandbox.

The sandboxed program holds only the inner end.  Titles, clipboard and pass-through are switched off, and what is read
from here is plain text, so that escape sequences of an agent reach no one's terminal but through tmux's own drawing.
Does not protect whoever attaches from being shown misleading text.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from seatrial.errors import SandboxError

_SESSION = "agent"
_LOG_BYTES = 64 << 20
_LAST_LOOKS = 5
_TMUX_SAYS = "Pane is dead"
_SETTINGS = """
set -g default-terminal tmux-256color
set -g history-limit 20000
set -g remain-on-exit on
set -g set-titles off
set -g set-clipboard off
set -g allow-rename off
set -g allow-passthrough off
set -g automatic-rename off
set -g mouse on
set -g escape-time 0
set -g exit-empty on
set -g status-left-length 60
set -g status-right "detach: C-b d"
set -g destroy-unattached off
setw -g monitor-bell off
"""
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_SEQUENCE = re.compile(
    r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[PX^_][^\x1b]*\x1b\\|\x1b\[[0-?]*[ -/]*[@-~]|\x1b[ -/]*[0-~]"
)


def plain(text: str) -> str:
    """Return `text` without escape sequences, half characters, and control characters but tab and newline."""
    return _CONTROL.sub("", _SEQUENCE.sub("", text.replace("\r\n", "\n")))


@dataclass(frozen=True)
class Terminal:
    """The terminal at one socket; works whichever process started it."""

    socket: Path

    def start(self, command: Sequence[str], *, title: str, log: Path, size: tuple[int, int] = (120, 40)) -> None:
        """Run `command` in a new terminal of `size` (columns, rows); SandboxError when tmux cannot.

        All that is printed goes to `log`, up to 64 MiB in one run.
        """
        if shutil.which("tmux") is None:
            raise SandboxError("tmux is not installed.", hint="apt-get install tmux")
        self.close()
        settings = self.socket.with_suffix(".conf")
        shown = re.sub(r"[^\w./ -]", "_", title)  # tmux would run what a folder called `#(command)` says
        settings.write_text(_SETTINGS + f'set -g status-left "{shown} "\n')
        log.touch(mode=0o600)
        keep = f"head -c {_LOG_BYTES} >> '{str(log).replace(chr(39), '')}'; exec cat > /dev/null"
        size_ = ("-x", str(size[0]), "-y", str(size[1]))
        self._tmux(
            "-f", str(settings), "new-session", "-d", "-s", _SESSION, "-n", "agent", *size_, "--", *command,
            ";", "pipe-pane", "-o", "-t", f"{_SESSION}:agent", keep.replace("#", "##"),
        )  # fmt: skip

    def is_open(self) -> bool:
        """Whether the terminal is there."""
        return self.socket.exists() and self._try("has-session", "-t", _SESSION) is not None

    def ended(self) -> str | None:
        """Return the last words of the program when it has ended, None while it runs."""
        state = self._try("display-message", "-p", "-t", f"{_SESSION}:agent", "#{pane_dead}")
        if state is None:
            return "the terminal is gone"
        if state.strip() == "0":
            return None
        for _ in range(_LAST_LOOKS):  # tmux may hear of the end before it has read all that was printed
            if words := last_words(self.screen(history=50)):  # its own last line has moved the others up
                return words
            time.sleep(0.02)
        return ""

    def screen(self, history: int = 0) -> str:
        """Return what the terminal shows, as plain text, with up to `history` lines above; empty when it is gone."""
        above = ("-S", str(-history)) if history else ()
        lines = plain(self._try("capture-pane", "-p", *above, "-t", f"{_SESSION}:agent") or "").splitlines()
        return "\n".join(line.rstrip() for line in lines if not line.startswith(_TMUX_SAYS)).rstrip() + "\n"

    def paste(self, text: str) -> None:
        """Give `text` to the program as pasted; control characters are left out.  SandboxError when it is gone."""
        self._tmux("load-buffer", "-b", "seatrial", "-", stdin=plain(text).encode())
        self._tmux("paste-buffer", "-p", "-r", "-d", "-b", "seatrial", "-t", f"{_SESSION}:agent")

    def press(self, *keys: str) -> None:
        """Press keys by tmux's names; SandboxError when the terminal is gone."""
        self._tmux("send-keys", "-t", f"{_SESSION}:agent", *keys)

    def type(self, text: str) -> None:
        """Type `text` as it is, without Enter."""
        self._tmux("send-keys", "-l", "-t", f"{_SESSION}:agent", "--", text)

    def attach_command(self, *, read_only: bool = False) -> list[str]:
        """Return the command that shows the terminal in one's own."""
        return ["tmux", "-u", "-S", str(self.socket), "attach-session", *(["-r"] if read_only else []), "-t", _SESSION]

    def close(self) -> None:
        """End the terminal and what runs in it."""
        if self.socket.exists():
            pid = (self._try("display-message", "-p", "#{pid}") or "").strip()
            self._try("kill-server")
            with contextlib.suppress(OSError, ValueError):
                os.kill(int(pid), signal.SIGKILL)
            self.socket.unlink(missing_ok=True)

    def _tmux(self, *arguments: str, stdin: bytes = b"") -> str:
        environment = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LANG": "C.UTF-8", "TERM": "xterm-256color"}
        done = subprocess.run(
            ["tmux", "-u", "-S", str(self.socket), *arguments],
            input=stdin, capture_output=True, env=environment, timeout=30, cwd="/",
        )  # fmt: skip
        if done.returncode:
            said = plain(done.stderr.decode(errors="replace")).strip()
            raise SandboxError(f"The terminal cannot do this: {said or 'tmux failed'}.")
        return done.stdout.decode(errors="replace")

    def _try(self, *arguments: str) -> str | None:
        try:
            return self._tmux(*arguments)
        except (SandboxError, subprocess.TimeoutExpired, OSError):
            return None


def last_words(screen: str) -> str:
    """Return the last line of a screen that says something."""
    return next((line.strip()[:300] for line in reversed(screen.splitlines()) if line.strip()), "")
