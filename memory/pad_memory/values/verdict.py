"""What the floor of values says about a text."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

__all__ = ["ALLOWED", "MAX_CHARACTERS", "REASONS", "Verdict", "against"]

MAX_CHARACTERS = 2000  # longer is a document, not a preference
REASONS = {
    "harm": "it asks for harm to people or animals, or for help with a crime",
    "hate": "it asks for hate against a group of people",
    "deception": "it asks to deceive the reader",
    "safety": "it asks to switch safety off",
    "instructions": "it carries instructions to the system instead of a preference",
    "encoded": "it hides text in an encoding",
    "length": f"it is longer than {MAX_CHARACTERS:,} characters; a preference is a sentence or two",
    "operator": "the operator of this memory does not allow it",
}


@dataclass(frozen=True)
class Verdict:
    """What the floor says about a text.

    Args:
        status: "allowed"; "refused": a rule forbids it; "quarantined": it looks hostile, the operator may clear it.
        reason: one sentence for the user, empty where allowed.
        rule: the name of the rule, "harm" or "harm~" (the classifier's) for example; empty where allowed.
    """

    status: Literal["allowed", "quarantined", "refused"] = "allowed"
    reason: str = ""
    rule: str = ""

    @property
    def allowed(self) -> bool:
        return self.status == "allowed"

    def to_dict(self) -> dict[str, str]:
        return asdict(self)


ALLOWED = Verdict()


def against(status: Literal["quarantined", "refused"], rule: str, mark: str = "") -> Verdict:
    """Return the verdict against a text that broke a rule, a key of `REASONS`; with "~" it is the classifier's."""
    return Verdict(status, REASONS[rule], rule + mark)
