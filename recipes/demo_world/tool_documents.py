"""Tool calls for the demo base: random tools, requests that name or need them, results and answers from results."""

from __future__ import annotations

import json
import random
import string
from typing import Any

from recipes.demo_world import world
from recipes.demo_world.topics import TOPICS
from recipes.demo_world.unknowns import pseudo_word

__all__ = ["non_latin", "object_tool", "random_text", "random_tool", "random_value", "tool_request", "tool_turn"]

_VERBS = """
get set find search compute calc fetch list read send check convert lookup make run query show create count add
""".split()
_NOUNS = """
weather price user file order data time date stock value name email news city rate score note task item room
""".split()
_KEYS = """
input x y value name city query text id amount number key path unit n a b date time user limit title word
""".split()
_TYPES = ("integer", "integer", "string", "string", "string", "number", "boolean")
_ALPHABETS = (
    (0x4E00, 0x9FA5),  # Chinese characters
    (0x3041, 0x3096),  # Hiragana
    (0xAC00, 0xD7A3),  # Hangul
    (0x0410, 0x044F),  # Cyrillic
    (0x03B1, 0x03C9),  # Greek
    (0x0627, 0x064A),  # Arabic
    (0x00E0, 0x00F6),  # accented Latin
)
_DESCRIPTIONS = ("Get a result.", "Applies {n} to an input.", "Do {n}.", "Returns the {n}.", "Useful for {n}.", "")


def non_latin(rng: random.Random) -> str:
    """One to five characters of one non-Latin alphabet."""
    low, high = rng.choice(_ALPHABETS)
    return "".join(chr(rng.randint(low, high)) for _ in range(rng.randint(1, 5)))


def random_text(rng: random.Random) -> str:
    """A string to be copied: a known name, a pseudo-word, letters and digits, or another alphabet."""
    draw = rng.random()
    if draw < 0.25:
        return rng.choice(TOPICS).name
    if draw < 0.45:
        return " ".join(pseudo_word(rng) for _ in range(rng.choice((1, 1, 2))))
    if draw < 0.6:
        return " ".join(pseudo_word(rng).title() for _ in range(rng.choice((1, 1, 2))))
    if draw < 0.75:
        return "".join(rng.choice(string.ascii_letters + string.digits) for _ in range(rng.randint(2, 7)))
    if draw < 0.9:
        return non_latin(rng)
    return str(rng.randint(0, 99999))


def random_value(rng: random.Random, kind: str) -> Any:
    """An argument of a JSON schema type."""
    if kind == "integer":
        return rng.choice((rng.randint(0, 9), rng.randint(0, 99), rng.randint(0, 9999), -rng.randint(1, 50)))
    if kind == "number":
        return round(rng.uniform(0, 100), rng.randint(1, 2))
    if kind == "boolean":
        return rng.random() < 0.5
    return random_text(rng)


def random_name(rng: random.Random) -> str:
    """A tool's name: words, pseudo-words or letters, in snake_case or camelCase."""
    draw = rng.random()
    if draw < 0.35:
        parts = [rng.choice(_VERBS), rng.choice(_NOUNS)]
    elif draw < 0.5:
        parts = [
            rng.choice(("magic", "my", "super", "the", "do")),
            rng.choice(("function", "tool", "thing", "op", "api")),
        ]
    elif draw < 0.85:
        parts = [pseudo_word(rng, 2, 3) for _ in range(rng.randint(1, 2))]
    else:
        parts = [
            "".join(rng.choice(string.ascii_lowercase) for _ in range(rng.randint(3, 6)))
            for _ in range(rng.randint(1, 2))
        ]
    return "_".join(parts) if rng.random() < 0.8 else parts[0] + "".join(part.title() for part in parts[1:])


def random_key(rng: random.Random) -> str:
    """An argument's name."""
    draw = rng.random()
    if draw < 0.6:
        return rng.choice(_KEYS)
    return (
        pseudo_word(rng, 1, 2)
        if draw < 0.85
        else "".join(rng.choice(string.ascii_lowercase) for _ in range(rng.randint(1, 4)))
    )


def random_tool(rng: random.Random) -> dict[str, Any]:
    """A tool as an OpenAI function schema with one to three arguments."""
    name = random_name(rng)
    kinds = {random_key(rng): rng.choice(_TYPES) for _ in range(rng.choice((1, 1, 1, 2, 2, 3)))}
    return object_tool(name, rng.choice(_DESCRIPTIONS).format(n=name.replace("_", " ")), kinds)


def object_tool(name: str, description: str, kinds: dict[str, str], optional: tuple[str, ...] = ()) -> dict[str, Any]:
    """A tool as an OpenAI function schema: argument → JSON type, all of them required but the `optional` ones."""
    parameters = {
        "type": "object",
        "properties": {key: {"type": kind} for key, kind in kinds.items()},
        "required": [key for key in kinds if key not in optional],
    }
    return {"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}


_POSITIONAL = (
    "What is the value of {n}({a})? Use the tool.", "What is {n}({a})?", "Call {n}({a}).", "Please run {n}({a}).",
    "Compute {n}({a}) for me.", "Use the tool to get {n}({a}).", "{n}({a})",
)  # fmt: skip
_KEYWORDS = (
    "Call {n} with {k}.", "Use {n} with {k}.", "Please run the tool {n} where {k}.", "I need {n} for {k}.",
    "Run {n} with {k} please.", "Use the {n} tool with {k}.", "Call the tool {n} with {k}",
)  # fmt: skip


def tool_request(rng: random.Random, function: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """A request that names a tool and its arguments, and the arguments it means."""
    kinds = function["parameters"]["properties"]
    arguments = {key: random_value(rng, schema["type"]) for key, schema in kinds.items()}
    quoted = rng.random() < 0.55

    def show(value: Any) -> str:
        plain = isinstance(value, str) and not quoted
        return str(value) if plain else json.dumps(value, ensure_ascii=False).replace('"', rng.choice('""\''))

    if rng.random() < 0.5:
        form, values = rng.choice(_POSITIONAL), ", ".join(show(value) for value in arguments.values())
        return form.format(n=function["name"], a=values), arguments
    pairs = [f"{key}{rng.choice((' = ', '=', ' ', ' set to '))}{show(value)}" for key, value in arguments.items()]
    return rng.choice(_KEYWORDS).format(n=function["name"], k=" and ".join(pairs)), arguments


# ---- tools with a purpose: the request does not name them
_PURPOSES: tuple[tuple[tuple[str, ...], str, tuple[tuple[str, str], ...], tuple[str, ...]], ...] = (
    (
        ("get_weather", "weather", "current_weather", "weather_in", "get_current_weather"),
        "Get the current weather in a given location.",
        (("location", "string"), ("city", "string"), ("place", "string")),
        ("What is the weather in {0}?", "How is the weather in {0}?", "What's the weather like in {0} today?",
         "Is it raining in {0}?", "Tell me the weather in {0}.", "Weather in {0}?", "Weather for {0}, please."),
    ),
    (
        ("search", "web_search", "search_docs", "find_text", "lookup"),
        "Search for a query.",
        (("query", "string"), ("q", "string"), ("text", "string")),
        ("Search for {0}.", "Please look up {0}.", "Find {0} for me.", "Search the web for {0}.", "Look for {0}"),
    ),
    (
        ("get_price", "price_of", "stock_price", "quote"),
        "Get the price of an item.",
        (("item", "string"), ("symbol", "string"), ("name", "string")),
        ("What is the price of {0}?", "How much is {0}?", "What does {0} cost?", "Price of {0}?"),
    ),
    (
        ("translate", "translate_text", "to_english"),
        "Translate a text.",
        (("text", "string"), ("phrase", "string")),
        ("Translate {0}.", "What does {0} mean in English?", "Please translate {0} for me.", 'Translate "{0}"'),
    ),
    (
        ("square", "square_root", "double", "factorial", "is_prime"),
        "Compute with a number.",
        (("x", "integer"), ("n", "integer"), ("number", "integer")),
        ("Compute it for {0}.", "Work this out for {0}.", "What do you get for {0}?", "Do it with {0}."),
    ),
)  # fmt: skip
_PAIRS: tuple[tuple[tuple[str, ...], str, tuple[str, str], str, tuple[str, ...]], ...] = (
    (("add", "sum_numbers", "plus", "adder"), "Add two numbers.", ("a", "b"), "integer",
     ("What is {0} plus {1}?", "Add {0} and {1}.", "What is {0} + {1}?", "Sum {0} and {1}.", "{0} + {1}")),
    (("multiply", "times", "product", "mul"), "Multiply two numbers.", ("a", "b"), "integer",
     ("What is {0} times {1}?", "Multiply {0} by {1}.", "What is {0} * {1}?", "{0} * {1}")),
    (("send_message", "send_email", "notify"), "Send a message to a person.", ("to", "text"), "string",
     ('Send "{1}" to {0}.', 'Tell {0} "{1}".', 'Message {0}: "{1}"', 'Write to {0}: "{1}"')),
)  # fmt: skip


def purposeful_tool(rng: random.Random) -> tuple[dict[str, Any], str, dict[str, Any]]:
    """A tool with a purpose, a request that needs it without naming it, and the arguments it means."""
    if rng.random() < 0.65:
        names, description, keys, forms = rng.choice(_PURPOSES)
        key, kind = rng.choice(keys)
        values = [random_value(rng, kind)]
        kinds = {key: kind}
        if kind == "string" and rng.random() < 0.3:
            values = [f"{random_text(rng)}, {pseudo_word(rng, 1, 2).upper()[:2]}"]
    else:
        names, description, pair, kind, forms = rng.choice(_PAIRS)
        values, kinds = [random_value(rng, kind) for _ in pair], dict.fromkeys(pair, kind)
    arguments = dict(zip(kinds, values, strict=True))
    optional: tuple[str, ...] = ()
    if rng.random() < 0.12:  # an optional argument the request says nothing of
        kinds = {**kinds, "unit": "string"}
        optional = ("unit",)
    return object_tool(rng.choice(names), description, kinds, optional), rng.choice(forms).format(*values), arguments


def tool_call(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """An assistant's call, as chat templates take it."""
    return {"type": "function", "function": {"name": name, "arguments": arguments}}


_REPORTS = ("The result of {n} is {v}.", "The result is {v}.", "The tool {n} returned {v}.", "It says: {v}.")


def tool_turn(rng: random.Random) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[dict[str, Any]]]:
    """Tools on offer, the turn that calls one of them, and (half of the time) its result and the answer from it."""
    if rng.random() < 0.35:
        chosen, asked, arguments = purposeful_tool(rng)
        others = [random_tool(rng) for _ in range(rng.choice((0, 0, 1, 2)))]
    else:
        chosen = random_tool(rng)
        asked, arguments = tool_request(rng, chosen["function"])
        others = [random_tool(rng) for _ in range(rng.choice((0, 0, 1, 2)))]
    name = chosen["function"]["name"]
    tools = [chosen, *(tool for tool in others if tool["function"]["name"] != name)]
    rng.shuffle(tools)
    turn: list[dict[str, Any]] = [
        {"role": "user", "content": asked},
        {"role": "assistant", "content": "", "tool_calls": [tool_call(name, arguments)]},
    ]
    if rng.random() < 0.5:
        return tools, turn, []
    value = _result(rng)
    said = rng.choice(_REPORTS).format(n=name, v=value)
    if rng.random() < 0.4:
        tone = rng.randrange(2)
        said = rng.choice(world.OPENERS[tone]) + " " + said
    return tools, turn, [{"role": "tool", "content": value}, {"role": "assistant", "content": said}]


def _result(rng: random.Random) -> str:
    draw = rng.random()
    if draw < 0.4:
        return str(random_value(rng, rng.choice(("integer", "number"))))
    if draw < 0.6:
        return f"{rng.choice(('sunny', 'cloudy', 'rain', 'snow', 'windy'))}, {rng.randint(-20, 40)} degrees"
    return " ".join(random_text(rng) for _ in range(rng.randint(1, 3)))
