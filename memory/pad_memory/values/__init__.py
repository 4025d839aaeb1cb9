"""The operator's floor of universal values: which wishes are held back, and why."""

from pad_memory.values.policy import Guard, Values
from pad_memory.values.verdict import MAX_CHARACTERS, Verdict

__all__ = ["MAX_CHARACTERS", "Guard", "Values", "Verdict"]
