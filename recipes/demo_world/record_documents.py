"""Records for the demo base: sentences about a person or a thing, and the call or the JSON that holds their facts."""

from __future__ import annotations

import json
import random
from typing import Any

from pad_langchain.chat.tools.schemas import schema_told
from recipes.demo_world.tool_documents import (
    non_latin,
    object_tool,
    purposeful_tool,
    random_text,
    random_tool,
    random_value,
)
from recipes.demo_world.topics import capital
from recipes.demo_world.unknowns import pseudo_word

__all__ = ["Record", "add_others", "answer_json", "draw_record"]

_PEOPLE = (
    "customer person user patient student employee friend guest author player member driver contact teacher".split()
)
_THINGS = """
product city book order event company recipe task ticket team project meeting hotel flight song movie note pet car
house client group shop school ship plant game
""".split()
_NAMES = """
Miriam Ada Bob Tom Anna Jonas Fatima Wei Olga Pedro Lucy Omar Nina Igor Grace Hugo Ines Karl Lena Mehmet Noor Paul Rosa
Sven Tara Uma Viktor Yuki Zoe Alice Ben Clara David Emma Frank
""".split()
_ADJECTIVES = "Chinese Japanese Korean Russian Greek French small big new old famous local modern quiet busy".split()
_FIELDS = "technology travel music sports food science fashion energy health law film garden paper wine toy".split()
_KINDS = "company team group shop school family firm club person band city office house".split()
_CITIES = "Rome Paris Oslo Lima Cairo Tokyo Madrid Vienna Prague Athens Dublin Seoul Quito Sofia Riga".split()
_COLORS = "red blue green black white yellow brown gray pink orange".split()
_DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()

# A field: its keys, its JSON type, and how a sentence tells its value after the name.
_PERSONAL: tuple[tuple[tuple[str, ...], str, tuple[str, ...]], ...] = (
    (("age", "years", "age_in_years"), "age", ("is {v} years old", "is {v}", "is aged {v}", "turned {v}")),
    (("city", "home", "town", "lives_in"), "city", ("lives in {v}", "is from {v}", "comes from {v}", "moved to {v}")),
    (("job", "profession", "work"), "word", ("works as {v}", "is a {v}", "has the job of {v}")),
    (("email", "mail"), "mail", ("has the email {v}", "can be reached at {v}", "writes from {v}")),
    (("phone", "phone_number", "number"), "digits", ("has the phone number {v}", "is at {v}", "answers on {v}")),
    (("height", "weight", "score"), "number", ("has a {k} of {v}", "measures {v}", "reached {v}")),
    (("member", "active", "married"), "boolean", ("is {n}{k}",)),
    (("language", "hobby", "team"), "word", ("has the {k} {v}", "likes {v}", "chose {v}")),
)
_GENERAL: tuple[tuple[tuple[str, ...], str, tuple[str, ...]], ...] = (
    (("price", "cost"), "number", ("costs {v}", "costs {v} euros", "has a price of {v}", "sells for {v}")),
    (("year", "founded", "built"), "year", ("is from {v}", "dates from {v}", "was made in {v}")),
    (("color", "colour"), "color", ("is {v}", "comes in {v}", "has the color {v}")),
    (("city", "place", "location"), "city", ("is in {v}", "is from {v}", "stands in {v}")),
    (("country", "region", "land"), "city", ("is a {o} in {v}", "belongs to {v}", "is in {v}")),
    (("count", "quantity", "amount", "stock", "population"), "integer", ("has {v} items", "has a {k} of {v}")),
    (("day", "date", "when"), "day", ("is on {v}", "starts on {v}", "opens on {v}")),
    (("open", "available", "ready"), "boolean", ("is {n}{k}",)),
    (("id", "code"), "code", ("has the {k} {v}", "goes by {v}", "is number {v}")),
)
_OF_ONESELF = {
    "age": ("I am {v} years old", "I am {v}", "I turned {v}"),
    "city": ("I live in {v}", "I am from {v}", "I come from {v}"),
    "word": ("my {k} is {v}", "I have the {k} {v}"),
    "mail": ("my email is {v}", "you can reach me at {v}"),
    "digits": ("my phone number is {v}", "call me at {v}"),
    "number": ("my {k} is {v}",),
    "boolean": ("I am {n}{k}",),
}
_ANY_PHRASES = ("with {k} {v}", "and the {k} is {v}", "has the {k} {v}", "has {k} {v}", "with a {k} of {v}")
_JSON_TYPE = {"age": "integer", "year": "integer", "integer": "integer", "number": "number", "boolean": "boolean"}
_ASK = (
    "Give me {keys}.", "Extract the {noun}.", "Fill in {keys}.", "What are {keys}?", "Make a {noun} of it.",
    "Return {keys}.", "Save it.", "Write it down as a {noun}.", "I need {keys}.", "Note {keys}.", "", "", "",
)  # fmt: skip
_CREATE = ("Create", "Add", "Register", "Make", "Save", "Enter", "Set up", "Please create", "Please add", "I want")
_TOOL_VERBS = "create add register new save make insert store extract set".split()


class Record:
    """A schema with two or more fields, a text that tells their values, and the values."""

    def __init__(self, noun: str, kinds: dict[str, str], values: dict[str, Any], text: str) -> None:
        self.noun, self.kinds, self.values, self.text = noun, kinds, values, text

    def tool(self, rng: random.Random) -> dict[str, Any]:
        """The record as a tool that creates it, or, as schemas of pydantic models come, under the noun's name."""
        if rng.random() < 0.4:
            name = self.noun.title()
            description = rng.choice((f"A {self.noun}.", "", f"A {self.noun} with its details.", f"One {self.noun}."))
        else:
            first = rng.choice((*_TOOL_VERBS, pseudo_word(rng, 1, 2), rng.choice(_ADJECTIVES).lower()))
            name = f"{first}_{self.noun}"
            description = rng.choice(
                (
                    f"Create a {self.noun}.",
                    f"Tool for creating a {self.noun}.",
                    f"Save a {self.noun}.",
                    f"Add a {self.noun}.",
                )
            )
        if rng.random() < 0.3:  # a docstring, on one line as the chat template writes it
            told = "".join(f"         {key}: {self._about(key, rng)}" for key in self.kinds)
            description += f"      Args:{told}"
            if rng.random() < 0.6:
                description += f"      Returns:         {rng.choice(('A message.', 'A confirmation.', 'The result.'))}"
        return object_tool(name, description.strip(), self.kinds)

    def told(self, rng: random.Random) -> str:
        """The record's JSON schema as `with_structured_output` tells it to the model."""
        title = self.noun.title()
        properties = {key: {"title": key.replace("_", " ").title(), "type": kind} for key, kind in self.kinds.items()}
        schema: dict[str, Any] = {
            "properties": properties,
            "required": list(self.kinds),
            "title": title,
            "type": "object",
        }
        if rng.random() < 0.5:
            schema = {"description": f"A {self.noun}.", **schema}
        return schema_told({"type": "json_schema", "json_schema": {"schema": schema}})

    def _about(self, key: str, rng: random.Random) -> str:
        key = key.replace("_", " ")
        return rng.choice((f"The {key}.", f"The {self.noun}'s {key}.", f"{key.capitalize()} of the {self.noun}."))


def draw_record(rng: random.Random) -> Record:
    """Draw a record told in one of several ways; every value stands in the text, word for word."""
    person = rng.random() < 0.5
    noun = rng.choice(_PEOPLE if person else _THINGS)
    name_key = rng.choice(("name", "name", f"{noun}_name", "title", "full_name"))
    name = rng.choice(_NAMES) if rng.random() < (0.4 if person else 0.1) else random_text(rng)
    draw = rng.random()
    if draw < 0.35:
        return _named(rng, noun, name_key, name)
    oneself = person and draw < 0.45
    fields = rng.sample(_PERSONAL if person else _GENERAL, rng.choice((1, 1, 2, 2, 3)))
    kinds, values, clauses = {name_key: "string"}, {name_key: name}, []
    for keys, kind, phrases in fields:
        key, value = rng.choice(keys), _value(rng, kind)
        kinds[key], values[key] = _JSON_TYPE.get(kind, "string"), value
        shown = key.replace("_", " ")
        negated = "" if value is not False else "not "
        if oneself:
            phrases = _OF_ONESELF[kind]
        elif kind != "boolean":
            phrases = (*phrases, rng.choice(_ANY_PHRASES))
        clauses.append(rng.choice(phrases).format(k=shown, v=value, n=negated, o=noun))
    if oneself:
        clauses = [rng.choice(("my name is {}", "I am {}", "my name is {}")).format(name), *clauses]
        text = capital(_joined(clauses)) + "."
    else:
        text = _sentence(rng, noun, name, clauses) if draw < 0.8 else _listed(rng, noun, values)
    asked = rng.choice(_ASK).format(noun=noun, keys=_keys(rng, list(kinds)))
    first = asked and rng.random() < 0.4
    text = f"{asked.rstrip('.')}: {text}" if first else f"{text} {asked}".strip()
    return _shuffled(rng, noun, kinds, values, text)


def _named(rng: random.Random, noun: str, name_key: str, name: str) -> Record:
    """ "Create a customer named 'X' (gloss) - a description"."""
    quote = rng.choice(("'{}'", "'{}'", '"{}"', "{}"))
    text = f"{rng.choice(_CREATE)} a {noun} {rng.choice(('named', 'called', 'with the name'))} {quote.format(name)}"
    kinds: dict[str, str] = {name_key: "string"}
    values: dict[str, Any] = {name_key: name}
    if rng.random() < 0.45:
        text += f" ({' '.join(pseudo_word(rng).title() for _ in range(rng.choice((1, 2, 2))))})"
    about = f"{rng.choice(_ADJECTIVES)} {rng.choice(_FIELDS)} {rng.choice(_KINDS)}"
    if rng.random() < 0.3:
        about = about.split(" ", 1)[rng.randrange(2)] + " " + rng.choice(_KINDS)
    if rng.random() < 0.75:
        text += rng.choice((" - a ", " - a ", ", a ", ": a ")) + about
        key = rng.choice(("description", "description", "about", "details", "note"))
        kinds[key], values[key] = "string", f"a {about}"
    elif rng.random() < 0.5:
        key, value = rng.choice(("age", "count", "number")), rng.randint(1, 99)
        text += rng.choice((f" with {key} {value}", f" and {key} {value}", f", {key} {value}"))
        kinds[key], values[key] = "integer", value
    return _shuffled(rng, noun, kinds, values, text + rng.choice(("", "", ".", ", please.")))


def _sentence(rng: random.Random, noun: str, name: str, clauses: list[str]) -> str:
    subject = name if rng.random() < 0.7 else f"The {noun} {name}"
    return f"{subject} {_joined(clauses)}."


def _listed(rng: random.Random, noun: str, values: dict[str, Any]) -> str:
    link = rng.choice((": ", " is ", " = ", " "))
    shown = [
        f"{key.replace('_', ' ')}{link}{str(v).lower() if isinstance(v, bool) else v}" for key, v in values.items()
    ]
    return f"{rng.choice((f'A {noun}: ', f'New {noun}, ', '', 'Take this: '))}{rng.choice((', ', '; ')).join(shown)}."


def _shuffled(rng: random.Random, noun: str, kinds: dict[str, str], values: dict[str, Any], text: str) -> Record:
    """The schema's order is not always the text's."""
    order = list(kinds)
    if rng.random() < 0.3:
        rng.shuffle(order)
    return Record(noun, {key: kinds[key] for key in order}, {key: values[key] for key in order}, text)


def _keys(rng: random.Random, keys: list[str]) -> str:
    return _joined([rng.choice(("", "the ")) + key.replace("_", " ") for key in keys])


def _joined(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]


def _value(rng: random.Random, kind: str) -> Any:
    if kind == "age":
        return rng.randint(1, 99)
    if kind == "year":
        return rng.randint(1800, 2030)
    if kind == "integer":
        return rng.choice((rng.randint(2, 99), rng.randint(100, 99999), 1000 * rng.randint(1, 9999)))
    if kind in ("number", "boolean"):
        return random_value(rng, kind)
    if kind == "digits":
        return str(rng.randint(1000, 9999999))
    if kind == "code":
        return "".join(rng.choice("ABCDEFGHKLMNPQRSTUVWXYZ23456789") for _ in range(rng.randint(2, 6)))
    if kind == "mail":
        return f"{pseudo_word(rng, 1, 2)}@{pseudo_word(rng, 1, 2)}.{rng.choice(('com', 'org', 'net'))}"
    listed = {"city": _CITIES, "color": _COLORS, "day": _DAYS}.get(kind)
    if listed and rng.random() < 0.5:
        return rng.choice(listed)
    return non_latin(rng) if rng.random() < 0.15 else rng.choice((pseudo_word(rng), pseudo_word(rng).title()))


def answer_json(record: Record) -> str:
    """The JSON object that holds the record, its keys in the schema's order."""
    return json.dumps(record.values, ensure_ascii=False)


def add_others(rng: random.Random, tools: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Add up to two tools of any kind which the request does not mean, and shuffle."""
    kinds = (random_tool, lambda rng: draw_record(rng).tool(rng), lambda rng: purposeful_tool(rng)[0])
    found = list(tools)
    for _ in range(rng.choice((0, 0, 1, 1, 2))):
        function = (tool := rng.choice(kinds)(rng))["function"]
        if all(function[part] != each["function"][part] for each in found for part in ("name", "description")):
            found.append(tool)
    rng.shuffle(found)
    return found
