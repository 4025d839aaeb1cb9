"""Requests in, streams of tokens out. Importing this loads no torch. The engines are in the folders below."""

from pad_langchain.engine.protocol import Capabilities, Engine, Guide, GuideRows, Plan
from pad_langchain.engine.settings import EngineSettings
from pad_langchain.engine.stream import Completion, Stream
from pad_langchain.engine.types import (
    Candidate,
    EngineStats,
    FinishReason,
    Recommended,
    Request,
    TokenEvent,
    WeightedPreference,
)

__all__ = [
    "Candidate",
    "Capabilities",
    "Completion",
    "Engine",
    "EngineSettings",
    "EngineStats",
    "FinishReason",
    "Guide",
    "GuideRows",
    "Plan",
    "Recommended",
    "Request",
    "Stream",
    "TokenEvent",
    "WeightedPreference",
]
