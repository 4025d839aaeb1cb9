"""A head PersRM inside unmodified vLLM: each request brings its gate, and its answer is steered by it.

    PAD_PERSRM=FOLDER vllm serve BASE --logits-processors pad_vllm:PadProcessor

`requests` reads what a request asks for, `heads` has the weights, `steering` is a step's arithmetic (with `arithmetic`,
the one that pad-langchain decodes with), `tap` and `processor` are the two places where vLLM calls it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pad_vllm._version import __version__

if TYPE_CHECKING:
    from pad_vllm.processor import PadProcessor

__all__ = ["PadProcessor", "__version__"]


def __getattr__(name: str) -> Any:
    """Import the processor, and vLLM with it, when it is asked for."""
    if name != "PadProcessor":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from pad_vllm.processor import PadProcessor

    return PadProcessor
