"""`PADLLM`: a LlamaIndex LLM that decodes here under each user's preferences. A thin face of `Chat`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import aclosing, closing
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from llama_index.core.base.llms.generic_utils import (
    achat_to_completion_decorator,
    astream_chat_to_completion_decorator,
    chat_to_completion_decorator,
    stream_chat_to_completion_decorator,
)
from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
    CompletionResponse,
    CompletionResponseAsyncGen,
    CompletionResponseGen,
    LLMMetadata,
    MessageRole,
    ToolCallBlock,
)
from llama_index.core.constants import DEFAULT_CONTEXT_WINDOW
from llama_index.core.llms.callbacks import llm_chat_callback, llm_completion_callback
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.llm import ToolSelection
from llama_index.core.program.utils import get_program_for_llm
from pydantic import field_validator

from pad_langchain.chat.chat import Chat
from pad_langchain.chat.engines import context_size
from pad_langchain.chat.options import CallOptions, ChatSettings, check_id
from pad_langchain.chat.turn import Delta, Turn, begin
from pad_langchain.defaults import DEMO_MODEL, NAMES
from pad_langchain.errors import InvalidRequestError
from pad_langchain.llama_index.messages import arguments, to_chat_dicts, to_response, to_schema
from pad_langchain.llama_index.pickled import Pickled
from pad_langchain.paths import model_place

if TYPE_CHECKING:
    from llama_index.core.tools import BaseTool

__all__ = ["PADLLM"]


class PADLLM(Pickled, ChatSettings, FunctionCallingLLM):
    """A LlamaIndex LLM that answers each user in their own way, while it decodes, without fine-tuning.

    Without arguments it is the demo pair that comes with the package: CPU, no network. Weights load at the first call.
    The settings are those of `pad_langchain.chat.ChatSettings`; `context_window` is for a model that names none.

    A call may set by keyword what `ChatPAD`'s calls may: `user_id`, `thread_id`, `preference`, `temperature`, `seed`, …
    A query engine or an agent passes no keywords on: give it `llm.for_user("ada")`.

    Example:
        >>> from pad_langchain import PADLLM
        >>> PADLLM(temperature=0.5).for_user("ada").user_id
        'ada'
    """

    model: str = DEMO_MODEL
    context_window: int | None = None

    @field_validator("model")
    @classmethod
    def _place_model(cls, model: str) -> str:
        return model_place(model, *NAMES)

    @classmethod
    def class_name(cls) -> str:
        """The name in serialized settings."""
        return "PADLLM"

    @property
    def metadata(self) -> LLMMetadata:
        """Context and answer length in tokens. Loads the weights where no local config.json names the context."""
        known = self.context_window or context_size(self.model, **self.engine_settings)
        window = known or self._open().engine.context
        window = window or DEFAULT_CONTEXT_WINDOW
        return LLMMetadata(
            context_window=window,
            # LlamaIndex keeps this much free; half of a small context would leave no room for retrieved text.
            num_output=min(self.max_tokens, window // 4),
            is_chat_model=True,
            is_function_calling_model=True,
            model_name=self.model,
        )

    def for_user(self, user_id: str, thread_id: str | None = None) -> Self:
        """Return this LLM speaking to one user. Copies share the weights and decode together.

        Args:
            thread_id: in which conversation, for wishes that hold in one only; None means as this LLM has it.

        Raises:
            InvalidRequestError: an id is not a string, or blank.
        """
        named = {"user_id": user_id} if thread_id is None else {"user_id": user_id, "thread_id": thread_id}
        for name, value in named.items():
            check_id(name, value)
        return self.model_copy(update=named)

    def get_token_ids(self, text: str) -> list[int]:
        """Encode a text with the model's own tokenizer, e.g. for `Settings.tokenizer = llm.get_token_ids`."""
        return self._open().engine.prompts.encode(text)

    # ---- chat: keywords into options, deltas into responses

    def _open(self, model: str | None = None) -> Chat:
        return Chat.of(model or self.model, self)

    def _begin(self, messages: Sequence[ChatMessage], kwargs: Mapping[str, Any]) -> Turn:
        """Blocks: loads weights at first use, reads the memory, tokenizes."""
        said = dict(kwargs)
        if not said.get("tools"):  # LlamaIndex asks for a choice without tools, too
            said = {name: said[name] for name in said.keys() - {"tools", "tool_choice", "parallel_tool_calls"}}
        options = CallOptions.read("PADLLM", said, own=("model",)).over(self)
        dicts = to_chat_dicts(messages)  # what is wrong is said before weights load
        return self._open(said.get("model")).submit(dicts, options)

    def _response(self, answer: Delta, kwargs: Mapping[str, Any], new: Delta | None = None) -> ChatResponse:
        model = kwargs.get("model", self.model)
        return to_response(answer, model) if new is None else to_response(answer, model, new.text, new.reasoning)

    def _chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        return self._response(self._begin(messages, kwargs).result(), kwargs)

    def _stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        answer = Delta()
        with closing(iter(self._begin(messages, kwargs))) as deltas:  # type: ignore[type-var]
            for delta in deltas:
                answer += delta
                yield self._response(answer, kwargs, delta)

    async def _achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        turn = await begin(partial(self._begin, messages, kwargs))
        return self._response(await turn.aresult(), kwargs)

    async def _astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseAsyncGen:
        async def responses() -> ChatResponseAsyncGen:
            answer = Delta()
            turn = await begin(partial(self._begin, messages, kwargs))
            async with aclosing(aiter(turn)) as deltas:  # type: ignore[type-var]
                async for delta in deltas:
                    answer += delta
                    yield self._response(answer, kwargs, delta)

        return responses()

    @llm_chat_callback()
    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Answer a conversation."""
        return self._chat(messages, **kwargs)

    @llm_chat_callback()
    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        """Answer piece by piece; leaving the stream early stops the generation."""
        return self._stream_chat(messages, **kwargs)

    @llm_chat_callback()
    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Answer without blocking the event loop; a cancelled task stops the generation."""
        return await self._achat(messages, **kwargs)

    @llm_chat_callback()
    async def astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseAsyncGen:
        """`stream_chat` for an event loop."""
        return await self._astream_chat(messages, **kwargs)

    # ---- completion: the prompt as one user message

    def _worded(self, prompt: str, formatted: bool) -> str:
        return prompt if formatted else self.completion_to_prompt(prompt)  # type: ignore[misc]

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """Answer a prompt."""
        return chat_to_completion_decorator(self._chat)(self._worded(prompt, formatted), **kwargs)

    @llm_completion_callback()
    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:
        """Answer a prompt piece by piece."""
        return stream_chat_to_completion_decorator(self._stream_chat)(self._worded(prompt, formatted), **kwargs)

    @llm_completion_callback()
    async def acomplete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """`complete` for an event loop."""
        return await achat_to_completion_decorator(self._achat)(self._worded(prompt, formatted), **kwargs)

    @llm_completion_callback()
    async def astream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseAsyncGen:
        """`stream_complete` for an event loop."""
        prompt = self._worded(prompt, formatted)
        return await astream_chat_to_completion_decorator(self._astream_chat)(prompt, **kwargs)

    # ---- tools and structured output

    def _prepare_chat_with_tools(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        verbose: bool = False,
        allow_parallel_tool_calls: bool = False,
        tool_required: bool = False,
        tool_choice: str | dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """The keywords for `chat`: a grammar makes the call valid, and a call at all where one is required."""
        messages = list(chat_history or [])
        if user_msg is not None:
            messages.append(ChatMessage(user_msg, role=MessageRole.USER) if isinstance(user_msg, str) else user_msg)
        return {
            "messages": messages,
            "tools": [to_schema(tool) for tool in tools],
            "tool_choice": tool_choice or ("required" if tool_required else "auto"),
            "parallel_tool_calls": allow_parallel_tool_calls,
            **kwargs,
        }

    def get_tool_calls_from_response(
        self, response: ChatResponse, error_on_no_tool_call: bool = True, **kwargs: Any
    ) -> list[ToolSelection]:
        """Read the tool calls of an answer.

        Raises:
            InvalidRequestError: there is none, and `error_on_no_tool_call`.
        """
        calls = [block for block in response.message.blocks if isinstance(block, ToolCallBlock)]
        if not calls and error_on_no_tool_call:
            invalid = response.message.additional_kwargs.get("invalid_tool_calls")
            found = f"one that was cut off: {invalid[0]['arguments']!r}" if invalid else f"{response.message.content!r}"
            raise InvalidRequestError(
                f"The answer has to call a tool, but is {found}. Raise max_tokens (now {self.max_tokens}) if it was "
                "cut off, or force a call with tool_required=True."
            )
        return [
            ToolSelection(tool_id=call.tool_call_id or "", tool_name=call.tool_name, tool_kwargs=arguments(call))
            for call in calls
        ]

    def _structured_stream_call(
        self, output_cls: Any, prompt: Any, llm_kwargs: dict[str, Any] | None = None, **prompt_args: Any
    ) -> Any:
        return self._program(output_cls, prompt).stream_call(llm_kwargs=llm_kwargs, **prompt_args)

    async def _structured_astream_call(
        self, output_cls: Any, prompt: Any, llm_kwargs: dict[str, Any] | None = None, **prompt_args: Any
    ) -> Any:
        return await self._program(output_cls, prompt).astream_call(llm_kwargs=llm_kwargs, **prompt_args)

    def _program(self, output_cls: Any, prompt: Any) -> Any:
        # While it streams, LlamaIndex lets the model choose between text and a call; text would have no fields.
        return get_program_for_llm(
            output_cls, prompt, self, pydantic_program_mode=self.pydantic_program_mode, tool_choice="required"
        )
