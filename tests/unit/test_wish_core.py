"""What is cut off around a wish before it is embedded, and what is not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pad_langchain.demo.wordings import CARRIERS, HELD_OUT_CARRIERS
from pad_langchain.testing import HashEmbedder
from pad_memory.embedding import core, embed_wishes


@pytest.mark.parametrize("carrier", CARRIERS + HELD_OUT_CARRIERS)
def test_what_carries_a_wish_is_cut_off(carrier):
    assert core(carrier.format(p="be kind", P="Be kind")).lower() == "be kind"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I hate lists: they are ugly", "I hate lists: they are ugly"),
        ("For code: be terse", "For code: be terse"),
        ("one thing: no emojis!!!", "no emojis"),
        ("Hello there, use lists, please. Thanks!", "use lists"),
        ("Please", "Please"),
        ("", ""),
        ("  ", "  "),
        ("a: b", "a: b"),
        ("Please answer like this: ", "answer like this:"),
    ],
)
def test_core_by_hand(text, expected):
    assert core(text) == expected


@given(st.text(max_size=80))
def test_core_keeps_a_text_and_is_settled(text):
    found = core(text)
    assert bool(found.strip()) == bool(text.strip())
    assert found in text
    assert core(found).strip() == found.strip() or ": " in found


def test_vectors_do_not_depend_on_what_carries_the_wish():
    embedder = HashEmbedder(16)
    vectors_NE = embed_wishes(embedder, ["be kind", "From now on: be kind.", "Be unkind"])
    np.testing.assert_array_equal(vectors_NE[0], vectors_NE[1])
    assert not np.array_equal(vectors_NE[0], vectors_NE[2])
