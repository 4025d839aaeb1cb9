"""What an event says: the wishes in its words, the styles of its responses, computed once and kept with it."""

from pad_memory.evidence.affinity import sides
from pad_memory.evidence.compute import Interpreter
from pad_memory.evidence.evidence import Evidence, Recorded, next_sequence
from pad_memory.evidence.features import Features
from pad_memory.evidence.scorer import Calibration, EmbeddingScorer, Scorer, judge
from pad_memory.evidence.signs import SignScorer

__all__ = [
    "Calibration",
    "EmbeddingScorer",
    "Evidence",
    "Features",
    "Interpreter",
    "Recorded",
    "Scorer",
    "SignScorer",
    "judge",
    "next_sequence",
    "sides",
]
