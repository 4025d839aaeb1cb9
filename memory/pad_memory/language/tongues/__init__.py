"""Languages other than English: which one a text is in, and whether what it is about is wanted there."""

from pad_memory.language.tongues.tongue import Part, Tongue
from pad_memory.language.tongues.which import parts_abroad, tongues_of, unread

__all__ = ["Part", "Tongue", "parts_abroad", "tongues_of", "unread"]
