"""What is cut off around a wish before it is embedded, and what is not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pad_langchain.testing import HashEmbedder, tiny_pair
from pad_memory.language import core, embed_wishes, wanted
from recipes.demo_world.wordings import CARRIERS, HELD_OUT_CARRIERS


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


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("From now on: no emojis, please.", ("emojis", -1)),
        ("I don't want any jokes", ("jokes", -1)),
        ("I would prefer no examples", ("examples", -1)),
        ("leave the jokes out", ("jokes", -1)),
        ("not too long", ("long", -1)),
        ("don't be so formal", ("formal", -1)),
        ("never skip the examples", ("examples", 1)),
        ("not without a warning", ("warning", 1)),
        # Turned away and more, a comparison, an ability, a word that begins like one: left as they are.
        ("no lists, just prose", ("no lists, just prose", 1)),
        ("no jokes and no puns", ("no jokes and no puns", 1)),
        ("no more than two sentences", ("no more than two sentences", 1)),
        ("I don't understand it", ("I don't understand it", 1)),
        ("no-nonsense answers", ("no-nonsense answers", 1)),
        ("be silly", ("be silly", 1)),
        ("stop it", ("stop it", 1)),
        ("no " * 4000 + "jokes", ("no " * 4000 + "jokes", 1)),
        ("never", ("never", 1)),
        ("", ("", 1)),
    ],
)
def test_what_is_wanted_and_what_not(text, expected):
    assert wanted(text) == expected


def test_the_vector_of_what_is_not_wanted_is_the_opposite():
    wished, turned = embed_wishes(HashEmbedder(16), ["emojis", "Don't use any emojis."])
    np.testing.assert_array_equal(turned, -wished)


def test_a_head_steers_the_opposite_way_by_the_opposite_vector():
    vectors_PE = torch.from_numpy(embed_wishes(HashEmbedder(), ["emojis", "no emojis"]))
    with torch.no_grad():
        wished_R, turned_R = tiny_pair().head.gates(vectors_PE)
    assert wished_R.abs().max() > 0.1
    torch.testing.assert_close(turned_R, -wished_R)
