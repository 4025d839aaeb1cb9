"""Train a PersRM from preference pairs: `train(TrainConfig(...))`, or `pad-langchain train CONFIG.yaml`.

A text PersRM is trained in two stages (see `trainer`), a head on cached hidden states (see `train_head`). Started again
after a kill, the same call goes on from the last checkpoint with the batches that would have come next.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pad_langchain.errors import InvalidRequestError, MissingDependencyError
from pad_langchain.training.config import StageSettings, TrainConfig
from pad_langchain.training.data import BadRow, Pair, load_pairs, split_pairs
from pad_langchain.training.encoding import EncodedPair, encode_pairs

if TYPE_CHECKING:
    from pad_langchain.training.text import PairTrainer

__all__ = ["Progress", "is_main_process", "prepare_output", "train"]

_log = logging.getLogger(__name__)
CONFIG_FILE, RESULT_FILE = "train.yaml", "training.json"
Progress = Callable[[str, int, int, dict[str, float]], None]  # (stage, step, steps in all, what was logged)
FREE = {"log_steps", "save_steps", "keep", "device"}  # settings that may change when a run goes on


def train(config: TrainConfig, progress: Progress | None = None) -> dict[str, Any]:
    """Train, or go on with the training that `config.output` holds.

    Args:
        progress: called after every optimiser step.

    Returns:
        what was measured, also in `training.json` of the output: pairs, refused rows, and per stage the logged losses
        and the accuracy on held-out pairs (share of pairs whose chosen answer has the larger reward; chance is 0.5).

    Raises:
        InvalidRequestError: unusable data or settings, or the output holds another run.
        CheckpointError: a checkpoint could not be written; the one before is whole.
        MissingDependencyError: the extra [train] is not installed.
    """
    output = prepare_output(config)
    if config.kind == "head":
        from pad_langchain.training.head import train_head

        result = train_head(config, output, progress)
    else:
        missing = [name for name in ("trl", "peft", "datasets") if importlib.util.find_spec(name) is None]
        if missing:
            raise MissingDependencyError(f'Training needs {missing}: pip install "pad-langchain[train]"')
        result = _train_text(config, output, progress)
    if is_main_process():
        (output / RESULT_FILE).write_text(json.dumps(result, indent=1) + "\n")
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


def read_data(config: TrainConfig) -> tuple[list[Pair], list[Pair], dict[str, Any]]:
    """Training and held-out pairs, and what a report says of them."""
    found = load_pairs(*(asdict(source) for source in config.data))
    train_pairs, held_out = split_pairs(found.pairs, config.held_out, config.seed)
    if not train_pairs:
        raise InvalidRequestError(f"All {len(held_out)} pairs are held out. Lower held_out, or bring more prompts.")
    return train_pairs, held_out, {"rows": found.rows, **_refused(found.bad), "layouts": dict(found.layouts)}


def _refused(bad: Sequence[BadRow]) -> dict[str, Any]:
    return {"refused": len(bad), "refused_rows": [f"{row.source}:{row.line}: {row.reason}" for row in bad[:1000]]}


def _train_text(config: TrainConfig, output: Path, progress: Progress | None) -> dict[str, Any]:
    import peft

    from pad_langchain.defaults import model_folder
    from pad_langchain.models.loading import load_causal_lm, pick_device, pick_dtype
    from pad_langchain.persrm.files import TextConfig, save_adapter
    from pad_langchain.training.text import PairTrainer, ValueHeadTrainer, attach_value_head

    # The trainer moves the model to its own device, which with several processes is not the first.
    dtype = pick_dtype(config.dtype, pick_device(config.device))
    model, tokenizer = load_causal_lm(model_folder(config.base), device="cpu", dtype=dtype)
    datasets, result = _datasets(config, output, model, tokenizer)
    lora = peft.LoraConfig(
        r=config.lora.rank,
        lora_alpha=config.lora.alpha,  # type: ignore[arg-type]  # PEFT takes fractions as well
        lora_dropout=config.lora.dropout,
        target_modules=config.lora.targets if isinstance(config.lora.targets, str) else list(config.lora.targets),
        task_type="CAUSAL_LM",
    )
    stage1 = _trainer(PairTrainer, config, config.stage1, output / "stage1", model, tokenizer, datasets, progress, lora)
    adapted: Any = stage1.accelerator.unwrap_model(stage1.model, keep_fp32_wrapper=False)
    finished = output / "stage1" / "adapter"
    if (finished / "adapter_config.json").exists():
        peft.set_peft_model_state_dict(adapted, peft.load_peft_weights(str(finished), device="cpu"))
        result["stage1"] = json.loads((output / "stage1" / RESULT_FILE).read_text())
    else:
        result["stage1"] = _run(stage1, output / "stage1", config.stage1)
        if stage1.args.should_save:
            (output / "stage1" / RESULT_FILE).write_text(json.dumps(result["stage1"]))
            adapted.save_pretrained(finished)
    datasets = {"train": stage1.train_dataset, "held_out": stage1.eval_dataset}  # with π_ref's log-probabilities
    plain = adapted.get_base_model()
    plain.requires_grad_(False)
    head = attach_value_head(plain)
    stage2 = _trainer(ValueHeadTrainer, config, config.stage2, output / "stage2", plain, tokenizer, datasets, progress)
    result["stage2"] = _run(stage2, output / "stage2", config.stage2)
    if stage2.args.should_save:
        text = TextConfig(config.base, config.template, config.beta, config.alpha)
        save_adapter(output, adapted, head.summary, tokenizer, text)
    return result


def _datasets(config: TrainConfig, output: Path, model: Any, tokenizer: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The encoded pairs, written once: a run that goes on, and every process of it, reads the same."""
    from accelerate import PartialState
    from datasets import Dataset, load_from_disk

    folder = output / "data"
    with PartialState(cpu=config.device == "cpu").main_process_first():
        if not (folder / "data.json").exists():
            sides, result = encode_sides(config, model, tokenizer, template=config.template)
            for name, rows in sides.items():
                if rows:
                    Dataset.from_list([_columns(config, row) for row in rows]).save_to_disk(folder / name)
            (folder / "data.json").write_text(json.dumps(result))
    result = json.loads((folder / "data.json").read_text())
    names = [name for name in ("train", "held_out") if (folder / name).exists()]
    return {"held_out": None, **{name: load_from_disk(folder / name) for name in names}}, result


def encode_sides(
    config: TrainConfig, model: Any, tokenizer: Any, template: str | None
) -> tuple[dict[str, list[EncodedPair]], dict[str, Any]]:
    """Encode training and held-out pairs; with them what a report says of the data."""
    train_pairs, held_out, result = read_data(config)
    context = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    limits = [size for size in (config.max_length, context) if size is not None]
    limit, dropout = min(limits, default=None), config.preference_dropout
    sides: dict[str, list[EncodedPair]] = {}
    bad: list[BadRow] = []
    for name, pairs in (("train", train_pairs), ("held_out", held_out)):
        if not pairs:
            sides[name] = []
            continue
        sides[name], refused = encode_pairs(
            pairs, tokenizer, template=template, max_length=limit, truncate=config.truncate,
            preference_dropout=dropout if name == "train" else 0.0, seed=config.seed,
        )  # fmt: skip
        bad += refused
    if bad:
        _log.warning("%d pairs are left out, the first as %s", len(bad), bad[0].reason)
    result |= {"pairs": len(sides["train"]), "held_out": len(sides["held_out"]), "left_out": len(bad)}
    result["left_out_pairs"] = [f"pair {row.line}: {row.reason}" for row in bad[:1000]]
    return sides, result


def _columns(config: TrainConfig, pair: EncodedPair) -> dict[str, Any]:
    columns: dict[str, Any] = {"prompt_ids": pair.prompt, "chosen_ids": pair.chosen, "rejected_ids": pair.rejected}
    if config.reference_free:
        columns |= {"ref_chosen_logps": 0.0, "ref_rejected_logps": 0.0}
    return columns


def _trainer(
    kind: type[PairTrainer],
    config: TrainConfig,
    stage: StageSettings,
    folder: Path,
    model: Any,
    tokenizer: Any,
    datasets: dict[str, Any],
    progress: Progress | None,
    lora: Any = None,
) -> PairTrainer:
    import torch
    from trl import DPOConfig

    on_cpu = config.device == "cpu" or not torch.cuda.is_available()
    arguments = DPOConfig(
        output_dir=str(folder),
        seed=config.seed,
        data_seed=config.seed,
        max_steps=-1 if stage.steps is None else max(stage.steps, 1),
        num_train_epochs=stage.epochs,
        learning_rate=stage.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=stage.warmup,
        per_device_train_batch_size=config.batch,
        per_device_eval_batch_size=config.batch,
        gradient_accumulation_steps=config.accumulation,
        activation_checkpointing=config.gradient_checkpointing and lora is not None,
        bf16=not on_cpu if config.bf16 == "auto" else config.bf16,
        use_cpu=on_cpu,
        dataloader_pin_memory=not on_cpu,
        ddp_find_unused_parameters=False,
        beta=config.beta_train,
        loss_type=["robust" if config.label_smoothing else "sigmoid"],
        label_smoothing=config.label_smoothing,
        precompute_ref_log_probs=True,
        max_length=None,
        logging_steps=config.log_steps,
        save_steps=config.save_steps,
        save_total_limit=config.keep,
        disable_tqdm=True,
        report_to=["tensorboard"] if importlib.util.find_spec("tensorboard") else "none",
    )
    name = folder.name

    def report(step: int, steps: int, logged: dict[str, float]) -> None:
        if "loss" in logged:
            _log.info("%s step %d of %d: loss %.4f accuracy %.3f", name, step, steps, float(logged["loss"]),
                      float(logged.get("rewards/accuracies", float("nan"))))  # fmt: skip
        if progress is not None:
            progress(name, step, steps, logged)

    return kind(
        model=model,
        args=arguments,
        train_dataset=datasets["train"],
        eval_dataset=datasets["held_out"],
        processing_class=tokenizer,
        peft_config=lora,
        report=report,
    )


def _run(trainer: PairTrainer, folder: Path, stage: StageSettings) -> dict[str, Any]:
    """Train a stage from its last checkpoint and measure it on the held-out pairs."""
    from pad_langchain.training.text import last_checkpoint

    if stage.steps != 0:
        trainer.train(resume_from_checkpoint=last_checkpoint(folder))
    curve = [
        {"step": each["step"], "loss": float(each["loss"]), "accuracy": float(each["rewards/accuracies"])}
        for each in trainer.state.log_history
        if "loss" in each
    ]
    found: dict[str, Any] = {"steps": trainer.state.global_step, "curve": curve}
    if trainer.eval_dataset is not None:
        measured = trainer.evaluate()
        found["held_out_accuracy"] = float(measured["eval_rewards/accuracies"])
        found["held_out_loss"] = float(measured["eval_loss"])
    return found
