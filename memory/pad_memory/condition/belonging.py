"""Whether a wish belongs into what is asked for. Pure.

How somebody likes to be talked to is between them and the assistant: it does not belong into a letter to their
landlord, a commit message, a translation or data for a program, unless they said so.
"""

from __future__ import annotations

from collections.abc import Mapping

from pad_memory.language import Occasion, about_manner, named_kinds
from pad_memory.profile import Preference

__all__ = ["asked_for", "held_back"]

BEARS = 0.1  # cosine from which a wish about the matter is told in a text for others


def asked_for(words: str | None, now: Occasion) -> bool | None:
    """Whether a scope, or a wish in its own words, names what is written now; None: it names no kind of text at all."""
    if words is None or not (named := named_kinds(words)):
        return None
    return any(one.kind in ("*", now.kind) and one.reader in (None, now.reader) and not now.for_user for one in named)


def held_back(item: Preference, now: Occasion, bearing: Mapping[str, float]) -> str | None:
    """Why a preference does not belong into what is written now; None means it does.

    Args:
        item: what the user wants. The operator's floor belongs everywhere.
        now: what is asked for.
        bearing: key of a wish in the user's own words → how much it bears on the question, a cosine.
    """
    if now.for_user or item.source == "operator":
        return None
    own = item.key.startswith("text:")
    if asked_for(item.scope, now) or (own and asked_for(item.text, now)):
        return None
    if not own or about_manner(item.text):
        return f"it is about how the user is answered, and this is {now.spoken}"
    if now.kind == "translation":
        return f"this is {now.spoken}, which adds nothing to its original"
    if now.kind != "data" and bearing.get(item.key, 1.0) < BEARS:
        return f"it does not bear on what is written, and this is {now.spoken}"
    return None
