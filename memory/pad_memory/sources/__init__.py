"""Where feedback comes from: the log of recent answers, and LangSmith."""

from pad_memory.sources.langsmith import former_ids, from_langsmith
from pad_memory.sources.responses import ResponseLog

__all__ = ["ResponseLog", "former_ids", "from_langsmith"]
