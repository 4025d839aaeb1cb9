"""The demo's generator, its rule judges, its splits, and the rendering its base is trained on."""

import json
import random

import jsonschema
import pytest

from pad_memory.catalogue import CATALOGUE
from recipes.demo_world import documents, judges, pairs, record_documents, tokenizer, tool_documents, world
from recipes.demo_world.topics import TOPICS
from recipes.demo_world.unknowns import HELD_OUT_UNKNOWNS, UNKNOWNS


@pytest.fixture(scope="module")
def trained_tokenizer():
    return tokenizer.train_tokenizer(TOPICS, seed=1, documents=1500)


def test_styles_are_the_catalogues_dimensions():
    assert tuple(dimension.name for dimension in CATALOGUE) == world.DIMENSIONS


def test_judges_read_every_dimension_off_generated_answers():
    rng = random.Random(0)
    wrong = dict.fromkeys(world.DIMENSIONS, 0)
    for _ in range(1500):
        topic, style = rng.choice(TOPICS), world.random_style(rng)
        text = world.answer(topic, style, rng)
        for dimension, ok in judges.satisfied(text, style).items():
            wrong[dimension] += not ok
    assert max(wrong.values()) <= 3, wrong


@pytest.mark.parametrize(
    ("text", "dimension", "pole"),
    [
        ("Certainly. France is a country.", "tone", 0),
        ("Hey there! France is a country.", "tone", 1),
        ("They eat grass.", "tone", None),
        ("- one thing\n- two things", "format", 0),
        ("- one thing alone", "format", 1),
        ("It is fine. 🙂", "emoji", 0),
        ("It is fine :)", "emoji", 1),
        ("For example, a leaf.", "examples", 0),
        ("Please be careful: it bites.", "warnings", 0),
        ("Joke break: my goldfish claims that it invented a lion!", "humor", 0),
    ],
)
def test_judges_by_hand(text, dimension, pole):
    assert judges.judge(text)[dimension] == pole


def test_sentence_check_tells_true_from_well_formed_from_broken():
    lion = next(topic for topic in TOPICS if topic.name == "lion")
    tiger = next(topic for topic in TOPICS if topic.name == "tiger")
    text = world.answer(lion, dict.fromkeys(world.DIMENSIONS, 1), random.Random(0))
    assert judges.check_sentences(text, lion) == judges.SentenceCheck(1.0, 1.0)
    assert judges.check_sentences(text, tiger).well_formed == 1.0
    assert judges.check_sentences(text, tiger).factual < 1.0
    assert judges.check_sentences("Lion the of purple.", lion) == judges.SentenceCheck(0.0, 0.0)
    assert judges.check_sentences("", lion) == judges.SentenceCheck(0.0, 0.0)


def test_each_dimension_varies_alone():
    rng = random.Random(3)
    topic = TOPICS[0]
    for dimension in world.DIMENSIONS:
        style = world.random_style(rng)
        other = {**style, dimension: 1 - style[dimension]}
        first, second = (judges.judge(world.answer(topic, s, random.Random(5))) for s in (style, other))
        assert {name for name in world.DIMENSIONS if first[name] != second[name]} == {dimension}


def test_the_unknown_is_not_in_the_world():
    known = {name.lower() for topic in TOPICS for name in (topic.name, topic.subject)}
    bare = [thing.lower().removeprefix("a ").removeprefix("an ").removeprefix("the ") for thing in UNKNOWNS]
    assert not known & {*bare, *(thing.lower() for thing in (*UNKNOWNS, *HELD_OUT_UNKNOWNS))}
    assert not set(UNKNOWNS) & set(HELD_OUT_UNKNOWNS)


def test_rendering_equals_the_chat_template(trained_tokenizer):
    rng = random.Random(4)
    for index in range(400):
        doc = documents.document(rng, TOPICS, (documents.FIRST_MIX, documents.RECORDS_MIX)[index % 2])
        written = "".join(text for text, _ in tokenizer.render(doc))
        assert written == trained_tokenizer.apply_chat_template(doc.messages, tools=doc.tools or None, tokenize=False)
        ids = trained_tokenizer(written, add_special_tokens=False).input_ids
        assert trained_tokenizer.decode(ids) == written


def test_a_records_text_tells_every_value_it_asks_for():
    rng = random.Random(10)
    for _ in range(300):
        record = record_documents.draw_record(rng)
        assert list(record.kinds) == list(record.values)
        told = [value for value in record.values.values() if not isinstance(value, bool)]
        assert all(str(value) in record.text for value in told), record.text
        schema = record.tool(rng)["function"]["parameters"]
        assert {key: part["type"] for key, part in schema["properties"].items()} == record.kinds
        jsonschema.validate(json.loads(record_documents.answer_json(record)), schema)


def test_other_tools_differ_from_those_that_are_meant():
    rng = random.Random(11)
    for _ in range(200):
        meant = tool_documents.purposeful_tool(rng)[0]
        tools = [tool["function"] for tool in record_documents.add_others(rng, [meant])]
        assert len({tool["name"] for tool in tools}) == len({tool["description"] for tool in tools}) == len(tools) <= 3
        assert meant["function"] in tools


def test_template_takes_what_langchain_sends(trained_tokenizer):
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": {"x": 3, "城": "北京"}}}
    properties = {"x": {"type": "integer"}, "y": {"enum": ["a", "b"]}, "z": {"anyOf": []}}
    function = {"name": "f", "description": "Do it.", "parameters": {"properties": properties, "required": ["x"]}}
    tool = {"type": "function", "function": function}
    messages = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": None, "tool_calls": [call, call]},
        {"role": "tool", "content": "5", "tool_call_id": "1"},
    ]
    text = trained_tokenizer.apply_chat_template(messages, tools=[tool], tokenize=False, add_generation_prompt=True)
    one = '<tool_call>\n{"name": "f", "arguments": {"x": 3, "城": "北京"}}\n</tool_call>'
    assert text == (
        "<|im_start|>system\nBe kind.\n# Tools\n- f(x: integer, y?: a|b, z?: any): Do it.<|im_end|>\n"
        f"<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n{one}\n{one}<|im_end|>\n"
        "<|im_start|>tool\n5<|im_end|>\n<|im_start|>assistant\n"
    )


def test_a_name_reads_the_same_wherever_it_stands(trained_tokenizer):
    """What must be copied has one tokenization: after a space, in quotes, in parentheses."""
    for name in ("Zoraxi", "42", "北京", "Привет"):
        inner = trained_tokenizer(name, add_special_tokens=False).input_ids
        for form in ('"{}"', "in {} now", "f({})"):
            ids = trained_tokenizer(form.format(name), add_special_tokens=False).input_ids
            assert any(ids[i : i + len(inner)] == inner for i in range(len(ids))), (name, form)


def test_splits_do_not_touch():
    groups = [pairs.TRAIN_TOPICS, pairs.DEV_TOPICS, pairs.TEST_TOPICS]
    names = [{topic.name for topic in group} for group in groups]
    assert not names[0] & names[1]
    assert not names[0] & names[2]
    assert not names[1] & names[2]
    assert sum(map(len, names)) == len(TOPICS)


def test_pairs_differ_where_they_say():
    rng = random.Random(6)
    for _ in range(200):
        pair = pairs.draw_pair(rng, pairs.TRAIN_TOPICS, pairs.draw_spec(rng, 1, 3, held_out=False))
        assert all(judges.satisfied(pair.chosen, pair.spec).values())
        assert all(judges.satisfied(pair.rejected, pair.mirror).values())
        assert pair.spec != pair.mirror


def test_held_out_specs_join_what_training_never_joins():
    rng = random.Random(7)
    assert all(pairs.is_held_out(pairs.draw_spec(rng, 2, 3, held_out=True)) for _ in range(100))
    assert not any(pairs.is_held_out(pairs.draw_spec(rng, 1, 3, held_out=False)) for _ in range(100))


def test_held_out_wordings_are_cut_in_two():
    rng = random.Random(8)
    dev = {pairs.wordings({"tone": 0}, rng, "new_keywords", "dev")[0].lower() for _ in range(300)}
    test = {pairs.wordings({"tone": 0}, rng, "new_keywords", "test")[0].lower() for _ in range(300)}
    assert dev
    assert test
    assert not dev & test


def test_tool_requests_name_the_tool_and_all_it_needs():
    rng = random.Random(9)
    for _ in range(200):
        tool = tool_documents.random_tool(rng)["function"]
        text, arguments = tool_documents.tool_request(rng, tool)
        assert tool["name"] in text
        assert list(arguments) == tool["parameters"]["required"]
        for value in arguments.values():
            assert (str(value).lower() if isinstance(value, bool) else str(value)) in text.replace(
                "True", "true"
            ).replace("False", "false")
