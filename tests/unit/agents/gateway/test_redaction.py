"""Keys are found in any of their forms, however the text is cut."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seatrial.agents.gateway.redaction import Redactor
from seatrial.settings import Secret
from tests.unit.agents.gateway import yard
from tests.unit.agents.gateway.yard import KEY

ODD = 'k"ey\\/+?&with-odd=signs'


def through(redactor: Redactor, pieces: list[bytes]) -> bytes:
    stream = redactor.stream()
    return b"".join([*(stream.feed(piece) for piece in pieces), stream.flush()])


@pytest.mark.parametrize("key", [KEY, ODD])
@pytest.mark.parametrize("before", [b"", b"x", b"Bearer ", b"xyz"])
@pytest.mark.parametrize("form", ["plain", "base64", "url", "hex", "json"])
def test_forms_of_a_key(key: str, before: bytes, form: str) -> None:
    whole = before + key.encode() + b" after"
    text = {
        "plain": whole,
        "base64": base64.b64encode(whole),
        "url": base64.urlsafe_b64encode(whole),
        "hex": whole.hex().encode(),
        "json": json.dumps(whole.decode()).encode(),
    }[form]
    clean = Redactor([Secret(key)]).whole(text)
    assert len(clean) == len(text) and b"[key removed" in clean
    assert key.encode() not in clean
    try:
        decoded = base64.b64decode(clean + b"==", validate=False)
    except ValueError:
        return
    assert key.encode()[3:-3] not in decoded


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_cuts_do_not_matter_and_nothing_is_lost(data: st.DataObject) -> None:
    redactor = Redactor([Secret(KEY), Secret(ODD), None])
    parts = st.sampled_from([KEY, ODD, KEY[:20], "sk-ant", "sk-a", "text ", base64.b64encode(KEY.encode()).decode()])
    text = "".join(data.draw(st.lists(parts, max_size=8))).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=10)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    clean = through(redactor, pieces)
    assert len(clean) == len(text)
    assert KEY.encode() not in clean and ODD.encode() not in clean
    if b"[key removed" not in clean:
        assert clean == text


def test_plain_text_is_held_back_only_while_it_may_be_a_key() -> None:
    stream = Redactor([Secret(KEY)]).stream()
    assert stream.feed(b"data: hello\n\n") == b"data: hello\n\n"
    assert stream.feed(b"a key begins sk-ant-re") == b"a key begins "
    assert stream.feed(b"d, or not") == b"sk-ant-red, or not"
    assert not stream.found


def test_short_keys_are_no_secrets() -> None:
    assert Redactor([Secret("none")]).whole(b"none of this") == b"none of this"


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize("coded", [False, True])
def test_an_upstream_that_echoes_the_key_in_pieces(size: int, coded: bool) -> None:
    shown = base64.b64encode(f"Bearer {KEY}".encode()).decode() if coded else KEY
    body = f'{{"model": "x", "content": [], "echo": "{shown}"}}'.encode()
    head = (
        f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-echo: {shown}\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    with (
        yard.Upstream(yard.fixed(head.encode(), *pieces, pause=0.0005)) as upstream,
        yard.gateway(yard.policy(upstream.url)) as running,
    ):
        path, ask = yard.request("anthropic", "go", False)
        status, headers, answer = yard.post(running.port, f"/anthropic{path}", ask)
    assert status == 200 and len(answer) == len(body)
    for place in (answer.decode(), headers["x-echo"]):
        assert "[key removed" in place and shown[8:-8] not in place
    assert running.kinds().count("key_echoed") == 1
