"""Finds in a chat message what its author says about how they want to be answered, and nothing else.

Most of what people write to an assistant is tasks ("write a short poem"), questions and quoted text. Learning from
those would be worse than learning nothing, so a sentence counts only when all of these hold:

1. It is the author's: not quoted, not code, not inside a tag or a block of context, not said before by anybody else.
2. It is meant to last ("from now on", "never", "I prefer …", "stop …"), be it until Friday, or is about the answers as
   such ("keep it short"). "This time", "for now" and "in this answer" rule it out, and so does a question.
3. It asks for something in the catalogue, or is about the answers by name ("always call me Sam").
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from pad_memory.language.plain import tidy
from pad_memory.language.reader import Reader
from pad_memory.language.scopes import scoped_parts
from pad_memory.language.times import timed_parts

__all__ = ["explicit_statements"]

MAX_WORDS = 30  # a longer sentence tells a story
MAX_SENTENCE = 400  # characters
MAX_MESSAGE = 20_000  # characters of a message that are read, the first ones


def _phrases(phrases: str, *, at_start: bool = False) -> re.Pattern[str]:
    """Match any of some regular expressions parted by semicolons, as whole words."""
    parts = "|".join(" ".join(phrase.split()) for phrase in phrases.split(";"))
    return re.compile(rf"{'^' if at_start else ''}\b(?:{parts})\b")


_QUOTED = re.compile(
    r"```.*?(?:```|\Z)"  # code
    r"|`[^`\n]{0,2000}`"
    r"|<(\w[\w-]{0,40})\b[^>]{0,400}>.*?(?:</\1>|\Z)"  # <context>…</context>
    r"|^[ \t]*>.*$"  # a quoted line
    r"|“[^”]{0,2000}”|\"[^\"]{0,2000}\"|(?<!\w)'[^'\n]{0,400}'(?!\w)|‘[^’]{0,400}’(?!\w)|«[^»]{0,2000}»",
    re.DOTALL | re.MULTILINE,
)
# A block that an app or its user put in front of the question, up to an empty line or a heading.
_CONTEXT = re.compile(
    r"^[ \t#*]*(?:context|documents?|sources?|background|excerpts?|search results?|summary|transcript|history|notes?"
    r"|(?:retrieved|relevant|past|previous)\b[^:\n]*|(?:user )?(?:memor(?:y|ies)|profile|preferences)"
    r"|e-?mail|article|text)[ \t*]*:.*?"
    r"(?=^[ \t]*$|^[ \t#*]*(?:question|task|instructions?|query|user)[ \t*]*:|\Z)",
    re.DOTALL | re.MULTILINE | re.IGNORECASE,
)
_HEADING = re.compile(r"^[ \t#*]*(?:question|task|query|user)[ \t*]*:", re.MULTILINE | re.IGNORECASE)
_SENTENCE = re.compile(r"(?<=[.!?;])\s+|\n+")

_POLITE = re.compile(
    r"^(?:(?:hi|hello|hey|ok(?:ay)?|well|so|and|also|but|oh|thanks|thank you|sorry|actually)\b[ ,.!]*)*"
    r"(?:(?:please|kindly|(?:can|could|would|will) you(?: please)?|i(?: would|['’]d) like you to"
    r"|i (?:want|need|ask) you to|make sure(?: that)? (?:you|to)|try to|remember(?: to| that)?)\b[ ,]*)*"
)
_ONCE = _phrases(
    r"""this time; for now; right now; just (?:this )?once; only (?:this|here); for once; for this; in this; today;
    tonight; this (?:one|answer|question|text|e-?mail|essay|poem|story)"""
)
_TASK = _phrases(
    r"""write; draft; create; generate; compose; summari[sz]e; translate; list; tell me about; describe; find; search;
    book; send; give me an?; show me; make (?:me )?an?""",
    at_start=True,
)
_ALWAYS = _phrases(
    r"""from now on; from here on; in (?:the )?future; going forward; every time; each time; whenever you; no more;
    you(?: should| must)? (?:always|never)"""
)
# At the start of a sentence or clause: "just to let you know, I prefer lists".
_WISH = _phrases(
    r"""(?:^|(?<=, ))(?:i(?: really| generally| usually| much| do)? (?:prefer|like|love|enjoy|appreciate)
    |i(?:['’]d| would)(?: much)? (?:rather|prefer|appreciate)|i(?: really)? (?:hate|dislike|detest|despise)
    |i can(?:no|['’])?t (?:stand|bear)|i (?:do not|don['’]?t)(?: really)? (?:like|enjoy|want any|need any)
    |i(?: am|['’]m) (?:sick|tired|fed up)|i find)"""
)
# With a wish in front it is a request after all: "I hate long movies, suggest a short one".
_REQUEST = _phrases(r"recommend; suggest; give me; find me; show me; tell me; name; one; some")
# About one piece of work: "be formal in the letter to Mr Smith".
_PIECE = _phrases(
    r"""(?:in|to|for|on|into|of) (?:the|my|this|that|his|her|our)
    (?!answers?|repl|response|explanation|point|first|future)\w+"""
)
_COMMAND = _phrases(
    r"""always; never(?! mind); stop; quit; call me (?!an?\b|the\b|back\b|later\b)\w+; address me; speak to me;
    talk to me; my preference is""",
    at_start=True,
)
# Wishes about the answers as such, which nobody has for one task.
_STYLE = _phrases(
    r"""keep (?:it|this|things|your|the answers?|answers?|explanations?);
    be (?:more |less |very |a bit |rather )?(?!my\b|an?\b|the\b)\w+;
    do(?: not|n['’]?t) (?:use|be|add|give|write|make|include|explain|warn|joke|skip|tell); avoid;
    (?:skip|cut|drop|ditch|leave out|cut out) the; give me (?:more|less|fewer|shorter|longer);
    you (?:do not|don['’]?t) (?:need|have) to;
    no \w+(?: \w+)?(?: please)?$; use (?:more|fewer|less|no|an?|plain|simple|short|bullet|emoji|proper|technical);
    use (?:formal|casual); (?:answer|reply|respond|explain)(?: things| everything)?(?: to)?(?: me)?
    (?:in|with|without|as|like|more|less|briefly|shortly|formally); (?:more|less|fewer|shorter|longer) \w+;
    shorter; longer; simpler""",
    at_start=True,
)
# About somebody or something else, or a story: "she never uses emojis", "I was told …".
_STORY = _phrases(
    r"""he; she; they; we; it; there; people; everyone; everybody; someone; my (?!preference)\w+; his; her; their; our;
    the (?!answers?|repl)\w+; i (?:was|got|had|have been|never|always|used|said|told);
    you (?:said|told|wrote|mentioned);
    i(?: do not| don['’]?t| really)* (?:like|love|enjoy|hate|dislike|prefer) (?:my|his|her|their|our|being)""",
    at_start=True,
)
_ANSWERS = _phrases(
    r"""your (?:messages?|tone|style); (?:answers?|repl(?:y|ies)|responses?|explanations?);
    you (?:answer|reply|respond|explain|write|use|call|address); call me; address me;
    (?:write|speak|talk|respond|reply)(?: to me)? in"""
)


def explicit_statements(text: str, reader: Reader, said_by_others: Iterable[str] = ()) -> tuple[str, ...]:
    """Return the sentences of a message that state a lasting wish about the answers, as the author wrote them.

    Args:
        text: one message of the user; what comes after its first 20,000 characters is not read.
        reader: knows what is in the catalogue.
        said_by_others: what the assistant, tools and the system said; a sentence found in there is not learned again,
            unless they asked for it ("Shall I keep it short?").

    >>> from pad_memory import CATALOGUE, SentenceEmbedder
    >>> explicit_statements("Never use emojis. Write a short poem.", Reader(CATALOGUE, SentenceEmbedder()))
    ('Never use emojis.',)
    """
    text = text[:MAX_MESSAGE]
    sentences = [sentence for sentence in _own_sentences(text) if _may_last(sentence)]
    if not sentences:
        return ()
    others = [
        _plain(said) for other in said_by_others for said in _SENTENCE.split(other) if not said.rstrip().endswith("?")
    ]
    return tuple(
        sentence
        for sentence in sentences
        if not _among(_plain(sentence), others)
        and (_ANSWERS.search(sentence.lower()) or reader.read(_untimed(sentence), keep_rest=False))
    )


def _untimed(sentence: str) -> str:
    """A sentence without the time for which it is meant; one about a single answer stays as it is."""
    parts = timed_parts(sentence, 0.0)
    if any(part.limits is not None and part.limits.answers == 1 for part in parts):
        return sentence
    return " ".join(part.text for part in parts)


def _own_sentences(text: str) -> Sequence[str]:
    # What is cut out leaves a mark, so that the rest of its sentence is not taken for a whole one.
    own = _HEADING.sub("", _CONTEXT.sub("\n", _QUOTED.sub(" \ufffc ", text)))
    sentences = [sentence.strip() for sentence in _SENTENCE.split(own)]
    return [sentence for sentence in sentences if sentence and "\ufffc" not in sentence]


def _may_last(sentence: str) -> bool:
    if len(sentence) > MAX_SENTENCE and len(sentence := " ".join(sentence.split())) > MAX_SENTENCE:
        return False
    sentence = _untimed(sentence)
    words = " ".join(tidy(sentence).lower().split())
    request = _POLITE.sub("", words, count=1).rstrip(" .!?;")
    asked = words.endswith("?") and not re.search(r"\b(?:can|could|would|will) you\b", words)
    if asked or len(words.split()) > MAX_WORDS or _ONCE.search(words) or _STORY.match(request):
        return False
    if _ALWAYS.search(words):
        return True
    limited = next((part.text for part in scoped_parts(sentence) if part.scope and part.loose is None), None)
    if limited is not None:  # "for code, be terse" is a wish for ever if "be terse" is one
        request = _POLITE.sub("", " ".join(limited.lower().split()), count=1).rstrip(" .!?;")
    if _TASK.match(request) or _PIECE.search(words):
        return False
    wished = _WISH.search(request) and not _REQUEST.search(words)
    return bool(wished or _COMMAND.match(request) or _STYLE.match(request))


def _plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower()))


def _among(sentence: str, others: Sequence[str]) -> bool:
    return any(f" {sentence} " in f" {other} " for other in others)
