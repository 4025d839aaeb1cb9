"""Pairs into token ids, the same ids that scoring and decoding use."""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pad_langchain.errors import InvalidRequestError, PadError
from pad_langchain.models.prompts import Prompts, with_preference
from pad_langchain.training.config import TrainConfig
from pad_langchain.training.data import BadRow, load_pairs, split_pairs
from pad_langchain.training.layouts import Message, Pair

__all__ = ["EncodedPair", "encode_pairs", "encode_sides"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EncodedPair:
    """Token ids of the prompt up to the answer, and of both answers with their end of turn."""

    prompt: list[int]
    chosen: list[int]
    rejected: list[int]
    source: Pair

    @property
    def preference(self) -> str:
        """What the chosen answer was chosen for."""
        return self.source.preference


def encode_pairs(
    pairs: Sequence[Pair],
    tokenizer: Any,
    *,
    template: str | None,
    max_length: int | None,
    truncate: bool = False,
    preference_dropout: float = 0.0,
    seed: int = 0,
) -> tuple[list[EncodedPair], list[BadRow]]:
    """Encode pairs; those that do not fit are left out and reported.

    Args:
        template: writes the preference into the last user message; None leaves it out (a head reads it elsewhere).
        max_length: tokens of prompt and longer answer at most; None is no limit.
        truncate: cut what is too long: the oldest turns, then the beginning of the last message.
        preference_dropout: share of pairs whose preference is left out of the prompt, drawn with `seed`.

    Returns:
        the encoded pairs, and a `BadRow` (its line is the pair's place, from 1) for each that was left out.

    Raises:
        InvalidRequestError: not one pair is left.
    """
    prompts, rng = Prompts(tokenizer), random.Random(seed)
    end = [] if prompts.turn_end is None else [prompts.turn_end]
    kept: list[EncodedPair] = []
    bad: list[BadRow] = []
    for place, pair in enumerate(pairs, 1):
        dropped = rng.random() < preference_dropout
        chosen, rejected = (prompts.encode(text) + end for text in (pair.chosen, pair.rejected))
        room = None if max_length is None else max_length - max(len(chosen), len(rejected))
        told = pair.preference if template and not dropped else ""
        try:
            prompt = _prompt(prompts, tokenizer, pair.messages, told, template or "", room, truncate)
        except PadError as error:
            bad.append(BadRow("pair", place, str(error)))
            continue
        if room is not None and len(prompt) > room:
            have = f"the prompt has {len(prompt)} tokens and the longer answer {max(len(chosen), len(rejected))}"
            bad.append(BadRow("pair", place, f"{have}, more than max_length {max_length}"))
        else:
            kept.append(EncodedPair(prompt, chosen, rejected, pair))
    if not kept:
        reason = bad[0].reason if bad else "there are none"
        raise InvalidRequestError(f"None of the {len(pairs)} pairs can be trained on: {reason}. Raise max_length.")
    return kept, bad


def _prompt(
    prompts: Prompts,
    tokenizer: Any,
    messages: Sequence[Message],
    preference: str,
    template: str,
    room: int | None,
    truncate: bool,
) -> list[int]:
    def render(turns: Sequence[Message]) -> list[int]:
        return prompts.render(with_preference(turns, preference, template) if preference else turns)

    turns = list(messages)
    ids = render(turns)
    if not truncate or room is None:
        return ids
    while len(ids) > room and len(turns) > 1:
        del turns[: 2 if turns[0]["role"] == "user" and len(turns) > 2 else 1]
        ids = render(turns)
    if len(ids) > room:
        text = prompts.encode(turns[-1]["content"])
        spare = len(text) - (len(ids) - room)
        if spare > 0:
            ids = render([{**turns[-1], "content": tokenizer.decode(text[-spare:])}])
    return ids


def encode_sides(
    config: TrainConfig, model: Any, tokenizer: Any, template: str | None
) -> tuple[dict[str, list[EncodedPair]], dict[str, Any]]:
    """Encode training and held-out pairs; with them what a report says of the data."""
    train_pairs, held_out, result = _read_data(config)
    context = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    limits = [size for size in (config.max_length, context) if size is not None]
    limit, dropout = min(limits, default=None), config.preference_dropout
    sides: dict[str, list[EncodedPair]] = {}
    bad: list[BadRow] = []
    for name, pairs in (("train", train_pairs), ("held_out", held_out)):
        if not pairs:
            sides[name] = []
            continue
        sides[name], refused = encode_pairs(
            pairs, tokenizer, template=template, max_length=limit, truncate=config.truncate,
            preference_dropout=dropout if name == "train" else 0.0, seed=config.seed,
        )  # fmt: skip
        bad += refused
    if bad:
        _log.warning("%d pairs are left out, the first as %s", len(bad), bad[0].reason)
    result |= {"pairs": len(sides["train"]), "held_out": len(sides["held_out"]), "left_out": len(bad)}
    result["left_out_pairs"] = [f"pair {row.line}: {row.reason}" for row in bad[:1000]]
    return sides, result


def _read_data(config: TrainConfig) -> tuple[list[Pair], list[Pair], dict[str, Any]]:
    """Training and held-out pairs, and what a report says of them."""
    found = load_pairs(*(asdict(source) for source in config.data))
    train_pairs, held_out = split_pairs(found.pairs, config.held_out, config.seed)
    if not train_pairs:
        raise InvalidRequestError(f"All {len(held_out)} pairs are held out. Lower held_out, or bring more prompts.")
    return train_pairs, held_out, {"rows": found.rows, **_refused(found.bad), "layouts": dict(found.layouts)}


def _refused(bad: Sequence[BadRow]) -> dict[str, Any]:
    return {"refused": len(bad), "refused_rows": [f"{row.source}:{row.line}: {row.reason}" for row in bad[:1000]]}
