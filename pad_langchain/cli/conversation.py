"""The conversation of one user, and the exchange that feedback is about."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from pad_langchain.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pad_langchain.chat import CallOptions, Chat
    from pad_langchain.chat.messages import ChatDict
    from pad_langchain.engine.types import WeightedPreference
    from pad_memory.profile.elicitation import Question

__all__ = ["Conversation", "Exchange"]

MOST_QUESTIONS = 8  # tried for two answers that differ; each costs two answers


@dataclass
class Exchange:
    """A question, its answer, how each of its tokens was chosen (`Delta.logprobs`), and which wishes were held back."""

    prompt: str
    response: str
    tokens: list[Mapping[str, Any]] = field(default_factory=list)
    held_back: list[Mapping[str, str]] = field(default_factory=list)


class Conversation:
    """One user's conversation with a chat.

    Args:
        chat: returns what answers, when it has loaded.
        user: id of the user who talks.
        thread: id of the conversation, for wishes that hold in it only. None means a new one.
        beta: guidance strength. None means the chat's.
        private: whether nothing of it is kept, see `ChatSettings.private`.
    """

    def __init__(
        self,
        chat: Callable[[], Chat],
        user: str,
        thread: str | None = None,
        beta: float | None = None,
        private: bool | Literal["steered"] = False,
    ) -> None:
        self._chat, self.user, self.beta, self.private = chat, user, beta, private
        self.thread = uuid.uuid4().hex if thread is None else thread
        self.history: list[ChatDict] = []
        self.last: Exchange | None = None

    @property
    def chat(self) -> Chat:
        return self._chat()

    def options(self, **more: Any) -> CallOptions:
        """Return the options of each call, with `more` added."""
        from pad_langchain.chat import CallOptions

        return CallOptions(
            user_id=self.user, thread_id=self.thread, beta=self.beta, private=self.private or None, **more
        )

    def steering(self) -> list[WeightedPreference]:
        """Return what steers the next answer, whatever it is asked."""
        from pad_langchain.chat.condition import steering

        settings = self.chat.settings
        said = self.options().over(settings)
        return [wish.preference for wish in steering(said, settings, "", vectors=False)]

    def ask(self, question: str) -> Iterator[str]:
        """Stream the answer to `question` as texts. When it is complete, remember both."""
        messages = self._fitting([*self.history, {"role": "user", "content": question}])
        weighed = min(3, self.chat.settings.top_k or self.chat.engine.recommended.top_k or 3)
        text = ""
        tokens: list[Mapping[str, Any]] = []
        pad: Mapping[str, Any] = {}
        for delta in self.chat.submit(messages, self.options(logprobs=True, top_logprobs=weighed)):
            text += delta.text
            tokens += delta.logprobs
            pad = delta.pad or pad
            yield delta.text
        self.history = [*messages, {"role": "assistant", "content": text}]
        self.last = Exchange(question, text, tokens, pad.get("held_back", []))

    def _fitting(self, messages: list[ChatDict]) -> list[ChatDict]:
        """Drop the oldest turns until the rest and an answer fit the context."""
        context = self.chat.engine.context
        if context is None:
            return messages
        room = context - min(self.chat.settings.max_tokens, context // 2)
        *earlier, last = (place for place, message in enumerate(messages) if message["role"] == "user")
        for start in earlier:
            if self.chat.count_tokens(messages[start:]) <= room:
                return messages[start:]
        return messages[last:]  # a single question that is too long is the engine's to refuse, with the counts

    def judged(self) -> Exchange:
        """Return the exchange that feedback is about.

        Raises:
            InvalidRequestError: there is none yet.
        """
        if self.last is None:
            raise InvalidRequestError("There is no answer to judge yet. Ask something first.")
        return self.last

    def two_answers(self, prompt: str) -> tuple[Question, str, str]:
        """Find the question that teaches most, and two answers to `prompt` that differ in it.

        Where its two answers are the same, the next question is tried.

        Raises:
            InvalidRequestError: nothing is left to ask about, or no two answers differ.
        """
        from pad_langchain.chat.compare import two_answers

        questions = self.chat.memory.questions(self.user)
        for question in questions[:MOST_QUESTIONS]:
            left, right = two_answers(self.chat, question, prompt, self.options())
            if left.strip() and right.strip() and left != right:
                return question, left, right
        if not questions:
            raise InvalidRequestError("Your taste is known; there is nothing left to compare. See /profile.")
        raise InvalidRequestError(
            f"No two different answers to {prompt!r} were found. Ask something else, or raise /beta."
        )
