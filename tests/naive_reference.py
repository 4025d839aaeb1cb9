"""Guided decoding as the paper states it, plainly: one row, no cache, every prefix run anew, Python floats.

The engine is compared with this token for token; nothing here imports the engine.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

PERSRM_PROMPT = (
    "[Guidelines] Your task is to generate response by considering the following principle. "
    "[Principles] {} [Instruction] {}"
)


@dataclass
class NaiveHead:
    """The head guide: model is the base, so only head and embedder are needed."""

    head: Any
    embedder: Any


@dataclass
class NaiveText:
    """The text guide: its own model, and W (with bias) as a linear map.

    `reference_model` is what `reference="reference"` compares with; None: the model itself with W = identity.
    """

    model: Any
    value_head: Any
    reference_model: Any | None = None


def render(tokenizer: Any, user: str) -> list[int]:
    text = f"<|im_start|>user\n{user}<|im_end|>\n<|im_start|>assistant\n"
    return tokenizer.encode(text, add_special_tokens=False)


@torch.no_grad()
def naive_decode(
    model: Any,
    tokenizer: Any,
    user: str,
    guide: NaiveHead | NaiveText,
    preferences: Sequence[tuple[str, float]],
    *,
    beta: float,
    k: int,
    alpha: float,
    reference: str,
    combine: str,
    max_tokens: int,
    clip: float = math.inf,
    penalty: float = 1.0,
    ngram: int = 0,
) -> tuple[list[int], list[float]]:
    """Greedy tokens and the reward of each."""
    tokens: list[int] = []
    rewards: list[float] = []
    prompt = render(tokenizer, user)
    while len(tokens) < max_tokens:
        hidden, logits = forward(model, prompt + tokens)
        plain = logits.tolist()
        z = with_repeats(plain, tokens, penalty, ngram)
        if beta == 0:
            token, reward = max(range(len(z)), key=z.__getitem__), 0.0
        else:
            candidates = sorted(range(len(z)), key=lambda a: -z[a])[:k]
            candidates = [a for a in candidates if z[a] > -math.inf]
            if alpha > 0:
                best = softmax_at(z, candidates[0])
                candidates = [a for a in candidates if softmax_at(z, a) >= alpha * best]
            base = log_softmax([plain[a] for a in candidates])
            rows = guide_rows(
                model, tokenizer, user, tokens, hidden, guide, preferences, candidates, reference, combine
            )
            ratios = [
                [
                    weight * (q - r)
                    for q, r in zip(log_softmax(own), base if ref is None else log_softmax(ref), strict=True)
                ]
                for weight, own, ref in rows
            ]
            join = sum if combine == "sum" else max
            r = [min(max(join(column), -clip), clip) for column in zip(*ratios, strict=True)]
            scores = [z[a] + beta * r[i] for i, a in enumerate(candidates)]
            place = max(range(len(scores)), key=scores.__getitem__)
            token, reward = candidates[place], r[place]
        tokens.append(token)
        rewards.append(reward)
        if token == tokenizer.eos_token_id:
            break
    return tokens, rewards


def with_repeats(z: Sequence[float], tokens: Sequence[int], penalty: float, ngram: int) -> list[float]:
    """The logits after the answer's tokens cost their penalty and n-grams that it has are forbidden."""
    out = [(value / penalty if value > 0 else value * penalty) if a in tokens else value for a, value in enumerate(z)]
    if ngram:
        grams = [tuple(tokens[i : i + ngram]) for i in range(len(tokens) - ngram + 1)]
        last = tuple(tokens[len(tokens) - ngram + 1 :])
        left = [a for a in range(len(z)) if (*last, a) not in grams and out[a] > -math.inf]
        if left:
            out = [value if a in left else -math.inf for a, value in enumerate(out)]
    return out


def guide_rows(
    model: Any,
    tokenizer: Any,
    user: str,
    tokens: list[int],
    hidden: torch.Tensor,
    guide: NaiveHead | NaiveText,
    preferences: Sequence[tuple[str, float]],
    candidates: list[int],
    reference: str,
    combine: str,
) -> list[tuple[float, list[float], list[float] | None]]:
    """(weight, guide logits, own reference logits) a row."""
    if isinstance(guide, NaiveHead):
        head = guide.head
        gates = [head.gates(torch.from_numpy(guide.embedder.embed([text]))[0]) for text, _ in preferences]
        if combine == "sum":
            summed = sum(weight * gate for (_, weight), gate in zip(preferences, gates, strict=True))
            gated = [(1.0, summed)]
        else:
            gated = [(weight, gate) for (_, weight), gate in zip(preferences, gates, strict=True)]
        rows = []
        for weight, gate in gated:
            steered = hidden + head.V_DR @ ((head.U_RD @ hidden) * gate)
            rows.append((weight, model.lm_head(steered)[candidates].tolist(), None))
        return rows
    rows = []
    for text, weight in preferences:
        prompt = render(tokenizer, PERSRM_PROMPT.format(text, user))
        own_hidden, own_logits = forward(guide.model, prompt + tokens)
        steered = guide.value_head.weight @ own_hidden + guide.value_head.bias
        if guide.reference_model is not None:
            own_logits = forward(guide.reference_model, prompt + tokens)[1]
        own_reference = own_logits[candidates].tolist() if reference == "reference" else None
        rows.append((weight, guide.model.lm_head(steered)[candidates].tolist(), own_reference))
    return rows


def forward(model: Any, ids: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Last hidden state [D] and logits [V] of the last position, the whole sequence run without a cache."""
    hidden = model.model(input_ids=torch.tensor([ids]), use_cache=False).last_hidden_state[0, -1]
    return hidden, model.lm_head(hidden)


def log_softmax(values: Sequence[float]) -> list[float]:
    top = max(values)
    total = top + math.log(sum(math.exp(value - top) for value in values))
    return [value - total for value in values]


def softmax_at(values: Sequence[float], index: int) -> float:
    return math.exp(log_softmax(values)[index])
