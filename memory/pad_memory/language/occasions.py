"""What a request asks for: an answer to the user, or a text that somebody or something else will read. Read by rules.

"How do I write a good letter?" is answered to the user. "Write a letter to my landlord" makes a text for the landlord.
What is quoted is not read: it is what the request is about.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

__all__ = ["ANSWER", "DATA", "Occasion", "named_kinds", "occasion"]

LONGEST = 4_000  # characters of a request that are read, the first and the last half of them
_FLAGS = re.IGNORECASE


@dataclass(frozen=True)
class Occasion:
    """What is written.

    Args:
        kind: "answer" is for the user. All others are for others: "email", "letter", "message", "post", "text", "code",
            "commit", "translation" and "data", which a program reads.
        reader: "friends", "family" or "work", where a text for people names them. None means somebody else.
    """

    kind: str = "answer"
    reader: str | None = None

    @property
    def for_user(self) -> bool:
        """Whether the user is the one who reads it."""
        return self.kind == "answer"

    @property
    def spoken(self) -> str:
        """The kind in words, "a letter"."""
        return _SPOKEN[self.kind]


_SPOKEN = {
    "answer": "an answer to the user",
    "email": "an email",
    "letter": "a letter",
    "message": "a message",
    "post": "something to publish",
    "text": "a text for others",
    "code": "code",
    "commit": "a commit message",
    "translation": "a translation",
    "data": "data for a program",
}
ANSWER, DATA = Occasion(), Occasion("data")

# The nouns of each kind, the narrow ones first: a commit message is no message.
_NOUNS = {
    "commit": r"commit\s+(?:messages?|texts?)|commits|change[ ]?log\s+entr\w+|(?:pull|merge)\s+requests?(?:\s+\w+)?",
    "code": r"""code|functions?|scripts?|class(?:es)?|programs?|quer(?:y|ies)|sql|regex\w*|regular\s+expressions?|css
        |(?:unit\s+)?tests?|docker[ ]?files?|make[ ]?files?|algorithms?|methods?|modules?|components?|macros?
        |stylesheets?|html|stack\s+in\s+\w+""",
    "email": r"e-?mails?|mails?|newsletters?",
    "letter": r"""letters?|applications?|cards?|postcards?|invitations?|complaints?|resignations?|references?
        |recommendations?|apolog(?:y|ies)|refusals?|notices?""",
    "message": r"""messages?|texts|texts?\s+(?:messages?|to|for)|text(?=\s*(?:that|$))|sms|whats[ ]?apps?|dms?
        |voice[ ]?mails?|chat\s+messages?|notes?""",
    "post": r"""tweets?|posts?|captions?|reviews?|listings?|ad(?:vert\w*)?s?|announcements?|(?:press|news)\s+releases?
        |(?:press\s+)?statements?|articles?|blogs?|flyers?|leaflets?|brochures?|posters?|slogans?|signs?
        |(?:product\s+)?descriptions?|profiles?|bios?|web\s+pages?|obituar(?:y|ies)|testimonials?""",
    "text": r"""speech(?:es)?|toasts?|eulog(?:y|ies)|vows|poems?|haikus?|limericks?|songs?|lyrics|stor(?:y|ies)|tales?
        |reports?|minutes|agendas?|abstracts?|essays?|thes[ie]s|papers?|contracts?|polic(?:y|ies)|terms|labels?
        |templates?|greetings?|cvs?|r[ée]sum[ée]s?|affidavits?|instructions?|sheets?
        |presentations?|documents?|wills?|petitions?|warrant(?:y|ies)""",
}
_KINDS = {kind: re.compile(rf"\b(?:{nouns})\b", _FLAGS | re.VERBOSE) for kind, nouns in _NOUNS.items()}
_TITLED = re.compile(
    rf"^(?:an?\s+|the\s+)?(?:\w+\s+){{0,2}}?(?:{'|'.join(_NOUNS.values())})\s+(?:for|to|about|that|of)\b",
    _FLAGS | re.VERBOSE,
)
_OTHERS = re.compile(
    r"\b(?:everything|anything|all|texts?|things|whatever)\b.*\b(?:for\s+(?:others|other\s+people|somebody|someone)"
    r"|(?:you|i)\s+(?:write|draft)\s+for\s+me|in\s+my\s+name)\b",
    _FLAGS,
)
_READERS = {
    "friends": re.compile(r"\b(?:girl|boy)?(?:friends?|mates?|pals?|budd(?:y|ies))\b", _FLAGS),
    "family": re.compile(
        r"\b(?:family|m[uo]m(?:my)?|mother|dad(?:dy)?|father|parents?|sisters?|brothers?|siblings?|sons?|daughters?|kids?"
        r"|child(?:ren)?|wife|husband|partner|grand\w+|uncles?|aunts?|cousins?|nieces?|nephews?|\w+-in-law)\b",
        _FLAGS,
    ),
    "work": re.compile(
        r"\b(?:work|boss|supervisor|manager|colleagues?|co-?workers?|team|customers?|clients?|suppliers?|employer)\b",
        _FLAGS,
    ),
}

# What a request is about and not what it asks for: code, quotes.
_QUOTED = re.compile(
    r"```.*?(?:```|\Z)|`[^`\n]*`|“[^”]*”|„[^“”]*[“”]|\"[^\"]*\"|«[^»]*»|‘[^’]*’|(?<!\w)'[^'\n]*'(?!\w)|「[^」]*」",
    re.DOTALL,
)
# Around it an app may have put what it retrieved.
_ASKED = re.compile(r"^\W*(?:(?:user\s+)?(?:query|question)|instruction)\s*:\s*(\S.*)$", _FLAGS | re.MULTILINE)
_CLAUSE = re.compile(r"(?<=[.!?])\s+|\n+|[;:](?:\s+|$)|,\s+(?=(?:so\s+|and\s+)?(?:please|can\s+you|could\s+you)\b)")
_POLITE = re.compile(
    r"""^(?:(?:hi|hello|hey|ok(?:ay)?|well|so|now|and|also|then|please|kindly|thanks|\W+)\b[\s,.!]*
        |(?:can|could|would|will)\s+(?:you|u)(?:\s+(?:please|kindly|also|just))*\s+
        |(?:i\s+(?:want|need|would\s+like|['’]d\s+like)|i['’]d\s+like)(?:\s+you)?\s+to\s+
        |i\s+have\s+to\s+|i\s+must\s+|let['’]?s\s+|go\s+ahead\s+and\s+
        |help\s+me\s+(?:to\s+|with\s+)?(?=writ|draft|compos|word|reply|respond)|try\s+to\s+)+""",
    _FLAGS | re.VERBOSE,
)
_ASKS = re.compile(
    r"^(?:wh(?:at|o|y|en|ere|ich|ose)|how|is|are|am|was|were|do|does|did|has|have|should|shall|may|might|must|can\s+(?!you)"
    r"|could\s+(?!you)|would\s+(?!you)|will\s+(?!you)|explain|tell\s+(?:me|us)|describe\s+to\s+me|read|check|help\s+me"
    r"|give\s+me\s+(?:tips|advice|feedback)|sum\s+(?:it\s+|this\s+)?up)\b",
    _FLAGS,
)
_LANGUAGE = (
    r"(?:english|german|french|spanish|italian|portuguese|dutch|danish|swedish|norwegian|finnish|polish|czech|russian"
    r"|ukrainian|greek|turkish|arabic|hebrew|persian|farsi|hindi|urdu|bengali|tamil|chinese|mandarin|cantonese|japanese"
    r"|korean|vietnamese|thai|indonesian|malay|swahili|hungarian|romanian|bulgarian|croatian|serbian|catalan|latin"
    r"|icelandic|irish|welsh|tagalog|filipino)"
)
_TRANSLATES = re.compile(
    r"^(?:(?:re)?translate|translations?\b(?!\s+(?:theory|studies))|übersetz|traduis|traduire|traduce|traduci|vertaal|przetłumacz|переведи"
    r"|翻译|翻譯|訳して)"
    rf"|^(?:put|render|turn|bring|write)\b.*\b(?:in)?to\s+{_LANGUAGE}\b"
    rf"|^(?:how\s+(?:do|would|can)\s+(?:you|i|we|one)\s+say\s+(?:…|.*\bin\s+{_LANGUAGE}\b)|what(?:\s+is|['’]s)\s+(?:the\s+word\s+for\s+)?"
    rf"(?:…|(?!the\b|an?\b)\w+(?:\s+\w+){{0,3}}|\W+)\s+in\s+{_LANGUAGE}\b\s*\??$)",
    _FLAGS,
)
_FORMAT = r"(?:json|yaml|yml|csv|xml|toml|ini|tsv)"
_STRUCTURED = re.compile(
    rf"\b(?:as|in|into|to)\s+(?:an?\s+|the\s+)?(?:valid\s+|single\s+|plain\s+)?{_FORMAT}\b"
    rf"|^(?:write|make|create|generate|produce|give|return|output|build|convert|turn|format|extract|list|show|fill)\b.*\b{_FORMAT}\b"
    rf"|\b{_FORMAT}\s*,?\s*(?:please)?[.!]*$",
    _FLAGS,
)
# Verbs that make a text, whatever its kind.
_WRITES = re.compile(
    r"^(?:write|draft|compose|word|pen|formulate|rewrite|reword|rephrase|paraphrase|polish|proof-?read|correct|edit|revise"
    r"|fix\s+the\s+(?:grammar|spelling|wording)|improve|shorten|re-?draft|fill\s+in|ghost-?write|finish\s+(?:this|my)"
    r"|schreib\w*|verfass\w*|formulier\w*|écris|rédige|escribe|redacta|scrivi|redigi|schrijf|napisz|напиши|写|寫|書いて)\b",
    _FLAGS,
)
# Verbs that make it only where what they make is one: "make a plan" is for the user, "make a flyer" is not.
_MAKES = re.compile(
    r"^(?:make|create|generate|give\s+me|suggest|produce|prepare|provide|propose|design|put\s+together|turn|convert|i\s+need"
    r"|i\s+want|i['’]d\s+like|i\s+would\s+like|send|come\s+up\s+with|format|transform|need|build|develop|set\s+up)\b",
    _FLAGS,
)
_CODES = re.compile(r"^(?:implement|code|program|refactor|debug\s+and\s+rewrite)\b", _FLAGS)
# "Reply to this email", "text my wife that …", "tell my team that …".
_ANSWERS = re.compile(
    r"^(?:reply|respond|answer(?=\s+(?:to\s+)?(?:him|her|them|(?:this|that|the|my)\s+(?:\w+\s+){0,2}?(?:e-?mails?|mails?"
    r"|letters?|messages?|texts?|notes?|posts?|reviews?|comments?|tweets?|cards?|invitations?|sms|landlord|neighbou?r"
    rf"|{'|'.join(each.pattern for each in _READERS.values())}))))(?!\s+(?:to|with|in|as|only)\s+"
    r"(?:me|the\s+\w*\s*(?:question|query)|json|a\b|an\b|one\b))\b",
    _FLAGS,
)
_PEOPLE = r"(?:my|the|our|his|her|their|all|mr|mrs|ms|dr|everyone|everybody|him|her|them|[A-Z]\w+)\b"
_SENDS = re.compile(rf"^(?i:text|message|e-?mail|mail|write\s+to|tweet|dm|sms|whatsapp)\s+{_PEOPLE}")
_TELLS = re.compile(
    rf"^(?i:tell|inform|ask|remind|thank|congratulate|invite|notify|let|wish)\s+(?!(?:me|us)\b){_PEOPLE}(?!.*\?$)"
)
_SUMS = re.compile(
    r"^(?:summari[sz]e|sum\s+up|condense|recap|explain|describe)\b.*\bfor\s+(?:my|our|the|his|her|an?)\s+(?!(?:own|self|sake"
    r"|first|next|last|exam|test)\b)\w+",
    _FLAGS,
)
# What is written for the user to read.
_FOR_USER = re.compile(
    r"^\w+(?:\s+(?:me|us|down|out|up))*\s+(?:about\b|(?:an?|the|some|my|a\s+few)?\s*(?:\w+\s+){0,2}?(?:explanations?|summar(?:y|ies)"
    r"|overviews?|plans?|lists?|recipes?|guides?|comparisons?|schedules?|itinerar(?:y|ies)|outlines?|analys[ie]s"
    r"|tips|ideas|steps|notes\s+(?:for\s+me|on)|to-?dos?|introductions?\s+to"
    r"|(?:answers?|responses?)\s+(?:that\s+\w+\s+completes|to\s+the\s+(?:question|query|user|following))|pros\s+and\s+cons|facts)\b)",
    _FLAGS,
)
_FOR_OTHERS = re.compile(
    rf"\bfor\s+(?:my|our|the|his|her|their|all)\s+(?:\w+\s+)?(?:{'|'.join(each.pattern for each in _READERS.values())}"
    r"|board|members|students?|class|faculty|public|press|readers?|visitors?|guests?|residents?|patients?|users?)",
    _FLAGS,
)
# A request for a change of what was written before.
_CHANGES = re.compile(
    r"^(?:make|keep|shorten|lengthen|change|rewrite|rephrase|revise|improve|polish|translate|put)\s+(?:it|that|this|them)\b"
    r"|^(?:add|mention|include|remove|delete|leave\s+out|drop|replace|start|end|sign)\b(?!.*\?$)"
    r"|^(?:a\s+(?:bit|little)\s+|much\s+|even\s+)?(?:shorter|longer|more|less|friendlier|simpler|another|again|once\s+more)\b"
    r"|^(?:try|do\s+it)\s+again\b",
    _FLAGS,
)


def occasion(*texts: str) -> Occasion:
    """Say what the last of a user's messages asks for; where it asks for a change only, what the one before asked for.

    Args:
        texts: what the user said in this conversation, the oldest first.

    >>> occasion("How do I write a good letter?").kind, occasion("Write a letter to my landlord.").kind
    ('answer', 'letter')
    >>> occasion("Write a tweet about tea.", "Make it shorter.").kind
    'post'
    """
    for text in reversed(texts):
        asked = _read(text)
        if not asked.for_user or not _changes(text):
            return asked
    return ANSWER


def named_kinds(text: str) -> Sequence[Occasion]:
    """The occasions that a scope or a wish names: "emails to my family" → an email to the family.

    A reader of None stands for every reader, the kind "*" for every text for others.
    """
    return _named(text)


@lru_cache(maxsize=4096)
def _named(text: str) -> tuple[Occasion, ...]:
    readers: list[str | None] = [name for name, pattern in _READERS.items() if pattern.search(text)]
    readers = readers or [None]
    left, kinds = text, []
    for kind, pattern in _KINDS.items():
        if pattern.search(left):
            kinds.append(kind)
            left = pattern.sub(" ", left)
    if re.search(rf"\b{_FORMAT}\b", text, _FLAGS):
        kinds.append("data")
    if re.search(r"\btranslat", text, _FLAGS):
        kinds.append("translation")
    if _OTHERS.search(text):
        kinds = ["*"]
    return tuple(Occasion(kind, reader) for kind in kinds for reader in readers)


def _clauses(text: str) -> list[str]:
    if asked := _ASKED.findall(text):
        text = asked[-1]
    if len(text) > LONGEST:
        text = f"{text[: LONGEST // 2]}\n{text[-LONGEST // 2 :]}"
    plain = " ".join(_QUOTED.sub(" … ", text).split(" "))
    return [clause.strip() for clause in _CLAUSE.split(plain) if clause.strip(" …")]


def _changes(text: str) -> bool:
    return any(_CHANGES.search(_POLITE.sub("", clause)) for clause in _clauses(text)[:1])


@lru_cache(maxsize=256)
def _read(text: str) -> Occasion:
    clauses = _clauses(text)
    for clause in clauses:
        kind = _kind(clause)
        if kind is not None:
            if kind in ("text", "message"):  # "I have to send an e-mail, please write it"
                kind = next((named for c in clauses if (named := _noun(c)) not in (None, "text")), kind)
            reader = next((name for name, pattern in _READERS.items() if pattern.search(" ".join(clauses))), None)
            return Occasion(kind, reader)
    return ANSWER


def _kind(clause: str) -> str | None:
    """The kind of text for others that a clause asks for; None: it asks for none."""
    asked = _POLITE.sub("", clause)
    if _TRANSLATES.search(asked):
        return "translation"
    if _ASKS.match(asked) and not _SUMS.match(asked):
        return None
    if _STRUCTURED.search(asked):
        return "data"
    noun = _noun(asked)
    if _CODES.match(asked):
        return "code"
    if replies := _ANSWERS.match(asked):
        return _noun(asked[replies.end() :]) or "message"
    if _SENDS.match(asked) or _TELLS.match(asked):
        return noun or ("email" if re.match(r"e-?mail|mail", asked, _FLAGS) else "message")
    if _SUMS.match(asked):
        return "text"
    if _WRITES.match(asked):
        return None if _FOR_USER.match(asked) and not _FOR_OTHERS.search(asked) else noun or "text"
    if _MAKES.match(asked):
        into = re.search(r"\binto\s+(.*)", asked, _FLAGS)
        return None if _FOR_USER.match(asked) else _noun(into[1]) if into else noun
    return noun if noun is not None and _TITLED.match(asked) else None


def _noun(clause: str) -> str | None:
    """The kind of the first noun of a clause that names one."""
    found = [(match, kind) for kind, pattern in _KINDS.items() if (match := pattern.search(clause))]
    return min(found, key=lambda one: (one[0].start(), -one[0].end()))[1] if found else None
