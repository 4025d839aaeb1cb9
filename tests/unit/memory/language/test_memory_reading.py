"""Words to wishes, with the real sentence embedder: both ways, with and without negation."""

from __future__ import annotations

import pytest

from pad_memory import CATALOGUE, SentenceEmbedder
from pad_memory.language.polarity import polarity
from pad_memory.language.reader import Reader

POLES = {pole.name: f"{dimension.name}:{pole.name}" for dimension in CATALOGUE for pole in dimension.poles}
WISHES = """
concise: Please be short | not too long | I don't like long answers | that was too long | I prefer short answers
    | shorter please | too long | don't write long answers | I hate long explanations
detailed: I would like longer explanations | go deeper | that was too short | not enough detail | not too short
    | don't be so brief | don't skip details | more detail please
serious: no jokes | please no more jokes | stop joking around | never joke | be serious | less humor
    | I don't want any jokes | not funny please
humorous: tell me a joke now and then | I like it funny | not enough jokes | don't be so serious | more humor
    | don't stop joking | stop being serious
no-emoji: stop using emojis | I can't stand emojis | no need for emojis | I don't want any emojis | too many emojis
    | never use emojis | I'm sick of emojis | don't use any emoji | lose the emojis
emoji: please use emojis | emojis are great | don't stop using emojis | too few emojis
prose: don't use lists | stop with the bullet points | I'd rather have paragraphs | fewer bullet points
    | no bullets please
list: use bullet points | more bullet points | never write paragraphs | not in prose
simple: explain like I'm a beginner | don't use jargon | less technical | please don't be too technical | without jargon
technical: use proper technical terms | more technical | not technical enough | don't avoid technical terms
formal: be more formal | be polite | not formal enough | don't be casual | too casual
casual: don't be so formal | talk like a buddy | way too formal | less formal
examples: give examples | always add an example | too few examples | don't forget examples | you gave no example
no-examples: no examples please | skip the examples | too many examples | never give examples | avoid examples
warnings: warn me about risks | tell me the dangers | don't forget the warnings | you did not warn me
no-warnings: don't warn me | no warnings | stop warning me | skip the warnings | too many warnings
"""
CASES = [
    (" ".join(wish.split()), POLES[name])
    for name, _, wishes in (line.partition(":") for line in WISHES.strip().replace("\n   ", " ").splitlines())
    for wish in wishes.split("|")
]
ELSE = [
    "always mention my dog Rex", "answer in German", "my name is Ada", "call me Sam", "use metric units",
    "cite your sources", "write all code in Python", "rhyme every line", "never talk about politics",
    "don't mention my ex", "use British spelling", "compare it with the Roman empire", "I am vegetarian",
    "end with a question", "avoid passive voice", "put the date on top",
]  # fmt: skip


def test_there_are_enough_cases() -> None:
    negated = [wish for wish, _ in CASES if polarity(wish)[1] < 0]
    assert len(CASES) >= 80
    assert len(negated) >= 40


@pytest.mark.parametrize(("wish", "key"), CASES, ids=[wish for wish, _ in CASES])
def test_wishes_are_read(reader: Reader, wish: str, key: str) -> None:
    assert [reading.key for reading in reader.read(wish)] == [key]


@pytest.mark.parametrize("wish", ELSE)
def test_what_fits_no_dimension_stands_for_itself(reader: Reader, wish: str) -> None:
    (reading,) = reader.read(wish)
    assert (reading.key, reading.text) == (None, wish)
    assert reader.read(wish, keep_rest=False) == ()


def test_several_wishes_in_one_sentence(reader: Reader) -> None:
    readings = reader.read("Be brief, and no jokes please. Also call me Sam!")
    assert [reading.key for reading in readings] == ["length:concise", "humor:serious", None]
    assert readings[2].text == "Also call me Sam"


def test_the_later_of_two_opposite_wishes_counts(reader: Reader) -> None:
    assert [reading.key for reading in reader.read("Be brief. Actually, be detailed.")] == ["length:detailed"]


@pytest.mark.parametrize(
    ("text", "core", "sign"),
    [
        ("Don't use emojis", "use emojis", -1),
        ("do not use emojis!", "use emojis", -1),
        ("never use emojis", "use emojis", -1),
        ("don't stop using emojis", "using emojis", 1),
        ("not too long", "long", -1),
        ("too long", "long", -1),
        ("please don't be too technical", "please be technical", -1),
        ("not formal enough", "formal", 1),
        ("not enough jokes", "jokes", 1),
        ("there were no examples", "examples", 1),
        ("don't forget the warnings", "the warnings", 1),
        ("I’m not an expert", "i an expert", -1),
        ("no", "no", -1),
    ],
)
def test_polarity(text: str, core: str, sign: int) -> None:
    assert polarity(text) == (core, sign)


def test_embeddings_are_unit_rows_and_cached() -> None:
    embedder = SentenceEmbedder(cache_size=2)
    vectors_NE = embedder.embed(["be brief", "no jokes", "be brief", "use lists"])
    assert vectors_NE.shape == (4, 384)
    assert vectors_NE.dtype == "float32"
    assert (vectors_NE[0] == vectors_NE[2]).all()
    assert abs((vectors_NE**2).sum(axis=1) - 1).max() < 1e-5
