"""The model that a head is made for: the engine that answers, and what reads its hidden states. They are one model."""

from __future__ import annotations

import logging
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pad_langchain.adapt.config import AdaptConfig
from pad_langchain.adapt.poles import Dimension
from pad_langchain.adapt.prompts import Prompt
from pad_langchain.chat.chat import Chat
from pad_langchain.chat.engines import shared_pair
from pad_langchain.chat.messages import with_preferences_at_end
from pad_langchain.chat.options import CallOptions, ChatSettings
from pad_langchain.engine.types import Request
from pad_langchain.errors import InvalidRequestError
from pad_langchain.persrm.build import guide_for

if TYPE_CHECKING:
    from pad_langchain.engine.protocol import Engine
    from pad_memory.embedding import Embedder

__all__ = ["Asked", "Model", "Said", "Tick", "seed_of"]

Tick = Callable[[int, int], None]  # (done, of)

LEAST_DIFFERENCE = 1e-3  # nats; below it, being told opposite things changes nothing

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Asked:
    """One answer that is wanted.

    Args:
        id: what it is kept under.
        messages: the conversation.
        options: how it is answered.
        begun: what the answer begins with already; the base goes on from there.
    """

    id: str
    messages: Sequence[Mapping[str, Any]]
    options: CallOptions
    begun: str = ""


@dataclass(frozen=True)
class Said:
    """What was answered: the text without what the model thought before it, and whether it came to an end."""

    text: str
    ended: bool
    tokens: int


@dataclass(frozen=True)
class _Answering:
    """An answer that is under way."""

    asked: Asked
    wait: Callable[[], Said]
    cancel: Callable[[], None]


class Model:
    """Answers, and reads answers. It is loaded once in a process.

    Args:
        config: names the base and how it is loaded.

    Raises:
        InvalidRequestError: its tokenizer has no chat template, or the template lacks a switch.
        ModelLoadError: the base was not found or cannot be read.
    """

    def __init__(self, config: AdaptConfig) -> None:
        self.pair = shared_pair(
            config.base,
            None,
            device=config.device,
            dtype=config.dtype,
            backend=config.backend,
            **config.engine_settings,
        )
        self.engine: Engine = self.pair.engine
        self.reader: Any = self.pair.engine.base
        self.tokenizer, self.prompts = self.engine.tokenizer, self.engine.prompts
        self.switches = dict(config.chat_template_kwargs)
        if not self.tokenizer.chat_template:
            raise InvalidRequestError(
                f"A head cannot be made for {config.base!r}: its tokenizer has no chat template, so it cannot be told "
                "how to answer. Use a chat model, often named …-Instruct or …-Chat."
            )
        self.prompts.check_switches(self.switches)

    @property
    def hidden_size(self) -> int:
        """D of its hidden states."""
        return int(self.reader.hidden_size)

    @property
    def vocab_size(self) -> int:
        """V of its logits."""
        return int(self.reader.vocab_size)

    def told(self, prompt: Prompt, instruction: str = "") -> list[dict[str, Any]]:
        """Return the conversation with an instruction as users' wishes stand in it: in brackets, at its end."""
        messages: list[Any] = [dict(message) for message in prompt.messages]
        return with_preferences_at_end(messages, [(instruction, 1.0)]) if instruction else messages

    def prompt_ids(self, prompt: Prompt, instruction: str = "") -> list[int]:
        """Return the token ids of what `told` returns, up to where the answer begins."""
        return self.prompts.render(self.told(prompt, instruction), None, self.switches)

    def chat(self, reward_model: Any | None = None, embedder: Embedder | None = None) -> Chat:
        """Return what answers under guidance. Close its engine in the end.

        Args:
            reward_model: a head's folder, a head or "self". None means nothing guides, on the base's own engine.
        """
        settings = ChatSettings(embedder=embedder, chat_template_kwargs=self.switches or None)
        if reward_model is None:
            return Chat(self.engine, None, settings)
        persrm, guide = guide_for(reward_model, self.reader, self.tokenizer, embedder=embedder)
        return Chat(self._engine(guide), persrm, settings)

    def _engine(self, guide: Any) -> Engine:
        """Another engine on the same weights."""
        kind: Any = type(self.engine)
        engine: Engine = kind(self.reader, self.tokenizer, guide, max_batch=self.engine.settings.max_batch)
        return engine

    def answer(self, chat: Chat, asked: Iterable[Asked]) -> Iterator[tuple[Asked, Said]]:
        """Answer many requests at once, in their order. Whoever leaves early cancels those that are under way."""
        under_way: deque[_Answering] = deque()
        settings = chat.engine.settings
        many = min(2 * settings.max_batch, settings.max_batch + settings.max_queue)
        try:
            for each in asked:
                under_way.append(self._submit(chat, each))
                if len(under_way) >= many:
                    yield under_way[0].asked, under_way[0].wait()
                    under_way.popleft()
            while under_way:
                yield under_way[0].asked, under_way[0].wait()
                under_way.popleft()
        finally:
            for answering in under_way:
                answering.cancel()

    def _submit(self, chat: Chat, asked: Asked) -> _Answering:
        if asked.begun:
            return self._continue(asked)
        turn = chat.submit([dict(message) for message in asked.messages], asked.options)

        def wait() -> Said:
            delta = turn.result()
            tokens = 0 if delta.usage is None else delta.usage.completion_tokens
            return Said(delta.text.strip(), delta.finish == "stop", tokens)

        return _Answering(asked, wait, turn.cancel)

    def _continue(self, asked: Asked) -> _Answering:
        """Go on with a begun answer."""
        options = asked.options
        ids = self.prompts.render(asked.messages, None, self.switches) + self.prompts.encode(asked.begun)
        request = Request(
            prompt_ids=ids,
            temperature=options.temperature or 0.0,
            top_p=1.0 if options.top_p is None else options.top_p,
            seed=options.seed,
            max_tokens=options.max_tokens or 1,
        )
        stream = self.engine.submit(request)

        def wait() -> Said:
            done = stream.result()
            return Said(done.text, done.finish_reason == "stop", done.completion_tokens)

        return _Answering(asked, wait, stream.cancel)

    def check_contrast(self, prompts: Sequence[Prompt], dimensions: Sequence[Dimension]) -> None:
        """Check that the base answers differently where it is told opposite things.

        The first tokens' distributions are compared on some prompts.

        Raises:
            InvalidRequestError: they are alike for every dimension.
        """
        differences = {dimension.name: self._difference(prompts, dimension) for dimension in dimensions}
        alike = [name for name, found in differences.items() if not found > LEAST_DIFFERENCE]
        if len(alike) == len(differences):
            raise InvalidRequestError(
                "A head cannot be made for this model: told opposite things, it begins its answers alike (by "
                f"{max(differences.values()):.2g} nats at most, {LEAST_DIFFERENCE:g} are needed, over {len(prompts)} "
                f"prompts and {sorted(differences)}). Does its chat template show the user's words? Do the two "
                "instructions of each dimension differ?"
            )
        if alike:
            _log.warning("told opposite things, the base begins its answers alike for %s", ", ".join(alike))

    def _difference(self, prompts: Sequence[Prompt], dimension: Dimension) -> float:
        """Mean total variation in nats between the first tokens' log-probabilities under both poles."""
        found = []
        for prompt in prompts:
            first_V, second_V = (self._first(self.prompt_ids(prompt, pole.instruction)) for pole in dimension.poles)
            found.append(float((first_V.exp() * (first_V - second_V)).sum()))
        return float(np.mean(found))

    def _first(self, ids: list[int]) -> torch.Tensor:
        """Log-probabilities [V] of the first token of an answer."""
        with torch.inference_mode():
            ids_1T = torch.tensor([ids], device=self.reader.device)
            return self.reader.logits(self.reader.hidden(ids_1T)[0, -1]).float().log_softmax(-1)


def seed_of(*parts: object) -> int:
    """A seed that depends on all parts, the same in every process."""
    return zlib.crc32("|".join(map(str, parts)).encode())
