"""What a wish is limited to: found in words, and recognised in a question."""

from __future__ import annotations

import pytest

from pad_memory import CATALOGUE, SentenceEmbedder
from pad_memory.condition.relevance import Relevance
from pad_memory.embedding import embed
from pad_memory.language.reader import Reader
from pad_memory.language.scopes import THREAD, scoped_parts

LIMITED = {
    "For code, be terse": "code",
    "for code be terse": "code",
    "When I ask about cooking, use lists": "cooking",
    "when I ask you about math give examples": "math",
    "In emails, be formal.": "emails",
    "no jokes in code reviews": "code reviews",
    "Don't joke when I ask about my health": "health",
    "give me details for physics questions": "physics",
    "when it comes to history, I want long answers": "history",
    "If it's about taxes, warn me about the risks": "taxes",
    "please be brief whenever I ask about the weather": "weather",
    "be brief in answers about Python": "python",
    "when writing emails, use a formal tone": "emails",
    "when coding, no jokes": "coding",
    "I want jokes when we talk about animals": "animals",
    "As for recipes: use lists": "recipes",
    "be formal in emails": "emails",
    "use lists, only in this chat": THREAD,
    "In this conversation, be brief": THREAD,
}
NOT_LIMITED = """
for me, be brief | in general, be brief | in future, no emojis | answer in detail | put it in a list
from now on be brief
explain in simple words | explain it to a child | be honest with me | tell me when I am wrong | for once, be brief
no emojis, please | keep it short but friendly | write all code in Python | answer in German | say it in short sentences
""".replace("\n", " | ")


@pytest.mark.parametrize(("text", "scope"), LIMITED.items())
def test_a_scope_is_found(reader: Reader, text: str, scope: str) -> None:
    (reading,) = reader.read(text)
    assert reading.scope == scope
    assert reading.key is not None


@pytest.mark.parametrize("text", [text.strip() for text in NOT_LIMITED.split("|") if text.strip()])
def test_nothing_is_limited_by_mistake(reader: Reader, text: str) -> None:
    assert {reading.scope for reading in reader.read(text)} == {None}


def test_no_wording_of_the_catalogue_is_limited_or_turned_round(reader: Reader) -> None:
    for dimension in CATALOGUE:
        for pole, other in zip(dimension.poles, reversed(dimension.poles), strict=True):
            for wording in (pole.text, *pole.paraphrases):
                readings = reader.read(wording)
                assert {reading.scope for reading in readings} == {None}, wording
                assert f"{dimension.name}:{other.name}" not in {item.key for item in readings if not item.ends}, wording


def test_one_sentence_may_hold_two_scopes_and_what_holds_else(reader: Reader) -> None:
    parts = scoped_parts("be detailed for cooking questions, but for code use lists, otherwise be brief")
    assert [(part.text, part.scope) for part in parts] == [
        ("be detailed", "cooking"),
        ("use lists", "code"),
        ("be brief", None),
    ]
    readings = reader.read("For code, be terse and use bullet points")
    assert {(reading.key, reading.scope) for reading in readings} == {
        ("length:concise", "code"),
        ("format:list", "code"),
    }


# Topics and questions that the threshold was not chosen on.
QUESTIONS = {
    "kubernetes": ("Why is my pod stuck in CrashLoopBackOff?", "How do I expose a Kubernetes deployment?"),
    "knitting": ("How do I cast on stitches?", "Which needles do I need for a wool scarf?"),
    "chess": ("What is the Sicilian defence?", "How does castling work?"),
    "astronomy": ("How far away is Mars?", "What is a neutron star?"),
    "taxes": ("Can I deduct my home office?", "When is the tax return due?"),
    "dogs": ("How do I stop my puppy from biting?", "How often should I walk a labrador?"),
    "baking": ("Why did my cake collapse?", "How long does sourdough bread have to rise?"),
    "grammar": ("When do I use whom?", "Is it 'less' or 'fewer' people?"),
}


def test_a_question_is_matched_to_its_scope() -> None:
    embedder = SentenceEmbedder()
    relevance = Relevance(embedder)
    hits = false = 0
    for topic, questions in QUESTIONS.items():
        for query_E in embed(embedder, list(questions)):
            near = {
                scope for scope, score in relevance.scores(query_E, list(QUESTIONS)).items() if score >= relevance.NEAR
            }
            hits += topic in near
            false += len(near - {topic})
    assert hits >= 14  # of 16
    assert false <= 8  # of 112
