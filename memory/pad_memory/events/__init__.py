"""What is kept of a user, as events: six kinds of feedback, and what takes back, counts down or sets something."""

from pad_memory.events.bookkeeping import Answered, Retraction, Setting
from pad_memory.events.feedback import SCHEMA_VERSION, Feedback, check_length
from pad_memory.events.kinds import Choice, Critique, Edit, Rating, Statement, Thumb

__all__ = [
    "SCHEMA_VERSION",
    "Answered",
    "Choice",
    "Critique",
    "Edit",
    "Feedback",
    "Rating",
    "Retraction",
    "Setting",
    "Statement",
    "Thumb",
    "check_length",
]
