"""Tools and reasoning as model families write them: each one's chat template in miniature, random weights.

What is tested is the way round: render a conversation → text as such a model writes it → parsed calls → render again.
"""

from __future__ import annotations

import json

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.utils.json import parse_partial_json
from tokenizers import AddedToken

from pad_langchain import ChatPAD, InvalidRequestError
from pad_langchain.chat import Chat
from pad_langchain.chat.tools.constraint import constrain
from pad_langchain.chat.tools.tool_format import tool_format
from pad_langchain.engine.torch.engine import TorchEngine
from pad_langchain.langchain.messages import to_chat_dicts
from pad_langchain.testing import HashEmbedder, tiny_model, tiny_tokenizer
from pad_memory import PreferenceMemory

TOKENS = {
    "qwen-2.5": ["<tool_call>", "</tool_call>"],
    "qwen-3": ["<tool_call>", "</tool_call>", "<think>", "</think>"],
    "llama-3": ["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|python_tag|>"],
    "mistral": ["[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_CALLS]", "[ARGS]", "[CALL_ID]",
                "[TOOL_RESULTS]", "[/TOOL_RESULTS]", "</s>"],
    "gemma": ["<start_of_turn>", "<end_of_turn>"],
}  # fmt: skip

CHATML_TOOLS = """\
{%- macro turn(role, text) %}{{ '<|im_start|>' + role + '\\n' + text + '<|im_end|>\\n' }}{% endmacro %}
{%- set system = messages[0].content if messages[0].role == 'system' else '' %}
{%- if tools %}{% set listed = namespace(text='') %}
{%- for tool in tools %}{% set listed.text = listed.text + '\\n' + (tool | tojson) %}{% endfor %}
{{- turn('system', system + '# Tools\\n<tools>' + listed.text + '\\n</tools>') }}
{%- elif system %}{{ turn('system', system) }}{% endif %}
{%- for message in messages %}
{%- if message.role == 'tool' %}
{%- if loop.previtem.role != 'tool' %}{{ '<|im_start|>user' }}{% endif %}
{{- '\\n<tool_response>\\n' + message.content + '\\n</tool_response>' }}
{%- if loop.last or loop.nextitem.role != 'tool' %}{{ '<|im_end|>\\n' }}{% endif %}
{%- elif message.role == 'assistant' %}
{{- '<|im_start|>assistant\\n' + (message.content.split('</think>')[-1].lstrip('\\n') if THINKS else message.content) }}
{%- for call in message.tool_calls or [] %}
{%- if not loop.first or message.content %}{{ '\\n' }}{% endif %}
{{- '<tool_call>\\n{"name": "' + call.function.name + '", "arguments": ' }}
{{- (call.function.arguments | tojson) + '}\\n</tool_call>' }}
{%- endfor %}{{ '<|im_end|>\\n' }}
{%- elif message.role == 'user' %}{{ turn('user', message.content) }}{% endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\nPREFILL' }}{% endif %}"""

LLAMA = """\
{%- macro head(role) %}{{ '<|start_header_id|>' + role + '<|end_header_id|>\\n\\n' }}{% endmacro %}
{%- set system = messages[0].content if messages[0].role == 'system' else '' %}
{%- set turns = messages[1:] if messages[0].role == 'system' else messages %}
{{- head('system') + ('Environment: ipython\\n' if tools else '') + system + '<|eot_id|>' }}
{%- if tools %}{{ head('user') + 'Given the following functions, respond with JSON.\\n' }}
{%- for tool in tools %}{{ (tool | tojson(indent=4)) + '\\n\\n' }}{% endfor %}
{{- turns[0].content + '<|eot_id|>' }}{% set turns = turns[1:] %}{% endif %}
{%- for message in turns %}
{%- if message.role == 'tool' %}{{ head('ipython') + (message.content | tojson) + '<|eot_id|>' }}
{%- elif message.tool_calls %}
{%- if message.tool_calls | length != 1 %}{{ raise_exception('only single tool-calls at once') }}{% endif %}
{%- set call = message.tool_calls[0].function %}
{{- head('assistant') + '{"name": "' + call.name + '", "parameters": ' + (call.arguments | tojson) + '}<|eot_id|>' }}
{%- else %}{{ head(message.role) + message.content + '<|eot_id|>' }}{% endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ head('assistant') }}{% endif %}"""

MISTRAL = """\
{%- set turns = messages[1:] if messages[0].role == 'system' else messages %}
{%- if messages[0].role == 'system' %}{{ '[SYSTEM]' + messages[0].content }}{% endif %}
{%- if tools %}{{ '[AVAILABLE_TOOLS]' + (tools | tojson) + '[/AVAILABLE_TOOLS]' }}{% endif %}
{%- for message in turns %}
{%- if message.role == 'user' %}{{ '[INST]' + message.content + '[/INST]' }}
{%- elif message.role == 'tool' %}{{ '[TOOL_RESULTS]' + message.content + '[/TOOL_RESULTS]' }}
{%- else %}{{ message.content }}{% for call in message.tool_calls or [] %}
{%- if call.id | length != 9 %}{{ raise_exception('Tool call IDs should be alphanumeric strings with length 9!') }}
{%- endif %}{{ '[TOOL_CALLS]' + call.function.name + MIDDLE + (call.function.arguments | tojson) }}
{%- endfor %}{{ '</s>' }}{% endif %}
{%- endfor %}"""

GEMMA_2 = """\
{%- if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}
{%- for message in messages %}
{%- if (message.role == 'user') != (loop.index0 % 2 == 0) %}
{{- raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}
{{- '<start_of_turn>' + ('model' if message.role == 'assistant' else message.role) + '\\n' }}
{{- (message.content | trim) + '<end_of_turn>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}"""

# Gemma 3 folds the system turn into the first user turn itself.
GEMMA_3 = """\
{%- set first = messages[0].content + '\\n\\n' if messages[0].role == 'system' else '' %}
{%- set messages = messages[1:] if messages[0].role == 'system' else messages %}""" + GEMMA_2[
    GEMMA_2.index("\n{%- for") :
].replace("(message.content | trim)", "(first if loop.first else '') + (message.content | trim)")


def chatml(thinks: bool, prefill: str = "") -> str:
    return CHATML_TOOLS.replace("THINKS", str(thinks).lower()).replace("PREFILL", prefill)


# name: (template, extra tokens, end of turn, two calls as the family writes them, whether it can write two)
CALL = '<tool_call>\n{{"name": "weather", "arguments": {}}}\n</tool_call>'
NAMED = "[TOOL_CALLS]weather[ARGS]{}"
WITH_ID = "[TOOL_CALLS]weather[CALL_ID]a1b2c3d4e[ARGS]{}"
BARE = '{{"name": "weather", "parameters": {}}}'
FAMILIES = {
    "qwen-2.5": (chatml(False), "qwen-2.5", "<|im_end|>", CALL, "\n"),
    "qwen-3": (chatml(True), "qwen-3", "<|im_end|>", CALL, "\n"),
    "qwen-3-thinking": (chatml(True, "<think>\\n"), "qwen-3", "<|im_end|>", CALL, "\n"),
    "llama-3": (LLAMA, "llama-3", "<|eot_id|>", BARE, None),
    "mistral": (MISTRAL.replace("MIDDLE", "'[ARGS]'"), "mistral", "</s>", NAMED, ""),
    "mistral-with-ids": (MISTRAL.replace("MIDDLE", "'[CALL_ID]' + call.id + '[ARGS]'"), "mistral", "</s>", WITH_ID, ""),
    "gemma-2": (GEMMA_2, "gemma", "<end_of_turn>", BARE, None),
    "gemma-3": (GEMMA_3, "gemma", "<end_of_turn>", BARE, None),
}
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 8}, "days": {"type": "integer", "minimum": 1, "maximum": 9}},
    "required": ["city", "days"],
}
WEATHER = {"type": "function", "function": {"name": "weather", "description": "d", "parameters": SCHEMA}}
ARGUMENTS = {"city": "Rome", "days": 3}
HISTORY = [
    SystemMessage("Be kind."),
    HumanMessage("How is it in Rome?"),
    AIMessage("", tool_calls=[{"name": "weather", "args": ARGUMENTS, "id": "a1b2c3d4e"}]),
    ToolMessage("sunny", tool_call_id="a1b2c3d4e"),
]


def tokenizer_of(family):
    template, tokens, end, *_ = FAMILIES[family]
    tokenizer = tiny_tokenizer()
    # The families mark some of these as special and some not; neither may matter.
    special = family != "qwen-3"
    tokenizer.add_tokens([AddedToken(token, special=special, normalized=False) for token in TOKENS[tokens]])
    tokenizer.eos_token = end
    tokenizer.chat_template = template
    return tokenizer


@pytest.fixture(scope="module", params=FAMILIES)
def family(request):
    return request.param


@pytest.fixture(scope="module")
def family_engine(family):
    tokenizer = tokenizer_of(family)
    model = tiny_model(vocab_size=len(tokenizer), max_position_embeddings=2048)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    with TorchEngine(model, tokenizer) as engine:
        yield engine


@pytest.fixture(scope="module")
def family_llm(family, tmp_path_factory):
    if family == "qwen-3-thinking":
        pytest.skip("random weights go on thinking")
    tokenizer = tokenizer_of(family)
    folder = tmp_path_factory.mktemp("family")
    model = tiny_model(vocab_size=len(tokenizer), max_position_embeddings=2048)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return ChatPAD(model=str(folder), max_tokens=300, temperature=1.5)


def read(bound, engine, text, cuts=()):
    """Text, reasoning and calls of an answer, handed over in pieces."""
    prompt = engine.prompts.render([{"role": "user", "content": "hi"}], bound.shown)
    parser = bound.parser(prompt)
    ends = [*cuts, len(text)]
    pieces = [parser.push(text[start:stop]) for start, stop in zip([0, *ends], ends, strict=False)]
    pieces.append(parser.finish())
    calls = {}
    for delta in (delta for piece in pieces for delta in piece.calls):
        call = calls.setdefault(delta.index, {"name": "", "arguments": ""})
        call["name"] += delta.name or ""
        call["arguments"] += delta.arguments
    text, reasoning = ("".join(getattr(piece, part) for piece in pieces) for part in ("text", "reasoning"))
    return text, reasoning, list(calls.values())


def legal(grammar, engine, text):
    """Whether a grammar lets the model write this text and end there."""
    state = grammar.start()
    for token in engine.prompts.encode(text):
        if not state.mask()[token]:
            return False
        state.accept(token)
    return bool(state.finished or state.mask()[engine.tokenizer.eos_token_id])


def thought(family, text):
    """An answer after some reasoning, begun by the prompt or by the model."""
    if not family.startswith("qwen-3"):
        return text
    return ("" if family.endswith("thinking") else "<think>\n") + "hm, {well}\n</think>\n\n" + text


def test_a_call_is_read_and_allowed_as_the_family_writes_it(family, family_engine):
    *_, call, _ = FAMILIES[family]
    written = thought(family, call.format(json.dumps(ARGUMENTS)))
    bound = constrain(family_engine, tools=[WEATHER])
    assert legal(bound.grammar, family_engine, written)
    for cuts in ([], range(1, len(written))):
        text, reasoning, calls = read(bound, family_engine, written, cuts)
        assert text == ""
        assert reasoning.strip() == ("hm, {well}" if family.startswith("qwen-3") else "")
        assert [(one["name"], json.loads(one["arguments"])) for one in calls] == [("weather", ARGUMENTS)]


def test_wrong_calls_are_not_allowed(family, family_engine):
    *_, call, _ = FAMILIES[family]
    grammar = constrain(family_engine, tools=[WEATHER]).grammar
    for wrong in ({"city": "Rome"}, {"city": "Rome", "days": 0}, {"town": "Rome", "days": 3}):
        assert not legal(grammar, family_engine, thought(family, call.format(json.dumps(wrong))))
    other = call.format(json.dumps(ARGUMENTS)).replace("weather", "climate")
    assert not legal(grammar, family_engine, thought(family, other))


def test_text_stays_text(family, family_engine):
    bound = constrain(family_engine, tools=[WEATHER])
    written = thought(family, "It is fine, {really}.")
    assert legal(bound.grammar, family_engine, written)
    text, _, calls = read(bound, family_engine, written, range(1, len(written), 3))
    assert (text, calls) == ("It is fine, {really}.", [])


def test_several_calls_where_the_family_writes_several(family, family_engine):
    *_, call, separator = FAMILIES[family]
    written = thought(family, (separator or "").join(call.format(json.dumps({**ARGUMENTS, "days": n})) for n in (1, 2)))
    bound = constrain(family_engine, tools=[WEATHER])
    assert legal(bound.grammar, family_engine, written) == (separator is not None)
    single = constrain(family_engine, tools=[WEATHER], parallel_tool_calls=False)
    assert not legal(single.grammar, family_engine, written)
    if separator is not None:
        _, _, calls = read(bound, family_engine, written, range(1, len(written), 2))
        assert [json.loads(one["arguments"])["days"] for one in calls] == [1, 2]


def test_a_call_that_is_cut_off_cannot_be_run(family, family_engine):
    *_, call, _ = FAMILIES[family]
    written = thought(family, call.format(json.dumps(ARGUMENTS)))
    bound = constrain(family_engine, tools=[WEATHER])
    for end in range(written.index("weather"), written.rindex("}")):
        _, _, calls = read(bound, family_engine, written[:end])
        for one in calls:
            try:
                partly = parse_partial_json(one["arguments"])
            except ValueError:
                continue
            assert not isinstance(partly, dict)


def test_forced_calls_are_valid_on_random_weights(family, family_llm):
    bound = family_llm.bind_tools([WEATHER], tool_choice="any")
    for seed in range(3):
        answer = bound.invoke("hi", seed=seed)
        (call,) = answer.tool_calls
        assert call["name"] == "weather"
        assert set(call["args"]) == {"city", "days"}
        assert 1 <= call["args"]["days"] <= 9
        assert (answer.text, answer.response_metadata["finish_reason"]) == ("", "tool_calls")
    chunks = list(bound.stream("hi", seed=0))
    pieces = [piece for chunk in chunks for piece in chunk.tool_call_chunks]
    assert len(pieces) > 2, "arguments have to arrive while they are written"
    assert sum(chunks[1:], chunks[0]).tool_calls[0]["args"] == bound.invoke("hi", seed=0).tool_calls[0]["args"]


def test_a_call_cut_off_by_max_tokens_is_invalid(family, family_llm):
    bound = family_llm.bind_tools([WEATHER], tool_choice="any")
    whole = bound.invoke("hi", seed=1).usage_metadata["output_tokens"]
    answer = bound.invoke("hi", seed=1, max_tokens=whole - 4)
    assert answer.tool_calls == []
    assert len(answer.invalid_tool_calls) == 1
    assert answer.response_metadata["finish_reason"] == "length"


def test_tools_calls_results_and_system_reach_the_prompt(family, family_llm):
    engine = Chat.of(family_llm.model_name, family_llm).engine
    bound = constrain(engine, tools=[WEATHER])
    _, prompt = bound.render(to_chat_dicts(HISTORY))
    text = engine.tokenizer.decode(prompt)
    for part in ("Be kind.", '"maxLength"', "How is it in Rome?", '"city": "Rome"', "sunny"):
        assert part in text
    assert text.index("Be kind.") < text.index("How is it in Rome?") < text.index("sunny")
    *_, call, _ = FAMILIES[family]
    assert call.format(json.dumps(ARGUMENTS)) in text, "the model sees its call as it wrote it"
    assert isinstance(family_llm.bind_tools([WEATHER]).invoke(HISTORY, max_tokens=2), AIMessage)
    after = family_llm.invoke(HISTORY, max_tokens=2)
    assert after.usage_metadata["input_tokens"] < len(prompt), "without tools, their schemas are not shown"
    assert family_llm.get_num_tokens_from_messages(HISTORY, [WEATHER]) == len(prompt)


@pytest.mark.parametrize("family", ["gemma-2", "mistral"], indirect=True)
def test_what_the_memory_hears_is_what_the_user_said(family, family_llm):
    with PreferenceMemory(embedder=HashEmbedder()) as memory:
        answer = family_llm.model_copy(update={"memory": memory}).invoke(HISTORY, user_id="ada", max_tokens=4)
        response_id = answer.response_metadata["pad"]["response_id"]
        assert memory.responses.find("ada", response_id)[0] == "How is it in Rome?"


@pytest.mark.parametrize("family", ["qwen-3", "qwen-3-thinking"], indirect=True)
def test_reasoning_is_apart_from_the_answer_without_tools_too(family, family_engine):
    bound = constrain(family_engine)
    written = thought(family, "Yes.\nNo.")
    for cuts in ([], range(1, len(written))):
        text, reasoning, calls = read(bound, family_engine, written, cuts)
        assert (text, reasoning.strip(), calls) == ("Yes.\nNo.", "hm, {well}", [])
    text, reasoning, _ = read(bound, family_engine, written[: written.index("</th")])
    assert (text, reasoning.strip()) == ("", "hm, {well}")
    written = thought(family, CALL.format(json.dumps(ARGUMENTS)))
    assert read(bound, family_engine, written)[0] == CALL.format(json.dumps(ARGUMENTS)), "no tools, so it is text"


@pytest.mark.parametrize("family", ["qwen-3-thinking"], indirect=True)
def test_a_forced_call_ends_the_reasoning_that_the_prompt_began(family, family_engine):
    call = CALL.format(json.dumps(ARGUMENTS))
    grammar = constrain(family_engine, tools=[WEATHER], tool_choice="any").grammar
    assert legal(grammar, family_engine, f"hm\n</think>\n\n{call}")
    assert not legal(grammar, family_engine, call)
    assert not legal(grammar, family_engine, "hm\n</think>\n\nNo.")


@pytest.mark.parametrize("family", ["qwen-2.5", "gemma-2"], indirect=True)
def test_a_named_family_goes_before_what_the_template_shows(family, family_engine):
    bound = constrain(family_engine, tools=[WEATHER], response_template="mistral")
    call = NAMED.format(json.dumps(ARGUMENTS))
    assert legal(bound.grammar, family_engine, call)
    assert read(bound, family_engine, call)[2][0]["name"] == "weather"
    assert ("[TOOL_CALLS]function name[ARGS]" in bound.told) == (family == "gemma-2")
    with pytest.raises(InvalidRequestError, match=r"one of \['gemma', 'llama-3', 'mistral', 'qwen'\], but is 'lama'"):
        tool_format(family_engine, "lama")


def test_the_special_tokens_that_are_parsed_stay_in_the_text_and_no_others(family, family_engine):
    """What stands around calls where calls may come, what stands around reasoning, and no marks of turns."""
    marks = {
        "qwen-2.5": {"<tool_call>", "</tool_call>"},
        "qwen-3-thinking": {"<tool_call>", "</tool_call>", "<think>", "</think>"},
        "mistral": {"[TOOL_CALLS]", "[ARGS]"},
        "mistral-with-ids": {"[TOOL_CALLS]", "[CALL_ID]", "[ARGS]"},
    }.get(family, set())  # tokens that are not special, such as all of "qwen-3", are never hidden

    def visible(**bound):
        return set(
            family_engine.tokenizer.convert_ids_to_tokens(sorted(constrain(family_engine, **bound).visible_tokens()))
        )

    assert visible(tools=[WEATHER]) == visible(tools=[WEATHER], tool_choice="required") == marks
    assert visible() == visible(tools=[WEATHER], tool_choice="none") == {mark for mark in marks if "think" in mark}
    assert visible(response_format={"type": "json_object"}) == set()
    escaped = {
        "start_anchor": "<|im_start|>",
        "fields": {
            "content": {"content": "text"},
            "reasoning_content": {"open_pattern": r"<\|im_end\|>\s*", "close": "<|endoftext|>\n", "content": "text"},
        },
    }
    assert visible(response_template=escaped) == {"<|im_end|>", "<|endoftext|>"}
