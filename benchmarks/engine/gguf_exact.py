"""Are greedy answers on llama.cpp those of the paper's formula, alone and in company? And what does company change?

    python benchmarks/engine/gguf_exact.py --head FOLDER                     200 answers of 24 tokens, with a real head
    python benchmarks/engine/gguf_exact.py --threads 2 --rows 16             a head with random weights
    python benchmarks/engine/gguf_exact.py --answers 8 --rows 4 --tokens 8   does it run?

The formula is a plain loop, one answer at a time, in float64, on llama.cpp's own logits and hidden states. Prompts,
wishes and strengths (beta, k, alpha; beta 0 as well) change from answer to answer. Every answer is written three times:
by the loop, by the engine alone, and by the engine in company, `--rows` at a time.

llama.cpp's products round otherwise for more rows at once, so other numbers go into the formula in company. Therefore
each of the engine's steps in company is also compared with the formula on the very numbers of that step. Numbers are
taken for others where the chosen token's log-probability is. For answers that part from the loop's: by how many nats
the loop's token was better than the other one, at most.

Answers are appended to `--output` as they come; a run that was ended goes on from there.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gguf_worker import WISH_SIZE, WISHES, random_head

import pad_langchain.engine.llama_cpp.engine as llama_cpp
from pad_langchain.defaults import SMOLLM2_MODEL, model_folder
from pad_langchain.engine.llama_cpp import LlamaCppEngine
from pad_langchain.engine.llama_cpp.batch import LlamaBatch
from pad_langchain.engine.llama_cpp.binding import Context
from pad_langchain.engine.types import Request, WeightedPreference
from pad_langchain.persrm.build import load_pair
from pad_langchain.persrm.head import VectorHead
from pad_langchain.testing import paused
from pad_memory.embedding import SentenceEmbedder

SUBJECTS = (
    "tea rain boats music bread cats stars chess snow maps books bees gold wind salt ships clocks roses trains ice"
)
ASKS = (
    "What is {}?", "Tell me a story about {}.", "Why do people like {}?", "Give me three facts about {}.",
    "Who knows {}?", "Write a poem about {}.", "How old is {}?", "Explain {} to a child.", "Is {} good for me?",
    "Where is {} found?",
)  # fmt: skip
STEERING = ((1.0, 50, 0.001), (0.5, 10, 0.0), (1.5, 5, 0.02), (3.0, 50, 0.001), (0.0, 10, 0.0))  # beta, k, alpha
WEIGHTS = ((1.0,), (-0.7, 1.4))


@dataclass
class Formula:
    """The paper's Eq. 13 under a head, on one row of logits and hidden states.

    Args:
        file: of the output matrix.
        head: the head.
    """

    file: Any
    head: VectorHead
    _matrices: list[np.ndarray] = field(init=False)

    def __post_init__(self) -> None:
        self._matrices = [matrix.detach().double().numpy() for matrix in (self.head.U_RD, self.head.V_DR)]

    def scores(self, logits_V: np.ndarray, hidden_D: np.ndarray, request: Request) -> dict[int, float]:
        """The candidates and their scores."""
        z_V, hidden_D = logits_V.astype(np.float64), hidden_D.astype(np.float64)
        K = np.argsort(-z_V, kind="stable")[: request.top_k]
        if request.alpha:
            K = K[z_V[K] >= z_V.max() + math.log(request.alpha)]
        if request.beta == 0:
            return dict(zip(K.tolist(), z_V[K].tolist(), strict=True))
        U, V = self._matrices
        rows_KD = self.file.output_rows(K).astype(np.float64)
        vectors = torch.from_numpy(np.stack([wish.embedding for wish in request.preferences]))
        with torch.inference_mode():
            gate_R = self.head.gate(vectors, [wish.weight for wish in request.preferences]).double().numpy()
        reward_K = _log_softmax(rows_KD @ (hidden_D + V @ ((U @ hidden_D) * gate_R))) - _log_softmax(rows_KD @ hidden_D)
        return dict(zip(K.tolist(), (z_V[K] + request.beta * reward_K).tolist(), strict=True))


class Loop:
    """Writes one answer at a time by the formula, in a context of its own."""

    def __init__(self, engine: LlamaCppEngine, formula: Formula) -> None:
        self.engine, self.formula = engine, formula
        base = engine.base
        self._context = Context(base.model, base.settings, engine.threads, 1024, 1)

    def write(self, request: Request) -> tuple[list[int], list[dict[int, float]]]:
        """The tokens, and the scores of each one's candidates."""
        prompt, context = self.engine.prompts.render(request.messages), self._context
        context.cut(0)
        context.read(prompt[:-1], range(len(prompt) - 1), [0] * (len(prompt) - 1))
        tokens, weighed = [], []
        while len(tokens) < request.max_tokens and not set(tokens[-1:]) & self.engine.end_tokens:
            place = len(prompt) - 1 + len(tokens)
            logits, hidden = context.decode([(tokens or prompt)[-1]], [place], [0])
            weighed.append(self.formula.scores(logits[0], hidden[0], request))
            tokens.append(max(weighed[-1], key=weighed[-1].__getitem__))
        return tokens, weighed


class Checked(LlamaBatch):
    """A batch whose choices are compared with the formula on the same numbers."""

    formula: Formula
    steps = wrong = 0

    def choose(self) -> list[Any]:
        if self.outputs is None:
            return super().choose()
        told = [(self.outputs.logits_NV[n].copy(), self.outputs.hidden_ND[n].copy()) for n in range(len(self._ready))]
        chosen = super().choose()
        for (logits_V, hidden_D), index in zip(told, self._ready, strict=True):
            scores = self.formula.scores(logits_V, hidden_D, self.readings[index].row.request)
            Checked.steps += 1
            Checked.wrong += max(scores, key=scores.__getitem__) != getattr(chosen[index], "token_id", None)
        return chosen


def _log_softmax(values: np.ndarray) -> np.ndarray:
    return values - np.logaddexp.reduce(values)


def requests(options: argparse.Namespace) -> list[Request]:
    """As many requests as answers are asked for."""
    numbers = np.random.default_rng(0)
    if options.head:
        vectors = SentenceEmbedder().embed(WISHES)
    else:
        vectors = numbers.standard_normal((len(WISHES), WISH_SIZE)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    texts = [ask.format(subject) for ask in ASKS for subject in SUBJECTS.split()]
    made = []
    for number in range(options.answers):
        beta, k, alpha = STEERING[number % len(STEERING)]
        wishes = [
            WeightedPreference(WISHES[which], weight, vectors[which])
            for place, weight in enumerate(WEIGHTS[number // len(STEERING) % len(WEIGHTS)])
            for which in [(number + place) % len(WISHES)]
        ]
        talk = [{"role": "user", "content": texts[number % len(texts)]}]
        steering = {"preferences": wishes, "beta": beta, "top_k": k, "alpha": alpha}
        made.append(Request(talk, max_tokens=options.tokens, **steering))
    return made


def compare(engine: LlamaCppEngine, loop: Loop, group: Sequence[Request]) -> Iterator[dict[str, Any]]:
    """What became of each request of a group, as a line of the output."""
    alone = [engine.submit(request).result() for request in group]
    Checked.steps = Checked.wrong = 0
    with paused(engine):
        streams = [engine.submit(request) for request in group]
    company = [stream.result() for stream in streams]
    checked = {"steps": Checked.steps, "wrong": Checked.wrong}
    for request, one, other in zip(group, alone, company, strict=True):
        tokens, weighed = loop.write(request)
        pairs = list(zip(one.events, other.events, strict=False))
        parted = next((n for n, (a, b) in enumerate(pairs) if a.token_id != b.token_id), len(pairs) - 1)
        yield {
            "alone": list(one.token_ids) == tokens,
            "company": list(other.token_ids) == tokens,
            "margin": _margin(tokens, weighed, list(other.token_ids)),
            "floats": [a.logprob == b.logprob for a, b in pairs[: parted + 1]].count(False),
            "compared": parted + 1,
            **checked,
        }
        checked = {"steps": 0, "wrong": 0}  # the group's are told once


def _margin(tokens: list[int], weighed: list[dict[int, float]], others: list[int]) -> float | None:
    """By how many nats the loop's token is better than the other one, where they part. None means they do not."""
    for scores, token, other in zip(weighed, tokens, others, strict=False):
        if token != other:
            return scores[token] - scores.get(other, -math.inf)
    return None


def report(lines: list[dict[str, Any]], options: argparse.Namespace) -> None:
    """Print what all answers say."""
    total = {name: sum(line[name] for line in lines) for name in ("alone", "company", "floats", "compared")}
    steps, wrong = (sum(line[name] for line in lines) for name in ("steps", "wrong"))
    print(f"{len(lines)} answers of {options.tokens} tokens at most, head: {options.head or 'random weights'}")
    print(f"alone:              {total['alone']} equal the loop's, token for token")
    print(f"in company:         {total['company']} equal the loop's, {options.rows} together")
    print(f"on equal numbers:   {steps - wrong} of {steps} steps in company choose the formula's token")
    print(f"other numbers:      in {total['floats']} of {total['compared']} steps in company, after the same text")
    margins = [line["margin"] for line in lines if line["margin"] is not None]
    if finite := [margin for margin in margins if margin < math.inf]:
        print(f"where answers part: the loop's token is at most {max(finite):.3f} nats better")
    if outside := len(margins) - len(finite):
        print(f"                    {outside} part to a token that was no candidate of the loop's")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=SMOLLM2_MODEL, help="a GGUF file, or smollm2-135m")
    parser.add_argument("--head", help="folder of a head for it")
    parser.add_argument("--answers", type=int, default=200)
    parser.add_argument("--tokens", type=int, default=24, help="of each answer")
    parser.add_argument("--rows", type=int, default=16, help="answers that are written together")
    parser.add_argument("--threads", type=int, help="default: the cores that are free now")
    parser.add_argument("--output", type=Path, default=Path("gguf-exact.jsonl"))
    options = parser.parse_args()
    asked = {name: getattr(options, name) for name in ("model", "head", "answers", "tokens", "rows")}
    known = options.output.read_text(encoding="utf-8").splitlines() if options.output.exists() else []
    if known and json.loads(known[0]) != asked:
        parser.error(f"{options.output} is of another run: {known[0]}. Remove it, or name another --output.")
    lines = [json.loads(line) for line in known[1:]]
    lines = lines[: len(lines) // options.rows * options.rows] if len(lines) < options.answers else lines
    options.output.write_text("\n".join(map(json.dumps, [asked, *lines])) + "\n", encoding="utf-8")
    model = model_folder(options.model)
    head = VectorHead.from_pretrained(options.head) if options.head else random_head(model)
    keywords = {"threads": options.threads, "max_batch": options.rows, "prefix_tokens": 0}
    engine = load_pair(model, head, backend="llama.cpp", max_batch_tokens=512 * options.rows, **keywords).engine
    Checked.formula = Formula(engine.base.file, head)
    llama_cpp.LlamaBatch = Checked
    loop, begun, before = Loop(engine, Checked.formula), time.monotonic(), len(lines)
    with engine, options.output.open("a", encoding="utf-8") as output:
        wanted = requests(options)
        while len(lines) < len(wanted):
            for line in compare(engine, loop, wanted[len(lines) : len(lines) + options.rows]):
                lines.append(line)
                print(json.dumps(line), file=output, flush=True)
            left = (time.monotonic() - begun) / (len(lines) - before) * (options.answers - len(lines))
            print(f"{len(lines)} of {options.answers}, {left:.0f} s left", flush=True)
    report(lines, options)


if __name__ == "__main__":
    main()
