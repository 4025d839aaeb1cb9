"""What is turned away in any language, or with any kind of apostrophe, is never remembered as wanted,
and never lost."""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Iterator

import pytest

from pad_memory import PreferenceMemory, Statement
from pad_memory.language import Reader, wanted
from pad_memory.language.plain import tidy

# Language: negation forms around a thing {x}; the thing's names, with the pole that has it.
FORMS = {
    "en": ("don't use {x} | never use {x} | no {x} | without {x} | w/o {x} | {x}-free answers | avoid {x}"
    " | stop the {x}"
           " | \U0001f6ab {x} | answers w/out {x}", "emojis jokes examples warnings"),
    "de": ("Bitte keine {x} verwenden | Verwende niemals {x} | ohne {x} | nie {x} | benutze nicht so viele {x}"
           " | verzichte auf {x} | Lass die {x} weg | {x} sind verboten | vermeide {x} | Ich will keine {x}"
           " | Schluss mit {x}"
           " | hör auf mit {x} | {x} nerven", "Emojis Witze Beispiele Warnungen Listen Smileys"),
    "fr": ("N'utilise jamais de {x} | pas de {x} | sans {x} | N’utilise pas de {x} | aucun {x} | évite les {x}"
           " | arrête les {x} | plus de {x} | je déteste les {x} | Évite les {x} s'il te plaît | je ne veux pas de {x}",
           "emojis blagues exemples listes avertissements emoji"),
    "es": ("Sin {x}, por favor | nada de {x} | no uses {x} | nunca uses {x} | evita los {x} | no quiero {x}"
    " | deja los {x}"
           " | ningún {x} | odio los {x} | basta de {x}", "emojis chistes ejemplos listas emoji"),
    "pt": ("Não use {x} | nunca use {x} | sem {x} | nada de {x} | evite {x} | nao quero {x} | odeio {x} | chega de {x}"
           " | pare de usar {x}", "emojis piadas exemplos listas emoji"),
    "it": ("Non usare {x} | senza {x} | niente {x} | mai {x} | nessuna {x} | evita le {x} | basta {x} | odio le {x}"
           " | smettila con le {x}", "emoji battute liste esempi"),
    "nl": ("Gebruik geen {x} | zonder {x} | nooit {x} | geen {x} | vermijd {x} | stop met {x} | ik haat {x}"
    " | hou op met {x}"
           " | laat {x} weg", "emoji's emojis lijsten voorbeelden grappen"),
    "pl": ("Nie używaj {x} | bez {x} | żadnych {x} | nigdy {x} | unikaj {x} | nie chcę {x} | nie uzywaj {x} | dość {x}",
           "emoji emotikonów list żartów"),
    "tr": ("{x} kullanma | {x} istemiyorum | asla {x} | {x} olmasın | {x} yok | {x} yazma | lütfen {x} kullanmayın",
           "emoji liste espri"),
    "ru": ("Не используй {x} | без {x} | никогда не используй {x} | никаких {x} | хватит {x} | не надо {x}",
           "эмодзи emoji шутки списки"),
    "zh": ("不要使用{x} | 别用{x} | 不用{x} | 没有{x} | 请勿使用{x} | 不要{x}。 | 禁止{x}", "表情符号 emoji 笑话 列表"),
    "ja": ("{x}は使わないで | {x}なしで | {x}は不要です | {x}を使わないでください。 | {x}禁止 | {x}はやめて",
           "絵文字 emoji 冗談 リスト"),
}  # fmt: skip
QUALITIES = {
    "Non essere formale.": "tone:formal", "No seas formal.": "tone:formal", "Não seja formal": "tone:formal",
    "Sei nicht formal": "tone:formal", "Ne sois pas formel": "tone:formal", "Wees niet formeel": "tone:formal",
    "Resmi olma, formal yazma": "tone:formal", "non-formal answers": "tone:formal", "jargon-free": "level:technical",
    "Pas de jargon": "level:technical", "Kein Jargon": "level:technical", "sin humor": "humor:humorous",
    "Bez humoru": "humor:humorous", "Nie wieder Humor": "humor:humorous", "niet casual": "tone:casual",
}  # fmt: skip
WITH = ("emoji:emoji", "humor:humorous", "examples:examples", "warnings:warnings", "format:list")
APOSTROPHES = "'\u2019\u2018\u00b4`\u02bc\u2032\uff07\u201b"


def cases() -> Iterator[tuple[str, str]]:
    for language, (forms, names) in FORMS.items():
        for form in forms.split("|"):
            for name in names.split()[:3]:
                yield language, form.strip().format(x=name)


@pytest.mark.parametrize("language", FORMS)
def test_nothing_turned_away_is_wanted_and_nothing_is_lost(reader: Reader, language: str) -> None:
    for own, text in cases():
        if own == language:
            for said in (text, f"be brief, {text}"):
                readings = reader.read(said)
                keys = {reading.key for reading in readings}
                assert not keys & set(WITH), (said, readings)
                assert "length:detailed" not in keys, (said, readings)
                rest = [reading for reading in readings if reading.key != "length:concise"]
                assert rest, f"lost: {said!r} became {readings}"


@pytest.mark.parametrize("text", QUALITIES)
def test_no_quality_is_turned_round(reader: Reader, text: str) -> None:
    readings = reader.read(text)
    assert readings
    assert QUALITIES[text] not in {reading.key for reading in readings}


@pytest.mark.parametrize("apostrophe", APOSTROPHES)
def test_every_apostrophe_is_one(reader: Reader, apostrophe: str) -> None:
    for text in (f"Don{apostrophe}t use emojis", f"please don{apostrophe}t use any emojis"):
        for said in (text, html.escape(text), text.encode("ascii", "xmlcharrefreplace").decode()):
            assert [reading.key for reading in reader.read(said)] == ["emoji:no-emoji"], said
            assert wanted(said) == ("emojis", -1), said


@pytest.mark.parametrize(
    "text",
    [
        "don&#39;t use emojis", "don&rsquo;t use emojis", "don&apos;t use emojis", "answers w/o emojis",
        "no&nbsp;emojis",

        "Ｄｏｎ’ｔ ｕｓｅ emojis", "d\u200bon't use emojis", "do\u00a0not use emojis", "emoji-free answers",
        "emoji\u2010free",
        "emojis: no", "non-emoji answers", "emoji free please", "\u274c emojis", "𝐧𝐨 𝐞𝐦𝐨𝐣𝐢𝐬", "do\u00adn't use emojis",
    ],
)  # fmt: skip
def test_typographic_forms_of_no_are_read(reader: Reader, text: str) -> None:
    assert [reading.key for reading in reader.read(text)] == ["emoji:no-emoji"]


@pytest.mark.parametrize("text", ["feel free to use emojis", "be free with emojis", "use emojis", "EMOJIS PLEASE"])
def test_what_is_wanted_stays_wanted(reader: Reader, text: str) -> None:
    assert [reading.key for reading in reader.read(text)] == ["emoji:emoji"]


def test_the_words_are_kept_as_they_were() -> None:
    for text in ("Bitte keine Emojis verwenden.", "Write x² + y², e\u0301tude", "不要使用表情符号。"):
        with PreferenceMemory() as memory:
            memory.record("ada", Statement(text))
            (item,) = memory.profile("ada").preferences
            assert (item.key[:5], item.text) == ("text:", text)
    assert unicodedata.normalize("NFC", tidy("x²")) == "x²"


@pytest.mark.parametrize(
    ("text", "keys", "own"),
    [
        ("be brief, وتحدث بالعربية", ["length:concise"], "وتحدث بالعربية"),
        ("Bitte kurz, and no jokes", ["humor:serious"], "Bitte kurz"),
        ("בקצרה בבקשה, and use bullet points", ["format:list"], "בקצרה בבקשה"),
    ],
)  # fmt: skip
def test_of_two_languages_in_one_sentence_one_is_read_and_the_other_kept(
    reader: Reader, text: str, keys: list[str], own: str
) -> None:
    readings = reader.read(text)
    assert [reading.key for reading in readings if reading.key is not None] == keys
    assert [reading.text for reading in readings if reading.key is None] == [own]
