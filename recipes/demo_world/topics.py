"""What the demo's small world knows: topics, made from facts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from recipes.demo_world import facts

__all__ = ["TOPICS", "Topic", "capital", "lower", "make_topic", "rows_of"]

Levels = tuple[str, str]  # the same statement in simple and in technical words


@dataclass(frozen=True)
class Topic:
    """Something the demo model knows.

    Args:
        domain: which table it comes from.
        name: the bare name ("lion", "France", "make tea").
        subject: the name as a noun phrase ("a lion"); for how-to topics the verb phrase.
        questions: question forms of its domain, with {s} for the subject.
        core: the defining sentence.
        details: four sentences, in the order they are told.
        brief: the two sentences a concise answer tells.
        examples: clauses for an example sentence.
        cautions: clauses for a warning sentence.
    """

    domain: str
    name: str
    subject: str
    questions: tuple[str, ...]
    core: Levels
    details: tuple[Levels, ...]
    brief: tuple[Levels, ...]
    examples: tuple[str, ...]
    cautions: tuple[str, ...]

    @property
    def joke_name(self) -> str:
        """The noun phrase jokes are made about."""
        return f"the plan to {self.name}" if self.domain == "howto" else self.subject


def capital(text: str) -> str:
    """Upper-case the first letter only."""
    return text[:1].upper() + text[1:]


def lower(text: str) -> str:
    """Lower-case the first letter, for a sentence that follows a connector."""
    return text[:1].lower() + text[1:]


def article(name: str) -> str:
    """Put "a" or "an" before a name."""
    return ("an " if name[0].lower() in "aeiou" and not name.startswith(("uk", "uni")) else "a ") + name


def _country(row: Sequence[str]) -> Topic:
    n, city, continent, language, dish, sight = row
    details = (
        (f"The government sits in {city}.", f"The administrative capital is {city}."),
        (f"People there often speak {language}.", f"The principal official language is {language}."),
        (f"A well loved dish is {dish}.", f"The characteristic national cuisine comprises {dish}."),
        (f"Many people go to see {sight}.", f"The principal heritage site is {sight}."),
    )
    return Topic(
        "country",
        n,
        n,
        (
            "Where is {s}?",
            "I am planning a trip to {s}. What should I know?",
            "What is {s} like?",
            "What is the capital of {s}?",
        ),
        (f"{n} is a country in {continent}.", f"{n} is a sovereign state situated in {continent}."),
        details,
        details[:2],
        (f"a trip could begin in {city}", f"you could try {dish} there", f"you could visit {sight}"),
        (f"check the travel advice before you go to {n}", f"keep your passport safe in {n}"),
    )


def _element(row: Sequence[str]) -> Topic:
    n, sign, number, use, group, found = row
    details = (
        (f"Its short sign is {sign}.", f"The standard chemical symbol is {sign}."),
        (f"People use it for {use}.", f"Its principal industrial application is {use}."),
        (f"It belongs to a group with the name {group}.", f"Its periodic classification is {group}."),
        (f"You can find it in {found}.", f"Its primary natural occurrence is in {found}."),
    )
    return Topic(
        "element",
        n,
        n,
        ("What is {s}?", "What is {s} used for?", "What kind of element is {s}?"),
        (
            f"{capital(n)} is a basic building block of things.",
            f"{capital(n)} is a chemical element with atomic number {number}.",
        ),
        details,
        details[:2],
        (f"it is used for {use}", f"it is found in {found}"),
        (f"handle {n} only with gloves", f"ask an adult before you work with {n}"),
    )


def _animal(row: Sequence[str]) -> Topic:
    n, group, diet, habitat, feature, baby = row
    details = (
        (f"It likes to eat {diet}.", f"Its diet predominantly comprises {diet}."),
        (f"It lives in {habitat}.", f"Its natural habitat comprises {habitat}."),
        (f"It is known for {feature}.", f"A distinctive adaptation is {feature}."),
        (f"Its baby has the name {baby}.", f"The juvenile stage is termed {baby}."),
    )
    return Topic(
        "animal",
        n,
        article(n),
        ("What is {s}?", "What does {s} eat?", "Where does {s} live?"),
        (
            f"{capital(article(n))} is a kind of {group}.",
            f"{capital(article(n))} is an organism of the taxonomic group {group}.",
        ),
        details,
        details[:2],
        (f"you may spot one in {habitat}", f"it may eat {diet} all day"),
        (f"never touch a wild {n}", f"keep your distance from any {n}"),
    )


def _concept(row: Sequence[str]) -> Topic:
    n, plain, technical, first, second, why = row
    details = (
        (f"It matters because {why}.", f"Its principal significance is that {why}."),
        ("People have looked into it for a long time.", "It is extensively documented in the literature."),
        ("You can notice it on many days.", "Its manifestations are empirically observable."),
        ("It is easy to read about at home.", "Its analysis requires a systematic methodology."),
    )
    return Topic(
        "concept",
        n,
        n,
        ("What is {s}?", "How would you explain {s}?", "Why does {s} matter?", "What does {s} mean?"),
        (f"{capital(n)} is {plain}.", f"{capital(n)} is defined as {technical}."),
        details,
        details[:2],
        (first, second),
        (f"do not try risky tests about {n} at home", f"ask an expert before you rely on {n}"),
    )


def _howto(row: Sequence[str]) -> Topic:
    n, one, two, three, four, risk, technical = row
    details = (
        (f"Start here: {one}.", f"Initial operation: {one}."),
        (f"Then {two}.", f"Subsequent operation: {two}."),
        (f"Next, {three}.", f"Intermediate operation: {three}."),
        (f"At the end, {four}.", f"Terminal operation: {four}."),
    )
    brief = (
        (f"First {one}, then {two}.", f"Operations one and two: {one}; {two}."),
        (f"After that {three}, then {four}.", f"Operations three and four: {three}; {four}."),
    )
    return Topic(
        "howto",
        n,
        n,
        (
            "How do I {s}?",
            "How can I {s}?",
            "What is the best way to {s}?",
            "Help me {s}.",
            "How to {s}?",
            "I want to {s}.",
        ),
        (f"It is not hard to {n}.", f"The procedure to {n} comprises four operations; {technical}."),
        details,
        brief,
        (f"some people {one} the day before", f"some people {four} with a friend"),
        (risk,),
    )


def _instrument(row: Sequence[str]) -> Topic:
    n, family, how, genre, place, part = row
    details = (
        (f"It makes a sound when {how}.", f"Its acoustic excitation occurs when {how}."),
        (f"People play it in {genre}.", f"Its predominant repertoire is {genre}."),
        (f"You can hear it in places like {place}.", f"Its conventional performance venue is {place}."),
        (f"It has {part}.", f"A principal component is {part}."),
    )
    return Topic(
        "instrument",
        n,
        article(n),
        ("What is {s}?", "How does {s} work?", "What does {s} sound like?"),
        (
            f"{capital(article(n))} is a thing that makes music.",
            f"{capital(article(n))} is a musical instrument of the {family} family.",
        ),
        details,
        details[:2],
        (f"you can hear it in {genre}", f"people bring it to {place}"),
        (f"do not play the {n} too loud near your ears", "take breaks so that your hands do not hurt"),
    )


def _food(row: Sequence[str]) -> Topic:
    n, origin, ingredient, taste, method, partner = row
    details = (
        (f"It comes from {origin}.", f"Its historical provenance is {origin}."),
        (f"It is made with {ingredient}.", f"Its primary constituent is {ingredient}."),
        (f"To make it, it is {method}.", f"The preparation method: it is {method}."),
        (f"It goes well with {partner}.", f"The conventional accompaniment is {partner}."),
    )
    return Topic(
        "food",
        n,
        n,
        ("What is {s}?", "What does {s} taste like?", "What is {s} made of?"),
        (
            f"{capital(n)} is a food that tastes {taste}.",
            f"{capital(n)} is a culinary preparation with a {taste} flavor profile.",
        ),
        details,
        details[:2],
        (f"you can eat it with {partner}", f"cooks in {origin} make it with {ingredient}"),
        (f"check {n} for things you are allergic to", f"mind the heat when you make {n}"),
    )


def _sport(row: Sequence[str]) -> Topic:
    n, players, gear, venue, scoring, skill, risk = row
    details = (
        (f"To play it, you need {gear}.", f"The requisite equipment comprises {gear}."),
        (f"People play it on or in {venue}.", f"The regulation venue is {venue}."),
        (f"You win by {scoring}.", f"The scoring criterion is {scoring}."),
        (f"It helps to have {skill}.", f"The principal physical requirement is {skill}."),
    )
    return Topic(
        "sport",
        n,
        n,
        ("What is {s}?", "How do you play {s}?", "What do I need for {s}?", "What are the rules of {s}?"),
        (
            f"{capital(n)} is a game or sport for {players}.",
            f"{capital(n)} is a competitive discipline contested by {players}.",
        ),
        details,
        details[:2],
        (f"you could practice {skill} each week", f"you could watch it on {venue}"),
        (risk,),
    )


def _job(row: Sequence[str]) -> Topic:
    n, work, place, tool, training, quality, risk = row
    details = (
        (f"You can meet them in {place}.", f"The typical occupational setting is {place}."),
        (f"They often use {tool}.", f"The principal instrument is {tool}."),
        (f"To start, people need {training}.", f"The requisite qualification is {training}."),
        (f"It helps to have {quality}.", f"The essential professional attribute is {quality}."),
    )
    return Topic(
        "job",
        n,
        article(n),
        ("What is {s}?", "What does {s} do?", "How do I become {s}?", "What is the job of {s}?"),
        (
            f"{capital(article(n))} is one of the people who {work}.",
            f"{capital(article(n))} is a professional whose function is to {work}.",
        ),
        details,
        details[:2],
        (f"they may use {tool} every day", f"you could visit {place} to see the work"),
        (risk,),
    )


_MAKERS: dict[str, tuple[tuple[tuple[str, ...], ...], Callable[[Sequence[str]], Topic]]] = {
    "country": (facts.COUNTRIES, _country),
    "element": (facts.ELEMENTS, _element),
    "animal": (facts.ANIMALS, _animal),
    "concept": (facts.CONCEPTS, _concept),
    "howto": (facts.HOWTO, _howto),
    "instrument": (facts.INSTRUMENTS, _instrument),
    "food": (facts.FOODS, _food),
    "sport": (facts.SPORTS, _sport),
    "job": (facts.JOBS, _job),
}


def make_topic(domain: str, row: Sequence[str]) -> Topic:
    """Build a topic of `domain` from one row of facts."""
    return _MAKERS[domain][1](row)


def rows_of(domain: str) -> tuple[tuple[str, ...], ...]:
    """The fact rows of a domain."""
    return _MAKERS[domain][0]


TOPICS: tuple[Topic, ...] = tuple(make_topic(domain, row) for domain in _MAKERS for row in rows_of(domain))
