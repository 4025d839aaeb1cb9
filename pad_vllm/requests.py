"""What a request asks for: flat keys of `SamplingParams.extra_args`, over HTTP those of `vllm_xargs`.

| key | what | where it is not said |
|---|---|---|
| pad_gate | R numbers, the sum of the weighted gates of its preferences | the request is plain |
| pad_beta | guidance strength | as the head recommends |
| pad_alpha | plausibility cut in [0, 1] | as the head recommends |
| pad_top_k | candidates a token | as the head recommends, else 10 |
| pad_head | the head's name, where there are several | the only one |
| pad_repetition_penalty | what tokens cost that the answer has already, 1 or more | 1, which is nothing |
| pad_no_repeat_ngram | so many tokens in a row are written once only | 0, which forbids nothing |

The last two hold with a gate and without. Only the answer's own tokens count, not those of the prompt.

The same function refuses a request in the front end and reads it in a worker.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from pad_vllm.arithmetic.repeats import Repeats
from pad_vllm.heads import Head, Heads

__all__ = ["KEYS", "Guidance", "read_guidance", "read_repeats"]

PENALTIES = ("pad_repetition_penalty", "pad_no_repeat_ngram")
KEYS = ("pad_gate", "pad_beta", "pad_alpha", "pad_top_k", "pad_head", *PENALTIES)
TOP_K = 10
TOP_K_AT_MOST = 1000  # rows of the output matrix a token, which take memory
PENALTY_AT_MOST = 1e6  # as our engine has it
BETA_AT_MOST = 1e6  # beyond it a float32 score loses the base's part


@dataclass(frozen=True, eq=False)
class Guidance:
    """How a request is steered.

    Args:
        head: with which head.
        gate_R: its gate, in float32 and not zero.
        beta: guidance strength, not 0.
        alpha: plausibility cut in [0, 1].
        top_k: candidates a token, 1 to the vocabulary's size or 1000.
    """

    head: Head
    gate_R: np.ndarray
    beta: float
    alpha: float
    top_k: int


def read_guidance(extra_args: Mapping[str, Any] | None, heads: Heads) -> Guidance | None:
    """Read how a request is steered.

    Returns:
        None for one that is not: it has no gate, a gate of zeros, or beta 0.

    Raises:
        ValueError: a value is of another kind or out of its range. The message says what is allowed.
    """
    said = {key: value for key, value in (extra_args or {}).items() if key.startswith("pad_")}
    if unknown := sorted(said.keys() - set(KEYS)):
        raise ValueError(
            f"The keys of guidance are {', '.join(KEYS)}, but {', '.join(unknown)!r:.200} is none of them."
        )
    if not (steering := said.keys() - set(PENALTIES)):
        return None
    if "pad_gate" not in said:
        raise ValueError(f"{', '.join(sorted(steering))} without pad_gate says nothing. Send a gate, or none of them.")
    name = said.get("pad_head")
    if name is not None and not isinstance(name, str):
        _refuse("pad_head", name, "the name of a head")
    head = heads.get(name)
    config = head.config
    beta = _number("pad_beta", said.get("pad_beta", config.beta), -BETA_AT_MOST, BETA_AT_MOST)
    alpha = _number("pad_alpha", said.get("pad_alpha", config.alpha), 0.0, 1.0)
    most = min(TOP_K_AT_MOST, config.vocab_size)
    top_k = said.get("pad_top_k", min(config.top_k or TOP_K, most))
    if type(top_k) is not int or not 1 <= top_k <= most:
        _refuse("pad_top_k", top_k, f"an integer from 1 to {most}")
    gate_R = _gate(said["pad_gate"], head)
    return Guidance(head, gate_R, beta, alpha, top_k) if beta and gate_R.any() else None


def read_repeats(extra_args: Mapping[str, Any] | None) -> Repeats | None:
    """Read what the repeats of a request's answer cost.

    Returns:
        None where they cost nothing.

    Raises:
        ValueError: a value is of another kind or out of its range. The message says what is allowed.
    """
    penalty, ngram = ((extra_args or {}).get(key, neutral) for key, neutral in zip(PENALTIES, (1.0, 0), strict=True))
    penalty = _number("pad_repetition_penalty", penalty, 1.0, PENALTY_AT_MOST)
    if type(ngram) is not int or ngram < 0:
        _refuse("pad_no_repeat_ngram", ngram, "an integer of 0 or more")
    return Repeats.of(penalty, ngram)


def _gate(value: Any, head: Head) -> np.ndarray:
    rank, bound = head.config.rank, head.gate_bound
    allowed = f"{rank} numbers from {-bound:g} to {bound:g}, as the head {head.name!r} has them"
    if not isinstance(value, list | tuple) or len(value) != rank:
        size = f"{len(value)} values" if isinstance(value, list | tuple) else repr(value)
        raise ValueError(f"pad_gate has to be {allowed}, but is {size:.200}.")
    for index, each in enumerate(value):
        # One part in a million: a client scales into the bound in float32.
        _number(f"pad_gate[{index}]", each, -bound * (1 + 1e-6), bound * (1 + 1e-6))
    return np.array(value, dtype=np.float32)


def _number(name: str, value: Any, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        _refuse(name, value, f"a number from {low:g} to {high:g}")
    return float(value)


def _refuse(name: str, got: Any, allowed: str) -> NoReturn:
    shown = f"an integer of {got.bit_length()} bits" if _is_long(got) else f"{got!r:.200}"
    raise ValueError(f"{name} has to be {allowed}, but is {shown}.")


def _is_long(value: Any) -> bool:
    return isinstance(value, int) and abs(value).bit_length() > 1000  # Python prints no integer of 4300 digits
