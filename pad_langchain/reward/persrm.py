"""The personalised reward model, PersRM: load, save, score, and become a guide.

Two kinds under one class. A *head* reads the base's own hidden states. A *text* PersRM is a causal LM that is told the
preference in its prompt and whose last hidden state goes through W and b before its lm_head; the authors' checkpoint
layout is read: merged weights with `v_head.summary.{weight,bias}` beside or inside them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from pad_langchain.engine.backbone import Backbone
from pad_langchain.engine.guides import Embedder, Guide, HeadGuide, ModelGuide
from pad_langchain.engine.loading import load_causal_lm, load_tokenizer
from pad_langchain.engine.prompts import PERSRM_TEMPLATE, SELF_TEMPLATE, Prompts, with_preference
from pad_langchain.errors import ContextLengthError, IncompatibleModelError, InvalidRequestError, ModelLoadError
from pad_langchain.reward.head import CONFIG_NAME, VectorHead
from pad_memory.scoring import Calibration

__all__ = ["PersRM", "guide_for", "merge_value_head"]

VALUE_HEAD_FILES = ("value_head.safetensors", "value_head.bin")
VALUE_HEAD_KEYS = ("v_head.summary.weight", "v_head.summary.bias")
ROWS_AT_ONCE = 16  # sequences a scoring forward
LOGITS_AT_ONCE = 2**23  # float32 numbers a block of full-vocabulary logits

Prompt = str | Sequence[dict[str, Any]]


class PersRM:
    """A personalised reward model with the tokenizer and models it needs.

    Make one with `PersRM.from_pretrained`. It is a memory's scorer: `persrm(prompt, response, preferences) → [P]` in
    nats. Scoring only reads the weights, so it may run in any thread while an engine decodes with the same model.

    Args:
        model: the causal LM (or its `Backbone`): the base for a head, the PersRM's own for a text PersRM.
        tokenizer: the model's.
        head: makes it a head PersRM.
        value_head: W and b of a text PersRM, a linear map [D, D]; None is the identity.
        reference: the model that a text PersRM is compared with, not told the preference; None compares with the
            PersRM's own backbone and W = identity, told the preference.
        embedder: embeds preferences for a head; None loads the sentence embedder the head names, when first needed.
        template: how a text PersRM is told a preference.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        head: VectorHead | None = None,
        value_head: torch.nn.Linear | None = None,
        reference: Backbone | None = None,
        embedder: Embedder | None = None,
        template: str = PERSRM_TEMPLATE,
    ) -> None:
        self.backbone = model if isinstance(model, Backbone) else Backbone(model)
        self.tokenizer, self.prompts = tokenizer, Prompts(tokenizer)
        self.head, self.value_head, self.reference = head, value_head, reference
        self.template = template
        self.kind: Literal["head", "text"] = "text" if head is None else "head"
        # What a preference memory should make of this PersRM's margins; None: its defaults.
        self.calibration: Calibration | None = None
        device = self.backbone.head.weight.device
        self._guide: HeadGuide | ModelGuide
        if head is not None:
            self._guide = HeadGuide(head, embedder or _sentence_embedder(head.config.embedder))
            self._guide.bind(self.backbone, self.prompts)
            if head.config.calibration is not None:
                self.calibration = Calibration.from_dict(head.config.calibration)
        else:
            if value_head is not None:
                if value_head.weight.shape != (self.backbone.hidden_size,) * 2:
                    raise IncompatibleModelError(
                        f"The value head has shape {tuple(value_head.weight.shape)}, but the model's hidden size is "
                        f"{self.backbone.hidden_size}. Both must come from one checkpoint."
                    )
                value_head.to(device=device, dtype=torch.float32).eval()
            self._guide = ModelGuide(self.backbone, self.prompts, value_head, template=template)

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
    ) -> PersRM:
        """Load a PersRM; which kind it is, its files tell.

        Args:
            path: a folder with `persrm_head.json` (a head), or one with a causal LM and its `v_head` (text); or a hub
                id.
            base: hub id, folder, loaded model or `Backbone`. A head needs it; for a text PersRM it becomes the
                reference of scores.
            tokenizer: for a base that is already loaded; a text PersRM brings its own.

        Raises:
            ModelLoadError: a file is missing or not readable.
            IncompatibleModelError: the parts do not fit each other.
        """
        folder = _folder(path)
        if (folder / CONFIG_NAME).exists():
            head = VectorHead.from_pretrained(folder)
            if base is None:
                raise InvalidRequestError(
                    f"{str(path)!r} is a PersRM head and reads its base's hidden states: pass base= (hub id, folder "
                    f"or loaded model)."
                )
            if not isinstance(base, Backbone):
                base, tokenizer = load_causal_lm(base, tokenizer, device=device, dtype=dtype)
            return cls(base, tokenizer, head=head, embedder=embedder)
        value_head = _read_value_head(folder)
        model, own_tokenizer = load_causal_lm(folder, load_tokenizer(folder), device=device, dtype=dtype)
        reference = None
        if base is not None:
            if not isinstance(base, Backbone):
                base, tokenizer = load_causal_lm(base, tokenizer, device=device, dtype=dtype)
                base = Backbone(base)
            reference = base
        persrm = cls(model, own_tokenizer, value_head=value_head, reference=reference)
        if reference is not None:
            persrm._guide.bind(reference, Prompts(tokenizer))
        return persrm

    def save_pretrained(self, folder: str | Path) -> None:
        """Write what `from_pretrained` reads. A head is saved alone; its base stays where it is."""
        folder = Path(folder)
        if self.head is not None:
            self.head.save_pretrained(folder)
            return
        self.backbone.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        size = self.backbone.hidden_size
        weight_DD = torch.eye(size) if self.value_head is None else self.value_head.weight.detach().cpu()
        bias_D = torch.zeros(size) if self.value_head is None else self.value_head.bias.detach().cpu()
        tensors = dict(zip(VALUE_HEAD_KEYS, (weight_DD.contiguous(), bias_D.contiguous()), strict=True))
        save_file(tensors, folder / VALUE_HEAD_FILES[0])

    @cached_property
    def _features_RV(self) -> torch.Tensor:
        """What each feature adds to the logits: those of a steered state are the plain one's + (U h ⊙ g) @ this."""
        assert self.head is not None
        rows = self.backbone.head.weight.detach().split(16384)
        return torch.cat([self.head.V_DR.detach().T @ rows_VD.float().T for rows_VD in rows], dim=1)

    def as_guide(self) -> Guide:
        """The same PersRM as a guide for `Engine(base, tokenizer, guide)`."""
        return self._guide

    def score(self, prompt: Prompt, response: str, preferences: Sequence[str] | np.ndarray) -> np.ndarray:
        """Reward of a response under each preference: Σ_t [log softmax_V(q) − log softmax_V(ref)], the end of the turn
        included.

        Args:
            prompt: one user message, or a conversation as chat-template dicts.
            response: the answer to it.
            preferences: P texts, or for a head their embeddings [P, E].

        Returns:
            [P] float64 nats.

        Raises:
            ContextLengthError: prompt and response are longer than the model's context.
        """
        return self.score_many([(prompt, response)], preferences)[0]

    __call__ = score

    @torch.inference_mode()
    def score_many(self, pairs: Sequence[tuple[Prompt, str]], preferences: Sequence[str] | np.ndarray) -> np.ndarray:
        """`score` for N (prompt, response) pairs, batched: [N, P] float64 nats."""
        if len(pairs) == 0 or len(preferences) == 0:
            return np.zeros((len(pairs), len(preferences)))
        if self.head is not None:
            return self._score_head(pairs, self._gates(self.head, preferences))
        if isinstance(preferences, np.ndarray) and preferences.dtype.kind == "f":
            raise InvalidRequestError("A text PersRM reads preferences as words, but got embeddings. Pass the texts.")
        return self._score_text(pairs, [str(preference) for preference in preferences])

    def _gates(self, head: VectorHead, preferences: Sequence[str] | np.ndarray) -> torch.Tensor:
        """Preferences → gates [P, R]."""
        assert isinstance(self._guide, HeadGuide)
        if not (isinstance(preferences, np.ndarray) and preferences.dtype.kind == "f"):
            preferences = self._guide.embed([str(preference) for preference in preferences])
        vectors_PE = np.asarray(preferences, dtype=np.float32)
        if vectors_PE.ndim != 2 or vectors_PE.shape[1] != head.config.embedding_size:
            raise InvalidRequestError(
                f"Preference embeddings have to be [P, {head.config.embedding_size}], but are {list(vectors_PE.shape)}."
            )
        return head.gates(torch.from_numpy(vectors_PE).to(head.U_RD.device))

    def _score_head(self, pairs: Sequence[tuple[Prompt, str]], gates_PR: torch.Tensor) -> np.ndarray:
        assert self.head is not None
        backbone, scores_NP = self.backbone, np.zeros((len(pairs), len(gates_PR)))
        for answer in _answers(backbone, [self._ids(self.prompts, *pair) for pair in pairs]):
            block = max(1, LOGITS_AT_ONCE // (backbone.vocab_size * len(gates_PR)))
            for start in range(0, len(answer.tokens_T), block):
                hidden_TD = answer.hidden_TD[start : start + block]
                tokens_T1 = answer.tokens_T[start : start + block, None]
                plain_TV = backbone.head(hidden_TD).float()
                features_TR = hidden_TD.to(self.head.U_RD.dtype) @ self.head.U_RD.T
                steered_PTV = plain_TV + (features_TR * gates_PR[:, None]) @ self._features_RV
                guide_PT = _logprobs(backbone.finish(steered_PTV), tokens_T1.expand(len(gates_PR), -1, -1))
                base_T = _logprobs(backbone.finish(plain_TV), tokens_T1)
                scores_NP[answer.index] += (guide_PT - base_T).double().sum(-1).cpu().numpy()
        return scores_NP

    def _score_text(self, pairs: Sequence[tuple[Prompt, str]], preferences: Sequence[str]) -> np.ndarray:
        told = [self._ids(self.prompts, *pair, preference) for pair in pairs for preference in preferences]
        guide_M = np.zeros(len(told))
        own_M = np.zeros(len(told))
        for answer in _answers(self.backbone, told):
            for hidden_TD, tokens_T1 in answer.blocks(self.backbone.vocab_size):
                steered_TD = hidden_TD if self.value_head is None else self.value_head(hidden_TD.float())
                guide_M[answer.index] += float(_logprobs(self.backbone.logits(steered_TD), tokens_T1).double().sum())
                if self.reference is None:
                    own_M[answer.index] += float(_logprobs(self.backbone.logits(hidden_TD), tokens_T1).double().sum())
        scores_NP = (guide_M - own_M).reshape(len(pairs), len(preferences))
        if self.reference is not None:
            for answer in _answers(self.reference, [self._ids(self.prompts, *pair) for pair in pairs]):
                for hidden_TD, tokens_T1 in answer.blocks(self.reference.vocab_size):
                    logprob = float(_logprobs(self.reference.logits(hidden_TD), tokens_T1).double().sum())
                    scores_NP[answer.index] -= logprob
        return scores_NP

    def _ids(
        self, prompts: Prompts, prompt: Prompt, response: str, preference: str | None = None
    ) -> tuple[list[int], list[int]]:
        """Token ids of the prompt and of the response with its end of turn."""
        messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)
        if preference is not None:
            messages = with_preference(messages, preference, self.template)
        end = [] if self.tokenizer.eos_token_id is None else [self.tokenizer.eos_token_id]
        return prompts.render(messages), prompts.encode(response) + end


class _Answer:
    """One response: its place in the list, its tokens [T], and the hidden state [T, D] each was predicted from."""

    def __init__(self, index: int, tokens_T: torch.Tensor, hidden_TD: torch.Tensor) -> None:
        self.index, self.tokens_T, self.hidden_TD = index, tokens_T, hidden_TD

    def blocks(self, vocab_size: int) -> Any:
        """Pieces small enough for full-vocabulary logits: (hidden [T', D], tokens [T', 1])."""
        block = max(1, LOGITS_AT_ONCE // vocab_size)
        return zip(self.hidden_TD.split(block), self.tokens_T[:, None].split(block), strict=True)


def merge_value_head(
    lm_head_VD: torch.Tensor, weight_DD: torch.Tensor, bias_D: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Fold W and b into the head: a plain causal LM then gives q.

    Returns:
        lm_head' = lm_head @ W, [V, D], and the constant logits lm_head @ b, [V]; both float32.
    """
    lm_head_VD = lm_head_VD.float()
    return lm_head_VD @ weight_DD.float(), lm_head_VD @ bias_D.float()


def guide_for(
    reward_model: Any | None,
    base: Backbone,
    tokenizer: Any,
    *,
    device: str = "auto",
    dtype: Any = "auto",
    embedder: Embedder | None = None,
) -> tuple[PersRM | None, Guide | None]:
    """PersRM and guide for a base from whatever may be passed as `reward_model` (see `Engine.from_pretrained`)."""
    if reward_model is None:
        return None, None
    if isinstance(reward_model, str) and reward_model == "self":
        persrm = PersRM(base, tokenizer, reference=base, template=SELF_TEMPLATE)
    elif isinstance(reward_model, PersRM):
        persrm = reward_model
    elif isinstance(reward_model, VectorHead):
        persrm = PersRM(base, tokenizer, head=reward_model, embedder=embedder)
    elif isinstance(reward_model, str | Path):
        persrm = PersRM.from_pretrained(
            reward_model, base=base, tokenizer=tokenizer, embedder=embedder, device=device, dtype=dtype
        )
    else:
        raise InvalidRequestError(
            f"reward_model has to be a folder or hub id, 'self', a PersRM, a VectorHead or None, but is "
            f"{reward_model!r}."
        )
    return persrm, persrm.as_guide()


def _logprobs(logits: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """log softmax over the full vocabulary at one token a position: [..., T, V] and [..., T, 1] → [..., T]."""
    return logits.gather(-1, tokens)[..., 0] - logits.logsumexp(-1)


def _answers(backbone: Backbone, pairs: Sequence[tuple[list[int], list[int]]]) -> Any:
    """Hidden states of responses, a few sequences a forward, those of like length together; yields `_Answer`s."""
    for prompt, response in pairs:
        if backbone.context is not None and len(prompt) + len(response) > backbone.context:
            raise ContextLengthError(
                f"Prompt ({len(prompt)} tokens) and response ({len(response)}) have to fit the model's context of "
                f"{backbone.context} together. Shorten the conversation."
            )
    order = sorted(range(len(pairs)), key=lambda index: sum(map(len, pairs[index])))
    for start in range(0, len(order), ROWS_AT_ONCE):
        group = order[start : start + ROWS_AT_ONCE]
        rows = [pairs[index][0] + pairs[index][1] for index in group]
        width = max(map(len, rows))
        ids_BT = torch.tensor([row + [0] * (width - len(row)) for row in rows], device=backbone.device)
        lengths_B1 = torch.tensor([[len(row)] for row in rows], device=backbone.device)
        mask_BT = torch.arange(width, device=backbone.device) < lengths_B1
        hidden_BTD = backbone.hidden(ids_BT, None if bool(mask_BT.all()) else mask_BT)
        for index, ids_T, hidden_TD in zip(group, ids_BT, hidden_BTD, strict=True):
            prompt, response = pairs[index]
            first, last = len(prompt), len(prompt) + len(response)
            device = hidden_TD.device
            yield _Answer(index, ids_T[first:last].to(device), hidden_TD[first - 1 : last - 1])


def _sentence_embedder(name: str) -> Embedder:
    """The default embedder; it loads its own model at the first text."""
    from pad_memory.embedding import SentenceEmbedder

    return SentenceEmbedder(name)


def _folder(path: str | Path) -> Path:
    """A local folder as it is, a hub id as the folder of its snapshot."""
    if Path(path).is_dir():
        return Path(path)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        return Path(snapshot_download(str(path)))
    except (OSError, ValueError, HfHubHTTPError, HFValidationError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelLoadError(
            f"The PersRM {str(path)!r} is neither a folder nor a hub id that is reachable or cached: {reason} Pass a "
            f"folder "
            f"with {CONFIG_NAME} (a head), or with a causal LM and its v_head."
        ) from error


def _read_value_head(folder: Path) -> torch.nn.Linear:
    """W and b from value_head.safetensors, value_head.bin, or the model's own shards."""
    tensors: dict[str, torch.Tensor] = {}
    try:
        for file in sorted(folder.glob("*.safetensors")):
            with safe_open(file, framework="pt") as opened:
                held = set(opened.keys())
                tensors |= {key: opened.get_tensor(key) for key in VALUE_HEAD_KEYS if key in held}
        for file in [folder / VALUE_HEAD_FILES[1], *sorted(folder.glob("pytorch_model*.bin"))]:
            if len(tensors) < 2 and file.exists():
                loaded = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
                tensors |= {key: loaded[key] for key in VALUE_HEAD_KEYS if key in loaded}
    except Exception as error:
        raise ModelLoadError(f"The value head in {str(folder)!r} does not read: {error}") from error
    if len(tensors) < 2:
        raise ModelLoadError(
            f"No PersRM in {str(folder)!r}: there is no {CONFIG_NAME} (a head), and no "
            f"{' and '.join(VALUE_HEAD_KEYS)} in "
            f"{', '.join(VALUE_HEAD_FILES)} or the model's shards (a text PersRM)."
        )
    weight_DD, bias_D = (tensors[key].float() for key in VALUE_HEAD_KEYS)
    value_head = torch.nn.Linear(weight_DD.shape[1], weight_DD.shape[0])
    with torch.no_grad():
        value_head.weight.copy_(weight_DD)
        value_head.bias.copy_(bias_D)
    return value_head.requires_grad_(False)
