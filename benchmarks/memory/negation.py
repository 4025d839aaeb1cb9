"""Does a "not" ever turn a wish round? Over a thousand negated statements, read by the memory's own reader.

    python benchmarks/memory/negation.py

Every statement is a negation, a double negation or a complaint around something in the catalogue: "I'm not a fan of
jokes" asks for a serious answer, "never leave out the examples" for examples. An inversion is a statement that was read
as the opposite pole. One that was not read, or ended a wish ("I don't mind"), is no inversion; its share is printed.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

from pad_memory import CATALOGUE, SentenceEmbedder
from pad_memory.language.reader import Reader

# Things that are there or not: pole with them, pole without, names of the thing.
THINGS = {
    ("emoji:emoji", "emoji:no-emoji"): ("emojis", "emoticons", "smileys"),
    ("humor:humorous", "humor:serious"): ("jokes", "puns", "humor"),
    ("format:list", "format:prose"): ("bullet points", "lists", "bullets"),
    ("examples:examples", "examples:no-examples"): ("examples", "real-life examples"),
    ("warnings:warnings", "warnings:no-warnings"): ("warnings", "safety warnings", "risk warnings"),
    ("level:technical", "level:simple"): ("jargon", "technical terms", "scientific words"),
}
WITHOUT = """
don't use {x} | do not use {x} | never use {x} | please don't use any {x} | no {x} | no more {x} please
no {x}, please
stop using {x} | please stop the {x} | avoid {x} | without {x} | answer without {x} | I don't want {x}
I do not want any {x}
I don't like {x} | I hate {x} | I can't stand {x} | I cannot stand {x} | I'm tired of {x} | I am sick of {x}
fewer {x}
less {x} please | too many {x} | way too many {x} | skip the {x} | leave out the {x} | leave the {x} out
drop the {x}
lose the {x} | {x} annoy me | {x} distract me | {x} are not needed | I don't need {x} | you don't need to use {x}
quit using {x} | get rid of the {x} | spare me the {x} | I never want to see {x} | refrain from {x} | cut the {x}
there should be no {x} | don't ever use {x} | I'm not a fan of {x} | I am no fan of {x} | {x} are not for me
I could do without {x} | {x} don't help me | I'd rather not have {x} | I would prefer no {x}
I'd prefer answers without {x}
please keep {x} out of it | could you stop using {x}? | can you not use {x}? | won't you stop with the {x}
ditch the {x}
I told you not to use {x} | you used {x} again, don't | not so many {x} | I dislike {x} | I don't enjoy {x}
I have no use for {x} | I no longer want {x} | I don't want {x} anymore | don’t use {x} | dont use {x}
{x}? no thanks
under no circumstances use {x} | don't bother with {x} | I don't care for {x} | hold the {x} | enough {x}
"""
WITH = """
don't stop using {x} | never stop using {x} | don't leave out the {x} | never leave out the {x} | don't skip the {x}
never skip the {x} | don't forget the {x} | never forget the {x} | not without {x} | never without {x}
there were no {x}
not enough {x} | too few {x} | you forgot the {x} | you used no {x} | don't hesitate to use {x} | don't drop the {x}
don't avoid {x} | I don't hate {x}, use them | you never use {x} | why are there no {x}? | I miss the {x}
I can't do without {x} | no answer without {x} | don't be shy with {x} | you did not use any {x}
"""
# Qualities: the pole that has it, the other pole, its names.
QUALITIES = {
    ("length:concise", "length:detailed"): ("short", "brief", "concise"),
    ("length:detailed", "length:concise"): ("long", "detailed", "lengthy", "wordy"),
    ("tone:formal", "tone:casual"): ("formal", "stiff"),
    ("tone:casual", "tone:formal"): ("casual", "informal"),
    ("humor:humorous", "humor:serious"): ("funny", "humorous"),
    ("humor:serious", "humor:humorous"): ("serious",),
    ("level:simple", "level:technical"): ("simple", "basic"),
    ("level:technical", "level:simple"): ("technical", "scientific", "complicated"),
}
NOT_SO = """
don't be {x} | do not be so {x} | never be {x} | not so {x} | not too {x} | not {x} please | too {x} | way too {x}
stop being {x} | stop being so {x} | less {x} | a bit less {x} please | I don't like {x} answers | I hate {x} answers
don't write {x} answers | no {x} answers | no more {x} answers | never give me {x} answers | I'm tired of {x} answers
your answers are too {x} | that was too {x} | I don't want you to be {x} | avoid being {x} | you should not be {x}
{x} answers are not for me | please don't be too {x} | don't make it {x} | I'd rather you weren't so {x} | overly {x}
I can't stand {x} answers | I am not a fan of {x} answers | you don't have to be so {x} | why are you so {x}? stop it
I don't need {x} answers | it doesn't have to be {x} | far too {x} for me | no need to be {x} | you're too {x}
"""
STILL_SO = """
don't stop being {x} | never stop being {x} | not {x} enough | your answers are not {x} enough
that was not {x} enough
you are never {x} | nothing wrong with {x} answers, give me those | not nearly {x} enough
that wasn't {x} enough | don't be afraid to be {x} | you're not {x} enough for me
"""

# Idioms the rules were not written for: first figure 135 of 761 inverted. Do not tune on them; write new ones instead.
FRESH = (
    """
I'd be happier with no {x} | I do not appreciate {x} | let's not have {x} | please, {x} have to go | do away with {x}
I've seen enough {x} | {x} are the last thing I need | you can stop with the {x} now | I never asked for {x}
I don't see the need for {x}
could we do it without {x} | {x} aren't my thing | keep your {x} to yourself | no need for {x}
I find {x} tiresome | I'd appreciate fewer {x}
I can live without {x} | not one more of these {x} | don't give me {x} | it's better without {x}
""",
    """
I don't want answers without {x} | never drop the {x} | I wouldn't mind more {x}
an answer with no {x} is no good to me
why did you leave out the {x}? | please don't hold back on the {x} | don't you ever forget the {x}
not a day without {x}
""",
    """
I never wanted it {x} | don't get {x} with me | it needn't be {x} | no one needs {x} answers | I'd like it less {x}
being {x} doesn't suit you | you can be less {x} | stop sounding {x} | nobody asked you to be {x}
{x} is not what I want | I'm not into {x} answers
""",
    """
it wasn't {x} enough for my taste | you never give me {x} answers | I don't mind you being {x}
never less than {x} please
""",
)


@dataclass(frozen=True)
class Case:
    """A statement, the pole it asks for and the opposite one."""

    text: str
    asks: str
    opposite: str


def statements(patterns: tuple[str, ...] = (WITHOUT, WITH, NOT_SO, STILL_SO)) -> list[Case]:
    """Every pattern with every name."""
    without, with_, not_so, still_so = patterns
    return [
        *_cases(THINGS, without, asks=1),
        *_cases(THINGS, with_, asks=0),
        *_cases(QUALITIES, not_so, asks=1),
        *_cases(QUALITIES, still_so, asks=0),
    ]


def _cases(names: dict[tuple[str, str], tuple[str, ...]], patterns: str, *, asks: int) -> Iterator[Case]:
    for poles, words in names.items():
        for pattern in " | ".join(patterns.strip().splitlines()).split("|"):
            for word in words:
                yield Case(pattern.strip().format(x=word), poles[asks], poles[1 - asks])


def judge(reader: Reader, cases: list[Case]) -> tuple[list[Case], list[Case]]:
    """Return the inverted cases and those that were not read as the pole they ask for."""
    inverted, unread = [], []
    for case in cases:
        keys = {reading.key for reading in reader.read(case.text) if not reading.ends}
        if case.opposite in keys:
            inverted.append(case)
        elif case.asks not in keys:
            unread.append(case)
    return inverted, unread


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--show", action="store_true", help="print the statements that were inverted or not read")
    options = parser.parse_args()
    reader = Reader(CATALOGUE, SentenceEmbedder())
    for name, cases in (("negated statements", statements()), ("fresh idioms", statements(FRESH))):
        inverted, unread = judge(reader, cases)
        print(f"{len(cases)} {name}: {len(inverted)} inverted, {len(unread) / len(cases):.3f} not read")
        if options.show:
            for label, some in (("inverted", inverted), ("not read", unread)):
                for case in some:
                    print(f"{label}: {case.text} (asks for {case.asks})")


if __name__ == "__main__":
    main()
