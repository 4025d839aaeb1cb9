"""Everything a training run depends on, as one frozen object that YAML files hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BeforeValidator, Field, TypeAdapter
from pydantic.dataclasses import dataclass

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
    """One source of pairs: the arguments of `data.read_pairs`."""

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
    """The adapter of stage 1, in PEFT's terms."""

    rank: Count = 16
    alpha: Positive = 32.0
    dropout: Annotated[Number, Field(ge=0, lt=1)] = 0.0
    targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@checked
@dataclass(frozen=True, config=STRICT)
class StageSettings:
    """One stage of a text PersRM.

    Args:
        epochs: passes over the pairs; ignored where `steps` is set.
        steps: optimiser steps; 0 leaves the stage out.
        learning_rate: peak of AdamW, warmed up over `warmup` of the steps, then a cosine.
    """

    epochs: Positive = 1.0
    steps: Natural | None = None
    learning_rate: Positive = 5e-5
    warmup: Share = 0.05


@checked
@dataclass(frozen=True, config=STRICT)
class HeadSettings:
    """A head PersRM.

    Args:
        rank: R, shared features. mlp_size, prototypes: shape of the reader of preference embeddings.
        embedder: sentence embedder by name; the memory and the engine must use the same.
        steps, batch: optimiser steps, and pairs a step.
        uncertain: tokens of which the base leaves at least this probability to others are trained on.
        settled: share of the other tokens that is kept; on them the head learns to change nothing (weight `calm`),
            else their sum drowns the reward of a whole answer.
        candidates: tokens over which rewards are normalised in training; None is the whole vocabulary.
        readers: 0: f learns from the pairs, like the rest. Else so many small readers, `mlp_size` wide together, are
            first taught to name what wordings ask for; then f stays, and `prototypes` is what there is to name.
        reader_steps, reader_batch, reader_decay: steps of each, wordings a step, and weight decay.
        turned: share of a reader's wordings that are shown as the opposite vector, in which there is no pole to name.
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
    """A training run. `TrainConfig.load` and `save` read and write YAML.

    Args:
        base: folder or hub id of the causal LM the PersRM is for.
        data: sources of pairs, or paths.
        output: folder of the result; checkpoints and caches are below it.
        kind: "text" (LoRA, then W and b) or "head".
        held_out: share of prompts kept for measuring accuracy, in [0, 1).
        max_length: tokens of prompt and answer at most; None is the model's context. Longer pairs are reported and
            left out, or with `truncate` cut: the oldest turns first, then the beginning of the last message.
        batch: pairs a step on each device; accumulation: forward passes a step.
        bf16: mixed precision; "auto" is on CUDA only. dtype: of the frozen backbone, as `persrm.build.load_pair`.
        beta_train: scale of summed rewards in the loss.
        reference_free: leave log π_ref out of the training reward (GenARM).
        preference_dropout: share of pairs trained without their preference, so that one PersRM also serves users of
            whom nothing is known.
        label_smoothing: probability in [0, .5) that a label is wrong (robust DPO).
        template: how the preference is written into the last user message.
        log_steps, save_steps: optimiser steps between logs, and between checkpoints; keep: checkpoints kept.
        beta, alpha: strength and plausibility cut that the result recommends.
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

    def __post_init__(self) -> None:
        if not all(part in self.template for part in ("{preference}", "{text}")):
            raise InvalidRequestError(
                f"template has to be a text with {{preference}} and {{text}}, but is {self.template!r}."
            )

    @classmethod
    def load(cls, path: str | Path) -> TrainConfig:
        """Read a YAML file; `base`, `output` and sources that are relative paths are relative to where you are.

        Raises:
            InvalidRequestError: unreadable, a setting that does not exist (the nearest is named), or out of range.
        """
        return cls(**load_yaml(path))

    def save(self, path: str | Path) -> None:
        """Write the YAML file that `load` reads."""
        plain = TypeAdapter(TrainConfig).dump_python(self, mode="json")
        with replacing(absolute(path)) as file:
            file.write_text(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True), encoding="utf-8")
