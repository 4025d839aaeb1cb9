"""Takes negation out of a user's words: what they are about, and whether it is wanted, not wanted, or taken back."""

from __future__ import annotations

import re

__all__ = ["long_forms", "polarity", "taken_back", "without_filler"]


def _any_of(phrases: str) -> re.Pattern[str]:
    """Match any of some regular expressions parted by semicolons, as whole words, the longest first."""
    parts = sorted((" ".join(phrase.split()) for phrase in phrases.split(";")), key=len, reverse=True)
    return re.compile(rf"\b(?:{'|'.join(parts)})\b")


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


_FILLER = re.compile(
    r"\b(?:please|kindly|thanks|thank you|sorry|(?:not )?any ?more|any longer|these days|nowadays"
    r"|stop (?:it|that)|do(?: not|n['’]?t)$|from now on|in (?:the )?future|next time|as a rule|if possible"
    r"|for me"
    r"|(?:the user|i|we)(?: would| really)? (?:prefers?|likes?|wants?) (?:this|it|the following)?:)"
)


def without_filler(text: str) -> str:
    """Return the text in lower case without "please", "from now on" and the like."""
    return " ".join(_FILLER.sub(" ", text.lower()).split())


def long_forms(text: str) -> str:
    """Return the text in lower case with short forms written out and roundabout negations as plain ones."""
    text = " ".join(text.lower().split()).strip(" .!?,;:")
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
    text = long_forms(text)
    text = _NOT_TOO.sub(r"\1", _NOT_ENOUGH.sub(r"\1", text))
    text = _WANTED.sub(" ", text)
    core, count = _NEGATION.subn(" ", text)
    return " ".join(core.split()) or text, -1 if count % 2 else 1
