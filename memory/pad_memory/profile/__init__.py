"""What is concluded from a user's events: a pure fold from records to preferences, and what to ask next."""

from pad_memory.profile.drift import Drift
from pad_memory.profile.elicitation import Question, questions
from pad_memory.profile.population import Population
from pad_memory.profile.posterior import HALF_LIFE, Posterior, infer
from pad_memory.profile.preference import Preference
from pad_memory.profile.profile import Profile, fold
from pad_memory.profile.snapshot import Snapshot
from pad_memory.profile.taste import Taste
from pad_memory.profile.wishes import chosen, own_wishes, retracted, standing, text_key

__all__ = [
    "HALF_LIFE",
    "Drift",
    "Population",
    "Posterior",
    "Preference",
    "Profile",
    "Question",
    "Snapshot",
    "Taste",
    "chosen",
    "fold",
    "infer",
    "own_wishes",
    "questions",
    "retracted",
    "standing",
    "text_key",
]
