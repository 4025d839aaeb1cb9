"""The engine whose models run on vLLM servers, with our head in them as a plugin or without one."""

from pad_langchain.engine.remote.base import RemoteBase
from pad_langchain.engine.remote.engine import RemoteEngine

__all__ = ["RemoteBase", "RemoteEngine"]
