"""What a head learns from: hidden states and distributions of answers, under three prompts each.

The same answer is read behind the prompt as it is ("plain"), behind the prompt told the pole that the answer shows
("wish"), and behind the prompt told the opposite ("opposite"). The teacher of distillation is half the difference of
the last two: t(c) = ½ (log p(c | wish) − log p(c | opposite)).

A shard holds the examples of a few prompts in one safetensors file, which is written whole. A run that was killed goes
on at the first shard that is missing. M tokens, C candidates, D hidden size, N examples:

| tensor | shape | what |
|---|---|---|
| hidden_plain, hidden_wish, hidden_opposite | [M, D] bfloat16 | the state each token was predicted from |
| candidates | [M, C] int32 | token ids; column 0 is the token itself, then the likeliest in any of the three |
| logp_plain, logp_wish, logp_opposite | [M, C] float32 | log p(c) over the whole vocabulary, nats |
| counts | [N] int32 | tokens of each example |
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from pad_langchain.adapt.lessons.texts import Text
from pad_langchain.adapt.model import Model, Tick
from pad_langchain.adapt.poles import Dimension
from pad_langchain.adapt.prompts import Prompt
from pad_langchain.errors import CheckpointError
from pad_langchain.paths import replacing
from pad_langchain.persrm.hidden import Answer, answers, blocks

__all__ = ["CONTEXTS", "PROMPTS_AT_ONCE", "Context", "Example", "Features", "Taken", "read_features"]

Context = Literal["plain", "wish", "opposite"]
CONTEXTS: tuple[Context, ...] = ("plain", "wish", "opposite")
LOGITS_AT_ONCE = 2**23  # float32 numbers a block of full-vocabulary logits
PROMPTS_AT_ONCE = 4  # whose examples are one shard
_COLUMNS = tuple(f"{what}_{context}" for what in ("hidden", "logp") for context in CONTEXTS)


@dataclass(frozen=True)
class Example:
    """An answer that was read.

    Args:
        text: the answer, with its dimension, its side and its twin's id.
        lean: mean of log p(token | wish) − log p(token | opposite), in nats.
    """

    text: Text
    lean: float


@dataclass(frozen=True, eq=False)
class Taken:
    """Tokens of some examples, M in all.

    Args:
        hidden_MD: float32, in the context that was asked for.
        place_MC: rows of `Features.head_KD` that belong to the candidates.
        base_MC: log p(candidate) in that context, over the whole vocabulary.
        teacher_MC: ½ (log p(candidate | wish) − log p(candidate | opposite)).
        example_M: the place of each token's example among those that were taken.
    """

    hidden_MD: torch.Tensor
    place_MC: torch.Tensor
    base_MC: torch.Tensor
    teacher_MC: torch.Tensor
    example_M: torch.Tensor


@dataclass(frozen=True, eq=False)
class Features:
    """N examples.

    Args:
        examples: what they are.
        spans: for each the shard that holds it, and its first and its last token there.
        shards: their tensors by name.
        tokens_K: every token that is a candidate anywhere, in order.
        head_KD: the rows of the base's output matrix for them, float32.
        hidden_size, vocab_size: D and V of the base.
    """

    examples: Sequence[Example]
    spans: Sequence[tuple[int, int, int]]
    shards: Sequence[Mapping[str, torch.Tensor]] = field(repr=False)
    tokens_K: torch.Tensor = field(repr=False)
    head_KD: torch.Tensor = field(repr=False)
    hidden_size: int
    vocab_size: int

    def __len__(self) -> int:
        return len(self.examples)

    @cached_property
    def place(self) -> dict[str, int]:
        """Id of each text → its place."""
        return {example.text.id: n for n, example in enumerate(self.examples)}

    def only(self, places: Sequence[int]) -> Features:
        """Return some of the examples as features of their own."""
        return replace(self, examples=[self.examples[n] for n in places], spans=[self.spans[n] for n in places])

    def join(self, other: Features) -> Features:
        """Return these examples and others of the same base behind them."""
        tokens_K, place_N = torch.cat([self.tokens_K, other.tokens_K]).unique(return_inverse=True)
        head_KD = self.head_KD.new_empty(len(tokens_K), self.hidden_size)
        head_KD[place_N] = torch.cat([self.head_KD, other.head_KD])
        moved = [(shard + len(self.shards), first, last) for shard, first, last in other.spans]
        return replace(
            self,
            examples=[*self.examples, *other.examples],
            spans=[*self.spans, *moved],
            shards=[*self.shards, *other.shards],
            tokens_K=tokens_K,
            head_KD=head_KD,
        )

    def take(self, places: Sequence[int], context: Context = "plain") -> Taken:
        """Return the tokens of some examples, one example after the other."""
        spans = [self.spans[n] for n in places]

        def column(name: str) -> torch.Tensor:
            return torch.cat([self.shards[shard][name][first:last] for shard, first, last in spans])

        counts_N = torch.tensor([last - first for _, first, last in spans])
        return Taken(
            column(f"hidden_{context}").float(),
            torch.searchsorted(self.tokens_K, column("candidates").long()),
            column(f"logp_{context}"),
            (column("logp_wish") - column("logp_opposite")) / 2,
            torch.repeat_interleave(torch.arange(len(spans)), counts_N),
        )


def read_features(
    model: Model,
    texts: Sequence[Text],
    prompts: Sequence[Prompt],
    dimensions: Sequence[Dimension],
    folder: Path,
    *,
    candidates: int,
    tick: Tick,
) -> Features:
    """Read texts, or go on where `folder` ends, or open what it has.

    Args:
        texts: of the prompts.
        prompts: in an order that does not change when more follow.
        candidates: C, at most the vocabulary.

    Raises:
        CheckpointError: a shard could not be written; those before are whole.
    """
    folder.mkdir(parents=True, exist_ok=True)
    by_prompt: dict[str, list[Text]] = {prompt.id: [] for prompt in prompts}
    for text in texts:
        by_prompt[text.prompt].append(text)
    paths, done = [], 0
    for start in range(0, len(prompts), PROMPTS_AT_ONCE):
        part = prompts[start : start + PROMPTS_AT_ONCE]
        shown = [text for prompt in part for text in by_prompt[prompt.id]]
        done += len(shown)
        if not shown:
            continue
        paths.append(folder / f"{start // PROMPTS_AT_ONCE:05d}-{_mark(shown, candidates)}.safetensors")
        if not paths[-1].exists():
            _write(paths[-1], _read(model, shown, part, dimensions, candidates), shown)
            tick(done, len(texts))
    return _open(model, paths)


def _mark(texts: Sequence[Text], candidates: int) -> str:
    """A short hash of what a shard depends on."""
    said = json.dumps([[text.to_row() for text in texts], candidates], sort_keys=True)
    return hashlib.sha256(said.encode()).hexdigest()[:12]


def _write(path: Path, columns: Mapping[str, torch.Tensor], texts: Sequence[Text]) -> None:
    told = {"texts": json.dumps([text.to_row() for text in texts], ensure_ascii=False)}
    try:
        with replacing(path) as file:
            save_file(dict(columns), file, metadata=told)
    except OSError as error:
        raise CheckpointError(
            f"The features in {str(path)!r} could not be written: {error} Those before are kept: make room and start "
            "the same command again."
        ) from error


def _read(
    model: Model, texts: Sequence[Text], prompts: Sequence[Prompt], dimensions: Sequence[Dimension], candidates: int
) -> dict[str, torch.Tensor]:
    """The columns of a shard."""
    by_id = {prompt.id: prompt for prompt in prompts}
    poles = {dimension.name: dimension.poles for dimension in dimensions}
    rows = []
    for text in texts:
        prompt, (wish, opposite) = by_id[text.prompt], poles[text.dimension][:: 1 - 2 * text.side]
        end = [model.prompts.turn_end] if text.ended and model.prompts.turn_end is not None else []
        said = model.prompts.encode(text.text) + end
        told = (model.prompt_ids(prompt, each) for each in ("", wish.instruction, opposite.instruction))
        rows += [(ids, said) for ids in told]
    found: dict[int, Answer] = {}
    for group in answers(model.reader, rows):
        found |= {answer.index: answer for answer in group}
    size = min(candidates, model.vocab_size)
    parts = [_columns(model.reader, [found[3 * n + at] for at in range(3)], size) for n in range(len(texts))]
    joined = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    return {**joined, "counts": torch.tensor([len(part["candidates"]) for part in parts], dtype=torch.int32)}


def _columns(reader: Any, read: Sequence[Answer], size: int) -> dict[str, torch.Tensor]:
    """The columns of one text, which was read in the three contexts."""
    found: dict[str, list[torch.Tensor]] = {name: [] for name in ("candidates", *(f"logp_{c}" for c in CONTEXTS))}
    step = max(1, LOGITS_AT_ONCE // reader.vocab_size)
    with torch.inference_mode():
        for blocks_of_three in zip(*(blocks([answer], step) for answer in read), strict=True):
            tokens_T1 = blocks_of_three[0][1]
            logp_STV = torch.stack([reader.logits(hidden_TD).log_softmax(-1) for hidden_TD, _ in blocks_of_three])
            likely_TV = logp_STV.amax(0).scatter(1, tokens_T1, torch.inf)  # the token itself comes first
            ids_TC = likely_TV.topk(size, dim=-1).indices
            found["candidates"].append(ids_TC.int())
            for context, logp_TV in zip(CONTEXTS, logp_STV, strict=True):
                found[f"logp_{context}"].append(logp_TV.gather(1, ids_TC).float())
    columns = {name: torch.cat(parts).cpu() for name, parts in found.items()}
    for context, answer in zip(CONTEXTS, read, strict=True):
        columns[f"hidden_{context}"] = answer.hidden_TD.bfloat16().cpu().contiguous()
    return columns


def _open(model: Model, paths: Sequence[Path]) -> Features:
    shards, examples, spans = list[dict[str, torch.Tensor]](), list[Example](), list[tuple[int, int, int]]()
    for number, path in enumerate(paths):
        with safe_open(path, "pt") as file:
            shard = {name: file.get_tensor(name) for name in (*_COLUMNS, "candidates", "counts")}
            texts = [Text.of_row(row) for row in json.loads(file.metadata()["texts"])]
        first = 0
        for text, count in zip(texts, shard["counts"].tolist(), strict=True):
            here = slice(first, first + count)
            lean = float((shard["logp_wish"][here, 0] - shard["logp_opposite"][here, 0]).mean())
            examples.append(Example(text, lean))
            spans.append((number, first, first + count))
            first += count
        shards.append(shard)
    every = [shard["candidates"].unique() for shard in shards]
    tokens_K = torch.cat(every).unique().long() if every else torch.zeros(0, dtype=torch.long)
    head_KD = _output_rows(model.reader, tokens_K)
    return Features(examples, spans, shards, tokens_K, head_KD, model.hidden_size, model.vocab_size)


def _output_rows(reader: Any, tokens_K: torch.Tensor) -> torch.Tensor:
    """Rows [K, D] of the output matrix, float32 on the CPU."""
    if hasattr(reader, "head_rows"):
        rows_KD: torch.Tensor = reader.head_rows(tokens_K.to(reader.head_device)).cpu()
        return rows_KD
    return torch.from_numpy(reader.file.output_rows(tokens_K.numpy()))
