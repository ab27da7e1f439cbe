from __future__ import annotations

from seatrial.errors import ContextOverflowError, MissingExtraError, PictureError, SeatrialError


def test_docstring_is_the_message() -> None:
    assert PictureError().message == "A picture cannot be decoded."


def test_facts_and_code_reach_json() -> None:
    problem = ContextOverflowError("too long", hint="shorten", tokens=9000)
    assert problem.as_dict() == {
        "code": "context_overflow_error",
        "message": "too long",
        "hint": "shorten",
        "tokens": "9000",
    }


def test_missing_extra_names_the_command() -> None:
    assert MissingExtraError("av", "vision").hint == "pip install 'seatrial[vision]'"


def test_every_error_has_a_message_and_an_exit_code() -> None:
    pending = [SeatrialError]
    while pending:
        kind = pending.pop()
        pending += kind.__subclasses__()
        assert kind.__doc__
        assert kind.exit_code in (1, 2, 3)
