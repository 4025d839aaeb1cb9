"""What a wish in the user's own words is about: the manner in which they are answered, or what the answer is about.

"Call me Sam" and "short sentences, please" are about the manner. "I am vegetarian" and "only suggest museums with free
entry" are about the matter: they may belong into a text that others read, where the manner does not. Read by rules.
"""

from __future__ import annotations

import re
from functools import lru_cache

from pad_memory.language.courtesies import core
from pad_memory.language.plain import LONGEST

__all__ = ["about_manner"]

_FLAGS = re.IGNORECASE | re.VERBOSE
# Words of how something is said. Where one of them stands, the wish is about the manner.
_MANNER = re.compile(
    r"""\b(?:answers?|repl(?:y|ies)|responses?|explanations?|sentences?|paragraphs?|words?|wording|tone|style|voice|manner
    |jokes?|jokey|puns?|humou?r\w*|funny|wit\w*|sarcas\w*|iron(?:y|ic)|emojis?|emoticons?|smileys?|exclamation\s+\w+|bullets?
    |bullet\s+points?|lists?|headings?|headlines?|tables?|markdown|bold|italics?|jargon|terms|metaphors?|analog(?:y|ies)
    |examples?|anecdotes?|small\s+talk|greetings?|greet|warnings?|caveats?|disclaimers?|detail\w*|thorough\w*|brief\w*
    |concise\w*|short(?:er|ly)?|long(?:er)?|length\w*|formal\w*|casual\w*|polite\w*|friendly|direct\w*|blunt\w*|simple|plain
    |simpl[ey]\w*|technical\w*|serious\w*|sources|citations?|references|footnotes?|spelling|grammar|units?|metric|imperial
    |capital\s+letters|lower\s?case|upper\s?case|slang|swear\w*|curse|cliché\w*|buzzwords?|flatter\w*|apologi[sz]\w*|praise
    |follow-up\s+questions?|step\s+by\s+step|summar\w+|tl;?dr|rhym\w+|verse|poetic|pronouns?|first\s+name|last\s+name|nickname)\b""",
    _FLAGS,
)
# What the assistant is told to do when it talks: "call me Sam", "answer in German", "never start with …".
_TALK = re.compile(
    r"""\b(?:(?:call|address|greet|refer\s+to)\s+me\b|call\s+me\s+that|my\s+name\s+is|i\s+go\s+by|my\s+pronouns
    |(?:talk|speak|chat|write|reply|respond|explain\s+\w+|answer)\s+to\s+me
    |(?:answer|reply|respond|talk|speak|write|explain|use|switch)\b.*\b(?:english|german|french|spanish|italian|portuguese|dutch
    |danish|swedish|norwegian|finnish|polish|czech|russian|ukrainian|greek|turkish|arabic|hebrew|persian|hindi|urdu|bengali
    |tamil|chinese|mandarin|japanese|korean|vietnamese|thai|indonesian|malay|swahili|hungarian|romanian|latin)
    |(?:start|begin|end|finish|close|sign)\s+(?:with|off|your|every|each|by)
    |treat\s+me|(?:ask|tell|remind|correct|praise|quiz|challenge|contradict)\s+me|say\s+(?:please|sorry|thank)|sound\s+like
    |pretend|act\s+(?:as|like))\b""",
    _FLAGS,
)
# What the assistant is told to propose: "only recommend trains".
_PROPOSE = re.compile(
    r"""\b(?:recommend\w*|suggest\w*|propos\w*|plan|book|buy|order|cook|bak\w+|pick|choose|offer|find|visit|eat|drink|wear|watch
    |travel|avoid\s+(?:places|foods?|restaurants?|hotels?|movies|films|books|brands))\b""",
    _FLAGS,
)
_OF_ONESELF = re.compile(r"^(?:i|i['’]m|i['’]ve|i['’]d|we|we['’]re|my|our|mine)\b", _FLAGS)
_IMPERATIVE = re.compile(
    r"""^(?:please|always|never|only|just|do(?:\s+not|n['’]?t)?|be|use|keep|avoid|skip|stop|no|add|give|make|write|explain|answer
    |include|leave|start|end|talk|speak|say|call|drop|cut|spare|show|put|format|sign|limit|quote|cite|mention|repeat)\b""",
    _FLAGS,
)


@lru_cache(maxsize=16_384)
def about_manner(text: str) -> bool:
    """Whether a wish is about how the user is answered, whatever the answer is about.

    >>> [about_manner(text) for text in ("call me Sam", "I prefer short sentences", "I am vegetarian")]
    [True, True, False]
    """
    if len(text) > LONGEST:
        return False
    said = core(text)
    if _TALK.search(said):
        return True
    if _PROPOSE.search(said):
        return False
    if _MANNER.search(said):
        # "I work with long lists of names" says something of the user, "I prefer lists" asks for something.
        return not _OF_ONESELF.match(said) or bool(_WISHED.match(said))
    return bool(_IMPERATIVE.match(said)) and not _OF_ONESELF.match(said)


_WISHED = re.compile(
    r"""^(?:i|we)(?:['’]d)?\s+(?:\w+\s+)?(?:prefer|like|love|want|need|appreciate|enjoy|hate|dislike|can(?:no|['’])?t\s+stand
    |do(?:\s+not|n['’]?t)\s+(?:like|want|need|enjoy|care)|would|am\s+(?:tired|sick|fed)|find)\b|^my\s+preference""",
    _FLAGS,
)
