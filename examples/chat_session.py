"""Sessions with a LangGraph checkpointer: a thread for each conversation, preferences for each user across all threads.

python examples/chat_session.py
"""

from langchain_core.messages import HumanMessage
from langgraph.checkpoint.memory import MemorySaver
from langgraph.graph import START, MessagesState, StateGraph

from pad_langchain import ChatPAD
from pad_memory import Choice, PreferenceMemory

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
    # A choice between two answers is evidence: they are alike in all but humor, so that is what the choices teach.
    alike = ["be formal", "no lists", "no emojis please", "give an example", "be detailed", "add a safety note"]
    for text in (
        "What is a tiger?",
        "What is a wolf?",
        "What is copper?",
        "What is a violin?",
        "What is tennis?",
        "Where is Japan?",
    ):
        dry, funny = (llm.invoke(text, preference=[wish, *alike]).text for wish in ("be serious", "be funny"))
        memory.record("ada", Choice(prompt=text, chosen=funny, rejected=dry))
    print(f"ada now: {memory.condition('ada', query=question).explain()}\n")
    after = ask("ada", "tuesday", question)
    print("The answer changed." if after != before else "The answer is the same.")
    ask("bob", "wednesday", question)
    ask("ada", "tuesday", "Where is Japan?")


if __name__ == "__main__":
    main()
