"""The personalised reward model, PersRM: load, save, score, and become a guide.

Two kinds under one class. A *head* reads the base's own hidden states. A *text* PersRM is a causal LM that is told the
preference in its prompt and whose last hidden state goes through W and b before its lm_head; the authors' checkpoint
layout is read: merged weights with `v_head.summary.{weight,bias}` beside or inside them.
"""

from __future__ import annotations

import copy
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from pad_langchain.arithmetic.head_file import CONFIG_NAME
from pad_langchain.defaults import model_folder
from pad_langchain.engine.protocol import Guide
from pad_langchain.engine.remote.base import RemoteBase
from pad_langchain.engine.types import Route, WeightedPreference
from pad_langchain.errors import IncompatibleModelError, InvalidRequestError, ModelLoadError
from pad_langchain.models.adapter import Adapter
from pad_langchain.models.backbone import Backbone
from pad_langchain.models.prompts import Prompts
from pad_langchain.paths import absolute
from pad_langchain.persrm.files import (
    ADAPTER_CONFIG,
    ADAPTER_WEIGHTS,
    VALUE_HEAD_FILES,
    VALUE_HEAD_KEYS,
    TextConfig,
    identity_value_head,
    local_folder,
    read_value_head,
    write_value_head,
)
from pad_langchain.persrm.guides.byte_level import fitting_guide
from pad_langchain.persrm.guides.head import HeadGuide
from pad_langchain.persrm.guides.self_guide import SelfGuide
from pad_langchain.persrm.guides.text import ModelGuide
from pad_langchain.persrm.head import VectorHead
from pad_langchain.persrm.scorers import HeadScorer, Prompt, TextScorer, TokenScorer, answer_ids
from pad_langchain.persrm.source import CODE, LOADING, Source
from pad_langchain.persrm.token_rewards import TokenRewards
from pad_memory.embedding import Embedder, SentenceEmbedder
from pad_memory.evidence.scorer import Calibration
from pad_memory.evidence.signs import SignScorer
from pad_memory.openmp import dismiss_helpers

__all__ = ["PersRM"]

KNOWN = 0.5  # how sure a head has to be that it knows a wish


class PersRM:
    """A personalised reward model with the tokenizer and models it needs.

    Make one with `PersRM.from_pretrained`. It is a memory's scorer: `persrm(prompt, response, preferences) → [P]` in
    nats. Scoring only reads the weights, so it may run in any thread while an engine decodes with the same model.

    Args:
        model: the causal LM (or its `Backbone`): the base for a head, the PersRM's own for a text PersRM.
        tokenizer: the model's.
        head: makes it a head PersRM.
        value_head: W and b of a text PersRM, a linear map [D, D]; None is the identity.
        adapter: a LoRA on `model` that makes it the text PersRM; the model itself stays the base.
        reference: the model that a text PersRM is compared with, not told the preference; None compares with the
            PersRM's own backbone without adapter and with W = identity, told the preference, as in training.
        reference_tokenizer: the reference's, if it may be another than the PersRM's. Rewards of other tokens do not
            subtract: then the guide compares candidates as bytes, and scores are as with `reference=None`.
        embedder: embeds preferences for a head; None loads the sentence embedder the head names, when first needed.
        config: how a text PersRM is told a preference, and the beta and alpha it recommends.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        head: VectorHead | None = None,
        value_head: torch.nn.Linear | None = None,
        adapter: Adapter | None = None,
        reference: Backbone | None = None,
        reference_tokenizer: Any | None = None,
        embedder: Embedder | None = None,
        config: TextConfig | None = None,
    ) -> None:
        self.backbone: Backbone = model if hasattr(model, "candidate_logits") else Backbone(model)
        self.tokenizer, self.prompts = tokenizer, Prompts(tokenizer)
        self.head, self.value_head, self.adapter, self.reference = head, value_head, adapter, reference
        self.config = config or TextConfig()
        self.kind: Literal["head", "text"] = "text" if head is None else "head"
        # What a preference memory should make of this PersRM's margins; None: its defaults.
        self.calibration: Calibration | None = None
        # What judges answers for a memory in this PersRM's place; None: it does so itself.
        self.memory_scorer: SignScorer | None = None
        self._guide: Guide
        self._scorer: TokenScorer
        self._text_guide: ModelGuide | None = None
        if head is not None:
            self._guide = guide = HeadGuide(head, embedder or SentenceEmbedder(head.config.embedder))
            guide.bind(self.backbone, self.prompts)
            self._scorer = HeadScorer(self.backbone, self.prompts, guide)
            if head.config.calibration is not None:
                self.calibration = Calibration.from_dict(head.config.calibration)
            if head.config.signs:
                self.memory_scorer = SignScorer(self)
            return
        self._guide = self._text_guide = self._make_text_guide()
        if reference is not None and reference_tokenizer is not None:
            theirs = Prompts(reference_tokenizer)
            self.reference = reference if self._text_guide.shares_tokens(reference, theirs) else None
            self._guide = self._text_guide = fitting_guide(self._text_guide, reference, theirs)
            self._guide.bind(reference, theirs)
        self._scorer = TextScorer(
            self.backbone,
            self.prompts,
            value_head,
            adapter=adapter,
            reference=self.reference,
            template=self.config.template,
        )

    def _make_text_guide(self) -> ModelGuide:
        """The guide of a text PersRM for a base that has its tokens."""
        config = self.config
        told: dict[str, Any] = {"template": config.template, "beta": config.beta, "alpha": config.alpha}
        if self.reference is self.backbone and self.value_head is None and self.adapter is None:
            return SelfGuide(self.backbone, self.prompts, **told)
        if self.value_head is not None:
            _place_value_head(self.value_head, self.backbone)
        return ModelGuide(self.backbone, self.prompts, self.value_head, adapter=self.adapter, **told)

    @classmethod
    def from_pretrained(
        cls,
        path: str | Path,
        *,
        base: Any | None = None,
        tokenizer: Any | None = None,
        embedder: Embedder | None = None,
        device: str = "auto",
        dtype: Any = "auto",
        **kwargs: Any,
    ) -> PersRM:
        """Load a PersRM; which kind it is, its files tell (see `files`).

        Args:
            path: a folder with a head, with an adapter, or with a causal LM and its `v_head`; or a hub id.
            base: hub id, folder, loaded model or `Backbone`. A head needs it; an adapter is put on it (None: on the
                base it was trained for). It becomes the reference of a text PersRM's scores.
            tokenizer: for a base that is already loaded; a text PersRM brings its own.
            kwargs: which files of `path`, as transformers takes them: `revision`, `subfolder`, `trust_remote_code`, …
                How they are fetched (`cache_dir`, `token`, `local_files_only`, …) holds for a base's name as well.

        Raises:
            InvalidRequestError: an unknown keyword, or a head or adapter without its base.
            ModelLoadError: a file is missing or not readable.
            IncompatibleModelError: the parts do not fit each other.
        """
        if unknown := sorted(kwargs.keys() - LOADING):
            raise InvalidRequestError(
                f"PersRM.from_pretrained got unknown keywords {unknown}. Allowed for loading: {sorted(LOADING)}."
            )
        # The hub's client takes proxies from the environment only.
        folder = local_folder(path, **{name: kwargs[name] for name in kwargs.keys() - CODE - {"proxies"}})
        source = Source(str(path), folder, base, tokenizer, device, dtype, kwargs)
        if (folder / CONFIG_NAME).exists():
            return cls._load_head(source, embedder)
        if (folder / ADAPTER_CONFIG).exists():
            return cls._load_adapter(source)
        return cls._load_text(source)

    @classmethod
    def _load_head(cls, source: Source, embedder: Embedder | None) -> PersRM:
        head = VectorHead.from_pretrained(source.folder)
        if source.base is None:
            raise InvalidRequestError(
                f"{source.name!r} is a PersRM head and reads its base's hidden states: pass base= (hub id, folder or "
                "loaded model)."
            )
        backbone, tokenizer = source.load_base(source.base)
        return cls(backbone, tokenizer, head=head, embedder=embedder)

    @classmethod
    def _load_adapter(cls, source: Source) -> PersRM:
        value_head, config = read_value_head(source.folder), TextConfig.load(source.folder)
        if source.base is None and not config.base:
            raise InvalidRequestError(f"{source.name!r} is an adapter: pass base= (hub id, folder or loaded model).")
        backbone, tokenizer = source.load_base(source.base or model_folder(config.base))
        adapter = Adapter.from_pretrained(source.folder, backbone.model)
        return cls(backbone, tokenizer, value_head=value_head, adapter=adapter, reference=backbone, config=config)

    @classmethod
    def _load_text(cls, source: Source) -> PersRM:
        value_head, config = read_value_head(source.folder), TextConfig.load(source.folder)
        if value_head is None:
            raise ModelLoadError(
                f"No PersRM in {str(source.folder)!r}: there is no {CONFIG_NAME} (a head), no {ADAPTER_CONFIG} (an "
                f"adapter), and no {' and '.join(VALUE_HEAD_KEYS)} in {', '.join(VALUE_HEAD_FILES)} or the model's "
                "shards."
            )
        model, tokenizer = source.load_own()
        reference, theirs = (None, None) if source.base is None else source.load_base(source.base)
        return cls(
            model,
            tokenizer,
            value_head=value_head,
            reference=reference,
            reference_tokenizer=theirs,
            config=config,
        )

    def save_pretrained(self, folder: str | Path, **kwargs: Any) -> None:
        """Write what `from_pretrained` reads. A head or adapter is saved alone; its base stays where it is.

        Args:
            kwargs: passed to transformers for a merged text PersRM (`max_shard_size`, …).
        """
        folder = absolute(folder)
        if self.head is not None:
            self.head.save_pretrained(folder)
            return
        folder.mkdir(parents=True, exist_ok=True)
        if self.adapter is not None:
            if self.adapter.folder is None:
                raise InvalidRequestError("The adapter was not loaded from a folder. Save it with PEFT, or merge() it.")
            for name in (ADAPTER_CONFIG, ADAPTER_WEIGHTS):
                shutil.copyfile(self.adapter.folder / name, folder / name)
        else:
            self.backbone.model.save_pretrained(folder, **kwargs)
        self.tokenizer.save_pretrained(folder)
        self.config.save(folder)
        if self.value_head is not None:
            write_value_head(self.value_head, folder)
        elif self.adapter is None:
            write_value_head(identity_value_head(self.backbone.hidden_size), folder)

    def push_to_hub(self, repo_id: str, *, private: bool = True, token: str | None = None) -> str:
        """Upload what `save_pretrained` writes, and return the address.

        Args:
            repo_id: "owner/name" on the hub.
            private: whether the repository is made private; one that exists stays as it is.
            token: for the hub; None means the one that is logged in.
        """
        from huggingface_hub import HfApi

        api = HfApi(token=token)
        address = str(api.create_repo(repo_id, private=private, exist_ok=True))
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder)
            api.upload_folder(repo_id=repo_id, folder_path=folder)
        return address

    def merge(self) -> PersRM:
        """The same text PersRM without an adapter: the LoRA is added to a copy of its backbone, W and b stay apart.

        Raises:
            InvalidRequestError: this PersRM has no adapter.
        """
        if self.adapter is None:
            raise InvalidRequestError(f"There is no adapter to merge in this {self.kind} PersRM.")
        return PersRM(
            self.adapter.merged(self.backbone.model),
            self.tokenizer,
            value_head=copy.deepcopy(self.value_head),
            reference=self.backbone,
            config=self.config,
        )

    @property
    def judge(self) -> PersRM | SignScorer | None:
        """What a memory can have as its scorer; None: the base is on a server, so that nothing here judges answers."""
        return self.memory_scorer if isinstance(self.backbone, RemoteBase) else self

    def as_guide(self) -> Guide:
        """The same PersRM as a guide for `TorchEngine(base, tokenizer, guide)`."""
        return self._guide

    def guide_on(self, base: Backbone, prompts: Prompts) -> Guide:
        """`as_guide` for a base whose tokenizer may be another: a text PersRM then compares candidates as bytes."""
        return self._guide if self._text_guide is None else fitting_guide(self._text_guide, base, prompts)

    def tell(self, preferences: Sequence[WeightedPreference]) -> list[tuple[str, float]]:
        """In which words the base should be told preferences: (text, weight) of those it should be told at all.

        A head may know words that its base heeds better than the user's own (see `HeadConfig.tellings`).
        """
        if isinstance(self._guide, HeadGuide):
            return self._guide.tell(preferences)
        return [(preference.text, preference.weight) for preference in preferences]

    def routes(self, preferences: Sequence[WeightedPreference]) -> list[Route]:
        """The way that this PersRM recommends for each preference.

        "guide" steers, "prompt" tells the base in its prompt, "both" does both. A text PersRM reads any preference. A
        head knows some: one that its own reader finds no pole in goes to the prompt, and does not steer.

        Raises:
            InvalidRequestError: a head's embedding has another shape or is not finite.
        """
        known: Route = "both" if self._guide.recommended.condition_base else "guide"
        if not isinstance(self._guide, HeadGuide) or not preferences:
            return [known for _ in preferences]
        return [known if sure >= KNOWN else "prompt" for sure in self._guide.certainty(preferences)]

    def score(self, prompt: Prompt, response: str, preferences: Sequence[str] | np.ndarray) -> np.ndarray:
        """Reward of a response under each preference: Σ_t [log softmax_V(q) − log softmax_V(ref)], the end of the turn
        included. A head's is exact up to a vocabulary of 1,024, and within about 0.1 nats above (see
        `token_rewards.head_rewards`).

        Args:
            prompt, response: one user message, or a conversation as chat-template dicts, and the answer to it.
            preferences: P texts, or for a head their embeddings [P, E].

        Returns:
            [P] float64 nats.

        Raises:
            ContextLengthError: prompt and response are longer than the model's context.
        """
        return self.score_many([(prompt, response)], preferences)[0]

    __call__ = score

    def score_many(self, pairs: Sequence[tuple[Prompt, str]], preferences: Sequence[str] | np.ndarray) -> np.ndarray:
        """`score` for N (prompt, response) pairs, batched: [N, P] float64 nats."""
        if len(pairs) == 0 or len(preferences) == 0:
            return np.zeros((len(pairs), len(preferences)))
        return np.stack([rewards_PT.sum(-1) for rewards_PT in self._token_rewards(pairs, preferences)])

    def score_tokens(self, prompt: Prompt, response: str, preferences: Sequence[str] | np.ndarray) -> TokenRewards:
        """`score`, token by token: which words please a preference and which do not.

        Returns:
            the texts of the T tokens and their rewards [P, T], float64 nats.
        """
        ids = answer_ids(self.prompts, prompt, response)[1]
        texts = tuple(self.tokenizer.decode([token]) for token in ids)
        if len(preferences) == 0:
            return TokenRewards(texts, np.zeros((0, len(ids))))
        return TokenRewards(texts, self._token_rewards([(prompt, response)], preferences)[0])

    @property
    def features_maker(self) -> str | None:
        """Stands for what `features` mean; None where there are none, as this PersRM is no head or takes no taste."""
        return self._guide.features_maker if isinstance(self._guide, HeadGuide) else None

    def features(self, pairs: Sequence[tuple[Prompt, str]]) -> np.ndarray:
        """What N answers are in all directions of a head, with a name or without: [N, R] float64.

        It is the gradient of an answer's reward with respect to the gate, at no gate, over the root of its tokens. What
        makes it more or less harmful is taken out of it, so that nobody's taste is learned from that.

        Raises:
            InvalidRequestError: this PersRM is no head.
        """
        if not isinstance(self._scorer, HeadScorer):
            raise InvalidRequestError(f"Only a head has features, but this PersRM is of kind {self.kind!r}.")
        features_NR = self._scorer.gradients(pairs)
        dismiss_helpers()
        return features_NR

    @torch.inference_mode()
    def _token_rewards(
        self, pairs: Sequence[tuple[Prompt, str]], preferences: Sequence[str] | np.ndarray
    ) -> list[np.ndarray]:
        """[P, T] for each pair."""
        rewards = self._scorer(pairs, preferences)
        dismiss_helpers()
        return rewards


def _place_value_head(value_head: torch.nn.Linear, backbone: Backbone) -> None:
    if value_head.weight.shape != (backbone.hidden_size,) * 2:
        shape, size = tuple(value_head.weight.shape), backbone.hidden_size
        raise IncompatibleModelError(
            f"The value head has shape {shape}, but the model's hidden size is {size}. Both come from one checkpoint."
        )
    value_head.to(device=backbone.head.weight.device, dtype=torch.float32).eval()
