"""What goes into the engine and what comes out: `Request` and `TokenEvent`. Importing this loads no torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from pad_langchain.engine import checks
from pad_langchain.engine.residual import ResidualGate
from pad_langchain.errors import InvalidRequestError

if TYPE_CHECKING:
    from pad_langchain.engine.grammar import Grammar
    from pad_langchain.engine.regions import Region

__all__ = [
    "CHECKS",
    "RECOMMENDABLE",
    "Candidate",
    "CandidateRule",
    "EngineStats",
    "FinishReason",
    "Recommended",
    "Request",
    "ResidualGate",
    "Route",
    "TokenEvent",
    "WeightedPreference",
    "WishPlace",
]

FinishReason = Literal["stop", "length", "tool_calls", "cancelled"]
WishPlace = Literal["system", "user", "both"]
CandidateRule = Literal["base", "cut"]
Route = Literal["guide", "prompt", "both"]  # of a wish: steered, told in the prompt, or both

CUT_AT_MOST = 400  # candidates of a token where only the cut bounds them: what a guide computes takes memory


@dataclass(frozen=True, eq=False)
class WeightedPreference:
    """One preference of a condition.

    Args:
        text: the preference in words, as the user or the catalogue states it. Not blank.
        weight: signed and finite. 1.0 is one full preference, a negative weight steers away from it, 0 has no effect.
        embedding: the sentence embedding of `text`, shape [E], as the preference memory stores it. None means the guide
            embeds the text.

    Raises:
        InvalidRequestError: the text is blank or not valid Unicode, the weight is not a finite number, or the
            embedding is not a vector of numbers.
    """

    text: str
    weight: float = 1.0
    embedding: np.ndarray | None = None

    def __post_init__(self) -> None:
        if not checks.text("A preference's text", self.text).strip():
            raise InvalidRequestError(f"A preference must say something, but its text is {self.text!r}.")
        try:
            self.text.encode()
        except UnicodeEncodeError:
            checks.refuse("A preference's text", self.text, "valid Unicode")
        object.__setattr__(self, "weight", _WEIGHT("A preference's weight", self.weight))
        if self.embedding is not None:
            object.__setattr__(self, "embedding", _vector(self.embedding))


@dataclass(frozen=True)
class Request:
    """One generation: a conversation, the preferences that condition it, and how to decode it.

    Args:
        messages: the conversation as chat-template dicts (`role`, `content`, …). The guide builds its own prompt from
            it.
        prompt_ids: the base model's prompt as token ids. None means `messages` are rendered with the base tokenizer's
            chat template.
        tools: JSON schemas for the chat template. None means no tools.
        template_kwargs: the chat template's own switches, such as `enable_thinking`, with values as JSON has them.
        preferences: the condition. Empty means the plain base model decodes, unless there is a taste.
        taste: a gate of the user's own that a head adds to those of the preferences. None means none.
        contrast_ids: the base's prompt told the opposite of the preferences, as token ids. With it a guide of kind
            "self" steers from these words towards those of `prompt_ids`, which has to tell the preferences. None means
            that the guide tells the preferences itself. Other guides do not read it.
        beta: guidance strength, finite: score = z + beta * r. 0 is exactly the base model. The guide is then asked only
            for `best_of`.
        top_k: candidates per token, 1 to the vocabulary's size.
        alpha: plausibility cut in [0, 1]: candidates below alpha times the likeliest token's probability are dropped.
        temperature: 0 to 1e6. 0 is greedy. Above 0 the scores are divided by it, then sampled.
        top_p: nucleus in (0, 1], applied to the guided scores.
        seed: an integer of at most 64 bits. It makes sampling repeatable, whoever shares the batch. None means a fresh
            draw.
        max_tokens: new tokens at most, 1 or more. Where the context has less room, the answer ends there
            (finish_reason "length").
        stop: strings that end the answer, or one. They are not part of it.
        visible: ids of special tokens that stay in the text for whoever parses it. Other special tokens are left out,
            unless a stop string contains them. `TokenEvent.candidates` shows every token.
        reference: the log-ratio's denominator, "base" (released code) or "reference" (the PersRM's own backbone).
        combine: whether the rewards of several preferences add up ("sum") or the best counts ("max").
        candidates: how many of the candidates each event reports, 0 to `top_k`.
        logprobs: whether events say the log-probability of their token. Without a guide it takes a pass over the
            vocabulary. False makes it NaN.
        grammar: a compiled grammar that masks illegal tokens before the candidates are taken (see `engine.grammar`).
            None means any text.
        region: where in the answer the preferences steer (see `engine.regions`). None means everywhere.
        clip: bound c > 0 of the combined reward: r is taken within ±c nats. None means no bound.
        lazy: skip the guide at steps that no reward within ±clip can change. The tokens are the same, for fewer
            forwards of a guide with a model of its own. It needs `clip` and temperature 0.
        repetition_penalty: 1 or more. The base's logits of tokens that the answer has already are divided by it where
            they are positive, else multiplied, before the candidates are taken. Tokens of the prompt do not count, and
            rewards compare the logits as the models gave them. 1 changes nothing.
        no_repeat_ngram: n, 0 or more. A token that would write n tokens in a row which the answer has already is
            forbidden, unless no other token is allowed. 0 forbids nothing.
        best_of: how many samples are decoded side by side, 1 or more. The one with the highest total reward is given.
            Its events come when all samples are done. Above 1 it needs preferences and a temperature above 0.
        salt: whose prompt this is. Keys and values of prompts are shared between requests of one salt and never
            across salts, so that no tenant can tell from response times what another has asked. None means they are
            neither shared nor kept.

    Raises:
        InvalidRequestError: a value is of another kind or out of range. The message names it.
    """

    messages: Sequence[Mapping[str, Any]] = ()
    prompt_ids: Sequence[int] | None = None
    tools: Sequence[Mapping[str, Any]] | None = None
    template_kwargs: Mapping[str, Any] = field(default_factory=dict)
    preferences: Sequence[WeightedPreference] = ()
    contrast_ids: Sequence[int] | None = None
    beta: float = 1.0
    top_k: int = 10
    alpha: float = 0.0
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    max_tokens: int = 512
    stop: Sequence[str] | str = ()
    visible: Collection[int] = ()
    reference: Literal["base", "reference"] = "base"
    combine: Literal["sum", "max"] = "sum"
    candidates: int = 0
    logprobs: bool = True
    grammar: Grammar | None = None
    region: Region | None = None
    clip: float | None = None
    lazy: bool = False
    best_of: int = 1
    salt: str | None = ""
    repetition_penalty: float = 1.0
    no_repeat_ngram: int = 0
    taste: ResidualGate | None = None

    def __post_init__(self) -> None:
        for name, check in CHECKS.items():
            object.__setattr__(self, name, check(name, getattr(self, name)))
        if not self.messages and not self.prompt_ids:
            raise InvalidRequestError("There is nothing to answer: the list of messages is empty. Pass at least one.")
        if self.candidates > self.top_k:
            checks.refuse("candidates", self.candidates, f"0 to top_k ({self.top_k})")
        if self.lazy and (self.clip is None or self.temperature > 0):
            raise InvalidRequestError(
                f"lazy guidance needs clip and temperature 0, but clip is {self.clip!r} and temperature "
                f"{self.temperature!r}. Set both, or lazy=False."
            )
        many = self.best_of
        if many > 1 and not (self.conditioned and self.temperature > 0):
            raise InvalidRequestError(
                f"best_of={many!r} compares samples by their reward: it needs preferences (got "
                f"{len(self.preferences)}) and a temperature above 0 (got {self.temperature!r})."
            )

    @property
    def conditioned(self) -> bool:
        """Whether there is anything to steer by."""
        return bool(self.preferences) or self.taste is not None


@dataclass(frozen=True)
class Recommended:
    """What a PersRM recommends where neither a face nor a call says it. None recommends nothing.

    Args:
        beta, alpha, top_k, repetition_penalty, no_repeat_ngram: see `Request`.
        condition_base: whether the base is told the preferences in its prompt as well.
        wish_place: where in the prompt: in the "system" turn, at the end of the last message of the "user", or "both".
        candidates: what bounds the candidates of a token: `top_k` and the cut ("base"), or the cut alone ("cut"), up to
            400.

    Raises:
        InvalidRequestError: a value is of another kind or out of range. The message names it.
    """

    beta: float = 1.0
    alpha: float = 0.0
    top_k: int | None = None
    condition_base: bool | None = None
    wish_place: WishPlace | None = None
    repetition_penalty: float | None = None
    no_repeat_ngram: int | None = None
    candidates: CandidateRule | None = None

    def __post_init__(self) -> None:
        for name, check in RECOMMENDABLE.items():
            if getattr(self, name) is not None or name in ("beta", "alpha"):
                object.__setattr__(self, name, check(name, getattr(self, name)))

    def settle(self, vocabulary: int, **said: Any) -> dict[str, Any]:
        """Return fields of a `Request`: what is said, else what is recommended, else the request's default.

        Args:
            vocabulary: tokens of the base, which bound the candidates of "cut".
            said: beta, alpha, top_k, repetition_penalty, no_repeat_ngram and candidates. None means as recommended.
        """
        names = ("beta", "alpha", "top_k", "repetition_penalty", "no_repeat_ngram")
        best = {name: getattr(self, name) for name in names}
        if (said.get("candidates") or self.candidates) == "cut":
            best["top_k"] = min(CUT_AT_MOST, vocabulary)
        settled = {name: best[name] if said.get(name) is None else said[name] for name in names}
        return {name: getattr(Request, name) if value is None else value for name, value in settled.items()}


@dataclass(frozen=True)
class Candidate:
    """A token the step weighed.

    Args:
        token_id: its id in the base's vocabulary.
        text: its text alone.
        logprob: its log-probability under the base, over the full vocabulary (nats, ≤ 0), penalties included.
        reward: r(token), combined over the condition (nats). None where the engine is not told rewards.
        score: its guided score z + beta * r. None where the reward is.
    """

    token_id: int
    text: str
    logprob: float
    reward: float | None
    score: float | None


@dataclass(frozen=True)
class TokenEvent:
    """One step of one request, in order.

    Args:
        index: 0 for the first new token.
        token_id: the chosen token. -1 marks an event that only flushes text or ends the stream.
        text: the text that became certain with this token. It is "" while bytes of a character or of a stop string
            are pending.
        logprob: log-probability of the token under softmax of the guided scores over the candidates, before
            temperature (nats, ≤ 0). With beta = 0 or no preference it is the base's, over the full vocabulary.
            Penalties are included. NaN if the request does not want it.
        reward: r(token), combined over the condition with its weights (nats). 0.0 without a condition. It knows no
            penalties. None where the engine is not told rewards (see `Capabilities.token_rewards`).
        finish_reason: why the answer ended. None means more events follow.
        candidates: the candidates weighed, best first, as many as the request asked for.
        skipped: whether lazy guidance skipped the guide, or the token is outside the request's region. Then rewards
            are 0.0 and the logprob is the base's over the candidates.
    """

    index: int
    token_id: int
    text: str
    logprob: float
    reward: float | None
    finish_reason: FinishReason | None = None
    candidates: tuple[Candidate, ...] = ()
    skipped: bool = False


@dataclass(frozen=True)
class EngineStats:
    """What an engine's models have done since it was made.

    Args:
        forwards: forwards of the base and of a guide with a model of its own, prefills included.
        prefilled_tokens: prompt tokens that were run.
        reused_tokens: prompt tokens whose keys and values were kept from an earlier prompt or turn.
    """

    forwards: int
    prefilled_tokens: int
    reused_tokens: int


def _vector(embedding: Any) -> np.ndarray:
    """An embedding as an array of numbers. Its guide checks the shape."""
    try:
        vector_E = np.asarray(embedding)
        numbers = np.issubdtype(vector_E.dtype, np.integer) or np.issubdtype(vector_E.dtype, np.floating)
    except Exception:  # whatever an object does that is asked for its array
        numbers = False
    if not numbers:
        checks.refuse("A preference's embedding", embedding, "a vector of numbers, or None")
    return vector_E


def _maybe(check: checks.Check) -> checks.Check:
    """The same check for a setting that may be None."""
    return lambda name, value: None if value is None else check(name, value)


def _ids(name: str, value: Any) -> tuple[int, ...]:
    listed = checks.list_of((int, np.integer), "a list of token ids, which are integers")(name, value)
    return tuple(_TOKEN(name, token) for token in listed)


def _visible(name: str, value: Any) -> frozenset[int]:
    if not isinstance(value, Collection) or isinstance(value, str | bytes | bytearray | memoryview | Mapping):
        checks.refuse(name, value, "a collection of token ids, which are integers")
    return frozenset(_TOKEN(name, token) for token in value)


def _preferences(name: str, value: Any) -> tuple[WeightedPreference, ...]:
    return tuple(checks.list_of(WeightedPreference, "a list of WeightedPreferences")(name, value))


def _taste(name: str, value: Any) -> ResidualGate:
    if not isinstance(value, ResidualGate):
        checks.refuse(name, value, "a ResidualGate, or None")
    return value


def _grammar(name: str, value: Any) -> Grammar:
    from pad_langchain.engine.grammar import Grammar

    if not isinstance(value, Grammar):
        checks.refuse(name, value, "a Grammar that the engine's `grammars` compiled, or None")
    return value


def _region(name: str, value: Any) -> Region:
    from pad_langchain.engine.regions import Region

    if not isinstance(value, Region):
        checks.refuse(name, value, "a Region of `engine.regions`, or None")
    return value


_LARGE = 3.4e38  # about as much as float32 holds
_WEIGHT = checks.number(-_LARGE, _LARGE, "a finite number that float32 holds")
_TOKEN = checks.integer(-checks.LARGEST, checks.LARGEST, "a list of token ids, which are integers")
_COUNT = checks.integer(1, checks.LARGEST, "an integer of at least 1")
_DICTS = checks.list_of(Mapping, "a list of dicts")

# What each field of a `Request` takes.
CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "messages": _DICTS,
    "prompt_ids": _maybe(_ids),
    "tools": _maybe(_DICTS),
    "preferences": _preferences,
    "contrast_ids": _maybe(_ids),
    "beta": _WEIGHT,
    "top_k": _COUNT,
    "alpha": checks.number(0.0, 1.0, "a number in [0, 1]"),
    "temperature": checks.number(0.0, 1e6, "a finite number of at least 0 (0 is greedy) and at most 1e6"),
    "top_p": checks.number(0.0, 1.0, "a number in (0, 1]", above=True),
    "seed": _maybe(checks.integer(-(2**63), 2**64 - 1, "an integer of at most 64 bits, or None")),
    "max_tokens": _COUNT,
    "stop": checks.texts,
    "visible": _visible,
    "template_kwargs": checks.json_object,
    "reference": checks.choice("base", "reference"),
    "combine": checks.choice("sum", "max"),
    "candidates": checks.integer(0, checks.LARGEST, "an integer from 0 to top_k"),
    "logprobs": checks.flag,
    "grammar": _maybe(_grammar),
    "region": _maybe(_region),
    "clip": _maybe(checks.number(0.0, math.inf, "a finite number above 0, or None", above=True)),
    "lazy": checks.flag,
    "best_of": _COUNT,
    "salt": _maybe(checks.text),
    "repetition_penalty": checks.number(1.0, 1e6, "a finite number of at least 1 (1 changes nothing) and at most 1e6"),
    "no_repeat_ngram": checks.integer(0, checks.LARGEST, "an integer of at least 0 (0 forbids nothing)"),
    "taste": _maybe(_taste),
}

# What a PersRM may recommend.
RECOMMENDABLE: dict[str, checks.Check] = {
    **{name: CHECKS[name] for name in ("beta", "alpha", "top_k", "repetition_penalty", "no_repeat_ngram")},
    "condition_base": checks.flag,
    "wish_place": checks.choice("system", "user", "both"),
    "candidates": checks.choice("base", "cut"),
}
