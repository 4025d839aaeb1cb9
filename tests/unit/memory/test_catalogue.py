"""The catalogue is complete and clean, and the held-out wordings are really held out."""

from __future__ import annotations

import itertools
import random
import re

import pytest

from pad_memory.catalogue import CATALOGUE, Dimension, Pole, find
from recipes.demo_world import vocabulary as vocabulary_module
from recipes.demo_world.vocabulary import KINDS, Words, framed, vocabulary
from recipes.demo_world.wordings import CARRIERS, HELD_OUT_CARRIERS, NEW_KEYWORDS, REWORDED

KEYS = [f"{dimension.name}:{pole.name}" for dimension in CATALOGUE for pole in dimension.poles]

# Words that carry no preference by themselves: function words, and words that go with every wish.
STOP_WORDS = """a about add all am an and answer around as at be being by can do does don down every for from get
give have how i if in include into is it its just keep leave like make me mention my name no not of
offer on one only or other out please put raise replies reply say skip so some sound speak stay
stick stop style t talk tell that the them they this to tone too under up use using want we were
what when with word would write you your"""


def _stem(word: str) -> str:
    for ending in ("ing", "ed", "ly", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word


def _stems(text: str) -> set[str]:
    return set(map(_stem, re.findall(r"[a-z0-9]+", text.lower())))


def _content(text: str) -> set[str]:
    """The stems of the words that carry meaning."""
    return _stems(text) - _stems(STOP_WORDS)


def _wordings(pole: Pole) -> tuple[str, ...]:
    return (pole.text, *pole.paraphrases)


def test_dimensions_and_poles_are_in_their_order() -> None:
    assert KEYS == [
        "length:concise",
        "length:detailed",
        "tone:formal",
        "tone:casual",
        "humor:humorous",
        "humor:serious",
        "format:list",
        "format:prose",
        "level:simple",
        "level:technical",
        "examples:examples",
        "examples:no-examples",
        "warnings:warnings",
        "warnings:no-warnings",
        "emoji:emoji",
        "emoji:no-emoji",
    ]


@pytest.mark.parametrize("key", KEYS)
def test_each_pole_has_many_short_paraphrases(key: str) -> None:
    _, pole = find(key)
    assert len(pole.paraphrases) >= 44
    assert [phrase for phrase in pole.paraphrases if not 2 <= len(phrase.split()) <= 12] == []


def test_no_wording_is_used_twice() -> None:
    wordings = [wording.lower() for dimension in CATALOGUE for pole in dimension.poles for wording in _wordings(pole)]
    held_out = [
        wording.lower() for table in (REWORDED, NEW_KEYWORDS) for phrases in table.values() for wording in phrases
    ]
    every = wordings + held_out
    assert sorted(wording for wording in set(every) if every.count(wording) > 1) == []


def test_find_returns_the_pole_and_names_the_choices() -> None:
    dimension, pole = find("emoji:no-emoji")
    assert isinstance(dimension, Dimension)
    assert (dimension.name, pole) == ("emoji", dimension.poles[1])
    with pytest.raises(ValueError, match=r"'length:huge'.*length:concise, length:detailed"):
        find("length:huge")


@pytest.mark.parametrize("table", [REWORDED, NEW_KEYWORDS], ids=["reworded", "new keywords"])
def test_held_out_wordings_cover_each_pole(table: dict[str, tuple[str, ...]]) -> None:
    assert list(table) == KEYS
    assert min(map(len, table.values())) >= 6


@pytest.mark.parametrize("key", KEYS)
def test_new_keywords_occur_nowhere_in_their_dimension(key: str) -> None:
    dimension, _ = find(key)
    seen = set().union(*[_content(wording) for pole in dimension.poles for wording in _wordings(pole)])
    assert [phrase for phrase in NEW_KEYWORDS[key] if not _content(phrase)] == []
    assert {phrase: seen & _content(phrase) for phrase in NEW_KEYWORDS[key] if seen & _content(phrase)} == {}


def _akin(word: str, other: str) -> bool:
    """Whether two words look as if they shared a root."""
    shared = len(list(itertools.takewhile(lambda both: both[0] == both[1], zip(word, other, strict=False))))
    return word == other or shared >= 5 or (shared >= 4 and shared == min(len(word), len(other)))


@pytest.mark.parametrize("dimension", CATALOGUE, ids=lambda dimension: dimension.name)
def test_the_heads_vocabulary_is_not_even_akin_to_new_keywords(dimension: Dimension) -> None:
    keys = [f"{dimension.name}:{pole.name}" for pole in dimension.poles]
    held_out = set().union(*[_content(phrase) for key in keys for phrase in NEW_KEYWORDS[key]])
    for key in keys:
        words = vocabulary(key)
        used = set().union(*[_content(text) for kind in (*KINDS, "sentences") for text in getattr(words, kind)])
        assert {(word, other) for word in used for other in held_out if _akin(word, other)} == set()


@pytest.mark.parametrize("key", KEYS)
def test_reworded_only_joins_known_words_anew(key: str) -> None:
    _, pole = find(key)
    known = set().union(*map(_content, _wordings(pole)))
    assert {phrase: _content(phrase) - known for phrase in REWORDED[key] if _content(phrase) - known} == {}
    assert set(REWORDED[key]).isdisjoint(_wordings(pole))


@pytest.mark.parametrize("key", KEYS)
def test_the_heads_sentences_are_new(key: str) -> None:
    sentences = [text.lower() for text in vocabulary(key).sentences]
    assert len(set(sentences)) == len(sentences) >= 55
    held_out = {wording.lower() for table in (REWORDED, NEW_KEYWORDS) for texts in table.values() for wording in texts}
    assert set(sentences).isdisjoint(held_out | {wording.lower() for wording in _wordings(find(key)[1])})


def test_frames_ask_for_the_poles_own_words(monkeypatch: pytest.MonkeyPatch) -> None:
    words = Words(("funny",), ("jokes",), ("joke",), ("a comic",), ())
    monkeypatch.setattr(vocabulary_module, "vocabulary", lambda pole: words)
    found = {framed("humor:humorous", random.Random(seed)) for seed in range(200)}
    assert found == {
        "be funny", "funny answers", "use jokes", "add jokes", "jokes please", "joke", "talk like a comic",
    }  # fmt: skip


def test_carriers_hold_one_phrase_and_do_not_overlap() -> None:
    assert len(CARRIERS) >= 14
    assert len(HELD_OUT_CARRIERS) >= 4
    carriers = CARRIERS + HELD_OUT_CARRIERS
    assert len(set(carriers)) == len(carriers)
    assert [carrier for carrier in carriers if len(re.findall(r"\{[pP]\}", carrier)) != 1] == []
    assert all("be kind" in carrier.format(p="be kind", P="be kind") for carrier in carriers)
