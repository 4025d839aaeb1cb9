"""Your own PersRM in ten minutes: from 200 choices of your users to a PersRM that ChatPAD loads.

    python examples/own_persrm.py                                 # a head for the demo base, offline
    python examples/own_persrm.py --model smollm2-135m            # a head for SmolLM2, from the same pairs
    python examples/own_persrm.py --kind text --model path/to/it  # a LoRA, for a base that reads a wish in its prompt
    python examples/own_persrm.py --steps 20                      # a quick look

The demo base is too small for the third: there a LoRA learns no wish from 200 pairs. The pairs are in the demo pair's
words, whatever the base.

With your own app, `choices_of_your_users` is the memory that your users' feedback is in already. The settings
are those of docs/training.md, and `pad-langchain train` reads the same from a YAML file.
"""

import argparse
import logging
import random
import tempfile
from pathlib import Path

from pad_langchain import ChatPAD
from pad_langchain.training.config import HeadSettings, StageSettings, TrainConfig
from pad_langchain.training.data import read_pairs, write_pairs
from pad_langchain.training.run import train
from pad_memory import Choice, PreferenceMemory, Statement
from recipes.demo_world.pairs import DEV_TOPICS, draw_pair

WISHES = {
    "ada": ("be concise and brief", {"length": 0}),
    "bob": ("give me long and detailed answers", {"length": 1}),
    "eve": ("use bullet points", {"format": 0}),
    "joe": ("write in prose, no lists", {"format": 1}),
}


def choices_of_your_users(memory: PreferenceMemory, count: int) -> None:
    """Stands for your app: each user said what they like, and picked one of two answers again and again."""
    rng = random.Random(0)
    for user, (wish, spec) in WISHES.items():
        memory.record(user, Statement(wish))
        for _ in range(count // len(WISHES)):
            pair = draw_pair(rng, DEV_TOPICS, spec)
            memory.record(user, Choice(prompt=pair.question, chosen=pair.chosen, rejected=pair.rejected))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="pad-demo", help="a name, a folder or a hub id")
    parser.add_argument("--kind", choices=("head", "text"), default="head")
    parser.add_argument("--choices", type=int, default=200)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--tokens", type=int, default=120, help="tokens of an answer at most")
    parser.add_argument("--output", type=Path, default=None, help="where the PersRM goes; a stopped run goes on there")
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    output = options.output or Path(tempfile.mkdtemp(prefix="persrm-"))
    output.mkdir(parents=True, exist_ok=True)

    # 1. what your users chose, as pairs
    with PreferenceMemory() as memory:
        choices_of_your_users(memory, options.choices)
        pairs = read_pairs(memory.export_pairs())
    write_pairs(pairs.pairs, output / "pairs.jsonl")
    print(pairs.report())

    # 2. train
    config = TrainConfig(
        base=options.model,
        data=str(output / "pairs.jsonl"),
        output=str(output / "persrm"),
        kind=options.kind,
        stage1=StageSettings(steps=options.steps, learning_rate=3e-4),
        stage2=StageSettings(steps=options.steps // 5, learning_rate=5e-4),
        head=HeadSettings(steps=options.steps * 2, rank=32),
        beta=1.0,
        alpha=0.02,
    )
    result = train(config)
    for stage in ("stage1", "stage2", "head"):
        if stage in result:
            print(f"{stage}: accuracy {result[stage]['held_out_accuracy']:.2f} on {result['held_out']} held-out pairs")

    # 3. use it
    llm = ChatPAD(model=options.model, reward_model=config.output, max_tokens=options.tokens)
    for wish in ("be concise and brief", "use bullet points"):
        print(f"\n[{wish}] {llm.invoke('What is a lion?', preference=wish).text}")


if __name__ == "__main__":
    main()
