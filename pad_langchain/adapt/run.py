"""Make a head for a base: `adapt(AdaptConfig(...))`, or `pad-langchain adapt MODEL --output DIR`.

    prompts → answers → changed answers → filters → features → fit → (a round on its own answers) → choice → verdict

Every stage keeps what it has made. Started again after a kill, the same call goes on there.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from pad_langchain.adapt.config import AdaptConfig
from pad_langchain.adapt.corpus import Corpus, gather, pilot_size
from pad_langchain.adapt.estimate import estimate
from pad_langchain.adapt.fit import fit
from pad_langchain.adapt.job import Job, open_job
from pad_langchain.adapt.wordings import PoleWordings
from pad_langchain.models.fingerprint import of_vocabulary
from pad_langchain.persrm.head import VectorHead
from pad_langchain.training.config import Progress

if TYPE_CHECKING:
    from pad_memory.embedding import Embedder

__all__ = ["adapt"]

_log = logging.getLogger(__name__)


def adapt(config: AdaptConfig, progress: Progress | None = None, *, embedder: Embedder | None = None) -> Path:
    """Make a head for a base from its own answers, or go on with the run that `config.output` holds.

    Args:
        progress: called with (stage, done, of, what was logged).
        embedder: embeds wishes and texts. None means the one that the settings name.

    Returns:
        the head's folder, which `ChatPAD(model=config.base, reward_model=...)` takes.

    Raises:
        InvalidRequestError: an input is unusable, the folder holds another run, or the base cannot be contrasted.
        ModelLoadError: the base was not found or cannot be read.
        CheckpointError: something could not be written; what was there is whole.
    """
    job = open_job(config, progress, embedder)
    corpus = _corpus(job)
    head = _fit(job, corpus)
    head.save_pretrained(job.folder / "draft", tokenizer=of_vocabulary(job.model.prompts.vocabulary()))
    return job.folder / "draft"


def _corpus(job: Job) -> Corpus:
    """What the head learns from; how long it takes and what it yields is said after the first prompts."""
    first = job.prompts.train[: pilot_size(job)]
    pilot = gather(job, first)
    for line in estimate(job, pilot, len(first), 0).lines():
        _log.info("%s", line)
    corpus = gather(job, job.prompts.train)
    if few := corpus.few(job.config.filter.least_kept):
        _log.warning("too few examples, so that the head will be weak there: %s", ", ".join(few))
    return corpus


def _fit(job: Job, corpus: Corpus) -> VectorHead:
    examples = corpus.features.examples
    wordings = PoleWordings(
        job.embedder,
        job.dimensions,
        [(example.text.dimension, example.text.side) for example in examples],
        beside=[prompt.text for prompt in job.prompts.train],
    )
    return fit(
        corpus.features, wordings, job.config.fit, job.folder / "fit", seed=job.config.seed, progress=job.progress
    )
