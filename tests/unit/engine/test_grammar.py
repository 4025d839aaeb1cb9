"""Whatever the model would rather say, the answer obeys its grammar; guidance still chooses among legal tokens."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from pad_langchain.engine.grammar import GrammarCompiler
from pad_langchain.engine.torch.engine import TorchEngine
from pad_langchain.engine.types import Request, WeightedPreference
from pad_langchain.errors import InvalidRequestError
from pad_langchain.testing import TinyPair, tiny_model

WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "days": {"type": "integer", "minimum": 1, "maximum": 14},
                "unit": {"enum": ["C", "F"]},
            },
            "required": ["city", "days", "unit"],
        },
    },
}
NOW = {"name": "now", "parameters": {"type": "object", "properties": {}}}
NESTED = {
    "name": "nested",
    "parameters": {
        "type": "object",
        "properties": {"place": {"$ref": "#/$defs/Place"}},
        "required": ["place"],
        "$defs": {
            "Place": {
                "type": "object",
                "properties": {"x": {"type": "boolean"}},
                "required": ["x"],
                "additionalProperties": False,
            }
        },
    },
}


@pytest.fixture(scope="module")
def grammars(pair: TinyPair, torch_engine: TorchEngine) -> GrammarCompiler:
    return GrammarCompiler(pair.tokenizer, torch_engine.base.vocab_size, max_string=8)


def answers(engine: TorchEngine, grammar: Any, count: int = 6) -> list[str]:
    """Half of them guided, all sampled so hot that any legal token is about as likely: the grammar alone rules."""
    requests = [
        Request(
            messages=[{"role": "user", "content": "hi"}],
            grammar=grammar,
            visible=[engine.tokenizer.convert_tokens_to_ids(token) for token in ("<tool_call>", "</tool_call>")],
            temperature=20.0,
            seed=seed,
            max_tokens=120,
            preferences=[WeightedPreference("be kind")] if seed % 2 else [],
        )
        for seed in range(count)
    ]
    done = [stream.result(60) for stream in [engine.submit(request) for request in requests]]
    assert [completion.finish_reason for completion in done] == ["stop"] * count
    return [completion.text for completion in done]


def call_of(text: str) -> dict[str, Any]:
    assert text.startswith("<tool_call>\n")
    assert text.endswith("\n</tool_call>")
    return json.loads(text.removeprefix("<tool_call>\n").removesuffix("\n</tool_call>"))


def test_required_calls_are_valid(torch_engine: TorchEngine, grammars: GrammarCompiler) -> None:
    calls = [call_of(text) for text in answers(torch_engine, grammars.tool_calls([WEATHER, NOW, NESTED]), 12)]
    assert {call["name"] for call in calls} >= {"weather", "now"}
    for call in calls:
        assert set(call) == {"name", "arguments"}
        arguments = call["arguments"]
        if call["name"] == "weather":
            assert set(arguments) == {"city", "days", "unit"}
            assert len(arguments["city"]) <= 8
            assert 1 <= arguments["days"] <= 14
            assert arguments["unit"] in ("C", "F")
        elif call["name"] == "nested":
            assert isinstance(arguments["place"]["x"], bool)
        else:
            assert arguments == {}


def test_a_named_choice_calls_that_tool(torch_engine: TorchEngine, grammars: GrammarCompiler) -> None:
    for text in answers(torch_engine, grammars.tool_calls([WEATHER, NOW], choice="now")):
        assert text == '<tool_call>\n{"name": "now", "arguments": {}}\n</tool_call>'


def test_parallel_calls_follow_each_other(torch_engine: TorchEngine, grammars: GrammarCompiler) -> None:
    grammar = grammars.tool_calls([NOW], parallel=True)
    one = '<tool_call>\n{"name": "now", "arguments": {}}\n</tool_call>'
    state = grammar.start()
    for token in torch_engine.prompts.encode(f"{one}\n{one}"):
        assert state.mask()[token]
        state.accept(token)
    assert state.mask()[torch_engine.tokenizer.eos_token_id]


def test_auto_allows_text_and_checks_calls(torch_engine: TorchEngine, grammars: GrammarCompiler) -> None:
    grammar = grammars.tool_calls([NOW], choice="auto")

    def accepts(text: str) -> bool:
        state = grammar.start()
        for token in torch_engine.prompts.encode(text):
            if not state.mask()[token]:
                return False
            state.accept(token)
        return bool(state.mask()[torch_engine.tokenizer.eos_token_id])

    call = '<tool_call>\n{"name": "now", "arguments": {}}\n</tool_call>'
    assert accepts("the answer is short")
    assert accepts(call)
    assert accepts("let me see. " + call)
    assert not accepts('<tool_call>\n{"name": "later", "arguments": {}}\n</tool_call>')
    assert not accepts("<tool_call>\nanything")
    assert not accepts(call + call)


def test_plain_text_affixes(torch_engine: TorchEngine, grammars: GrammarCompiler) -> None:
    grammar = grammars.tool_calls([NOW], begin="CALL(", end=")", name_key="tool", arguments_key="args")
    assert set(answers(torch_engine, grammar)) == {'CALL({"tool": "now", "args": {}})'}


def test_json_schema_and_lark(torch_engine: TorchEngine, grammars: GrammarCompiler) -> None:
    schema = {
        "type": "object",
        "properties": {"ok": {"type": "boolean"}},
        "required": ["ok"],
        "additionalProperties": False,
    }
    assert {json.loads(text)["ok"] for text in answers(torch_engine, grammars.json_schema(schema))} <= {
        True,
        False,
    }
    assert set(answers(torch_engine, grammars.lark('start: "yes" | "no"'), 12)) == {"yes", "no"}


def test_where_one_token_is_legal_the_reward_is_zero(torch_engine: TorchEngine, grammars: GrammarCompiler) -> None:
    request = Request(
        messages=[{"role": "user", "content": "hi"}],
        grammar=grammars.lark('start: "<" "x" "y"'),
        preferences=[WeightedPreference("be kind")],
    )
    done = torch_engine.submit(request).result(60)
    assert done.text == "<xy"
    assert [event.reward for event in done.events] == [0.0] * len(done.events)
    assert [event.logprob for event in done.events] == [0.0] * len(done.events)


def test_one_grammar_serves_many_answers(torch_engine: TorchEngine, grammars: GrammarCompiler) -> None:
    grammar = grammars.lark('start: "yes"')
    assert answers(torch_engine, grammar, 3) == ["yes"] * 3
    assert not grammar.start().finished


@pytest.mark.parametrize(
    "compile_",
    [
        lambda c: c.lark('start: "a'),
        lambda c: c.json_schema({"type": "nonsense"}),
        lambda c: c.tool_calls([]),
        lambda c: c.tool_calls([NOW], choice="later"),
    ],
)
def test_bad_grammars_are_refused(grammars: GrammarCompiler, compile_: Any) -> None:
    with pytest.raises(InvalidRequestError):
        compile_(grammars)


def test_an_illegal_token_is_an_error(grammars: GrammarCompiler) -> None:
    with pytest.raises(InvalidRequestError, match="grammar failed"):
        grammars.lark('start: "yes"').start().accept(3)


def test_special_tokens_are_no_text_unless_the_request_shows_them(torch_engine: TorchEngine) -> None:
    """Whatever the model writes: padding, other turns' marks, an end of another kind."""
    start, pad = (torch_engine.tokenizer.convert_tokens_to_ids(token) for token in ("<|im_start|>", "<|endoftext|>"))
    grammar = torch_engine.grammars.lark(f'start: <[{pad}]> "a" <[{start}]> "b" <[{pad}]>')
    asked = {"messages": [{"role": "user", "content": "hi"}], "grammar": grammar, "candidates": 1}
    hidden = torch_engine.submit(Request(**asked)).result(60)
    assert hidden.text == "".join(event.text for event in torch_engine.submit(Request(**asked))) == "ab"
    assert {start, pad} <= set(hidden.token_ids)
    assert hidden.events[0].candidates[0].text == "<|endoftext|>"
    assert torch_engine.submit(Request(**asked, visible=[start])).result(60).text == "a<|im_start|>b"
    stopped = torch_engine.submit(Request(**asked, stop=["<|im_start|>"])).result(60)
    assert (stopped.text, stopped.finish_reason, stopped.token_ids[-1]) == ("a", "stop", start)


# ---- errors name what is to blame


def test_the_tool_and_the_field_to_blame_are_named(grammars: GrammarCompiler) -> None:
    to = {"type": "array", "items": {"not": {}}}
    bad = {"name": "send", "parameters": {"type": "object", "properties": {"to": to}}}
    for settings in ({}, {"choice": "auto"}, {"between": [" "]}, {"parallel": True, "begin": "CALL("}):
        with pytest.raises(InvalidRequestError, match=r"schema of tool 'send' cannot be compiled at 'to\[\]': .*not"):
            grammars.tool_calls([WEATHER, NOW, bad, NESTED], **settings)
    form = {"type": "object", "properties": {"a": {"type": "array", "uniqueItems": True}}}
    with pytest.raises(InvalidRequestError, match=r"schema of the answer cannot be compiled at 'a': .*uniqueItems"):
        grammars.tool_calls([NOW], choice="auto", otherwise=form)


def small_tokenizer(kind: str) -> PreTrainedTokenizerFast:
    words = {"<e>": 0, "a": 1, "{": 2, "}": 3, '"': 4}
    if kind == "bytes":
        tokenizer = Tokenizer(models.BPE(words, []))
        tokenizer.pre_tokenizer, tokenizer.decoder = (
            pre_tokenizers.ByteLevel(add_prefix_space=False),
            decoders.ByteLevel(),
        )
    elif kind == "words":
        tokenizer = Tokenizer(models.WordLevel(words, unk_token="a"))
    else:
        tokenizer = Tokenizer(models.WordPiece(words, unk_token="a"))
        tokenizer.decoder = decoders.WordPiece()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<e>")


@pytest.mark.parametrize("kind", ["words", "pieces"])
def test_a_tokenizer_that_has_no_bytes_is_refused_with_words(kind: str) -> None:
    tokenizer = small_tokenizer(kind)
    with pytest.raises(InvalidRequestError, match="need a fast tokenizer, of byte-level BPE or with byte fallback"):
        GrammarCompiler(tokenizer, len(tokenizer))
    with pytest.raises(InvalidRequestError, match="need a fast tokenizer"):
        GrammarCompiler(object(), 5)


def test_a_vocabulary_that_lacks_a_character_says_where() -> None:
    tokenizer = small_tokenizer("bytes")
    grammars = GrammarCompiler(tokenizer, len(tokenizer))
    with pytest.raises(InvalidRequestError, match="failed after '': it allows no token of the vocabulary"):
        grammars.lark('start: "yes"').start().mask()
    schema = {"type": "object", "properties": {"a": {"type": "null"}}, "required": ["a"], "additionalProperties": False}
    state = grammars.json_schema(schema).start()
    for token in (2, 4, 1, 4):
        assert state.mask()[token]
        state.accept(token)
    with pytest.raises(InvalidRequestError, match=r"failed after '\{\"a\"': it allows no token of the vocabulary"):
        state.accept(int(state.mask().argmax()))


def test_a_model_without_bytes_still_writes_text() -> None:
    with TorchEngine(tiny_model(vocab_size=5), small_tokenizer("words")) as engine:
        with pytest.raises(InvalidRequestError, match="need a fast tokenizer"):
            _ = engine.grammars
        request = Request(prompt_ids=[1, 1], messages=[], max_tokens=2, temperature=0.0, top_k=2)
        assert engine.submit(request).result(30).finish_reason in ("stop", "length")


def test_its_source_and_the_rest_after_a_mark_are_grammars_of_their_own(
    pair: TinyPair, grammars: GrammarCompiler
) -> None:
    """Where another process compiles them."""
    whole = grammars.tool_calls([WEATHER, NOW], choice="auto", parallel=True)
    assert whole.rest is not None
    mark = pair.tokenizer.convert_tokens_to_ids("<tool_call>")
    written = '\n{"name": "now", "arguments": {}}\n</tool_call>\n<tool_call>'
    states = [grammars.lark(source).start() for source in (whole.source, whole.rest)]
    states[0].accept(mark)
    for token in pair.tokenizer.encode(written, add_special_tokens=False):
        masks = [state.mask() for state in states]
        assert (masks[0] == masks[1]).all()
        for state in states:
            state.accept(token)
    schema = grammars.json_schema({"enum": [1, 2]})
    assert schema.rest is None
    assert (grammars.lark(schema.source).start().mask() == schema.start().mask()).all()
