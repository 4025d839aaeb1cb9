"""A model in vLLM, with its head, that is asked what our engine was asked."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

__all__ = ["Served"]


class Served:
    """A base and its head in vLLM.

    Args:
        told: what was asked of our engine on this base, with its answers.
        settings: of `LLM`.
    """

    def __init__(self, told: dict[str, Any], **settings: Any) -> None:
        os.environ["PAD_PERSRM"] = told["persrm"]
        from vllm import LLM

        self.told = told
        common: dict[str, Any] = {
            "dtype": "float32",
            "enforce_eager": True,
            "max_model_len": 512,
            "block_size": 32,
            "generation_config": "vllm",
            "logits_processors": ["pad_vllm:PadProcessor"],
            "structured_outputs_config": {"backend": "guidance"},
            "disable_log_stats": False,
        }
        self.llm: Any = LLM(told["base"], **(common | settings))

    def params(self, case: dict[str, Any], **changes: Any) -> Any:
        from vllm import SamplingParams
        from vllm.sampling_params import StructuredOutputsParams

        lark = case["lark"]
        settings: dict[str, Any] = {
            "temperature": 0.0,
            "max_tokens": case["max_tokens"],
            "stop_token_ids": self.told["ends"],
        }
        return SamplingParams(
            extra_args=case["xargs"],
            structured_outputs=None if lark is None else StructuredOutputsParams(grammar=lark),
            **(settings | changes),
        )

    def ask(self, cases: Sequence[dict[str, Any]], **changes: Any) -> list[list[list[int]]]:
        """The token ids of all answers to each request, without what ends them; all are asked at once."""
        prompts = [{"prompt_token_ids": case["prompt"]} for case in cases]
        answers = self.llm.generate(prompts, [self.params(case, **changes) for case in cases], use_tqdm=False)
        ends = set(self.told["ends"])
        return [[[token for token in each.token_ids if token not in ends] for each in one.outputs] for one in answers]

    def differing(self, cases: Sequence[dict[str, Any]]) -> list[tuple[int, Any, Any]]:
        """Which requests are answered with other tokens than our engine's: their places, and both answers."""
        pairs = zip(cases, self.ask(cases), strict=True)
        return [(n, case["tokens"], found) for n, (case, (found,)) in enumerate(pairs) if found != case["tokens"]]

    def counted(self, name: str) -> float:
        """A counter of the engine."""
        return sum(each.value for each in self.llm.get_metrics() if each.name == name)
