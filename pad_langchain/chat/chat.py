"""`Chat`: one turn for one user. Every face comes through this door, and none reaches around it."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from pad_langchain.chat.condition import Wish, embedder_of, steering
from pad_langchain.chat.contrast import contrast, reader_of
from pad_langchain.chat.engines import shared_pair
from pad_langchain.chat.messages import (
    ChatDict,
    last_user_text,
    with_preferences,
    with_preferences_at_end,
)
from pad_langchain.chat.options import SETTLED, CallOptions, ChatSettings, WishPlace
from pad_langchain.chat.tools.constraint import Constraint, constrain
from pad_langchain.chat.turn import Turn, begin
from pad_langchain.engine.types import Request, WeightedPreference

if TYPE_CHECKING:
    from pad_langchain.engine.protocol import Engine
    from pad_langchain.persrm.persrm import PersRM

__all__ = ["Chat"]


class Chat:
    """Answers users, each in their own way, on one engine.

    Making one costs nothing and keeps nothing beside what it is given: faces make one for each call. The memory gets
    the PersRM as its scorer, if it has none, and the engine forgets its kept prompts when a user is forgotten. A base
    that guides itself reads an answer anew for each pole of the catalogue, which takes long: it becomes the scorer only
    where `reward_model` names it.

    Args:
        engine: decodes.
        persrm: what the engine is guided by; None means it decodes the base alone.
        settings: how, where a call does not say; its `memory` is whose users are known.
    """

    def __init__(self, engine: Engine, persrm: PersRM | None = None, settings: ChatSettings | None = None) -> None:
        self.engine, self.persrm = engine, persrm
        self.settings = ChatSettings() if settings is None else settings
        self.memory = self.settings.memory
        if self.memory is not None:
            named = not engine.contrasts or self.settings.reward_model == "self"
            self.memory.attach(scorer=persrm if named else None, on_forget=engine.forget_prefixes)

    @classmethod
    def of(cls, model: str, settings: ChatSettings) -> Chat:
        """Make the chat of a face, on weights that the process loads once. Blocks for seconds when they load.

        Args:
            model: a folder, a hub id or the name of a default.
            settings: the face's; they name the PersRM and where both run.

        Raises:
            ModelLoadError: a model was not found or could not be read.
            IncompatibleModelError: base, PersRM and embedder do not fit each other.
        """
        names = ("device", "dtype", "backend")
        said = {"weights": settings.weights} if settings.weights is not None else {}
        place = {**{name: getattr(settings, name) for name in names}, **said, **settings.engine_settings}
        pair = shared_pair(
            model, settings.reward_model, embedder=embedder_of(settings), memory=settings.memory, **place
        )
        return cls(pair.engine, pair.persrm, settings)

    def submit(
        self,
        messages: Sequence[ChatDict],
        options: CallOptions | None = None,
        *,
        response_id: str | None = None,
        salt: str | None = None,
    ) -> Turn:
        """Begin to answer a conversation. Blocks while the memory is read and the prompt is tokenized; thread-safe.

        Args:
            messages: the conversation, as `chat_dicts` makes it.
            options: what this call says; the settings say the rest.
            response_id: the answer's id for feedback, never used before. None means a new one.
            salt: whose prompt this is, see `engine.types.Request`. None means the memory's tenant.

        Raises:
            InvalidRequestError: the call asks for what cannot be; ContextLengthError: its prompt is too long.
            EngineBusyError, EngineClosedError: the engine takes no request.
        """
        # 1  who asks, and how
        said = (options or CallOptions()).over(self.settings)
        # 2  what is allowed
        bound = self._constraint(said)
        # 3  what is read
        question = last_user_text(messages)  # before a template's needs put other words into user turns
        read, prompt_ids = bound.render(messages)
        # 4  what steers, and whether the base is told as well
        wishes = self._steering(said, question)
        preferences = tuple(wish.preference for wish in wishes)
        contrast_ids = None
        if preferences and self._tells(said):
            prompt_ids, contrast_ids = self._told(said, bound, messages, read, preferences)
        # 5  the request
        request = self._request(said, bound, read, prompt_ids, preferences, contrast_ids)
        if said.private or salt is not None:
            request = replace(request, salt=None if said.private else salt)
        pad = _pad(said, request, wishes, response_id or f"pad-{uuid.uuid4().hex}")
        return Turn(
            self.engine.submit(request),
            pad,
            parser=bound.parser(prompt_ids),
            token_text=self._token_text if said.logprobs or request.candidates else None,
            answered=self._log(said, pad["response_id"], question),
        )

    async def asubmit(self, messages: Sequence[ChatDict], options: CallOptions | None = None) -> Turn:
        """`submit` in a thread; a cancelled task stops the turn."""
        return await begin(partial(self.submit, messages, options))

    def count_tokens(self, messages: Sequence[ChatDict], tools: Sequence[Mapping[str, Any]] = ()) -> int:
        """Tokens of the whole prompt: the chat template's own and the tools' schemas included."""
        said = CallOptions(tools=tools, chat_template_kwargs=self.settings.chat_template_kwargs)
        _, prompt_ids = self._constraint(said).render(messages)
        return len(prompt_ids)

    def _constraint(self, said: CallOptions) -> Constraint:
        return constrain(
            self.engine,
            tools=said.tools,
            tool_choice=said.tool_choice,
            parallel_tool_calls=said.parallel_tool_calls,
            response_format=said.response_format,
            response_template=self.settings.response_template,
            template_kwargs=said.chat_template_kwargs,
        )

    def _steering(self, said: CallOptions, question: str) -> tuple[Wish, ...]:
        reads_vectors = self.persrm is not None and self.persrm.head is not None
        if said.private is True:
            said = replace(said, user_id=None)  # nothing known steers
        return steering(said, self.settings, question, vectors=reads_vectors)

    def _tells(self, said: CallOptions) -> bool:
        if said.condition_base != "auto":
            return bool(said.condition_base)
        recommended = self.engine.recommended.condition_base
        return not self.engine.guided if recommended is None else recommended

    def _told(
        self,
        said: CallOptions,
        bound: Constraint,
        messages: Sequence[ChatDict],
        read: Sequence[ChatDict],
        preferences: Sequence[WeightedPreference],
    ) -> tuple[list[int], list[int] | None]:
        """The prompt with the preferences in words, and the one that a base which guides itself is contrasted with.

        The guide reads `read`, without them.
        """
        place = said.wish_place or self.engine.recommended.wish_place or "system"
        tell = partial(_tell, bound, messages, read, place)
        if not self.engine.contrasts:
            return tell([(preference.text, preference.weight) for preference in preferences]), None
        told, opposed = contrast(preferences, reader_of(self.memory, self.settings.embedder))
        return tell(told), tell(opposed)

    def _request(
        self,
        said: CallOptions,
        bound: Constraint,
        read: Sequence[ChatDict],
        prompt_ids: Sequence[int],
        preferences: tuple[WeightedPreference, ...],
        contrast_ids: Sequence[int] | None,
    ) -> Request:
        recommended = self.engine.recommended
        # Where nothing steers, the base is as it is. What a grammar repeats has to be repeated.
        if not preferences or said.beta == 0 or bound.grammar is not None:
            recommended = replace(recommended, repetition_penalty=None, no_repeat_ngram=None)
        said_of = {name: getattr(said, name) for name in SETTLED}
        decoding = {name: getattr(said, name) for name in ("temperature", "top_p", "seed", "max_tokens")}
        steering = {name: getattr(said, name) for name in ("combine", "reference", "clip", "lazy", "best_of")}
        return Request(
            messages=read,
            prompt_ids=prompt_ids,
            tools=bound.shown,
            template_kwargs=bound.template_kwargs,
            grammar=bound.grammar,
            visible=bound.visible_tokens(),
            preferences=preferences if self.engine.guided else (),
            contrast_ids=contrast_ids,
            stop=tuple(said.stop or ()),
            candidates=said.top_logprobs or 0,
            logprobs=bool(said.logprobs or said.top_logprobs),
            salt="" if self.memory is None else self.memory.tenant,  # no tenant can time another's prompts
            **recommended.settle(len(self.engine.tokenizer), **said_of),
            **decoding,
            **steering,
        )

    def _token_text(self, token_id: int) -> str:
        return str(self.engine.tokenizer.decode([token_id]))

    def _log(self, said: CallOptions, response_id: str, question: str) -> Callable[[str], object] | None:
        """What keeps the answer in the memory's log of recent answers, so that feedback needs its response id only."""
        if self.memory is None or said.user_id is None or said.private:
            return None
        steered = said.preference is None
        keep: Callable[[str], object] | None = self.memory.answering(
            said.user_id, response_id, question, said.thread_id, counted=steered
        )
        return keep


def _tell(
    bound: Constraint,
    messages: Sequence[ChatDict],
    read: Sequence[ChatDict],
    place: WishPlace,
    wishes: Sequence[tuple[str, float]],
) -> list[int]:
    """The prompt of a conversation that is told wishes in words."""
    if place != "system" and any(message["role"] == "user" for message in messages):
        read, prompt_ids = bound.render(with_preferences_at_end(messages, wishes))
        if place == "user":
            return prompt_ids
    return bound.fit(with_preferences(read, wishes))[1]


def _pad(said: CallOptions, request: Request, wishes: Sequence[Wish], response_id: str) -> dict[str, Any]:
    shown = [(wish.preference, wish.source) for wish in wishes]
    return {
        "user": None if said.private is True else said.user_id,
        "thread": said.thread_id,
        "condition": [{"text": one.text, "weight": one.weight, "source": source} for one, source in shown],
        "beta": request.beta,
        "top_k": request.top_k,
        "response_id": response_id,
        **({"private": said.private} if said.private else {}),
    }
