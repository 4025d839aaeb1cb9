"""Judges of answers. None of them is the guide: a reward that steered a text must not grade it.

A judge has a name and `compare(case, first, second)`: 1.0 if the first answer fits the case's preference better, 0.0 if
the second does, 0.5 for a tie. One that can rate an answer alone has `score(case, answer)`, more is better.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from pad_langchain.errors import InvalidRequestError, MissingDependencyError, ModelLoadError
from pad_langchain.evaluation.cases import Case

__all__ = [
    "Judge",
    "LLMJudge",
    "RewardModelJudge",
    "Rule",
    "RuleJudge",
    "ScoringJudge",
    "make_judge",
]


class Judge(Protocol):
    """See the module; judges with `score` set `scores` to True."""

    name: str
    scores: bool

    def compare(self, case: Case, first: str, second: str) -> float: ...


class ScoringJudge:
    """A judge that rates answers alone compares them by their scores."""

    name: str
    scores = True

    def score(self, case: Case, answer: str) -> float:
        """How well an answer fits its case's preference; more is better."""
        raise NotImplementedError

    def compare(self, case: Case, first: str, second: str) -> float:
        left, right = self.score(case, first), self.score(case, second)
        return 0.5 if left == right else float(left > right)


@dataclass(frozen=True)
class Rule:
    """What an answer must be like: all that is set has to hold.

    Args:
        pattern: a regular expression that is found in it. absent: one that is not.
        min_words, max_words: its length.
    """

    pattern: str | None = None
    absent: str | None = None
    min_words: int | None = None
    max_words: int | None = None

    def holds(self, answer: str) -> bool:
        """Whether an answer keeps the rule; an empty one keeps none."""
        words = len(answer.split())
        return (
            words > 0
            and (self.pattern is None or re.search(self.pattern, answer) is not None)
            and (self.absent is None or re.search(self.absent, answer) is None)
            and (self.min_words is None or words >= self.min_words)
            and (self.max_words is None or words <= self.max_words)
        )


class RuleJudge(ScoringJudge):
    """1.0 where the answer keeps its preference's rule, else 0.0."""

    def __init__(self, rules: Mapping[str, Rule | Mapping[str, Any]], name: str = "rules") -> None:
        self.name = name
        self.rules = {key: rule if isinstance(rule, Rule) else Rule(**rule) for key, rule in rules.items()}

    def score(self, case: Case, answer: str) -> float:
        if case.name not in self.rules:
            raise InvalidRequestError(f"There is no rule for {case.name!r}; there are {sorted(self.rules)}.")
        return float(self.rules[case.name].holds(answer))


class RewardModelJudge(ScoringJudge):
    """A sequence-classification reward model; its first logit is the score.

    Args:
        model: folder or hub id, or a loaded model with its `tokenizer`.
        tell: put the preference into the prompt that it reads; False asks for general quality.
    """

    def __init__(self, model: Any, tokenizer: Any = None, *, tell: bool = True, device: str = "auto") -> None:
        from pad_langchain.models.loading import load_tokenizer, pick_device

        self.name = f"reward model {model}" if isinstance(model, str) else "reward model"
        self.tell, self.device = tell, pick_device(device)
        if isinstance(model, str):
            from transformers import AutoModelForSequenceClassification

            tokenizer = tokenizer or load_tokenizer(model)
            try:
                model = AutoModelForSequenceClassification.from_pretrained(model)
            except (OSError, ValueError) as error:
                raise ModelLoadError(f"The reward model {model!r} does not load: {error}") from error
        self.model, self.tokenizer = model.to(self.device).eval(), tokenizer

    @torch.inference_mode()
    def score(self, case: Case, answer: str) -> float:
        messages = [dict(message) for message in case.messages]
        if self.tell:
            messages[-1]["content"] += f"\n\n{case.text}"
        ids = self.tokenizer.apply_chat_template([*messages, {"role": "assistant", "content": answer}], tokenize=True)
        ids_BT = torch.tensor([ids["input_ids"] if isinstance(ids, Mapping) else ids], device=self.device)
        return float(self.model(input_ids=ids_BT).logits[0, 0])


QUESTION = """\
A user wishes: {preference}

They asked: {prompt}

Answer A:
{first}

Answer B:
{second}

Which answer fits the wish better and is still a good answer? Reply with one word: A, B or TIE."""


class LLMJudge:
    """Any LangChain chat model asked twice, the order swapped; a verdict that turns with the order is a tie."""

    scores = False

    def __init__(self, model: Any, name: str = "LLM", question: str = QUESTION) -> None:
        self.model, self.name, self.question = model, name, question

    def compare(self, case: Case, first: str, second: str) -> float:
        one, two = self._ask(case, first, second), 1.0 - self._ask(case, second, first)
        return one if one == two else 0.5

    def _ask(self, case: Case, first: str, second: str) -> float:
        prompt = self.question.format(
            preference=case.text, prompt=case.messages[-1]["content"], first=first, second=second
        )
        said = self.model.invoke(prompt).text.strip()
        match = re.match(r"\W*(?:answer\s+)?(A|B|tie)\b", said, re.IGNORECASE)
        if match is None:
            raise InvalidRequestError(f"The judge {self.name!r} said {said[:80]!r}, not A, B or TIE.")
        return {"A": 1.0, "B": 0.0, "TIE": 0.5}[match[1].upper()]


def make_judge(settings: Mapping[str, Any]) -> Judge:
    """A judge from settings: {kind: rules | reward_model | llm, …}, the rest as its class takes it.

    A `kind` with a colon is a judge of yours, "module:name": what the module calls so, a class or a function, is called
    with the rest. For `llm`, `model` is what langchain's `init_chat_model` takes, such as "openai:gpt-4.1-mini".

    Raises:
        InvalidRequestError: there is no such judge, or it takes other settings.
    """
    arguments = dict(settings)
    kind = arguments.pop("kind", None)
    kinds: dict[Any, Callable[..., Judge]] = {"llm": _llm, "rules": RuleJudge, "reward_model": RewardModelJudge}
    if isinstance(kind, str) and ":" in kind:
        make = _imported(kind)
    elif kind in kinds:
        make = kinds[kind]
    else:
        raise InvalidRequestError(
            f"kind of a judge has to be one of {sorted(kinds)}, or 'module:name' of a judge of yours, but is {kind!r}."
        )
    try:
        return make(**arguments)
    except (TypeError, KeyError) as error:
        raise InvalidRequestError(f"The judge {dict(settings)!r} has other settings than it takes: {error}") from error


def _llm(model: str, **arguments: Any) -> LLMJudge:
    try:
        from langchain.chat_models import init_chat_model
    except ImportError as error:
        raise MissingDependencyError(
            f"LangChain, which makes the judge {model!r}, is not installed ({error}). Install it: "
            'pip install "pad-langchain[agents]"'
        ) from error
    try:
        made = init_chat_model(model)
    except ImportError as error:  # the provider's package; LangChain's message has its install line
        raise MissingDependencyError(f"The judge {model!r} needs a package: {error}") from error
    return LLMJudge(made, model, **arguments)


def _imported(kind: str) -> Callable[..., Judge]:
    module, _, name = kind.partition(":")
    try:
        found: Callable[..., Judge] = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise InvalidRequestError(
            f"There is no judge {kind!r}: {error}. Is its module importable from here?"
        ) from error
    return found
