"""An agent with tools: the model decides to call, a grammar keeps every call valid, the user comes in the context.

python examples/agent.py
"""

from dataclasses import dataclass

from langchain.agents import create_agent
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.tools import tool

from pad_langchain import ChatPAD, PreferenceMiddleware
from pad_memory import PreferenceMemory, Statement


@dataclass
class Context:
    user_id: str


@tool
def get_weather(location: str) -> str:
    """Get the current weather in a given location."""
    return "sunny, 21 degrees"


@tool
def multiply(a: int, b: int) -> int:
    """Multiply two integers."""
    return a * b


def main() -> None:
    memory = PreferenceMemory()
    memory.record("ada", Statement("Please be brief."))
    memory.record("bob", Statement("I want long and detailed answers."))
    agent = create_agent(
        ChatPAD(memory=memory),
        [get_weather, multiply],
        middleware=[PreferenceMiddleware(memory)],
        context_schema=Context,
    )
    for user, question in (
        ("ada", "What is the weather in Paris?"),
        ("ada", "What is a lion?"),
        ("bob", "What is a lion?"),
    ):
        messages = agent.invoke({"messages": [("human", question)]}, context=Context(user))["messages"]
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
