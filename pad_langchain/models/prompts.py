"""Conversations into token ids: for the base as they are, for a text PersRM with the preference written in."""

from __future__ import annotations

import copy
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from pad_langchain.errors import IncompatibleModelError, InvalidRequestError
from pad_langchain.models.forks import survive_forks

__all__ = ["PERSRM_TEMPLATE", "SELF_TEMPLATE", "Prompts", "with_preference"]

# The prompt of the released PersRM; several preferences get a row each, or are joined with " and " by the caller.
PERSRM_TEMPLATE = (
    "[Guidelines] Your task is to generate response by considering the following principle. "
    "[Principles] {preference} [Instruction] {text}"
)
# For a base that guides itself: an instruction any chat model understands.
SELF_TEMPLATE = "{text}\n\nWrite the answer so that it follows this preference: {preference}"


class Prompts:
    """Renders conversations with a tokenizer's chat template, from any thread.

    Fast tokenizers are changed by a call (padding, truncation, special tokens), so this one is a private copy behind a
    lock.
    """

    def __init__(self, tokenizer: Any) -> None:
        if getattr(tokenizer, "backend_tokenizer", None) is None:
            raise IncompatibleModelError(
                f"{type(tokenizer).__name__} has no `tokenizers` backend, which streaming needs. Load a fast tokenizer "
                "(a model folder with a tokenizer.json)."
            )
        self._tokenizer = copy.deepcopy(tokenizer)
        self._lock = threading.Lock()
        survive_forks(self)

    def hold(self) -> bool:
        """Wait until no thread uses the tokenizer, and let none begin; False: one did not end in time."""
        return self._lock.acquire(timeout=30.0)

    def let_go(self) -> None:
        """Let threads use it again."""
        self._lock.release()

    def begin_anew(self) -> None:
        """In a forked child: nobody uses it, whoever did in the parent."""
        self._lock = threading.Lock()

    def render(
        self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] | None = None
    ) -> list[int]:
        """The conversation up to where the assistant's answer begins. Control tokens inside a message stay plain text.

        Raises:
            InvalidRequestError: the template refuses the conversation.
        """
        if not self._tokenizer.chat_template:
            raise InvalidRequestError(
                "The tokenizer has no chat template to render messages with. Use a chat model, or pass prompt_ids."
            )
        with self._lock:
            try:
                encoding = self._tokenizer.apply_chat_template(
                    [dict(message) for message in messages],
                    tools=[dict(tool) for tool in tools] if tools else None,
                    tokenize=True,
                    add_generation_prompt=True,
                    sanitize_control_tokens=True,
                )
            except Exception as error:  # templates are programs: they raise anything
                raise InvalidRequestError(
                    f"The model's chat template refuses this conversation of {len(messages)} messages "
                    f"(roles {[message.get('role') for message in messages]!r}): {error}"
                ) from error
        return list(encoding["input_ids"])

    @property
    def tokenizer(self) -> Any:
        """The private copy, to be read only."""
        return self._tokenizer

    def encode(self, text: str) -> list[int]:
        """Plain text to ids, nothing added."""
        with self._lock:
            return list(self._tokenizer.encode(text, add_special_tokens=False))

    def vocabulary(self) -> dict[str, int]:
        """Every token and its id."""
        with self._lock:
            return dict(self._tokenizer.get_vocab())


def with_preference(
    messages: Sequence[Mapping[str, Any]], preference: str, template: str = PERSRM_TEMPLATE
) -> list[dict[str, Any]]:
    """Write a preference into the last user turn: `template` with `{preference}` and `{text}` filled in.

    Raises:
        InvalidRequestError: there is no user turn, or its content is not text.
    """
    told = [dict(message) for message in messages]
    for message in reversed(told):
        if message.get("role") == "user":
            if not isinstance(message.get("content"), str):
                raise InvalidRequestError(
                    f"A text PersRM needs the user's message as a string, but it is "
                    f"{type(message.get('content')).__name__}."
                )
            message["content"] = template.format(preference=preference, text=message["content"])
            return told
    raise InvalidRequestError(
        f"A text PersRM writes the preference into the last user message, but the {len(told)} messages have none "
        f"(roles {[message.get('role') for message in told]!r}). Pass `messages` with a user turn."
    )
