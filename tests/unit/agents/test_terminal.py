from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from seatrial.agents.terminal import last_words, plain


def test_sequences_are_taken_out() -> None:
    assert plain("\x1b]0;title\x07a\x1b]52;c;aGk=\x1b\\b\x1b[31mc\x1b[0m\x1b(B\x9bd\r\n\te") == "abcd\n\te"


@given(st.text())
def test_nothing_that_a_terminal_obeys_is_left(text: str) -> None:
    assert not any((ord(c) < 32 and c not in "\n\t") or 127 <= ord(c) < 160 for c in plain(text))


def test_last_words() -> None:
    assert last_words("a\n b \n\n") == "b"
    assert last_words("\n") == ""
