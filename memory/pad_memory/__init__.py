"""A preference memory: it learns what each user likes from their feedback and keeps it in Chroma.

from pad_memory import PreferenceMemory, Statement

with PreferenceMemory("./memory") as memory:
    memory.record("ada", Statement("never use emojis"))
    print(memory.condition("ada").explain())
"""

from pad_memory.catalogue import CATALOGUE, Dimension, Pole
from pad_memory.condition import Condition
from pad_memory.embedding import Embedder, SentenceEmbedder
from pad_memory.errors import PadMemoryError
from pad_memory.events import Choice, Critique, Edit, Feedback, Rating, Retraction, Statement, Thumb
from pad_memory.evidence import Calibration, EmbeddingScorer, Scorer, SignScorer
from pad_memory.memory import PreferenceMemory
from pad_memory.profile import Population, Preference, Profile, Question
from pad_memory.sources import ResponseLog, from_langsmith
from pad_memory.store import reembed, server_of
from pad_memory.values import Values

__all__ = [
    "CATALOGUE",
    "Calibration",
    "Choice",
    "Condition",
    "Critique",
    "Dimension",
    "Edit",
    "Embedder",
    "EmbeddingScorer",
    "Feedback",
    "PadMemoryError",
    "Pole",
    "Population",
    "Preference",
    "PreferenceMemory",
    "Profile",
    "Question",
    "Rating",
    "ResponseLog",
    "Retraction",
    "Scorer",
    "SentenceEmbedder",
    "SignScorer",
    "Statement",
    "Thumb",
    "Values",
    "from_langsmith",
    "reembed",
    "server_of",
]
