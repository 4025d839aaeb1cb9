"""`Chat`: one turn for one user. Every face comes through this door, and none reaches around it."""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from pad_langchain.chat.condition import Conditioned, HeldBack, Wish, binds, condition_of, embedder_of, plain_only
from pad_langchain.chat.contrast import contrast, reader_of
from pad_langchain.chat.engines import shared_pair
from pad_langchain.chat.messages import (
    ChatDict,
    last_user_text,
    user_texts,
    with_preferences,
    with_preferences_at_end,
    with_system,
)
from pad_langchain.chat.options import SETTLED, CallOptions, ChatSettings, WishPlace
from pad_langchain.chat.routes import beyond, quoted, route
from pad_langchain.chat.tools.constraint import Constraint, constrain
from pad_langchain.chat.turn import Turn, begin
from pad_langchain.engine.regions import Region, free_fields
from pad_langchain.engine.residual import ResidualGate
from pad_langchain.engine.types import Request, Route, WeightedPreference

if TYPE_CHECKING:
    from pad_langchain.engine.protocol import Engine
    from pad_langchain.persrm.persrm import PersRM
    from pad_memory.profile import Taste

__all__ = ["Chat"]


class Chat:
    """Answers users, each in their own way, on one engine.

    Making one costs nothing and keeps nothing beside what it is given: faces make one for each call. The memory gets
    the PersRM as its scorer, if it has none, and the engine forgets its kept prompts when a user is forgotten. A base
    that guides itself reads an answer anew for each pole of the catalogue, which takes long: it becomes the scorer only
    where `reward_model` names it. A head whose base is on a server judges nothing: what answers are worth waits for a
    scorer of the memory's own.

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
            scorer = persrm.judge if persrm is not None and named else None
            self.memory.attach(scorer=scorer, on_forget=engine.forget_prefixes)

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
        said = {name: value for name in ("weights", "url") if (value := getattr(settings, name)) is not None}
        where = {name: getattr(settings, name) for name in names}
        place = {**where, **said, **settings.connection(), **settings.engine_settings}
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
        # 4  what steers, and what the base is told
        wishes, held, taste = self._conditioned(said, question, messages)
        steer = tuple(wish.preference for wish in wishes if wish.route in ("guide", "both"))
        gate = self._residual(taste)
        if self.engine.guided and not steer and gate is None and (wishes or held):
            said = replace(said, best_of=1)  # no reward tells samples apart
        contrast_ids = None
        if told := [wish for wish in wishes if wish.route in ("prompt", "both")]:
            prompt_ids, contrast_ids = self._told(said, bound, messages, read, told)
        # 5  the request
        request = self._request(said, bound, read, prompt_ids, steer, contrast_ids, gate)
        if said.private or salt is not None:
            request = replace(request, salt=None if said.private else salt)
        pad = _pad(said, request, wishes, held, response_id or f"pad-{uuid.uuid4().hex}")
        if taste is not None and gate is not None:
            pad["taste"] = {"choices": len(taste.evidence), "more_like": [text for _, text in taste.like]}
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

    def _conditioned(self, said: CallOptions, question: str, messages: Sequence[ChatDict]) -> Conditioned:
        """What conditions the answer, each wish with its route."""
        reads_vectors = self.persrm is not None and self.persrm.head is not None
        if said.private is True:
            said = replace(said, user_id=None)  # nothing known steers
        earlier = user_texts(messages)[:-1]
        wishes, held, taste = condition_of(said, self.settings, question, *earlier, vectors=reads_vectors)
        wishes = self._routed(said, wishes)
        only_told = [wish for wish in wishes if wish.route == "prompt" and wish.worth < math.inf]
        left = beyond(only_told, said.wish_tokens or 0, lambda text: len(self.engine.prompts.encode(text)))
        dropped = {id(wish) for wish, _ in left}
        kept = tuple(wish for wish in wishes if id(wish) not in dropped)
        return Conditioned(kept, (*held, *((wish.preference.text, reason) for wish, reason in left)), taste)

    def _residual(self, taste: Taste | None) -> ResidualGate | None:
        """The taste as a gate; None where there is none, or no head whose features it is in."""
        if taste is None or self.persrm is None or taste.maker != self.persrm.features_maker:
            return None
        return ResidualGate(taste.maker, taste.gate_R)

    def _routed(self, said: CallOptions, wishes: Sequence[Wish]) -> tuple[Wish, ...]:
        """The wishes with their routes. In what a program reads, a user's own words are told and do not steer."""
        if not self.engine.guided:
            told = self.engine.recommended.condition_base is not False
            if said.condition_base not in (None, "auto"):
                told = bool(said.condition_base)
            return tuple(replace(wish, route="prompt" if told else None) for wish in wishes)
        recommended: list[Route]
        if self.persrm is not None:
            recommended = self.persrm.routes([wish.preference for wish in wishes])
        else:
            usual: Route = "both" if self.engine.recommended.condition_base else "guide"
            recommended = [usual for _ in wishes]
        strange = self._unread(wishes)
        recommended = ["prompt" if one in strange else way for one, way in zip(wishes, recommended, strict=True)]
        condition_base: Literal["auto"] | bool = "auto" if said.condition_base is None else said.condition_base
        if plain_only(said):
            recommended = ["prompt" if wish.own_words else one for wish, one in zip(wishes, recommended, strict=True)]
        elif binds(said) and not said.style_arguments and condition_base == "auto" and said.preference is None:
            recommended = ["guide" if one == "both" else one for one in recommended]  # words would reach every field
        ways = (
            None if wish in strange and not condition_base else route(one, condition_base)
            for wish, one in zip(wishes, recommended, strict=True)
        )
        return tuple(replace(wish, route=way) for wish, way in zip(wishes, ways, strict=True))

    def _unread(self, wishes: Sequence[Wish]) -> list[Wish]:
        """The wishes in other languages that a head must not steer: their vectors hardly tell "keine Emojis" from
        "Emojis".
        """
        if self.persrm is None or self.persrm.head is None:
            return []
        from pad_memory.language import unread

        return [wish for wish in wishes if unread(wish.preference.text) is not None]

    def _region(self, said: CallOptions, bound: Constraint) -> Region | None:
        """Where in an answer the wishes steer. What a call names itself steers everywhere."""
        if bound.grammar is None or said.style_arguments or said.preference is not None:
            return None
        return Region(free_fields([said.tools, said.response_format]), bound.calls_begin)

    def _told(
        self,
        said: CallOptions,
        bound: Constraint,
        messages: Sequence[ChatDict],
        read: Sequence[ChatDict],
        told: Sequence[Wish],
    ) -> tuple[list[int], list[int] | None]:
        """The prompt with the wishes in words, and the one that a base which guides itself is contrasted with.

        A user's own words stand in a quoted block, except in the user's own turn beside what steers. The guide reads
        `read`, without them.
        """
        place = said.wish_place or self.engine.recommended.wish_place or "system"
        in_turn = place == "user" or self.engine.contrasts
        data = [wish for wish in told if wish.own_words and (wish.route == "prompt" or not in_turn)]
        words = [wish for wish in told if wish not in data]
        block = quoted([(wish.preference.text, wish.preference.weight) for wish in data])
        tell = partial(_tell, bound, messages, read, place, block)
        if not self.engine.contrasts:
            steered = [wish.preference for wish in words if wish.route == "both"]
            others = [(wish.preference.text, wish.preference.weight) for wish in words if wish.route != "both"]
            own = [(each.text, each.weight) for each in steered]
            return tell([*(own if self.persrm is None else self.persrm.tell(steered)), *others]), None
        wished, opposed = contrast([wish.preference for wish in words], reader_of(self.memory, self.settings.embedder))
        return tell(wished), tell(opposed)

    def _request(
        self,
        said: CallOptions,
        bound: Constraint,
        read: Sequence[ChatDict],
        prompt_ids: Sequence[int],
        preferences: tuple[WeightedPreference, ...],
        contrast_ids: Sequence[int] | None,
        taste: ResidualGate | None,
    ) -> Request:
        recommended = self.engine.recommended
        # Where nothing steers, the base is as it is. What a grammar repeats has to be repeated.
        if not (preferences or taste) or said.beta == 0 or bound.grammar is not None:
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
            region=self._region(said, bound),
            visible=bound.visible_tokens(),
            preferences=preferences if self.engine.guided else (),
            contrast_ids=contrast_ids,
            taste=taste,
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
    block: str,
    wishes: Sequence[tuple[str, float]],
) -> list[int]:
    """The prompt of a conversation that is told wishes in words, and what is quoted in `block`."""
    if place != "system" and any(message["role"] == "user" for message in messages):
        read, prompt_ids = bound.render(with_preferences_at_end(messages, wishes, block if place == "user" else ""))
        if place == "user":
            return prompt_ids
    return bound.fit(with_system(with_preferences(read, wishes), block))[1]


def _pad(
    said: CallOptions, request: Request, wishes: Sequence[Wish], held: Sequence[HeldBack], response_id: str
) -> dict[str, Any]:
    return {
        "user": None if said.private is True else said.user_id,
        "thread": said.thread_id,
        "condition": [
            {"text": wish.preference.text, "weight": wish.preference.weight, "source": wish.source, "route": wish.route}
            for wish in wishes
        ],
        **({"held_back": [{"text": text, "reason": reason} for text, reason in held]} if held else {}),
        "beta": request.beta,
        "top_k": request.top_k,
        "response_id": response_id,
        **({"private": said.private} if said.private else {}),
    }
