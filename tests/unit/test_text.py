"""Tokens to text: whole characters only, and stop strings cut however the tokens fall."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pad_langchain.engine.detokenize import TextStream
from pad_langchain.testing import tiny_tokenizer

TOKENIZER = tiny_tokenizer()
BACKEND = TOKENIZER.backend_tokenizer


def ids_of(text: str) -> list[int]:
    return TOKENIZER.encode(text, add_special_tokens=False)


def stream(ids: list[int], stop: tuple[str, ...] = ()) -> tuple[list[str], bool]:
    text = TextStream(BACKEND, stop)
    pieces = []
    for token_id in ids:
        piece, stopped = text.push(token_id)
        pieces.append(piece)
        if stopped:
            return [*pieces, text.flush()], True
    return [*pieces, text.flush()], False


@given(st.text(max_size=40))
def test_pieces_join_to_the_text(text: str) -> None:
    pieces, stopped = stream(ids_of(text))
    assert "".join(pieces) == text
    assert not stopped


@given(st.lists(st.integers(0, len(TOKENIZER) - 1), max_size=40))
def test_any_tokens_give_their_decoding(ids: list[int]) -> None:
    """Random tokens are mostly invalid UTF-8; streaming must still agree with decoding all at once."""
    assert "".join(stream(ids)[0]) == BACKEND.decode(ids, skip_special_tokens=False)


def test_no_half_characters() -> None:
    ids = ids_of("a日本🙂b")
    pieces, _ = stream(ids)
    assert len(ids) > 8
    assert [piece for piece in pieces if piece] == ["a", "日", "本", "🙂", "b"]


def test_special_tokens_stay_in_the_text() -> None:
    ids = ids_of("<tool_call>\n{}</tool_call>")
    assert "".join(stream(ids)[0]) == "<tool_call>\n{}</tool_call>"


@given(st.text("ab<c", max_size=20), st.lists(st.text("ab<c", min_size=1, max_size=4), min_size=1, max_size=3))
def test_stop_cuts_at_the_first_complete_stop_string(text: str, stops: list[str]) -> None:
    ends = [text.find(stop) + len(stop) for stop in stops if stop in text]
    expected = text
    if ends:
        starts = [text.find(stop) for stop in stops if stop in text and text.find(stop) + len(stop) == min(ends)]
        expected = text[: min(starts)]
    pieces, stopped = stream([token for letter in text for token in ids_of(letter)], tuple(stops))
    assert "".join(pieces) == expected
    assert stopped == bool(ends)


def test_text_that_may_become_a_stop_string_is_held_back() -> None:
    text = TextStream(BACKEND, ("END",))
    assert [text.push(token)[0] for letter in "xENxE" for token in ids_of(letter)] == ["x", "", "", "ENx", ""]
    assert text.flush() == "E"


@pytest.mark.parametrize("stop", ["answer is", "s", "r is c"])
def test_stop_string_inside_and_across_tokens(stop: str) -> None:
    whole = "the answer is clear"
    pieces, stopped = stream(ids_of(whole), (stop,))
    assert stopped
    assert "".join(pieces) == whole[: whole.index(stop)]
