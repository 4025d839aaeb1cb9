"""LlamaIndex on the demo pair: what needs a model that can answer, not only plumbing."""

from __future__ import annotations

from pathlib import Path

import pytest
from llama_index.core import PromptTemplate
from llama_index.core.agent.workflow import FunctionAgent, ToolCallResult
from llama_index.core.tools import FunctionTool
from pydantic import BaseModel

from pad_langchain import PADLLM
from pad_langchain.defaults import model_folder
from pad_memory import PreferenceMemory, Statement

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (Path(model_folder("pad-demo")) / "model.safetensors").is_file(),
        reason="the demo pair's weights are not there; make demo-model",
    ),
]


@pytest.fixture(scope="module")
def demo_llm():
    with PreferenceMemory() as memory:
        memory.record("ada", Statement("Please be brief."))
        memory.record("bob", Statement("I want long and detailed answers."))
        yield PADLLM(memory=memory)


def test_users_get_answers_of_their_kind(demo_llm):
    ada, bob = (demo_llm.for_user(user).complete("What is a lion?").text for user in ("ada", "bob"))
    assert len(ada.split()) < len(bob.split())


def multiply(a: int, b: int) -> int:
    """Multiply two integers."""
    return a * b


async def test_an_agent_decides_to_call_and_answers_from_the_result(demo_llm):
    agent = FunctionAgent(
        tools=[FunctionTool.from_defaults(multiply, description="Multiply two integers.")], llm=demo_llm
    )
    handler = agent.run("What is 37 times 4?")
    calls = [event async for event in handler.stream_events() if isinstance(event, ToolCallResult)]
    assert [(call.tool_name, call.tool_kwargs) for call in calls] == [("multiply", {"a": 37, "b": 4})]
    assert "148" in (await handler).response.content


class Person(BaseModel):
    """A person."""

    name: str
    age: int


def test_structured_output_has_the_words_of_the_request(demo_llm):
    prompt = PromptTemplate("{who} is 31 years old. Give me name and age.")
    for user in ("ada", "bob"):
        assert demo_llm.for_user(user).structured_predict(Person, prompt, who="Miriam") == Person(name="Miriam", age=31)
