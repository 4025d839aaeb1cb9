"""For how long a wish is meant: "until Friday, be brief" holds until Friday, "for the next three answers" for three.

What is found is cut out of the words, so that what is left is the wish. A time that is not the wish's own ("use this
week's news", "my exam is on Friday", "every Monday") is left where it stands and limits nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from itertools import pairwise
from zoneinfo import ZoneInfo

from dateutil.relativedelta import relativedelta

from pad_memory.errors import InvalidEventError
from pad_memory.language.plain import LONGEST, tidy
from pad_memory.language.spans import MONTH, NUMBER, SPAN, Span, number, span

__all__ = ["UTC", "Limits", "Timed", "check_zone", "clock_time", "timed_parts"]

UTC = "UTC"
MOST_ANSWERS = 1000
LONGEST_PIECE = 400  # characters of a sentence in which a time is looked for
MOST_PHRASES = 6  # about time in one sentence


@dataclass(frozen=True)
class Limits:
    """When a wish holds.

    Args:
        since: Unix seconds from which on; None means from when it was said.
        until: Unix seconds up to which; None means for good.
        answers: the number of answers it is for; None means any number.
    """

    since: float | None = None
    until: float | None = None
    answers: int | None = None


@dataclass(frozen=True)
class Timed:
    """A part of a text without the words about time, and when it holds; None means always."""

    text: str
    limits: Limits | None = None


def check_zone(zone: object) -> str:
    """Return the name of a time zone.

    Raises:
        InvalidEventError: there is no such zone.
    """
    if isinstance(zone, str):
        try:
            return _zone(zone).key
        except (OSError, ValueError):  # ZoneInfoNotFoundError is a KeyError only where the name has no file
            pass
        except KeyError:
            pass
    raise InvalidEventError(f"A time zone has to be a name such as 'UTC' or 'Europe/Berlin', but is {zone!r:.80}.")


def clock_time(seconds: float, zone: str) -> str:
    """Return a time as a clock of the zone shows it.

    >>> clock_time(0, "Europe/Berlin")
    'Thu 1970-01-01 01:00 CET'
    """
    return datetime.fromtimestamp(seconds, _zone(zone)).strftime("%a %Y-%m-%d %H:%M %Z")


def timed_parts(text: str, now: float, zone: str | Callable[[], str] = UTC) -> tuple[Timed, ...]:
    """Split a text into parts that each hold at one time; a text without a time is one part, as it is.

    Args:
        text: what the user said.
        now: when, in Unix seconds.
        zone: whose clock and calendar are meant, or what returns it; called only where the text may name a time.

    >>> [(part.text, part.limits.until) for part in timed_parts("Until Friday, be brief.", 0.0)]
    [('be brief.', 172800.0)]
    """
    if len(text) > LONGEST or not _HINT.search(text):
        return (Timed(text),)
    zone = zone if isinstance(zone, str) else zone()
    local = datetime.fromtimestamp(now, _zone(zone)).replace(tzinfo=None)
    pieces = [piece for sentence in _SENTENCES.split(tidy(text)) for piece in _pieces(sentence)]
    parts = [_timed(piece, local, now, zone) for piece in pieces if piece.strip()]
    if not any(part.limits for part in parts):
        return (Timed(text),)
    joined: list[Timed] = []
    for part in parts:  # what belongs together is read together
        if joined and joined[-1].limits == part.limits:
            joined[-1] = replace(part, text=f"{joined[-1].text} {part.text}")
        else:
            joined.append(part)
    return tuple(joined)


@cache
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


# Most wishes name no time, and this is quicker than to look for each way to name one.
_HINT = re.compile(
    r"days?\b|night|\bweek|month|\byear|quarter|hour|minute|\bsecond|morning|noon\b|evening|morrow|decade"
    r"|\b(?:jan|feb|mar(?:ch)?\b|apr|may\b|ju[nl]|aug|sep|oct|nov|dec)|christmas|easter|halloween|valentine"
    r"|\b(?:once|time|then)\b|\d|\b(?:next|following|coming|for|over)\b.*\b(?:answer|repl|response|message|question|turn|expl)",
    re.IGNORECASE,
)
_SENTENCES = re.compile(r"(?<=[.!?;])(?<!\b[A-Z][a-z]\.)(?<!\bMrs\.)(?<!\bProf\.)\s+(?=[A-Z])|(?<=[;!?])\s+|\n+")
_UNIT = (
    r"(?P<unit>seconds?|minutes?|min|hours?|days?|nights?|weekends?|weeks?|fortnights?|months?|quarters?|years?"
    r"|decades?)\b"
)
_ANSWER = r"(?:answers?|repl(?:y|ies)|responses?|messages?|questions?|turns?|explanations?)\b"
_LEAD = r"(?:(?:just|only|but|and|so|ok(?:ay)?|please|starting|at least|valid|strictly)\s+)*"
_TILL = r"(?:up\s+)?(?:until|till?|'?til|through|thru|to)(?:\s+and\s+including)?"
_TAIL = r"(?:\s+(?:only|on(?:wards?)?|forwards?|inclusive))*"
# Each frame has the groups of what it says. The longer come first.
_FRAMES = [
    re.compile(rf"\b{_LEAD}(?:{pattern}){_TAIL}(?!\s*['-]s?\w)", re.IGNORECASE)
    for pattern in (
        rf"(?:(?:from|between)\s+)(?P<first>{SPAN}|\d{{1,2}})(?:\s*,)?\s+(?:{_TILL}|and)\s+(?P<last>{SPAN}|(?:the\s+)?\d{{1,2}}(?:st|nd|rd|th)?)",
        rf"(?:on\s+)?(?P<first>{SPAN})\s+(?:through|thru|until|till|and)\s+(?P<last>{SPAN})",
        rf"(?:for|during|over)\s+the\s+(?:rest|remainder)\s+of\s+(?P<rest>(?:the|this)\s+day|today|{SPAN})",
        r"(?P<day>for\s+the\s+day)\b",
        r"(?P<rest>all\s+week)\b",
        rf"(?:for|in|over|during|within)\s+(?:the\s+|my\s+|your\s+)?(?:(?:next|coming|following)\s+)?(?:about\s+)?"
        rf"(?P<count>half\s+an|{NUMBER}|(?<=next\s)|(?<=coming\s)|(?<=following\s))\s*{_UNIT}",
        rf"(?:(?:for|in|over|during|with|on)\s+)?(?:the|your|my|these)\s+(?:next|following|coming)\s+"
        rf"(?P<answers>{NUMBER}|-?\d+)\s+(?:\w+\s+)?{_ANSWER}",
        r"(?P<once>(?:(?:for|in|with|on)\s+)?(?:(?:your|my)\s+next|the\s+next(?=\s+(?:answer|reply|response|question)))\s+"
        r"(?:answer|reply|response|message|question|turn|explanation)\b)",
        rf"(?:for|over)\s+(?P<answers>{NUMBER}|-?\d+)\s+(?:more\s+|further\s+)?{_ANSWER}",
        r"(?P<once>(?:for\s+)?(?:this|next)\s+(?:once|time)|just\s+once)\b",
        rf"(?:{_TILL}|by\s+the\s+time\s+of)\s+(?P<until>{SPAN}|then\b)",
        rf"before\s+(?P<before>{SPAN})",
        rf"(?:from|starting(?:\s+(?:on|from|at|with))?|beginning(?:\s+(?:on|with))?|as\s+(?:of|from)|effective|since)"
        rf"\s+(?P<since>{SPAN})",
        rf"after\s+(?P<after>{SPAN})",
        rf"(?:(?:for|during|over|in|on|within|at)\s+)?(?P<within>{SPAN})",
    )
]
# What stands before a time that is not the wish's: a recurrence, a name, a question, somebody's life.
_NOT_BEFORE = re.compile(
    r"(?:\b(?:every|each|once|like|as|is|are|was|were|am|it's|that's|he's|she's|about|born|turns?|happen\w*|wait|due|called"
    r"|starts?|begins?|ends?|opens?|closes?|days?|named|last|of|by|than|not|pretend|since)|['’]s)\s+$",
    re.IGNORECASE,
)
# What makes a day without "until" or "from" a name: "the word tomorrow".
_NAMING = re.compile(r"\b(?:words?|dates?|the|an?|my|your|our|title|term|be)\s+$", re.IGNORECASE)
_SUBORDINATE = re.compile(
    r"\b(?:what|which|who|whom|whose|when(?:ever)?|if|while|whether|as if|as though|texts? about|about|because|that"
    r"|though|although|(?:i|we|you|he|she|they) (?:gave|told|said|sent|wrote|asked|showed|made))\b",
    re.IGNORECASE,
)
# Somebody's life, told in a sentence of its own: "I graduate next year", "my son turns seven on Monday".
_STORY = re.compile(
    r"^\s*(?:and\s+|but\s+)?(?:(?:i|we)['’](?:ve|ll|d\s+been)\b|(?:i|we)\s+(?!want|need|would|wish|prefer|like|love|hate"
    r"|dislike|don't|do not|expect|ask|rather|"
    r"only|just|also|really|can't\s+(?:stand|bear)|never)\w+|(?:i'm|i\s+am|we're|we\s+are)\s|(?:my|our|his|her|their)\s+(?!answers?|"
    r"repl|next|preference)\w+\s+\w+|(?:yesterday|last)\b|remember\s+that\b|there\s+(?:is|are|was)\b|(?:he|she|they|it)\s)",
    re.IGNORECASE,
)
_CONSEQUENCE = re.compile(
    r"^(?P<why>[^,;]{3,160}?)[,;]?\s+(?:so|hence|therefore)\s+(?P<wish>(?!that\b|far\b|much\b|many\b)\S.+)$",
    re.IGNORECASE,
)
_BECAUSE = re.compile(r"^(?:since|because|as)\s+(?P<why>[^,]{3,160}),\s*(?P<wish>.+)$", re.IGNORECASE)
_END = re.compile(
    r"^\s*(?:$|[,.;:!?)]|(?:please|only|thanks|because|as\s+i|since\s+i|so|again|while|and|but|for|in|when|with|instead"
    r"|too|alone)\b)",
    re.IGNORECASE,
)
_BY_THE_CLOCK = re.compile(r"noon|midnight|\d\s*[ap]\.?m\b|\d:\d\d|o'clock", re.IGNORECASE)
_NO_VERB_NEXT = re.compile(r"^\s+to\s+\w+", re.IGNORECASE)  # "don't wait until Friday to tell me"
_CONTRAST = re.compile(r"\s*(?:,\s*(?:but|and|then)?|\b(?:but|and\s+then|and|then)\b)\s+", re.IGNORECASE)
_START = re.compile(r"^[\W_]*(?:(?:please|and|but|so|then|ok(?:ay)?|well|hey|hi|also)\b[\s,]*)*$", re.IGNORECASE)
_AROUND = re.compile(r"^[\s,:;\-–—]+|[\s,:;\-–—]+$")


def _pieces(sentence: str) -> Iterator[str]:
    """Split a sentence where another time begins: "be brief today, but detailed from tomorrow on"."""
    found = list(_found(sentence)) if len(sentence) <= LONGEST_PIECE else []
    if len(found) < 2 or _BECAUSE.match(sentence):
        yield sentence
        return
    start = 0
    for before, after in pairwise(found):
        cuts = list(_CONTRAST.finditer(sentence, before.end(), after.start()))
        if _START.match(sentence[start : before.start()]):  # "until Friday be brief, from then on …": the last cut
            cuts = cuts[-1:]
        if cuts:
            yield sentence[start : cuts[0].start()]
            start = cuts[0].end()
    yield sentence[start:]


def _found(sentence: str) -> Iterator[re.Match[str]]:
    """The phrases about time in a sentence, from left to right, none within another."""
    at = 0
    for _ in range(MOST_PHRASES):
        matches = [match for frame in _FRAMES if (match := frame.search(sentence, at))]
        if not matches:
            return
        first = min(matches, key=lambda match: (match.start(), -match.end()))
        yield first
        at = first.end()


def _timed(sentence: str, local: datetime, now: float, zone: str) -> Timed:
    if len(sentence) > LONGEST_PIECE:
        return Timed(sentence)
    why = _BECAUSE.match(sentence) or _CONSEQUENCE.match(sentence)
    if why and (found := _in_reason(why, local, now, zone)):
        return found
    for match in _found(sentence):
        if not _belongs(match, sentence):
            continue
        limits = _limits(match, local, now, zone)
        if limits is not None:
            rest = _without(sentence, match)
            return Timed(rest, limits) if re.search(r"\w", rest) else Timed(sentence)
    return Timed(sentence)


def _in_reason(why: re.Match[str], local: datetime, now: float, zone: str) -> Timed | None:
    """Read “I am away until Friday, so be brief” and “since my exam is on Friday, be brief until then"."""
    named = list(_found(why["why"]))
    if not named:
        return None
    then = re.search(r"\b(?:until|till|before)\s+then\b", why["wish"], re.IGNORECASE)
    if then:
        name = next((value for key, value in named[-1].groupdict().items() if value and key != "unit"), None)
        found = name and span(name, local)
        if not found:
            return None
        end = found.named if then[0].lower()[0] != "b" else found.start
        return Timed(_without(why["wish"], then), Limits(until=_seconds(end, zone)))
    if not re.match(r"(?:i'm|i\s+am|we're|we\s+are|i'll\s+be)\b", why["why"], re.IGNORECASE):
        return None
    limits = _limits(named[-1], local, now, zone)
    return None if limits is None else Timed(why["wish"], limits)


def _belongs(match: re.Match[str], sentence: str) -> bool:
    """Whether a phrase says when the wish of its sentence holds."""
    before, after = sentence[: match.start()], sentence[match.end() :]
    clause = re.split(r"[,:;]", before)[-1]
    if _NOT_BEFORE.search(before) or _NO_VERB_NEXT.match(after) or _STORY.match(clause):
        return False
    groups = match.groupdict()
    at_start = _START.match(clause) is not None
    if not at_start and _SUBORDINATE.search(clause):
        return False
    if groups.get("within"):
        return not _NAMING.search(before) and _bare_belongs(match, after, at_start)
    if groups.get("answers") or groups.get("once"):
        return True
    if groups.get("day") or _BY_THE_CLOCK.search(groups.get("after") or groups.get("before") or ""):
        return at_start  # "no coffee after 5 pm" is about every day
    return at_start or bool(_END.match(after))


def _bare_belongs(match: re.Match[str], after: str, at_start: bool) -> bool:
    """Whether a day without "until" or "from" is when the wish holds: "today, be brief", not "Friday jokes"."""
    phrase = " ".join(match[0].lower().split())
    preposition = re.match(r"(?:\w+ )*?(?:for|during|over|in|on|within|at) ", phrase)
    bare = re.search(r"(?:^|\s)(?:today|tonight|tomorrow|this \w+|next \w+|the day after tomorrow)(?: |$)", phrase)
    if not preposition and not bare and not phrase.endswith(" only"):
        return False
    month = re.search(rf"\b(?:in|for) {MONTH}$", phrase)
    if at_start:
        return bool(re.match(r"\s*[,:]" if month else r"\s*[,:\w]", after)) and not re.match(
            r"\s+(?:is|are|was|were|will)\b", after
        )
    # "a marathon in October", "plans for Friday": more often what a thing is about than when a wish holds
    if month or (re.search(r"\bfor ", phrase) and not bare and not phrase.endswith("weekend")):
        return False
    return bool(_END.match(after)) and not re.match(r"\s+(?:in|for|with|and)\b", after)


def _without(sentence: str, match: re.Match[str]) -> str:
    before, after = (_AROUND.sub("", part) for part in (sentence[: match.start()], sentence[match.end() :]))
    return " ".join(f"{before} {after}".split()) if not re.match(r"[.!?]", after) else f"{before}{after}"


def _seconds(at: datetime, zone: str) -> float:
    return at.replace(tzinfo=_zone(zone)).timestamp()


def _limits(match: re.Match[str], local: datetime, now: float, zone: str) -> Limits | None:
    """What a phrase says; None where there is no such day, hour or number."""
    groups = {name: value for name, value in match.groupdict().items() if value is not None}
    try:
        if "unit" in groups:
            return _for_long(match, groups, local, now, zone)
        if "once" in groups:
            return Limits(answers=1)
        if "answers" in groups:
            count = 0 if groups["answers"].startswith("-") else number(groups["answers"])
            return Limits(answers=count) if 1 <= count <= MOST_ANSWERS else None
        since, until = _ends(groups, local)
        if since is None and until is None:
            return None
        limits = Limits(
            None if since is None or since <= local else _seconds(since, zone),
            None if until is None else _seconds(until, zone),
        )
        return None if limits == Limits() else limits  # "from today on" is for good
    except (ValueError, OverflowError):
        return None


def _ends(groups: dict[str, str], local: datetime) -> tuple[datetime | None, datetime | None]:
    """From when to when, on the local clock; None on both sides where it cannot be read."""
    if "day" in groups:
        groups = {"rest": "today"}
    if "rest" in groups:
        words = {"the day": "today", "this day": "today", "all week": "this week"}.get(
            " ".join(groups["rest"].lower().split()), groups["rest"]
        )
        whole = span(words, local)
        return None, whole and whole.end
    if "first" in groups:
        first, last = _range(groups["first"], groups["last"])
        begin = span(first, local)
        end = begin and span(last, max(begin.start, local))
        return (None, None) if not begin or not end else (begin.start, end.named)
    name, words = next(iter(groups.items()))
    found: Span | None = span(words, local)
    if found is None:
        return None, None
    return {
        "until": (None, found.named),
        "before": (None, found.start),
        "since": (found.start, None),
        "after": (found.end, None),
        "within": (found.start, found.end),
    }[name]


def _range(first: str, last: str) -> tuple[str, str]:
    """Give a bare number of a range what the other side has: "from 20 to 31 December", "from 8 to 10 pm"."""
    bare, clock = r"(?:the\s+)?(\d{1,2})(?:st|nd|rd|th)?", r"\d{1,2}(?::\d\d)?\s*"
    if re.fullmatch(bare, first.strip()):
        return re.sub(rf"^{clock}(?:st|nd|rd|th)?\s*", f"{first} ", last, count=1), last
    if re.fullmatch(bare, last.strip()):
        day = re.sub(r"^\D*|\D*$", "", last)
        return first, re.sub(r"\d{1,2}", day, first, count=1)
    return first, last


def _for_long(match: re.Match[str], groups: dict[str, str], local: datetime, now: float, zone: str) -> Limits:
    said, unit = " ".join(groups["count"].lower().split()), groups["unit"].lower().rstrip("s")
    count = 0.5 if said == "half an" else number(said) if said else 1
    exact = {"second": 1, "minute": 60, "min": 60, "hour": 3600}
    if unit in exact:
        end = now + count * exact[unit]
    else:
        days = {"day": 1, "night": 1, "week": 7, "weekend": 7, "fortnight": 14}
        months = {"month": 1, "quarter": 3, "year": 12, "decade": 120}
        ahead = timedelta(days=count * days[unit]) if unit in days else relativedelta(months=int(count * months[unit]))
        end = _seconds(local + ahead, zone)
    if re.match(rf"\W*{_LEAD}in\s+(?!the\s+next)", match[0], re.IGNORECASE):  # "in two days, be formal"
        return Limits(since=end)
    return Limits(until=end)
