"""Signs by which a reader sees that an answer follows a wish: words, layout and readability; no reward, no model.

Each pole of `pad_memory.catalogue` has a rule of its text. The two rules of a dimension never hold at once, and neither
holds for many plain answers: what is only a hint of a style is not enough to show it and too much to show its opposite.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

__all__ = ["RULES", "SIGNS", "grade", "words"]

MOST_CONCISE, LEAST_DETAILED = 45, 90  # words
LEAST_CASUAL, MOST_FORMAL = 3.0, 1.0  # casual signs per 100 words
LEAST_LISTED = 3  # lines
# Plain language is written for grade 8 at most; 13 is the first year of college.
MOST_SIMPLE, LEAST_TECHNICAL = 8.0, 13.0

COLLOQUIAL = (
    r"\b(?:hey|hiya|hi|howdy|yeah|yep|yup|nope|yay|wow|whoa|oops|oh|gonna|wanna|gotta|kinda|sorta|dunno|lol|haha)\b",
    r"\b(?:awesome|buddy|pals?|dudes?|folks|guys|stuff|yummy|totally|cheers|no biggie|no worries|okey[- ]dokey)\b",
    r"\b(?:you know what|you got this|hang in there|trust me|my friend|pretty much|a (?:bunch|ton) of|tons of)\b",
    r"\b(?:so|super|that's|that is|how|pretty) cool\b",
    r"\bsuper (?:easy|simple|fun|tasty|fast|quick|important|helpful)\b",
    r", mate\b",
    r"!",
)
CONTRACTIONS = (
    r"\b\w+n't\b",
    r"\b\w+'(?:re|ll|ve|m|d)\b",
    r"\b(?:it|that|there|here|what|who|where|how|let|he|she)'s\b",
)

JOKES = (
    r"\b(?:joking|kidding|puns?|punchlines?|hilarious|wisecracks?|(?:ha){2,}|lol|rofl)\b",
    # A joke that is announced has to follow.
    r"\bjokes?\b[^.!?:\n]{0,40}:\s+\S+(?:\s+\S+){4}",
    r"\b(?:giggl|chuckl)(?:es?|ed|ing)\b",
    r"\bknock[, -]+knock\b",
    r"\bwalk(?:s|ed)? into a bar\b",
    r"\bsaid no (?:one|body) ever\b",
    r"\bwhat do you (?:call|get)\b[^?\n]{3,100}\?",
    # A riddle's answer comes with an exclamation mark; "Why …? Because …." is plain prose.
    r"\bwhy (?:did|do|does|was|were|are|is|could|can)(?:n't)? [^?\n]{3,100}\?\s+[\"“]?because [^.!?\n]{3,150}!",
)
PLAYFUL = (
    r"\b(?:jok(?:es?|ed|ers?)|laugh\w*|funn(?:y|ier|iest)|sill(?:y|ier|iest)|goofy|comedians?|comed(?:y|ies)|humou?r\w*)\b",
    "[😂🤣😆😹🤪😜]",
)

LIST_LINE = (
    r"(?m)^\s*[-*•–·▪◦‣]\s+\S",
    r"(?m)^\s*\**\(?\d{1,2}[.):]\**\s+\S",
    r"(?m)^\s*\**(?:step|day|week|tip) \d{1,2}\**[:.)]",
)
LAYOUT = (r"(?m)^\s*#{1,6} \S", r"(?m)^\s*\|.*\|\s*$")

EXAMPLES = (
    r"\b(?:for example|for instance|such as|let's say|case in point|to illustrate|say you)\b",
    r"\be\. ?g\.",
    r"\b(?:an|one|another|this|good|simple|classic|common|everyday|here is|here's) example\b",
    r"\bexamples? (?:of|would|is|are|includes?)\b|\bexamples?:",
    r"(?:^|[.!?:\n] ?)\W*(?:imagine|suppose|picture)\b",
    r"\b(?:think of|compare) (?:it|this|that|them) (?:as|like|to)\b",
)
EXAMPLE_HINTS = (r"\bexamples?\b", r"\binstances?\b", r"\b(?:including|just like|like when|similar to)\b")

CAUTIONS = (
    r"\bbe (?:very |extra |more )?careful\b|\bcareful (?:not|with|when)\b|\bwatch out\b|\bbeware\b",
    r"\b(?:caution\w*|warn(?:s|ed|ings?)?|safety|unsafe|precautions?|at your own risk)\b",
    r"\b(?:danger(?:s|ous|ously)?|hazard(?:s|ous)?|risk(?:s|y|ier)?|harmful|poison(?:ous|ing)?|toxic)\b",
    r"\b(?:injur(?:y|ies|e|ed)|keep (?:it |them )?away from)\b",
    r"\b(?:can|could|may|might) (?:cause|hurt|harm|injure|damage|kill|be fatal)\b",
    r"\b(?:see|seek|consult|ask|call|talk to) (?:(?:an?|the|your) )?(?:doctor|medical|professional|emergency)\b",
    r"(?:^|[.!?:\n] ?)\W*(?:never|avoid) \w",
)
CAUTION_HINTS = (
    r"\b(?:carefully|careful|safe|safely|safer|harm\w*|avoid\w*|protect\w*|threat\w*)\b",
    r"(?:^|[.!?:\n] ?)\W*(?:do not|don't) (?!worry|forget|hesitate|be (?:afraid|shy)|give up)\w",
)

EMOJI = (r"[\U0001F1E6-\U0001F1FF\U0001F300-\U0001FAFF☀-➿⭐⭕⌚⌛⏰⏳]",)
EMOTICONS = (r"(?<!\w)[:;=]['-]?[)(DPp](?!\w)", r"<3\b", r":[a-z]{2,}(?:_[a-z]+)*:")

# All that the rules look for, by name.
SIGNS: Mapping[str, tuple[str, ...]] = {
    "colloquial": COLLOQUIAL,
    "contractions": CONTRACTIONS,
    "jokes": JOKES,
    "playful": PLAYFUL,
    "list line": LIST_LINE,
    "layout": LAYOUT,
    "examples": EXAMPLES,
    "example hints": EXAMPLE_HINTS,
    "cautions": CAUTIONS,
    "caution hints": CAUTION_HINTS,
    "emoji": EMOJI,
    "emoticons": EMOTICONS,
}

_WORD = re.compile(r"\w+(?:['’.-]\w+)*")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")
_COMPILED = {name: [re.compile(sign, re.IGNORECASE) for sign in signs] for name, signs in SIGNS.items()}


def words(text: str) -> list[str]:
    """The words of a text; hyphens and apostrophes join them, bullets and emojis are none.

    >>> words("- Don't over-mix it 🙂")
    ["Don't", 'over-mix', 'it']
    """
    return _WORD.findall(text)


def grade(text: str) -> float:
    """The school grade of a text's readers by Coleman and Liau (1975); a text without words has 0.

    It needs letters, words and sentences only: no dictionary of syllables, which libraries fetch from the network when
    they are used. The end of a line ends a sentence.
    """
    found = words(text)
    if not found:
        return 0.0
    letters = sum(character.isalnum() for word in found for character in word)
    sentences = sum(any(map(str.isalpha, part)) for part in _SENTENCE_END.split(text)) or 1
    return (5.88 * letters - 29.6 * sentences) / len(found) - 15.8


def _count(text: str, *names: str) -> int:
    return sum(len(sign.findall(text)) for name in names for sign in _COMPILED[name])


def _has(text: str, *names: str) -> bool:
    return any(sign.search(text) for name in names for sign in _COMPILED[name])


def _casual_rate(text: str) -> float:
    """Casual words, exclamation marks and contractions per 100 words."""
    return 100 * _count(text, "colloquial", "contractions") / max(1, len(words(text)))


# Key of a pole in the catalogue → whether a text shows it. Apostrophes are straight.
RULES: Mapping[str, Callable[[str], bool]] = {
    "length:concise": lambda text: len(words(text)) <= MOST_CONCISE,
    "length:detailed": lambda text: len(words(text)) >= LEAST_DETAILED,
    "tone:formal": lambda text: _casual_rate(text) < MOST_FORMAL,
    "tone:casual": lambda text: _casual_rate(text) >= LEAST_CASUAL and _has(text, "colloquial"),
    "humor:humorous": lambda text: _has(text, "jokes"),
    "humor:serious": lambda text: not _has(text, "jokes", "playful"),
    "format:list": lambda text: _count(text, "list line") >= LEAST_LISTED,
    "format:prose": lambda text: not _has(text, "list line", "layout"),
    "level:simple": lambda text: grade(text) <= MOST_SIMPLE,
    "level:technical": lambda text: grade(text) >= LEAST_TECHNICAL,
    "examples:examples": lambda text: _has(text, "examples"),
    "examples:no-examples": lambda text: not _has(text, "examples", "example hints"),
    "warnings:warnings": lambda text: _has(text, "cautions"),
    "warnings:no-warnings": lambda text: not _has(text, "cautions", "caution hints"),
    "emoji:emoji": lambda text: _has(text, "emoji"),
    "emoji:no-emoji": lambda text: not _has(text, "emoji", "emoticons"),
}
