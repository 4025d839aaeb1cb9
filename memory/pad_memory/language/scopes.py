"""What a wish is limited to: "for code, be terse" holds for code only. Read by rules."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["THREAD", "Scoped", "scoped_parts", "thread_scope"]

THREAD = "this conversation"

LONGEST_PIECE = 300  # characters of a sentence in which a scope is looked for
_TOPIC = r"(?P<topic>[^\s,:][^,:]*?)"
# "when I ask you about …", "if it is about …", "when it comes to …", "whenever you explain …", "when writing …"
_WHEN = (
    r"(?:(?:when(?:ever)?|if|every time|each time|as soon as)\s+(?:"
    r"(?:i|we)(?:'m|’m|\s+am|'re|\s+are)?\s+(?:ask|talk|speak|chat|write|work|discuss|cod|cook|study|learn|need)\w*"
    r"(?:\s+(?:with|to)?\s*you)?(?:\s+(?:something|anything|questions?|a\s+question|help))?(?:\s+(?:about|for|on|with|of))?"
    r"|(?:it|the\s+(?:topic|subject|question|talk|conversation)|my\s+question)(?:'s|’s|\s+is|\s+comes|\s+turns)"
    r"\s+(?:about|on|to)"
    r"|you\s+(?:write|explain|answer|talk|help\s+me|discuss|do|make|give\s+me)(?:\s+questions?)?(?:\s+(?:about|on|with))?"
    r"|(?:explaining|writing|discussing|answering|talking|asked|helping\s+me)(?:\s+questions?)?(?:\s+(?:about|on|with))?"
    r")|when\s+it\s+comes\s+to|with\s+regard\s+to|with\s+respect\s+to|regarding|concerning|as\s+for)"
)
_ABOUT = (
    r"(?:(?:in|for|on|to|with)\s+(?:your\s+|all\s+|my\s+|any\s+)?"
    r"(?:answers?|repl(?:y|ies)|questions?|explanations?|responses?|anything|everything|topics?|things)"
    r"(?:\s+(?:that\s+are|related))?\s+(?:about|on|to|concerning|regarding))"
)
_KIND = r"(?:questions?|topics?|answers?|tasks?|problems?|stuff|things|matters|queries|requests?)"
_IMPERATIVE = (
    r"(?=(?:be|use|give|keep|do|don['’]?t|never|always|no|avoid|i|write|make|add|skip|stop|answer|explain|please|just"
    r"|include|stay|less|more|shorter|longer|fewer|you|warn|tell|show|drop|leave|spare|cut)\b)"
)
_FOR = r"(?:only\s+)?(?:for|in|on|about|with|at)"
_AND = r"^(?:(?:and|so|also|please|but|while|whereas|however|ok(?:ay)?|oh|well)\b[\s,]*)*"
_FLAGS = re.IGNORECASE
_LEADING = (
    re.compile(rf"{_AND}(?:{_WHEN}|{_ABOUT})\s+{_TOPIC}\s+{_IMPERATIVE}(?P<wish>.+)$", _FLAGS),
    re.compile(rf"{_AND}(?:{_WHEN}|{_ABOUT})\s+{_TOPIC}\s*[,:]\s*(?P<wish>.+)$", _FLAGS),
    re.compile(rf"{_AND}{_FOR}\s+(?P<topic>(?:[^\s,]+\s+){{0,3}}?[^\s,]+)\s+{_IMPERATIVE}(?P<wish>.+)$", _FLAGS),
    re.compile(rf"{_AND}{_FOR}\s+{_TOPIC}\s*[,:]\s*(?P<wish>.+)$", _FLAGS),
    re.compile(rf"{_AND}(?:when(?:ever)?|while)\s+(?P<topic>\w+ing(?:\s+[\w-]+){{0,2}})\s*,\s*(?P<wish>.+)$", _FLAGS),
)
_TRAILING = (
    re.compile(rf"^(?P<wish>.+?),?\s+(?:but\s+)?(?:only\s+|just\s+)?(?:{_WHEN}|{_ABOUT})\s+{_TOPIC}$", _FLAGS),
    re.compile(rf"^(?P<wish>.+?),?\s+(?:only\s+|just\s+)?(?:for|in|on|with)\s+{_TOPIC}\s+{_KIND}$", _FLAGS),
)
# "be formal in emails": only where the rest is a wish and "emails" is none, which the reader knows.
_LOOSE = re.compile(
    r"^(?P<wish>.+?),?\s+(?:only\s+|just\s+)?(?:for|in|with)\s+(?P<topic>(?:(?:my|the|all)\s+)?[\w+#-]+(?:\s+[\w+#-]+)?)$",
    _FLAGS,
)
_HERE = re.compile(
    r"\b(?:just\s+|only\s+)?(?:in|for|during)\s+(?:this|our|the\s+current)\s+(?:conversation|chat|thread|session|talk)\b"
    r"[\s,]*",
    _FLAGS,
)
_EVERYWHERE = re.compile(
    rf"{_AND}(?:otherwise|in\s+general|generally|normally|usually|everywhere(?:\s+else)?|for\s+(?:everything|anything|all)"
    r"(?:\s+(?:else|other\s+\w+))?|in\s+all\s+other\s+cases|the\s+rest\s+of\s+the\s+time|as\s+a\s+rule)\b[\s,:]*",
    _FLAGS,
)
_AROUND = re.compile(
    rf"^(?:(?:my|your|our|the|any|all|some|an?|every|each|of|about|{_KIND})\s+)+|(?:\s+{_KIND})+$|[\s.!?]+$", _FLAGS
)
# "be casual, also in my emails" holds everywhere, and in emails.
_ALSO = re.compile(
    r"^(?P<wish>.+?),?\s+(?:also|even|including|and\s+also)\s+(?:in|for|with|on|when\s+(?:you|i)\s+write)\s+(?P<topic>[^,:]+)$",
    _FLAGS,
)
_AND_IN = re.compile(r"(?:and\s+)?(?:also|even)\s+(?:in|for|with|on|when)\b", _FLAGS)
# "in emails that I write": who writes them limits nothing.
_WRITTEN = re.compile(
    r"\b(\w+s|code|mail)\s+(?:that\s+|which\s+)?(?:i|you)\s+(?:write|send|draft)(?:\s+for\s+me)?(?=\s*(?:,|$))", _FLAGS
)
# "for me, …", "in future, …", "in the end, …" limit nothing.
_NO_TOPIC = re.compile(
    r"^(?:an?|the|my|your|our|any|some|every|me|us|you|him|her|it|them|this|that|these|those|here|there|now|once|today|tomorrow|everything|anything|nothing"
    r"|everyone|everybody|anyone|one|all|each|other|ever|always|sure|short|real|time|fun|free|future|general|total|fact"
    r"|mind|advance|particular|addition|end|beginning|start|example|instance|default|part|most part|sake|god's sake"
    r"|goodness sake|heaven's sake|first place|meantime|way|same way|case|between|order|return|turn|text|message|chat"
    r"|repl(?:y|ies)|responses?|explanations?|sentences?|answer(?:s|ing)?|prefer\w*|like|want|love|hate|need"
    r"|years|taste|front|talk|idea|slides|daily life|real life"
    r"|english|german|french|spanish|italian|portuguese|dutch|russian|chinese|japanese|korean|arabic|hindi|turkish|polish"
    r"|me being.*|next time|from now on|last time|(?:again|later|more|else)|.*\b(?:i|you|me|is|are|was|don['’]t)\b.*"
    rf"|{_KIND})$",
    _FLAGS,
)
_PARTS = re.compile(r"[.;!?\n]+|,?\s+(?:but|whereas|while)\s+(?!not\b)|,?\s+(?=otherwise\b)", _FLAGS)


@dataclass(frozen=True)
class Scoped:
    """A part of a text and what it is limited to; None means nothing. `loose` is the part as the user wrote it."""

    text: str
    scope: str | None = None
    loose: str | None = None


def scoped_parts(text: str) -> tuple[Scoped, ...]:
    """Split a text into parts that each hold in one scope.

    >>> [(part.text, part.scope) for part in scoped_parts("For code, be terse, but be kind when I ask about my health")]
    [('be terse', 'code'), ('be kind', 'health')]
    """
    parts: list[Scoped] = []
    for sentence in re.split(r"[.;!?\n]+", text):
        scope = None
        for piece in _PARTS.split(sentence):
            if not piece.strip():
                continue
            piece = " ".join(piece.split())
            piece = _WRITTEN.sub(r"\1", piece) if len(piece) <= LONGEST_PIECE else piece
            also = _ALSO.match(piece.rstrip(" ,:")) if len(piece) <= LONGEST_PIECE else None
            if also and (topic := _topic(also["topic"])):
                parts += [Scoped(also["wish"].strip(" ,")), Scoped(also["wish"].strip(" ,"), topic)]
                continue
            part = _part(piece)
            if part.scope is not None and re.match(
                r"(?:and\s+)?(?:also|even)\s+(?:in|for|with|on|when)\b", piece, _FLAGS
            ):
                parts.append(Scoped(part.text))
            everywhere = _EVERYWHERE.match(part.text) if part.scope is None else None
            if everywhere:
                scope, part = None, Scoped(part.text[everywhere.end() :])
            elif part.scope is None and part.loose is None and scope is not None:
                part = Scoped(part.text, scope)  # "for code, be terse but polite"
            elif part.loose is None:
                scope = part.scope
            if part.text.strip():
                parts.append(part)
    return tuple(parts)


def thread_scope(thread: str | None) -> str:
    """The scope of a wish for one conversation; one without an id never comes up again."""
    return f"thread:{thread or ''}"


def _part(text: str) -> Scoped:
    if len(text) > LONGEST_PIECE:
        return Scoped(text)
    here = _HERE.search(text)
    if here:
        return Scoped(f"{text[: here.start()]} {text[here.end() :]}".strip(" ,"), THREAD)
    for pattern, loose in (*((item, False) for item in (*_LEADING, *_TRAILING)), (_LOOSE, True)):
        found = pattern.match(text.rstrip(" ,:"))
        if found:
            topic = _topic(found["topic"])
            if topic:
                return Scoped(found["wish"].strip(" ,"), topic, text if loose else None)
    return Scoped(text)


def _topic(text: str) -> str | None:
    """The bare name of a topic, "my emails" → "emails"; None where it names none or is a whole sentence."""
    topic = _AROUND.sub("", _AROUND.sub("", text.strip())).strip(" ,:'\"“”")
    return topic.lower() if topic and len(topic.split()) <= 6 and not _NO_TOPIC.match(topic) else None
