"""Train a PersRM from preference pairs: `train(TrainConfig(...))`, or `pad-langchain train CONFIG.yaml`.

A text PersRM is trained in two stages (see `text`), a head on cached hidden states (see `head`). Started again after a
kill, the same call goes on from the last checkpoint with the batches that would have come next.
"""

from __future__ import annotations

import json
import logging
import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pad_langchain.errors import InvalidRequestError
from pad_langchain.training.config import Progress, TrainConfig

if TYPE_CHECKING:
    from pad_langchain.persrm.persrm import PersRM
    from pad_langchain.training.encoding import EncodedPair
    from pad_memory.embedding import Embedder

__all__ = ["is_main_process", "prepare_output", "train"]

_log = logging.getLogger(__name__)
CONFIG_FILE, RESULT_FILE = "train.yaml", "training.json"
CALIBRATED_ON, FEWEST_TO_CALIBRATE = 32, 10  # pairs, two answers each
FREE = {"log_steps", "save_steps", "keep", "device"}  # settings that may change when a run goes on


def train(config: TrainConfig, progress: Progress | None = None, *, embedder: Embedder | None = None) -> dict[str, Any]:
    """Train, or go on with the training that `config.output` holds.

    Args:
        progress: called after every optimiser step.
        embedder: embeds the wishes a head reads; None is `config.head.embedder`.

    Returns:
        what was measured, also in `training.json` of the output: pairs, refused rows, and per stage the logged losses
        and the accuracy on held-out pairs (share of pairs whose chosen answer has the larger reward; chance is 0.5).

    Raises:
        InvalidRequestError: unusable data or settings, or the output holds another run.
        CheckpointError: a checkpoint could not be written; the one before is whole.
        MissingDependencyError: the extra [train] is not installed.
    """
    if config.kind == "head":
        output = prepare_output(config)
        result = _train_head(config, output, progress, embedder)
    else:
        from pad_langchain.training.text import train_text  # says what is missing before anything is written

        output = prepare_output(config)
        result = train_text(config, output, progress)
    if is_main_process():
        (output / RESULT_FILE).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return result


def is_main_process() -> bool:
    """Whether this is the only process of a run, or the first that `accelerate launch` started."""
    return os.environ.get("RANK", "0") == "0"


def prepare_output(config: TrainConfig) -> Path:
    """Make the output folder and keep the settings in it.

    Raises:
        InvalidRequestError: the folder holds a run with other settings.
    """
    output = Path(config.output)
    output.mkdir(parents=True, exist_ok=True)
    if not is_main_process():
        return output
    kept = output / CONFIG_FILE
    if kept.exists():
        old, new = asdict(TrainConfig.load(kept)), asdict(config)
        differing = sorted(name for name in new if name not in FREE and old[name] != new[name])
        if differing:
            raise InvalidRequestError(
                f"{config.output!r} holds a run with other settings: {', '.join(differing)}. Choose another output, or "
                "delete it."
            )
    config.save(kept)
    return output


def _train_head(
    config: TrainConfig, output: Path, progress: Progress | None, embedder: Embedder | None
) -> dict[str, Any]:
    """A head from the pairs of the settings, worded as they say or as the catalogue does."""
    from pad_langchain.defaults import model_folder
    from pad_langchain.models.backbone import Backbone
    from pad_langchain.models.fingerprint import of_vocabulary
    from pad_langchain.models.loading import load_causal_lm
    from pad_langchain.persrm.persrm import PersRM
    from pad_langchain.training.encoding import encode_sides
    from pad_langchain.training.head import HeadTrainer, lm_head_of
    from pad_langchain.training.margins import are_right
    from pad_langchain.training.wordings import CatalogueWordings
    from pad_memory.embedding import SentenceEmbedder

    model, tokenizer = load_causal_lm(model_folder(config.base), device=config.device, dtype=config.dtype)
    backbone = Backbone(model)
    sides, result = encode_sides(config, model, tokenizer, template=None)
    wished = {name: [pair.preference for pair in pairs] for name, pairs in sides.items()}
    if any(not preference.strip() for preference in wished["train"]):
        raise InvalidRequestError("A head needs a preference for every pair. Set `preference` for sources without one.")
    embedder = embedder or SentenceEmbedder(config.head.embedder)
    wordings = CatalogueWordings(embedder, wished["train"], wished["held_out"])
    trainer = HeadTrainer(
        settings=config.head,
        seed=config.seed,
        beta_train=config.beta_train,
        label_smoothing=config.label_smoothing,
        log_steps=config.log_steps,
        save_steps=config.save_steps,
        progress=progress,
    )
    head, curve = trainer.train(backbone, sides["train"], wordings, output)
    result["head"] = {"curve": curve}
    if sides["held_out"]:
        features = trainer.features(backbone, sides["held_out"], output / "features" / "held_out")
        wishes = [wordings.vectors(preference) for preference in wished["held_out"]]
        result["head"] |= _accuracy(wished["held_out"], are_right(head, lm_head_of(backbone), features, wishes))
        _log.info("head: held-out accuracy %.3f", result["head"]["held_out_accuracy"])
    calibration = _calibrate(PersRM(backbone, tokenizer, head=head, embedder=embedder), sides["held_out"])
    head.save_pretrained(
        output,
        beta=config.beta,
        alpha=config.alpha,
        **config.recommends,
        calibration=calibration,
        tokenizer=of_vocabulary(tokenizer.get_vocab()),
    )
    return result


def _accuracy(preferences: Sequence[str], right: Sequence[bool]) -> dict[str, Any]:
    """Share of pairs whose chosen answer has the larger reward, in all and by preference."""
    hits: dict[str, list[bool]] = defaultdict(list)
    for preference, hit in zip(preferences, right, strict=True):
        hits[preference].append(hit)
    by_preference = {name: [sum(each) / len(each), len(each)] for name, each in sorted(hits.items())}
    return {"held_out_accuracy": sum(right) / len(right), "by_preference": by_preference}


def _calibrate(scorer: PersRM, pairs: Sequence[EncodedPair]) -> dict[str, dict[str, float]] | None:
    """What the head's margins mean to a preference memory, learned from held-out answers; None where they are few."""
    from pad_memory.catalogue import CATALOGUE
    from pad_memory.evidence.scorer import Calibration, judge

    if len(pairs) < FEWEST_TO_CALIBRATE:
        return None
    some = [pair.source for pair in pairs[:CALIBRATED_ON]]
    said: list[Any] = [(pair.messages, text) for pair in some for text in (pair.chosen, pair.rejected)]
    return Calibration.fit(judge(scorer, said, CATALOGUE)[0]).to_dict()
