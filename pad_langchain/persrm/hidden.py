"""Hidden states of answers, many sequences a forward, what they begin with in common run once."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from transformers import DynamicCache

from pad_langchain.errors import ContextLengthError
from pad_langchain.models.adapter import Adapter
from pad_langchain.models.backbone import Backbone

__all__ = ["Answer", "answers", "blocks"]

TOKENS_AT_ONCE = 8192  # of a forward
TOKENS_AT_ONCE_CPU = 512  # a thread; what a layer makes of them stays in the cache
WORTH_SHARING = 12  # tokens; a shorter common beginning costs more to share than to run again


@dataclass(frozen=True, eq=False)
class Answer:
    """One answer: its place in the list, its tokens [T], and the hidden state [T, D] each was predicted from."""

    index: int
    tokens_T: torch.Tensor
    hidden_TD: torch.Tensor


def blocks(answers: Sequence[Answer], size: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Pieces of `size` tokens of the answers, one answer after the other: (hidden [T', D], tokens [T', 1])."""
    hidden_TD = torch.cat([answer.hidden_TD for answer in answers])
    tokens_T1 = torch.cat([answer.tokens_T for answer in answers])[:, None]
    return zip(hidden_TD.split(size), tokens_T1.split(size), strict=True)


def answers(
    backbone: Backbone,
    pairs: Sequence[tuple[list[int], list[int]]],
    *,
    adapter: Adapter | None = None,
    share: int = 1,
) -> Iterator[list[Answer]]:
    """Hidden states of answers, those of one forward at a time, in any order.

    Args:
        pairs: token ids of (prompt, answer).
        adapter: acts in these forwards.
        share: so many pairs in a row have alike prompts; what they begin with in common is run once for all.

    Raises:
        ContextLengthError: a pair is longer than the model's context.
    """
    for prompt, response in pairs:
        if backbone.context is not None and len(prompt) + len(response) > backbone.context:
            raise ContextLengthError(
                f"Prompt ({len(prompt)} tokens) and response ({len(response)}) have to fit the model's context of "
                f"{backbone.context} together. Shorten the conversation."
            )
    if share > 1:
        groups = [list(range(start, start + share)) for start in range(0, len(pairs), share)]
    else:
        groups = [sorted(range(len(pairs)), key=lambda index: sum(map(len, pairs[index])))]
    for group in groups:
        shares = share > 1 and hasattr(backbone, "decoder")  # llama.cpp keeps no torch cache
        common = _common([pairs[index][0][:-1] for index in group]) if shares else []
        with torch.inference_mode(), adapter.on() if adapter is not None else nullcontext():
            begun = _begin(backbone, common)
        for rows in _portions([(index, *pairs[index]) for index in group], len(common), backbone.device):
            with torch.inference_mode(), adapter.on() if adapter is not None else nullcontext():
                found = list(_run(backbone, rows, len(common), begun))
            yield found


def _common(prompts: Sequence[list[int]]) -> list[int]:
    """What all prompts begin with, or nothing where sharing is not worth it."""
    first, last = min(prompts), max(prompts)
    size = next((n for n, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    return first[:size] if size >= WORTH_SHARING else []


def _begin(backbone: Backbone, common: Sequence[int]) -> DynamicCache | None:
    """Keys and values of what all rows begin with."""
    if not common:
        return None
    cache = DynamicCache(config=backbone.model.config)
    backbone.decoder(input_ids=torch.tensor([common], device=backbone.device), past_key_values=cache, use_cache=True)
    return cache


def _portions(
    rows: Sequence[tuple[int, list[int], list[int]]], skipped: int, device: torch.device
) -> Iterator[list[tuple[int, list[int], list[int]]]]:
    """Rows of a forward each: as many as leave it within its tokens, padding included, and at least one."""
    limit = TOKENS_AT_ONCE
    if device.type == "cpu":
        limit = min(limit, TOKENS_AT_ONCE_CPU * torch.get_num_threads())
    part: list[tuple[int, list[int], list[int]]] = []
    width = 0
    for row in rows:
        wider = max(width, len(row[1]) + len(row[2]) - skipped)
        if part and wider * (len(part) + 1) > limit:
            yield part
            part, wider = [], len(row[1]) + len(row[2]) - skipped
        part.append(row)
        width = wider
    if part:
        yield part


def _run(
    backbone: Backbone, rows: Sequence[tuple[int, list[int], list[int]]], skipped: int, begun: DynamicCache | None
) -> Iterator[Answer]:
    device = backbone.device
    texts = [(prompt + answer)[skipped:] for _, prompt, answer in rows]
    width = max(map(len, texts))
    ids_BT = torch.tensor([text + [0] * (width - len(text)) for text in texts], device=device)
    cache = copy.deepcopy(begun)
    if cache is not None:
        cache.batch_repeat_interleave(len(rows))
    # Without a mask: padding comes last, and no token reads what is behind it.
    if cache is None:
        hidden_BTD = backbone.hidden(ids_BT)
    else:
        hidden_BTD = backbone.decoder(input_ids=ids_BT, past_key_values=cache, use_cache=True).last_hidden_state
    for (index, prompt, answer), ids_T, hidden_TD in zip(rows, ids_BT, hidden_BTD, strict=True):
        first = len(prompt) - skipped
        place = hidden_TD.device
        yield Answer(
            index, ids_T[first : first + len(answer)].to(place), hidden_TD[first - 1 : first - 1 + len(answer)]
        )
