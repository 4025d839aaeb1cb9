"""What it costs to score one answer against 24 preferences at once, against 24 scorings of one each.

    python benchmarks/persrm/score.py                 # the demo base
    python benchmarks/persrm/score.py --threads 1     # on one core the scorings one by one waste less
    python benchmarks/persrm/score.py --sizes 120M    # random weights; 500M takes a while

Seconds passed; rounds alternate, the ratio is the median over rounds. The answer has 89 tokens. A head
reads it once for all preferences. A text PersRM runs once what comes before the preference, so the ratio falls with
the conversation's length, and further where the template writes the preference behind the question ("wish last").
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections.abc import Callable

import torch
from rich.console import Console
from rich.table import Table
from transformers import LlamaConfig, LlamaForCausalLM

from pad_langchain.defaults import WEIGHTS
from pad_langchain.models.backbone import Backbone
from pad_langchain.models.loading import load_causal_lm
from pad_langchain.models.prompts import PERSRM_TEMPLATE
from pad_langchain.persrm.files import TextConfig
from pad_langchain.persrm.head import HeadConfig, VectorHead
from pad_langchain.persrm.persrm import PersRM
from pad_memory.catalogue import CATALOGUE
from pad_memory.embedding import SentenceEmbedder

SIZES = {"120M": (768, 12, 2048, 32_000), "500M": (1024, 24, 4096, 64_000)}
TOLD = [
    {"role": "user", "content": "Tell me about Japan."},
    {"role": "assistant", "content": "Japan is a country in Asia. Its capital is Tokyo. People there speak Japanese."},
]
ASKED = {"role": "user", "content": "And what do people eat there?"}
TURNS = (1, 3, 9)
TEMPLATES = {"text": PERSRM_TEMPLATE, "text, wish last": "{text} {preference}."}
ANSWER = "People in Japan often eat rice and fish. " * 8
WORDINGS = [text for dimension in CATALOGUE for pole in dimension.poles for text in (pole.text, *pole.paraphrases)]


def random_model(size: str) -> LlamaForCausalLM:
    hidden, layers, middle, vocabulary = SIZES[size]
    config = LlamaConfig(
        hidden_size=hidden, num_hidden_layers=layers, intermediate_size=middle, vocab_size=vocabulary,
        num_attention_heads=hidden // 64, num_key_value_heads=hidden // 128, tie_word_embeddings=True,
    )  # fmt: skip
    torch.manual_seed(0)
    return LlamaForCausalLM(config).eval()


def ratio(score: Callable[[list[str]], object], texts: list[str], rounds: int) -> tuple[float, float, float]:
    """(seconds at once, seconds one by one, median ratio)."""
    score(texts)
    together, apart = [], []
    for _ in range(rounds):
        started = time.perf_counter()
        score(texts)
        together.append(time.perf_counter() - started)
        started = time.perf_counter()
        for text in texts:
            score([text])
        apart.append(time.perf_counter() - started)
    found = statistics.median(a / b for a, b in zip(together, apart, strict=True))
    return statistics.median(together), statistics.median(apart), found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="*", default=["demo"])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    embedder = SentenceEmbedder()
    texts = WORDINGS[:: max(1, len(WORDINGS) // 24)][:24]
    embedder.embed(texts)
    table = Table("base", "threads", "turns", "PersRM", "24 at once, s", "one by one, s", "ratio")
    tokenizer = load_causal_lm(str(WEIGHTS / "base"), device="cpu")[1]
    for size in options.sizes:
        model = load_causal_lm(str(WEIGHTS / "base"), device="cpu")[0] if size == "demo" else random_model(size)
        base = Backbone(model)
        head = VectorHead(HeadConfig(base.hidden_size, base.vocab_size, embedder=embedder.name)).eval()
        torch.nn.init.normal_(head.V_DR, std=0.02)
        value_head = torch.nn.Linear(base.hidden_size, base.hidden_size)
        kinds = {"head": PersRM(base, tokenizer, head=head, embedder=embedder)}
        for name, template in TEMPLATES.items():
            config = TextConfig(template=template)
            kinds[name] = PersRM(base, tokenizer, value_head=value_head, reference=base, config=config)
        for turns, (kind, persrm) in itertools.product(TURNS, kinds.items()):
            talk = [*TOLD * (turns // 2), ASKED]
            together, apart, found = ratio(
                lambda some, p=persrm, t=talk: p.score(t, ANSWER, some), texts, options.rounds
            )
            table.add_row(
                size, str(options.threads), str(turns), kind, f"{together:.3f}", f"{apart:.3f}", f"{found:.3f}"
            )
    Console().print(table)


if __name__ == "__main__":
    main()
