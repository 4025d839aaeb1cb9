"""`pad-langchain train` and `evaluate`, with settings from YAML and progress on the console."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pad_langchain.cli.options import one_line_errors
from pad_langchain.cli.progress import progress

__all__ = ["evaluate", "train"]


def train(
    config: Annotated[Path, typer.Argument(help="YAML file of settings; see docs/training.md.")],
    output: Annotated[Path | None, typer.Option(help="Folder of the result, instead of the file's.")] = None,
) -> None:
    """Train a PersRM from preference pairs. A run that was stopped goes on where it was.

    For several GPUs: accelerate launch $(which pad-langchain) train CONFIG.yaml
    """
    with one_line_errors():
        from pad_langchain.training.config import TrainConfig
        from pad_langchain.training.settings import load_yaml

        run = TrainConfig(**load_yaml(config) | ({} if output is None else {"output": str(output)}))
        from pad_langchain.training.run import is_main_process
        from pad_langchain.training.run import train as train_persrm

        with progress() as tick:
            result = train_persrm(run, tick)
        if not is_main_process():
            return
        for stage in ("stage1", "stage2", "head"):
            if (accuracy := result.get(stage, {}).get("held_out_accuracy")) is not None:
                typer.echo(f"{stage}: accuracy {accuracy:.3f} on {result['held_out']} held-out pairs")
        typer.echo(f"the PersRM is in {run.output}: pad-langchain chat --model {run.base} --reward-model {run.output}")


def evaluate(
    config: Annotated[Path, typer.Argument(help="YAML file of settings; see docs/training.md.")],
    output: Annotated[Path | None, typer.Option(help="Folder of the report, instead of the file's.")] = None,
) -> None:
    """Judge a PersRM. Writes a Markdown report with plots, and a JSON file. Finished answers are kept."""
    with one_line_errors():
        from pad_langchain.evaluation.run import EvaluateConfig
        from pad_langchain.evaluation.run import evaluate as evaluate_persrm
        from pad_langchain.training.settings import load_yaml

        settings = load_yaml(config) | ({} if output is None else {"output": str(output)})
        with progress() as tick:
            report = evaluate_persrm(EvaluateConfig(**settings), progress=tick)
        typer.echo(f"the report is in {report}")
