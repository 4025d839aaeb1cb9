"""Layer 3 of the floor: the packaged sentence encoder, taught by low-rank changes to tell hostile wishes from others.

`recipes/values_classifier/train.py` makes `classifier.safetensors` from sentences of known intent. It holds several
members, taught from different seeds, that judge together: one alone errs more. The encoder is always the default
embedder's, whatever embedder the memory has: the floor is the same for everybody.
"""

from __future__ import annotations

import copy
import json
import logging
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from pad_memory.embedding import DEFAULT_MODEL, load_model
from pad_memory.errors import EmbedderError
from pad_memory.forks import FreshLock
from pad_memory.openmp import dismiss_helpers

__all__ = ["CLASSES", "WEIGHTS", "HostilityClassifier", "classifier", "hostility", "pooled"]

logger = logging.getLogger(__name__)


WEIGHTS = Path(__file__).with_name("classifier.safetensors")
CLASSES = ("allowed", "harm", "hate", "deception", "safety", "instructions")
LONGEST = 96  # tokens of a text that are read
TOGETHER = 32  # texts in one forward


class HostilityClassifier:
    """Scores texts by how hostile they are. Thread-safe.

    Args:
        path: the weights, of each member M: low-rank changes `M.NAME.A` [R, I] and `M.NAME.B` [O, R] of the encoder's
            linear layers, `M.head.weight` [C, 2E], `M.head.bias` [C]; and the threshold in the metadata.

    Raises:
        EmbedderError: the default encoder is neither installed nor to be fetched.
    """

    def __init__(self, path: Path = WEIGHTS) -> None:
        from safetensors import safe_open

        model = load_model(DEFAULT_MODEL)  # a copy of its own: it is changed
        plain, self._tokenizer = model[0].auto_model.eval(), model.tokenizer
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118 (not a mapping)
            self.threshold = float(json.loads(file.metadata()["threshold"]))
        members: dict[str, dict[str, Any]] = {}
        for name, tensor in tensors.items():
            member, _, rest = name.partition(".")
            members.setdefault(member, {})[rest] = tensor
        self._members = [_member(plain, each) for each in members.values()]
        self._lock = FreshLock()

    def logits(self, texts: Sequence[str]) -> np.ndarray:
        """Return the log probabilities of M texts over `CLASSES`, the mean over the members: float32 [M, C]."""
        import torch

        rows = []
        with self._lock, torch.inference_mode():
            for start in range(0, len(texts), TOGETHER):
                part = texts[start : start + TOGETHER]
                judged = [
                    (pooled(encoder, self._tokenizer, part) @ weight_CF.T + bias_C).log_softmax(-1)
                    for encoder, weight_CF, bias_C in self._members
                ]
                rows.append(torch.stack(judged).mean(0).numpy())
        dismiss_helpers()
        return np.concatenate(rows) if rows else np.zeros((0, len(CLASSES)), np.float32)

    def rules(self, texts: Sequence[Sequence[str]]) -> list[str | None]:
        """Return what the most hostile piece of each text asks for, of `CLASSES`; None where none is hostile enough."""
        pieces = sorted({piece for text in texts for piece in text}, key=len)  # of like length: little padding
        logits = dict(zip(pieces, self.logits(pieces), strict=True))
        return [self._rule(np.stack([logits[piece] for piece in text])) for text in texts]

    def _rule(self, logit_MC: np.ndarray) -> str | None:
        score_M = hostility(logit_MC)
        worst = int(score_M.argmax())
        return None if score_M[worst] <= self.threshold else CLASSES[1 + int(logit_MC[worst, 1:].argmax())]


@lru_cache(maxsize=1)
def classifier() -> HostilityClassifier | None:
    """The packaged classifier, loaded once per process; None, with a warning, where its encoder is not to be had."""
    try:
        return HostilityClassifier()
    except EmbedderError as error:
        logger.warning("Wishes are held to the rules of the floor only, without its classifier: %s", error)
        return None


def _member(plain: Any, tensors: Mapping[str, Any]) -> tuple[Any, Any, Any]:
    """Return a copy of the encoder with a member's changes, which shares the embeddings, and the head's two tensors."""
    import torch

    encoder = copy.deepcopy(plain, {id(plain.embeddings): plain.embeddings})
    with torch.inference_mode():
        for name, b_OR in tensors.items():
            if name.endswith(".B"):
                encoder.get_submodule(name[:-2]).weight += b_OR @ tensors[f"{name[:-2]}.A"]
    return encoder, tensors["head.weight"], tensors["head.bias"]


def hostility(logit_MC: np.ndarray) -> np.ndarray:
    """Return the log odds of any kind of hostility [M] from logits over `CLASSES` [M, C]."""
    odds_M: np.ndarray = np.logaddexp.reduce(logit_MC[:, 1:], axis=1) - logit_MC[:, 0]
    return odds_M


def pooled(encoder: Any, tokenizer: Any, texts: Sequence[str]) -> Any:
    """Return the mean and the maximum of the encoder's last states over each text's tokens: [M, 2E]."""
    import torch

    batch = tokenizer(list(texts), padding=True, truncation=True, max_length=LONGEST, return_tensors="pt")
    state_MTE = encoder(**batch).last_hidden_state
    real_MT1 = batch["attention_mask"][..., None]
    mean_ME = (state_MTE * real_MT1).sum(1) / real_MT1.sum(1)
    return torch.cat([mean_ME, state_MTE.masked_fill(real_MT1 == 0, -1e4).max(1).values], dim=-1)
