"""Serve your own model: many users at once on one event loop, each answered in their own way while it decodes.

    python examples/own_model.py                                          # says how, as there is no model
    python examples/own_model.py --model smollm2-135m
    python examples/own_model.py --model meta-llama/Llama-3.1-8B-Instruct --reward-model self
    python examples/own_model.py --model path/to/model --reward-model path/to/persrm --device cuda

The model is a GGUF file, or a folder or hub id of a causal LM with a chat template. The reward model is a PersRM
trained for it, "self" (the model guides itself, no training) or "none" (preferences are only told to the model in the
prompt).
"""

import argparse
import asyncio

from pad_langchain import ChatPAD
from pad_memory import PreferenceMemory, Statement

WISHES = {"ada": "Please be brief.", "bob": "I love bullet lists.", "eve": "Be formal, please."}


async def answer(llm: ChatPAD, user: str, question: str) -> str:
    """What a request handler of your web app does; leaving the stream, as when a client goes, stops the generation."""
    text = ""
    async for chunk in llm.astream(question, user_id=user):
        text += chunk.text  # send it on
    return text


async def serve(llm: ChatPAD, question: str) -> None:
    answers = await asyncio.gather(*(answer(llm, user, question) for user in WISHES))
    for user, text in zip(WISHES, answers, strict=True):
        print(f"{user}: {text}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a name, a GGUF file, a folder or a hub id")
    parser.add_argument("--reward-model", default="self")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--tokens", type=int, default=128, help="tokens of an answer at most")
    parser.add_argument("--question", default="What should I see in Rome?")
    options = parser.parse_args()
    if options.model is None:
        print("No model given, nothing to serve. Pass a folder or hub id: python examples/own_model.py --model path")
        return
    memory = PreferenceMemory()
    for user, wish in WISHES.items():
        memory.record(user, Statement(wish))
    reward_model = None if options.reward_model == "none" else options.reward_model
    llm = ChatPAD(
        model=options.model,
        reward_model=reward_model,
        memory=memory,
        device=options.device,
        max_tokens=options.tokens,
    )
    asyncio.run(serve(llm, options.question))


if __name__ == "__main__":
    main()
