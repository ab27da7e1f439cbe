"""Many users' shared files as one history, and what changed across users, each of whom counts as one.

Every user is a place, so that sessions are only ever compared with the same user's.  A user with very many sessions is
thinned evenly over time: nobody is the whole.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import orjson

from seatrial.canary import search
from seatrial.canary.effect import log_ratios
from seatrial.canary.features import LABELS, PROMPT_CLASSES, Features
from seatrial.canary.metrics import BY_NAME
from seatrial.canary.share import COUNTS, COVARIATES, FIELDS, KIND, VERSION
from seatrial.canary.table import Flags
from seatrial.errors import InputFileError

MOST_OF_MEDIAN = 5
FEWEST_A_SIDE = 5
_LARGEST_FILE = 2**28
_NOON = 43_200.0
_EXACT_USERS, _FLIPS, _DRAWS = 12, 4999, 1999
_SPREADS = ("model", "version", "effort")


@dataclass(slots=True)
class Pool:
    """Sessions of many users; `thinned` says how many sessions of a user were left out."""

    sessions: list[Features]
    users: int
    doubled: list[str] = field(default_factory=list)
    """Files with the same content as one before them."""
    thinned: dict[str, int] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return everything but the sessions as values of JSON."""
        found = asdict(self)
        found["sessions"] = len(self.sessions)
        return found


@dataclass(frozen=True, slots=True)
class AcrossUsers:
    """How much a metric changed at a day for users with sessions on both sides, each counting once.

    `log_ratio` is the mean over users, `interval` its 95 % interval over users drawn anew (None below 6), `p` of the
    hypothesis that users went up as often and as far as down.
    """

    metric: str
    users: int
    log_ratio: float
    interval: tuple[float, float] | None
    p: float

    def as_dict(self) -> dict[str, Any]:
        """Return everything as values of JSON."""
        return asdict(self)


def pool(files: Sequence[str | Path]) -> Pool:
    """Return the sessions of shared files, for `judge`; a file that is named twice counts once.

    Raises InputFileError for one that cannot be read or is not of this form.
    """
    users: dict[str, list[Features]] = {}
    made = Pool([], 0)
    for name in files:
        path = Path(name).expanduser()
        content = _read(path)
        user = f"user-{hashlib.sha256(content).hexdigest()[:10]}"
        if user in users:
            made.doubled.append(str(path))
        else:
            users[user] = _sessions(content, user, path)
    sizes = [len(sessions) for sessions in users.values() if sessions]
    most = max(1, math.ceil(MOST_OF_MEDIAN * median(sizes))) if sizes else 0
    for user, sessions in users.items():
        kept = sessions
        if len(sessions) > most:
            kept = [sessions[int(index)] for index in np.linspace(0, len(sessions) - 1, most)]
            made.thinned[user] = len(sessions) - most
        made.sessions += kept
        made.users += bool(sessions)
    made.sessions.sort(key=lambda session: (session.start, session.session))
    return made


def across_users(sessions: Sequence[Features], day: int, seed: int = 0) -> list[AcrossUsers]:
    """Return the change of each metric at `day` (days since year 1), users as clusters; only users with 5 sessions that
    say something of the metric on each side count, and metrics with at least 2 of them are given."""
    prepared = search.prepare(sessions)
    table, random = prepared.table, np.random.default_rng(seed)
    places = np.array([session.place for session in table.sessions])
    after = table.days >= day
    found = []
    for column, metric in enumerate(table.metrics):
        if metric.family == "rare":
            continue
        known = prepared.residuals.known[:, column] > 0
        rows = [known & (places == place) for place in sorted(set(places.tolist()))]
        sizes = [
            float(log_ratios(table, prepared.residuals, column, after, chosen[None, :].astype(np.float64))[0])
            for chosen in rows
            if _has_both(chosen, after)
        ]
        if len(sizes) >= 2:
            found.append(_summed(metric.name, np.array(sizes), random))
    return found


def _has_both(chosen: Flags, after: Flags) -> bool:
    return int((chosen & after).sum()) >= FEWEST_A_SIDE and int((chosen & ~after).sum()) >= FEWEST_A_SIDE


def _summed(metric: str, sizes: np.ndarray[Any, np.dtype[np.float64]], random: np.random.Generator) -> AcrossUsers:
    count = len(sizes)
    if count <= _EXACT_USERS:
        signs = 1.0 - 2.0 * ((np.arange(2**count)[:, None] >> np.arange(count)) & 1)
        p = float((np.abs(signs @ sizes) >= abs(sizes.sum()) - 1e-12).mean())
    else:
        signs = random.choice([-1.0, 1.0], size=(_FLIPS, count))
        p = (1 + int((np.abs(signs @ sizes) >= abs(sizes.sum()) - 1e-12).sum())) / (_FLIPS + 1)
    interval = None
    if count >= 6:
        drawn = sizes[random.integers(count, size=(_DRAWS, count))].mean(axis=1)
        low, high = np.quantile(drawn, (0.025, 0.975))
        interval = float(low), float(high)
    return AcrossUsers(metric, count, float(sizes.mean()), interval, p)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            content = stream.read(_LARGEST_FILE + 1)
    except OSError as problem:
        raise InputFileError(f"{path} cannot be read: {problem.strerror}.", path=path) from problem
    if len(content) > _LARGEST_FILE:
        raise InputFileError(f"{path} is too large to be a shared file.", path=path)
    return content


def _sessions(content: bytes, user: str, path: Path) -> list[Features]:
    try:
        given = orjson.loads(content)
        if given["kind"] != KIND or not isinstance(given["version"], int):
            raise ValueError("it is of another kind")
        if given["version"] > VERSION:
            raise ValueError("a newer Seatrial has written it")
        return [_session(row, user, number) for number, row in enumerate(given["sessions"])]
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as problem:
        raise InputFileError(
            f"{path} is no shared file: {problem}.", hint="Name files made by: seatrial canary share FILE", path=path
        ) from problem


def _session(row: dict[str, Any], user: str, number: int) -> Features:
    """Return the features in a row of a shared file; whatever is of the wrong type raises."""
    start = (datetime(1, 1, 1, tzinfo=UTC) + timedelta(days=int(row["day"]) - 1)).timestamp()
    minutes = _number(row["active_minutes"])
    made = Features(
        agent=str(row["agent"]),
        session=f"{user}-{number:06d}",
        place=user,
        project=f"project-{int(row['project'])}",
        # All of a day at noon: the hour is not known, and must not look as if it changed.
        start=start + _NOON,
        end=start + _NOON + 60 * minutes,
        active_seconds=60 * minutes,
        labels={name: str(row["labels"].get(name, ""))[:200] for name in LABELS},
        spread={name: {str(k): int(v) for k, v in row["spread"].get(name, {}).items()} for name in _SPREADS},
        fields=tuple(name for name in FIELDS if name in row["fields"]),
        covariates={name: _number(row["covariates"][name]) for name in COVARIATES if name in row["covariates"]},
        language=str(row["language"]),
    )
    for name in COUNTS:
        setattr(made, name, int(_number(row[name])))
    for prompt_class in PROMPT_CLASSES:
        pairs = row["cells"].get(prompt_class, {})
        if pairs:
            made.cells[prompt_class] = {
                metric: (_number(pair[0]), _number(pair[1])) for metric, pair in pairs.items() if metric in BY_NAME
            }
    return made


def _number(value: Any) -> float:
    """Return a number that is finite and not below 0; ValueError for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{str(value)[:40]!r} is no number")
    if not 0 <= value < 1e15:
        raise ValueError(f"{value!r} is not possible")
    return float(value)
