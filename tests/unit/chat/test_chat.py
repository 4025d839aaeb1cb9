"""`Chat`: what is told to the base and where, whose conversation it is, and what a turn's deltas add up to."""

from __future__ import annotations

import asyncio
import logging
import re
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from langchain_core.caches import InMemoryCache

from fakes import Recording
from pad_langchain import PADLLM, ChatPAD, InvalidRequestError
from pad_langchain.chat import CallOptions, Chat, ChatSettings, Delta, Usage
from pad_langchain.chat.messages import with_preferences_at_end
from pad_langchain.chat.tools.answer_parser import CallDelta
from pad_langchain.chat.turn import begin
from pad_langchain.engine.torch.engine import TorchEngine
from pad_langchain.engine.types import Recommended
from pad_langchain.langchain.user_id import thread_of
from pad_langchain.testing import HashEmbedder, tiny_model, tiny_pair, tiny_tokenizer
from pad_memory import PreferenceMemory, Statement

QUESTION = [{"role": "user", "content": "what is an element?"}]
WISH = "be concise and brief"
TOLD, BESIDE = f"The user prefers: {WISH}.", f"({WISH.capitalize()}.)"
HERE = "In this conversation, be concise and brief"


def engine_with(guided=True, template=None):
    pair = tiny_pair()
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = template or tokenizer.chat_template
    model = tiny_model(max_position_embeddings=2048)
    return Recording(TorchEngine(model, tokenizer, pair.guide() if guided else None))


@pytest.fixture(scope="module")
def guided():
    return engine_with()


@pytest.fixture(scope="module")
def unguided():
    return engine_with(guided=False)


def asked(engine, messages=QUESTION, settings=None, **options):
    """The request that the engine got for a call."""
    chat = Chat(engine, settings=ChatSettings(max_tokens=1, **(settings or {})))
    chat.submit(messages, CallOptions(preference=WISH, **options)).result()
    return engine.requests[-1]


def turns(engine, request):
    """Role and text of each turn of the base's prompt."""
    text = engine.tokenizer.decode(request.prompt_ids)
    return re.findall(r"<\|im_start\|>(\w+)\n(.*?)(?:<\|im_end\|>|$)", text, re.DOTALL)


@pytest.mark.slow
def test_it_knows_neither_faces_nor_models():
    others = ["langchain_core", "llama_index", "torch", "transformers", "chromadb"]
    code = (
        f"import sys, pad_langchain.chat, pad_langchain.chat.compare\nprint([m for m in {others} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "[]"


# ---- whether the base is told, and where

PLACES = {
    None: [("system", TOLD), ("user", "what is an element?")],
    "system": [("system", TOLD), ("user", "what is an element?")],
    "user": [("user", f"what is an element? {BESIDE}")],
    "both": [("system", TOLD), ("user", f"what is an element? {BESIDE}")],
}
TELLS = {  # (condition_base, guided) → told
    ("auto", True): False,
    ("auto", False): True,
    (True, True): True,
    (True, False): True,
    (False, True): False,
    (False, False): False,
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(("base", "has_guide"), TELLS)
@pytest.mark.parametrize("by", ["setting", "keyword"])
def test_telling_and_its_place_are_independent_of_steering(guided, unguided, base, has_guide, place, by):
    engine = guided if has_guide else unguided
    said = {"condition_base": base, "wish_place": place}
    request = asked(engine, settings=said) if by == "setting" else asked(engine, **said)
    expected = PLACES[place] if TELLS[base, has_guide] else [("user", "what is an element?")]
    assert turns(engine, request)[:-1] == expected
    assert [one.text for one in request.preferences] == ([WISH] if has_guide else [])
    assert request.messages == QUESTION, "the guide reads the conversation without the wish in words"


CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": {"city": "Rome"}}}
WITH_TOOL = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "hi"},
    {"role": "assistant", "content": "hello"},
    {"role": "user", "content": "How is it in Rome?"},
    {"role": "assistant", "content": "", "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
]
# No system turn, no tools, and roles that alternate: system text and results are moved into user turns.
STRICT = (
    "{% for m in messages %}"
    "{% if m.role not in ('user', 'assistant') or (loop.index0 % 2 == 0) != (m.role == 'user') %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}"
    "{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


@pytest.mark.parametrize("place", ["user", "both"])
def test_the_users_place_is_what_a_human_said_last(guided, place):
    request = asked(guided, WITH_TOOL, condition_base=True, wish_place=place)
    said = turns(guided, request)
    assert said[0] == ("system", f"Be kind.\n\n{TOLD}" if place == "both" else "Be kind.")
    assert [text for role, text in said if role == "user"] == ["hi", f"How is it in Rome? {BESIDE}"]
    assert ("tool", "sunny") in said


def test_the_users_place_where_a_templates_needs_move_words():
    engine = engine_with(template=STRICT)
    said = turns(engine, asked(engine, WITH_TOOL, condition_base=True, wish_place="user"))
    assert [text for role, text in said if role == "user"] == [
        "Be kind.\n\nhi",
        f"How is it in Rome? {BESIDE}",
        "weather returned: sunny",
    ]
    both = turns(engine, asked(engine, WITH_TOOL, condition_base=True, wish_place="both"))
    assert both[0] == ("user", f"{TOLD}\n\nBe kind.\n\nhi")
    assert both[2] == ("user", f"How is it in Rome? {BESIDE}")


@pytest.mark.parametrize("place", ["user", "both"])
def test_where_no_human_spoke_the_system_turn_is_left(guided, place):
    messages = [{"role": "system", "content": "Greet the user."}]
    request = asked(guided, messages, condition_base=True, wish_place=place)
    assert turns(guided, request)[:-1] == [("system", f"Greet the user.\n\n{TOLD}")]


def test_words_at_the_end_change_nothing_where_there_are_none():
    assert with_preferences_at_end(QUESTION, [(WISH, 0.0)]) == QUESTION
    told = with_preferences_at_end(QUESTION, [("be formal", -0.5)])
    assert told == [{"role": "user", "content": "what is an element? (Not wanted: be formal.)"}]
    several = with_preferences_at_end(
        [{"role": "user", "content": "Sum it up:\nRain."}], [("be brief", 1.0), ("why?", 1)]
    )
    assert several == [{"role": "user", "content": "Sum it up:\nRain.\n\n(Be brief. Why?)"}]
    assert QUESTION[0]["content"] == "what is an element?"


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"condition_base": "maybe"}, "condition_base has to be 'auto', True or False, but is 'maybe'"),
        ({"candidates": "all"}, "candidates has to be 'base' or 'cut', but is 'all'"),
        ({"wish_place": "end"}, "wish_place has to be 'system', 'user' or 'both', but is 'end'"),
    ],
)
def test_bad_places_are_refused(said, message):
    with pytest.raises(InvalidRequestError, match=message):
        CallOptions(**said)
    with pytest.raises(ValueError, match=next(iter(said))):
        ChatSettings(**said)


# ---- what the PersRM recommends


def recommending(engine, **recommended):
    """The engine with another recommendation."""
    return Recording(engine.engine, recommended=Recommended(**recommended))


@pytest.mark.parametrize("place", ["user", "both"])
def test_the_place_and_whether_the_base_is_told_are_as_the_persrm_recommends(guided, place):
    engine = recommending(guided, condition_base=True, wish_place=place)
    assert turns(engine, asked(engine))[:-1] == PLACES[place]
    assert turns(engine, asked(engine, wish_place="system"))[:-1] == PLACES["system"]
    assert turns(engine, asked(engine, condition_base=False))[:-1] == [("user", QUESTION[0]["content"])]
    assert turns(engine, asked(engine, settings={"wish_place": "system"}))[:-1] == PLACES["system"]
    spoken_to_nobody = [{"role": "system", "content": "Greet the user."}]
    assert turns(engine, asked(engine, spoken_to_nobody))[:-1] == [("system", f"Greet the user.\n\n{TOLD}")]


def test_a_persrm_may_recommend_not_to_tell_a_base_that_nothing_steers(unguided):
    engine = recommending(unguided, condition_base=False)
    assert turns(engine, asked(engine))[:-1] == [("user", QUESTION[0]["content"])]


def test_the_base_is_told_a_wish_in_the_persrms_words(guided):
    class Telling:
        head = None

        def routes(self, preferences):
            return ["both"] * len(preferences)

        def tell(self, preferences):
            return [("Answer in one sentence.", each.weight) for each in preferences if each.text == WISH]

    def users(wish):
        chat = Chat(guided, Telling(), ChatSettings(condition_base=True, wish_place="user", max_tokens=1))
        chat.submit(QUESTION, CallOptions(preference=wish)).result()
        return [text for role, text in turns(guided, guided.requests[-1]) if role == "user"]

    assert users(WISH) == ["what is an element? (Answer in one sentence.)"]
    assert users("be formal") == ["what is an element?"]


DECODING = ("beta", "alpha", "top_k", "repetition_penalty", "no_repeat_ngram")


@pytest.mark.parametrize(
    ("recommended", "settings", "call", "expected"),
    [
        ({}, {}, {}, (1.0, 0.0, 10, 1.0, 0)),
        ({"top_k": 7, "repetition_penalty": 1.2, "no_repeat_ngram": 3}, {}, {}, (1.0, 0.0, 7, 1.2, 3)),
        ({"top_k": 7, "no_repeat_ngram": 3}, {"top_k": 5}, {"no_repeat_ngram": 0}, (1.0, 0.0, 5, 1.0, 0)),
        ({"beta": 2.0, "repetition_penalty": 1.2}, {"repetition_penalty": 1.5}, {"beta": 3}, (3.0, 0.0, 10, 1.5, 0)),
        ({"alpha": 0.02, "candidates": "cut"}, {}, {}, (1.0, 0.02, 400, 1.0, 0)),
        ({"alpha": 0.02, "candidates": "cut", "top_k": 7}, {}, {"candidates": "base"}, (1.0, 0.02, 7, 1.0, 0)),
        ({"alpha": 0.02, "top_k": 7}, {"candidates": "cut"}, {}, (1.0, 0.02, 400, 1.0, 0)),
        ({"candidates": "cut"}, {"top_k": 20}, {}, (1.0, 0.0, 20, 1.0, 0)),
    ],
)
def test_a_call_decodes_as_it_says_else_as_the_face_says_else_as_is_recommended(
    guided, recommended, settings, call, expected
):
    request = asked(recommending(guided, **recommended), settings=settings, **call)
    assert tuple(getattr(request, name) for name in DECODING) == expected


def test_recommended_penalties_hold_only_where_something_steers_and_no_grammar_binds(guided):
    engine = recommending(guided, repetition_penalty=1.2, no_repeat_ngram=3)
    schema = {"type": "json_schema", "json_schema": {"name": "answer", "schema": {"type": "integer"}}}
    for said in ({"response_format": schema}, {"beta": 0.0}):
        request = asked(engine, **said)
        assert (request.repetition_penalty, request.no_repeat_ngram) == (1.0, 0)
        request = asked(engine, no_repeat_ngram=2, **said)
        assert (request.repetition_penalty, request.no_repeat_ngram) == (1.0, 2)
    Chat(engine, settings=ChatSettings(max_tokens=1)).submit(QUESTION).result()
    assert (engine.requests[-1].repetition_penalty, engine.requests[-1].no_repeat_ngram) == (1.0, 0)


# ---- what a call says, and what the settings say


def test_what_a_call_leaves_out_is_as_the_settings_say():
    settings = ChatSettings(user_id="ada", thread_id="monday", seed=7, temperature=0.5, stop=["x"], beta=2.0)
    said = CallOptions().over(settings)
    assert (said.user_id, said.thread_id, said.seed) == ("ada", "monday", 7)
    assert (said.temperature, said.stop, said.beta, said.alpha) == (0.5, ["x"], 2.0, None)
    nobody = CallOptions(user_id=None, thread_id=None, seed=None, temperature=0.0, beta=0.0).over(settings)
    assert (nobody.user_id, nobody.thread_id, nobody.seed, nobody.temperature, nobody.beta) == (
        None,
        None,
        None,
        0.0,
        0.0,
    )
    assert said.over(ChatSettings(user_id="bob")) == said


def test_a_call_without_its_user_is_refused_before_weights_load():
    settings = {"model": "no/such-model", "require_user": True}
    with pytest.raises(InvalidRequestError, match="This ChatPAD requires a user id"):
        ChatPAD(**settings).invoke("hi")
    with pytest.raises(InvalidRequestError, match="This PADLLM requires a user id"):
        PADLLM(context_window=512, **settings).complete("hi")


def test_kept_prompts_belong_to_a_tenant(guided):
    for tenant, salt in ((None, ""), ("acme", "acme")):
        with PreferenceMemory(tenant=tenant or "default", embedder=HashEmbedder()) as memory:
            settings = ChatSettings(memory=memory if tenant else None, max_tokens=1)
            Chat(guided, None, settings).submit(QUESTION, CallOptions(user_id="ada")).result()
        assert guided.requests[-1].salt == salt


@pytest.mark.parametrize("thread", ["", " ", 7])
def test_bad_thread_ids_are_refused(guided, thread):
    with pytest.raises(InvalidRequestError, match="thread_id has to be a string that is not blank"):
        Chat(guided).submit(QUESTION, CallOptions(thread_id=thread))


def test_the_thread_of_a_config_is_text():
    assert [thread_of({"thread_id": value}) for value in ("monday", 7, "", " ", None)] == [
        "monday",
        "7",
        None,
        None,
        None,
    ]
    assert thread_of({}) is None


# ---- whose conversation


@pytest.fixture(scope="module")
def fields(tmp_path_factory):
    base, persrm = tiny_pair().save(tmp_path_factory.mktemp("pair"))
    return {"model": str(base), "reward_model": str(persrm), "max_tokens": 8, "beta": 2.0}


@pytest.fixture
def here():
    with PreferenceMemory(embedder=HashEmbedder()) as memory:
        memory.record("ada", Statement(HERE, thread="monday"))
        yield memory


def pad_of(answer):
    return answer.response_metadata["pad"]


def test_the_thread_is_the_keywords_then_the_configs_then_the_fields(fields, here):
    llm = ChatPAD(**fields, memory=here, user_id="ada", thread_id="monday")
    tuesday = {"configurable": {"thread_id": "tuesday"}}
    assert pad_of(llm.invoke("hi"))["thread"] == "monday"
    assert len(pad_of(llm.invoke("hi"))["condition"]) == 1
    assert pad_of(llm.invoke("hi", tuesday))["thread"] == "tuesday"
    assert pad_of(llm.invoke("hi", tuesday))["condition"] == []
    assert pad_of(llm.invoke("hi", tuesday, thread_id="monday"))["thread"] == "monday"
    assert pad_of(llm.invoke("hi", thread_id=None))["thread"] is None
    assert pad_of(llm.invoke("hi", {"configurable": {"thread_id": 7}}))["thread"] == "7"
    answer = PADLLM(**fields, memory=here).for_user("ada", "monday").complete("hi")
    assert (answer.raw["pad"]["thread"], len(answer.raw["pad"]["condition"])) == ("monday", 1)


def test_the_cache_keeps_conversations_apart(fields, here):
    llm = ChatPAD(**fields, memory=here, cache=InMemoryCache())
    threads = ["monday", "tuesday", None, "monday"]
    configs = [{"configurable": {"user_id": "ada", **({"thread_id": one} if one else {})}} for one in threads]
    pads = [pad_of(llm.invoke("hi", config)) for config in configs]
    assert [pad["thread"] for pad in pads] == threads
    assert [len(pad["condition"]) for pad in pads] == [1, 0, 0, 1]
    assert pads[0]["response_id"] == pads[3]["response_id"], "the last answer comes from the cache"
    field = llm.model_copy(update={"user_id": "ada", "thread_id": "tuesday"})
    assert pad_of(field.invoke("hi"))["thread"] == "tuesday"
    assert pad_of(field.model_copy(update={"thread_id": "monday"}).invoke("hi"))["thread"] == "monday"


def test_two_models_on_one_memory(fields, here, tmp_path, caplog):
    other_base, other_persrm = tiny_pair(seed=5).save(tmp_path)
    first = ChatPAD(**fields, memory=here)
    second = ChatPAD(**{**fields, "model": str(other_base), "reward_model": str(other_persrm)}, memory=here)
    ids = {"user_id": "ada", "thread_id": "monday"}
    with caplog.at_level(logging.WARNING, logger="pad_memory"):
        for llm in (first, second, first, second):
            assert len(pad_of(llm.invoke("hi", **ids))["condition"]) == 1
    assert len(caplog.records) == 1, "the second PersRM would judge on another scale, and this is said once"
    assert here.scorer is Chat.of(first.model_name, first).persrm
    engines = [Chat.of(llm.model_name, llm).engine for llm in (first, second)]
    assert all(engine.base.prefixes for engine in engines)
    here.forget("ada")
    assert not any(engine.base.prefixes for engine in engines)


# ---- a turn


def test_deltas_add_up_to_the_result(guided):
    chat = Chat(guided, settings=ChatSettings(max_tokens=12))
    options = CallOptions(preference=WISH, logprobs=True, top_logprobs=2)
    parts = list(chat.submit(QUESTION, options))
    assert len(parts) > 1
    assert [part.finish for part in parts[:-1]] == [None] * (len(parts) - 1)
    total = sum(parts, Delta())
    whole = chat.submit(QUESTION, options).result()
    assert (total.text, total.finish, total.usage) == (whole.text, whole.finish, whole.usage)
    assert total.logprobs == whole.logprobs
    assert len(whole.logprobs) == whole.usage.completion_tokens
    assert total.pad.keys() == whole.pad.keys()
    assert (total.pad["mean_reward"], total.pad["condition"]) == (
        whole.pad["mean_reward"],
        [{"text": WISH, "weight": 1.0, "source": "call", "route": "guide"}],
    )


def test_pieces_of_one_call_are_joined():
    begun = Delta("a", calls=(CallDelta(0, "id", "f", '{"a"'),))
    more = Delta("b", calls=(CallDelta(0, None, None, ": 1}"), CallDelta(1, "id2", "g", "{}")))
    total = begun + more + Delta(finish="tool_calls", usage=Usage(1, 2))
    assert total.calls == (CallDelta(0, "id", "f", '{"a": 1}'), CallDelta(1, "id2", "g", "{}"))
    assert (total.text, total.finish, total.usage.total_tokens) == ("ab", "tool_calls", 3)


async def test_an_event_loop_gets_the_same(guided):
    chat = Chat(guided, settings=ChatSettings(max_tokens=8))
    text = chat.submit(QUESTION).result().text
    assert (await (await chat.asubmit(QUESTION)).aresult()).text == text
    assert "".join([delta.text async for delta in await chat.asubmit(QUESTION)]) == text


def test_a_comparison_needs_a_user_and_a_memory(guided, here):
    from pad_langchain.chat.compare import two_answers

    question = here.next_question("ada")
    with pytest.raises(InvalidRequestError, match="Make the chat with a memory, and name the user"):
        two_answers(Chat(guided), question, "hi", CallOptions(user_id="ada"))
    with pytest.raises(InvalidRequestError, match="user_id None"):
        two_answers(Chat(guided, settings=ChatSettings(memory=here)), question, "hi", CallOptions())


def test_whose_prompt_it_is_and_its_id_may_be_said(guided, here):
    chat = Chat(guided, settings=ChatSettings(memory=here, max_tokens=4))
    said = chat.submit(QUESTION, CallOptions(user_id="ada"), response_id="chatcmpl-1", salt="acme").result()
    assert guided.requests[-1].salt == "acme"
    assert said.pad["response_id"] == "chatcmpl-1"
    assert here.responses.find("ada", "chatcmpl-1") == (QUESTION[0]["content"], said.text)
    unsaid = chat.submit(QUESTION, CallOptions(user_id="ada")).result()
    assert guided.requests[-1].salt == here.tenant
    assert unsaid.pad["response_id"].startswith("pad-")


async def test_an_executor_of_the_caller_submits(guided):
    with ThreadPoolExecutor(1, thread_name_prefix="mine") as executor:
        seen = []

        def submit():
            seen.append(threading.current_thread().name)
            return Chat(guided, settings=ChatSettings(max_tokens=2)).submit(QUESTION)

        assert (await (await begin(submit, executor)).aresult()).usage.completion_tokens == 2
    assert seen[0].startswith("mine")


async def test_what_nobody_waits_for_is_not_begun():
    begun, free = [], threading.Event()
    with ThreadPoolExecutor(1) as executor:
        executor.submit(free.wait)
        waiting = asyncio.ensure_future(begin(lambda: begun.append(1), executor))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        free.set()
    assert begun == []


def test_the_sides_of_a_question_differ_in_its_preferences_only(guided, here):
    from pad_langchain.chat.compare import both_sides

    question = here.next_question("bob")
    chat = Chat(guided, settings=ChatSettings(memory=here, max_tokens=4))
    first, second = both_sides(chat, question, QUESTION, CallOptions(user_id="bob", beta=0.5))
    assert first == CallOptions(user_id="bob", beta=0.5, preference=[(text, 1.0) for text in question.first])
    assert second == CallOptions(user_id="bob", beta=0.5, preference=[(text, 1.0) for text in question.second])
