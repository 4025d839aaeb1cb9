"""The stages that make what a head learns from: answers, changed answers, filters, features. Each goes on where it was.

A few prompts go first. From them it is known how long all will take, and which poles will have too few examples.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pad_langchain.adapt.job import Job
from pad_langchain.adapt.lessons.features import PROMPTS_AT_ONCE, Features, read_features
from pad_langchain.adapt.lessons.filters import good, leans
from pad_langchain.adapt.lessons.plant import plant
from pad_langchain.adapt.lessons.sample import sample, sample_guided
from pad_langchain.adapt.lessons.texts import Text
from pad_langchain.adapt.prompts import Prompt
from pad_langchain.errors import InvalidRequestError

__all__ = ["Corpus", "gather", "gather_guided", "pilot_size"]


@dataclass(frozen=True, eq=False)
class Corpus:
    """What a head learns from.

    Args:
        features: of the texts that were kept.
        tried, kept: texts that were to show each pole, and those that did, by the pole's name.
        dropped: texts that were not kept, by reason.
    """

    features: Features
    tried: Counter[str]
    kept: Counter[str]
    dropped: Counter[str]

    def join(self, other: Corpus) -> Corpus:
        """Return both together."""
        counters = [Counter(mine) for mine in (self.tried, self.kept, self.dropped)]
        for counter, theirs in zip(counters, (other.tried, other.kept, other.dropped), strict=True):
            counter.update(theirs)  # "+" would forget zeros
        return Corpus(self.features.join(other.features), *counters)

    def few(self, least: int) -> list[str]:
        """The poles that have fewer examples than that."""
        return [key for key in self.tried if self.kept[key] < least]


def pilot_size(job: Job) -> int:
    """How many prompts go first: each dimension has its turn, the engine's batch is full, shards of features are whole.

    Answers that fill a batch take their time at the speed of all that follow.
    """
    asked = min(job.config.sample.dimensions, len(job.dimensions))
    turns, full = len(job.dimensions) / asked, job.model.engine.settings.max_batch / (2 * asked + 1)
    return math.ceil(max(turns, full) / PROMPTS_AT_ONCE) * PROMPTS_AT_ONCE


def gather(job: Job, prompts: Sequence[Prompt]) -> Corpus:
    """Run the stages for the first of the training's prompts, or for all of them.

    Raises:
        InvalidRequestError: not one text was kept.
        CheckpointError: something could not be written.
    """
    config = job.config
    with job.stage("answers") as tick:
        texts = sample(job.model, prompts, job.dimensions, config, job.kept("answers"), tick)
    if config.sample.plant:
        plain = [text for text in texts if text.source == "plain"]
        with job.stage("planted sentences") as tick:
            texts += plant(job.model, plain, prompts, job.dimensions, config, job.kept("planted"), tick)
    corpus = _read(job, texts, prompts, "features")
    if not corpus.kept.total():
        raise InvalidRequestError(
            f"None of {corpus.tried.total()} answers can be learned from: {dict(corpus.dropped)}. The base cannot be "
            "contrasted like this. Look at answers.jsonl, and loosen `filter` if the answers are good."
        )
    return corpus


def gather_guided(job: Job, draft: Path, number: int) -> Corpus:
    """Run the stages for answers that an earlier head has guided.

    Args:
        draft: the head's folder.
        number: of the round, from 1.
    """
    name, prompts = f"round-{number}", job.prompts.train
    chat = job.model.chat(draft, job.embedder)
    try:
        with job.stage(f"{name}: answers") as tick:
            texts = sample_guided(job.model, chat, prompts, job.dimensions, job.config, job.kept(name), tick)
    finally:
        chat.engine.close()
    return _read(job, [replace(text, id=f"{text.id}|{name}", twin="") for text in texts], prompts, f"features-{number}")


def _read(job: Job, texts: Sequence[Text], prompts: Sequence[Prompt], folder: str) -> Corpus:
    """Filter texts, and read those that are left."""
    config, keys = job.config, job.keys
    tried = Counter(dict.fromkeys(keys.values(), 0))
    tried.update(keys[text.dimension, text.side] for text in texts if text.source != "plain")
    fine, dropped = good(texts, {prompt.id: prompt for prompt in prompts}, keys, config.filter, job.embedder)
    with job.stage(folder) as tick:
        features = read_features(
            job.model, fine, prompts, job.dimensions, job.folder / folder, candidates=config.candidates, tick=tick
        )
    leaning = [n for n, each in enumerate(features.examples) if leans(each.text, each.lean, config.filter)]
    dropped["does not lean to its pole"] += len(features) - len(leaning)
    features = features.only(leaning)
    shown = (each.text for each in features.examples if each.text.source != "plain")
    return Corpus(features, tried, Counter(keys[text.dimension, text.side] for text in shown), dropped)
