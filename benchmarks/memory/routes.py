"""Does the wish that a question calls for reach the model, among twenty of its user, and does it help?

    python benchmarks/memory/routes.py --data FOLDER                     # in the prompt?
    python benchmarks/memory/routes.py --data FOLDER --choose 60         # PrefEval's multiple choice by likelihood, too

A user has the preference of one row of PrefEval (prefeval_dev.jsonl), fourteen of other rows, and five wishes of style.
All are recorded as statements, in an order drawn anew, and the row's question is asked. *In the prompt*: the row's
preference, all of its words, is in the tokens that reach the model, SmolLM2-135M with its shipped head, in
which `MOST_TOLD` wishes and `wish_tokens` tokens are told beside what steers. Without a PersRM, style counts in both.
The floor's classifier, which takes most of the time, is left out. Rows with an even number made up the half that was
looked at; those with an odd number were put aside until the code was done.

Multiple choice: which of the row's four options has the highest mean log-probability a token, asked without memory,
with it, and with the row's preference alone (oracle). Intervals are bootstraps over rows.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from prefeval import Kept, rows
from rich.progress import track

from pad_langchain.chat import CallOptions, Chat, ChatSettings
from pad_langchain.chat.messages import with_system
from pad_langchain.chat.routes import quoted
from pad_langchain.defaults import SMOLLM2_MODEL
from pad_langchain.evaluation.statistics import interval
from pad_memory import CATALOGUE, PreferenceMemory, Statement, Values

STYLE, OTHERS = 5, 14
HOW = "{question}\nAnswer with one recommendation."


class _StoppedError(Exception):
    """What would decode got its request."""


class Prompts:
    """An engine that keeps the prompt of each request, and decodes none."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self.prompt_ids: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def submit(self, request: Any) -> Any:
        """Keep the prompt."""
        self.prompt_ids = list(request.prompt_ids)
        raise _StoppedError


def users(data: Sequence[dict[str, Any]], places: Sequence[int]) -> list[list[str]]:
    """The twenty wishes of each row's user."""
    found = []
    for place in places:
        rng = random.Random(place)
        others = [row["preference"] for n, row in enumerate(data) if n != place]
        style = [rng.choice(dimension.poles).text for dimension in rng.sample(CATALOGUE, STYLE)]
        wishes = [data[place]["preference"], *rng.sample(others, OTHERS), *style]
        rng.shuffle(wishes)
        found.append(wishes)
    return found


class Bench:
    """A memory of many users, and what is told of them to a model."""

    def __init__(self, reward_model: str | None, backend: str, memory: PreferenceMemory) -> None:
        engine = {"backend": backend}
        self.chat = Chat.of(
            SMOLLM2_MODEL, ChatSettings(reward_model=reward_model, memory=memory, embedder=memory.embedder, **engine)
        )
        self.engine = Prompts(self.chat.engine)
        self.asks = Chat(self.engine, self.chat.persrm, self.chat.settings)  # type: ignore[arg-type]

    def prompt(self, question: str, **said: Any) -> list[int]:
        """The tokens that reach the model."""
        with suppress(_StoppedError):
            self.asks.submit([{"role": "user", "content": question}], CallOptions(**said))
        return self.engine.prompt_ids


def in_prompt(bench: Bench, data: Sequence[dict[str, Any]], places: Sequence[int]) -> list[bool]:
    """For each row, whether its preference is in the prompt."""
    found = []
    for place in track(places, description="asking"):
        prompt_ids = bench.prompt(data[place]["question"], user_id=f"user {place}")
        found.append(_plain(data[place]["preference"]) in _plain(bench.engine.tokenizer.decode(prompt_ids)))
    return found


def _plain(text: str) -> str:
    return " ".join("".join(c if c.isalnum() else " " for c in text.lower()).split())


@torch.inference_mode()
def chosen(model: Any, tokenizer: Any, prompt_ids: Sequence[int], options: Sequence[str]) -> int:
    """The option with the highest mean log-probability a token after a prompt."""
    answers = [tokenizer.encode(option, add_special_tokens=False) for option in options]
    longest = max(map(len, answers))
    rows_BT = torch.tensor([[*prompt_ids, *ids, *[0] * (longest - len(ids))] for ids in answers])
    logits_BTV = model(rows_BT, logits_to_keep=longest + 1).logits.float()
    told_BT = logits_BTV[:, :-1].log_softmax(-1).gather(-1, rows_BT[:, -longest:, None])[..., 0]
    means = [float(told_T[: len(ids)].mean()) for told_T, ids in zip(told_BT, answers, strict=True)]
    return int(np.argmax(means))


def choose(bench: Bench, data: Sequence[dict[str, Any]], places: Sequence[int]) -> None:
    """Print how often the option that fits the preference is chosen."""
    model, tokenizer = bench.chat.engine.base.model, bench.engine.tokenizer  # type: ignore[attr-defined]
    right: dict[str, list[float]] = {"without memory": [], "with memory": [], "oracle": []}
    for place in track(places, description="choosing"):
        row, question = data[place], HOW.format(question=data[place]["question"])
        oracle = with_system([{"role": "user", "content": question}], quoted([(row["preference"], 1.0)]))
        prompts = {
            "without memory": bench.prompt(question, user_id=None),
            "with memory": bench.prompt(question, user_id=f"user {place}"),
            "oracle": bench.engine.prompts.render(oracle),
        }
        for name, prompt_ids in prompts.items():
            right[name].append(float(chosen(model, tokenizer, prompt_ids, row["options_aligned_first"]) == 0))
    plain = np.array(right["without memory"])
    for name, hits in right.items():
        gain = np.array(hits) - plain
        _, low, high = interval(gain)
        print(
            f"{name:<16}{np.mean(hits):>7.3f}   more than without memory: {gain.mean():+.3f} [{low:+.3f}, {high:+.3f}]"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with prefeval_dev.jsonl")
    parser.add_argument("--part", choices=["seen", "aside"], default="aside")
    parser.add_argument("--rows", type=int, default=100)
    parser.add_argument("--choose", type=int, default=0, help="rows of the multiple choice")
    parser.add_argument("--no-persrm", action="store_true", help="tell everything, steer nothing")
    options = parser.parse_args()
    if not (data := rows(options.data / "prefeval_dev.jsonl")):
        return
    half = range(0 if options.part == "seen" else 1, len(data), 2)
    places = random.Random(0).sample(half, min(options.rows, len(half)))
    with PreferenceMemory(embedder=Kept({}), values=Values(classifier=False)) as memory:
        wishes = users(data, places)
        for place, told in zip(track(places, description="recording"), wishes, strict=True):
            for number, wish in enumerate(told):
                memory.record(f"user {place}", Statement(wish, time=1000.0 + number))
        bench = Bench(None if options.no_persrm else "auto", "torch", memory)
        begun = time.perf_counter()
        found = in_prompt(bench, data, places)
        took = (time.perf_counter() - begun) / len(places)
        _, low, high = interval(np.array(found, dtype=float))
        print(f"{options.part}, {len(places)} rows: in the prompt {np.mean(found):.3f} [{low:.3f}, {high:.3f}]")
        print(f"{1000 * took:.0f} ms a question, tokenizing and embedding it included")
        if options.choose:
            torch.set_num_threads(1)
            choose(bench, data, [place for place in places if "options_aligned_first" in data[place]][: options.choose])


if __name__ == "__main__":
    main()
