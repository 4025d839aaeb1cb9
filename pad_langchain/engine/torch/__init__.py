"""The engine on torch and transformers."""

from pad_langchain.engine.local.worker import StepReport
from pad_langchain.engine.torch.engine import TorchEngine

__all__ = ["StepReport", "TorchEngine"]
