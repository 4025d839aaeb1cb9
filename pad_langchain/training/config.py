"""Everything a training run depends on, as one frozen object that YAML files hold."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from pad_langchain.defaults import NAMES
from pad_langchain.errors import InvalidRequestError
from pad_langchain.models.prompts import PERSRM_TEMPLATE
from pad_langchain.paths import absolute, model_place

__all__ = [
    "HeadSettings",
    "LoraSettings",
    "Progress",
    "Source",
    "StageSettings",
    "TrainConfig",
    "from_dict",
    "load_yaml",
    "sources",
]


Progress = Callable[[str, int, int, dict[str, float]], None]  # (stage, step, steps in all, what was logged)


@dataclass(frozen=True)
class Source:
    """One source of pairs: the arguments of `data.read_pairs`."""

    source: str
    layout: str | None = None
    preference: str | None = None
    attributes: Mapping[str, str] | None = None
    split: str = "train"
    limit: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "source", model_place(str(self.source)))


@dataclass(frozen=True)
class LoraSettings:
    """The adapter of stage 1, in PEFT's terms."""

    rank: int = 16
    alpha: float = 32.0
    dropout: float = 0.0
    targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class StageSettings:
    """One stage of a text PersRM.

    Args:
        epochs: passes over the pairs; ignored where `steps` is set.
        steps: optimiser steps; 0 leaves the stage out.
        learning_rate: peak of AdamW, warmed up over `warmup` of the steps, then a cosine.
    """

    epochs: float = 1.0
    steps: int | None = None
    learning_rate: float = 5e-5
    warmup: float = 0.05


@dataclass(frozen=True)
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

    rank: int = 64
    mlp_size: int = 256
    prototypes: int = 32
    embedder: str = "all-MiniLM-L6-v2"
    steps: int = 1000
    batch: int = 32
    learning_rate: float = 3e-3
    weight_decay: float = 0.1
    uncertain: float = 0.01
    settled: float = 0.1
    calm: float = 1.0
    candidates: int | None = 32
    readers: int = 0
    reader_steps: int = 2000
    reader_batch: int = 384
    reader_decay: float = 1.0
    turned: float = 0.25

    def __post_init__(self) -> None:
        width = f"0 or a divisor of mlp_size {self.mlp_size}"
        _check(
            self.readers == 0 or (self.readers > 0 and self.mlp_size % self.readers == 0),
            "readers",
            self.readers,
            width,
        )
        _check(self.candidates is None or self.candidates > 1, "candidates", self.candidates, "at least 2, or null")


@dataclass(frozen=True)
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

    base: str
    data: tuple[Source, ...]
    output: str
    kind: Literal["text", "head"] = "text"
    seed: int = 0
    held_out: float = 0.1
    max_length: int | None = 1024
    truncate: bool = False
    device: str = "auto"
    dtype: str = "auto"
    bf16: bool | Literal["auto"] = "auto"
    gradient_checkpointing: bool = False
    batch: int = 8
    accumulation: int = 1
    beta_train: float = 0.1
    reference_free: bool = False
    preference_dropout: float = 0.0
    label_smoothing: float = 0.0
    template: str = PERSRM_TEMPLATE
    lora: LoraSettings = field(default_factory=LoraSettings)
    stage1: StageSettings = field(default_factory=StageSettings)
    stage2: StageSettings = field(default_factory=lambda: StageSettings(learning_rate=1e-3))
    head: HeadSettings = field(default_factory=HeadSettings)
    log_steps: int = 10
    save_steps: int = 200
    keep: int = 2
    beta: float = 1.0
    alpha: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "data", sources(self.data))
        object.__setattr__(self, "base", model_place(self.base, *NAMES))
        object.__setattr__(self, "output", str(absolute(self.output)))
        _check(bool(self.data), "data", self.data, "at least one source of pairs")
        _check(0 <= self.held_out < 1, "held_out", self.held_out, "a share in [0, 1)")
        _check(0 <= self.preference_dropout <= 1, "preference_dropout", self.preference_dropout, "a share in [0, 1]")
        _check(0 <= self.label_smoothing < 0.5, "label_smoothing", self.label_smoothing, "a probability in [0, 0.5)")
        _check(self.beta_train > 0, "beta_train", self.beta_train, "a number above 0")
        for name in ("batch", "accumulation", "log_steps", "save_steps", "keep"):
            _check(getattr(self, name) >= 1, name, getattr(self, name), "an integer of at least 1")
        for part in ("{preference}", "{text}"):
            _check(part in self.template, "template", self.template, f"a text with {part}")

    @classmethod
    def load(cls, path: str | Path) -> TrainConfig:
        """Read a YAML file; `base`, `output` and sources that are relative paths are relative to where you are.

        Raises:
            InvalidRequestError: unreadable, a setting that does not exist (the nearest is named), or out of range.
        """
        return from_dict(cls, load_yaml(path))

    def save(self, path: str | Path) -> None:
        """Write the YAML file that `load` reads."""
        written = yaml.safe_dump(_plain(asdict(self)), sort_keys=False, allow_unicode=True)
        absolute(path).write_text(written, encoding="utf-8")


def load_yaml(path: str | Path) -> dict[str, Any]:
    """Read a mapping from a YAML file.

    Raises:
        InvalidRequestError: unreadable, or not a mapping.
    """
    try:
        loaded = yaml.safe_load(absolute(path).read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise InvalidRequestError(f"The settings {str(path)!r} do not read: {error}") from error
    if not isinstance(loaded, dict):
        raise InvalidRequestError(
            f"{str(path)!r} has to be a YAML mapping of settings, but is {type(loaded).__name__}."
        )
    return loaded


def from_dict(kind: Any, values: Mapping[str, Any], where: str = "") -> Any:
    """Build a (nested) dataclass from plain values, refusing names it does not have and values of another kind."""
    known = {each.name: each for each in fields(kind)}
    hints = typing.get_type_hints(kind)
    for name in values:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, 1, 0.5)
            raise InvalidRequestError(
                f"There is no setting {where + str(name)!r}"
                f"{f', did you mean {where + near[0]!r}?' if near else f'; there are {sorted(known)}.'}"
            )
    made: dict[str, Any] = {}
    for name, value in values.items():
        if is_dataclass(hints[name]) and isinstance(value, Mapping):
            value = from_dict(hints[name], value, f"{where}{name}.")
        made[name] = _fit(hints[name], value, where + name)
    try:
        return kind(**made)
    except TypeError as error:
        needed = [each.name for each in fields(kind) if each.name not in values and _required(each)]
        raise InvalidRequestError(f"{where or 'The settings'} lack {', '.join(needed) or error}.") from error


def _required(each: Any) -> bool:
    return each.default is MISSING and each.default_factory is MISSING


def _fit(hint: Any, value: Any, name: str) -> Any:
    """Check a plain value against a type; numbers written as text (YAML's 1e-4) become numbers."""
    if isinstance(value, str) and float in (hint, *typing.get_args(hint)):
        try:
            value = float(value)
        except ValueError:
            _check(False, name, value, "a number")
    if isinstance(value, list):
        value = tuple(value)
    allowed = typing.get_args(hint) if typing.get_origin(hint) in (types.UnionType, typing.Union) else (hint,)
    for each in allowed:
        origin = typing.get_origin(each)
        if origin is Literal:
            if value in typing.get_args(each):
                return value
        elif each is float:
            if isinstance(value, int | float) and not isinstance(value, bool):
                return float(value)
        elif each is int:
            if isinstance(value, int) and not isinstance(value, bool):
                return value
        elif origin is tuple:
            plain = typing.get_args(each)[0] in (int, float)
            return tuple(_fit(typing.get_args(each)[0], item, name) for item in value) if plain else value
        elif isinstance(value, origin or each):
            return value
    _check(False, name, value, str(hint).replace("typing.", ""))
    return value


def sources(items: Any) -> tuple[Source, ...]:
    """One or several sources, each a `Source`, a path or a mapping of its arguments."""
    several = [items] if isinstance(items, str | Path | Mapping | Source) else items
    return tuple(
        item if isinstance(item, Source) else from_dict(Source, item, "data.")
        if isinstance(item, Mapping) else Source(str(item))
        for item in several
    )  # fmt: skip


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, Sequence) and not isinstance(value, str) else value


def _check(ok: bool, name: str, got: object, allowed: str) -> None:
    if not ok:
        raise InvalidRequestError(f"{name} has to be {allowed}, but is {got!r}.")
