"""What an evaluation compares: one base, the PersRMs that may guide it, an engine for each way it is guided, and what
each of them answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np

from pad_langchain.defaults import model_folder, reward_folder
from pad_langchain.engine.torch.engine import TorchEngine
from pad_langchain.engine.types import Request
from pad_langchain.errors import ContextLengthError, InvalidRequestError
from pad_langchain.evaluation.answers import Answer, Kept, Wishes, decode, key_of, request_of, wishes_in
from pad_langchain.evaluation.cases import Case
from pad_langchain.evaluation.config import METHODS, EvaluateConfig, Setting
from pad_langchain.models.backbone import Backbone
from pad_langchain.models.loading import load_causal_lm
from pad_langchain.persrm.build import guide_for
from pad_langchain.persrm.persrm import PersRM
from pad_langchain.persrm.token_rewards import log_probabilities
from pad_langchain.training.wordings import wishes_of
from pad_memory.embedding import Embedder, SentenceEmbedder
from pad_memory.language import embed_wishes

__all__ = ["Contenders"]


class Contenders:
    """The models of one evaluation; a context manager that closes their engines.

    Args:
        embedder: embeds preferences for a head; None is the one it names.

    Attributes:
        persrms: "head" and "text" → PersRM, those there are.
        methods: of the settings' methods those whose PersRM is there.
    """

    def __init__(self, config: EvaluateConfig, embedder: Embedder | None = None) -> None:
        self._max_tokens = config.max_tokens
        model, self._tokenizer = load_causal_lm(model_folder(config.base), device=config.device, dtype=config.dtype)
        self._base = Backbone(model)
        self._engines: dict[str | None, TorchEngine] = {}
        self._paths = {"base": config.base, "head": reward_folder(config.base, config.head), "text": config.text}
        self.persrms = {
            kind: PersRM.from_pretrained(
                path, base=self._base, tokenizer=self._tokenizer, embedder=embedder, device=config.device,
                dtype=config.dtype,
            )
            for kind in ("head", "text")
            if (path := self._paths[kind]) is not None
        }  # fmt: skip
        self._guides: dict[str, Any] = {**self.persrms, "self": "self"}
        self._vectors: dict[str, np.ndarray] = {}
        if "head" in self.persrms:
            head = self.persrms["head"].head
            if head is None:
                raise InvalidRequestError(f"head has to be a head PersRM, but {config.head!r} is a text PersRM.")
            embedder = embedder or SentenceEmbedder(head.config.embedder)
            texts = sorted({wish for said in config.wordings.values() for text in said for wish in wishes_of(text)})
            self._vectors = dict(zip(texts, embed_wishes(embedder, texts), strict=True))
        self.methods = [name for name in config.methods if not METHODS[name].guides or self._guide_of(name) is not None]

    def __enter__(self) -> Contenders:
        return self

    def __exit__(self, *exc_info: object) -> None:
        for engine in self._engines.values():
            engine.close()

    def _guide_of(self, method: str) -> str | None:
        """The name of what guides a method; None for nothing, or where it is missing."""
        return next((name for name in METHODS[method].guides if name in self._guides), None)

    def _engine(self, method: str) -> TorchEngine:
        """The engine of a method; all share the base."""
        name = self._guide_of(method)
        if name not in self._engines:
            _, guide = guide_for(None if name is None else self._guides[name], self._base, self._tokenizer)
            self._engines[name] = TorchEngine(self._base, self._tokenizer, guide)
        return self._engines[name]

    def setting(self, method: str, beta: float, top_k: int | None, alpha: float | None) -> Setting:
        """How a guided method decodes: what is None, and what is not asked here, is as its PersRM recommends."""
        recommended = self._engine(method).recommended
        settled = recommended.settle(self._base.vocab_size, beta=beta, top_k=top_k, alpha=alpha)
        return Setting(method, **settled, wish_place=recommended.wish_place or "system")

    def _request(self, case: Case, wishes: Wishes, setting: Setting) -> Request:
        return request_of(case, wishes, setting, self._vectors, self._max_tokens)

    def too_long(self, case: Case, worded: Sequence[Wishes]) -> str | None:
        """Why a prompt leaves no room for an answer with some method and wording; None where all have it."""
        for method in self.methods:
            for wishes in worded:
                try:
                    room = self._engine(method).room(self._request(case, wishes, Setting(method, 1.0)))
                except ContextLengthError as error:
                    return str(error)
                if room < self._max_tokens:
                    return f"its prompt leaves {room} tokens for an answer, but max_tokens is {self._max_tokens}"
        return None

    def answer(
        self,
        kept: Kept,
        cases: Sequence[Case],
        setting: Setting,
        wished: Sequence[Wishes] | None = None,
        tick: Callable[[int, int], None] = lambda done, of: None,
    ) -> list[Answer]:
        """Answer every case, those that are kept without a model.

        Args:
            wished: for each case the (text, weight) preferences to use instead of its own.
            tick: called with (answers done, answers that were missing).
        """
        if wished is None:
            wished = [wishes_in(case) for case in cases]
        keys = self._keys(cases, setting, wished)
        missing = list({key: n for n, key in enumerate(keys) if kept.get(key) is None}.values())
        if missing:
            requests = [self._request(cases[n], wished[n], setting) for n in missing]
            answers = decode(self._engine(setting.method), requests)
            for done, (n, answer) in enumerate(zip(missing, answers, strict=True), 1):
                kept.put(keys[n], astuple(answer))
                tick(done, len(missing))
        return [Answer(*kept.get(key)) for key in keys]

    def _keys(self, cases: Sequence[Case], setting: Setting, wished: Sequence[Wishes]) -> list[str]:
        """What each answer depends on: its models, so that another PersRM leaves what others answered as it is, too.

        A method that hears no preference has one answer for all of them.
        """
        places = [self._paths[name] for name in ("base", self._guide_of(setting.method)) if name in self._paths]
        mark, most = key_of(*map(_fingerprint, places)), self._max_tokens
        if not METHODS[setting.method].hears:
            return [key_of(mark, setting.method, case.messages, most) for case in cases]
        return [
            key_of(mark, vars(setting), case.messages, [list(wish) for wish in wishes], most)
            for case, wishes in zip(cases, wished, strict=True)
        ]

    def perplexity(self, cases: Sequence[Case], said: Sequence[Answer]) -> float:
        """exp of the mean −log p of the answers' tokens under the base, which is told no preference."""
        prompts = self._engine("base").prompts
        rows = [
            (prompts.render(list(case.messages)), ids)
            for case, each in zip(cases, said, strict=True)
            if (ids := prompts.encode(each.text))
        ]
        (found,) = log_probabilities(self._base, rows)
        return float(np.exp(-np.concatenate(found).mean())) if found else float("nan")


def _fingerprint(path: str | None) -> list[Any]:
    """Name, sizes and times of a model folder's files: another training in the same folder is another model."""
    folder = Path(model_folder(path)) if path else None
    if folder is None or not folder.is_dir():
        return [path]
    files = sorted(folder.glob("*.safetensors"))
    return [str(path), [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files]]
