"""What a request asks for, and what a wish in the user's own words is about."""

from __future__ import annotations

import pytest

from pad_memory.language import ANSWER, Occasion, about_manner, named_kinds, occasion
from pad_memory.language.scopes import scoped_parts

OTHERS = {
    "Write a letter to my landlord about the broken heating.": ("letter", None),
    "Could you draft an e-mail to my boss, asking for Friday off?": ("email", "work"),
    "I have to answer my sister, please write a text to her.": ("message", "family"),
    "Text my friend Jo that the film starts at eight.": ("message", "friends"),
    "Tell my team by mail that I am ill.": ("email", "work"),
    "Translate into French: “The shop is closed.”": ("translation", None),
    'How do you say "good night" in Spanish?': ("translation", None),
    "Übersetze ins Deutsche: hello": ("translation", None),
    "Commit message for: renamed a class": ("commit", None),
    "Give me the three largest cities as JSON.": ("data", None),
    "Write a function in Rust that adds two numbers.": ("code", None),
    "Implement a queue.": ("code", None),
    "Write a tweet about tea.": ("post", None),
    'Summarise this report for my boss: "Sales fell."': ("text", "work"),
    'Proofread this: "I has a dog."': ("text", None),
    "Schreibe eine E-Mail an den Vermieter.": ("email", None),
}
ANSWERS = (
    "How do I write a good cover letter?",
    "What is a commit message?",
    'Read this letter and tell me what he wants: "Write an email to me."',
    "Explain this email from my bank.",
    "Write me a summary of this article.",
    "Make a plan for my week.",
    "Give me a recipe for cookies.",
    "What is the difference between der and das in German?",
    "```write a letter```",
    "Answer the question based only on the following context:\n\nTea is a drink.\n\nQuestion: what is tea?",
    "Context information is below.\n---\nTea is a drink.\n---\nGiven the context information and not prior "
    "knowledge, answer the query.\nQuery: what is an element?\nAnswer: ",
    "Context:\nWrite a letter to the tax office.\n\nQuestion: what is tea?",
    "Write a response that appropriately completes the request.\n\n### Instruction: what is tea?",
    "",
    "?" * 5000,
)


@pytest.mark.parametrize("request_", OTHERS)
def test_texts_for_others_have_a_kind_and_a_reader(request_: str) -> None:
    assert occasion(request_) == Occasion(*OTHERS[request_])


@pytest.mark.parametrize("request_", ANSWERS)
def test_what_the_user_reads_is_an_answer(request_: str) -> None:
    assert occasion(request_) is ANSWER or occasion(request_) == ANSWER


def test_a_change_is_about_what_was_asked_for_before() -> None:
    letter = "Write a letter to my landlord."
    assert [
        occasion(letter, text).kind for text in ("Make it shorter.", "More formal, please", "What is a notary?")
    ] == [
        "letter",
        "letter",
        "answer",
    ]
    assert occasion("Make it shorter.") == occasion() == ANSWER


def test_scopes_name_kinds_and_readers() -> None:
    assert set(named_kinds("emails to my family")) == {Occasion("email", "family")}
    assert set(named_kinds("commit messages")) == {Occasion("commit")}
    assert set(named_kinds("everything you write for me")) == {Occasion("*")}
    assert named_kinds("cooking") == named_kinds("reply to me in French") == ()


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("be casual, also in my emails", [("be casual", None), ("be casual", "emails")]),
        ("use emojis, even in texts to friends", [("use emojis", None), ("use emojis", "texts to friends")]),
        ("also in my emails, be casual", [("be casual", None), ("be casual", "emails")]),
        ("in emails that I write, be formal", [("be formal", "emails")]),
        ("for emails, be formal", [("be formal", "emails")]),
    ],
)
def test_also_widens_and_for_narrows(text: str, parts: list[tuple[str, str | None]]) -> None:
    assert [(part.text, part.scope) for part in scoped_parts(text)] == parts


MANNER = (
    "call me Dr. Lee",
    "answer in German",
    "I prefer short sentences",
    "never start with “Great question”",
    "use British spelling",
    "ask me before you assume something",
    "no metaphors",
)
MATTER = (
    "I am vegetarian",
    "I work night shifts",
    "only recommend trains",
    "I have a strong dislike for horror movies",
    "I prefer window seats",
    "never suggest museums",
    "I make lists of long novels",
    "my son is five",
)


@pytest.mark.parametrize("text", [*MANNER, *MATTER])
def test_a_wish_is_about_the_manner_or_the_matter(text: str) -> None:
    assert about_manner(text) is (text in MANNER)
