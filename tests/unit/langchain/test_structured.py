"""`with_structured_output` on random weights: every kind of schema, every method, valid by grammar."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import random
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal, Optional

import pytest
from langchain_core.exceptions import OutputParserException
from langchain_core.messages import AIMessage
from pydantic import BaseModel, Field, HttpUrl, SecretStr
from pydantic.v1 import BaseModel as BaseModelV1
from pydantic.v1 import Field as FieldV1
from typing_extensions import TypedDict

from pad_langchain import ChatPAD, InvalidRequestError
from pad_langchain.chat.engines import shared_pair
from pad_langchain.chat.tools.schemas import closed
from pad_langchain.testing import tiny_model, tiny_pair
from places import BENCHMARKS

BENCHMARK = BENCHMARKS / "engine" / "json_schemas.py"
METHODS = ("json_schema", "function_calling", "json_mode")
QUESTION = "what is an element?"


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int = Field(ge=0, le=9)


class Dog(BaseModel):
    kind: Literal["dog"]
    good: bool


class Pet(BaseModel):
    """A pet and its friends."""

    name: str = Field(max_length=6)
    animal: Cat | Dog = Field(discriminator="kind")
    friends: list[str] = Field(max_length=2, default_factory=list)
    age: Optional[int] = Field(default=None, ge=0, le=30)  # noqa: UP045


class PetV1(BaseModelV1):
    """A pet."""

    name: str = FieldV1(..., max_length=6)
    lives: int = FieldV1(..., ge=0, le=9)


class PetDict(TypedDict):
    """A pet."""

    good: Annotated[bool, ..., "whether it is good"]
    kind: Annotated[Literal["cat", "dog"], ..., "what it is"]


class Tree(BaseModel):
    """Grows into itself."""

    leaf: bool
    below: list[Tree] = Field(max_length=2)


@pytest.fixture(scope="module")
def long_folders(tmp_path_factory):
    pair = dataclasses.replace(tiny_pair(), model=tiny_model(max_position_embeddings=2048))
    return tuple(str(path) for path in pair.save(tmp_path_factory.mktemp("pair")))


@pytest.fixture(scope="module")
def hot_llm(long_folders):
    # Hot, so that random weights do not repeat themselves for ever.
    return ChatPAD(model=long_folders[0], reward_model=None, temperature=1.5, seed=0, max_tokens=400)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("strict", [None, True])
def test_pydantic(hot_llm, method, strict):
    pet = hot_llm.with_structured_output(Pet, method=method, strict=strict).invoke(QUESTION)
    assert isinstance(pet, Pet)


@pytest.mark.parametrize("method", METHODS)
def test_pydantic_v1(hot_llm, method):
    pet = hot_llm.with_structured_output(PetV1, method=method).invoke(QUESTION)
    assert isinstance(pet, PetV1)
    assert 0 <= pet.lives <= 9


@pytest.mark.parametrize("method", METHODS)
def test_typed_dict(hot_llm, method):
    pet = hot_llm.with_structured_output(PetDict, method=method).invoke(QUESTION)
    assert set(pet) == {"good", "kind"}
    assert pet["good"] in (True, False)
    assert pet["kind"] in ("cat", "dog")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("title", [{}, {"title": "Answer"}])
def test_json_schema(hot_llm, method, title):
    schema = {**title, "type": "object", "properties": {"x": {"enum": [1, 2]}}, "required": ["x"]}
    assert hot_llm.with_structured_output(schema, method=method).invoke(QUESTION)["x"] in (1, 2)


@pytest.mark.parametrize("method", METHODS)
def test_an_openai_function(hot_llm, method):
    function = {
        "name": "flag",
        "description": "d",
        "parameters": {"type": "object", "properties": {"on": {"type": "boolean"}}, "required": ["on"]},
    }
    assert set(hot_llm.with_structured_output(function, method=method).invoke(QUESTION)) == {"on"}


def test_recursive_models(hot_llm):
    assert isinstance(hot_llm.with_structured_output(Tree).invoke(QUESTION, max_tokens=400), Tree)


async def test_async(hot_llm):
    assert isinstance(await hot_llm.with_structured_output(Pet).ainvoke(QUESTION), Pet)
    parts = [part async for part in hot_llm.with_structured_output(PetDict).astream(QUESTION)]
    assert set(parts[-1]) == {"good", "kind"}


@pytest.mark.parametrize("method", METHODS)
def test_partial_objects_stream(hot_llm, method):
    parts = list(hot_llm.with_structured_output(Pet.model_json_schema(), method=method).stream(QUESTION))
    assert len(parts) > 2
    Pet.model_validate(parts[-1])
    assert [len(part) for part in parts] == sorted(len(part) for part in parts), "keys only join"


@pytest.mark.parametrize("method", METHODS)
def test_include_raw(hot_llm, method):
    bound = hot_llm.with_structured_output(Pet, method=method, include_raw=True)
    whole = bound.invoke(QUESTION)
    assert isinstance(whole["raw"], AIMessage)
    assert isinstance(whole["parsed"], Pet)
    assert whole["parsing_error"] is None
    cut = hot_llm.with_structured_output(Pet, method=method, include_raw=True, max_tokens=6).invoke(QUESTION)
    assert cut["parsed"] is None
    assert isinstance(cut["parsing_error"], OutputParserException)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("schema", [Pet, Pet.model_json_schema()])
def test_an_answer_that_is_cut_off_is_an_error_and_not_half_an_object(hot_llm, method, schema):
    bound = hot_llm.with_structured_output(schema, method=method)
    with pytest.raises(OutputParserException, match=r"not complete JSON \(finish_reason 'length'\).*Raise max_tokens"):
        bound.invoke(QUESTION, max_tokens=16)


def test_what_the_model_is_told(hot_llm):
    def tokens(runnable):
        return runnable.first.invoke(QUESTION, max_tokens=1).usage_metadata["input_tokens"]

    plain = hot_llm.invoke(QUESTION, max_tokens=1).usage_metadata["input_tokens"]
    assert tokens(hot_llm.with_structured_output(Pet)) > plain
    assert tokens(hot_llm.with_structured_output(Pet, method="function_calling")) > plain
    assert tokens(hot_llm.with_structured_output(Pet, method="json_mode")) == plain


def test_json_mode_without_a_schema_is_any_object(hot_llm, long_folders):
    text = hot_llm.bind(response_format={"type": "json_object"}).invoke(QUESTION, max_tokens=400).text
    assert text.startswith("{")
    assert hot_llm.with_structured_output(None, method="json_mode") is not None
    engine = shared_pair(long_folders[0], None).engine
    state = engine.grammars.json_schema({"type": "object"}).start()
    for token in engine.prompts.encode('{"a": [1, null]}'):
        assert state.mask()[token]
        state.accept(token)


def test_settings_and_traces_are_bound(hot_llm):
    bound = hot_llm.with_structured_output(Pet, strict=True, max_tokens=150)
    assert bound.first.kwargs["max_tokens"] == 150
    traced = bound.first.kwargs["ls_structured_output_format"]
    assert traced == {"kwargs": {"method": "json_schema", "strict": True}, "schema": Pet}


def test_bad_requests_are_refused(hot_llm):
    with pytest.raises(InvalidRequestError, match="method has to be one of"):
        hot_llm.with_structured_output(Pet, method="xml")
    with pytest.raises(InvalidRequestError, match="needs a schema"):
        hot_llm.with_structured_output(None)
    with pytest.raises(InvalidRequestError, match="response_format has to be"):
        hot_llm.invoke(QUESTION, response_format={"type": "json_schema"})
    with pytest.raises(InvalidRequestError, match="response_format has to be"):
        hot_llm.invoke(QUESTION, response_format="json")


@pytest.mark.parametrize(
    ("part", "named"),
    [
        ({"type": "array", "uniqueItems": True}, "uniqueItems"),
        ({"not": {"type": "string"}}, "not"),
        ({"type": "object", "dependentRequired": {"a": ["b"]}}, "dependentRequired"),
        ({"type": "string", "pattern": "(?=a)b"}, "pattern"),
        ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, "oneOf"),
        ({"$ref": "#/nowhere"}, "nowhere"),
    ],
)
@pytest.mark.parametrize("method", METHODS)
def test_what_a_grammar_cannot_express_is_named(hot_llm, method, part, named):
    schema = {"title": "T", "type": "object", "properties": {"a": part}}
    with pytest.raises(InvalidRequestError, match=f"(?s)cannot be compiled.*{named}"):
        hot_llm.with_structured_output(schema, method=method).invoke(QUESTION)


@pytest.mark.parametrize("method", METHODS)
def test_a_form_of_many_types(hot_llm, method):
    class Order(BaseModel):
        """An order."""

        amount: Decimal = Field(max_digits=5, decimal_places=2)
        at: datetime
        within: timedelta
        kinds: set[Literal["a", "b"]] = Field(max_length=2)
        page: HttpUrl
        secret: SecretStr = Field(max_length=4)
        data: bytes = Field(max_length=4)
        file: Path = Field(json_schema_extra={"maxLength": 4})

    order = hot_llm.with_structured_output(Order, method=method).invoke(QUESTION, max_tokens=1200)
    assert isinstance(order, Order)
    assert abs(order.amount) < 1000


def test_a_schema_that_is_no_json_is_refused_with_words(hot_llm):
    schema = {"title": "T", "type": "object", "properties": {"a": {"type": "string", "default": METHODS.index}}}
    with pytest.raises(InvalidRequestError, match="schema of the answer has to be JSON: dicts, lists"):
        hot_llm.with_structured_output(schema).invoke(QUESTION)
    with pytest.raises(InvalidRequestError, match="schema of tool 'T' has to be JSON"):
        hot_llm.with_structured_output(schema, method="function_calling").invoke(QUESTION)


def test_closed_leaves_alone_what_speaks_for_itself():
    named = {"type": "object", "properties": {"properties": {"type": "string"}}}
    assert closed(named) == {**named, "additionalProperties": False}
    for schema in (
        {"type": "object", "properties": {}, "additionalProperties": True},
        {"allOf": [{"type": "object", "properties": {"a": {}}}]},
        {"type": "object"},
        {"enum": [{"properties": {}}]},
    ):
        assert closed(schema) == schema
    deep = {"$defs": {"A": {"properties": {}}}, "items": {"properties": {}}, "anyOf": [{"properties": {}}]}
    text = json.dumps(closed(deep))
    assert text.count('"additionalProperties": false') == 3


def test_random_schemas_greedy_and_sampled():
    spec = importlib.util.spec_from_file_location("json_schemas", BENCHMARK)
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    rng = random.Random(1)
    schemas = [closed(benchmark.random_schema(rng)) for _ in range(16)]
    with benchmark.random_engine() as engine:
        for temperature in (0.0, 1.0):
            assert benchmark.run(engine, schemas, temperature, 6000) == [None] * len(schemas)


class Verdict(BaseModel):
    """A verdict."""

    ok: bool
    score: int = Field(ge=0, le=9)


@pytest.mark.parametrize("strategy", ["provider", "tool", "auto"])
def test_agents_answer_in_a_form_and_call_tools(hot_llm, strategy):
    from langchain.agents import create_agent
    from langchain.agents.structured_output import ProviderStrategy, ToolStrategy

    calls = []

    def note(text: Annotated[str, Field(max_length=4)]) -> str:
        """Take a note."""
        calls.append(text)
        return "noted"

    form = {"provider": ProviderStrategy(Verdict), "tool": ToolStrategy(Verdict), "auto": Verdict}[strategy]
    for seed in range(4):
        bound = hot_llm.model_copy(update={"seed": seed})
        agent = create_agent(bound, tools=[note], response_format=form)
        result = agent.invoke({"messages": [("user", QUESTION)]}, {"recursion_limit": 50})
        assert isinstance(result["structured_response"], Verdict)
    assert calls, "random weights take a note now and then"
