"""What reading words adds to a record and a condition, by part, in milliseconds of one thread's CPU.

    python benchmarks/memory/reading_cost.py [--head FOLDER]

Embedding a query is counted apart, in the last row; the floor's classifier is left out of a record. A condition that
holds nothing back and one that does are asked for by turns, with an embedder whose vectors are known. Medians over the
requests and wishes of `selective/seen.txt`, and for times over the phrases of tests/data/lifetimes.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from prefeval import Kept
from selective import HERE, users

from pad_langchain.chat.routes import quoted
from pad_langchain.defaults import HEADS, SMOLLM2_MODEL
from pad_langchain.engine.types import WeightedPreference
from pad_langchain.persrm.guides import HeadGuide
from pad_langchain.persrm.head import VectorHead
from pad_memory import PreferenceMemory, SentenceEmbedder, Statement, Values
from pad_memory.language import about_manner, occasion
from pad_memory.language.occasions import _read
from pad_memory.language.times import timed_parts
from pad_memory.values.sensitive import kinds

PHRASES = Path(__file__).parents[2] / "tests" / "data" / "lifetimes" / "times.txt"
NOW = 1.8e9  # Unix seconds


def spent(work: Callable[[], object]) -> float:
    """Milliseconds of this thread's CPU that a call takes."""
    begun = time.thread_time()
    work()
    return 1000 * (time.thread_time() - begun)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--head", type=Path, default=HEADS[SMOLLM2_MODEL])
    options = parser.parse_args()
    torch.set_num_threads(1)
    told = users(HERE / "seen.txt")
    requests = [request for user in told for _, request in user.requests]
    wishes = [wish for user in told for wish in user.wishes.values()]
    parts: dict[str, list[float]] = {}
    for request in requests:
        _read.cache_clear()
        parts.setdefault("what is asked for", []).append(spent(lambda request=request: occasion(request)))  # type: ignore[misc]
    for wish in wishes:
        about_manner.cache_clear()
        parts.setdefault("what a wish is about, each", []).append(spent(lambda wish=wish: about_manner(wish)))  # type: ignore[misc]
    for phrase in PHRASES.read_text().splitlines():
        words, tab, _ = phrase.partition("\t")
        if tab:
            parts.setdefault("the time in a wish, each", []).append(spent(lambda w=words: timed_parts(w, NOW)))  # type: ignore[misc]
            parts.setdefault("whether a wish is sensitive, each", []).append(spent(lambda w=words: kinds(w)))  # type: ignore[misc]
    embedder = Kept({})
    embedder.embed([*requests, *wishes])
    with PreferenceMemory(embedder=embedder, values=Values(classifier=False)) as memory:
        for wish in wishes:
            memory.record("warm", Statement(wish, time=1000.0))  # from here on the embedder knows all parts of it
        for wish in wishes:
            record = lambda: memory.record("ada", Statement(wish, time=1000.0))  # noqa: B023, E731
            parts.setdefault("a record, its embeddings known", []).append(spent(record))
    with PreferenceMemory(embedder=embedder) as memory:
        for user in told:
            for place, wish in enumerate(user.wishes.values()):
                memory.record(user.name, Statement(wish, time=1000.0 + place))
            for request in user.requests[:2]:
                memory.condition(user.name, request[1])  # warm
        for user in told:
            for _, request in user.requests:
                for selective in (False, True):
                    ask = lambda: memory.condition(user.name, request, own=5, selective=selective)  # noqa: B023, E731
                    name = "a condition that holds back" if selective else "a condition that holds nothing back"
                    parts.setdefault(name, []).append(spent(ask))
    head = VectorHead.from_pretrained(options.head)
    for _ in range(100):
        guide = HeadGuide(head)  # which has read none of them
        ten = [WeightedPreference("wish", embedding=torch.randn(head.config.embedding_size).numpy()) for _ in range(10)]
        for name in ("ten wishes that the head reads first", "the same again"):
            parts.setdefault(name, []).append(spent(lambda: guide.certainty(ten)))  # noqa: B023
    parts["quoting five wishes"] = [spent(lambda: quoted([(wish, 1.0) for wish in wishes[:5]])) for _ in range(200)]
    encoder = SentenceEmbedder()
    encoder.embed(["warm"])
    parts["embedding the query (apart)"] = [spent(lambda r=r: encoder.embed([r])) for r in requests[:60]]  # type: ignore[misc]
    print(f"{'median, 95th percentile, ms of CPU':<44}{'median':>9}{'p95':>9}")
    for name, values in parts.items():
        print(f"{name:<44}{statistics.median(values):>9.3f}{statistics.quantiles(values, n=20)[-1]:>9.3f}")


if __name__ == "__main__":
    main()
