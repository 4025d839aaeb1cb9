"""What belongs into what is asked for: on a real store with a fake embedder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fakes import WordEmbedder
from pad_memory import Preference, PreferenceMemory, Statement, Values
from pad_memory.condition.belonging import BEARS, held_back
from pad_memory.language import ANSWER, DATA, Occasion

LETTER = "Write a letter to my landlord."


@pytest.fixture
def memory() -> Iterator[PreferenceMemory]:
    with PreferenceMemory(embedder=WordEmbedder()) as memory:
        for place, wish in enumerate(("no jokes", "call me Max", "I am vegetarian")):
            memory.record("ada", Statement(wish, time=1000.0 + place))
        yield memory


def steering(memory: PreferenceMemory, query: str | None, **options: object) -> list[str]:
    return sorted(item.text for item in memory.condition("ada", query=query, **options))  # type: ignore[arg-type]


ALL = ["I am vegetarian", "be serious and do not joke", "call me Max"]


def test_manner_is_held_back_from_texts_for_others_and_explained(memory: PreferenceMemory) -> None:
    assert steering(memory, "What is rain?") == steering(memory, None) == ALL
    condition = memory.condition("ada", query="Give me the planets as JSON.")
    assert [item.text for item in condition] == ["I am vegetarian"]
    assert "held back: call me Max (it is about how the user is answered, and this is data for a program)" in (
        condition.explain().splitlines()
    )
    assert len(condition.held_back) == 2
    assert steering(memory, "Translate to French: “hello”") == []


def test_the_operator_and_the_call_switch_it_off(memory: PreferenceMemory) -> None:
    assert steering(memory, LETTER, selective=False) == ALL
    assert steering(memory, "What is rain?", now=DATA) == ["I am vegetarian"]
    assert steering(memory, LETTER, now=ANSWER) == ALL
    with PreferenceMemory(embedder=WordEmbedder(), selective=False) as open_:
        open_.record("ada", Statement("no jokes"))
        assert steering(open_, LETTER) == ["be serious and do not joke"]
        assert steering(open_, LETTER, selective=True) == []


def test_scopes_say_where_else_and_where_only(memory: PreferenceMemory) -> None:
    memory.record("bob", Statement("no jokes, also in my emails"))
    memory.record("bob", Statement("for letters, be formal"))

    def keys(query: str) -> list[str]:
        return sorted(item.key for item in memory.condition("bob", query=query))

    assert keys("What is rain?") == ["humor:serious"]
    assert keys("Write an email to Tom.") == ["humor:serious@emails"]
    assert keys(LETTER) == ["tone:formal@letters"]
    assert keys("Write a tweet about tea.") == []
    reasons = {item.key: reason for item, reason in memory.condition("bob", query="Write a tweet.").left_out}
    assert reasons["tone:formal@letters"] == "only for letters, and this is something to publish"


def test_the_floor_belongs_everywhere() -> None:
    with PreferenceMemory(embedder=WordEmbedder(), values=Values(floor=[("be honest", 0.3)])) as memory:
        memory.record("ada", Statement("no jokes"))
        assert steering(memory, LETTER) == ["be honest"]


@pytest.mark.parametrize(
    ("now", "bearing", "held"),
    [
        (ANSWER, 0.0, False),
        (Occasion("email"), BEARS, False),
        (Occasion("email"), BEARS - 0.01, True),
        (DATA, -1.0, False),
        (Occasion("translation"), 1.0, True),
    ],
)
def test_what_is_about_the_matter_belongs_where_it_bears(now: Occasion, bearing: float, held: bool) -> None:
    fact = Preference("text:1", "I am vegetarian", 1.0, 0.9, "stated")
    assert (held_back(fact, now, {"text:1": bearing}) is not None) is held


def test_a_users_own_words_have_room_of_their_own(memory: PreferenceMemory) -> None:
    assert steering(memory, "lions", budget=1) == ["be serious and do not joke"]
    assert steering(memory, "lions", budget=1, own=1) != steering(memory, "lions", budget=1, own=0)
    assert steering(memory, "lions", budget=1, own=2) == ALL
    assert steering(memory, "lions", budget=0, own=2) == ALL[::2]
    reasons = [reason for _, reason in memory.condition("ada", "lions", budget=0, own=1).left_out]
    assert reasons == ["only 0 steer at once", "only 1 steer at once"]
