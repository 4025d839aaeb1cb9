"""`ChatPAD`: a LangChain chat model that decodes here under each user's preferences. A thin face of the engine."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, closing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import LanguageModelInput
from langchain_core.language_models.chat_models import LangSmithParams, generate_from_stream
from langchain_core.language_models.model_profile import ModelProfile
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import ConfigDict, Field, SecretStr, model_validator
from typing_extensions import override

from pad_langchain import __version__
from pad_langchain.chat.engines import context_size, shared_pair
from pad_langchain.chat.messages import fit_template, last_user_text, to_chat_dicts, with_preferences
from pad_langchain.chat.options import Settings
from pad_langchain.chat.tools.constraint import Constraint, constrain
from pad_langchain.defaults import DEMO_MODEL
from pad_langchain.engine.types import Request, WeightedPreference
from pad_langchain.errors import InvalidRequestError
from pad_langchain.langchain.chunks import Call, parse_preference
from pad_langchain.langchain.structured import structured_output
from pad_langchain.langchain.user_id import UserChatModel

if TYPE_CHECKING:
    from pad_langchain.engine.torch.engine import TorchEngine
    from pad_langchain.persrm.build import Pair

__all__ = ["ChatPAD"]

# What a call may set by keyword; each overrides the field of the same name.
_CALL_SETTINGS = ("beta", "alpha", "top_k", "temperature", "top_p", "max_tokens", "seed", "condition_base")
_REQUESTS = ("combine", "reference", "clip", "lazy", "best_of")
_BINDINGS = ("tools", "tool_choice", "parallel_tool_calls", "response_format")
_CALL_KEYWORDS = frozenset(
    (
        *(*_CALL_SETTINGS, *_REQUESTS, *_BINDINGS, "model", "user_id", "preference"),
        *("logprobs", "top_logprobs", "stream"),
    )
)


class ChatPAD(Settings, UserChatModel):
    """A chat model that answers each user in their own way, while it decodes, without fine-tuning.

    Without arguments it is the demo pair that comes with the package: CPU, no network. Weights load at the first call.

    Args:
        model: a folder or hub id of a causal LM with a chat template; "pad-demo" is the embedded one.
        api_key, timeout, max_retries: accepted, as apps pass them to every chat model; no effect on a local one.

    The other settings are those of `pad_langchain.chat.options.Settings`: `reward_model`, `memory`, `beta`, `top_k`,
    `temperature`, `max_tokens`, `stop`, `seed`, `user_id`, …

    A call's user id is taken from the keyword `user_id`, else `config["configurable"]["user_id"]`, else the field. The
    keyword `preference` (a text, or a list of texts and (text, weight) pairs) replaces the memory's preferences for
    that call. `combine`, `reference`, `clip`, `lazy` and `best_of` are keywords, too: see `engine.types.Request`.

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

    # ---- LangChain's identity cards

    @model_validator(mode="after")
    def _set_pad_langchain_version(self) -> Self:
        self._add_version("pad-langchain", __version__)
        return self

    @model_validator(mode="after")
    def _check_settings(self) -> Self:
        """Refuse a bad setting where it is written, not at the first call."""
        self._request([{"role": "user", "content": "check"}], (), {}, None, self.beta or 0.0, self.alpha or 0.0)
        return self

    @property
    def _llm_type(self) -> str:
        return "pad"

    @property
    def _identifying_params(self) -> Mapping[str, Any]:
        names = ("reward_model", *_CALL_SETTINGS, "stop", "user_id", "require_user", "device", "dtype")
        return {"model_name": self.model_name, **{name: getattr(self, name) for name in names}}

    @override
    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params = super()._get_ls_params(stop=stop or self.stop, **kwargs)
        params["ls_provider"] = "pad"
        return params

    @override
    def _get_llm_string(self, stop: list[str] | None = None, **kwargs: Any) -> str:
        """The cache's key beside the prompt: settings, user id and the profile, so feedback outdates cached answers."""
        key = super()._get_llm_string(stop=stop, **kwargs)
        user = self._user(kwargs)
        if self.memory is None or user is None or kwargs.get("preference") is not None:
            return key
        return f"{key}---{[(p.key, p.text, p.weight) for p in self.memory.profile(user).preferences]}"

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
        if (size := context_size(self.model_name)) is not None:
            profile["max_input_tokens"] = size
        return profile

    @override
    def get_token_ids(self, text: str) -> list[int]:
        return self._engine().prompts.encode(text)

    @override
    def get_num_tokens_from_messages(self, messages: list[BaseMessage], tools: Sequence[Any] | None = None) -> int:
        """Count the tokens of the whole prompt: the chat template's own tokens and the tools' schemas included."""
        schemas = [convert_to_openai_tool(tool) for tool in tools or ()]
        bound = constrain(self._engine(), tools=schemas, response_template=self.response_template)
        return len(bound.render(to_chat_dicts(messages))[1])

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
            parallel_tool_calls: whether several calls may come at once; None: yes, unless a call is forced.
            strict: True makes every argument required; False allows arguments that the schema does not name.
            kwargs: settings of each call, such as `response_format` for the answer that calls no tool.

        Raises:
            InvalidRequestError: at the call: unknown tool_choice, two tools of one name, a schema beyond the grammar.
        """
        bound = {"tools": [convert_to_openai_tool(tool, strict=strict) for tool in tools], **kwargs}
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

    # ---- one call

    def _embedder(self) -> Any | None:
        return self.embedder or getattr(self.memory, "embedder", None)

    def _pair(self) -> Pair:
        place = {"device": self.device, "dtype": self.dtype, **self.engine_settings}
        return shared_pair(self.model_name, self.reward_model, embedder=self._embedder(), **place)

    def _engine(self) -> TorchEngine:
        return self._pair().engine

    def _user(self, kwargs: Mapping[str, Any]) -> str | None:
        user = kwargs.get("user_id", self.user_id)
        if user is None and self.require_user:
            raise InvalidRequestError(
                "This ChatPAD requires a user id, but the call has none. Pass user_id=…, or "
                'config={"configurable": {"user_id": …}}.'
            )
        if user is not None and (not isinstance(user, str) or not user.strip()):
            raise InvalidRequestError(f"user_id has to be a string that is not blank, but is {user!r}.")
        return user

    def _condition(
        self, user: str | None, query: str, kwargs: Mapping[str, Any], engine: TorchEngine
    ) -> tuple[WeightedPreference, ...]:
        """The preferences of this call: the keyword's if given, else the memory's for this user and query."""
        if kwargs.get("preference") is not None:
            preferences = parse_preference(kwargs["preference"])
            embedder = self._embedder()
            persrm = self._pair().persrm
            if not preferences or embedder is None or persrm is None or persrm.head is None:
                return preferences  # the guide embeds if it needs to
            from pad_memory.language import embed_wishes

            vectors_PE = embed_wishes(embedder, [preference.text for preference in preferences])
            return tuple(
                replace(one, embedding=vector_E) for one, vector_E in zip(preferences, vectors_PE, strict=True)
            )
        if self.memory is None or user is None:
            return ()
        self.memory.attach(scorer=self._pair().persrm, on_forget=engine.forget_prefixes)
        condition = self.memory.condition(user, query=query)
        return tuple(WeightedPreference(item.text, item.weight, item.embedding) for item in condition)

    def _request(
        self,
        messages: Sequence[dict[str, Any]],
        preferences: tuple[WeightedPreference, ...],
        kwargs: Mapping[str, Any],
        stop: Sequence[str] | None,
        beta: float,
        alpha: float,
        prompt_ids: list[int] | None = None,
        bound: Constraint | None = None,
    ) -> Request:
        return Request(
            messages=messages,
            prompt_ids=prompt_ids,
            tools=bound.shown if bound else None,
            grammar=bound.grammar if bound else None,
            preferences=preferences,
            beta=beta,
            alpha=alpha,
            top_k=kwargs.get("top_k", self.top_k),
            temperature=kwargs.get("temperature", self.temperature),
            top_p=kwargs.get("top_p", self.top_p),
            seed=kwargs.get("seed", self.seed),
            max_tokens=kwargs.get("max_tokens", self.max_tokens),
            stop=tuple(stop if stop is not None else self.stop or ()),
            candidates=kwargs.get("top_logprobs") or 0,
            **{name: kwargs[name] for name in _REQUESTS if name in kwargs},
        )

    def _submit(self, messages: list[BaseMessage], stop: list[str] | None, kwargs: dict[str, Any]) -> Call:
        """Build the request and hand it to the engine. Blocks: loads weights at first use, reads memory, tokenizes."""
        if unknown := sorted(set(kwargs) - _CALL_KEYWORDS):
            raise InvalidRequestError(f"ChatPAD got unknown keywords {unknown}. Allowed: {sorted(_CALL_KEYWORDS)}.")
        if kwargs.get("model", self.model_name) != self.model_name:
            other = self.model_copy(update={"model_name": kwargs["model"]})
            return other._submit(messages, stop, kwargs)
        user = self._user(kwargs)
        dicts = to_chat_dicts(messages)
        engine = self._engine()
        bound = constrain(
            engine,
            response_template=self.response_template,
            **{name: kwargs[name] for name in _BINDINGS if name in kwargs},
        )
        question = last_user_text(dicts)  # before a template's needs put other words into user turns
        dicts, prompt_ids = bound.render(dicts)
        preferences = self._condition(user, question, kwargs, engine)

        guided = engine.guide is not None
        if preferences and (kwargs.get("condition_base", self.condition_base) or not guided):
            told = with_preferences(dicts, [(preference.text, preference.weight) for preference in preferences])
            _, prompt_ids = fit_template(engine.prompts, told, bound.shown)
        best_beta, best_alpha = engine.recommended
        beta = _first(kwargs.get("beta"), self.beta, best_beta)
        request = self._request(
            dicts,
            preferences if guided else (),
            kwargs,
            stop,
            beta,
            _first(kwargs.get("alpha"), self.alpha, best_alpha),
            prompt_ids,
            bound,
        )
        pad: dict[str, Any] = {
            "user": user,
            "condition": [{"text": preference.text, "weight": preference.weight} for preference in preferences],
            "beta": beta,
            "top_k": request.top_k,
            "response_id": f"pad-{uuid.uuid4().hex}",
        }
        logprobs = bool(kwargs.get("logprobs")) or request.candidates > 0
        return Call(
            engine.submit(request),
            self.model_name,
            pad,
            logprobs,
            lambda token_id: engine.tokenizer.decode([token_id]),
            bound.parser(prompt_ids),
            self._log(user, pad["response_id"], question),
        )

    async def _asubmit(self, messages: list[BaseMessage], stop: list[str] | None, kwargs: dict[str, Any]) -> Call:
        submitting = asyncio.ensure_future(asyncio.to_thread(self._submit, messages, stop, kwargs))
        try:
            return await asyncio.shield(submitting)
        except asyncio.CancelledError:
            submitting.add_done_callback(_cancel_submitted)
            raise

    def _log(self, user: str | None, response_id: str, question: str) -> Callable[[str], None] | None:
        """What keeps the answer in the memory's log of recent answers, so that feedback needs its response id only."""
        if self.memory is None or user is None:
            return None
        return partial(self.memory.responses.add, user, response_id, question)

    @override
    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        call = self._submit(messages, stop, kwargs)
        with closing(iter(call.stream)) as events:  # type: ignore[type-var]  # leaving early cancels the request
            for event in events:
                if (chunk := call.push(event)) is not None:
                    yield chunk

    @override
    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        call = await self._asubmit(messages, stop, kwargs)
        async with aclosing(aiter(call.stream)) as events:  # type: ignore[type-var]
            async for event in events:
                if (chunk := call.push(event)) is not None:
                    yield chunk

    @override
    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        call = self._submit(messages, stop, kwargs)
        try:
            events = call.stream.result().events
        except BaseException:  # such as a KeyboardInterrupt while waiting
            call.stream.cancel()
            raise
        return generate_from_stream(iter([call.join(events)]))

    @override
    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        call = await self._asubmit(messages, stop, kwargs)
        async with aclosing(aiter(call.stream)) as events:  # type: ignore[type-var]
            return generate_from_stream(iter([call.join([event async for event in events])]))


def _cancel_submitted(submitting: asyncio.Future[Call]) -> None:
    """Stop a generation whose caller was cancelled while the request was being built."""
    if not submitting.cancelled() and submitting.exception() is None:
        submitting.result().stream.cancel()


def _first(*values: float | None) -> float:
    return next(value for value in values if value is not None)
