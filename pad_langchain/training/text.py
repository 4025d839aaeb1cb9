"""Train a text PersRM by TRL's DPO trainer: pairs come encoded, checkpoints are whole or absent.

stage 1  LoRA, W = identity: −log σ(β_train · [Σ r(chosen) − Σ r(rejected)]), r = log π_θ − log π_ref: DPO
stage 2  the same loss; backbone and LoRA frozen, W and b between last hidden state and lm_head
"""

from __future__ import annotations

import importlib.util
import json
import logging
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from transformers import TrainerCallback

from pad_langchain.defaults import model_folder
from pad_langchain.errors import CheckpointError, MissingDependencyError
from pad_langchain.models.loading import load_causal_lm, pick_device
from pad_langchain.models.precision import pick_dtype
from pad_langchain.paths import replacing
from pad_langchain.persrm.files import VALUE_HEAD_FILES, TextConfig, save_adapter, write_value_head
from pad_langchain.training.config import Progress, StageSettings, TrainConfig
from pad_langchain.training.encoding import EncodedPair, encode_sides

try:
    import peft
    from accelerate import PartialState
    from datasets import Dataset, load_from_disk
    from trl import DPOConfig, DPOTrainer
except ImportError as error:
    raise MissingDependencyError(
        f'What trains a text PersRM is not installed ({error}). Install it: pip install "pad-langchain[train]"'
    ) from error

__all__ = ["PairTrainer", "TextRun", "ValueHeadTrainer", "last_checkpoint", "train_text"]

_log = logging.getLogger(__name__)
Report = Callable[[int, int, dict[str, float]], None]  # (step, steps in all, what was logged)
STAGE_FILE = "training.json"


def train_text(config: TrainConfig, output: Path, progress: Progress | None = None) -> dict[str, Any]:
    """Train a text PersRM into `output`, or go on with it.

    Returns:
        what was measured: pairs, refused rows, and per stage the curve and the accuracy on held-out pairs.
    """
    # The trainer moves the model to its own device, which with several processes is not the first.
    dtype = pick_dtype(config.dtype, pick_device(config.device))
    model, tokenizer = load_causal_lm(model_folder(config.base), device="cpu", dtype=dtype)
    run = TextRun(config, output, tokenizer, progress)
    datasets, result = run.datasets(model)
    targets = config.lora.targets
    lora = peft.LoraConfig(
        r=config.lora.rank,
        lora_alpha=config.lora.alpha,  # type: ignore[arg-type]  # PEFT takes fractions as well
        lora_dropout=config.lora.dropout,
        target_modules=targets if isinstance(targets, str) else list(targets),
        task_type="CAUSAL_LM",
    )
    stage1 = run.trainer("stage1", model, datasets, lora)
    adapted: Any = stage1.accelerator.unwrap_model(stage1.model, keep_fp32_wrapper=False)
    finished = output / "stage1" / "adapter"
    if (finished / "adapter_config.json").exists():
        peft.set_peft_model_state_dict(adapted, peft.load_peft_weights(str(finished), device="cpu"))
        result["stage1"] = json.loads((output / "stage1" / STAGE_FILE).read_text(encoding="utf-8"))
    else:
        result["stage1"] = run.finish("stage1", stage1)
        if stage1.args.should_save:
            (output / "stage1" / STAGE_FILE).write_text(json.dumps(result["stage1"]), encoding="utf-8")
            adapted.save_pretrained(finished)
    datasets = {"train": stage1.train_dataset, "held_out": stage1.eval_dataset}  # with π_ref's log-probabilities
    plain = adapted.get_base_model()
    plain.requires_grad_(False)
    head = attach_value_head(plain)
    stage2 = run.trainer("stage2", plain, datasets)
    result["stage2"] = run.finish("stage2", stage2)
    if stage2.args.should_save:
        text = TextConfig(config.base, config.template, config.beta, config.alpha)
        save_adapter(output, adapted, head.summary, tokenizer, text)
    return result


class ValueHead(torch.nn.Module):
    """W and b; a new one is the identity. Its keys in a model are those of the released checkpoints."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.summary = torch.nn.Linear(hidden_size, hidden_size)
        torch.nn.init.eye_(self.summary.weight)
        torch.nn.init.zeros_(self.summary.bias)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """[..., D] → [..., D], same dtype."""
        steered: torch.Tensor = self.summary(hidden.to(self.summary.weight.dtype))
        return steered.to(hidden.dtype)


def attach_value_head(model: Any) -> ValueHead:
    """Put a value head between a causal LM's last hidden state and its lm_head, as `model.v_head`."""
    head_weight = model.get_output_embeddings().weight
    model.v_head = ValueHead(head_weight.shape[1]).to(head_weight.device)

    def steer(decoder: Any, arguments: Any, output: Any) -> Any:
        output.last_hidden_state = model.v_head(output.last_hidden_state)
        return output

    model.base_model.register_forward_hook(steer)
    return model.v_head


class PairTrainer(DPOTrainer):
    """Stage 1, and what both stages share.

    Args:
        train_dataset, eval_dataset: columns prompt_ids, chosen_ids, rejected_ids; with ref_chosen_logps and
            ref_rejected_logps these are used, else the model without its adapter gives them, once.
        report: called after every step.
    """

    def __init__(self, *, report: Report | None = None, **arguments: Any) -> None:
        super().__init__(**arguments)
        for callback in [each for each in self.callback_handler.callbacks if type(each).__name__ == "PrinterCallback"]:
            self.remove_callback(callback)
        if report is not None and self.is_world_process_zero():
            self.add_callback(_Reporter(report))

    def _prepare_dataset(self, dataset: Dataset, *arguments: Any) -> Dataset:
        return dataset  # encoded as the engine encodes

    def _precompute_ref_logps(self, dataset: Dataset, name: str, batch_size: int) -> Dataset:
        if "ref_chosen_logps" in dataset.column_names:
            return dataset
        return super()._precompute_ref_logps(dataset, name, batch_size)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        folder = Path(str(self.args.output_dir)) / f"checkpoint-{self.state.global_step}"
        try:
            super()._save_checkpoint(model, trial)
        except (OSError, RuntimeError) as error:  # safetensors and torch report a full disk in their own ways
            shutil.rmtree(folder, ignore_errors=True)
            raise CheckpointError(
                f"The checkpoint of step {self.state.global_step} could not be written to {str(folder)!r}: {error} "
                "The one before is whole: make room and start the same command again."
            ) from error

    def create_model_card(self, *arguments: Any, **named: Any) -> None:
        """No card: checkpoints are for resuming."""

    def _send_telemetry(self) -> None:
        """Nothing leaves this machine."""


class ValueHeadTrainer(PairTrainer):
    """Stage 2: checkpoints hold W and b alone."""

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        if self.args.should_save:
            folder = Path(str(output_dir or self.args.output_dir))
            folder.mkdir(parents=True, exist_ok=True)
            write_value_head(self.accelerator.unwrap_model(self.model).v_head.summary, folder)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        head = self.accelerator.unwrap_model(model or self.model).v_head
        tensors = load_file(Path(resume_from_checkpoint) / VALUE_HEAD_FILES[0])
        head.load_state_dict({name.removeprefix("v_head."): tensor for name, tensor in tensors.items()})


class _Reporter(TrainerCallback):
    def __init__(self, report: Report) -> None:
        self.report = report

    def on_step_end(self, args: Any, state: Any, control: Any, **named: Any) -> None:
        self.report(state.global_step, state.max_steps, {})

    def on_log(self, args: Any, state: Any, control: Any, **named: Any) -> None:
        self.report(state.global_step, state.max_steps, dict(named.get("logs") or {}))


def last_checkpoint(folder: Path) -> str | None:
    """The newest whole checkpoint: `trainer_state.json` is the last file that is written."""
    found = []
    for path in folder.glob("checkpoint-*"):
        if (match := re.fullmatch(r"checkpoint-(\d+)", path.name)) and _readable(path / "trainer_state.json"):
            found.append((int(match[1]), str(path)))
    return max(found)[1] if found else None


def _readable(path: Path) -> bool:
    try:
        return isinstance(json.loads(path.read_text(encoding="utf-8")), dict)
    except (OSError, ValueError):
        return False


@dataclass(frozen=True)
class TextRun:
    """What the two stages of a training share: its settings, its folder, and whom it tells."""

    config: TrainConfig
    output: Path
    tokenizer: Any
    progress: Progress | None = None

    def datasets(self, model: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """The encoded pairs, "train" and "held_out" (or None), and what a report says of them.

        They are written once: a run that goes on, and every process of it, reads the same.
        """
        config, folder = self.config, self.output / "data"
        with PartialState(cpu=config.device == "cpu").main_process_first():
            if not (folder / "data.json").exists():
                sides, result = encode_sides(config, model, self.tokenizer, template=config.template)
                for name, rows in sides.items():
                    if rows:
                        Dataset.from_list([_columns(config, row) for row in rows]).save_to_disk(folder / name)
                with replacing(folder / "data.json") as file:
                    file.write_text(json.dumps(result), encoding="utf-8")
        result = json.loads((folder / "data.json").read_text(encoding="utf-8"))
        names = [name for name in ("train", "held_out") if (folder / name).exists()]
        return {"held_out": None, **{name: load_from_disk(folder / name) for name in names}}, result

    def trainer(self, stage: str, model: Any, datasets: dict[str, Any], lora: Any = None) -> PairTrainer:
        """The trainer of "stage1" or "stage2", as the settings have it.

        Args:
            datasets: "train" and "held_out", as `datasets` gives them.
            lora: PEFT's config of the adapter that stage 1 trains.
        """
        kind = {"stage1": PairTrainer, "stage2": ValueHeadTrainer}[stage]

        def report(step: int, steps: int, logged: dict[str, float]) -> None:
            if "loss" in logged:
                _log.info("%s step %d of %d: loss %.4f accuracy %.3f", stage, step, steps, float(logged["loss"]),
                          float(logged.get("rewards/accuracies", float("nan"))))  # fmt: skip
            if self.progress is not None:
                self.progress(stage, step, steps, logged)

        return kind(
            model=model,
            args=_arguments(self.config, self._settings(stage), self.output / stage, adapting=lora is not None),
            train_dataset=datasets["train"],
            eval_dataset=datasets["held_out"],
            processing_class=self.tokenizer,
            peft_config=lora,
            report=report,
        )

    def finish(self, stage: str, trainer: PairTrainer) -> dict[str, Any]:
        """Train a stage from its last checkpoint and measure it on the held-out pairs: steps, curve, accuracy, loss."""
        if self._settings(stage).steps != 0:
            trainer.train(resume_from_checkpoint=last_checkpoint(self.output / stage))
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

    def _settings(self, stage: str) -> StageSettings:
        return {"stage1": self.config.stage1, "stage2": self.config.stage2}[stage]


def _columns(config: TrainConfig, pair: EncodedPair) -> dict[str, Any]:
    columns: dict[str, Any] = {"prompt_ids": pair.prompt, "chosen_ids": pair.chosen, "rejected_ids": pair.rejected}
    if config.reference_free:
        columns |= {"ref_chosen_logps": 0.0, "ref_rejected_logps": 0.0}
    return columns


def _arguments(config: TrainConfig, stage: StageSettings, folder: Path, *, adapting: bool) -> DPOConfig:
    on_cpu = config.device == "cpu" or not torch.cuda.is_available()
    return DPOConfig(
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
        activation_checkpointing=config.gradient_checkpointing and adapting,
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
