"""The floor of universal values: which wishes are refused whatever the user says.

Every wish in words is read before anything is learned from it, in three layers:

1. The text is made plain: look-alike letters, invisible characters, "h@te" and "h a t e" become ordinary letters.
2. Rules catch instructions dressed up as a preference and plain requests for harm, hate, deception or no safety.
3. A classifier, the default sentence encoder taught on 23,500 sentences, catches hostile intent in other words. It
   knows Latin letters only: what is written in another script is held to the rules, which know the plainest of it.

What a rule catches is refused. What only the classifier catches is quarantined: it does not count either, until the
operator lists it in `Values.allow`. Only the operator makes a `Values`; no event of a user can change it.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal

from pad_memory.errors import InvalidEventError
from pad_memory.fields import check_text
from pad_memory.values.classifier import classifier
from pad_memory.values.plain_text import BLOB, decoded, in_latin, plain, sentences, squeezed
from pad_memory.values.rules import FILE, broken
from pad_memory.values.sensitive import kinds
from pad_memory.values.verdict import ALLOWED, MAX_CHARACTERS, Verdict, against

__all__ = ["Guard", "Values"]

KEPT = 16_384  # texts that are not judged again: all wishes of a user, at each condition
READING = 3  # of texts by the rules; to be raised with every change of it, for then all have to be judged again


@dataclass(frozen=True)
class Values:
    """The operator's policy: pass it as `PreferenceMemory(values=…)`.

    Args:
        floor: (preference, minimum weight above 0): each is in every condition with at least this weight, whatever the
            budget and the user's wishes.
        refuse: regular expressions, matched without case on the plain text: what else is refused.
        allow: wishes that are allowed in any case, word for word but for case and spacing: to clear quarantined ones.
        classifier: whether layer 3 runs. Rules always do.
        sensitive: what becomes of wishes that tell something sensitive of the user (see `values.sensitive`). All are
            marked. "keep" keeps them; "conversation" lets them steer in their conversation only, at the end of which
            `PreferenceMemory.end_thread` erases them; "ask" keeps none before the user agreed (ConsentNeededError).

    Raises:
        InvalidEventError: a weight that is not a finite number above 0, an empty text or a pattern that does not
            compile.
    """

    floor: tuple[tuple[str, float], ...] = ()
    refuse: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()
    classifier: bool = True
    sensitive: Literal["keep", "conversation", "ask"] = "keep"

    def __post_init__(self) -> None:
        for text, weight in self.floor:
            check_text("A floor preference", text)
            if isinstance(weight, bool) or not math.isfinite(weight) or weight <= 0:
                raise InvalidEventError(
                    f"The weight of the floor preference {text!r} has to be above 0, but is {weight!r}."
                )
        if self.sensitive not in ("keep", "conversation", "ask"):
            raise InvalidEventError(
                f"Values.sensitive has to be 'keep', 'conversation' or 'ask', but is {self.sensitive!r}."
            )
        for pattern in self.refuse:
            try:
                re.compile(pattern)
            except re.error as error:
                raise InvalidEventError(
                    f"Values.refuse has a pattern that does not compile: {pattern!r}: {error}."
                ) from (error)


class Guard:
    """Judges texts under a policy, each once.

    Args:
        values: the operator's policy.
    """

    def __init__(self, values: Values) -> None:
        self.values = values
        self._by_rules = lru_cache(maxsize=KEPT)(self._judged_by_rules)
        self._by_classifier = lru_cache(maxsize=KEPT)(_judged_by_classifier)
        self._allow = {squeezed(text) for text in values.allow}
        self._refuse = [re.compile(pattern, re.IGNORECASE) for pattern in values.refuse]

    def sensitive(self, text: str) -> tuple[str, ...]:
        """Return what a text tells of its author that is sensitive, kinds of `values.sensitive.KINDS`."""
        return kinds(text)

    def check(self, text: str, *, rules_only: bool = False) -> Verdict:
        """Judge one wish in words.

        Args:
            text: as the user wrote it.
            rules_only: without the classifier, so without a model.
        """
        verdict, forms = self._by_rules(text)
        if not verdict.allowed or not forms or rules_only or not self.values.classifier:
            return verdict
        return _quarantined(self._by_classifier(forms))

    def check_each(self, texts: Sequence[str]) -> list[Verdict]:
        """Judge many wishes, as `check` does one, in fewer forwards of the classifier."""
        judged = [self._by_rules(text) for text in texts]
        waiting = {forms: None for verdict, forms in judged if verdict.allowed and forms and self.values.classifier}
        rules = dict(zip(waiting, _judged_together(list(waiting)), strict=True))
        return [_quarantined(rules[forms]) if forms in rules else verdict for verdict, forms in judged]

    def _judged_by_rules(self, text: str) -> tuple[Verdict, tuple[str, ...]]:
        """The verdict without the classifier, and the plain forms it has still to see."""
        if squeezed(text) in self._allow:
            return ALLOWED, ()
        if len(text) > MAX_CHARACTERS:  # before the rules, whose time may grow faster than the text
            return against("quarantined", "length"), ()
        forms = tuple(dict.fromkeys(form for version in (text, *decoded(text)) for form in plain(version) if form))
        if any(pattern.search(form) for pattern in self._refuse for form in (text, *forms)):
            return against("refused", "operator"), ()
        if rule := next((rule for form in (text.lower(), *forms) if (rule := broken(form))), None):
            return against("refused", rule), ()
        if BLOB.search(text):
            return against("quarantined", "encoded"), ()
        return ALLOWED, tuple(readable for form in forms if (readable := in_latin(form)))

    def check_all(self, texts: Sequence[str]) -> Verdict:
        """The first verdict that is not "allowed"."""
        return next((verdict for text in texts if not (verdict := self.check(text)).allowed), ALLOWED)

    @cached_property
    def rulebook(self) -> str:
        """Stands for all that the rules' verdicts depend on: with the same one, no text has to be judged again."""
        policy = (READING, self.values.allow, self.values.refuse)
        return hashlib.sha256(repr(policy).encode() + FILE.read_bytes()).hexdigest()[:16]


def _judged_by_classifier(forms: tuple[str, ...]) -> str | None:
    """What hostile thing the plain forms of a text, or a sentence of it, ask for; None means none, or no model."""
    return _judged_together([forms])[0]


def _judged_together(texts: Sequence[tuple[str, ...]]) -> list[str | None]:
    """The same of several texts, each by its plain forms."""
    model = classifier() if texts else None
    pieces = [tuple(dict.fromkeys(piece for form in forms for piece in (form, *sentences(form)))) for forms in texts]
    return model.rules(pieces) if model else [None] * len(texts)


def _quarantined(rule: str | None) -> Verdict:
    return against("quarantined", rule, mark="~") if rule else ALLOWED
