"""All settings of a training run, as one frozen object that a YAML file holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BeforeValidator, Field, TypeAdapter
from pydantic.dataclasses import dataclass

from pad_langchain.engine.types import RECOMMENDABLE, Recommended
from pad_langchain.errors import InvalidRequestError
from pad_langchain.models.prompts import PERSRM_TEMPLATE
from pad_langchain.paths import absolute, replacing
from pad_langchain.training.settings import (
    STRICT,
    Count,
    Flag,
    ModelName,
    Natural,
    Number,
    Place,
    Positive,
    Share,
    checked,
    load_yaml,
)

__all__ = [
    "HeadSettings",
    "LoraSettings",
    "Progress",
    "Source",
    "Sources",
    "StageSettings",
    "TrainConfig",
]


Progress = Callable[[str, int, int, dict[str, float]], None]  # (stage, step, steps in all, what was logged)


@checked
@dataclass(frozen=True, config=STRICT)
class Source:
    """One source of preference pairs. The fields are the arguments of `data.read_pairs`.

    Args:
        source: a .jsonl, .json or .parquet file, or the name of a `datasets` dataset.
        layout: a name in `layouts.LAYOUTS`. None means the columns of the first readable row tell it.
        preference: the preference of pairs whose layout names none. None means what the layout says.
        attributes: for layouts with scores, column or aspect → preference text. None means the layout's own.
        split: the split of a `datasets` dataset.
        limit: rows read at most, 1 or more. None means all.
    """

    source: ModelName
    layout: str | None = None
    preference: str | None = None
    attributes: Mapping[str, str] | None = None
    split: str = "train"
    limit: Count | None = None


def _several(sources: Any) -> Any:
    """One source is a list of one."""
    return (sources,) if isinstance(sources, str | Path | Mapping | Source) else sources


def _named(source: Any) -> Any:
    """A path or a name is a source without further arguments."""
    return {"source": source} if isinstance(source, str | Path) else source


Sources = Annotated[tuple[Annotated[Source, BeforeValidator(_named)], ...], BeforeValidator(_several)]


@checked
@dataclass(frozen=True, config=STRICT)
class LoraSettings:
    """The LoRA of stage 1, in PEFT's terms.

    Args:
        rank: r, 1 or more.
        alpha: the scale is alpha / rank. Above 0.
        dropout: dropout on the adapter's input, in [0, 1).
        targets: names of the linear layers that get an adapter.
    """

    rank: Count = 16
    alpha: Positive = 32.0
    dropout: Annotated[Number, Field(ge=0, lt=1)] = 0.0
    targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@checked
@dataclass(frozen=True, config=STRICT)
class StageSettings:
    """One stage of a text PersRM.

    Args:
        epochs: passes over the pairs, above 0. Ignored where `steps` is set.
        steps: optimiser steps, 0 or more. 0 leaves the stage out. None means `epochs` decides.
        learning_rate: AdamW's at its peak, above 0. It rises during the warm-up, then falls as a cosine.
        warmup: share of the steps that are the warm-up, in [0, 1].
    """

    epochs: Positive = 1.0
    steps: Natural | None = None
    learning_rate: Positive = 5e-5
    warmup: Share = 0.05


@checked
@dataclass(frozen=True, config=STRICT)
class HeadSettings:
    """Settings of a head PersRM. Its parts are described in `arithmetic.head`.

    Args:
        rank: R, the number of shared features, 1 or more.
        mlp_size: M, the width of the MLP f that reads preference embeddings, 1 or more.
        prototypes: Q, the number of prototype gates, 1 or more.
        embedder: name of the sentence embedder. The memory and the engine must use the same.
        steps: optimiser steps, 1 or more.
        batch: pairs per step, 1 or more.
        learning_rate, weight_decay: AdamW's. The rate is above 0, the decay 0 or more.
        uncertain: a token is trained on if the base gives the other tokens at least this probability, in [0, 1].
        settled: share of the other tokens that are kept, in [0, 1]. On them the head learns to change nothing, else
            their sum drowns the reward of a whole answer.
        calm: weight of that in the loss, 0 or more.
        candidates: tokens over which rewards are normalised in training, 2 or more. None means the whole vocabulary.
        readers: how many small readers are first taught to name what wordings ask for. Together they are `mlp_size`
            wide, so this divides it. Then f is frozen, and `prototypes` is the number of names. 0 means f learns from
            the pairs, like the rest.
        reader_steps: optimiser steps per reader, 1 or more.
        reader_batch: wordings per step of a reader, 1 or more.
        reader_decay: weight decay of a reader, 0 or more.
        turned: share of a reader's wordings that are shown as the opposite vector, which names nothing, in [0, 1].

    Raises:
        InvalidRequestError: a setting is unknown or out of its range.
    """

    rank: Count = 64
    mlp_size: Count = 256
    prototypes: Count = 32
    embedder: str = "all-MiniLM-L6-v2"
    steps: Count = 1000
    batch: Count = 32
    learning_rate: Positive = 3e-3
    weight_decay: Annotated[Number, Field(ge=0)] = 0.1
    uncertain: Share = 0.01
    settled: Share = 0.1
    calm: Annotated[Number, Field(ge=0)] = 1.0
    candidates: Annotated[int, Field(strict=True, ge=2)] | None = 32
    readers: Natural = 0
    reader_steps: Count = 2000
    reader_batch: Count = 384
    reader_decay: Annotated[Number, Field(ge=0)] = 1.0
    turned: Share = 0.25

    def __post_init__(self) -> None:
        if self.readers and self.mlp_size % self.readers:
            raise InvalidRequestError(
                f"readers has to be 0 or a divisor of mlp_size {self.mlp_size}, but is {self.readers}."
            )


@checked
@dataclass(frozen=True, config=STRICT)
class TrainConfig:
    """Settings of a training run. `TrainConfig.load` and `save` read and write YAML.

    Args:
        base: folder or hub id of the causal LM that the PersRM is for.
        data: one source of pairs or several, each a `Source`, its fields, or a path.
        output: folder of the result. Checkpoints and caches are below it.
        kind: "text" (a LoRA, then W and b) or "head".
        seed: makes the run repeatable.
        held_out: share of prompts kept for measuring accuracy, in [0, 1).
        max_length: tokens of prompt and answer at most, 1 or more. None means the model's context. Longer pairs are
            left out and reported.
        truncate: cut longer pairs instead: first the oldest turns, then the beginning of the last message.
        device: "auto" (CUDA if there is one), "cpu", "cuda", …
        dtype: number format of the frozen backbone, as in `persrm.build.load_pair`.
        bf16: whether to train in mixed precision. "auto" means on CUDA only.
        gradient_checkpointing: compute activations again in the backward pass, which saves memory and takes time.
        batch: pairs per device and forward pass, 1 or more.
        accumulation: forward passes per optimiser step, 1 or more.
        beta_train: scale of summed rewards in the loss, above 0.
        reference_free: leave log π_ref out of the training reward (GenARM).
        preference_dropout: share of pairs trained without their preference, in [0, 1]. Then one PersRM also serves
            users of whom nothing is known.
        label_smoothing: probability in [0, 0.5) that a label is wrong (robust DPO).
        template: how the preference is written into the last user message, with `{preference}` and `{text}`.
        lora: the adapter of stage 1 of a text PersRM.
        stage1, stage2: the stages of a text PersRM: its adapter, then its W and b.
        head: settings of a head PersRM.
        log_steps: optimiser steps between logs, 1 or more.
        save_steps: optimiser steps between checkpoints, 1 or more.
        keep: checkpoints kept, 1 or more.
        beta, alpha: strength and plausibility cut in [0, 1] that the result recommends.
        recommends: what a head recommends besides, by name: `top_k`, `wish_place`, … (see `engine.types.Recommended`).

    Raises:
        InvalidRequestError: a setting is unknown, missing or out of its range.
    """

    base: ModelName
    data: Annotated[Sources, Field(min_length=1)]
    output: Place
    kind: Literal["text", "head"] = "text"
    seed: Annotated[int, Field(strict=True)] = 0
    held_out: Annotated[Number, Field(ge=0, lt=1)] = 0.1
    max_length: Count | None = 1024
    truncate: Flag = False
    device: str = "auto"
    dtype: str = "auto"
    bf16: Literal[True, False, "auto"] = "auto"
    gradient_checkpointing: Flag = False
    batch: Count = 8
    accumulation: Count = 1
    beta_train: Positive = 0.1
    reference_free: Flag = False
    preference_dropout: Share = 0.0
    label_smoothing: Annotated[Number, Field(ge=0, lt=0.5)] = 0.0
    template: str = PERSRM_TEMPLATE
    lora: LoraSettings = field(default_factory=LoraSettings)
    stage1: StageSettings = field(default_factory=StageSettings)
    stage2: StageSettings = field(default_factory=lambda: StageSettings(learning_rate=1e-3))
    head: HeadSettings = field(default_factory=HeadSettings)
    log_steps: Count = 10
    save_steps: Count = 200
    keep: Count = 2
    beta: Number = 1.0
    alpha: Share = 0.0
    recommends: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        allowed = sorted(RECOMMENDABLE.keys() - {"beta", "alpha"}) if self.kind == "head" else []
        if unknown := sorted(self.recommends.keys() - set(allowed)):
            raise InvalidRequestError(
                f"recommends of the kind {self.kind!r} has to name only {allowed}, but names {unknown}."
            )
        Recommended(**self.recommends)
        if not all(part in self.template for part in ("{preference}", "{text}")):
            raise InvalidRequestError(
                f"template has to be a text with {{preference}} and {{text}}, but is {self.template!r}."
            )

    @classmethod
    def load(cls, path: str | Path) -> TrainConfig:
        """Read a YAML file. Relative paths in it are relative to the current folder, not to the file.

        Raises:
            InvalidRequestError: the file cannot be read, a setting does not exist (the message names the nearest), or
                one is out of its range.
        """
        return cls(**load_yaml(path))

    def save(self, path: str | Path) -> None:
        """Write the YAML file that `load` reads."""
        plain = TypeAdapter(TrainConfig).dump_python(self, mode="json")
        with replacing(absolute(path)) as file:
            file.write_text(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True), encoding="utf-8")
