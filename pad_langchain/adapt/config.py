"""All settings of `adapt`, as one frozen object that a YAML file holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, TypeAdapter
from pydantic.dataclasses import dataclass

from pad_langchain.paths import absolute, replacing
from pad_langchain.training.config import HeadSettings
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

__all__ = ["AdaptConfig", "ChoiceSettings", "FilterSettings", "FitSettings", "SampleSettings"]

NotNegative = Annotated[Number, Field(ge=0)]


@checked
@dataclass(frozen=True, config=STRICT)
class SampleSettings:
    """How the base answers.

    Args:
        prompts: training prompts that are used at most, 1 or more. None means all.
        dimensions: how many of the dimensions a prompt is answered under, in rotation, 1 or more.
        temperature, top_p: of sampling.
        max_tokens: new tokens an answer at most, 1 or more. A model that thinks needs more.
        plant: whether answers are planted and edited, too (see `plant`).
    """

    prompts: Count | None = 300
    dimensions: Count = 3
    temperature: NotNegative = 0.7
    top_p: Annotated[Number, Field(gt=0, le=1)] = 0.9
    max_tokens: Count = 160
    plant: Flag = True


@checked
@dataclass(frozen=True, config=STRICT)
class FilterSettings:
    """Which answers a head may learn from (see `filters`).

    Args:
        least_words: of an answer, 1 or more.
        least_fresh: share of word triples in an answer that have to be different ones, in [0, 1].
        least_on_topic: cosine of the embeddings of answer and prompt at least, in [-1, 1].
        least_lean: how much likelier a token of the answer has to be on average when the base is told its pole than
            when it is told the opposite, in nats.
        least_kept: examples of a pole below which it is named as too few.
    """

    least_words: Count = 3
    least_fresh: Share = 0.75
    least_on_topic: Annotated[Number, Field(ge=-1, le=1)] = 0.25
    least_lean: Number = 0.02
    least_kept: Count = 40


@checked
@dataclass(frozen=True, config=STRICT)
class FitSettings:
    """How the head learns from the features.

    Args:
        head: shape of the head, and how it learns.
        teacher: weight of the distance to the teacher, 0 or more.
        quiet: weight of KL(base ‖ steered), 0 or more.
        huber: distance in nats above which the loss grows no longer as a square. Above 0.
    """

    head: HeadSettings = field(
        default_factory=lambda: HeadSettings(steps=400, readers=2, mlp_size=1024, reader_steps=1500)
    )
    teacher: NotNegative = 4.0
    quiet: NotNegative = 1.0
    huber: Positive = 1.0


@checked
@dataclass(frozen=True, config=STRICT)
class ChoiceSettings:
    """What is tried on development prompts, and how much is judged.

    Args:
        dev_prompts, test_prompts: prompts of each part that are used at most, 1 or more.
        betas: strengths, at least one.
        ks: numbers of candidates, at least one.
        alphas: plausibility cuts, at least one.
        repetition_penalty: of every answer that is judged, prompting's and the base's included. The head recommends it.
            1 or more, 1 changes nothing.
        max_tokens: new tokens an answer at most, 1 or more.
    """

    dev_prompts: Count = 12
    test_prompts: Count = 24
    betas: Annotated[tuple[Positive, ...], Field(min_length=1)] = (1.0, 2.0, 4.0)
    ks: Annotated[tuple[Count, ...], Field(min_length=1)] = (50,)
    alphas: Annotated[tuple[Share, ...], Field(min_length=1)] = (0.001, 0.03)
    repetition_penalty: Annotated[Number, Field(ge=1)] = 1.07
    max_tokens: Count = 160


@checked
@dataclass(frozen=True, config=STRICT)
class AdaptConfig:
    """Settings of one run. `AdaptConfig.load` and `save` read and write YAML.

    Args:
        base: folder, hub id, GGUF file or name of the causal LM that the head is for. It needs a chat template.
        output: folder of the run. The head will be in `output/head`, the report in `output/report.md`.
        prompts: a file of prompts (see `prompts.read_prompts`). None means the package's.
        poles: a YAML file of dimensions (see `poles.read_poles`). None means the catalogue's.
        dimensions: names of the dimensions that are learned. Empty means all.
        seed: makes the run repeatable.
        dev, test: shares of the prompts' topics that choose settings, and that judge. Above 0 and together below 1.
        sample, filter, fit, choice: settings of these stages.
        candidates: tokens per position over which the teacher speaks, 2 or more.
        rounds: rounds on answers that the head itself has guided, 0 or more.
        embedder: name of the sentence embedder. The memory must use the same.
        chat_template_kwargs: switches of the chat template, such as {enable_thinking: false}.
        device, dtype, backend, engine_settings: as in `persrm.build.load_pair`.

    Raises:
        InvalidRequestError: a setting is unknown, missing or out of its range.
    """

    base: ModelName
    output: Place
    prompts: Place | None = None
    poles: Place | None = None
    dimensions: tuple[str, ...] = ()
    seed: Annotated[int, Field(strict=True)] = 0
    dev: Annotated[Number, Field(gt=0, lt=1)] = 0.15
    test: Annotated[Number, Field(gt=0, lt=1)] = 0.2
    sample: SampleSettings = field(default_factory=SampleSettings)
    filter: FilterSettings = field(default_factory=FilterSettings)
    candidates: Annotated[int, Field(strict=True, ge=2)] = 32
    fit: FitSettings = field(default_factory=FitSettings)
    rounds: Natural = 0
    choice: ChoiceSettings = field(default_factory=ChoiceSettings)
    embedder: str = "all-MiniLM-L6-v2"
    chat_template_kwargs: Mapping[str, Any] = field(default_factory=dict)
    device: str = "auto"
    dtype: str = "auto"
    backend: Literal["auto", "torch", "llama.cpp"] = "auto"
    engine_settings: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def load(cls, path: str | Path) -> AdaptConfig:
        """Read a YAML file. Relative paths in it are relative to the current folder, not to the file.

        Raises:
            InvalidRequestError: the file cannot be read, or a setting does not exist or is out of its range.
        """
        return cls(**load_yaml(path))

    def save(self, path: str | Path) -> None:
        """Write the YAML file that `load` reads."""
        with replacing(absolute(path)) as file:
            file.write_text(yaml.safe_dump(self.plain(), sort_keys=False, allow_unicode=True), encoding="utf-8")

    def plain(self) -> dict[str, Any]:
        """Return the settings as JSON has them."""
        plain: dict[str, Any] = TypeAdapter(AdaptConfig).dump_python(self, mode="json")
        return plain
