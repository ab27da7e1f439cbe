"""What `seatrial doctor` looks at: installation, state, kernels, the bundled model."""

from __future__ import annotations

import importlib.util
import platform
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from seatrial import __version__, paths, settings
from seatrial.errors import SeatrialError

_VISION_PACKAGES = ("numpy", "PIL", "jinja2", "tokenizers", "pypdfium2", "av", "huggingface_hub")
_LOW_DISK_BYTES = 1 << 30


@dataclass(frozen=True)
class Check:
    """One thing looked at; `hint` says what to do when it is not well."""

    name: str
    ok: bool
    finding: str
    hint: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return the check ready for JSON."""
        return asdict(self)


class DiagnosisError(SeatrialError):
    """Something is not well."""

    def __init__(self, checks: list[Check]) -> None:
        failed = [check for check in checks if not check.ok]
        super().__init__(
            f"{len(failed)} of {len(checks)} checks failed: {', '.join(check.name for check in failed)}.",
            hint=failed[0].hint,
        )
        self.checks = checks

    def as_dict(self) -> dict[str, Any]:
        """Return the `error` part of the JSON envelope, with every check."""
        return {**super().as_dict(), "checks": [check.as_dict() for check in self.checks]}


def diagnose() -> list[Check]:
    """Run every check; a check that fails is a finding, never an exception."""
    return [_guarded(look) for look in (_python, _settings, _state, _store, _vision, _model)]


def _guarded(look: Callable[[], Check]) -> Check:
    try:
        return look()
    except SeatrialError as problem:
        return Check(look.__name__.strip("_"), False, problem.message, problem.hint)


def _python() -> Check:
    finding = f"seatrial {__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    return Check("python", True, finding)


def _settings() -> Check:
    changed = [f"{section}.{key}" for section, key in _changed()]
    return Check("settings", True, f"changed: {', '.join(changed)}" if changed else "all defaults")


def _changed() -> Iterator[tuple[str, str]]:
    now = settings.load()
    for section, key, default, _ in settings.described():
        if getattr(getattr(now, section), key) != default:
            yield section, key


def _state() -> Check:
    home = paths.private_folder(paths.home())
    free = shutil.disk_usage(home).free
    hint = None if free > _LOW_DISK_BYTES else "Free some disk space."
    return Check("state", hint is None, f"{home}, {free / 1e9:.1f} GB free", hint)


def _store() -> Check:
    from seatrial.store import Store

    Store.open(settings.load()).close()
    return Check("store", True, "opens and is up to date")


def _vision() -> Check:
    missing = [name for name in _VISION_PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        return Check("vision", False, f"not installed: {', '.join(missing)}", "pip install 'seatrial[vision]'")
    from seatrial import vision

    facts = vision.describe_operations()
    finding = f"{facts['implementation']} operations on {facts['instruction_set']}, {facts['threads']} threads"
    if facts["implementation"] == "reference":
        finding += f" ({'; '.join(facts['attempts'])})" if facts.get("attempts") else ""
    speed = asdict(vision.measure_speed())
    finding += (
        f"; bf16 {speed['bf16']:,.0f} GFLOP/s, int8 {speed['int8']:,.0f} GOP/s, memory {speed['memory']:.0f} GB/s"
    )
    facts["speed"] = speed
    return Check("vision", True, finding, facts=facts)


def _model() -> Check:
    from seatrial import vision

    summary = vision.summarise(vision.find_model("pico"))
    return Check("model", True, f"pico, {summary.parameters['total']:,} parameters, {summary.folder}")
