"""For how long a wish is meant, read from its words."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from pad_memory import CATALOGUE
from pad_memory.errors import InvalidEventError
from pad_memory.language.times import Limits, check_zone, clock_time, timed_parts

DATA = Path(__file__).parents[3] / "data" / "lifetimes"
NOW = datetime(2026, 3, 11, 10, tzinfo=ZoneInfo("UTC")).timestamp()  # a Wednesday


def suite() -> Iterator[tuple[str, str, float, str]]:
    """Yield (words, what is meant, when they are said, the zone)."""
    for name in ("times.txt", "times_aside.txt"):
        said, zone = 0.0, "UTC"
        for line in (DATA / name).read_text(encoding="utf-8").splitlines():
            if line.startswith("@ "):
                _, clock, zone = line.split()
                said = datetime.fromisoformat(clock).replace(tzinfo=ZoneInfo(zone)).timestamp()
            else:
                words, meant = line.split("\t")
                yield words, meant, said, zone


def shown(limits: Limits | None, zone: str) -> str:
    if limits is None:
        return "-"
    if limits.answers is not None:
        return f"#{limits.answers}"
    ends = (limits.since, limits.until)
    clocks = ["" if end is None else datetime.fromtimestamp(end, ZoneInfo(zone)) for end in ends]
    return "..".join(clock and clock.replace(tzinfo=None).isoformat() for clock in clocks)  # type: ignore[union-attr]


def full(meant: str) -> str:
    if meant[0] in "-#":
        return meant
    return "..".join(end and datetime.fromisoformat(end).isoformat() for end in meant.split(".."))


@pytest.mark.parametrize(("words", "meant", "said", "zone"), list(suite()))
def test_the_suite_of_times(words: str, meant: str, said: float, zone: str) -> None:
    assert shown(timed_parts(words, said, zone)[-1].limits, zone) == full(meant)


@pytest.mark.parametrize(
    ("words", "left"),
    [
        ("Until Friday, be brief.", ["be brief."]),
        ("Be brief until Friday.", ["Be brief."]),
        ("Call me Dr. Lee until Friday.", ["Call me Dr. Lee."]),
        ("Be brief today, but detailed from tomorrow on.", ["Be brief", "detailed."]),
        ("Never use emojis. Until Friday, be brief.", ["Never use emojis.", "be brief."]),
        ("For code, be terse until Friday.", ["For code, be terse."]),
    ],
)
def test_what_is_left_is_the_wish(words: str, left: list[str]) -> None:
    assert [part.text for part in timed_parts(words, NOW)] == left


@pytest.mark.parametrize(
    "words",
    [
        "until never",
        "Be brief until never.",
        "today",
        "For the next 999999999999999999 answers, be brief.",
        "Until 99 May, be brief.",
        "Until 29 February 2027, be brief.",
        "For 999999 years, be brief.",
        "الإجابة باختصار حتى يوم الجمعة",
        "Sei kurz bis Freitag",
        "",
    ],
)
def test_what_is_no_time_limits_nothing_and_stays_as_it_is(words: str) -> None:
    (part,) = timed_parts(words, NOW)
    assert (part.text, part.limits) == (words, None)


def test_no_wording_of_the_catalogue_has_a_time() -> None:
    texts = [text for d in CATALOGUE for pole in d.poles for text in (pole.text, *pole.paraphrases)]
    assert [text for text in texts if timed_parts(text, NOW)[0].limits] == []


def test_a_zone_is_asked_for_only_where_the_words_may_name_a_time() -> None:
    def fails() -> str:
        raise AssertionError("nobody needs a zone for this")

    assert timed_parts("Never use emojis.", NOW, fails)[0].limits is None


@pytest.mark.parametrize("zone", ["Mars/Olympus", "", "../../etc/passwd", "/etc/localtime", None, 3, "x" * 300, "a\0b"])
def test_a_zone_has_to_exist(zone: object) -> None:
    with pytest.raises(InvalidEventError, match="name such as 'UTC' or 'Europe/Berlin'"):
        check_zone(zone)


def test_a_clock_of_the_zone_is_shown() -> None:
    assert clock_time(NOW, "Asia/Tokyo") == "Wed 2026-03-11 19:00 JST"
