from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from legalqa.engine.text import BROKEN, TextStream


def _decode(ids: Sequence[int]) -> str:
    """One token a byte: the worst that a vocabulary can do."""
    return bytes(ids).decode("utf-8", "replace")


@given(st.text(max_size=30))
def test_pieces_hold_whole_characters_and_add_up(text: str) -> None:
    stream = TextStream(_decode)
    pieces = [stream.push(byte) for byte in text.encode()]
    assert all(BROKEN not in piece for piece in pieces)
    assert "".join(pieces) + stream.finish() == text.replace(BROKEN, "")


@given(st.binary(max_size=30))
def test_bytes_that_are_no_text_never_show(data: bytes) -> None:
    stream = TextStream(_decode)
    pieces = [stream.push(byte) for byte in data] + [stream.finish()]
    assert "".join(pieces) == data.decode("utf-8", "replace").replace(BROKEN, "")


@given(st.text(alphabet="法律ab", max_size=20), st.text(alphabet="法律ab", min_size=1, max_size=4))
def test_a_stop_string_ends_the_text_before_it(text: str, stop: str) -> None:
    stream = TextStream(_decode, [stop])
    given_out = ""
    for byte in text.encode():
        given_out += stream.push(byte)
        assert stop not in given_out
        if stream.stopped:
            break
    given_out += stream.finish()
    assert given_out == text.split(stop)[0]
    assert stream.stopped == (stop in text)


def test_text_that_may_become_a_stop_string_is_held_back_and_given_when_it_does_not() -> None:
    stream = TextStream(_decode, ["END"])
    assert [stream.push(byte) for byte in b"aENd"] == ["a", "", "", "ENd"]
