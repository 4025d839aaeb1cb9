"""Where feedback comes from: the log of recent answers, and LangSmith."""

from pad_memory.sources.langsmith import from_langsmith
from pad_memory.sources.responses import ResponseLog

__all__ = ["ResponseLog", "from_langsmith"]
