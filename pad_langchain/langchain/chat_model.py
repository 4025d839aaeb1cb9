"""`ChatPAD`: a LangChain chat model that decodes here under each user's preferences. A thin face of `Chat`."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, closing
from contextvars import ContextVar
from dataclasses import fields
from functools import partial
from typing import Any, Self

from langchain_core.caches import BaseCache
from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.globals import get_llm_cache
from langchain_core.language_models import LanguageModelInput
from langchain_core.language_models.chat_models import LangSmithParams, generate_from_stream
from langchain_core.language_models.model_profile import ModelProfile
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from pydantic import ConfigDict, Field, SecretStr, field_validator, model_validator
from typing_extensions import override

from pad_langchain import __version__
from pad_langchain.chat.cache_key import read_key
from pad_langchain.chat.chat import Chat
from pad_langchain.chat.engines import context_size
from pad_langchain.chat.options import CallOptions, ChatSettings
from pad_langchain.chat.turn import Delta, Turn, begin
from pad_langchain.defaults import DEMO_MODEL, NAMES
from pad_langchain.langchain.chunks import chunk_of
from pad_langchain.langchain.messages import to_chat_dicts
from pad_langchain.langchain.structured import openai_tool, structured_output
from pad_langchain.langchain.user_id import UserChatModel
from pad_langchain.paths import model_place

__all__ = ["ChatPAD"]

# The settings with a value of their own, for traces. Those of loading may hold access tokens.
_IDENTITY = tuple(
    name for name, field in ChatSettings.model_fields.items() if not field.exclude and name != "engine_settings"
)
_SAID = frozenset(field.name for field in fields(CallOptions))
_READ: ContextVar[str | None] = ContextVar("pad_langchain_key", default=None)  # of the call that runs


class ChatPAD(ChatSettings, UserChatModel):
    """A chat model that answers each user in their own way, while it decodes, without fine-tuning.

    Without arguments it is the demo pair that comes with the package: CPU, no network. Weights load at the first call.

    Args:
        model: a folder or hub id of a causal LM with a chat template; "pad-demo" is the embedded one.
        api_key, timeout, max_retries: of servers that run the model (`url`); no effect on a model that runs here.

    The other settings are those of `pad_langchain.chat.ChatSettings`: `reward_model`, `memory`, `beta`, `top_k`,
    `temperature`, `max_tokens`, `stop`, `seed`, `user_id`, `thread_id`, …

    A call's user id is taken from the keyword `user_id`, else `config["configurable"]["user_id"]`, else the field; the
    id of its conversation likewise from `thread_id`. The keyword `preference` (a text, or a list of texts and
    (text, weight) pairs) replaces the memory's preferences for that call. `private` (keyword, config or field) keeps
    nothing of a call, LangChain's cache included. All that a call may say by keyword is in
    `pad_langchain.chat.CallOptions`; `model` names another model for it.

    Raises:
        InvalidRequestError: a setting does not exist or is out of its range; at a call, what it asks cannot be.
        ModelLoadError, IncompatibleModelError: at the first call, where the weights do not load or do not fit.
        ContextLengthError, EngineBusyError: at a call whose prompt is too long, or when the queue is full.

    Example:
        >>> from pad_langchain import ChatPAD
        >>> ChatPAD(user_id="ada", temperature=0.5).temperature
        0.5
    """

    model_config = ConfigDict(populate_by_name=True, protected_namespaces=(), arbitrary_types_allowed=True)

    model_name: str = Field(default=DEMO_MODEL, alias="model")
    streaming: bool = False
    api_key: SecretStr | None = Field(default=None, exclude=True, repr=False)
    timeout: float | None = Field(default=None, exclude=True, repr=False)
    max_retries: int | None = Field(default=None, exclude=True, repr=False)

    @field_validator("model_name")
    @classmethod
    def _place_model(cls, model: str) -> str:
        return model_place(model, *NAMES)

    @override
    def connection(self) -> dict[str, Any]:
        key = None if self.api_key is None else self.api_key.get_secret_value()
        said = {"api_key": key, "timeout": self.timeout, "retries": self.max_retries}
        return {} if self.url is None else {name: value for name, value in said.items() if value is not None}

    # ---- LangChain's identity cards

    @model_validator(mode="after")
    def _set_pad_langchain_version(self) -> Self:
        self._add_version("pad-langchain", __version__)
        return self

    @property
    def _llm_type(self) -> str:
        return "pad"

    @property
    def _identifying_params(self) -> Mapping[str, Any]:
        return {"model_name": self.model_name, **{name: getattr(self, name) for name in _IDENTITY}}

    @property
    @override
    def batch_width(self) -> int:
        queue = self.engine_settings.get("max_queue")
        return min(super().batch_width, queue) if isinstance(queue, int) else super().batch_width

    @override
    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params = super()._get_ls_params(stop=stop or self.stop, **kwargs)
        params["ls_provider"] = "pad"
        return params

    @override
    def _get_llm_string(self, stop: list[str] | None = None, **kwargs: Any) -> str:
        """The cache's key beside the prompt: settings, ids, and what was read for it before (see `_reads_key`)."""
        read, key = _READ.get(), super()._get_llm_string(stop=stop, **kwargs)
        _READ.set(None)  # a model that this call asks in turn has a key of its own
        return f"{key}---{read or uuid.uuid4().hex}"  # what nobody read for is found by nobody

    def _reads_key(self, messages: list[BaseMessage], kwargs: Mapping[str, Any]) -> Callable[[], str] | None:
        """What reads the rest of the cache's key: feedback and new weights outdate answers. None means no cache.

        LangChain makes the key on the event loop, where nothing may wait for the memory or the disk.
        """
        if self.cache is False or not (isinstance(self.cache, BaseCache) or get_llm_cache() is not None):
            return None
        options = CallOptions(**{name: value for name, value in kwargs.items() if name in _SAID})
        model = kwargs.get("model") or self.model_name
        return lambda: read_key(model, self, to_chat_dicts(messages), options)

    def _uncached(self, kwargs: Mapping[str, Any]) -> Self | None:
        """This model without LangChain's cache, for a private call while there is one; it would keep the answer."""
        said = kwargs.get("private")
        private = self.private if said is None else said
        if not private or self.cache is False:
            return None
        return self.model_copy(update={"cache": False})

    @override
    def _generate_with_cache(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        if (uncached := self._uncached(kwargs)) is not None:
            return uncached._generate_with_cache(messages, *args, **kwargs)
        reads = self._reads_key(messages, kwargs)
        before = _READ.set(None if reads is None else reads())
        try:
            return super()._generate_with_cache(messages, *args, **kwargs)
        finally:
            _READ.reset(before)

    @override
    async def _agenerate_with_cache(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        if (uncached := self._uncached(kwargs)) is not None:
            return await uncached._agenerate_with_cache(messages, *args, **kwargs)
        reads = self._reads_key(messages, kwargs)
        before = _READ.set(None if reads is None else await asyncio.to_thread(reads))
        try:
            return await super()._agenerate_with_cache(messages, *args, **kwargs)
        finally:
            _READ.reset(before)

    @override
    def _resolve_model_profile(self) -> ModelProfile | None:
        profile = ModelProfile(
            name=self.model_name,
            open_weights=True,
            text_inputs=True,
            text_outputs=True,
            image_inputs=False,
            audio_inputs=False,
            video_inputs=False,
            tool_calling=True,
            structured_output=True,
        )
        if (size := context_size(self.model_name, **self.engine_settings)) is not None:
            profile["max_input_tokens"] = size
        return profile

    @override
    def get_token_ids(self, text: str) -> list[int]:
        return self._chat().engine.prompts.encode(text)

    @override
    def get_num_tokens_from_messages(self, messages: list[BaseMessage], tools: Sequence[Any] | None = None) -> int:
        """Count the tokens of the whole prompt: the chat template's own tokens and the tools' schemas included."""
        schemas = [openai_tool(tool) for tool in tools or ()]
        return self._chat().count_tokens(to_chat_dicts(messages), schemas)

    # ---- tools and structured output

    @override
    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | dict[str, Any] | bool | None = None,
        parallel_tool_calls: bool | None = None,
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Show the model tools. What it calls is valid by grammar: a tool's name and arguments of its schema.

        Args:
            tools: functions, `BaseTool`s, pydantic models, TypedDicts or OpenAI-style dicts; no two of one name.
            tool_choice: "auto" (the model decides), "any", "required" or True (it has to call), a tool's name, "none".
            parallel_tool_calls: whether several calls may come at once; None means yes, unless a call is forced.
            strict: True makes every argument required; False allows arguments that the schema does not name.
            kwargs: settings of each call, such as `response_format` for the answer that calls no tool.

        Raises:
            InvalidRequestError: at the call: unknown tool_choice, two tools of one name, a schema beyond the grammar.
        """
        bound = {"tools": [openai_tool(tool, strict) for tool in tools], **kwargs}
        if tool_choice is not None:
            bound["tool_choice"] = tool_choice
        if parallel_tool_calls is not None:
            bound["parallel_tool_calls"] = parallel_tool_calls
        return super().bind(**bound)

    @override
    def with_structured_output(
        self,
        schema: Any = None,
        *,
        method: str = "json_schema",
        include_raw: bool = False,
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, Any]:
        """Answer in the form of `schema`, by grammar: see `pad_langchain.langchain.structured.structured_output`."""
        return structured_output(self, schema, method=method, include_raw=include_raw, strict=strict, **kwargs)

    # ---- one call: keywords into options, deltas into chunks

    def _chat(self, model: str | None = None) -> Chat:
        return Chat.of(model or self.model_name, self)

    def _begin(self, messages: list[BaseMessage], stop: list[str] | None, kwargs: Mapping[str, Any]) -> Turn:
        """Blocks: loads weights at first use, reads the memory, tokenizes."""
        said = CallOptions.read("ChatPAD", {**kwargs, "stop": stop}, own=("model", "stream"))
        options, dicts = said.over(self), to_chat_dicts(messages)  # what is wrong is said before weights load
        return self._chat(kwargs.get("model")).submit(dicts, options)

    def _chunk(self, delta: Delta, kwargs: Mapping[str, Any]) -> ChatGenerationChunk:
        return chunk_of(delta, kwargs.get("model", self.model_name))

    @override
    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        turn = self._begin(messages, stop, kwargs)
        with closing(iter(turn)) as deltas:  # type: ignore[type-var]  # leaving early cancels the request
            for delta in deltas:
                yield self._chunk(delta, kwargs)

    @override
    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        turn = await begin(partial(self._begin, messages, stop, kwargs))
        async with aclosing(aiter(turn)) as deltas:  # type: ignore[type-var]
            async for delta in deltas:
                yield self._chunk(delta, kwargs)

    @override
    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        turn = self._begin(messages, stop, kwargs)
        return generate_from_stream(iter([self._chunk(turn.result(), kwargs)]))

    @override
    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        turn = await begin(partial(self._begin, messages, stop, kwargs))
        return generate_from_stream(iter([self._chunk(await turn.aresult(), kwargs)]))
