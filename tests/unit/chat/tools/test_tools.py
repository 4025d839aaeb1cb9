"""Tools through `ChatPAD` on random weights: whatever the model wants to say, its calls are valid, and they stream."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Annotated

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.tools import StructuredTool, tool
from langchain_core.utils.function_calling import convert_to_openai_tool
from langchain_core.utils.json import parse_partial_json
from pydantic import BaseModel, Field, NaiveDatetime

from pad_langchain import ChatPAD, InvalidRequestError
from pad_langchain.chat import Chat
from pad_langchain.chat.engines import shared_pair
from pad_langchain.chat.tools.answer_parser import spoiler
from pad_langchain.chat.tools.tool_format import tool_format
from pad_langchain.chat.tools.tools import check_tools, tool_choice_of
from pad_langchain.engine.torch.engine import TorchEngine
from pad_langchain.langchain.structured import openai_tool
from pad_langchain.testing import HashEmbedder, paused, tiny_model, tiny_tokenizer


class Weather(BaseModel):
    """Get the weather."""

    city: str = Field(max_length=8)
    days: int = Field(ge=1, le=14)


@tool
def now() -> str:
    """Get the time."""
    return "noon"


TOOLS = [Weather, now]
QUESTION = "how is it in Rome?"
HOT = {"temperature": 1.5}


@pytest.fixture(scope="module")
def tool_llm(folders):
    return ChatPAD(model=folders[0], reward_model=folders[1], embedder=HashEmbedder(), max_tokens=200, beta=2.0)


def valid(call):
    if call["name"] == "Weather":
        Weather.model_validate(call["args"], strict=True)
        return set(call["args"]) == {"city", "days"}
    return call["name"] == "now" and call["args"] == {}


# ---- choices


@pytest.mark.parametrize("choice", ["any", "required", True])
def test_a_forced_call_is_one_valid_call(tool_llm, choice):
    bound = tool_llm.bind_tools(TOOLS, tool_choice=choice)
    wish = {0: [], 1: "be kind"}  # so hot that without a wish either tool is about as likely
    answers = [bound.invoke(QUESTION, seed=seed, preference=wish[seed % 2], temperature=20.0) for seed in range(16)]
    for answer in answers:
        assert len(answer.tool_calls) == 1
        assert valid(answer.tool_calls[0])
        assert (answer.text, answer.invalid_tool_calls) == ("", [])
        assert answer.response_metadata["finish_reason"] == "tool_calls"
    assert {answer.tool_calls[0]["name"] for answer in answers} == {"Weather", "now"}
    ids = [answer.tool_calls[0]["id"] for answer in answers]
    assert len(set(ids)) == 16
    assert all(len(one) == 9 and one.isalnum() for one in ids)


@pytest.mark.parametrize("choice", ["now", {"type": "function", "function": {"name": "now"}}, {"name": "now"}])
def test_a_named_tool_is_the_one_called(tool_llm, choice):
    answer = tool_llm.bind_tools(TOOLS, tool_choice=choice).invoke(QUESTION, **HOT)
    assert [(call["name"], call["args"]) for call in answer.tool_calls] == [("now", {})]


@pytest.mark.parametrize("choice", [None, "auto", False])
def test_auto_leaves_the_choice_and_keeps_calls_valid(tool_llm, choice):
    bound = tool_llm.bind_tools(TOOLS, tool_choice=choice)
    answers = [bound.invoke(QUESTION, seed=seed, max_tokens=80, **HOT) for seed in range(8)]
    called = [answer for answer in answers if answer.tool_calls]
    assert called
    assert len(called) < len(answers), "some answers have to be text"
    assert all(valid(call) for answer in answers for call in answer.tool_calls if not answer.invalid_tool_calls)
    for answer in answers:
        reason = answer.response_metadata["finish_reason"]
        assert reason in (("tool_calls", "length") if answer.tool_calls else ("stop", "length"))
        assert "<tool_call>" not in answer.text


def test_none_hides_the_tools(tool_llm):
    hidden = tool_llm.bind_tools(TOOLS, tool_choice="none").invoke(QUESTION)
    assert hidden.text == tool_llm.invoke(QUESTION).text
    assert hidden.tool_calls == []


def test_tools_reach_the_prompt(tool_llm):
    plain = tool_llm.invoke(QUESTION, max_tokens=1)
    shown = tool_llm.bind_tools(TOOLS).invoke(QUESTION, max_tokens=1)
    assert shown.usage_metadata["input_tokens"] > plain.usage_metadata["input_tokens"]
    counted = tool_llm.get_num_tokens_from_messages([HumanMessage(QUESTION)], TOOLS)
    assert shown.usage_metadata["input_tokens"] == counted


def test_parallel_calls_only_where_allowed(tool_llm):
    several = tool_llm.bind_tools([now], tool_choice="any", parallel_tool_calls=True)
    counts = {len(several.invoke(QUESTION, seed=seed, **HOT, max_tokens=60).tool_calls) for seed in range(4)}
    assert max(counts) > 1
    single = tool_llm.bind_tools([now], parallel_tool_calls=False)
    assert {len(single.invoke(QUESTION, seed=seed, **HOT, max_tokens=60).tool_calls) for seed in range(4)} <= {0, 1}


def test_strict_false_lets_arguments_in_that_the_schema_does_not_name(tool_llm, folders):
    engine = shared_pair(*folders).engine
    schema = {"name": "f", "parameters": {"type": "object", "properties": {"a": {"type": "object", "properties": {}}}}}

    def accepts(text, **extra):
        grammar = tool_format(engine).grammar([{"type": "function", "function": {**schema, **extra}}], "required")
        state = grammar.start()
        for token in engine.prompts.encode(text):
            if not state.mask()[token]:
                return False
            state.accept(token)
        return True

    extra = '<tool_call>\n{"name": "f", "arguments": {"a": {"b": 1}}}\n</tool_call>'
    assert not accepts(extra)
    assert accepts(extra, strict=False)
    assert accepts('<tool_call>\n{"name": "f", "arguments": {"a": {}}}\n</tool_call>')


# ---- streaming


def test_a_stream_of_calls_adds_up_to_the_answer(tool_llm):
    bound = tool_llm.bind_tools([Weather], tool_choice="any")
    chunks = list(bound.stream(QUESTION, seed=1, **HOT))
    pieces = [piece for chunk in chunks for piece in chunk.tool_call_chunks]
    assert len(pieces) > 3, "arguments have to arrive while they are written"
    assert {piece["index"] for piece in pieces} == {0}
    assert [piece["name"] for piece in pieces if piece["name"]] == ["Weather"]
    assert [bool(piece["id"]) for piece in pieces] == [True] + [False] * (len(pieces) - 1)
    total = sum(chunks[1:], chunks[0])
    answer = bound.invoke(QUESTION, seed=1, **HOT)
    assert isinstance(total, AIMessageChunk)
    assert [call["args"] for call in total.tool_calls] == [call["args"] for call in answer.tool_calls]
    assert total.response_metadata["finish_reason"] == "tool_calls"
    assert chunks[-1].chunk_position == "last"


async def test_async_calls(tool_llm):
    bound = tool_llm.bind_tools([Weather], tool_choice="any")
    answer = await bound.ainvoke(QUESTION, seed=1, **HOT)
    assert answer.tool_calls[0]["args"] == bound.invoke(QUESTION, seed=1, **HOT).tool_calls[0]["args"]
    total = None
    async for chunk in bound.astream(QUESTION, seed=1, **HOT):
        total = chunk if total is None else total + chunk
    assert total.tool_calls[0]["args"] == answer.tool_calls[0]["args"]


@pytest.mark.parametrize("output_version", ["v0", "v1"])
def test_content_blocks(tool_llm, output_version):
    model = tool_llm.model_copy(update={"output_version": output_version})
    blocks = model.bind_tools([now], tool_choice="any").invoke(QUESTION).content_blocks
    assert [(block["type"], block["name"]) for block in blocks if block["type"] == "tool_call"] == [
        ("tool_call", "now")
    ]


def test_a_call_that_is_cut_off_is_invalid_in_every_way_to_call(tool_llm):
    bound = tool_llm.bind_tools([Weather], tool_choice="any")
    whole = bound.invoke(QUESTION, seed=1, **HOT)
    assert whole.tool_calls
    for count in range(1, whole.usage_metadata["output_tokens"] - 4, 3):
        answer = bound.invoke(QUESTION, seed=1, max_tokens=count, **HOT)
        chunks = list(bound.stream(QUESTION, seed=1, max_tokens=count, **HOT))
        for message in (answer, sum(chunks[1:], chunks[0])):
            assert message.tool_calls == []
            assert message.response_metadata["finish_reason"] == "length"
            assert len(message.invalid_tool_calls) == (1 if count > 1 else len(message.invalid_tool_calls))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
ARGUMENTS = st.dictionaries(st.text(), JSON, max_size=4)


@settings(deadline=None)
@given(ARGUMENTS, st.booleans(), st.data())
def test_no_cut_off_json_can_be_read_after_the_spoiler(arguments, ascii_only, data):
    text = json.dumps(arguments, ensure_ascii=ascii_only)
    cut = text[: data.draw(st.integers(0, len(text) - 1))]
    try:
        read = parse_partial_json(cut + spoiler(cut))
    except ValueError:
        return
    assert not isinstance(read, dict)


@pytest.fixture(scope="module")
def tool_engine(folders):
    return shared_pair(*folders).engine


def parsed(format_, text, cuts, tools=()):
    parser = format_.parser([], tools)
    pieces = []
    for start, stop in zip([0, *cuts], [*cuts, len(text)], strict=True):
        pieces.append(parser.push(text[start:stop]))
    pieces.append(parser.finish())
    calls = {}
    for delta in (delta for piece in pieces for delta in piece.calls):
        call = calls.setdefault(delta.index, {"id": "", "name": "", "arguments": ""})
        for key in call:
            call[key] += getattr(delta, key) or ""
    return "".join(piece.text for piece in pieces), list(calls.values())


@settings(max_examples=50, deadline=None)
@given(st.lists(ARGUMENTS, max_size=3), st.text('ab {}"\n', max_size=8), st.data())
def test_calls_are_read_alike_however_the_text_is_cut(tool_engine, many, said, data):
    call = '<tool_call>\n{{"name": "f", "arguments": {}}}\n</tool_call>'
    text = said + "".join(call.format(json.dumps(arguments, ensure_ascii=False)) for arguments in many)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=12)))
    answer, calls = parsed(tool_format(tool_engine), text, cuts)
    assert answer == (said.rstrip() if many else said)
    assert [call["name"] for call in calls] == ["f"] * len(many)
    assert [json.loads(call["arguments"]) for call in calls] == many
    assert len({call["id"] for call in calls}) == len(many)


# ---- other chat templates

USER = "{{ '<|im_start|>' + m.role + '\\n\\n' + m.content + '<|im_end|>' }}"
CALL = "m.tool_calls[0].function"
TEMPLATES = {
    "bare": "{% for m in messages %}{% if m.tool_calls %}{% if m.tool_calls | length > 1 %}{{ raise_exception('one') }}"
    "{% endif %}{{ '<|im_start|>assistant\\n\\n{\"name\": \"' + " + CALL + ".name + '\", \"parameters\": ' + ("
    + CALL + ".arguments | tojson) + '}<|im_end|>' }}{% else %}" + USER + "{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n\\n' }}{% endif %}",
    "list": "{% for m in messages %}{% if m.role == 'user' %}{{ '[INST] ' + m.content + '[/INST]' }}"
    "{% elif m.tool_calls %}{{ '[TOOL_CALLS] [' }}{% for c in m.tool_calls %}{{ '{\"name\": \"' + c.function.name + "
    "'\", \"arguments\": ' + (c.function.arguments | tojson) + ', \"id\": \"' + c.id + '\"}' }}"
    "{{ ', ' if not loop.last else '' }}{% endfor %}{{ ']<|im_end|>' }}"
    "{% else %}{{ m.content + '<|im_end|>' }}{% endif %}{% endfor %}",
    "outside": "{% for m in messages %}{% if m.tool_calls %}{% for c in m.tool_calls %}{{ '[TOOL_CALLS]' + "
    "c.function.name + '[ARGS]' + (c.function.arguments | tojson) }}{% endfor %}{{ '<|im_end|>' }}"
    "{% elif m.role == 'user' %}{{ '[INST]' + m.content + '[/INST]' }}{% else %}{{ m.content + '<|im_end|>' }}"
    "{% endif %}{% endfor %}",
    "xml": "{% for t in tools or [] %}{{ t | tojson }}{% endfor %}{% for m in messages %}{{ '<|im_start|>' + m.role }}"
    "{% for c in m.tool_calls or [] %}{{ '<function=' + c.function.name + '>' }}{% for k, v in "
    "c.function.arguments | items %}{{ '<parameter=' + k + '>' + v + '</parameter>' }}{% endfor %}{{ '</function>' }}"
    "{% endfor %}{{ m.content + '<|im_end|>' }}{% endfor %}",
    "none": "{% for m in messages %}{{ m.role + ': ' + m.content + '\\n' }}{% endfor %}",
}  # fmt: skip


def engine_with(template):
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = TEMPLATES[template]
    return TorchEngine(tiny_model(), tokenizer)


def model_with(template, folder, **settings):
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = TEMPLATES[template]
    tiny_model().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return ChatPAD(model=str(folder), max_tokens=200, **settings)


def test_affixes_are_found_in_the_template(tool_engine):
    found = tool_format(tool_engine).affixes
    assert (found.begin, found.end, found.separator) == ("<tool_call>\n", "\n</tool_call>", "")
    bare = tool_format(engine_with("bare")).affixes
    assert (bare.begin, bare.end, bare.separator, bare.arguments_key) == ("", "", None, "parameters")
    listed = tool_format(engine_with("list")).affixes
    assert (listed.begin, listed.end, listed.separator) == ("[TOOL_CALLS] [", "]", None)
    for name in ("outside", "xml", "none"):
        assert tool_format(engine_with(name)).facts.affixes is None


@pytest.mark.parametrize("template", ["bare", "list"])
def test_forced_and_free_calls_under_other_templates(template, tmp_path):
    llm = model_with(template, tmp_path)
    for seed in range(4):
        answer = llm.bind_tools(TOOLS, tool_choice="any").invoke(QUESTION, seed=seed, **HOT)
        assert valid(answer.tool_calls[0])
        assert answer.text == ""
        free = llm.bind_tools(TOOLS).invoke(QUESTION, seed=seed, max_tokens=60, **HOT)
        assert all(valid(call) for call in free.tool_calls)
    history = [HumanMessage(QUESTION), answer, ToolMessage("sun", tool_call_id=answer.tool_calls[0]["id"])]
    assert isinstance(llm.bind_tools(TOOLS).invoke(history, max_tokens=4), AIMessage)


def test_shipped_response_templates():
    engine = engine_with("none")
    llama = tool_format(engine, "llama-3")
    assert parsed(llama, '{"name": "f", "parameters": {"a": "}"}}', [3, 20]) == (
        "",
        [{"id": parsed_id(), "name": "f", "arguments": '{"a": "}"}'}],
    )
    assert parsed(llama, "Hello {there}.", [7])[0] == "Hello {there}."
    mistral = tool_format(engine, "mistral")
    text, calls = parsed(mistral, 'ok[TOOL_CALLS]f[ARGS]{"a": 1}[TOOL_CALLS]g[ARGS]{}', [10, 30])
    assert text == "ok"
    assert [(call["name"], json.loads(call["arguments"])) for call in calls] == [("f", {"a": 1}), ("g", {})]
    _, calls = parsed(mistral, '[TOOL_CALLS]f[ARGS]{"a": ', [])
    assert calls[0]["arguments"]
    assert parse_partial_json(calls[0]["arguments"]) is None


class parsed_id:  # noqa: N801
    """Equal to any call id."""

    def __eq__(self, other):
        return len(other) == 9 and other.isalnum()

    __hash__ = None


def test_a_tokenizers_own_response_template_is_used(tmp_path):
    template = {
        "start_anchor": "assistant\n",
        "fields": {
            "reasoning_content": {"open": "<think>", "close": "</think>", "content": "text"},
            "content": {"content": "text"},
        },
    }
    engine = engine_with("none")
    engine.tokenizer.response_template = template
    parser = tool_format(engine).parser([])
    pieces = [parser.push("<think>hm</th"), parser.push("ink>yes"), parser.finish()]
    assert ("".join(piece.reasoning for piece in pieces), "".join(piece.text for piece in pieces)) == ("hm", "yes")


XML = {
    "start_anchor": "<|im_start|>assistant",
    "fields": {
        "tool_calls": {
            "open_pattern": r"<function=(?P<name>\w+)>",
            "close": "</function>",
            "repeats": True,
            "content": "xml-inline",
            "content_args": {"tag_pattern": r"<parameter=(?P<key>\w+)>(?P<value>.*?)</parameter>"},
            "transform": {"type": "function", "function": {"name": "{name}", "arguments": "{content}"}},
        },
        "content": {"content": "text"},
    },
}


def test_calls_that_are_not_json_need_a_response_template_and_cannot_be_forced(tmp_path):
    llm = model_with("xml", tmp_path)
    with pytest.raises(InvalidRequestError, match=r"(?s)a form that is not JSON.*one of \['gemma', 'llama-3'"):
        llm.bind_tools(TOOLS).invoke(QUESTION)
    told = llm.model_copy(update={"response_template": XML})
    assert isinstance(told.bind_tools(TOOLS).invoke(QUESTION, max_tokens=3), AIMessage)
    with pytest.raises(InvalidRequestError, match="cannot be forced"):
        told.bind_tools(TOOLS, tool_choice="any").invoke(QUESTION)
    text = "ok<function=Weather><parameter=city>Rome</parameter><parameter=days>3</parameter></function>"
    schema = [convert_to_openai_tool(Weather)]
    said, calls = parsed(tool_format(Chat.of(llm.model_name, llm).engine, XML), text, [5, 40], schema)
    assert said == "ok"
    assert [json.loads(call["arguments"]) for call in calls] == [{"city": "Rome", "days": 3}]
    unknown = llm.model_copy(update={"response_template": "lama"})
    with pytest.raises(InvalidRequestError, match="response_template has to be a dict or one of"):
        unknown.bind_tools(TOOLS).invoke(QUESTION)


# ---- tools together with a form for the answer


def test_response_format_binds_the_answers_that_call_no_tool(tool_llm):
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
    response_format = {"type": "json_schema", "json_schema": {"name": "verdict", "schema": schema, "strict": True}}
    bound = tool_llm.bind_tools([now], response_format=response_format, parallel_tool_calls=False)
    kinds = set()
    for seed in range(12):
        answer = bound.invoke(QUESTION, seed=seed, temperature=3.0)
        kinds.add(bool(answer.tool_calls))
        if not answer.tool_calls:
            assert set(json.loads(answer.text)) == {"ok"}
    assert kinds == {True, False}


# ---- bad input


def test_bad_tool_calls_are_refused(tool_llm):
    with pytest.raises(InvalidRequestError, match=r"different names, but \['now'\] occur more than once"):
        tool_llm.bind_tools([now, now]).invoke(QUESTION)
    with pytest.raises(InvalidRequestError, match=r"'auto', 'any', 'required', 'none' or the name of a tool \(\['now'"):
        tool_llm.bind_tools([now], tool_choice="later").invoke(QUESTION)
    with pytest.raises(InvalidRequestError, match="but there are no tools"):
        tool_llm.invoke(QUESTION, tool_choice="any")
    with pytest.raises(InvalidRequestError, match="Tools that a provider runs"):
        tool_llm.invoke(QUESTION, tools=[{"type": "web_search"}])
    bad = {"name": "f", "parameters": {"type": "object", "properties": {"a": {"not": {"type": "string"}}}}}
    with pytest.raises(InvalidRequestError, match=r'Unimplemented keys: \["not"\]'):
        tool_llm.bind_tools([bad]).invoke(QUESTION)
    orphan = [HumanMessage("hi"), ToolMessage("sun", tool_call_id="nobody")]
    with pytest.raises(InvalidRequestError, match="answers the call 'nobody', but no assistant message"):
        tool_llm.bind_tools([now]).invoke(orphan)


def test_a_schema_to_blame_is_named_by_tool_and_field(tool_llm):
    part = {"type": "object", "properties": {"number": {"type": "string", "pattern": "(?=0)0"}}}
    bad = {"name": "send_sms", "parameters": {"type": "object", "properties": {"to": {"type": "array", "items": part}}}}
    named = r"(?s)tool 'send_sms' cannot be compiled at 'to\[\].number': .*look-around"
    for choice in ("auto", "any", "send_sms"):
        with pytest.raises(InvalidRequestError, match=named):
            tool_llm.bind_tools([*TOOLS, bad], tool_choice=choice).invoke(QUESTION)


@pytest.mark.parametrize("parameters", [{"properties": {"a": {"default": now}}}, {1: {2}}, 5, [1], "x"])
def test_parameters_that_are_no_schema_are_refused_by_the_tools_name(tool_llm, parameters):
    form = {"type": "function", "function": {"name": "send_sms", "parameters": parameters}}
    with pytest.raises(InvalidRequestError, match=r"tool 'send_sms' ha(s|ve) to be"):
        tool_llm.bind_tools([form]).invoke(QUESTION)


def test_a_tool_says_all_that_its_model_checks(tool_llm):
    class Pay(BaseModel):
        """Pay."""

        amount: Decimal = Field(description="how much", ge=1, max_digits=4, decimal_places=2)
        tags: set[int] = Field(max_length=2)
        at: NaiveDatetime

    def pay(
        amount: Annotated[Decimal, Field(ge=1, max_digits=4, decimal_places=2)],
        tags: Annotated[set[int], Field(max_length=2)],
        at: NaiveDatetime,
    ) -> str:
        """Pay.

        Args:
            amount: how much
            tags: which
            at: when
        """
        return "paid"

    for form in (Pay, tool(pay), pay, StructuredTool.from_function(pay, name="pay", args_schema=Pay)):
        for strict in (None, True):
            function = openai_tool(form, strict)["function"]
            assert function["name"].lower() == "pay"
            assert function["description"].startswith("Pay.")
            assert function.get("strict") is strict
            assert "uniqueItems" not in json.dumps(function)
            assert function["parameters"]["properties"]["amount"]["multipleOf"] == 0.01
    call = tool_llm.bind_tools([Pay], tool_choice="any").invoke(QUESTION, max_tokens=140, **HOT).tool_calls[0]
    Pay.model_validate(call["args"])
    for form in (*TOOLS, openai_tool(now), {"name": "f", "description": "", "parameters": {}}):
        assert openai_tool(form) == convert_to_openai_tool(form)


@given(st.sampled_from([None, False, True, "auto", "any", "required", "none", "f", {"name": "f"}, {"type": "any"}]))
def test_every_form_of_tool_choice_is_one_of_four(choice):
    assert tool_choice_of(choice, ["f"]) in ("auto", "required", "none", "f")


def test_check_tools_returns_what_it_accepts():
    tools = [{"type": "function", "function": {"name": "f"}}]
    assert check_tools(tools) == tools


# ---- beyond the suite


def test_eight_forced_calls_share_their_forwards(tool_llm, tool_engine):
    bound = tool_llm.bind_tools(TOOLS, tool_choice="any")
    before = tool_engine.steps
    with paused(tool_engine, until=8):
        answers = bound.batch([QUESTION] * 8, temperature=1.5, seed=3)
    assert tool_engine.steps - before == answers[0].usage_metadata["output_tokens"] - 1
    assert len({json.dumps(answer.tool_calls[0]["args"]) for answer in answers}) == 1


def test_logprobs_of_a_call_have_one_entry_a_token(tool_llm):
    answer = tool_llm.bind_tools([now], tool_choice="any").invoke(QUESTION, logprobs=True)
    entries = answer.response_metadata["logprobs"]["content"]
    assert len(entries) == answer.usage_metadata["output_tokens"]
    assert "".join(entry["token"] for entry in entries).startswith('<tool_call>\n{"name": "now"')
    assert all(entry["logprob"] == 0.0 for entry in entries[:3]), "where one token is legal it is certain"


def test_logprobs_sum_up_to_the_models_own(tool_llm, tool_engine):
    import torch

    answer = tool_llm.invoke(QUESTION, logprobs=True, max_tokens=20)
    total = sum(entry["logprob"] for entry in answer.response_metadata["logprobs"]["content"])
    prompt = tool_engine.prompts.render([{"role": "user", "content": QUESTION}])
    stream = tool_engine.submit(request_of(prompt))
    chosen = list(stream.result(30).token_ids)
    with torch.inference_mode():
        logits_TV = tool_engine.base.model(torch.tensor([prompt + chosen])).logits[0, len(prompt) - 1 : -1]
    own = logits_TV.log_softmax(-1).gather(1, torch.tensor(chosen)[:, None]).sum().item()
    assert total == pytest.approx(own, abs=1e-3)


def request_of(prompt):
    from pad_langchain.engine.types import Request

    return Request(prompt_ids=prompt, messages=[{"role": "user", "content": QUESTION}], max_tokens=20)


def test_no_double_begin_of_sequence(tmp_path):
    from tokenizers.processors import TemplateProcessing

    tokenizer = tiny_tokenizer()
    start = tokenizer.convert_tokens_to_ids("<|endoftext|>")
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", start)]
    )
    tokenizer.chat_template = "{{ '<|endoftext|>' }}" + tokenizer.chat_template
    engine = TorchEngine(tiny_model(), tokenizer)
    assert engine.prompts.render([{"role": "user", "content": "hi"}]).count(start) == 1
    assert start not in engine.prompts.encode("hi")


# ---- the demo pair's own tokenizer and template, with random weights


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    from recipes.demo_world.tokenizer import train_tokenizer
    from recipes.demo_world.topics import TOPICS

    folder = tmp_path_factory.mktemp("demo")
    tokenizer = train_tokenizer(TOPICS, 1, documents=1500)
    tokenizer.save_pretrained(folder)
    tiny_model(vocab_size=len(tokenizer), max_position_embeddings=1024).save_pretrained(folder)
    return ChatPAD(model=str(folder), max_tokens=120)


def test_the_demo_template_is_understood(demo):
    engine = Chat.of(demo.model_name, demo).engine
    found = tool_format(engine)
    assert (found.affixes.begin, found.affixes.end, found.affixes.separator) == (
        "<tool_call>\n",
        "\n</tool_call>",
        "\n",
    )
    schema = {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]}
    tools = [{"type": "function", "function": {"name": "weather", "parameters": schema}}]
    call = '<tool_call>\n{"name": "weather", "arguments": {"place": "San 東京, CA"}}\n</tool_call>'
    for choice, text in (("required", call), ("auto", call), ("auto", f"Let me see.\n{call}\n{call}")):
        state = found.grammar(tools, choice).start()
        for token in engine.tokenizer.encode(text, add_special_tokens=False):
            assert state.mask()[token], engine.tokenizer.decode([token])
            state.accept(token)
        assert state.mask()[engine.tokenizer.eos_token_id]
        answer, calls = parsed(found, text, list(range(1, len(text))))
        assert answer == ("Let me see." if text != call else "")
        assert [json.loads(one["arguments"]) for one in calls] == [{"place": "San 東京, CA"}] * text.count('{"name')


def test_forced_calls_under_the_demo_template(demo):
    for seed in range(3):
        answer = demo.bind_tools(TOOLS, tool_choice="any").invoke(QUESTION, seed=seed, **HOT)
        assert valid(answer.tool_calls[0])
