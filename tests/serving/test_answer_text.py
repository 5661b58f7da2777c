"""What may be said when."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from headrace.serving.answer_text import AnswerText


def decode_bytes(ids: Sequence[int]) -> str:
    """A tokenizer of single bytes: every character beyond ASCII arrives in pieces."""
    return bytes(ids).decode("utf-8", errors="replace")


def pieces(data: bytes, stop: Sequence[str] = ()) -> tuple[list[str], bool]:
    text = AnswerText(decode_bytes, stop)
    given_out: list[str] = []
    for byte in data:
        piece, stopped = text.push(byte)
        given_out.append(piece)
        if stopped:
            return given_out, True
    return [*given_out, text.finish()], False


@given(st.text(max_size=200))
def test_pieces_add_up_to_the_whole_and_no_character_is_torn(text: str) -> None:
    found, _ = pieces(text.encode())
    assert "".join(found) == text
    assert all("\ufffd" not in piece for piece in found) or "\ufffd" in text


@given(st.text("ab🙂", max_size=60), st.lists(st.text("ab🙂", min_size=1, max_size=4), min_size=1, max_size=4))
def test_nothing_of_the_first_stop_sequence_is_said(text: str, stop: list[str]) -> None:
    found, stopped = pieces(text.encode(), stop)
    said = "".join(found)
    assert stopped == any(word in text for word in stop)
    assert all(word not in said for word in stop)
    assert text.startswith(said)
    if stopped:
        ends = [text.index(word) + len(word) for word in stop if word in text]
        first = min(ends)
        assert said == text[: min(text.index(word) for word in stop if word in text[:first])]
    else:
        assert said == text


def test_what_may_begin_a_stop_sequence_is_held_back_until_it_is_decided() -> None:
    text = AnswerText(decode_bytes, ["END"])
    assert [text.push(byte)[0] for byte in b"xEND"[:3]] == ["x", "", ""]
    assert text.push(ord("x")) == ("ENx", False)


def test_bytes_that_never_become_a_character_are_said_at_the_end_at_the_latest() -> None:
    text = AnswerText(decode_bytes)
    assert text.push(0xE4) == ("", False)
    assert text.finish() == "\ufffd"


def test_long_answers_are_decoded_in_windows_and_lose_nothing() -> None:
    sizes: list[int] = []

    def decode(ids: Sequence[int]) -> str:
        sizes.append(len(ids))
        return decode_bytes(ids)

    text = AnswerText(decode)
    said = "".join(text.push(byte)[0] for byte in b"abcdefghij" * 100) + text.finish()
    assert said == "abcdefghij" * 100
    assert max(sizes) < 64
