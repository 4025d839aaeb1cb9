"""Takes negation out of a user's words: what they are about, and whether it is wanted, not wanted, or taken back."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from pad_memory.language.plain import LONGEST, foreign, tidy

__all__ = ["TEXTS_KEPT", "long_forms", "polarity", "taken_back", "turned_away"]

TEXTS_KEPT = 16_384  # texts whose words are not read again: with each new wish of a user all others are looked at


def _either(phrases: str) -> str:
    """One regular expression of some that are parted by semicolons, the longest first."""
    parts = sorted((" ".join(phrase.split()) for phrase in phrases.split(";")), key=len, reverse=True)
    return f"(?:{'|'.join(parts)})"


def _any_of(phrases: str) -> re.Pattern[str]:
    """Match any of some regular expressions parted by semicolons, as whole words."""
    return re.compile(rf"\b{_either(phrases)}\b")


# What looks like a negation but asks for the thing: an absence complained of, or an encouragement.
_WANTED = _any_of(
    """there (?:was|were|is|are) (?:no|not enough|too few|too little|hardly any|never any);
    (?:why )?(?:are|were|is|was) there (?:no|not any);
    why (?:no|not|(?:do|did|are) (?:you )?not(?: you)?(?: ever)?);
    (?:you )?(?:gave|used|made|told|wrote|offered|had) (?:me )?no;
    you (?:are never|never|did not|do not(?! (?:need|have to|ever|bother))|have not)(?: ever)?; nothing wrong with;
    (?:do not|never) (?:forget|hesitate|be afraid|be shy|hold back|skimp)(?: (?:to|on|with|of))?;
    not (?:nearly |quite )?enough; too few; too little; not without; never without; lack(?:s|ing|ed)?;
    miss(?:ing|es|ed)?; at least; better than n(?:one|othing|o); no problem with; no matter how; not only; not just;
    forgot(?: the)?"""
)
_NEGATION = _any_of(
    """(?:(?:do|does|did|is|are|was|were|will|would|should|can|need) )?not(?: so| that)?; cannot; no; no longer;
    never; none; nothing; nobody; neither; nor; without; less; fewer; least; free of; avoid(?:ing)?; stop(?:ped)?;
    quit; hold the; skip(?:ping)?; drop(?:ping)?; omit(?:ting)?;
    leave out; leave off; leaving out; cut out; cut the; cut down on; cut back on; ditch; lose the; spare me;
    enough with; enough of; refrain from; keep out; rid of; forget; remove; ban; banned; away with; hold off on;
    go easy on; ease off; hate; dislike; detest; despise; loathe; can ?not stand; can ?not bear; tired of;
    sick of; fed up with; annoy(?:s|ing)?; bores?; boring; distract(?:s|ing)?; confus(?:e|es|ing);
    wastes? my time; waste of time; bother(?:s|ing)?; irritat(?:e|es|ing); ugly; childish; silly; pointless;
    useless; unnecessary; not needed; zero; a pain; gets? on my nerves; had it with; done with; had enough of;
    without any; too; too many; too much; way too; overly"""
)
# Turned into a plain negation before anything else is looked for.
_REWRITTEN = (
    (
        re.compile(r"^(.+?)\? (?:no|no,? thanks?|no,? thank you|never|nope|not for me|please do not|better not)$"),
        r"no \1",
    ),
    (
        re.compile(
            r"\b(?:leave|keep|cut|take) ((?:the |all |any )?[\w-]+(?: [\w-]+)?) (?:out|away)(?: of (?:it|this|that))?\b"
        ),
        r"no \1",
    ),
    (re.compile(r"^(?:that is )?enough (?!with\b|of\b)"), "no "),
    (re.compile(r"\b(?:do|does) not bother(?: with| to| using| about)?\b"), "no"),
    (re.compile(r"\b(will|can|could|would|do) not you\b"), r"\1 you"),
    (
        re.compile(r"\b(?:why (?:are|is|were|was) (?:you|it|this|that|your answers?) (?:always )?(?:so|this|that))\b"),
        "too",
    ),
    (re.compile(r"\b(?:you (?:used|wrote|gave|made|told|added|put|were)|(?:that|it) was)\b(.*) again\b"), r"no \1"),
)
# "emoji-free", "joke free", "emoji-less", "non-formal"; but "feel free", "hands-free" and "sugar-free" are no wishes.
_PREFIXED = (
    (re.compile(r"\b(?!care|hands|toll|royalty|sugar|gluten|risk)(\w+)-(?:free|less)\b"), r"no \1"),
    (
        re.compile(
            r"\b(emojis?|emoticons?|smileys?|jokes?|puns?|humou?r|jargon|examples?|warnings?|disclaimers?|lists?|bullets?"
            r"|bullet points?) free\b(?! (?:to|of|from)\b)"
        ),
        r"no \1",
    ),
    (re.compile(r"\bnon-(\w+)"), r"not \1"),
)
_NOT_ENOUGH = re.compile(r"\bnot ((?:\w+ )?\w+) enough\b")  # "not formal enough" wants it more formal
_NOT_TOO = re.compile(r"\b((?:not|never)(?: \w+){0,4}) too\b(?! (?:few|little))")  # one negation, not two
_SHORT_FORMS = (
    (re.compile(r"\bwon['’]?t\b"), "will not"),
    (re.compile(r"\bcan['’]t\b"), "can not"),
    (re.compile(r"(?<=[a-z])n['’]t\b"), " not"),
    (re.compile(r"\b(do|does|did|is|are|was|were|would|should|could)nt\b"), r"\1 not"),
    (re.compile(r"['’](?:re|m)\b"), " are"),
)
# What takes a wish back without asking for the opposite. The first two end what follows, the others either pole of it.
_PAST = re.compile(r"\b(?:i|we)(?: really| always| also| once)? used to(?: really| always| also)?\b")
_FORGOTTEN = re.compile(
    r"\b(?:forget|ignore|disregard|cancel|scrap|drop)(?: it)? "
    r"(?:that (?:i|we)|my (?:wish|preference|request) (?:for|to|that))\b"
)
_INDIFFERENT = re.compile(
    r"\b(?:(?:i|we) (?:do not|no longer)(?: really| much)? (?:care|mind)(?! for)"
    r"|(?:do|does) not (?:really )?matter(?: to me)?"
    r"|(?:i have )?no (?:strong |more )?(?:preference|opinion)|(?:is|are) all the same to me"
    r"|(?:forget|ignore|disregard|cancel) (?:what|everything|all) (?:i|we) (?:said|told you|asked|wrote))"
    r"(?: any ?more| any longer)?(?: (?:about|for|on|regarding|if|whether|how|that|it))*"
)
# A whole wish that turns one thing away: what may come before, how it is turned away, and what may stand before the
# thing. Abilities ("I do not understand it") and comparisons ("no more than a line") are no such wishes.
_BEFORE = _either(
    "i; we; you; would; really; also; just; should; must; prefer; want; like; need; use; write; give me; make; tell"
)
_AWAY = _either(
    r"""(?:(?:do|should|would|must) )?not(?! (?:only|just|be (?:afraid|shy)|hesitate|know|understand|follow|get|see
    |learn|remember|mean)\b); no(?! (?:(?:more|less|fewer) than|matter|problem|nothing)\b); never; without; stop; skip;
    avoid; omit; quit; ban; ditch; hate; dislike; detest; zero; less; free of; (?:had )?enough of; leave out; lay off;
    spare (?:me|us); refrain from; steer clear of; keep away from; skimp on; drop; remove; forget;
    (?:lose|hold|cut|cut out)(?= (?:the|all|your|out)\b)"""
).replace(" |", "|")
_LINK = _either(
    """want; need; like; care for; use; using; give(?: me)?; giving(?: me)?; write; writing; add; adding; include;
    including; make; making; put; any; all; the; your; those; these; of; more; so; too; very; so much; too much;
    too many; such; out; about; a; an; to; be; being"""
)
_TURNED = re.compile(rf"^(?:{_BEFORE} )*{_AWAY} (?:{_LINK} )*(?!(?:it|this|that|than)\b)([^,;:.!?]+)$")
_CLAUSES = re.compile(r" (?:and|but|instead|rather|only) ")
LONGEST_TURNED = 120  # characters; a longer text says more than what is turned away


def long_forms(text: str) -> str:
    """Return the text in lower case with short forms written out and roundabout negations as plain ones."""
    text = " ".join(unicodedata.normalize("NFKC", tidy(text)).lower().split()).strip(" .!?,;:")
    for pattern, long_form in _SHORT_FORMS:
        text = pattern.sub(long_form, text)
    for pattern, plain in _REWRITTEN:
        text = pattern.sub(plain, text)
    return text


def taken_back(text: str) -> tuple[str, bool] | None:
    """Where a text ends a wish: (what it was, whether either pole is meant)."""
    text = long_forms(text)
    for pattern, either in ((_PAST, False), (_FORGOTTEN, False), (_INDIFFERENT, True)):
        if pattern.search(text):
            return " ".join(pattern.sub(" ", text).split()) or text, either
    return None


def polarity(text: str) -> tuple[str, int]:
    """Split `text` into (core, sign): the words without negations, and -1 where an odd number of them was removed.

    >>> polarity("Don't use emojis")
    ('use emojis', -1)
    >>> polarity("not too long")
    ('long', -1)
    """
    return (text, 1) if len(text) > LONGEST else _polarity(text)


@lru_cache(maxsize=TEXTS_KEPT)
def _polarity(text: str) -> tuple[str, int]:
    if foreign(text := long_forms(text)):
        return text, 1
    for pattern, plain in _PREFIXED:
        text = pattern.sub(plain, text)
    text = _NOT_TOO.sub(r"\1", _NOT_ENOUGH.sub(r"\1", text))
    text = _WANTED.sub(" ", text)
    core, count = _NEGATION.subn(" ", text)
    return " ".join(core.split()) or text, -1 if count % 2 else 1


def turned_away(text: str) -> tuple[str, int]:
    """Split a wish into (what it is about, sign): -1 where the whole of it turns one thing away, else the text and 1.

    Stricter than `polarity`, which hears a complaint in "be silly": a wish that is not plainly turned away is left.

    >>> turned_away("I don't want any jokes"), turned_away("never skip the examples"), turned_away("be silly")
    (('jokes', -1), ('examples', 1), ('be silly', 1))
    """
    sign = 1
    if len(text) > LONGEST_TURNED or foreign(text):
        return text, sign
    while (found := _TURNED.match(long_forms(text).strip())) and not _CLAUSES.search(found[1]):
        text, sign = found[1], -sign
    return text, sign
