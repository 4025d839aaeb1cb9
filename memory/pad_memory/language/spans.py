"""What a phrase calls a stretch of time: "Friday", "tomorrow evening", "the end of March", on a clock of a zone.

Dates are parsed by dateutil, and its calendar counts days and months. What it has no word for is here: a named day is a
stretch with a beginning and an end, and so are a week, which begins on Monday, and an evening.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, time, timedelta
from typing import NamedTuple

from dateutil import parser
from dateutil.easter import easter
from dateutil.relativedelta import relativedelta

__all__ = ["MONTH", "NUMBER", "SPAN", "Span", "number", "span"]

DAY = timedelta(days=1)
_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_MONTHS = "january february march april may june july august september october november december".split()
MONTH = rf"(?:{'|'.join(_MONTHS)}|jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec)\b\.?"
_WEEKDAY = (
    rf"(?:{'|'.join(_DAYS)})\b(?!\s+\d{{1,2}}(?!\d|\s*[ap]\.?m\b|:\d|\s+o'clock|\s*(?:of\s+)?[a-z]{{3}}|st|nd|rd|th))"
)
_NTH = r"(?:3[01]|[12]\d|0?[1-9])(?:st|nd|rd|th)?\b"
_PARTS = {"morning": (6, 12), "afternoon": (12, 18), "evening": (18, 24), "night": (18, 30)}  # hours
_PART = rf"(?:{'|'.join(_PARTS)})\b"
_NUMBERS = {
    word: value
    for value, words in enumerate(
        "zero|a an one|two couple|three|four|five|six|seven|eight|nine|ten|eleven|twelve dozen".split("|")
    )
    for word in words.split()
}
NUMBER = rf"(?:an?\s+couple(?:\s+of)?|a\s+dozen|\d{{1,6}}|(?:{'|'.join(_NUMBERS)})\b(?:\s+of\b)?)"
_HOLIDAYS: dict[str, Callable[[int], datetime]] = {
    r"christmas eve": lambda year: datetime(year, 12, 24),
    r"christmas(?: day)?": lambda year: datetime(year, 12, 25),
    r"new year'?s eve": lambda year: datetime(year, 12, 31),
    r"new year(?:'?s)?(?: day)?": lambda year: datetime(year, 1, 1),
    r"easter(?: sunday)?": lambda year: datetime.combine(easter(year), time()),
    r"valentine'?s day": lambda year: datetime(year, 2, 14),
    r"halloween": lambda year: datetime(year, 10, 31),
    r"(?:the )?fourth of july": lambda year: datetime(year, 7, 4),
}
_HOLIDAY = rf"(?:{'|'.join(_HOLIDAYS)})\b"
_CLOCK = (
    r"(?:noon\b|midnight\b|\d{1,2}(?::\d\d)?\s*[ap]\.?m\b\.?|\d{1,2}:\d\d\b|\d{1,2}\s+o'clock\b"
    r"|\d{1,2}(?=\s+(?:tonight|in\s+the\s+(?:morning|afternoon|evening)))\b)"
)
_DATE = (
    rf"(?:\d{{4}}-\d\d-\d\d\b|\d{{1,2}}\.\d{{1,2}}\.\d{{4}}\b|{_NTH}(?:\s+of)?\s+{MONTH}(?:,?\s+\d{{4}}\b)?"
    rf"|{MONTH}\s+(?:the\s+)?{_NTH}(?!\s+o'clock)(?:,?\s+\d{{4}}\b)?)"
)
_LONG = r"(?:week|weekend|month|quarter|year)\b"
_DAY = (
    rf"(?:the\s+day\s+after\s+tomorrow\b|today\b|tomorrow\b|yesterday\b|{_HOLIDAY}"
    rf"|{_WEEKDAY},?\s+(?:the\s+)?{_DATE}|{_DATE}|(?:(?:this|next|last|the\s+coming)\s+)?{_WEEKDAY}|the\s+\d{{1,2}}(?:st|nd|rd|th)\b)"
)
_WHEN_IN_DAY = rf"(?:\s+(?:at\s+)?{_CLOCK}|\s+(?:at\s+)?{_PART}|,?\s+at\s+{_CLOCK})"
_STRETCH = rf"(?:(?:the|this|next|the\s+coming)\s+{_LONG}|{MONTH}(?:\s+\d{{4}}\b)?|20\d\d\b)"
# The longest that fits goes first.
SPAN = (
    rf"(?:the\s+end\s+of\s+(?:the\s+day\b|{_DAY}|{_STRETCH})|mid-?\s?{MONTH}"
    rf"|{_CLOCK}\s+(?:in\s+the\s+{_PART}|tonight\b|on\s+{_DAY}|{_DAY})|{_DAY}{_WHEN_IN_DAY}?|(?:this\s+{_PART}|tonight\b)(?:\s+at\s+{_CLOCK})?"
    rf"|{_CLOCK}|{_STRETCH})"
)


class Span(NamedTuple):
    """A stretch of time on a local clock: from `start` to before `end`.

    `named` is where "until" it ends: a day is meant with all of it, a week or a month to its beginning.
    """

    start: datetime
    end: datetime
    named: datetime


def number(text: str) -> int:
    """Read a whole number: "3", "three", "a couple of", "a dozen".

    >>> number("a couple of"), number("dozen"), number("12")
    (2, 12, 12)
    """
    words = [word for word in text.lower().split() if word != "of"]
    return int(words[-1]) if words[-1].isdigit() else _NUMBERS[words[-1]]


def span(text: str, now: datetime) -> Span | None:
    """Return the stretch of time that a phrase names; None where there is no such day or hour.

    Args:
        text: a phrase that `SPAN` matches.
        now: what the local clock says, without a zone.

    >>> [at.isoformat() for at in span("Friday", datetime(2026, 3, 11, 10))]
    ['2026-03-13T00:00:00', '2026-03-14T00:00:00', '2026-03-14T00:00:00']
    """
    words = " ".join(text.lower().split())
    try:
        return _span(words, now)
    except (ValueError, OverflowError):  # dateutil's ParserError is a ValueError
        return None


def _span(words: str, now: datetime) -> Span | None:
    if found := re.fullmatch(r"the end of (.+)", words):
        whole = _day(now) if found[1] == "the day" else _span(found[1], now)
        return whole and Span(whole.end, whole.end, whole.end)
    if found := re.fullmatch(rf"mid-? ?({MONTH})", words):
        return _day(_month(found[1], now) + 14 * DAY)
    if found := re.fullmatch(rf"(tonight|this {_PART})(?: at ({_CLOCK}))?", words):
        part = found[1].rpartition(" ")[2].replace("tonight", "night")
        return _part_of(now, part) if found[2] is None else _at(now, found[2], part)
    if found := re.fullmatch(rf"({_CLOCK}) (?:in the ({_PART})|(tonight)|(?:on )?({_DAY}))", words):
        day = None if found[4] is None else _named_day(found[4], now)
        if found[4] is not None and day is None:
            return None
        return _at(day, found[1]) if day else _next_at(now, found[1], found[2] or "night")
    if found := re.fullmatch(rf"({_DAY})(?:,? (?:at )?(?:({_CLOCK})|({_PART})))?", words):
        day = _named_day(found[1], now)
        if day is None:
            return None
        return _at(day, found[2]) if found[2] else _part_of(day, found[3]) if found[3] else _day(day)
    if re.fullmatch(_CLOCK, words):
        return _next_at(now, words)
    return _stretch(words, now)


def _day(day: datetime) -> Span:
    start = datetime.combine(day.date(), time())
    return Span(start, start + DAY, start + DAY)


def _part_of(day: datetime, part: str) -> Span:
    first, last = (datetime.combine(day.date(), time()) + timedelta(hours=hours) for hours in _PARTS[part])
    return Span(first, last, last)


def _at(day: datetime, clock: str, part: str = "") -> Span:
    clock = re.sub(r"\s*o'clock", ":00", clock).replace(".", "")
    at = datetime.combine(day.date(), time())
    if clock == "midnight":
        at += DAY
    elif clock == "noon":
        at += DAY / 2
    else:
        at = parser.parse(f"{clock}:00" if clock.isdigit() else clock, default=at)
        if part in ("afternoon", "evening", "night") and at.hour < 12:
            at += DAY / 2
    return Span(at, at, at)


def _next_at(now: datetime, clock: str, part: str = "") -> Span:
    today = _at(now, clock, part)
    return today if today.start > now else _at(now + DAY, clock, part)


def _named_day(words: str, now: datetime) -> datetime | None:
    today = datetime.combine(now.date(), time())
    near = {"today": 0, "tomorrow": 1, "yesterday": -1, "the day after tomorrow": 2}
    if words in near:
        return today + near[words] * DAY
    for pattern, on in _HOLIDAYS.items():
        if re.fullmatch(pattern, words):
            return next(day for year in (now.year, now.year + 1) if (day := on(year)) >= today)
    if found := re.fullmatch(rf"(?:(this|next|last|the coming) )?({_WEEKDAY})", words):
        ahead = (_DAYS.index(found[2]) - today.weekday()) % 7
        if found[1] == "next":
            return today + (7 - today.weekday() + _DAYS.index(found[2])) * DAY
        if found[1] == "last":
            return today + (ahead - 7) * DAY
        return today + (ahead or (0 if found[1] == "this" else 7)) * DAY
    if found := re.fullmatch(r"the (\d{1,2})(?:st|nd|rd|th)", words):
        months = (today.replace(day=1) + relativedelta(months=ahead) for ahead in range(12))
        days = (month + relativedelta(day=int(found[1])) for month in months)
        return next((day for day in days if day.day == int(found[1]) and day >= today), None)
    return _date(words, today)


def _date(words: str, today: datetime) -> datetime | None:
    weekday = re.match(_WEEKDAY, words)
    words = re.sub(rf"^{_WEEKDAY},?\s+|\bof\s|\bthe\s", "", words)
    first_of_a_leap_year = datetime(2024, 1, 1)  # what the text does not say; each day exists in it
    day = parser.parse(words, default=first_of_a_leap_year, dayfirst="-" not in words)
    if not re.search(r"\d{4}", words):
        years = (today.year + ahead for ahead in range(8))
        dates = (day + relativedelta(year=year) for year in years)
        day = next(date for date in dates if date.day == day.day and date >= today)
    return None if weekday and day.weekday() != _DAYS.index(weekday[0]) else day


def _month(words: str, now: datetime) -> datetime:
    """The first of the month that is meant: this one, or the next of that name."""
    name, _, year = words.rstrip(".").partition(" ")
    month = 1 + next(at for at, each in enumerate(_MONTHS) if each.startswith(name.rstrip(".")[:3]))
    return datetime(int(year) if year else now.year + (month < now.month), month, 1)


def _stretch(words: str, now: datetime) -> Span | None:
    which, _, unit = words.rpartition(" ")
    today = datetime.combine(now.date(), time())
    if re.fullmatch(r"20\d\d", words):
        start, long = datetime(int(words), 1, 1), relativedelta(years=1)
    elif re.fullmatch(rf"{MONTH}(?: \d{{4}})?", words):
        start, long = _month(words, now), relativedelta(months=1)
    else:
        known = {
            "week": (today - today.weekday() * DAY, relativedelta(weeks=1)),
            "weekend": (today + (5 - today.weekday()) * DAY, relativedelta(days=2)),
            "month": (today.replace(day=1), relativedelta(months=1)),
            "quarter": (today.replace(month=today.month - (today.month - 1) % 3, day=1), relativedelta(months=3)),
            "year": (today.replace(month=1, day=1), relativedelta(years=1)),
        }
        if unit not in known:
            return None
        start, long = known[unit]
        if which == "next":
            start += relativedelta(weeks=1) if unit == "weekend" else long
    return Span(start, start + long, start)
