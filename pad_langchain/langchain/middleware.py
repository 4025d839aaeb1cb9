"""`PreferenceMiddleware`: tells an agent's model who the user is, and can learn what they say they like."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from pad_langchain.errors import InvalidRequestError, MissingDependencyError

try:
    from langchain.agents.middleware import AgentMiddleware, AgentState, ModelRequest, ModelResponse
except ImportError as error:
    raise MissingDependencyError(
        f'LangChain\'s agents are not installed ({error}). Install them: pip install "pad-langchain[agents]"'
    ) from error

from langchain_core.messages import AnyMessage, HumanMessage, SystemMessage
from langchain_core.runnables.config import ensure_config
from langgraph.runtime import Runtime

from pad_langchain.langchain.chat_model import ChatPAD
from pad_langchain.langchain.user_id import thread_of
from pad_memory import PreferenceMemory, Statement
from pad_memory.errors import ConsentNeededError
from pad_memory.language.chat_wishes import explicit_statements

__all__ = ["PreferenceMiddleware"]

logger = logging.getLogger(__name__)


class PreferenceMiddleware(AgentMiddleware[AgentState[Any], Any, Any]):
    """Passes the user of an agent's typed context on to `ChatPAD`; with `learn=True` it also records their wishes.

    The user id is the field `user_field` of the run's context, else `config["configurable"]["user_id"]`; the run's
    thread is passed on with it, so that "in this conversation, …" holds in that thread. Models other than `ChatPAD` are
    called as they are. Put it after middleware that changes the model, such as
    `ModelFallbackMiddleware`, so that it sees the model that is called.

    Learning reads the messages the user sent since the agent's last answer, before the model is called, and records
    each explicit, lasting wish ("never use emojis", "from now on, answer in lists") as a `Statement`. It never learns
    from what the assistant, tools or the system said, from summaries, quotes, code or blocks of context, nor from a
    sentence of the user that repeats one of those, nor in a run whose config has `private`, nor of a user who paused,
    nor what the memory would have to ask for first. A message counts once, however often the agent is resumed or
    retried. Use it on the outermost agent only: what a supervisor tells a sub-agent are not the user's words.

    Args:
        memory: where wishes are recorded; needed for `learn`. Give the model the same one.
        learn: record explicit statements.
        user_field: name of the field or key of the context.

    Raises:
        InvalidRequestError: `learn` without a memory; in a run, a context without the field and no configured user.

    Example:
        >>> PreferenceMiddleware(user_field="account").name
        'PreferenceMiddleware'
    """

    def __init__(
        self, memory: PreferenceMemory | None = None, *, learn: bool = False, user_field: str = "user_id"
    ) -> None:
        super().__init__()
        if learn and memory is None:
            raise InvalidRequestError(
                "learn=True needs a memory to record in: PreferenceMiddleware(memory, learn=True)."
            )
        self.memory = memory
        self.learn = learn
        self.user_field = user_field
        self._reader = memory.reader if memory is not None else None

    # ---- the user id

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any]:
        return handler(self._with_user(request))

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any]:
        return await handler(self._with_user(request))

    def _with_user(self, request: ModelRequest[Any]) -> ModelRequest[Any]:
        user = self._user(request.runtime)
        if user is None or not isinstance(request.model, ChatPAD):
            return request
        ids = {"user_id": user, "thread_id": _thread(request.runtime), "private": _private() or None}
        named = {name: value for name, value in ids.items() if value is not None}
        return request.override(model_settings={**named, **request.model_settings})

    def _user(self, runtime: Runtime[Any] | None) -> Any:
        context = getattr(runtime, "context", None)
        if isinstance(context, Mapping):
            known, user = self.user_field in context, context.get(self.user_field)
        else:
            known, user = hasattr(context, self.user_field), getattr(context, self.user_field, None)
        if user is None:
            user = ensure_config().get("configurable", {}).get("user_id")
        if user is None and context is not None and not known:
            raise InvalidRequestError(
                f"The context {type(context).__name__} has no {self.user_field!r}. Name the field that has the user "
                "id: PreferenceMiddleware(user_field=…)."
            )
        return user

    # ---- learning

    def before_agent(self, state: AgentState[Any], runtime: Runtime[Any]) -> None:
        if self.learn:
            self._record(self._user(runtime), _thread(runtime), state["messages"])

    async def abefore_agent(self, state: AgentState[Any], runtime: Runtime[Any]) -> None:
        if self.learn:  # embeds and writes, so not in the event loop
            await asyncio.to_thread(self._record, self._user(runtime), _thread(runtime), state["messages"])

    def _record(self, user: Any, thread: str | None, messages: Sequence[AnyMessage]) -> None:
        if user is None or self.memory is None or self._reader is None:
            return  # nobody to learn about
        if _private() or self.memory.paused(user):
            return
        others = [message.text for message in messages if not _is_users(message, user)]
        for message in _new(messages, user):
            for number, sentence in enumerate(explicit_statements(message.text, self._reader, others)):
                event = None if message.id is None else f"message:{message.id}:{number}"
                statement = Statement(sentence, id=event, thread=thread, source="conversation")
                try:
                    self.memory.record(user, statement)
                except ConsentNeededError as error:  # nobody can be asked in here
                    logger.info("A wish is not learned: it tells something sensitive (%s).", ", ".join(error.sensitive))


def _is_users(message: AnyMessage, user: Any) -> bool:
    """Whether the user wrote it: summaries come as human messages, too, and so do the words of other agents."""
    return (
        isinstance(message, HumanMessage)
        and message.additional_kwargs.get("lc_source") is None
        and message.name in (None, user)
    )


def _new(messages: Sequence[AnyMessage], user: Any) -> list[AnyMessage]:
    """What the user wrote since the last answer, oldest first: earlier turns were learned when they were new."""
    found: list[AnyMessage] = []
    for message in reversed(messages):
        if not isinstance(message, (HumanMessage, SystemMessage)):
            break
        if _is_users(message, user):
            found.append(message)
    return found[::-1]


def _private() -> Any:
    """What the run's config says of privacy: True, "steered", or nothing."""
    return ensure_config().get("configurable", {}).get("private")


def _thread(runtime: Runtime[Any] | None) -> str | None:
    info = getattr(runtime, "execution_info", None)
    thread = getattr(info, "thread_id", None)
    return thread_of({"thread_id": thread} if thread else ensure_config().get("configurable", {}))
