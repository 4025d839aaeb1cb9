"""The two answers of a memory's question: the same prompt, answered under opposite preferences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pad_langchain.langchain.chat_model import ChatPAD
    from pad_memory import PreferenceMemory
    from pad_memory.profile.elicitation import Question

__all__ = ["two_answers"]


def two_answers(
    llm: ChatPAD, memory: PreferenceMemory, user: str, question: Question, prompt: str, **settings: Any
) -> tuple[str, str]:
    """Answer `prompt` under the question's first and second preferences, all that is known of the user else alike.

    Args:
        llm: answers both, in one batch.
        memory: asked the question.
        user: whom it was asked.
        question: from `memory.next_question(user)`.
        prompt: what to answer.
        settings: more call keywords, beta for example.

    Returns:
        The first and the second answer, for `question.choice`. They may be equal where the question's dimensions
        change nothing for this prompt: then ask another.
    """
    from langchain_core.runnables import RunnableParallel

    others = [
        (item.text, item.weight)
        for item in memory.condition(user, query=prompt)
        if item.key.partition(":")[0] not in question.dimensions
    ]
    sides = [
        llm.bind(**settings, user_id=user, preference=[*others, *((text, 1.0) for text in side)])
        for side in (question.first, question.second)
    ]
    answers = RunnableParallel(first=sides[0], second=sides[1]).invoke(prompt)
    return answers["first"].text, answers["second"].text
