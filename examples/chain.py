"""A chain `prompt | llm | parser` that answers two users in their own ways, and falls back to another model.

python examples/chain.py
python examples/chain.py --model smollm2-135m
"""

import argparse

from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate

from pad_langchain import ChatPAD
from pad_memory import PreferenceMemory, Statement


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="pad-demo", help="a name, a GGUF file, a folder or a hub id")
    parser.add_argument("--tokens", type=int, default=256, help="tokens of an answer at most")
    options = parser.parse_args()
    memory = PreferenceMemory()  # in memory; a path keeps it
    memory.record("ada", Statement("Keep it short, please."))
    memory.record("bob", Statement("I love bullet lists."))

    # The first model is not on this machine; the chain goes on with another one, and with the same users.
    here = ChatPAD(model=options.model, memory=memory, max_tokens=options.tokens)
    llm = ChatPAD(model="path/to/your/model", memory=memory).with_fallbacks([here])
    prompt = ChatPromptTemplate.from_messages([("human", "Tell me about {topic}.")])
    chain = prompt | llm | StrOutputParser()

    # The user id rides in the config, so nothing in the chain has to know about it. Both answers share one batch.
    users = ["ada", "bob"]
    configs = [{"configurable": {"user_id": user}} for user in users]
    for user, answer in zip(users, chain.batch([{"topic": "Japan"}] * 2, configs), strict=True):
        print(f"{user}: {answer}\n")


if __name__ == "__main__":
    main()
