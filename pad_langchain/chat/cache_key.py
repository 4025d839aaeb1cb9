"""What an answer depends on beside the words of its call, for caches of answers."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from pad_langchain.chat.chat import Chat
from pad_langchain.chat.condition import condition_of, embedder_of
from pad_langchain.chat.engines import said, weights
from pad_langchain.chat.messages import ChatDict, last_user_text
from pad_langchain.chat.options import CallOptions, ChatSettings

__all__ = ["read_key"]

_FIELDS = [name for name, field in ChatSettings.model_fields.items() if not field.exclude]


def read_key(model: str, settings: ChatSettings, messages: Sequence[ChatDict], options: CallOptions) -> str:
    """Return a hash of it: all settings, the weights' files, the embedder, and what steers the user's answer.

    Blocks: looks at files, and waits for the memory. A hash, because caches must not keep what users wish for, nor
    the access tokens among the settings of loading.

    Args:
        model: a folder, a hub id or the name of a default.
        settings: the face's.
        messages: the conversation.
        options: what the call says.

    Raises:
        InvalidRequestError: an id is not text, or there is no user id and the settings require one.
        pad_memory.PadMemoryError: the memory cannot be read.
    """
    told, memory, embedder = options.over(settings), settings.memory, embedder_of(settings)
    steers: list[tuple[str | float, ...]] = []
    files = weights(model, settings.reward_model, settings.engine_settings)
    if None in files:
        Chat.of(model, settings)  # which version it is, the download shows
        files = weights(model, settings.reward_model, settings.engine_settings)
    if memory is not None and told.user_id is not None and told.preference is None:
        if memory.scorer is None and memory.profile(told.user_id).pending:
            Chat.of(model, settings)  # the answer will have a scorer that judges what waits
        wishes, _, taste = condition_of(told, settings, last_user_text(messages), vectors=False)
        steers = [(wish.preference.text, wish.preference.weight) for wish in wishes]
        steers += [] if taste is None else [taste.gate]
    parts = (
        files,
        # What the call may set is as it will be, whoever set it.
        said({name: getattr(told, name, getattr(settings, name)) for name in _FIELDS}),
        None if embedder is None else embedder.name,
        None if memory is None else memory.tenant,
        steers,
    )
    return hashlib.sha256(repr(parts).encode()).hexdigest()
