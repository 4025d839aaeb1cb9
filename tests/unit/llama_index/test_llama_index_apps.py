"""What LlamaIndex builds on an LLM, on `PADLLM` with random weights: agents, engines, evaluators."""

from __future__ import annotations

import asyncio

import pytest
from llama_index.core import Document, Settings, VectorStoreIndex
from llama_index.core.agent.workflow import AgentStream, FunctionAgent, ReActAgent, ToolCallResult
from llama_index.core.evaluation import CorrectnessEvaluator, FaithfulnessEvaluator, RelevancyEvaluator
from pydantic import Field

from fakes import QUESTION, WISHES
from llama_index_parts import ADD, WEATHER, script
from pad_langchain import PADLLM
from pad_langchain.llama_index import PADEmbedding
from pad_langchain.testing import HashEmbedder


@pytest.mark.parametrize("streaming", [True, False])
async def test_a_function_agent_calls_and_answers(caller, streaming):
    agent = FunctionAgent(
        tools=[WEATHER, ADD],
        llm=caller.for_user("ada"),
        initial_tool_choice="weather",
        allow_parallel_tool_calls=False,
        streaming=streaming,
    )
    handler = agent.run(QUESTION, max_iterations=8)
    events = [event async for event in handler.stream_events()]
    results = [event for event in events if isinstance(event, ToolCallResult)]
    assert results[0].tool_name == "weather"
    assert results[0].tool_output.content.endswith("days of rain")
    answer = await handler
    assert answer.response.content
    assert answer.raw["pad"]["user"] == "ada"


async def test_a_react_agent_answers_its_user_in_plain_text(padllm, shared_engine):
    said = {}
    for user in WISHES:
        handler = ReActAgent(tools=[ADD], llm=padllm.for_user(user)).run(QUESTION)
        parts = [event.delta async for event in handler.stream_events() if isinstance(event, AgentStream)]
        answer = await handler
        assert answer.raw["pad"]["user"] == user
        # Random weights follow no form, so what they say is the answer.
        assert "".join(parts).strip() == answer.response.content.strip() != ""
        said[user] = answer.response.content
    assert said["ada"] != said["bob"]


async def test_a_react_agent_runs_the_tool_it_asks_for(monkeypatch):
    """What the model writes is scripted, and goes through PADLLM's own streaming."""
    turns = iter(
        [
            'Thought: I need a tool.\nAction: add\nAction Input: {"a": 1, "b": 2}',
            "Thought: I can answer without using any more tools.\nAnswer: three",
        ]
    )
    script(monkeypatch, lambda settings, messages: next(turns))
    handler = ReActAgent(tools=[ADD], llm=PADLLM().for_user("ada")).run("How much is 1 and 2?")
    results = [event async for event in handler.stream_events() if isinstance(event, ToolCallResult)]
    assert [(result.tool_name, result.tool_kwargs, result.tool_output.content) for result in results] == [
        ("add", {"a": 1, "b": 2}, "3")
    ]
    answer = await handler
    assert (answer.response.content, answer.raw["pad"]["user"]) == ("three", "ada")


PASSAGES = ("Velmora is a country in Europe.", "Karsund is a country in Asia.", "A brimtail is a kind of bird.")


@pytest.fixture
def index():
    documents = [Document(text=text, id_=text.split()[0]) for text in PASSAGES]
    return VectorStoreIndex.from_documents(documents, embed_model=PADEmbedding(embedder=HashEmbedder()))


def test_a_query_engine_answers_each_user_from_the_same_sources(padllm, index):
    question = PASSAGES[1]  # these embeddings know only what is the same
    answers = {
        user: index.as_query_engine(llm=padllm.for_user(user), similarity_top_k=1).query(question) for user in WISHES
    }
    assert answers["ada"].response != answers["bob"].response
    for answer in answers.values():
        assert [node.text for node in answer.source_nodes] == [PASSAGES[1]]
    stream = index.as_query_engine(llm=padllm.for_user("ada"), similarity_top_k=1, streaming=True).query(question)
    assert "".join(stream.response_gen) == answers["ada"].response


def test_an_index_may_take_everything_from_the_settings(padllm, monkeypatch):
    monkeypatch.setattr(Settings, "_llm", padllm.for_user("ada"))
    monkeypatch.setattr(Settings, "_embed_model", PADEmbedding(embedder=HashEmbedder()))
    index = VectorStoreIndex.from_documents([Document(text=PASSAGES[0])])
    answer = index.as_query_engine().query(PASSAGES[0])
    named = index.as_query_engine(llm=padllm.for_user("ada")).query(PASSAGES[0])
    assert answer.response == named.response != index.as_query_engine(llm=padllm).query(PASSAGES[0]).response


async def test_query_engines_answer_on_an_event_loop(padllm, index):
    question = PASSAGES[1]
    engines = [index.as_query_engine(llm=padllm.for_user(user), similarity_top_k=1) for user in ("ada", "bob") * 2]
    answers = await asyncio.gather(*(engine.aquery(question) for engine in engines))
    assert [answer.response for answer in answers] == [engine.query(question).response for engine in engines]
    assert answers[0].response != answers[1].response
    streaming = index.as_query_engine(llm=padllm.for_user("ada"), similarity_top_k=1, streaming=True)
    stream = await streaming.aquery(question)
    assert "".join([part async for part in stream.async_response_gen()]) == answers[0].response


@pytest.mark.parametrize("mode", ["simple", "context", "condense_question", "condense_plus_context"])
def test_chat_engines_answer_each_user(padllm, index, mode):
    texts = set()
    for user in WISHES:
        engine = index.as_chat_engine(chat_mode=mode, llm=padllm.for_user(user))
        assert engine.chat("hello").response
        streamed = engine.stream_chat(QUESTION)
        texts.add("".join(streamed.response_gen))
    assert len(texts) == 2


@pytest.mark.parametrize("mode", ["context", "condense_question"])
async def test_chat_engines_answer_on_an_event_loop(padllm, index, mode):
    engines = {user: index.as_chat_engine(chat_mode=mode, llm=padllm.for_user(user)) for user in WISHES}
    answers = await asyncio.gather(*(engine.achat(QUESTION) for engine in engines.values()))
    for (user, engine), answer in zip(engines.items(), answers, strict=True):
        alone = index.as_chat_engine(chat_mode=mode, llm=padllm.for_user(user)).chat(QUESTION)
        assert answer.response == alone.response
        streamed = await engine.astream_chat("and more?")
        told = "".join([part async for part in streamed.async_response_gen()])
        assert engine.chat_history[-1].content.strip() == told.strip() != ""
        assert len(engine.chat_history) == 4
    assert answers[0].response != answers[1].response


class Judge(PADLLM):
    """Writes a verdict instead of noise: what the evaluator asked is in `heard`."""

    verdict: str = "YES"
    heard: list[str] = Field(default_factory=list)

    def write(self, messages):
        self.heard.append(messages[-1]["content"])
        return self.verdict


@pytest.mark.parametrize(
    ("evaluator", "verdict", "passing", "score"),
    [
        (FaithfulnessEvaluator, "YES", True, 1.0),
        (FaithfulnessEvaluator, "NO", False, 0.0),
        (RelevancyEvaluator, "YES", True, 1.0),
        (CorrectnessEvaluator, "4.5\nIt is right.", True, 4.5),
        (CorrectnessEvaluator, "1\nIt is wrong.", False, 1.0),
    ],
)
async def test_evaluators_read_the_verdict(evaluator, verdict, passing, score, monkeypatch):
    script(monkeypatch, Judge.write)
    judge = Judge(verdict=verdict)
    result = await evaluator(llm=judge).aevaluate(
        query=QUESTION, response="a metal", contexts=[PASSAGES[0]], reference="a metal"
    )
    assert (result.passing, result.score) == (passing, score)
    assert any("a metal" in prompt for prompt in judge.heard)


def test_an_evaluator_runs_on_a_model(padllm, shared_engine):
    before = shared_engine.steps
    result = FaithfulnessEvaluator(llm=padllm).evaluate(query=QUESTION, response="a metal", contexts=[PASSAGES[0]])
    assert shared_engine.steps > before
    assert result.passing is ("yes" in result.feedback.lower())
