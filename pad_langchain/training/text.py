"""TRL's DPO trainer for a text PersRM: pairs come encoded, checkpoints are whole or absent, and stage 2 trains W and b.

stage 1  LoRA, W = identity: −log σ(β_train · [Σ r(chosen) − Σ r(rejected)]), r = log π_θ − log π_ref: DPO
stage 2  the same loss; backbone and LoRA frozen, W and b between last hidden state and lm_head
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from safetensors.torch import load_file
from transformers import TrainerCallback
from trl import DPOTrainer

from pad_langchain.errors import CheckpointError
from pad_langchain.persrm.files import VALUE_HEAD_FILES, write_value_head

__all__ = ["PairTrainer", "Report", "ValueHead", "ValueHeadTrainer", "attach_value_head", "last_checkpoint"]

Report = Callable[[int, int, dict[str, float]], None]  # (step, steps in all, what was logged)


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
        return isinstance(json.loads(path.read_text()), dict)
    except (OSError, ValueError):
        return False
