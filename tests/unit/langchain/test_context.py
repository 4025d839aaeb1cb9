"""A thousand messages on a model with a context of 512 tokens: refused with the counts, or trimmed where asked."""

from __future__ import annotations

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, trim_messages
from langchain_core.runnables import RunnableLambda

from pad_langchain import ChatPAD, ContextLengthError
from pad_langchain.testing import tiny_pair

QUESTION = "what is an element?"


@pytest.fixture(scope="module")
def small_context(tmp_path_factory):
    base, _ = tiny_pair().save(tmp_path_factory.mktemp("pair"))
    return ChatPAD(model=str(base), max_tokens=12)


@pytest.fixture(scope="module")
def long_history():
    turns = [(HumanMessage(f"question {n}"), AIMessage(f"answer {n}")) for n in range(500)]
    return [SystemMessage("Be kind."), *(message for turn in turns for message in turn), HumanMessage(QUESTION)]


async def test_a_history_beyond_the_context_is_refused_with_the_counts(small_context, long_history):
    counted = small_context.get_num_tokens_from_messages(long_history)
    for call in (small_context.invoke, lambda messages: next(small_context.stream(messages))):
        with pytest.raises(ContextLengthError, match=rf"has {counted} tokens, but the model's context is 512"):
            call(long_history)
    with pytest.raises(ContextLengthError, match=rf"has {counted} tokens"):
        await small_context.ainvoke(long_history)


def test_a_history_beyond_the_context_is_trimmed_where_asked(small_context, long_history):
    seen = []

    def look(messages):
        seen.append(messages)
        return messages

    trim = trim_messages(max_tokens=400, token_counter=small_context, start_on="human", include_system=True)
    answer = (trim | RunnableLambda(look) | small_context).invoke(long_history)
    (kept,) = seen
    assert kept[0] == long_history[0]
    assert kept[1:] == long_history[-len(kept) + 1 :]
    assert 3 < len(kept) < 100
    assert answer.usage_metadata["input_tokens"] == small_context.get_num_tokens_from_messages(kept) <= 400
