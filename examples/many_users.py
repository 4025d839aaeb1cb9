"""A thousand users in one batch: each gets a short answer in their own way, all share the same forwards.

python examples/many_users.py --users 1000
python examples/many_users.py --users 40 --model smollm2-135m
"""

import argparse
import time

from pad_langchain import ChatPAD
from pad_memory import PreferenceMemory, Statement

WISHES = ("Please be brief.", "Use bullet points.", "No emojis, ever.", "Be formal, please.")
QUESTIONS = ("What is a lion?", "What is copper?", "Where is Japan?", "What is a violin?", "What is tennis?")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="pad-demo", help="a name, a GGUF file, a folder or a hub id")
    parser.add_argument("--users", type=int, default=1000)
    parser.add_argument("--tokens", type=int, default=24, help="tokens of an answer at most")
    options = parser.parse_args()

    memory = PreferenceMemory()
    users = [f"user-{number}" for number in range(options.users)]
    started = time.perf_counter()
    for number, user in enumerate(users):
        memory.record(user, Statement(WISHES[number % len(WISHES)]))
    learned = time.perf_counter() - started

    llm = ChatPAD(model=options.model, memory=memory, max_tokens=options.tokens)
    llm.invoke("Hello")  # loads the weights
    questions = [QUESTIONS[number % len(QUESTIONS)] for number in range(len(users))]
    configs = [{"configurable": {"user_id": user}} for user in users]
    started = time.perf_counter()
    answers = llm.batch(questions, configs)
    seconds = time.perf_counter() - started

    tokens = sum(answer.usage_metadata["output_tokens"] for answer in answers)
    for user, question, answer in list(zip(users, questions, answers, strict=True))[: len(WISHES)]:
        wish = answer.response_metadata["pad"]["condition"][0]["text"]
        print(f"{user} ({wish}): {question} {' '.join(answer.text.split())}")
    print(f"{len(set(users))} users, {len(answers)} answers, {tokens} tokens")
    print(f"{learned:.0f} s to record a wish each, {seconds:.0f} s to answer: {tokens / seconds:.0f} tokens a second")


if __name__ == "__main__":
    main()
