"""Make a head for a base: `adapt(AdaptConfig(...))`, or `pad-langchain adapt MODEL --output DIR`.

    prompts → answers → changed answers → filters → features → fit → (a round on its own answers) → choice → verdict

Every stage keeps what it has made. Started again after a kill, the same call goes on there.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pad_langchain.adapt.config import AdaptConfig, ChoiceSettings
from pad_langchain.adapt.estimate import estimate
from pad_langchain.adapt.fit import fit
from pad_langchain.adapt.job import Job, open_job
from pad_langchain.adapt.lessons.corpus import Corpus, gather, gather_guided, pilot_size
from pad_langchain.adapt.lessons.remarks import REMARKS
from pad_langchain.adapt.lessons.wordings import PoleWordings
from pad_langchain.adapt.poles import Dimension, Pole
from pad_langchain.adapt.trials.choose import choose, count_tried
from pad_langchain.adapt.trials.panel import Panel, Way, words_of
from pad_langchain.adapt.trials.report import write_report
from pad_langchain.adapt.trials.verdict import JUDGED_WAYS, judge_ways, measured, plain, side_by_side
from pad_langchain.evaluation.wishes import shares
from pad_langchain.models.fingerprint import of_vocabulary
from pad_langchain.persrm.head import VectorHead
from pad_langchain.training.config import Progress

if TYPE_CHECKING:
    from pad_memory.embedding import Embedder

__all__ = ["adapt", "by_prototype"]

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
        MissingDependencyError: matplotlib is not installed.
    """
    job = open_job(config, progress, embedder)
    corpus = _corpus(job)
    head = _fit(job, corpus, 0)
    for number in range(1, config.rounds + 1):
        corpus = corpus.join(gather_guided(job, _draft(job, number - 1), number))
        head = _fit(job, corpus, number)
    found, best = _judged(job)
    how = by_prototype(_learned(job, corpus), best)
    signs = True if config.poles is None else None  # of the catalogue, which tell a memory more than the head does
    head.save_pretrained(job.folder / "head", signs=signs, **how, **_recommended(best, config.choice))
    write_report({"base": config.base, "corpus": _said(corpus, config), **found}, job.folder)
    return job.folder / "head"


def _recommended(best: Way | None, settings: ChoiceSettings) -> dict[str, Any]:
    """What the head's config says of how to decode with it."""
    if best is None:
        return {"beta": settings.betas[0], "alpha": settings.alphas[0], "top_k": settings.ks[0]}
    return {
        **{name: getattr(best, name) for name in ("beta", "alpha", "top_k")},
        "condition_base": best.place is not None,
        "wish_place": best.place,
        "repetition_penalty": settings.repetition_penalty,
    }


def by_prototype(learned: Sequence[Dimension], best: Way | None) -> dict[str, Any]:
    """What a head's config says of each of its prototypes: those of the poles, then of no pole.

    Args:
        best: how the head should steer. None means it was not chosen.
    """
    if best is None or best.beta is None:
        return {}
    poles = [(each.poles[side], best.of(each.key(side))) for each in learned for side in (0, 1)]
    return {
        "strengths": [*((way.beta or 0.0) / best.beta for _, way in poles), 1.0],
        "tellings": None if best.place is None else [*(_telling(*each) for each in poles), None],
    }


def _telling(pole: Pole, way: Way) -> str | None:
    """In which words the base is told a wish of a pole; "" where it is not told, None in the user's own."""
    if way.place is None:
        return ""
    return None if way.words == "own" else words_of(way, pole)


def _judged(job: Job) -> tuple[dict[str, Any], Way | None]:
    """What the head is worth, and how it should steer; nothing of it where no judge knows the poles."""
    draft = _draft(job, job.config.rounds)
    with Panel(job, "dev", job.prompts.dev, draft) as panel:
        unknown = [key for key in job.keys.values() if key not in panel.poles]
        if not panel.poles:
            _log.warning("no judge knows %s: β is not chosen. Give the poles a rule.", ", ".join(unknown))
            return {"dev": [], "chosen": None, "told": None, "test": {}, "texts": [], "not judged": unknown}, None
        choice = choose(panel, job.config.choice)
    with Panel(job, "test", job.prompts.test, draft) as panel:
        judged = judge_ways(panel, choice)
    names = list(dict.fromkeys(("base", choice.told.name, choice.best.name)))
    found = {
        "dev": [{"name": each.way.name, **asdict(each.way), **plain(shares(each.verdicts))} for each in choice.tried],
        "chosen": {"name": choice.best.name, **asdict(choice.best)},
        "told": choice.told.name,
        "test": measured(judged, choice.told.name),
        "texts": side_by_side(judged, names),
        "not judged": unknown,
    }
    return found, choice.best


def _said(corpus: Corpus, config: AdaptConfig) -> dict[str, Any]:
    """What the report says of what the head learned from."""
    counted = {"tried": dict(corpus.tried), "kept": dict(corpus.kept), "dropped": dict(corpus.dropped)}
    return {**counted, "few": corpus.few(config.filter.least_kept)}


def _corpus(job: Job) -> Corpus:
    """What the head learns from; how long it takes and what it yields is said after the first prompts."""
    first = job.prompts.train[: pilot_size(job)]
    pilot = gather(job, first)
    for line in estimate(job, pilot, len(first), _count_judged(job)).lines():
        _log.info("%s", line)
    corpus = gather(job, job.prompts.train)
    if few := corpus.few(job.config.filter.least_kept):
        _log.warning("too few examples, so that the head will be weak there: %s", ", ".join(few))
    return corpus


def _count_judged(job: Job) -> int:
    """How many answers will be judged: in some ways under every pole, and plainly."""
    development, test = (len(part) * len(job.keys) for part in (job.prompts.dev, job.prompts.test))
    return development * count_tried(job.config.choice) + test * JUDGED_WAYS


def _draft(job: Job, number: int) -> Path:
    """Where the head of a round is, before it is known how strongly it should steer."""
    return job.folder / f"draft-{number}"


def _learned(job: Job, corpus: Corpus) -> list[Dimension]:
    """The dimensions that have an example."""
    return [each for each in job.dimensions if corpus.kept[each.key(0)] + corpus.kept[each.key(1)]]


def _fit(job: Job, corpus: Corpus, number: int) -> VectorHead:
    """Train the head of a round, and keep it as a draft. A dimension without examples steers nothing."""
    learned = _learned(job, corpus)
    names = {dimension.name for dimension in learned}
    features = corpus.features.only(
        [n for n, example in enumerate(corpus.features.examples) if example.text.dimension in names]
    )
    lost = [text for each in job.dimensions if each not in learned for pole in each.poles for text in pole.texts]
    wordings = PoleWordings(
        job.embedder,
        learned,
        [(example.text.dimension, example.text.side) for example in features.examples],
        beside=[*(prompt.text for prompt in job.prompts.train), *REMARKS, *lost],
    )
    folder = job.folder / f"fit-{number}"
    head = fit(features, wordings, job.config.fit, folder, seed=job.config.seed, progress=job.progress)
    head.save_pretrained(_draft(job, number), tokenizer=of_vocabulary(job.model.prompts.vocabulary()))
    return head
