"""Wishes in eight other languages, with an embedder that knows them and with one that does not."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from pad_memory import CATALOGUE, PreferenceMemory, SentenceEmbedder, Statement
from pad_memory.language import Reader, unread
from pad_memory.language.tongues import parts_abroad, tongues_of
from pad_memory.language.tongues.tongue import tongues
from places import DATA

LISTS = DATA / "tongues"
OPPOSITE = {
    f"{d.name}:{pole.name}": f"{d.name}:{other.name}" for d in CATALOGUE for pole, other in (d.poles, d.poles[::-1])
}
CODES = ("de", "es", "fr", "it", "ja", "nl", "pt", "zh")


class Polyglot:
    """A stand-in for a multilingual embedder: what the exam of a language says is what its pole's wording says.

    A word of an exam's wording in a text gives it the vector of that pole in English; else it has the English one.
    """

    name = "polyglot"

    def __init__(self, english: SentenceEmbedder) -> None:
        self._english = english
        poles = {f"{d.name}:{p.name}": p.text for d in CATALOGUE for p in d.poles}
        self._known = {wording.lower(): poles[key] for tongue in tongues().values() for key, wording in tongue.exam}

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        return self._english.embed([self._known.get(text.lower().strip(" .。は"), text) for text in texts])


@pytest.fixture(scope="module")
def polyglot() -> Polyglot:
    return Polyglot(SentenceEmbedder())


@pytest.fixture(scope="module")
def abroad(polyglot: Polyglot) -> Reader:
    return Reader(CATALOGUE, polyglot)


def statements(code: str) -> Iterator[tuple[str, str]]:
    for line in (LISTS / f"{code}.txt").read_text(encoding="utf-8").splitlines():
        key, *texts = (part.strip() for part in line.split("|"))
        yield from ((key, text) for text in texts)
    for line in (LISTS / "hard.txt").read_text(encoding="utf-8").splitlines():
        language, key, text = (part.strip() for part in line.split("|"))
        if language == code:
            yield key, text


@pytest.mark.parametrize("code", CODES)
def test_the_english_embedder_turns_nothing_round_and_loses_nothing(reader: Reader, code: str) -> None:
    for key, text in statements(code):
        readings = reader.read(text)
        assert readings, text
        assert OPPOSITE[key] not in {reading.key for reading in readings}, (text, readings)


@pytest.mark.parametrize("code", CODES)
def test_what_the_tables_name_is_read_and_its_negation_turns_it_round(abroad: Reader, code: str) -> None:
    negation = {"de": "keine {}", "fr": "pas de {}", "es": "sin {}", "pt": "sem {}", "it": "senza {}", "nl": "geen {}",
                "zh": "不要{}", "ja": "{}は要りません"}[code]  # fmt: skip
    for key, wording in tongues()[code].exam:
        _, parts = parts_abroad(wording)
        if key in ("examples:examples", "emoji:emoji", "warnings:warnings") and len(parts) == 1:
            assert {reading.key for reading in abroad.read(negation.format(wording))} <= {OPPOSITE[key], None}
    emoji = tongues()[code].exam[24][1]
    assert [reading.key for reading in abroad.read(negation.format(emoji))] == ["emoji:no-emoji"]


def test_every_statement_is_in_its_language() -> None:
    wrong = []
    for code in CODES:
        for _, text in statements(code):
            found = [tongue.code for sentence in re.split(r"[?？]", text) for tongue in tongues_of(sentence)]
            wrong += [] if not found or code in found else [(code, text, found)]
    assert not wrong


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("Sei kurz und bitte keine Emojis", [("Sei kurz", 1), ("Emojis", -1)]),
        ("Nicht lang, sondern kurz", [("lang", -1), ("kurz", 1)]),
        ("Keine Witze und Emojis", []),  # the second one is turned away as well
        ("Witze und Emojis bitte nicht", []),  # and here the first one
        ("Nie ohne Beispiele", []),
        ("Bei Code bitte keine Beispiele", []),  # limited
        ("Heute keine Emojis", []),
        ("Du hast keine Beispiele gegeben", []),  # a complaint of what is missing
        ("No uses nunca emojis", [("uses emojis", -1)]),  # two words, one negation
        ("Nunca sin ejemplos", []),
        ("Non lungo, ma corto", [("lungo", -1), ("corto", 1)]),
        ("N'utilise plus jamais d'émojis", [("N'utilise d'émojis", -1)]),
        ("evite les emojis", [("les emojis", -1)]),  # without its accent
        ("不要太长", [("长", -1)]),
        ("特别详细", [("特别详细", 1)]),  # 别 is no "don't" here
        ("絵文字と冗談は使わないで", []),
    ],
)  # fmt: skip
def test_what_turns_a_wish_round(text: str, parts: list[tuple[str, int]]) -> None:
    assert [(part.core, part.sign) for part in parts_abroad(text)[1]] == parts


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Keine Emojis bitte", "German"), ("Sois bref", "French"), ("请简短回答", "Chinese"), ("短くして", "Japanese"),
        ("Ei emojeita, kiitos", "another language"), ("อย่าใช้อีโมจิ", "another language"),
        ("Nu folosi emoji", "another language"),
        ("Не используй эмодзи", "another language"), ("이모티콘은 쓰지 마세요", "another language"),
        ("no emojis please", None), ("Call me Søren", None), ("I like café au lait", None), ("use emojis", None),
    ],
)  # fmt: skip
def test_the_language_of_what_is_not_read(text: str, language: str | None) -> None:
    assert unread(text) == language


@pytest.mark.parametrize(
    "text", ["Ei emojeita, kiitos", "อย่าใช้อีโมจิ", "Nu folosi emoji", "Moenie emojis gebruik nie", "Brug ikke emojis"]
)
def test_what_nobody_reads_is_kept_as_it_was_said(abroad: Reader, text: str) -> None:
    assert [(reading.text, reading.key) for reading in abroad.read(text)] == [(text, None)]


def test_two_languages_in_one_statement(abroad: Reader) -> None:
    readings = abroad.read("Keine Emojis. Please be brief.")
    assert [reading.key for reading in readings] == ["emoji:no-emoji", "length:concise"]
    assert [reading.key for reading in abroad.read("Emojis. Nein, danke.")] == [None]
    assert [reading.key for reading in abroad.read("Emojis? Nein, danke.")] == [None]


def test_what_was_learned_says_which_language_was_not_read() -> None:
    with PreferenceMemory() as memory:
        memory.record("ada", Statement("Keine Emojis bitte"))
        (item,) = memory.profile("ada").preferences
        assert (item.text, item.unread) == ("Keine Emojis bitte", "German")
        memory.record("bob", Statement("call me Sam"))
        assert [item.unread for item in memory.profile("bob").preferences] == [None]


def test_a_memory_with_a_multilingual_embedder_learns_the_pole(polyglot: Polyglot) -> None:
    with PreferenceMemory(embedder=polyglot) as memory:
        memory.record("ada", Statement("Keine Emojis bitte"))
        memory.record("ada", Statement("短い回答"))
        found = {(item.key, item.unread) for item in memory.profile("ada").preferences}
        assert found == {("emoji:no-emoji", None), ("length:concise", None)}


def test_a_catalogue_of_ones_own_is_read_where_the_exam_knows_it(polyglot: Polyglot) -> None:
    reader = Reader(CATALOGUE[:1], polyglot)
    assert [reading.key for reading in reader.read("kurze Antworten")] == ["length:concise"]
    assert [reading.key for reading in reader.read("Keine Emojis")] == [None]
