"""Answers requests from a recording, with no model and no key.

A request gets the first recorded exchange not yet used that fits, in this order: the same body; the same body but
for what differs from run to run (dates, ids, paths, durations); the same place in a conversation with the same
tools.  An exact request that comes again after its exchanges are used up gets the last of them again.  What this
does not give: a conversation that took another turn than the recorded one; its requests fit nothing, and are refused.
"""

from __future__ import annotations

from pathlib import Path

from seatrial.agents.gateway.calls import Call
from seatrial.agents.gateway.recording import Entry, read_blob, read_entries
from seatrial.errors import RecordingError


class Replay:
    """The recording in `folder`.  Raises RecordingError when there is none, or it is damaged."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._entries = list(read_entries(folder))
        self._used: set[int] = set()

    @property
    def left(self) -> int:
        """How many recorded exchanges were not asked for yet."""
        return len(self._entries) - len(self._used)

    def answer(self, call: Call) -> tuple[Entry, bytes, str]:
        """Return the entry for `call`, the body of its answer, and how it was found.

        Raises RecordingError when the recording holds nothing that fits.
        """
        found = self._find(call)
        if found is None:
            raise RecordingError(
                f"The recording holds no answer to this {call.method} {call.path} for {call.model or 'no model'}: "
                f"{self.left} of {len(self._entries)} exchanges are left, and none is at this place of a conversation."
            )
        number, how = found
        self._used.add(number)
        entry = self._entries[number]
        return entry, read_blob(self._folder, entry.response), how

    def _find(self, call: Call) -> tuple[int, str] | None:
        for how, wanted in (("exact", call.exact()), ("stable", call.stable()), ("position", call.position())):
            fitting = [number for number, entry in enumerate(self._entries) if getattr(entry, how) == wanted]
            # An answer whose reader left is of use only where there is no whole one.
            fitting.sort(key=lambda number: (not self._entries[number].complete, number))
            unused = [number for number in fitting if number not in self._used]
            if unused:
                return unused[0], how
            if fitting and how == "exact":
                return fitting[-1], "again"
        return None
