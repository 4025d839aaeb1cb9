"""How PersRMs are judged: prompts, pairs and judges in, a report out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pad_langchain.lazy import lazy

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

# torch comes with the first use of a name.
if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy(
        __name__,
        {
            "cases": "Case",
            "config": "EvaluateConfig",
            "judges": "Judge LLMJudge RewardModelJudge Rule RuleJudge ScoringJudge",
            "run": "evaluate",
        },
    )
