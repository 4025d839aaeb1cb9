"""The stages that make what a head learns from: answers, changed answers, filters, features. Each goes on where it was.

A few prompts go first. From them it is known how long all will take, and which poles will have too few examples.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from pad_langchain.adapt.features import Features, read_features
from pad_langchain.adapt.filters import good, leans
from pad_langchain.adapt.job import Job
from pad_langchain.adapt.plant import plant
from pad_langchain.adapt.prompts import Prompt
from pad_langchain.adapt.sample import sample
from pad_langchain.errors import InvalidRequestError

__all__ = ["Corpus", "gather", "pilot_size"]

LEAST_PILOT = 4  # prompts

_log = logging.getLogger(__name__)


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

    def few(self, least: int) -> list[str]:
        """The poles that have fewer examples than that."""
        return [key for key in self.tried if self.kept[key] < least]


def pilot_size(job: Job) -> int:
    """How many prompts go first: each dimension has its turn."""
    return max(LEAST_PILOT, math.ceil(len(job.dimensions) / job.config.sample.dimensions))


def gather(job: Job, prompts: Sequence[Prompt]) -> Corpus:
    """Run the stages for the first of the training's prompts, or for all of them.

    Raises:
        InvalidRequestError: not one text was kept.
        CheckpointError: something could not be written.
    """
    config, keys = job.config, job.keys
    with job.stage("answers") as tick:
        texts = sample(job.model, prompts, job.dimensions, config, job.kept("answers"), tick)
    if config.sample.plant:
        plain = [text for text in texts if text.source == "plain"]
        with job.stage("planted sentences") as tick:
            texts += plant(job.model, plain, prompts, job.dimensions, config, job.kept("planted"), tick)
    tried = Counter(dict.fromkeys(keys.values(), 0))
    tried.update(keys[text.dimension, text.side] for text in texts if text.source != "plain")
    by_id = {prompt.id: prompt for prompt in prompts}
    texts, dropped = good(texts, by_id, keys, config.filter, job.embedder)
    with job.stage("features") as tick:
        features = read_features(
            job.model, texts, prompts, job.dimensions, job.folder / "features", candidates=config.candidates, tick=tick
        )
    leaning = [n for n, each in enumerate(features.examples) if leans(each.text, each.lean, config.filter)]
    dropped["does not lean to its pole"] += len(features) - len(leaning)
    features = features.only(leaning)
    shown = (each.text for each in features.examples if each.text.source != "plain")
    kept = Counter(keys[text.dimension, text.side] for text in shown)
    if not kept:
        raise InvalidRequestError(
            f"None of {tried.total()} answers can be learned from: {dict(dropped)}. The base cannot be contrasted like "
            "this. Look at answers.jsonl, and loosen `filter` if the answers are good."
        )
    return Corpus(features, tried, kept, dropped)
