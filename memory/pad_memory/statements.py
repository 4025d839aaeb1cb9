"""Finds in a chat message what its author says about how they want to be answered, and nothing else.

Most of what people write to an assistant is tasks ("write a short poem"), questions and quoted text. Learning from
those would be worse than learning nothing, so a sentence counts only when all of these hold:

1. It is the author's: not quoted, not code, not inside a tag or a block of context, and not said before by anybody else.
2. It is meant to last ("from now on", "never", "I prefer …", "stop …"), or is about the answers as such ("keep it short").
   "This time", "for now" and "in this answer" rule it out, and so does a question.
3. It asks for something in the catalogue, or is about the answers by name ("always call me Sam").
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from pad_memory.reading import Reader

__all__ = ["explicit_statements"]

MAX_WORDS = 30  # a longer sentence tells a story

_QUOTED = re.compile(
    r"```.*?(?:```|\Z)"  # code
    r"|`[^`\n]*`"
    r"|<(\w[\w-]*)\b[^>]*>.*?(?:</\1>|\Z)"  # <context>…</context>
    r"|^[ \t]*>.*$"  # a quoted line
    r"|“[^”]*”|\"[^\"]*\"|(?<!\w)'[^'\n]*'(?!\w)|‘[^’]*’(?!\w)|«[^»]*»",
    re.DOTALL | re.MULTILINE,
)
# A block that an app or its user put in front of the question, up to the next heading or empty line.
_CONTEXT = re.compile(
    r"^[ \t#*]*(?:context|documents?|sources?|background|excerpts?|search results?|(?:retrieved|relevant|past|previous)\b[^:\n]*"
    r"|(?:user )?(?:memor(?:y|ies)|profile|preferences)|summary|transcript|history|notes?|e-?mail|article|text)"
    r"[ \t*]*:.*?(?=^[ \t]*$|^[ \t#*]*(?:question|task|instructions?|query|user)[ \t*]*:|\Z)",
    re.DOTALL | re.MULTILINE | re.IGNORECASE,
)
_HEADING = re.compile(r"^[ \t#*]*(?:question|task|query|user)[ \t*]*:", re.MULTILINE | re.IGNORECASE)
_SENTENCE = re.compile(r"(?<=[.!?;])\s+|\n+")

_POLITE = re.compile(
    r"^(?:(?:hi|hello|hey|ok(?:ay)?|well|so|and|also|but|oh|thanks|thank you|sorry|actually)\b[ ,.!]*)*"
    r"(?:(?:please|kindly|(?:can|could|would|will) you(?: please)?|i(?: would|['’]d) like you to|i want you to|i need you to"
    r"|i ask you to|make sure(?: that)? (?:you|to)|try to|remember(?: to| that)?)\b[ ,]*)*",
)
_ONCE = re.compile(
    r"\b(?:this time|for now|right now|just (?:this )?once|only (?:this|here)|for this|in this|this (?:one|answer|question|text|"
    r"email|essay|poem|story)|today|tonight|for once)\b"
)
_ONCE_ONLY_TASK = re.compile(
    r"^(?:write|draft|create|generate|compose|summari[sz]e|translate|list|tell me about|describe|find|search|book|send|give me an?|"
    r"show me|make (?:me )?an?)\b"
)
_LASTING = re.compile(
    r"\b(?:from now on|in (?:the )?future|going forward|from here on|every time|each time|whenever you|as a rule|"
    r"in general|generally|by default|i(?: really| generally| usually| much| do)? (?:prefer|like|love|enjoy|appreciate)"
    r"|i(?:['’]d| would)(?: much)? rather|i (?:really )?(?:hate|dislike|detest|despise|can(?:no|['’])?t stand|can(?:no|['’])?t bear)"
    r"|i (?:do not|don['’]?t)(?: really)? (?:like|enjoy|want any|need any)|i(?: am|['’]m) (?:sick|tired|fed up)|no more)\b"
    r"|^(?:always|never(?! mind)|stop|quit|call me|address me|speak to me|talk to me)\b"
    r"|\byou(?: should| must)? (?:always|never)\b|^my preference is\b"
)
# About somebody or something else, or a story: "she never uses emojis", "I was told …".
_OTHERS = re.compile(
    r"^(?:he|she|they|we|it|there|people|everyone|everybody|someone|my (?!preference)|his|her|their|our|the (?!answers?|repl)"
    r"|i (?:was|got|had|have been|never|always|used|said|told)|you (?:said|told|wrote|mentioned))\b"
)
# Wishes about the answers as such, which nobody says of one task.
_STYLE = re.compile(
    r"^(?:keep (?:it|this|things|your|the answers?|answers?|explanations?)|be (?:more |less |very |a bit |rather )?(?!my\b|a\b|an\b|the\b)\w+"
    r"|do(?: not|n['’]?t) (?:use|be|add|give|write|make|include|explain|warn|joke|skip|tell)|avoid|skip the|no \w+(?: \w+)?(?: please)?$"
    r"|use (?:more|fewer|less|no|a |an |plain |simple|short|bullet|emoji|proper|technical|formal|casual)"
    r"|(?:answer|reply|respond|explain)(?: things| everything)?(?: to)?(?: me)? (?:in|with|without|as|like|more|less|briefly|shortly|formally)"
    r"|(?:more|less|fewer|shorter|longer) \w+|(?:shorter|longer|simpler))\b"
)
_ANSWERS = re.compile(
    r"\b(?:your (?:answers?|replies|reply|responses?|explanations?|messages?|tone|style)|(?:answers?|replies|responses|explanations)\b"
    r"|when you (?:answer|reply|explain)|you (?:answer|reply|respond|explain|write|use|call|address)|call me|address me"
    r"|(?:answer|reply|respond|write|speak|talk|explain)(?: to me)? in)\b"
)


def explicit_statements(text: str, reader: Reader, said_by_others: Iterable[str] = ()) -> tuple[str, ...]:
    """Return the sentences of a message that state a lasting wish about the answers, as the author wrote them.

    Args:
        text: one message of the user.
        reader: knows what is in the catalogue.
        said_by_others: what the assistant, tools and the system said; a sentence found in there is not learned again.

    >>> from pad_memory import CATALOGUE, SentenceEmbedder
    >>> explicit_statements("Never use emojis. Write a short poem.", Reader(CATALOGUE, SentenceEmbedder()))
    ('Never use emojis.',)
    """
    sentences = [sentence for sentence in _own_sentences(text) if _may_last(sentence)]
    if not sentences:
        return ()
    others = [_plain(other) for other in said_by_others]
    return tuple(
        sentence
        for sentence in sentences
        if not _among(_plain(sentence), others)
        and (_ANSWERS.search(sentence.lower()) or reader.read(sentence, keep_rest=False))
    )


def _own_sentences(text: str) -> Sequence[str]:
    # What is cut out leaves a mark, so that the rest of its sentence is not taken for a whole one.
    own = _HEADING.sub("", _CONTEXT.sub("\n", _QUOTED.sub(" \ufffc ", text)))
    sentences = [sentence.strip() for sentence in _SENTENCE.split(own)]
    return [sentence for sentence in sentences if sentence and "\ufffc" not in sentence]


def _may_last(sentence: str) -> bool:
    words = " ".join(sentence.lower().split())
    request = _POLITE.sub("", words, count=1)
    asked = words.endswith("?") and not re.match(r"(?:.*\b)?(?:can|could|would|will) you\b", words)
    if asked or len(words.split()) > MAX_WORDS or _ONCE.search(words) or _OTHERS.match(request):
        return False
    if _ONCE_ONLY_TASK.match(request) and not re.search(r"\b(?:from now on|always|never|every time|in future)\b", words):
        return False
    return bool(_LASTING.search(request) or _LASTING.search(words) or _STYLE.match(request))


def _plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower()))


def _among(sentence: str, others: Sequence[str]) -> bool:
    return any(f" {sentence} " in f" {other} " for other in others)
