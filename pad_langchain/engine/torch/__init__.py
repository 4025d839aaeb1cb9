"""The engine on torch and transformers."""

from pad_langchain.engine.torch.engine import TorchEngine
from pad_langchain.engine.torch.worker import StepReport

__all__ = ["StepReport", "TorchEngine"]
