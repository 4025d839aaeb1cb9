"""From what is known of a user to the few weighted preferences that condition their next generation."""

from pad_memory.condition.condition import Chooser
from pad_memory.condition.select import Condition, Request

__all__ = ["Chooser", "Condition", "Request"]
