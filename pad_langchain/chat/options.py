"""What a face is set up with, and what one call may say: `ChatSettings`, `CallOptions`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from pad_langchain.chat.condition import check_defaults, parse_preference
from pad_langchain.chat.names import KnownNames, hint
from pad_langchain.defaults import NAMES
from pad_langchain.engine import checks
from pad_langchain.engine.settings import EngineSettings, LlamaSettings, RemoteSettings, read_urls, split_settings
from pad_langchain.engine.types import CHECKS, RECOMMENDABLE, CandidateRule, Recommended, Request, WishPlace
from pad_langchain.errors import InvalidRequestError
from pad_langchain.paths import absolute, model_place

__all__ = ["SETTLED", "UNSAID", "CallOptions", "ChatSettings", "WishPlace", "check_id"]

_FOLDERS = ("cache_dir", "offload_folder")  # those that transformers takes
# How to decode, else as the PersRM recommends (see `Recommended.settle`).
SETTLED = ("beta", "alpha", "top_k", "repetition_penalty", "no_repeat_ngram", "candidates")
# Those of them that are numbers, and the other numbers.
_DECODING = (*SETTLED[:-1], "temperature", "top_p", "max_tokens", "seed")


class ChatSettings(KnownNames):
    """What a face is told beside its model. A name that neither it nor the face knows is refused.

    Args:
        reward_model: a PersRM: a head folder, a text PersRM's checkpoint, or the name of a default for its head.
            "self": the model guides itself, told a preference against told its opposite, without training and in two
            rows. "auto" is the shipped head that fits the model, "self" where none does. None means a preference is
            only told to the model in the prompt.
        memory: a `pad_memory.PreferenceMemory`; it supplies the user's preferences and gets the PersRM as its scorer.
        defaults: the operator's wishes for all users and for none, in the forms of a call's `preference`. Each steers
            unless the call's preference or the user's own is about the same dimension, or says the same words; one of
            several wishes gives way in that part. They are held to the memory's `values`.
        beta: guidance strength, finite; None means what the PersRM recommends, else 1.0. 0 is exactly the base model,
            told as `condition_base` says.
        top_k: candidates per token, 1 to the vocabulary's size; None means what the PersRM recommends, else 10, or 400
            where `candidates` is "cut".
        alpha: plausibility cut in [0, 1]; None means what the PersRM recommends, else 0.0.
        candidates: what bounds the candidates of a token: `top_k` and the cut ("base"), or the cut alone ("cut"), up to
            `top_k`; None means what the PersRM recommends, else "base".
        condition_base: whether the preferences are also told to the base in its prompt, steering or not. "auto": what
            the PersRM recommends, else only where there is no guide. A base that guides itself recommends to be told;
            not told, it is steered by a row that is told each preference, against itself.
        wish_place: where in the prompt they are told: in the "system" turn, at the end of the last message of the
            "user", or "both"; None means what the PersRM recommends, else the system turn.
        wish_tokens: tokens of the prompt at most, 0 or more, for wishes that are only told to the base.
        selective: whether a user's wishes about how to talk to them are held back from texts for others, such as a
            letter or a commit message; None means as the memory was opened.
        repetition_penalty: 1 or more; makes tokens that the answer has already less likely; None means what the PersRM
            recommends, else 1.0, which changes nothing.
        no_repeat_ngram: n, 0 or more; n tokens in a row that the answer has already are not written again; None means
            what the PersRM recommends, else 0, which forbids nothing. Recommended penalties hold where preferences
            steer and no grammar (tools, structured output) binds the answer. No penalty forbids all that is legal.
        temperature: 0 or more; 0 is greedy.
        top_p: nucleus in (0, 1].
        max_tokens: new tokens at most, 1 or more.
        seed: makes sampling repeatable, whoever shares the batch; None means a fresh draw.
        stop: strings that end the answer, or one; they are not part of it.
        user_id: whose preferences, unless a call says otherwise.
        thread_id: in which conversation, for wishes that hold in one only, unless a call says otherwise.
        require_user: refuse calls without a user id.
        private: True: nothing of a call is kept, in the memory, the log of answers or the engine's prompts, and nothing
            that is known of the user steers it; "steered": the user's standing wishes steer it. Unless a call says so.
        device: "auto", "cpu", "cuda", …
        dtype: "auto" (what decodes fastest on the device), "float32", "bfloat16", …
        weights: "int8" for int8 weights on a CPU: a quarter of the bytes of float32, answers that differ a little;
            None: in `dtype`.
        backend: what runs a GGUF file: "llama.cpp", "torch", or "auto": llama.cpp where its binding is installed.
            Other models run in torch.
        url: address of a vLLM server that runs the model, or of several, such as "http://vllm:8000". Of `model` the
            tokenizer and the config are read here, and `reward_model` is a head or None; servers need the plugin
            pad-vllm with the same head. None: the model runs in this process.
        engine_settings: keywords of `persrm.build.load_pair`: `max_batch`, `max_batch_tokens`, `prefix_tokens`, …;
            for llama.cpp `threads`, `gpu_layers`, `context_length`, `flash_attention`, `kv_type`; for servers
            `api_key`, `served_model`, `timeout`, `connect_timeout`, `retries` (see `engine.settings`); for transformers
            `device_map`, `quantization_config`, … Models and settings that are the same share one engine.
        response_template: how answers are split into text, reasoning and tool calls: transformers' response template,
            or the family that writes calls as the model does ("llama-3", "mistral", "qwen", "gemma"); None finds it
            out from the tokenizer and its chat template.
        chat_template_kwargs: the chat template's own switches by name, such as {"enable_thinking": False}, with values
            as JSON has them; a call's are taken instead of these. One that the template does not have is refused.
        embedder: sentence embedder for preferences given by keyword; None means the memory's, else the default one.
    """

    reward_model: str | None = "auto"
    memory: Any = Field(default=None, exclude=True, repr=False)
    defaults: tuple[tuple[str, float], ...] = ()
    beta: float | None = None
    top_k: int | None = None
    alpha: float | None = None
    candidates: CandidateRule | None = None
    condition_base: Literal["auto"] | bool = "auto"
    wish_place: WishPlace | None = None
    wish_tokens: int = Field(default=120, ge=0)
    selective: bool | None = None
    repetition_penalty: float | None = None
    no_repeat_ngram: int | None = None
    temperature: float = 0.0
    top_p: float = 1.0
    max_tokens: int = 512
    seed: int | None = None
    stop: list[str] | None = None
    user_id: str | None = None
    thread_id: str | None = None
    require_user: bool = False
    private: bool | Literal["steered"] = False
    device: str = "auto"
    dtype: str = "auto"
    weights: Literal["int8"] | None = None
    backend: Literal["auto", "torch", "llama.cpp"] = "auto"
    url: str | Sequence[str] | None = None
    engine_settings: dict[str, Any] = Field(default_factory=dict)
    embedder: Any = Field(default=None, exclude=True, repr=False)
    response_template: dict[str, Any] | str | None = None
    chat_template_kwargs: dict[str, Any] | None = None

    @field_validator(*_DECODING, mode="before")
    @classmethod
    def _refuse_flags(cls, value: Any) -> Any:
        """True is no number, though pydantic takes it for 1."""
        if isinstance(value, bool):
            raise InvalidRequestError(f"a number is asked for, but it is {value!r}.")
        return value

    @field_validator("defaults", mode="before")
    @classmethod
    def _read_defaults(cls, value: Any) -> tuple[tuple[str, float], ...]:
        return tuple((one.text, one.weight) for one in parse_preference(value, "defaults"))

    @field_validator("stop", mode="before")
    @classmethod
    def _list_stop(cls, value: Any) -> Any:
        """One string is a list of one."""
        return [value] if isinstance(value, str) else value

    @field_validator("reward_model")
    @classmethod
    def _place_reward_model(cls, reward_model: str | None) -> str | None:
        """A folder is meant as it is named now, wherever the process goes later."""
        return None if reward_model is None else model_place(reward_model, *NAMES, "auto", "self")

    @field_validator("url", mode="before")
    @classmethod
    def _read_urls(cls, url: Any) -> tuple[str, ...] | None:
        return None if url is None else read_urls(url)

    @field_validator("engine_settings")
    @classmethod
    def _place_folders(cls, settings: dict[str, Any]) -> dict[str, Any]:
        folders = {name: str(absolute(settings[name])) for name in _FOLDERS if isinstance(settings.get(name), str)}
        return {**settings, **folders}

    @model_validator(mode="after")
    def _check_ranges(self) -> Self:
        """Refuse a bad setting where it is written, not at the first call."""
        Request(
            [{"role": "user", "content": "check"}],
            **Recommended().settle(checks.LARGEST, **{name: getattr(self, name) for name in SETTLED}),
            temperature=self.temperature,
            top_p=self.top_p,
            max_tokens=self.max_tokens,
            seed=self.seed,
            stop=tuple(self.stop or ()),
            template_kwargs=self.chat_template_kwargs or {},
        )
        kinds = (EngineSettings, LlamaSettings) if self.url is None else (EngineSettings, RemoteSettings)
        split_settings(self.engine_settings, kinds)
        check_defaults(self.defaults, self.memory)
        return self

    def connection(self) -> dict[str, Any]:
        """What a face says of the connection to servers, as keywords of `engine.settings.RemoteSettings`."""
        return {}


class _Unsaid:
    def __repr__(self) -> str:
        return "UNSAID"


def _auto(name: str, value: Any) -> None:
    if not isinstance(value, str) or value != "auto":
        checks.refuse(name, value, "'auto', True or False")


def _choice(name: str, value: Any) -> Any:
    """What `tool_choice_of` can read; whether it names a tool is seen when the tools are known."""
    inner = value.get("function", value) if isinstance(value, Mapping) else value
    if not isinstance(value, str | bool | Mapping) or (isinstance(value, Mapping) and not isinstance(inner, Mapping)):
        checks.refuse(name, value, "'auto', 'any', 'required', 'none', the name of a tool or a dict that names one")
    return value


def _private(name: str, value: Any) -> Any:
    if value != "steered" and not isinstance(value, bool):
        checks.refuse(name, value, "True, False or 'steered'")
    return value


def _told(name: str, value: Any) -> bool:
    return value is not None and checks.flag(name, value)


# What a call may say beside the default: those of a request's fields that it sets, and its own.
_STEERING = ("combine", "reference", "clip", "lazy", "best_of")
_OPTIONS: dict[str, checks.Check] = {
    **{name: CHECKS[name] for name in (*_DECODING, *_STEERING)},
    **{name: RECOMMENDABLE[name] for name in ("candidates", "wish_place")},
    "stop": lambda name, value: list(checks.texts(name, value)),
    "tools": checks.list_of(object, "a list of function tools"),
    "tool_choice": _choice,
    "parallel_tool_calls": checks.flag,
    "wish_tokens": checks.integer(0, checks.LARGEST, "a number of tokens, 0 or more"),
    "selective": checks.flag,
    "style_arguments": checks.flag,
    "response_format": checks.mapping,
    "logprobs": _told,
    "private": _private,
    "chat_template_kwargs": checks.json_object,
    "top_logprobs": checks.integer(0, checks.LARGEST, "an integer from 0 to top_k"),
}


# Where None is an answer of its own: nobody, no conversation, a fresh draw.
UNSAID: Any = _Unsaid()


@dataclass(frozen=True, kw_only=True)
class CallOptions:
    """What one call may say. What it leaves out is as the face's settings say.

    Args:
        user_id: whose preferences; None means nobody's.
        thread_id: in which conversation; None means in none.
        private: whether nothing of this call is kept, see `ChatSettings`.
        preference: explicit preferences instead of the memory's: a text, or texts and (text, weight) pairs. Defaults
            about other matters stay; [] is none at all, without defaults.
        tools, tool_choice, parallel_tool_calls, response_format: what the answer may be, see `tools.constraint`.
        style_arguments: whether the user's wishes about style steer JSON and the arguments of tools, too.
        stop, beta, alpha, top_k, candidates, temperature, top_p, max_tokens, seed, condition_base, wish_place,
            wish_tokens, selective, repetition_penalty, no_repeat_ngram, chat_template_kwargs: see `ChatSettings`.
        combine, reference, clip, lazy, best_of: how preferences steer, see `engine.types.Request`.
        logprobs: report each token's log-probability and reward.
        top_logprobs: report this many of the candidates passed over, too, 0 to `top_k`; above 0 it implies `logprobs`.

    Raises:
        InvalidRequestError: a value is of another kind or out of its range; the message names it.
    """

    user_id: str | None = UNSAID
    thread_id: str | None = UNSAID
    private: bool | Literal["steered"] | None = None
    preference: Any = None
    tools: Sequence[Mapping[str, Any]] | None = None
    tool_choice: Any = None
    parallel_tool_calls: bool | None = None
    response_format: Mapping[str, Any] | None = None
    stop: Sequence[str] | str | None = None
    beta: float | None = None
    alpha: float | None = None
    top_k: int | None = None
    candidates: CandidateRule | None = None
    repetition_penalty: float | None = None
    no_repeat_ngram: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    seed: int | None = UNSAID
    combine: Literal["sum", "max"] = "sum"
    reference: Literal["base", "reference"] = "base"
    clip: float | None = None
    lazy: bool = False
    best_of: int = 1
    condition_base: Literal["auto"] | bool | None = None
    wish_place: WishPlace | None = None
    wish_tokens: int | None = None
    selective: bool | None = None
    style_arguments: bool = False
    chat_template_kwargs: Mapping[str, Any] | None = None
    logprobs: bool = False
    top_logprobs: int | None = None

    def __post_init__(self) -> None:
        if self.condition_base is not None and not isinstance(self.condition_base, bool):
            _auto("condition_base", self.condition_base)
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not field.default and field.name in _OPTIONS:
                object.__setattr__(self, field.name, _OPTIONS[field.name](field.name, value))

    @classmethod
    def read(cls, face: str, keywords: Mapping[str, Any], own: Sequence[str] = ()) -> Self:
        """Take a call's keywords.

        Args:
            face: who was called, for the error.
            own: keywords that the face itself obeys; they are left out.

        Raises:
            InvalidRequestError: a keyword is unknown, or its value is not allowed.
        """
        allowed = sorted({*(field.name for field in fields(cls)), *own})
        if unknown := sorted(set(keywords) - set(allowed)):
            near = "".join(hint(name, allowed) for name in unknown)
            raise InvalidRequestError(f"{face} got unknown keywords {unknown}. Allowed: {allowed}.{near}")
        return cls(**{name: value for name, value in keywords.items() if name not in own})

    def over(self, settings: ChatSettings) -> Self:
        """These options with what they leave out taken from `settings`; what a PersRM may recommend may still be None.

        Raises:
            InvalidRequestError: an id is not text, or there is no user id and the settings require one.
        """
        shared = [field for field in fields(self) if field.name in ChatSettings.model_fields]
        left_out = [field.name for field in shared if getattr(self, field.name) is field.default]
        given = {name: value for name in left_out if (value := getattr(settings, name)) is not getattr(self, name)}
        said = replace(self, **given) if given else self
        for name in ("user_id", "thread_id"):
            if (value := getattr(said, name)) is not None:
                check_id(name, value)
        if said.user_id is None and settings.require_user:
            raise InvalidRequestError(
                f"This {type(settings).__name__} requires a user id, but the call has none. Pass user_id=…, or "
                'config={"configurable": {"user_id": …}}.'
            )
        return said


def check_id(name: str, value: Any) -> None:
    """Refuse what cannot be the id of a user or of a conversation.

    Raises:
        InvalidRequestError: it is not a string, or blank.
    """
    if not isinstance(value, str) or not value.strip():
        raise InvalidRequestError(f"{name} has to be a string that is not blank, but is {value!r}.")
