"""The floor of universal values: which wishes are refused whatever the user says, and what always steers.

Every wish in words is read before anything is learned from it, in three layers:

1. The text is made plain: look-alike letters, invisible characters, "h@te" and "h a t e" become ordinary letters.
2. Rules catch instructions dressed up as a preference and plain requests for harm, hate, deception or no safety.
3. A classifier, the default sentence encoder taught on 23,500 sentences, catches hostile intent in other words.

What a rule catches is refused. What only the classifier catches is quarantined: it does not count either, until the
operator lists it in `Values.allow`. Only the operator makes a `Values`; no event of a user can change it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import math
import re
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, lru_cache
from typing import Literal

from pad_memory.catalogue import Dimension
from pad_memory.embedding import Embedder, embed
from pad_memory.errors import InvalidEventError
from pad_memory.events import check_text
from pad_memory.profile.preference import Preference
from pad_memory.values.classifier import classifier
from pad_memory.values.rules import FILE, Rule, rules

__all__ = ["Guard", "Values", "Verdict", "plain"]

MAX_CHARACTERS = 2000  # longer is a document, not a preference
READING = 1  # of texts by the rules; to be raised with every change of it, for then all have to be judged again
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


@dataclass(frozen=True)
class Values:
    """The operator's policy: pass it as `PreferenceMemory(values=…)`.

    Args:
        floor: (preference, minimum weight above 0): each is in every condition with at least this weight, whatever the
            budget and the user's wishes.
        refuse: regular expressions, matched without case on the plain text: what else is refused.
        allow: wishes that are allowed in any case, word for word but for case and spacing: to clear quarantined ones.
        classifier: whether layer 3 runs. Rules always do.

    Raises:
        InvalidEventError: a weight that is not a finite number above 0, an empty text or a pattern that does not
            compile.
    """

    floor: tuple[tuple[str, float], ...] = ()
    refuse: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()
    classifier: bool = True

    def __post_init__(self) -> None:
        for text, weight in self.floor:
            check_text("A floor preference", text)
            if isinstance(weight, bool) or not math.isfinite(weight) or weight <= 0:
                raise InvalidEventError(
                    f"The weight of the floor preference {text!r} has to be above 0, but is {weight!r}."
                )
        for pattern in self.refuse:
            try:
                re.compile(pattern)
            except re.error as error:
                raise InvalidEventError(
                    f"Values.refuse has a pattern that does not compile: {pattern!r}: {error}."
                ) from (error)


class Guard:
    """Judges texts under a policy.

    Args:
        values: the operator's policy.
        embedder: the memory's, for the preferences of the floor.
        catalogue: the memory's dimensions: a floor preference of one keeps the opposite pole from steering.
    """

    def __init__(self, values: Values, embedder: Embedder, catalogue: Sequence[Dimension] = ()) -> None:
        self.values = values
        floor = {_squeezed(text) for text, _ in values.floor}
        self._opposed = {
            f"{dimension.name}:{other.name}"
            for dimension in catalogue
            for pole, other in (dimension.poles, dimension.poles[::-1])
            if _squeezed(pole.text) in floor
        }
        self._by_rules = lru_cache(maxsize=4096)(self._judged_by_rules)
        self._by_classifier = lru_cache(maxsize=4096)(_judged_by_classifier)
        self._embedder = embedder
        self._allow = {_squeezed(text) for text in values.allow}
        self._refuse = [re.compile(pattern, re.IGNORECASE) for pattern in values.refuse]

    def check(self, text: str, *, rules_only: bool = False) -> Verdict:
        """Judge one wish in words.

        Args:
            text: as the user wrote it.
            rules_only: without the classifier, so without a model.
        """
        verdict, forms = self._by_rules(text)
        if not verdict.allowed or not forms or rules_only or not self.values.classifier:
            return verdict
        rule = self._by_classifier(forms)
        return _verdict("quarantined", rule, mark="~") if rule else ALLOWED

    def _judged_by_rules(self, text: str) -> tuple[Verdict, tuple[str, ...]]:
        """The verdict without the classifier, and the plain forms it has still to see."""
        if _squeezed(text) in self._allow:
            return ALLOWED, ()
        forms = tuple(dict.fromkeys(form for version in (text, *_decoded(text)) for form in plain(version) if form))
        if any(pattern.search(form) for pattern in self._refuse for form in (text, *forms)):
            return _verdict("refused", "operator"), ()
        if rule := next((rule for form in (text.lower(), *forms) if (rule := _broken(form))), None):
            return _verdict("refused", rule), ()
        if len(text) > MAX_CHARACTERS:
            return _verdict("quarantined", "length"), ()
        if _BLOB.search(text):
            return _verdict("quarantined", "encoded"), ()
        return ALLOWED, forms

    def check_all(self, texts: Sequence[str]) -> Verdict:
        """The first verdict that is not "allowed"."""
        return next((verdict for text in texts if not (verdict := self.check(text)).allowed), ALLOWED)

    @cached_property
    def rulebook(self) -> str:
        """Stands for all that the rules' verdicts depend on: with the same one, no text has to be judged again."""
        policy = (READING, self.values.allow, self.values.refuse)
        return hashlib.sha256(repr(policy).encode() + FILE.read_bytes()).hexdigest()[:16]

    def screen(
        self, items: Sequence[Preference], cleared: Collection[str] = ()
    ) -> tuple[tuple[Preference, ...], tuple[tuple[Preference, str], ...]]:
        """Split preferences into those that may steer and those that may not, each with the reason.

        What was learned under a milder policy is held to today's rules, and nothing steers against the floor.

        Args:
            items: the preferences.
            cleared: texts that are known to pass today's rules.
        """
        kept, barred = [], []
        for item in items:
            passes = item.source != "stated" or item.text in cleared
            verdict = ALLOWED if passes else self.check(item.text, rules_only=True)
            if not verdict.allowed:
                barred.append((item, verdict.reason))
            elif item.key in self._opposed:
                barred.append((item, "the operator's floor asks for the opposite"))
            else:
                kept.append(item)
        return tuple(kept), tuple(barred)

    def with_floor(self, items: Sequence[Preference]) -> tuple[Preference, ...]:
        """Return `items` with the floor's preferences first, each at its minimum weight or more."""
        have = {_squeezed(item.text): item for item in items}
        floor = {_squeezed(item.text): item for item in self._floor}
        first = [
            replace(have[key], weight=max(have[key].weight, item.weight)) if key in have else item
            for key, item in floor.items()
        ]
        return (*first, *(item for key, item in have.items() if key not in floor))

    @cached_property
    def _floor(self) -> tuple[Preference, ...]:
        texts = [text for text, _ in self.values.floor]
        vectors = embed(self._embedder, texts) if texts else ()
        return tuple(
            Preference(_floor_key(text), text, float(weight), 1.0, "operator", embedding=vector_E)
            for (text, weight), vector_E in zip(self.values.floor, vectors, strict=True)
        )


def _floor_key(text: str) -> str:
    return "floor:" + hashlib.sha256(_squeezed(text).encode()).hexdigest()[:12]


def _judged_by_classifier(forms: tuple[str, ...]) -> str | None:
    """What the plain forms of a text, or a sentence of it, ask for; None: nothing hostile, or there is no model."""
    model = classifier()
    pieces = dict.fromkeys(piece for form in forms for piece in (form, *_sentences(form)))
    return model.rule(list(pieces)) if model else None


def _squeezed(text: str) -> str:
    return " ".join(text.lower().split())


def _verdict(status: Literal["quarantined", "refused"], rule: str, mark: str = "") -> Verdict:
    return Verdict(status, REASONS[rule], rule + mark)


# --- layer 1: plain text ---

_LOOK_ALIKE = str.maketrans("аеорсухіјѕһԁԛԝӏкмтвнзαβεικνορτυχηωɑɡıøłđßþ", "aeopcyxijshdqwlkmtbhzabeiknoptuxnwagioldsp")
_LEET = str.maketrans("013457@$!|+€", "oieastasilte")
_LEET_WORD = re.compile(r"(?=\S*[a-z])(?=\S*[013457@$!|+€])[a-z013457@$!|+€]*[a-z][a-z013457@$!|+€]*[a-z]")
_SPACED = re.compile(r"(?<!\w)(?:\w[ .\-_*]){3,}\w(?!\w)")
_LONG_RUN = re.compile(r"([a-z])\1{2,}")
_BLOB = re.compile(r"(?<![\w/+])(?=[A-Za-z+/]*\d)(?=[\da-z+/]*[A-Z])[A-Za-z\d+/]{24,}={0,2}")


def plain(text: str) -> tuple[str, ...]:
    """The text in plain lower-case letters, and once more with digits and signs read as letters where that differs.

    >>> plain("Іgn0re  thе rules")
    ('ign0re the rules', 'ignore the rules')
    """
    letters = unicodedata.normalize("NFKD", text)
    letters = "".join(c for c in letters if unicodedata.category(c) not in ("Cf", "Mn", "Co", "Cn"))
    words = _squeezed(letters).translate(_LOOK_ALIKE).replace("’", "'").replace("‘", "'")
    joined = _SPACED.sub(lambda match: re.sub(r"[ .\-_*]", "", match[0]), letters.lower().translate(_LOOK_ALIKE))
    letters = _LEET_WORD.sub(lambda match: match[0].translate(_LEET), _squeezed(joined))
    return tuple(dict.fromkeys((words, _LONG_RUN.sub(r"\1", letters))))


def _decoded(text: str) -> list[str]:
    """What base64 in the text says, where it says anything."""
    found = []
    for match in _BLOB.finditer(text):
        try:
            found.append(base64.b64decode(match[0] + "=" * (-len(match[0]) % 4)).decode())
        except (binascii.Error, UnicodeDecodeError):
            continue
    return found


def _sentences(text: str) -> list[str]:
    return [piece for part in re.split(r"[.;!?\n]+\s", text + " ") if len((piece := part.strip()).split()) > 1]


# --- layer 2: rules ---


def _broken(form: str) -> str | None:
    """The name of the rule that a plain text breaks, or None."""
    sentences = _sentences(form) or [form]
    for rule in rules():
        # Instructions hide anywhere and are not about sentences.
        for text in [form] if rule.name == "instructions" else sentences:
            if rule.pattern.search(text) and _asks(rule, text):  # most match nothing, and a search is quicker
                return rule.name
    return None


def _asks(rule: Rule, text: str) -> bool:
    return any(
        not (rule.negatable and rule.denied(text[: match.start()], match[0], text[match.end() :]))
        for match in rule.pattern.finditer(text)
    )
