"""Sessions with a LangGraph checkpointer: a thread for each conversation, preferences for each user across all threads.

python examples/chat_session.py
"""

from langchain_core.messages import HumanMessage
from langgraph.checkpoint.memory import MemorySaver
from langgraph.graph import START, MessagesState, StateGraph

from pad_langchain import ChatPAD
from pad_memory import PreferenceMemory, Thumb

memory = PreferenceMemory()
llm = ChatPAD(memory=memory, max_tokens=120)


def answer(state: MessagesState) -> dict:
    return {"messages": [llm.invoke(state["messages"])]}  # the user id comes from the graph's config


def build_graph():
    graph = StateGraph(MessagesState)
    graph.add_node("answer", answer)
    graph.add_edge(START, "answer")
    return graph.compile(checkpointer=MemorySaver())


def main() -> None:
    graph = build_graph()

    def ask(user: str, thread: str, question: str) -> str:
        config = {"configurable": {"user_id": user, "thread_id": thread}}
        state = graph.invoke({"messages": [HumanMessage(question)]}, config)
        said = state["messages"][-1].text
        print(f"[{thread}] {user}: {question}")
        print(f"[{thread}] {len(state['messages'])} messages, answer: {said}\n")
        return said

    question = "What is a lion?"
    before = ask("ada", "monday", question)
    # Thumbs for two answers are evidence; what they have in common becomes the preference.
    for text in ("What is a tiger?", "What is a wolf?", "What is copper?"):
        dry, funny = (
            llm.invoke(text, preference=wish).text for wish in ("be serious, no jokes", "be funny, tell a joke")
        )
        memory.record("ada", Thumb(prompt=text, response=dry, up=False))
        memory.record("ada", Thumb(prompt=text, response=funny, up=True))
    print(f"ada now: {memory.condition('ada', query=question).explain()}\n")
    after = ask("ada", "tuesday", question)
    print("The answer changed." if after != before else "The answer is the same.")
    ask("bob", "wednesday", question)
    ask("ada", "tuesday", "Where is Japan?")


if __name__ == "__main__":
    main()
