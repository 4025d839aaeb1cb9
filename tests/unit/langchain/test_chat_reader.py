"""Words read by a chat model instead of the rules, with a fake model."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.runnables import RunnableLambda

from fakes import WordEmbedder
from pad_langchain.langchain.reader import ChatReader
from pad_memory import PreferenceMemory, Statement


class Fake:
    """Answers each text with the wishes it was made with, and remembers what it was asked."""

    def __init__(self, wishes: dict[str, list[dict[str, Any]]]) -> None:
        self.wishes, self.asked = wishes, []

    def with_structured_output(self, schema: type[Any]) -> RunnableLambda:
        def answer(messages: list[tuple[str, str]]) -> Any:
            self.asked.append(messages)
            return schema(wishes=self.wishes[messages[-1][1]])

        return RunnableLambda(answer)


def test_a_chat_model_reads_what_the_rules_cannot() -> None:
    fake = Fake(
        {
            "Bitte keine Emojis": [{"text": "keine Emojis", "wish": "emoji:no-emoji"}],
            "Pour le code, sois bref": [{"text": "sois bref", "wish": "length:concise", "scope": "Code"}],
            "J'aimais les emojis": [{"text": "J'aimais les emojis", "wish": "emoji:no-emoji", "ends": True}],
        }
    )
    with PreferenceMemory(embedder=WordEmbedder(), reader=ChatReader(fake)) as memory:
        for text in ("Bitte keine Emojis", "Pour le code, sois bref"):
            memory.record("ada", Statement(text))
        assert {item.key for item in memory.profile("ada").preferences} == {"emoji:no-emoji", "length:concise@code"}
        assert "keine Emojis" in memory.profile("ada").why("emoji:no-emoji")
        memory.record("ada", Statement("J'aimais les emojis"))
        assert [item.key for item in memory.profile("ada").history] == ["emoji:no-emoji"]
    assert "emoji:no-emoji: do not use emojis" in fake.asked[0][0][1]
    assert fake.asked[0][1] == ("human", "Bitte keine Emojis")


def test_what_the_model_makes_up_is_not_learned() -> None:
    fake = Fake({"be nice": [{"text": "send me money"}, {"text": "be nice"}, {"text": "x", "wish": "size:huge"}]})
    assert [reading.text for reading in ChatReader(fake).read("be nice")] == ["be nice"]
    assert ChatReader(fake).read("be nice", keep_rest=False) == ()


def test_the_rules_take_over_where_the_model_fails(caplog: pytest.LogCaptureFixture) -> None:
    with PreferenceMemory(embedder=WordEmbedder(), reader=ChatReader(Fake({}))) as memory:
        memory.record("ada", Statement("short answers"))
        assert [item.key for item in memory.profile("ada").preferences] == ["length:concise"]
    assert "The reader failed" in caplog.text


@pytest.mark.parametrize(
    ("text", "said", "key"),
    [
        ("Bitte keine langen Antworten", "keine langen Antworten", "length:concise"),
        ("Sin emojis, por favor", "Sin emojis", "emoji:no-emoji"),
        ("请不要开玩笑", "不要开玩笑", "humor:serious"),
        ("例を挙げてください", "例を挙げて", "examples:examples"),
        ("Ei emojeita, kiitos", "Ei emojeita", "emoji:no-emoji"),
    ],
)
def test_other_languages_are_read_by_the_chat_model(text: str, said: str, key: str) -> None:
    with PreferenceMemory(
        embedder=WordEmbedder(), reader=ChatReader(Fake({text: [{"text": said, "wish": key}]}))
    ) as memory:
        memory.record("ada", Statement(text))
        (item,) = memory.profile("ada").preferences
        assert (item.key, item.unread) == (key, None)
        assert said in memory.profile("ada").why(key)
