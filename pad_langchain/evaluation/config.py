"""The settings of an evaluation, and the ways to answer that it compares."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field
from pydantic.dataclasses import dataclass

from pad_langchain.engine.types import WishPlace
from pad_langchain.errors import InvalidRequestError
from pad_langchain.training.config import Sources
from pad_langchain.training.settings import (
    STRICT,
    Count,
    ModelName,
    Natural,
    Number,
    Place,
    Positive,
    Share,
    checked,
)
from pad_memory.catalogue import CATALOGUE

__all__ = ["CONTROLS", "METHODS", "EvaluateConfig", "Method", "Setting"]


@dataclasses.dataclass(frozen=True)
class Method:
    """One way to answer.

    Args:
        says: a description for the report.
        told: whether the base reads the preference in its system prompt.
        guides: what may guide it: "head" and "text" PersRMs, or "self". The first that exists does. Empty means none.
    """

    says: str
    told: bool = False
    guides: tuple[str, ...] = ()

    @property
    def hears(self) -> bool:
        """Whether a preference reaches it, in the prompt or through a guide."""
        return self.told or bool(self.guides)


METHODS = {
    "base": Method("the base alone; it is told no preference"),
    "prompted": Method("the base with the preference in its system prompt: what prompting alone does", told=True),
    "head": Method("PAD: guided by a head PersRM on the base's own hidden states", guides=("head",)),
    "text": Method("PAD: guided by a text PersRM, which reads the preference in its prompt", guides=("text",)),
    "pad+prompt": Method(
        "PAD (the head where there is one) with the preference in the base's system prompt as well",
        told=True,
        guides=("head", "text"),
    ),
    "self": Method("no training: the base told the preference guides the base not told it", guides=("self",)),
}
CONTROLS = tuple(
    name for name, method in METHODS.items() if not method.guides
)  # what every other method is set against


@dataclasses.dataclass(frozen=True)
class Setting:
    """One way to decode.

    Args:
        method: a name in METHODS.
        beta: guidance strength. Guided methods only, like the following.
        top_k: candidates per token, 1 or more.
        alpha: plausibility cut in [0, 1].
        repetition_penalty, no_repeat_ngram: see `engine.types.Request`.
        wish_place: where a base that is told the preference is told it.
    """

    method: str
    beta: float = 0.0
    top_k: int = 10
    alpha: float = 0.0
    repetition_penalty: float = 1.0
    no_repeat_ngram: int = 0
    wish_place: WishPlace = "system"

    def plain(self) -> Setting:
        """Return the setting without guidance that β = 0 amounts to, so that nothing is decoded twice."""
        method = METHODS[self.method]
        if not method.guides or self.beta != 0:
            return self
        return Setting(next(name for name in CONTROLS if METHODS[name].told == method.told))


def _one_wording(said: Any) -> Any:
    return (said,) if isinstance(said, str) else said


Wording = Annotated[tuple[str, ...], BeforeValidator(_one_wording), Field(min_length=1)]


@checked
@dataclass(frozen=True, config=STRICT)
class EvaluateConfig:
    """Settings of an evaluation.

    Args:
        base: folder or hub id of the base.
        output: folder of report.md, report.json, the plots and finished answers.
        prompts: JSONL file, each line with `prompt` or `messages`. A line may have `preference`, a name in
            `preferences`.
        head, text: folders or hub ids of the PersRMs. "auto" for `head` means the embedded one of `pad-demo`. None
            means there is none, and methods that need it are left out.
        preferences: name → wordings. The first wording chooses β and is tested. The others test robustness to
            paraphrase. Wishes separated by ";" act together. None means the catalogue.
        labels: names of the wordings' places in the report, such as ("plain", "reworded").
        unseen: names of preferences that the PersRM was not trained on. The report lists them separately.
        pairs: sources of preference pairs for pairwise accuracy.
        judges: settings of `make_judge`, at least one unless `evaluate` is given judges. The first that scores chooses
            β.
        methods: names in METHODS.
        betas: guidance strengths to try, at least one. 0 is the base.
        ks: numbers of candidates to try, each 1 or more. The first is used while β is chosen. None means what the
            PersRM recommends, else 10. Penalties and the wish's place are always as it recommends.
        alpha: plausibility cut in [0, 1]. None means what the PersRM recommends.
        validation: share of prompts that choose β and k, in (0, 1).
        fluency: largest ratio of perplexity under the base, a β's answers to the base's own, at which the β may be
            chosen. Above 0.
        pareto: two preference names whose trade-off is drawn. Empty means none is.
        limit: prompts used at most, 1 or more. None means all.
        again: test prompts that are asked again in other wordings, and for the Pareto front, 0 or more.
        max_tokens: new tokens per answer at most, 1 or more.
        seed: makes the evaluation repeatable.
        device, dtype: as in `persrm.build.load_pair`.

    Raises:
        InvalidRequestError: a setting is unknown, missing or out of its range.
    """

    base: ModelName
    output: Place
    prompts: Place
    head: ModelName | None = None
    text: ModelName | None = None
    preferences: Mapping[str, Wording] | None = None
    labels: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()
    pairs: Sources = ()
    judges: tuple[Mapping[str, Any], ...] = ()
    methods: tuple[str, ...] = tuple(METHODS)
    betas: Annotated[tuple[Number, ...], Field(min_length=1)] = (0.25, 0.5, 1.0, 2.0, 4.0)
    ks: Annotated[tuple[Count, ...], Field(min_length=1)] | None = None
    alpha: Share | None = None
    validation: Annotated[Number, Field(gt=0, lt=1)] = 0.25
    fluency: Positive = 2.0
    pareto: tuple[str, ...] = ()
    limit: Count | None = 200
    again: Natural = 64
    max_tokens: Count = 200
    seed: Annotated[int, Field(strict=True)] = 0
    device: str = "auto"
    dtype: str = "auto"

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.methods) - set(METHODS)):
            raise InvalidRequestError(f"methods have to be of {list(METHODS)}, but are {unknown!r}.")
        if len(self.pareto) not in (0, 2):
            raise InvalidRequestError(f"pareto has to name two preferences, but is {list(self.pareto)!r}.")
        named = self.wordings
        for setting in ("pareto", "unseen"):
            if unknown := sorted(set(getattr(self, setting)) - set(named)):
                raise InvalidRequestError(f"{setting} names {unknown!r}, which are not among {sorted(named)}.")

    @property
    def wordings(self) -> dict[str, tuple[str, ...]]:
        """Name of each preference → its wordings: `preferences`, or the catalogue's."""
        if self.preferences is not None:
            return dict(self.preferences)
        return {
            f"{dimension.name}:{pole.name}": (pole.text, *pole.paraphrases[:3])
            for dimension in CATALOGUE
            for pole in dimension.poles
        }
