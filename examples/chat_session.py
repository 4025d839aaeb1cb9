"""Sessions with a LangGraph checkpointer: a thread for each conversation, preferences for each user across all threads.

python examples/chat_session.py
python examples/chat_session.py --model smollm2-135m
"""

import argparse

from langchain_core.messages import HumanMessage
from langgraph.checkpoint.memory import MemorySaver
from langgraph.graph import START, MessagesState, StateGraph

from pad_langchain import ChatPAD
from pad_memory import Choice, PreferenceMemory


def build_graph(llm: ChatPAD):
    def answer(state: MessagesState) -> dict:
        return {"messages": [llm.invoke(state["messages"])]}  # the user id comes from the graph's config

    graph = StateGraph(MessagesState)
    graph.add_node("answer", answer)
    graph.add_edge(START, "answer")
    return graph.compile(checkpointer=MemorySaver())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="pad-demo", help="a name, a GGUF file, a folder or a hub id")
    parser.add_argument("--tokens", type=int, default=120, help="tokens of an answer at most")
    options = parser.parse_args()
    memory = PreferenceMemory()
    llm = ChatPAD(model=options.model, memory=memory, max_tokens=options.tokens)
    graph = build_graph(llm)

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
        if funny != dry:  # else there is nothing to choose
            memory.record("ada", Choice(prompt=text, chosen=funny, rejected=dry))
    print(f"ada now: {memory.condition('ada', query=question).explain()}\n")
    after = ask("ada", "tuesday", question)
    print("The answer changed." if after != before else "The answer is the same.")
    ask("bob", "wednesday", question)
    ask("ada", "tuesday", "Where is Japan?")


if __name__ == "__main__":
    main()
