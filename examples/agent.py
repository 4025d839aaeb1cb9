"""An agent with tools: the model decides to call, a grammar keeps every call valid, the user comes in the context.

    python examples/agent.py
    python examples/agent.py --model smollm2-135m --call get_weather

A model of 135M parameters does not know when to call: it hardly begins, or calls again and again. With `--call` the
program decides that the first question needs that tool, once, and the others none. The model fills in the arguments.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass

from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware, ModelRequest, ModelResponse
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool

from pad_langchain import ChatPAD, PreferenceMiddleware
from pad_memory import PreferenceMemory, Statement


@dataclass
class Context:
    user_id: str
    tool_choice: str = "auto"  # the model decides; "none", or the tool that it has to call, once


class CallOnce(AgentMiddleware):
    """Has the model call the tool that the context names, and then answer."""

    def wrap_model_call(self, request: ModelRequest, handler: Callable[[ModelRequest], ModelResponse]) -> ModelResponse:
        choice = request.runtime.context.tool_choice
        if choice != "auto":
            called = not isinstance(request.messages[-1], HumanMessage)
            request = request.override(tool_choice="none" if called else choice)
        return handler(request)


@tool
def get_weather(location: str) -> str:
    """Get the current weather in a given location."""
    return "sunny, 21 degrees"


@tool
def multiply(a: int, b: int) -> int:
    """Multiply two integers."""
    return a * b


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="pad-demo", help="a name, a GGUF file, a folder or a hub id")
    parser.add_argument("--tokens", type=int, default=256, help="tokens of an answer at most")
    parser.add_argument("--call", help="the tool that the first question needs; without this, the model decides")
    options = parser.parse_args()
    memory = PreferenceMemory()
    memory.record("ada", Statement("Please be brief."))
    memory.record("bob", Statement("I want long and detailed answers."))
    agent = create_agent(
        ChatPAD(model=options.model, memory=memory, max_tokens=options.tokens),
        [get_weather, multiply],
        middleware=[PreferenceMiddleware(memory), CallOnce()],
        context_schema=Context,
    )
    otherwise = "auto" if options.call is None else "none"
    for user, question, choice in (
        ("ada", "What is the weather in Paris?", options.call or "auto"),
        ("ada", "What is a lion?", otherwise),
        ("bob", "What is a lion?", otherwise),
    ):
        messages = agent.invoke({"messages": [("human", question)]}, context=Context(user, choice))["messages"]
        print(f"{user} asks: {question}")
        for message in messages[1:]:
            if isinstance(message, AIMessage) and message.tool_calls:
                print(f"calls: {[(call['name'], call['args']) for call in message.tool_calls]}")
            elif isinstance(message, ToolMessage):
                print(f"result: {message.text}")
            else:
                print(f"answer: {message.text}")
        print()


if __name__ == "__main__":
    main()
