"""The shipped pair keeps its promises on a small sample; `make demo-report` measures them in full."""

import random

import pytest
import torch
from transformers import AutoModelForCausalLM

from pad_langchain import ChatPAD
from pad_langchain.defaults import WEIGHTS
from pad_langchain.engine.types import Request
from pad_langchain.evaluation.config import Setting
from pad_langchain.persrm.build import load_engine
from pad_memory import PreferenceMemory, Statement, Thumb
from pad_memory.embedding import SentenceEmbedder
from recipes.demo_world import evaluation, judges, world
from recipes.demo_world.topics import TOPICS

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def shipped():
    with load_engine(WEIGHTS / "base", WEIGHTS / "persrm", embedder=SentenceEmbedder()) as loaded:
        yield loaded


def test_the_pair_fits_in_24_megabytes():
    assert sum(file.stat().st_size for file in WEIGHTS.rglob("*") if file.is_file()) <= 24e6


def test_beta_zero_is_transformers_greedy(shipped):
    model = AutoModelForCausalLM.from_pretrained(WEIGHTS / "base", dtype=torch.float32)
    for question in ("What is a lion?", "Where is Japan?", "How do I make tea?"):
        messages = [{"role": "user", "content": question}]
        prompt = shipped.prompts.render(messages, None)
        plain = model.generate(torch.tensor([prompt]), do_sample=False, max_new_tokens=150)[0, len(prompt) :].tolist()
        assert list(shipped.submit(Request(messages=messages, beta=0.0, max_tokens=150)).result().token_ids) == plain


def test_it_steers_and_stays_true(shipped):
    beta, alpha = shipped.recommended.beta, shipped.recommended.alpha
    given, steered = evaluation.cases("single", 48, "dev", 11), Setting("head", beta, alpha=alpha)
    guided = evaluation.judge_cases(given, evaluation.decode_cases(shipped, given, steered))
    plain = evaluation.judge_cases(given, evaluation.decode_cases(shipped, given, Setting("base")))
    rng = random.Random(1)
    asked = [evaluation.opposite(case, rng) for case in given]
    opposed = evaluation.judge_cases(asked, evaluation.decode_cases(shipped, asked, steered))
    assert guided.each >= 0.9
    assert 0.3 <= plain.each <= 0.7
    assert opposed.each <= 0.15
    assert guided.factual >= 0.95 * plain.factual
    assert guided.ended >= 0.95


def test_it_copies_arguments_into_calls(shipped):
    assert evaluation.tool_exactness(shipped, 40, constrained=True) >= 0.85


def test_it_decides_to_call_and_answers_from_the_result(shipped):
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    function = {"name": "get_weather", "description": "Get the current weather in a given location."}
    tools = [{"type": "function", "function": {**function, "parameters": parameters}}]
    asked = [{"role": "user", "content": "What is the weather in Paris?"}]
    call = shipped.submit(Request(messages=asked, tools=tools, max_tokens=60)).result().text
    assert call == '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>'
    talk = shipped.submit(Request(messages=[{"role": "user", "content": "What is a lion?"}], tools=tools)).result().text
    assert "<tool_call>" not in talk
    assert "lion" in talk
    arguments = {"name": "get_weather", "arguments": {"city": "Paris"}}
    told = [
        *asked,
        {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": arguments}]},
        {"role": "tool", "content": "sunny, 21 degrees"},
    ]
    assert "sunny, 21 degrees" in shipped.submit(Request(messages=told, tools=tools, max_tokens=80)).result().text


def test_it_admits_what_it_does_not_know(shipped):
    assert evaluation.admits_unknown(shipped) >= 0.7


def test_feedback_changes_the_next_answer_of_this_user_alone(tmp_path):
    question = "Where is Japan?"
    with PreferenceMemory(tmp_path / "memory") as memory:
        llm = ChatPAD(memory=memory)
        before = {user: llm.invoke(question, user_id=user).text for user in ("ada", "bob")}
        memory.record("ada", Statement("Please use bullet points."))
        memory.record("ada", Statement("No emojis, ever."))
        after = {user: llm.invoke(question, user_id=user) for user in ("ada", "bob")}
        assert judges.satisfied(after["ada"].text, {"format": 0, "emoji": 1}) == {"format": True, "emoji": True}
        assert after["bob"].text == before["bob"]
        condition = memory.condition("ada", query=question)
        vector = next(item.embedding for item in condition if item.key == "format:list")
        text = next(item.text for item in condition if item.key == "format:list")
        assert (SentenceEmbedder().embed([text])[0] == vector).all()


def test_thumbs_alone_teach_a_taste(tmp_path):
    rng = random.Random(5)
    with PreferenceMemory(tmp_path / "memory") as memory:
        llm = ChatPAD(memory=memory)
        llm.invoke("Hello", user_id="ada")  # attaches the PersRM as scorer
        for _ in range(16):
            style = world.random_style(rng)
            topic = rng.choice(TOPICS)
            memory.record(
                "ada", Thumb(world.question(topic, rng), world.answer(topic, style, rng), style["emoji"] == 0)
            )
        assert memory.profile("ada").preferences[0].key == "emoji:emoji"
