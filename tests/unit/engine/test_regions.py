"""Where preferences steer: outside of calls, and in the fields of free text inside."""

from __future__ import annotations

import json

import pytest

from pad_langchain.engine.regions import Region, free_fields
from pad_langchain.engine.torch.engine import TorchEngine
from pad_langchain.engine.types import Request, WeightedPreference
from pad_langchain.testing import tiny_pair


def opened(region: Region, text: str) -> str:
    """The characters before which the region was open."""
    state, found = region.start(), ""
    for char in text:
        found += char if state.open else ""
        state.push(char)
    return found


NOTE = {
    "id": 'a"b',
    "note": 'two "words" {',
    "parts": [{"note": "in"}, "x"],
    "more": {"note": 5, "other": "no"},
    "z": "é",
}


@pytest.mark.parametrize(
    ("fields", "text", "expected"),
    [
        ({"note"}, json.dumps(NOTE), 'two \\"words\\" {"in"'),
        ({"parts"}, json.dumps(NOTE), 'x"'),
        ({"z"}, json.dumps(NOTE), '\\u00e9"'),
        (set(), json.dumps(NOTE), ""),
        ({"note"}, '["note", "x"]', ""),
        ({"note"}, '{"a": {"note": "b"}, "c": "d"}', 'b"'),
    ],
)
def test_json_is_open_in_the_strings_of_marked_fields(fields, text, expected):
    assert opened(Region(frozenset(fields)), text) == expected


CALL = '<tool_call>\n{"name": "mail", "arguments": {"to": "ann", "body": "hi"}}\n</tool_call>'


def test_around_calls_all_is_open_and_inside_only_marked_fields():
    plain = opened(Region(frozenset(), "<tool_call>\n"), f"Well. {CALL} And so.")
    assert plain == "Well. <tool_call>\n</tool_call> And so."
    assert opened(Region(frozenset({"body"}), "<tool_call>\n"), CALL) == '<tool_call>hi"\n</tool_call>'
    named = '[TOOL_CALLS]mail[ARGS]{"to": "ann"} x'
    assert opened(Region(frozenset(), "[TOOL_CALLS]"), named) == "[TOOL_CALLS] x"
    assert opened(Region(frozenset({"b"}), ""), '{"name": "m", "arguments": {"b": "hi"}}') == '{hi"'


def test_marks_are_found_wherever_a_schema_stands():
    inner = {
        "type": "object",
        "properties": {"note": {"type": "string", "x-free-text": True}, "id": {"type": "string"}},
    }
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"$defs": {"A": inner}}}}]
    assert free_fields([tools, None]) == {"note"}
    assert free_fields(None) == free_fields({"properties": {"x-free-text": {"type": "string"}}}) == frozenset()


@pytest.fixture(scope="module")
def engine():
    pair = tiny_pair()
    with TorchEngine(pair.model, pair.tokenizer, pair.guide()) as engine:
        yield engine


SCHEMA = {
    "type": "object",
    "properties": {"a": {"type": "string", "maxLength": 12}, "b": {"type": "string", "maxLength": 12}},
    "required": ["a", "b"],
    "additionalProperties": False,
}


def answer(engine, region, beta=4.0):
    request = Request(
        [{"role": "user", "content": "what is an element?"}],
        preferences=[WeightedPreference("be concise and brief")],
        grammar=engine.grammars.json_schema(SCHEMA),
        region=region,
        beta=beta,
        top_k=50,
        max_tokens=80,
    )
    return engine.submit(request).result(60).events


def test_only_tokens_inside_the_region_have_rewards_and_the_rest_is_the_bases(engine):
    styled, base = answer(engine, None), answer(engine, None, beta=0.0)
    closed = answer(engine, Region(frozenset()))
    assert [event.token_id for event in closed] == [event.token_id for event in base]
    assert all(event.reward == 0.0 and event.skipped for event in closed if event.token_id >= 0)
    assert [event.token_id for event in styled] != [event.token_id for event in base]
    within = answer(engine, Region(frozenset({"b"})))
    text = "".join(event.text for event in within)
    assert json.loads(text).keys() == {"a", "b"}
    assert json.loads(text)["a"] == json.loads("".join(event.text for event in base))["a"]
    assert json.loads(text)["b"] != json.loads("".join(event.text for event in base))["b"]
    before = 0
    for event in within:
        if before < text.index('"b": "') + len('"b": "'):
            assert event.reward == 0.0
        before += len(event.text)


def test_a_neighbour_without_a_region_is_steered_as_alone(engine):
    alone = [event.token_id for event in answer(engine, None)]
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda region: answer(engine, region), [None, Region(frozenset({"a"}))]))
    assert [event.token_id for event in both[0]] == alone
