"""`pad-langchain adapt`: a head for any model, from its own answers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pad_langchain.cli.options import one_line_errors
from pad_langchain.cli.progress import progress
from pad_langchain.defaults import NAMES

__all__ = ["adapt"]


def adapt(
    model: Annotated[
        str, typer.Argument(help=f"GGUF file, folder or hub id of a chat model, or a name: {', '.join(NAMES)}.")
    ],
    output: Annotated[Path, typer.Option(help="Folder of the run; the head will be in its folder head.")],
    config: Annotated[Path | None, typer.Option(help="YAML file of more settings; see docs/adapt.md.")] = None,
    prompts: Annotated[Path | None, typer.Option(help="File of prompts. [default: the package's]")] = None,
    poles: Annotated[Path | None, typer.Option(help="YAML file of dimensions. [default: the catalogue's]")] = None,
    dimension: Annotated[
        list[str] | None, typer.Option(help="A dimension that is learned; may be repeated. [default: all]")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Makes the run repeatable. [default: 0]")] = None,
) -> None:
    """Make a head for a model from its own answers, without any data. A run that was stopped goes on where it was."""
    with one_line_errors():
        from pad_langchain.adapt import AdaptConfig
        from pad_langchain.adapt import adapt as adapt_model
        from pad_langchain.training.settings import load_yaml

        named = {"prompts": prompts, "poles": poles, "dimensions": tuple(dimension or ()) or None, "seed": seed}
        said = {name: value for name, value in named.items() if value is not None}
        settings = {} if config is None else load_yaml(config)
        run = AdaptConfig(**{**settings, **said, "base": model, "output": output})
        with progress() as tick:
            head = adapt_model(run, tick)
        typer.echo(f"the report is in {Path(run.output) / 'report.md'}")
        typer.echo(f"the head is in {head}: pad-langchain chat --model {model} --reward-model {head}")
