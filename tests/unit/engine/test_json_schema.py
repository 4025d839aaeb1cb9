"""Whatever a schema leaves open, an answer under it ends, and the model it was made from takes it."""

from __future__ import annotations

import dataclasses
import enum
import ipaddress
import json
import random
import re
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple
from uuid import UUID

import numpy as np
import pydantic
import pytest
from pydantic import BaseModel, Field, create_model
from typing_extensions import TypedDict

from pad_langchain.chat.tools.schemas import closed, model_schema
from pad_langchain.engine.grammar import GrammarCompiler
from pad_langchain.engine.json_formats import FORMATS, known_pattern
from pad_langchain.errors import InvalidRequestError
from pad_langchain.testing import tiny_tokenizer

LETTERS = 32  # of a string without a limit of its own, for these tests
TEXT = 4 * LETTERS  # tokens of such a string; a character may take four
FRAME = 8  # tokens of {"x": ""}
URL = 2400


class Colour(enum.Enum):
    RED = "red"
    GREEN = "green"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Inner(BaseModel):
    a: bool
    b: Level | None = None


class Node(BaseModel):
    """Goes on with itself."""

    good: bool
    next: Node | None


class Typed(TypedDict):
    a: bool


class Pair(NamedTuple):
    a: int
    b: bool


@dataclasses.dataclass
class Plain:
    a: int


# type → how many tokens its value takes at most
TYPES: dict[str, tuple[Any, int]] = {
    "int": (int, 24),
    "float": (float, 32),
    "bool": (bool, 8),
    "str": (str, TEXT),
    "bytes": (bytes, TEXT),
    "bytes of a length": (pydantic.conbytes(max_length=5), 12),
    "None": (None, 8),
    "Decimal": (Decimal, 40),
    "Decimal, digits and places": (Annotated[Decimal, Field(max_digits=6, decimal_places=2)], 12),
    "Decimal, digits": (pydantic.condecimal(max_digits=5), 12),
    "Decimal, places only": (Annotated[Decimal, Field(decimal_places=2)], 24),
    "Decimal, all places": (pydantic.condecimal(max_digits=3, decimal_places=3), 12),
    "Decimal, bounds": (Annotated[Decimal, Field(ge=0, le=100)], 16),
    "Decimal, all": (pydantic.condecimal(gt=0, max_digits=5), 12),
    "Decimal, multiple": (Annotated[Decimal, Field(multiple_of=Decimal("0.25"))], 32),
    "date": (date, 12),
    "datetime": (datetime, 40),
    "aware datetime": (pydantic.AwareDatetime, 40),
    "naive datetime": (pydantic.NaiveDatetime, 32),
    "time": (time, 24),
    "timedelta": (timedelta, 48),
    "UUID": (UUID, 40),
    "UUID1": (pydantic.UUID1, 40),
    "UUID4": (pydantic.UUID4, 40),
    "Path": (Path, TEXT),
    "SecretStr": (pydantic.SecretStr, TEXT),
    "SecretBytes": (pydantic.SecretBytes, TEXT),
    "AnyUrl": (pydantic.AnyUrl, URL),
    "HttpUrl": (pydantic.HttpUrl, URL),
    "FileUrl": (pydantic.FileUrl, URL),
    "WebsocketUrl": (pydantic.WebsocketUrl, URL),
    "PostgresDsn": (pydantic.PostgresDsn, URL),
    "RedisDsn": (pydantic.RedisDsn, URL),
    "IPv4Address": (ipaddress.IPv4Address, 16),
    "IPv6Address": (ipaddress.IPv6Address, 48),
    "IPv4Network": (ipaddress.IPv4Network, 24),
    "IPv6Network": (ipaddress.IPv6Network, 48),
    "IPv4Interface": (ipaddress.IPv4Interface, 24),
    "IPv6Interface": (ipaddress.IPv6Interface, 48),
    "IPvAnyAddress": (pydantic.IPvAnyAddress, 48),
    "IPvAnyNetwork": (pydantic.IPvAnyNetwork, 48),
    "IPvAnyInterface": (pydantic.IPvAnyInterface, 48),
    "Enum": (Colour, 8),
    "IntEnum": (Level, 4),
    "Literal": (Literal["a", 1, True, None], 8),
    "Optional": (int | None, 24),
    "Union": (int | str | bool, TEXT),
    "list": (list[bool], 1200),
    "set": (set[int], 2400),
    "frozenset": (frozenset[Colour], 1200),
    "set of a size": (pydantic.conset(int, max_length=3), 80),
    "list of a size": (pydantic.conlist(int, min_length=2, max_length=3), 80),
    "deque": (deque[bool], 1200),
    "tuple": (tuple[int, bool], 40),
    "tuple of any length": (tuple[bool, ...], 1200),
    "Sequence": (Sequence[bool], 1200),
    "Iterable": (Iterable[bool], 1200),
    "dict": (dict[str, int], 4000),
    "dict of numbers": (dict[int, bool], 4000),
    "dict of an enum": (dict[Colour, int], 80),
    "dict of dates": (dict[date, bool], 4000),
    "Mapping": (Mapping[str, bool], 4000),
    "Counter": (Counter[str], 4000),
    "dict of anything": (dict, 4000),
    "list of anything": (list, 4000),
    "Any": (Any, 4000),
    "nested": (Inner, 40),
    "recursive": (Node, 4000),
    "TypedDict": (Typed, 24),
    "NamedTuple": (Pair, 40),
    "dataclass": (Plain, 40),
    "Json": (pydantic.Json, 4000),
    "Json of a type": (pydantic.Json[list[int]], 400),
    "Json of a model": (pydantic.Json[Inner], 48),
    "Pattern": (re.Pattern, 4000),
    "constr": (pydantic.constr(pattern=r"^[a-z]{2,4}$"), 8),
    "colour": (pydantic.constr(pattern=r"^#(?:[0-9a-fA-F]{3}){1,2}$"), 8),
    "conint": (pydantic.conint(ge=2, lt=9), 4),
    "conint, multiple": (pydantic.conint(multiple_of=5), 24),
    "confloat": (pydantic.confloat(gt=0, lt=1), 12),
    "confloat, narrow": (pydantic.confloat(gt=0, lt=1e-6), 16),
    "confloat, below one": (pydantic.confloat(gt=2, lt=2.5), 16),
    "PositiveInt": (pydantic.PositiveInt, 24),
    "Base64Bytes": (pydantic.Base64Bytes, 1200),
    "ByteSize": (pydantic.ByteSize, 24),
    "Fraction": (Fraction, 40),
    "complex": (complex, 56),
    "Annotated": (Annotated[str, Field(min_length=2, max_length=5)], 20),
}
if find_spec("email_validator") is not None:
    TYPES["EmailStr"] = (pydantic.EmailStr, 250)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return tiny_tokenizer()


@pytest.fixture(scope="module")
def compiler(tokenizer: Any) -> GrammarCompiler:
    return GrammarCompiler(tokenizer, len(tokenizer), max_string=LETTERS)


def answer(compiler: GrammarCompiler, tokenizer: Any, schema: Any, seed: int) -> tuple[int, str]:
    """A random answer and its count of tokens. Odd seeds close nothing while anything else goes."""
    rng, state, tokens = random.Random(seed), compiler.json_schema(schema).start(), []
    while not state.finished:
        legal = np.flatnonzero(state.mask()).tolist()
        if seed % 2:
            some = rng.sample(legal, min(len(legal), 40))
            legal = [token for token in some if not set(tokenizer.decode([token])) & {'"', "]", "}", ","}] or legal
        token = rng.choice(legal)
        if token == tokenizer.eos_token_id:
            break
        tokens.append(token)
        state.accept(token)
        assert len(tokens) < 5000, tokenizer.decode(tokens)[-200:]
    return len(tokens), tokenizer.decode(tokens)


def accepts(compiler: GrammarCompiler, tokenizer: Any, schema: Any, value: Any) -> bool:
    state = compiler.json_schema(schema).start()
    for token in tokenizer.encode(json.dumps(value), add_special_tokens=False):
        if not state.mask()[token]:
            return False
        state.accept(token)
    return state.finished or bool(state.mask()[tokenizer.eos_token_id])


@pytest.mark.parametrize("name", TYPES)
def test_every_type_of_pydantic_ends_and_is_taken(compiler, tokenizer, name):
    kind, most = TYPES[name]
    model = create_model("Answer", x=(kind, ...))
    schema = closed(model_schema(model))
    for seed in range(8):
        count, text = answer(compiler, tokenizer, schema, seed)
        model.model_validate(json.loads(text))
        assert count <= most + FRAME, text


# ---- formats


@pytest.mark.parametrize(
    ("word", "good", "bad"),
    [
        ("date", ["2024-02-29", "2000-02-29", "0476-09-04"], ["2023-02-29", "1900-02-29", "0000-01-01", "2024-04-31"]),
        ("date-time", ["2024-05-03T10:15:00Z", "2024-05-03T10:15:00.123456+02:00"], ["2024-05-03T10:15:00.1234567Z"]),
        ("time", ["10:15:00Z", "23:59:59.5-03:30"], ["24:00:00Z", "10:15:60Z", "10:15:00"]),
        ("duration", ["PT2H", "P1Y2M3DT4H5M6S", "P3W", "P10D"], ["P", "PT", "P12345678D", "P1W2D", "1D"]),
        ("uuid", ["c9bf9e57-1685-4c89-bafb-ff5af830be8a"], ["c9bf9e57-1685-4c89-bafb-ff5af830be8", "x"]),
        ("uuid4", ["c9bf9e57-1685-4c89-bafb-ff5af830be8a"], ["c9bf9e57-1685-1c89-bafb-ff5af830be8a"]),
        ("ipv4", ["192.168.0.1", "0.0.0.0"], ["256.1.1.1", "1.2.3"]),
        ("ipv6", ["::", "::1", "2001:db8::8a2e:370:7334", "1:2:3:4:5:6:7:8"], ["1:2:3:4:5:6:7", "1::2::3", "12345::"]),
        ("ipv4network", ["10.0.0.0/8", "10.1.2.128/25", "0.0.0.0/0"], ["10.0.0.1/24", "10.0.0.0/33"]),
        ("ipv6network", ["2001:db8::/32", "::/0", "1:2:3:4:5:6:7:fff0/124"], ["2001:db8::1/32", "::/129"]),
        ("hostname", ["localhost", "a-b.example.co.uk", "xn--mller-kva.de"], ["-a.de", "a..b", "a_b"]),
        ("email", ["o'hara@example.org", "a.b+c@mail.example.co"], ["a@", "a@b", "@b.de", "a..b@c.de", "a b@c.de"]),
        (
            "uri",
            ["https://a.de:8080/b?c=d#e", "mailto:a@b.de", "file:///etc/hosts", "urn:isbn:1", "http://[::1]/%20"],
            ["a", "//a.de", "http://", "http://a b", "http://a.de:99999", "http://1.2.3.4.5"],
        ),
        ("base64", ["", "aGk=", "aA==", "aGV5"], ["a", "aGk", "aG=k"]),
        ("regex", [r"^a(b|c)*\d{2,}[^x-z]?$", r"(?:a(?:b)?)+|c"], ["(", "a**", "[", "a{3,1}", "\\"]),
        ("fraction", ["1/3", "-2"], ["1/0", "/2"]),
    ],
)
def test_formats_hold_what_is_right_and_nothing_else(compiler, tokenizer, word, good, bad):
    schema = {"type": "string", "format": word}
    assert [value for value in good if not accepts(compiler, tokenizer, schema, value)] == []
    assert [value for value in bad if accepts(compiler, tokenizer, schema, value)] == []


@pytest.mark.parametrize("word", ["password", "byte", "binary", "path", "phone", "url", "iri", "color", "markdown", ""])
def test_a_format_that_is_not_known_says_nothing(compiler, tokenizer, word):
    for more in ({"type": "string"}, {"type": "string", "enum": ["any thing"]}, {}, {"type": ["string", "null"]}):
        assert accepts(compiler, tokenizer, {**more, "format": word}, "any thing")
    assert accepts(compiler, tokenizer, {"type": "integer", "format": "int64"}, 5)
    assert not accepts(compiler, tokenizer, {"type": "string", "format": word}, "x" * (LETTERS + 1))


def test_a_format_keeps_what_stands_beside_it(compiler, tokenizer):
    schema = {"type": "string", "format": "uri", "pattern": "^https://", "maxLength": 14}
    assert accepts(compiler, tokenizer, schema, "https://a.de/b")
    assert not accepts(compiler, tokenizer, schema, "http://a.de/b")
    assert not accepts(compiler, tokenizer, schema, "https://a.de/bc")
    assert accepts(compiler, tokenizer, {"const": "30 February", "format": "date"}, "30 February")


def test_every_format_has_an_end(compiler, tokenizer):
    for word in FORMATS:
        lengths = [answer(compiler, tokenizer, {"type": "string", "format": word}, seed)[0] for seed in range(4)]
        assert max(lengths) <= URL, word


# ---- pydantic's patterns

AHEAD = r"^(?!^[-+.]*$)[+-]?0*"  # how pydantic until 2.13 begins a Decimal


@pytest.mark.parametrize(
    ("rest", "good", "bad"),
    [
        (r"\d*\.?\d*$", ["1", "-0.25", "123456.789"], ["", "-", ".", "a", "1e5"]),
        (r"\d*\.?\d{0,2}0*$", ["1.25", "-7"], ["1.255", "."]),
        (r"(?:\d{0,5}|(?=[\d.]{1,6}0*$)\d*\.\d*0*$)", ["12345", "1.2345", "0.12345"], ["123456", "12.3456", "-"]),
        (r"(?:\d{0,4}|(?=[\d.]{1,7}0*$)\d{0,4}\.\d{0,2}0*$)", ["1234.56", "0.5"], ["12345", "1.234", "."]),
    ],
)
def test_decimals_with_look_ahead(compiler, tokenizer, rest, good, bad):
    schema = {"anyOf": [{"type": "null"}, {"type": "string", "pattern": AHEAD + rest}]}
    for value in good:
        assert re.search(AHEAD + rest, value), "the pattern itself"
        assert accepts(compiler, tokenizer, schema, value)
    assert [value for value in bad if accepts(compiler, tokenizer, schema, value)] == []
    for seed in range(8):
        count, text = answer(compiler, tokenizer, schema["anyOf"][1], seed)
        assert re.search(AHEAD + rest, json.loads(text))
        assert count <= 40


def test_other_patterns_are_left_alone():
    assert known_pattern("^a+$") is None
    assert known_pattern(AHEAD + "x") is None


# ---- maps, names and what is wrong


def test_keywords_may_be_names_of_properties(compiler, tokenizer):
    names = ["enum", "const", "type", "format", "pattern", "items", "properties", "required", "maxLength", "anyOf"]
    parts = {name: {"type": "string", "format": "color"} for name in names}
    schema = closed({"type": "object", "properties": parts, "required": names})
    assert accepts(compiler, tokenizer, schema, dict.fromkeys(names, "x"))
    assert not accepts(compiler, tokenizer, schema, {**dict.fromkeys(names, "x"), "enum": "x" * (LETTERS + 1)})


def test_maps_hold_any_key_up_to_a_length(compiler, tokenizer):
    schema = {"type": "object", "additionalProperties": {"type": "integer"}}
    assert accepts(compiler, tokenizer, schema, {"": 1, 'a "b"\n\\': 2})
    assert not accepts(compiler, tokenizer, schema, {"k" * 65: 1})
    assert not accepts(compiler, tokenizer, schema, {"a": "b"})
    named = {**schema, "propertyNames": {"pattern": "^[ab]$"}}
    assert accepts(compiler, tokenizer, named, {"a": 1, "b": 2})
    assert not accepts(compiler, tokenizer, named, {"c": 1})


@pytest.mark.parametrize(
    "part",
    [
        {"properties": 5},
        {"type": "string", "maxLength": "5"},
        {"type": "string", "minLength": None},
        {"type": "string", "pattern": 5},
        {"type": "string", "format": 5},
        {
            "type": "string",
            "contentMediaType": "application/json",
            "contentSchema": {"$ref": "#/nowhere"},
            "pattern": 1,
        },
        {"type": "array", "items": 5},
        {"type": "array", "minItems": "x"},
        {"type": "number", "minimum": "x"},
        {"type": "number", "multipleOf": 0},
        {"type": "object", "required": "x"},
        {"type": 5},
        {"type": "object", "propertyNames": {"not": {}}},
        {"anyOf": []},
        {"$ref": 5},
        {"$ref": "#/$defs/A/b/c"},
    ],
)
def test_what_is_malformed_is_refused_by_its_field(compiler, part):
    schema = {"type": "object", "properties": {"good": {"type": "integer"}, "bad": part}, "required": ["bad"]}
    with pytest.raises(InvalidRequestError, match=r"(?s)schema of the answer cannot be compiled at 'bad"):
        compiler.json_schema(schema)


@pytest.mark.parametrize(
    ("schema", "field"),
    [
        ({"properties": {"a": {"properties": {"b": {"not": {}}}}}}, "a.b"),
        ({"properties": {"a": {"type": "array", "items": {"type": "string", "pattern": "(?=a)b"}}}}, "a[]"),
        ({"properties": {"a": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/A"}]}}, "$defs": {"A": {"not": {}}}}, "a"),
        ({"properties": {"a": {"$ref": "#/$defs/A"}}, "$defs": {"A": {"properties": {"b": {"not": {}}}}}}, "a.b"),
        ({"type": "object", "additionalProperties": {"type": "array", "uniqueItems": True}}, "*"),
    ],
)
def test_the_field_to_blame_is_found_however_deep(compiler, schema, field):
    with pytest.raises(InvalidRequestError, match=f"at {re.escape(repr(field))}: "):
        compiler.json_schema(schema)
