"""How PersRMs are judged: prompts, pairs and judges in, a report out."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pad_langchain.evaluation.cases import Case
    from pad_langchain.evaluation.config import EvaluateConfig
    from pad_langchain.evaluation.judges import Judge, LLMJudge, RewardModelJudge, Rule, RuleJudge, ScoringJudge
    from pad_langchain.evaluation.run import evaluate

__all__ = [
    "Case",
    "EvaluateConfig",
    "Judge",
    "LLMJudge",
    "RewardModelJudge",
    "Rule",
    "RuleJudge",
    "ScoringJudge",
    "evaluate",
]

_MODULES = {
    "cases": ("Case",),
    "config": ("EvaluateConfig",),
    "judges": ("Judge", "LLMJudge", "RewardModelJudge", "Rule", "RuleJudge", "ScoringJudge"),
    "run": ("evaluate",),
}
_LAZY = {name: module for module, names in _MODULES.items() for name in names}  # torch comes with the first use


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
